"""What keeps networks from learning a few hundred faces by heart. (What cameras do to the inputs: ``training.cameras``.)"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

Floats = npt.NDArray[np.float32]
#: How far things lie from where they lay, sigma as a fraction of the square: hair, clothes and walls, and of it what faces move.
_BENT, _FACE = 0.028, 0.12
#: Waves of a bend across the square; sigma of the way from face to hair, and how wide a border is held, as fractions of the square.
_WAVES, _EDGE, _HELD = 5, 0.05, 0.1


def bend(face: Floats, random: np.random.Generator, strength: float) -> Floats:
    """How far from each pixel of a bent picture lies what it shows, [side, side, 2] as fractions of the square.

    No two cuts of hair are alike, and the packs have some 1,200: here each is seen in another shape every time.

    Args:
        face: [side, side], 1 on the face, which is bent little: what is drawn there has its place.
        strength: 0 to 1.
    """
    side = len(face)
    waves = random.standard_normal((_WAVES, _WAVES, 2), np.float32).clip(-2, 2) * np.float32(
        _BENT * strength
    )  # more would fold
    free = 1 - (1 - _FACE) * cv2.GaussianBlur(face, (0, 0), _EDGE * side)
    t = (np.arange(side, dtype=np.float32) + 0.5) / side
    edge = np.minimum(t, 1 - t)  # beyond the border is no picture
    free *= (np.minimum(edge[:, None], edge) / _HELD).clip(0, 1)
    return free[..., None] * cv2.resize(waves, (side, side), interpolation=cv2.INTER_CUBIC)


def bent(values: npt.NDArray[Any], shift: Floats) -> npt.NDArray[Any]:
    """A picture or maps over the square, [h, w] or [h, w, C] with C of at most 4, bent by what ``bend`` made."""
    height, width = values.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    off = cv2.resize(shift, (width, height), interpolation=cv2.INTER_LINEAR) * np.float32((width, height))
    return cv2.remap(values, x + off[..., 0], y + off[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def differentiable(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """DiffAugment (Zhao et al. 2020) of what D sees, [N, 3, H, W]: brightness, saturation, contrast, shift, cut-out.

    Differentiable in ``pictures``; applied alike to real and made faces, so that D never sees either as it is.
    """
    n, _, h, w = pictures.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (torch.rand(n, *shape, generator=generator) * (high - low) + low).to(pictures)

    x = pictures + uniform(-0.3, 0.3, 1, 1, 1)
    gray = x.mean(1, keepdim=True)
    x = gray + (x - gray) * uniform(0.5, 1.5, 1, 1, 1)
    middle = x.mean((1, 2, 3), keepdim=True)
    x = middle + (x - middle) * uniform(0.7, 1.3, 1, 1, 1)
    reach = max(h, w) // 8
    padded = F.pad(x, (reach,) * 4)
    shifts = torch.randint(0, 2 * reach + 1, (n, 2), generator=generator).tolist()
    x = torch.stack([p[:, dy : dy + h, dx : dx + w] for p, (dy, dx) in zip(padded, shifts, strict=True)])
    rows, columns = torch.arange(h, device=x.device)[:, None], torch.arange(w, device=x.device)
    corner = uniform(-0.15, 0.85, 2, 1, 1) * max(h, w)
    hole = 0.3 * max(h, w)
    inside = ((rows - corner[:, :1]).sub(hole / 2).abs() < hole / 2) & (
        (columns - corner[:, 1:]).sub(hole / 2).abs() < hole / 2
    )
    return x * ~inside
