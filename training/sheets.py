"""Contact sheets: pictures in rows, and of a run its held-out faces, the input and what T makes of it in columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from . import data, edits, examples
from .networks import FACE_BOX, LGIN, NetworkConfig

#: Ages of a sheet, years, and faces on it.
AGES = (20.0, 30.0, 50.0, 70.0, 80.0)
ROWS = 24


def grid(
    rows: Sequence[Sequence[tuple[str, npt.NDArray[np.uint8]]]],
    side: int,
    *,
    band: int = 0,
    gap: int = 0,
    title: str = "",
) -> Image.Image:
    """Rows of captions and pictures [H, W, 3] on white, all in pixels.

    Args:
        side: of every picture on the sheet. band: height of the captions, above the pictures, and of the title. gap: between columns.
    """
    head, columns = band * bool(title), max(len(row) for row in rows)
    sheet = Image.new("RGB", (columns * (side + gap) - gap, head + len(rows) * (side + band)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=max(10, 0.6 * band))
    pen.text((4, 4), title, fill="black", font=font)
    for i, row in enumerate(rows):
        for k, (caption, picture) in enumerate(row):
            left, top = k * (side + gap), head + i * (side + band)
            pen.text((left + 4, top + 4), caption, fill="black", font=font)
            shown = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(shown, (left, top + band))
    return sheet


def plain_batch(faces: examples.Faces, index: Iterable[int]) -> examples.Batch:
    """Faces as they are, without augmentation, at their own age."""
    source = examples.Examples(faces, np.ones(len(faces)), NetworkConfig(), seed=0, strength=0.0)
    random, age = np.random.default_rng(0), faces.age
    return examples.collate([source.example(i, float(age[i]), float(age[i]), random, may_mirror=False) for i in index])


@torch.no_grad()
def age_all(net: LGIN, batch: examples.Batch, ages: Sequence[float]) -> Tensor:
    """A batch of faces at every age, on the canvas: [N, G + 1, 3, CANVAS, CANVAS] in [0, 1], the input first."""
    device = next(net.parameters()).device
    n, g = len(batch.present), len(ages)
    code = data.age_codes(torch.tensor(ages)).to(device).expand(n, g, -1)
    said = net(batch.face.to(device), batch.patches.to(device), batch.boxes.to(device), code).edits
    canvas = batch.canvas.to(device)
    made = []
    for i in range(g):
        one = edits.Edits(said.face_edit[:, i], said.patch_edit[:, i], said.flow[:, i], said.place, said.lines[:, i])
        made.append(edits.apply(one.map(torch.Tensor.float), batch.boxes.to(device), canvas, FACE_BOX))
    return torch.stack([canvas, *made], 1)


def write(net: LGIN, faces: examples.Faces, path: Path, rows: int = ROWS) -> npt.NDArray[np.uint8]:
    """Write a sheet of ``rows`` faces spread over the split, sharp ones first, and return its pixels [H, W, 3]."""
    candidates = np.flatnonzero(faces.sharp) if faces.sharp.any() else np.arange(len(faces))
    index = candidates[np.linspace(0, len(candidates) - 1, min(rows, len(candidates))).astype(int)]
    strips = (age_all(net, plain_batch(faces, [int(i)]), AGES)[0] for i in index)
    pixels = [(strip.permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy() for strip in strips]
    sheet = grid([[("", picture) for picture in row] for row in pixels], pixels[0].shape[1])
    sheet.save(path, quality=90)
    return np.asarray(sheet)
