"""Crop, paste and composition in PyTorch: the differentiable twin of ``lgin_edge.reference``.

Because boxes are axis-aligned in canonical space, resampling between two of its views is separable: with the bilinear
hat matrices ``Ay`` and ``Ax`` computed from the boxes

    crop(F) = Ay F Ax^T          paste(Q) = Ay^T Q Ax          (each the other's adjoint)

which is how DRAW (Gregor et al. 2015, eq. 25 to 29) reads and writes its canvas. Only MatMul and element-wise operators,
so the same code trains, exports to ONNX and runs on tensor cores.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lgin_edge import geometry


def hat(low: Tensor, high: Tensor, out_size: int, in_size: int) -> Tensor:
    """Bilinear sampling matrix: ``out_size`` pixel centres of the interval [low, high], read from a view of [0, 1].

    Args:
        low, high: [...] ends of the interval that is sampled, in units of the side of the view that is read.

    Returns:
        [..., out_size, in_size]; rows sum to 1, ``max(0, 1 - |position - column|)`` with the border replicated.
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
    return ay[:, :, None] @ features[:, None] @ ax[:, :, None].mT


def paste(patches: Tensor, ay: Tensor, ax: Tensor) -> Tensor:
    """``sum_r Ay^T Q Ax``: patches [N, R, C, P, P] -> [N, C, H, W]; the adjoint of ``crop``."""
    return (ay[:, :, None].mT @ patches @ ax[:, :, None]).sum(1)


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


def compose(face_delta: Tensor, patch_delta: Tensor, boxes: Tensor, size: int) -> Tensor:
    """``d(u) = w_0 d_g + sum_r w_r d_r`` on a canvas of ``size`` pixels, [N, 3, size, size] (design section 2).

    Args:
        face_delta: [N, 3, S, S]; patch_delta: [N, 5, 3, P, P]; boxes: [N, 5, 4].
    """
    full = torch.tensor(geometry.FULL_BOX, device=boxes.device, dtype=boxes.dtype).expand(len(boxes), 1, 4)
    gy, gx = windowed_reader(full, size, face_delta.shape[-1], geometry.FACE_TAPER)
    ry, rx = windowed_reader(boxes, size, patch_delta.shape[-1], geometry.REGION_TAPER)
    whole = gy.to(face_delta.dtype) @ face_delta @ gx.to(face_delta.dtype).mT
    parts = ry[:, :, None].to(patch_delta.dtype) @ patch_delta @ rx[:, :, None].to(patch_delta.dtype).mT
    return whole + parts.sum(1)


def sample_views(frames: Tensor, affines: Tensor, boxes: Tensor, size: int, slack: float = 1e-3) -> Tensor:
    """``region_crop`` of one box a face, differentiable: bilinear, averaged over the footprint where it reduces.

    Args:
        frames: [N, C, H, W].
        affines: [N, 2, 3] canonical to frame pixels.
        boxes: [N, R, 4] canonical.
        size: side P of the views.
        slack: how many more frame pixels than samples a view may have per axis.

    Returns:
        [N, R, C, P, P]. As the kernels define it, except that the number of samples per axis is the largest of the batch.
    """
    n, r = boxes.shape[:2]
    h, w = frames.shape[-2:]
    extent = boxes[..., 2:] - boxes[..., :2]  # [N, R, 2]
    scale = torch.linalg.vector_norm(affines[:, :, 0], dim=-1)[:, None, None]
    most = (scale * extent / size).amax(dim=(0, 1))
    nx, ny = (max(1, math.ceil(float(m) - slack)) for m in most)
    u = (torch.arange(size * nx, device=frames.device) + 0.5) / (size * nx)
    v = (torch.arange(size * ny, device=frames.device) + 0.5) / (size * ny)
    x = (boxes[..., 0, None] + u * extent[..., 0, None])[:, :, None, :].expand(n, r, size * ny, size * nx)
    y = (boxes[..., 1, None] + v * extent[..., 1, None])[:, :, :, None].expand(n, r, size * ny, size * nx)
    points = torch.stack([x, y, torch.ones_like(x)], -1).reshape(n, -1, 3) @ affines.mT  # [N, points, 2] frame pixels
    grid = points / torch.tensor([w / 2, h / 2], device=frames.device) - 1
    samples = F.grid_sample(
        frames, grid.reshape(n, r * size * ny, size * nx, 2), padding_mode="border", align_corners=False
    )
    pooled = F.avg_pool2d(samples, (ny, nx)) if nx * ny > 1 else samples
    return pooled.reshape(n, -1, r, size, size).transpose(1, 2)
