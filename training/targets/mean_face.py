"""Mesh space: the mean face of the packs, unfolded, and smooth warps between it and a subject.

``place(u) = q`` says where a point of a face lies in mesh space: textures of age layers are drawn there (design section 2).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from scipy.interpolate import RBFInterpolator

from .subject import NOSE_TIP, SIDE, Float64, Floats, Subject

_FILE = Path(__file__).with_name("mean_face.npy")
#: The part of the canonical square, on the mean face, that textures cover: q = (0, 0) and (1, 1) are its corners.
TEXTURE_BOX = (0.11, 0.20, 0.89, 0.98)
#: Side of the grids on which warps are worked out; between, they are bilinear.
GRID = 48
#: Points far from the face that warps leave where they are, canonical.
_FAR = np.array(
    [
        (x, y)
        for x in (-0.16, 0.25, 0.5, 0.75, 1.16)
        for y in (-0.16, 0.25, 0.5, 0.75, 1.16)
        if not (0 < x < 1 and 0 < y < 1)
    ]
)


def load() -> Float64:
    """The mean mesh [468, 2], canonical: of the packs' subjects and their mirror images (``mirrored_points``), so symmetrical."""
    return np.load(_FILE).astype(np.float64)


def mirrored_points(mesh: Float64) -> npt.NDArray[np.int64]:
    """For every point of a nearly symmetrical mesh, its partner on the other side, [468]."""
    reflected = mesh * (-1, 1) + (2 * mesh[NOSE_TIP, 0], 0)
    return np.linalg.norm(reflected[:, None] - mesh[None], axis=-1).argmin(1)


def warp(at: Float64, to: Float64, smoothing: float = 1e-6) -> Floats:
    """Where each point of a grid goes if the points ``at`` go to ``to``: thin-plate spline (Bookstein 1989).

    Args:
        at, to: [n, 2] canonical.

    Returns:
        [GRID, GRID, 2] canonical positions, at the centres of a grid over the canonical square.
    """
    at_all, to_all = np.vstack([at, _FAR]), np.vstack([to, _FAR])
    _, first = np.unique(at_all.round(5), axis=0, return_index=True)
    spline = RBFInterpolator(at_all[first], (to_all - at_all)[first], kernel="thin_plate_spline", smoothing=smoothing)
    t = (np.arange(GRID) + 0.5) / GRID
    points = np.stack(np.meshgrid(t, t), -1).reshape(-1, 2)
    return (points + spline(points)).reshape(GRID, GRID, 2).astype(np.float32)


def place_of(subject: Subject, mean: Float64) -> Floats:
    """``q`` on the grid over a subject's canonical square, [GRID, GRID, 2]; outside [0, 1] off the texture."""
    x0, y0, x1, y1 = TEXTURE_BOX
    return ((warp(subject.mesh / SIDE, mean, smoothing=1e-5) - (x0, y0)) / (x1 - x0, y1 - y0)).astype(np.float32)


def enlarge(grid: Floats, side: int) -> Floats:
    """A grid over the square at ``side`` pixels, bilinear with half-pixel centres, as the kernels sample maps."""
    t = ((np.arange(side, dtype=np.float32) + 0.5) / side * grid.shape[0] - 0.5).clip(0, grid.shape[0] - 1)
    x, y = np.meshgrid(t, t)
    return cv2.remap(grid, x, y, cv2.INTER_LINEAR)


def look_up(image: npt.NDArray[np.generic], positions: Floats, how: int = cv2.INTER_LINEAR) -> npt.NDArray[np.generic]:
    """An image of the unit square [h, w, ...], sampled at positions [H, W, 2] in it; the border is replicated."""
    h, w = image.shape[:2]
    x, y = positions[..., 0] * w - 0.5, positions[..., 1] * h - 0.5
    return cv2.remap(image, x.astype(np.float32), y.astype(np.float32), how, borderMode=cv2.BORDER_REPLICATE)


def texture_grid(mean: Float64, subject: Subject, side: int) -> Floats:
    """For each texel of a texture [side, side], where it lies on the subject, canonical."""
    x0, y0, x1, y1 = TEXTURE_BOX
    over_square = warp(mean, subject.mesh / SIDE, smoothing=1e-5)
    t = (np.arange(side, dtype=np.float32) + 0.5) / side
    x, y = np.meshgrid(x0 + t * (x1 - x0), y0 + t * (y1 - y0))
    return look_up(over_square, np.stack([x, y], -1).astype(np.float32))
