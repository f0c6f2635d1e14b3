"""Crop and paste between views in PyTorch, differentiable.

Because boxes are axis-aligned in canonical space, resampling between two of its views is separable: with the bilinear
hat matrices ``Ay`` and ``Ax`` computed from the boxes

    crop(F) = Ay F Ax^T          paste(Q) = Ay^T Q Ax          (each the other's adjoint)

which is how DRAW (Gregor et al. 2015, eq. 25 to 29) reads and writes its canvas. Only MatMul and element-wise operators,
so the same code trains, exports to ONNX and runs on tensor cores. Channels come last in the products, as convolutions have them on a
GPU, and all boxes are in one: nothing is transposed or repeated for them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def hat(low: Tensor, high: Tensor, out_size: int, in_size: int) -> Tensor:
    """Bilinear sampling matrix: ``out_size`` pixel centres of the interval [low, high], read from a view of [0, 1].

    Args:
        low, high: [...] ends of the interval that is sampled, in units of the side of the view that is read.

    Returns: [..., out_size, in_size]; rows sum to 1, ``max(0, 1 - |position - column|)`` with the border replicated.
    """
    step = (torch.arange(out_size, device=low.device, dtype=low.dtype) + 0.5) / out_size
    t = low[..., None] + step * (high - low)[..., None]
    position = (t * in_size - 0.5).clamp(0, in_size - 1)
    columns = torch.arange(in_size, device=low.device, dtype=low.dtype)
    return (1 - (position[..., None] - columns).abs()).clamp(min=0)


def window(t: Tensor, taper: float) -> Tensor:
    """``geometry.window`` in PyTorch."""
    rise = (torch.minimum(t, 1 - t) / taper).clamp(0, 1)
    return 0.5 - 0.5 * torch.cos(math.pi * rise)


def crop_matrices(boxes: Tensor, out_size: int, in_size: int) -> tuple[Tensor, Tensor]:
    """``(Ay, Ax)``, each [N, R, out_size, in_size], that cut boxes [N, R, 4] out of a map of the whole square."""
    x0, y0, x1, y1 = boxes.unbind(-1)
    return hat(y0, y1, out_size, in_size), hat(x0, x1, out_size, in_size)


def crop(features: Tensor, ay: Tensor, ax: Tensor) -> Tensor:
    """``Ay F Ax^T``: features [N, C, H, W] -> [N, R, C, P, P]."""
    last = features.permute(0, 2, 3, 1)
    rows = ay.flatten(1, 2) @ last.flatten(2)  # [N, R P, W C]
    return (ax[:, :, None] @ rows.unflatten(1, ay.shape[1:3]).unflatten(-1, last.shape[2:])).permute(0, 1, 4, 2, 3)


def paste(patches: Tensor, ay: Tensor, ax: Tensor) -> Tensor:
    """``sum_r Ay^T Q Ax``: patches [N, R, C, P, P] -> [N, C, H, W]; the adjoint of ``crop``."""
    rows = ax[:, :, None].mT @ patches.permute(0, 1, 3, 4, 2)  # [N, R, P, W, C]
    pasted = ay.flatten(1, 2).mT @ rows.flatten(3).flatten(1, 2)  # [N, H, W C]
    return pasted.unflatten(-1, rows.shape[3:]).permute(0, 3, 1, 2)


def windowed_reader(boxes: Tensor, out_size: int, patch_size: int, taper: float) -> tuple[Tensor, Tensor]:
    """``(By, Bx)``, each [N, R, out_size, patch_size]: a canvas of the whole square reads views of ``boxes`` [N, R, 4],
    weighted with each view's raised-cosine window."""

    def axis(low: Tensor, high: Tensor) -> Tensor:
        start, end = -low / (high - low), (1 - low) / (high - low)  # the canvas in the view's own units
        step = (torch.arange(out_size, device=low.device, dtype=low.dtype) + 0.5) / out_size
        t = start[..., None] + step * (end - start)[..., None]
        return hat(start, end, out_size, patch_size) * window(t, taper)[..., None]

    x0, y0, x1, y1 = boxes.unbind(-1)
    return axis(y0, y1), axis(x0, x1)
