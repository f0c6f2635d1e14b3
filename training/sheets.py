"""Contact sheets: faces in rows, the input and every age group in columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from . import data
from .canonical import compose
from .networks import LGIN


@torch.no_grad()
def age_all(net: LGIN, faces: data.Faces, index: Tensor) -> Tensor:
    """The chosen faces at every group, on the canvas: [N, K + 1, 3, CANVAS, CANVAS], the input first."""
    device = next(net.parameters()).device
    x = data.to_float(faces.pixels[index]).to(device)
    n, k = len(x), len(data.GROUPS)
    views = data.cut_views(x, data.plain_affines(n, device), faces.landmarks[index].to(device) * data.CANVAS)
    code = torch.eye(k, device=device).expand(n, k, k)
    face_delta, patch_delta, _ = net(views.face, views.patches, views.boxes, code)
    delta = compose(face_delta, patch_delta, views.boxes.repeat_interleave(k, 0), data.CANVAS).unflatten(0, (n, k))
    return torch.cat([views.canvas[:, None], views.canvas[:, None] + delta], 1).clamp(-1, 1)


def write(net: LGIN, faces: data.Faces, path: Path, rows: int = 6) -> npt.NDArray[np.uint8]:
    """Write a sheet of ``rows`` faces spread over the split, sharp ones first, and return its pixels [H, W, 3]."""
    candidates = torch.where(faces.sharp)[0] if faces.sharp.any() else torch.arange(len(faces))
    index = candidates[torch.linspace(0, len(candidates) - 1, min(rows, len(candidates))).long()]
    sheet = age_all(net, faces, index)  # [N, K + 1, 3, H, W]
    picture = sheet.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    pixels = ((picture + 1) * 127.5).round().byte().cpu().numpy()
    image = Image.fromarray(pixels)
    image = image.resize((image.width * 2 // 3, image.height * 2 // 3), Image.Resampling.LANCZOS)
    image.save(path, quality=90)
    return np.asarray(image)
