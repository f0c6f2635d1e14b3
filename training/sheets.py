"""Contact sheets: held-out faces in rows, the input and what T makes of it in columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from . import data, edits, examples
from .networks import FACE_BOX, LGIN, NetworkConfig

#: Ages of a sheet, years, and faces on it.
AGES = (20.0, 30.0, 50.0, 70.0, 80.0)
ROWS = 24


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
    strips = [age_all(net, plain_batch(faces, [int(i)]), AGES)[0] for i in index]
    picture = torch.stack(strips).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    pixels = (picture * 255).round().byte().cpu().numpy()
    Image.fromarray(pixels).save(path, quality=90)
    return pixels
