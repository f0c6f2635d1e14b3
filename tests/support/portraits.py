"""A made-up pack of drawn heads with meshes and targets, for the tests of training: no photograph and no MediaPipe."""

from __future__ import annotations

import csv
import shutil
from multiprocessing.pool import ThreadPool
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from lgin_edge import geometry

SEED = 3
#: Heads of people, and of donors of age layers.
PEOPLE, DONORS = 8, ("donor-a", "donor-b")
HAIR, SKIN = (52, 34, 22), (205, 158, 132)


def mesh_of(seed):
    """The mean face, a little wider or longer, [468, 2] canonical."""
    from training.targets import mean_face

    random = np.random.default_rng((SEED, seed))
    middle = np.array((0.5, 0.6))
    return middle + (mean_face.load() - middle) * random.uniform(0.95, 1.05, 2)


def draw(mesh, side, seed=0, hair=HAIR, skin=SKIN, wrinkles=0.0):
    """A head [side, side, 3] uint8 with strands, pores and, if asked for, lines on its forehead; where the person is, and the hair."""
    from training.targets import subject

    random = np.random.default_rng((SEED, seed))
    size = 384
    points = mesh * size
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)

    def filled(*shapes):
        canvas = np.zeros((size, size), np.uint8)
        for shape in shapes:
            cv2.fillPoly(canvas, [cv2.convexHull(points[list(shape)].round().astype(np.int32))], 1)
        return canvas > 0

    oval = points[list(subject.OVAL)]
    (cx, top), (half, height) = (oval[:, 0].mean(), oval[:, 1].min()), np.ptp(oval, axis=0) / (2, 1)
    cap = ((x - cx) / (1.12 * half)) ** 2 + ((y - top - 0.38 * height) / (0.62 * height)) ** 2 < 1
    body = (abs(x - cx) < 0.5 * half) & (y > top + 0.8 * height) | (y > top + 1.15 * height)
    picture = np.empty((size, size, 3), np.float32)
    picture[:] = (96, 118, 140)
    picture[body] = (60, 62, 78)
    strands = cv2.GaussianBlur(random.normal(0, 1, (size, size)).astype(np.float32), (0, 0), sigmaX=0.9, sigmaY=9)
    picture[cap] = np.array(hair, np.float32) * (1 + 1.6 * strands[cap, None])
    face = filled(subject.OVAL)
    light = 1 - 0.12 * (x - cx) / half + random.normal(0, 0.012, (size, size)).astype(np.float32)
    light -= (
        wrinkles * 0.3 * np.exp(-0.5 * (((y - top - 0.17 * height) % 13 - 6) / 1.2) ** 2) * (y < top + 0.3 * height)
    )
    picture[face] = (np.array(skin) * light[..., None])[face]
    picture[filled(subject.LEFT_BROW) | filled(subject.RIGHT_BROW)] = np.array(hair) * 0.9
    picture[filled(subject.LIPS)] = (168, 92, 88)
    picture[filled(subject.LEFT_EYE) | filled(subject.RIGHT_EYE)] = (226, 224, 220)
    for eye in (subject.LEFT_EYE, subject.RIGHT_EYE):
        center = points[list(eye)].mean(0)
        picture[(x - center[0]) ** 2 + (y - center[1]) ** 2 < 20] = (50, 40, 34)
    picture = cv2.GaussianBlur(picture, (0, 0), 0.6)
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    hair_there = (cap & ~face & ~body).astype(np.float32)
    return small.round().clip(0, 255).astype(np.uint8), (cap | body | face).astype(np.float32), hair_there


def make_up(root):
    """A pack: eight people of 22 to 78 years, the older the greyer and the more wrinkled, and two donors."""
    (root / "images").mkdir()
    rows, names, meshes, people = [], [], [], []
    for i, donor in enumerate((None,) * PEOPLE + DONORS):
        tier, side = ("A", 384) if donor or i % 3 else ("B", 192)
        age = 70 + i - PEOPLE if donor else 22 + 8 * i
        mesh = mesh_of(i)
        landmarks = geometry.TEMPLATE + np.random.default_rng((SEED, i, 1)).normal(0, 0.002, (5, 2))
        points = dict(zip(("leye", "reye", "nose", "lmouth", "rmouth"), landmarks, strict=True))
        grey = 0.5 * max(0, age - 45) / 35
        picture, person, _ = draw(mesh, side, i, (1 - grey) * np.array(HAIR) + grey * 190, wrinkles=(age - 20) / 60)
        name = f"images/{donor or f'{i:02}'}.png"
        Image.fromarray(picture).save(root / name)
        split = "donor" if donor else ("train", "train", "val", "train")[i % 4]
        row = {"file": name, "tier": tier, "split": split, "age": age, "bioguide": f"p{i}", "age_kind": "dated"}
        row |= {"gender": "MF"[i % 2], "src_eye_px": 90 if tier == "A" else 30}
        row |= {f"{p}_{a}": xy[k] * side for p, xy in points.items() for k, a in enumerate("xy")}
        rows.append(row)
        names.append(f"{root.name}/{name}")
        meshes.append(np.vstack([mesh, np.zeros((10, 2))]))
        people.append(cv2.resize(255 * person, (256, 256), interpolation=cv2.INTER_AREA).astype(np.uint8))
    with (root / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    mesh_points = np.dstack([np.stack(meshes), np.zeros((len(meshes), 478, 1))]).astype(np.float32)
    np.savez_compressed(root / "mesh.npz", name=np.array(names), landmarks=mesh_points, person=np.stack(people))
    return root


def make_targets(pack, folder):
    """What ``training.targets.build`` makes of such a pack; where the hair is it is told."""
    from training.dataset import labels
    from training.targets import build, layers

    shutil.copy(pack / "mesh.npz", folder / "mesh.npz")
    photos = labels.read(pack)
    hair = [draw(mesh_of(i), 384, i)[2] for i in range(len(photos))]
    small = [cv2.resize(one, (128, 128), interpolation=cv2.INTER_AREA) for one in hair]
    np.savez(folder / "hair.npz", name=[photo.key for photo in photos], probability=np.stack(small).astype(np.float16))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "DONORS", DONORS)
        patch.setattr(layers, "FOREHEAD_OF", {})
        # Processes take longer to start than they have to do here.
        patch.setattr(build.multiprocessing, "get_context", lambda _: SimpleNamespace(Pool=ThreadPool))
        build.main(folder, None, [pack])
    return folder
