"""Aligned faces as tensors, and the views that T takes of them.

The whole set (925 pictures at 384 px, 400 MB as bytes) lives on the training device, so a batch is a few tensor operations
and needs no worker processes.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lgin_edge import geometry
from lgin_edge.models.description import AgeGroup, groups_from_centers, soft_one_hot

from . import canonical

#: Side at which pictures are kept and faces composed in training; the sharp tier's own size.
CANVAS = 384
#: Files of portraits whose people wear glasses, labelled by eye: the portraits' table does not say.
GLASSES = Path(__file__).parent / "glasses.csv"
#: Seven groups, with the age that each group's code stands for.
GROUPS: tuple[AgeGroup, ...] = groups_from_centers(
    bounds=(25, 35, 45, 55, 65, 75), centers=(20, 30, 40, 50, 60, 70, 80)
)


def default_portraits() -> Path:
    """``$LGIN_PORTRAITS``, else ``../shared/portraits`` beside the checkout."""
    given = os.environ.get("LGIN_PORTRAITS")
    return Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "portraits"


def read_glasses(path: Path = GLASSES) -> frozenset[str]:
    """Files, as the portraits' table names them, of those who wear glasses."""
    with path.open(newline="", encoding="utf-8") as file:
        return frozenset(row["file"] for row in csv.DictReader(file))


@dataclass
class Faces:
    """Aligned portraits of one split.

    Attributes:
        pixels: [N, 3, CANVAS, CANVAS] uint8 RGB; pictures stored smaller are enlarged bilinearly.
        age: [N] years. sex: [N] +1 male, -1 female, 0 unknown. sharp: [N] bool, real detail at CANVAS (tier A). detail: [N] log2 of source pixels
        per pixel of the canvas. landmarks: [N, 5, 2] canonical. glasses: [N] bool, known to wear glasses. masks: [N, 2, side, side] uint8, skin and hair
        (``training.masks``); empty where nobody asked for them.
    """

    pixels: Tensor
    age: Tensor
    sex: Tensor
    sharp: Tensor
    detail: Tensor
    landmarks: Tensor
    glasses: Tensor
    masks: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.uint8))

    def __len__(self) -> int:
        return len(self.age)

    def to(self, device: torch.device | str) -> Faces:
        return Faces(**{name: value.to(device) for name, value in vars(self).items()})


def load_portraits(root: Path, split: str, limit: int | None = None) -> Faces:
    """Read one split ("train", "val", "test") of the portraits.

    Raises:
        FileNotFoundError: no ``labels.csv`` under ``root``.
        ValueError: the split is empty.
    """
    table = root / "labels.csv"
    if not table.is_file():
        raise FileNotFoundError(f"no labels.csv in {root}: give the portraits folder with --data or $LGIN_PORTRAITS")
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    rows = rows[:: max(1, len(rows) // limit)][:limit] if limit else rows
    if not rows:
        raise ValueError(f"{table} has no row with split = {split!r}")
    wearers = read_glasses()
    pixels = np.empty((len(rows), 3, CANVAS, CANVAS), np.uint8)
    names = ("leye", "reye", "nose", "lmouth", "rmouth")
    landmarks = np.empty((len(rows), 5, 2), np.float32)
    for i, row in enumerate(rows):
        with Image.open(root / row["file"]) as picture:
            side = picture.width
            pixels[i] = np.asarray(
                picture.convert("RGB").resize((CANVAS, CANVAS), Image.Resampling.BILINEAR)
            ).transpose(2, 0, 1)
        landmarks[i] = [[float(row[f"{name}_{axis}"]) / side for axis in "xy"] for name in names]

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32)

    template_px = float(geometry.TEMPLATE[1, 0] - geometry.TEMPLATE[0, 0]) * CANVAS
    return Faces(
        pixels=torch.from_numpy(pixels),
        age=column([float(row["age"]) for row in rows]),
        sex=column([{"M": 1.0, "F": -1.0}.get(row["gender"], 0.0) for row in rows]),
        sharp=torch.tensor([row["tier"] == "A" for row in rows]),
        detail=column([np.log2(float(row["src_eye_px"]) / template_px) for row in rows]),
        landmarks=torch.from_numpy(landmarks),
        glasses=torch.tensor([row["file"] in wearers for row in rows]),
    )


def to_float(pixels: Tensor) -> Tensor:
    """uint8 -> float32 in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def age_codes(years: Tensor) -> Tensor:
    """Soft one-hot codes ``l`` [..., K] of ages in years: the same convex combination as at run time."""
    centers = [group.center for group in GROUPS]
    flat = np.interp(years.cpu().numpy().ravel(), centers, np.arange(len(centers)))
    codes = np.stack([soft_one_hot(position, len(centers)) for position in flat])
    return torch.from_numpy(codes).reshape(*years.shape, -1).to(years.device)


@dataclass
class Views:
    """What T takes, cut from a batch of frames, and the canvas that its residuals are composed on.

    ``canvas`` [N, C, CANVAS, CANVAS] holds every channel of the frames; ``face`` and ``patches`` the first three.
    """

    face: Tensor
    patches: Tensor
    boxes: Tensor
    canvas: Tensor


def cut_views(frames: Tensor, affines: Tensor, landmarks: Tensor) -> Views:
    """Cut canvas, face and patches out of frames [N, C >= 3, H, W], with boxes that follow each face's landmarks.

    Args:
        affines: [N, 2, 3] canonical to frame pixels. landmarks: [N, 5, 2] frame pixels.
    """
    boxes = torch.from_numpy(
        np.stack(
            [
                geometry.region_boxes(points, a)
                for points, a in zip(landmarks.double().cpu().numpy(), affines.double().cpu().numpy(), strict=True)
            ]
        )
    ).to(frames.device, torch.float32)
    full = torch.tensor(geometry.FULL_BOX, dtype=torch.float32, device=frames.device).expand(len(frames), 1, 4)
    # A face a few percent larger than the canvas needs no four samples a pixel.
    canvas = canonical.sample_views(frames, affines, full, CANVAS, slack=0.1)[:, 0]
    face = canonical.sample_views(frames[:, :3], affines, full, geometry.FACE_SIZE)[:, 0]
    patches = [
        canonical.sample_views(frames[:, :3], affines, boxes[:, r : r + 1], geometry.PATCH_SIZE)[:, 0]
        for r in range(boxes.shape[1])
    ]
    return Views(face, torch.stack(patches, 1), boxes, canvas)


def plain_affines(n: int, device: torch.device | str = "cpu") -> Tensor:
    """Affines of pictures that are aligned already: canonical unit square to CANVAS pixels, [n, 2, 3]."""
    return torch.tensor([[CANVAS, 0.0, 0.0], [0.0, CANVAS, 0.0]], device=device).expand(n, 2, 3)
