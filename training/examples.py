"""What the generators learn from: pictures of real faces, and what each should look like at another age.

An example is made on the fly from a face and its kept edits (``training.targets.build``): a wanted age, the target picture,
the faults of a camera on both, and the views of a jittered detection, sampled as ``region_crop`` samples them. Example
number ``i`` of a seed is always the same, so a run can be resumed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lgin_edge import geometry

from . import augment, cameras
from .dataset.labels import Photo
from .networks import FACE_BOX, NetworkConfig
from .targets import build, edits, grey, hair, layers, mean_face
from .targets.subject import SIDE, subjects

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

#: Side of the canvas on which pictures are compared, the square of view 0: where the edits of the whole face need no resize.
CANVAS = 256
#: Side of the supervised maps of grey and skin, of flow and place, and of what bends a face's surroundings.
MAPS, COARSE, BENDS = 64, 32, 96
YOUNGEST, OLDEST = 20.0, 80.0
#: Fraction of the examples in which nothing is to change.
UNCHANGED = 0.06
#: How much oftener than others a face is drawn whose fringe or tail the hair network did not see, or whose head is bald: they are few, and
#: a brown fringe in grey hair, or grey on a bald temple, is seen first.
_MISSED = 4.0
#: And a face with grey hair or a grey beard: whether that gets dark again is what people at 30 are judged by, and one in six has any.
_GREYS = 3.0
#: What D knows of a picture beside the age and how grey hair is: where it is from, and the sex. Others have zeros.
KINDS = ("bio_guide", "congress", "wiki", "us", "vol", "syn", "M", "F")


@dataclass
class Faces:
    """The faces of one split with their edits, in memory: about 2.5 MB a face. A face that is also kept dressed is here twice."""

    photos: list[Photo]
    pixels: Bytes  # [N, SIDE, SIDE, 3]
    maps: npt.NDArray[np.float16]  # [N, CHANNELS, MAP_SIDE, MAP_SIDE]
    flow: Floats  # [N, GRID, GRID, 2]
    place: Floats  # [N, GRID, GRID, 2]
    shares: Floats  # [N, 5, 2 K] of the age layers, of sum 1 for each region
    depth: Floats  # [N, 5]
    hair_is_known: npt.NDArray[np.bool_]  # [N]
    dressed: npt.NDArray[np.bool_]  # [N], in other hair, beards or before other walls (``targets.dressed``)
    age: Floats  # [N]
    landmarks: npt.NDArray[np.float64]  # [N, 5, 2] canonical
    sharp: npt.NDArray[np.bool_]  # [N], real detail at SIDE
    bank: Floats  # [K, A, A]
    windows: Floats  # [5, A, A]

    def __len__(self) -> int:
        return len(self.photos)


def load(targets: Path, photos: list[Photo], limit: int | None = None, dressed: bool = False) -> Faces:
    """The photos that have targets; ``dressed``: and those of them that were dressed, as often as they were.

    Raises FileNotFoundError: no targets in the folder. ValueError: none of these photos has any.
    """
    # Before OpenCV makes threads: a worker that is forked beside them waits for them for ever.
    cv2.setNumThreads(1)
    for name in ("mesh.npz", "layers.npz", "choice.npz"):
        if not (targets / name).is_file():
            raise FileNotFoundError(f"no {name} in {targets}; python -m training.targets.build {targets} makes it")
    people = [s for s in subjects(photos, targets / "mesh.npz") if build.edits_file(targets, s).is_file()]
    people = people[:: max(1, len(people) // limit)][:limit] if limit else people
    if not people:
        raise ValueError(
            f"{targets} has edits of none of the {len(photos)} photos; python -m training.targets.build makes them"
        )
    files = [build.edits_file(targets, s) for s in people]
    plain = len(people)
    if dressed:
        again = [(s, path) for s in people for path in build.dressed_files(targets, s) if path.is_file()]
        people, files = people + [s for s, _ in again], files + [path for _, path in again]
    with np.load(targets / "choice.npz") as file:
        row = {str(name): i for i, name in enumerate(file["name"])}
        chosen = [row[s.photo.key] for s in people]
        shares, depth = file["shares"][chosen], file["depth"][chosen]
    with np.load(targets / "layers.npz") as file:
        bank, windows = file["layers"], file["windows"]
    pixels = np.empty((len(people), SIDE, SIDE, 3), np.uint8)
    maps = np.empty((len(people), edits.CHANNELS, build.MAP_SIDE, build.MAP_SIDE), np.float16)
    flow, place = (np.empty((len(people), mean_face.GRID, mean_face.GRID, 2), np.float32) for _ in range(2))
    known = np.ones(len(people), bool)
    for i, s in enumerate(people):
        with np.load(files[i]) as file:
            maps[i], flow[i], place[i] = (file[name] for name in ("maps", "flow", "place"))
            if i < plain:
                known[i] = file["hair_is_known"]
            pixels[i] = (s.image * 255).round().clip(0, 255) if i < plain else file["pixels"]
    return Faces(
        [s.photo for s in people],
        pixels,
        maps,
        flow,
        place,
        shares,
        depth,
        known,
        np.arange(len(people)) >= plain,
        np.array([s.photo.age for s in people], np.float32),
        np.stack([s.photo.landmarks / s.photo.size for s in people]),
        np.array([s.photo.sharp for s in people]),
        bank,
        windows,
    )


@dataclass
class Batch:
    """Tensors of a batch; ``face``, ``patches`` and ``boxes`` are what T takes."""

    face: Tensor  # [N, 3, S, S]
    patches: Tensor  # [N, 5, 3, P, P]
    boxes: Tensor  # [N, 5, 4]
    canvas: Tensor  # [N, 3, CANVAS, CANVAS] in [0, 1], before
    target: Tensor  # and after
    weight: Tensor  # [N, 1, CANVAS, CANVAS]: 0 where the target is not known (hair that no matte was found for)
    grey: Tensor  # [N, 1, MAPS, MAPS]
    skin: Tensor  # [N, 1, MAPS, MAPS]
    gain: Tensor  # [N, 1, MAPS, MAPS]
    residual: Tensor  # [N, 3, MAPS, MAPS] in units of [0, 1]
    flow: Tensor  # [N, 2, COARSE, COARSE]
    place: Tensor  # [N, 2, COARSE, COARSE]
    on_face: Tensor  # [N, 1, COARSE, COARSE], where place counts
    which: Tensor  # [N, 5, 2 K] fractions (sum 1)
    depth: Tensor  # [N, 5]
    present: Tensor  # [N] years
    wanted: Tensor  # [N] years
    kind: Tensor  # [N, KINDS]
    grey_hair: Tensor  # [N, 2] fraction of the hair that is grey, at present and as wanted
    sharp: Tensor  # [N] bool

    def to(self, device: torch.device | str) -> Batch:
        return Batch(**{name: value.to(device, non_blocking=True) for name, value in vars(self).items()})


class Examples(Dataset[dict[str, Any]]):
    """Example ``i`` of a seed.

    Args:
        strength: of the augmentation, 0 to 1; 0 leaves pictures as they are.
        unchanged: fraction of the examples whose wanted age is the face's own: nothing is to change.
    """

    def __init__(
        self,
        faces: Faces,
        likelihood: npt.NDArray[np.float64],
        config: NetworkConfig,
        seed: int,
        strength: float,
        unchanged: float = UNCHANGED,
    ) -> None:
        self.faces, self.config, self.seed, self.strength, self.unchanged = faces, config, seed, strength, unchanged
        self.likelihood = likelihood / likelihood.sum()

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, i: int) -> dict[str, Any]:
        random = np.random.default_rng((self.seed, i))
        n = int(random.choice(len(self.faces), p=self.likelihood))
        present = float(np.clip(self.faces.age[n], YOUNGEST, OLDEST))
        wanted = present if random.random() < self.unchanged else float(random.uniform(YOUNGEST, OLDEST))
        return self.example(n, present, wanted, random)

    def example(
        self, n: int, present: float, wanted: float, random: np.random.Generator, may_mirror: bool = True
    ) -> dict[str, Any]:
        """Face ``n`` of ``present`` years at ``wanted`` years, with the faults and the jitter that ``random`` says."""
        f = self.faces
        own = edits.SubjectEdits(f.maps[n].astype(np.float32), f.flow[n], f.place[n])
        edit = edits.at_age(own, present, wanted)
        deepest = f.shares[n] * f.depth[n][:, None]
        lines = layers.texture(f.bank, deepest, f.windows) if edit.depth else np.zeros((1, 1), np.float32)
        image, place, near = f.pixels[n], own.place, _near_face(own.maps[edits.SKIN])
        target = _large(image, edit, lines, place) if wanted != present else image
        if self.strength > 0:
            coarse = cv2.resize(near, (BENDS, BENDS), interpolation=cv2.INTER_AREA)
            shift = augment.bend(coarse, random, self.strength)
            image, target, place, near = (augment.bent(values, shift) for values in (image, target, place, near))
            maps = {name: getattr(edit, name) for name in ("residual", "gain", "grey", "skin", "flow")}
            edit = replace(edit, **{name: augment.bent(values, shift) for name, values in maps.items()})
        known = None if f.hair_is_known[n] else near
        pair, hidden, softness = cameras.both(image, target, random, self.strength)
        mirrored = bool(may_mirror and random.random() < 0.5)
        views = self._views(pair, self.faces.landmarks[n], random, mirrored)

        def square(values: Floats, side: int) -> Floats:
            """Maps [h, w, C] over the picture's square, as view 0 sees them."""
            return _view(values, views["affine"], FACE_BOX, side, mirrored)

        clear = cv2.resize(1 - hidden, edit.skin.shape, interpolation=cv2.INTER_AREA)
        small = square(np.dstack([edit.grey, edit.skin, edit.gain]) * clear[..., None], MAPS)
        weight = np.ones((CANVAS, CANVAS, 1), np.float32) if known is None else square(known[..., None], CANVAS)
        place = square(place, COARSE)
        which = self.faces.shares[n]
        if mirrored:
            place[..., 0] = 1 - place[..., 0]
            which = np.roll(which, which.shape[-1] // 2, axis=-1)
        arrays: dict[str, npt.NDArray[Any]] = {
            "grey": small[..., :1],
            "skin": small[..., 1:2],
            "gain": small[..., 2:],
            "residual": square(edit.residual * clear[..., None], MAPS),
            "weight": weight,
            "flow": square(edit.flow, COARSE) * ((-1, 1) if mirrored else (1, 1)),
            "place": place,
            "on_face": square(near[..., None], COARSE),
        }
        made = {
            name: torch.from_numpy(np.ascontiguousarray(a.transpose(2, 0, 1), np.float32)) for name, a in arrays.items()
        }
        made |= {name: views[name] for name in ("face", "patches", "boxes", "canvas", "target")}
        made["which"] = torch.from_numpy(which.astype(np.float32))
        # A blurred picture has no sharp lines: they are drawn as faintly as its own are seen.
        made["depth"] = torch.from_numpy((edit.depth * softness * self.faces.depth[n]).astype(np.float32))
        made["present"], made["wanted"] = torch.tensor(present), torch.tensor(wanted)
        made["kind"] = torch.tensor([float(kind in (f.photos[n].source, f.photos[n].gender)) for kind in KINDS])
        made["grey_hair"] = torch.tensor(edits.grey_hair(f.photos[n].tags, present, wanted))
        made["sharp"] = torch.tensor(bool(self.faces.sharp[n]) and softness > 0.8)
        return made

    def _views(
        self, pair: list[Bytes], landmarks: npt.NDArray[np.float64], random: np.random.Generator, mirrored: bool
    ) -> dict[str, Any]:
        """The views of T, and the canvas and its target; ``pair``: the picture and its target, [SIDE, SIDE, 3]."""
        affine = cameras.jittered_affine(random, self.strength)
        eyes = float(np.linalg.norm(landmarks[1] - landmarks[0]))
        points = landmarks + random.normal(0, 0.006 * eyes * self.strength, landmarks.shape)
        points = geometry.apply(geometry.invert(affine), points)
        if mirrored:
            points = points[[1, 0, 2, 4, 3]] * (-1, 1) + (1, 0)
        boxes = geometry.region_boxes(points, np.eye(2, 3))
        canvas, target = (_view(picture, affine, FACE_BOX, CANVAS, mirrored) for picture in pair)
        same = self.config.face_size == CANVAS
        face = canvas if same else _view(pair[0], affine, FACE_BOX, self.config.face_size, mirrored)
        patches = [_view(pair[0], affine, box, self.config.patch_size, mirrored) for box in boxes]

        def planar(pixels: Bytes) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))

        return {
            "affine": affine,
            "face": planar(face),
            "patches": torch.stack([planar(p) for p in patches]),
            "boxes": torch.from_numpy(boxes.astype(np.float32)),
            "canvas": planar(canvas),
            "target": planar(target),
        }


