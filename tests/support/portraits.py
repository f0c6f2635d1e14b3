"""A made-up folder like the portraits', for the tests of training."""

import csv

import numpy as np
from PIL import Image

from lgin_edge import geometry

SEED = 3


def make_up(root):
    """24 pictures whose forehead gets brighter with age, over noise."""
    (root / "images").mkdir()
    rng = np.random.default_rng(SEED)
    points = dict(zip(("leye", "reye", "nose", "lmouth", "rmouth"), geometry.TEMPLATE, strict=True))
    rows = []
    for i in range(24):
        tier, side = ("A", 384) if i % 3 else ("B", 192)
        age = 28 + 2 * i
        picture = rng.normal(110, 12, (side, side, 3))
        # Above the cheeks, whose brightness is a regressor of its own.
        picture[int(0.26 * side) : int(0.44 * side), int(0.35 * side) : int(0.65 * side)] += age - 50
        name = f"images/{i:02}.png"
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(root / name)
        row = {"file": name, "tier": tier, "split": ("train", "train", "train", "val")[i % 4], "age": age}
        row |= {"gender": "MF"[i % 2], "src_eye_px": 90 if tier == "A" else 30}
        row |= {f"{p}_{a}": xy[k] * side for p, xy in points.items() for k, a in enumerate("xy")}
        rows.append(row)
    with (root / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return root


def training_faces(root):
    """Those of the train split. Noise has neither skin nor hair, so the masks say skin everywhere."""
    import torch

    from training import data, masks

    faces = data.load_portraits(root, "train")
    faces.masks = torch.zeros(len(faces), 2, masks.SIDE, masks.SIDE, dtype=torch.uint8)
    faces.masks[:, 0] = 255
    return faces