def _large(image: Bytes, edit: edits.Edit, lines: Floats, place: Floats) -> Bytes:
    """The edited picture at SIDE, with an edit whose maps are kept smaller."""
    residual, gain, grey, skin = (
        cv2.resize(values, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        for values in (edit.residual, edit.gain, edit.grey, edit.skin)
    )
    large = edits.Edit(residual, gain, grey, skin, edit.flow, edit.depth)
    made = edits.apply(image.astype(np.float32) / 255, large, lines, place)
    return cv2.convertScaleAbs(made, alpha=255.0)


def _near_face(skin: Floats) -> Floats:
    """Soft mask of the face and a little round it."""
    grown = cv2.dilate((skin > 0.3).astype(np.float32), np.ones((13, 13), np.uint8))
    return cv2.GaussianBlur(grown, (0, 0), 3.0)


def _view(
    values: npt.NDArray[Any], affine: npt.NDArray[np.float64], box: npt.ArrayLike, side: int, mirrored: bool
) -> npt.NDArray[Any]:
    """A view of a picture or of maps over the canonical square, [side, side, C], C of at most 4, as ``region_crop`` samples it.

    ``affine`` [2, 3] maps the detected face's canonical points to the picture's; a mirrored view is one of the mirrored picture.
    Where it reduces, each pixel is the mean of 2 x 2 bilinear samples (the kernels' rule for steps of 1 to 2).
    """
    height = values.shape[0]
    x0, y0, x1, y1 = np.asarray(box, np.float64)
    from_view = geometry.view_affine(affine, (1 - x0, y0, 1 - x1, y1) if mirrored else box)
    linear, offset = from_view[:, :2], from_view[:, 2]
    samples = 2 if np.linalg.norm(linear[:, 0]) * height / side > 1.001 else 1
    size = side * samples
    # From index coordinates of the result to index coordinates of the source.
    matrix = np.column_stack([linear * height / size, offset * height + linear @ (0.5, 0.5) * height / size - 0.5])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(values, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    if samples == 2:
        seen = cv2.resize(seen, (side, side), interpolation=cv2.INTER_AREA)
    return seen.reshape(side, side, -1)


def collate(rows: list[dict[str, Any]]) -> Batch:
    """A batch; pictures arrive as bytes and leave as floats, views in [-1, 1], canvases in [0, 1]."""
    stacked = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    for name in ("face", "patches"):
        stacked[name] = stacked[name].float() / 127.5 - 1
    for name in ("canvas", "target"):
        stacked[name] = stacked[name].float() / 255
    return Batch(**stacked)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def batches(examples: Examples, start: int, batch: int, rank: int, world: int, workers: int) -> DataLoader[Batch]:
    """Batches from number ``start`` on, without end; each process its own."""
    numbers = (range(i, i + batch) for i in itertools.count((start * world + rank) * batch, batch * world))
    return DataLoader(
        examples,
        batch_sampler=numbers,
        collate_fn=collate,
        num_workers=workers,
        worker_init_fn=_one_thread,
        multiprocessing_context="fork" if workers else None,
        prefetch_factor=4 if workers else None,
        generator=torch.Generator(),  # the loader draws a seed: not from the state that a checkpoint keeps
    )


def likelihood(faces: Faces, balance: float, dressed: float = 0.0) -> npt.NDArray[np.float64]:
    """How likely each face is drawn, [N]: by decade, sharpness and sex, between as they come (0) and evenly (1); fringes, tails and bald heads more often.

    Args:
        dressed: how often a face that is dressed is drawn, of all draws, where there is any.
    """
    women = np.array([photo.gender == "F" for photo in faces.photos])
    group = np.clip(faces.age // 10, 2, 7).astype(int) * 4 + 2 * faces.sharp + women
    counts = np.bincount(group, minlength=32)
    keys = hair.fringes().keys() | hair.checked()["tails"] | hair.checked()["bald"]
    missed = np.array([photo.key in keys for photo in faces.photos])
    greys = np.array([bool(photo.tags & (grey.GREY | {"grey beard"})) for photo in faces.photos])
    rare = np.where(missed, _MISSED, np.where(faces.sharp, 1.0, 0.5)) * np.where(greys, _GREYS, 1.0)
    often = (1 / counts[group].astype(np.float64)) ** balance * rare
    if not faces.dressed.any():
        return often
    parts = [often * mask / often[mask].sum() for mask in (~faces.dressed, faces.dressed)]
    return (1 - dressed) * parts[0] + dressed * parts[1]


def only(photos: list[Photo], split: str) -> list[Photo]:
    return [photo for photo in photos if photo.split == split]
