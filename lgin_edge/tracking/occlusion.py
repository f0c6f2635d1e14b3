"""What a face looks like, coarsely, and how much of it looks like something else: a hand, a cup, another head before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..frames import Frame
from ..geometry import TEMPLATE, Float64
from .opencv import opencv
from .optical_flow import OVAL_AXES, OVAL_CENTER, Patch

#: Cells of the canonical square's side; the pixels that each is the mean of.
_CELLS, _PIXELS = 16, 4
_CENTERS = (np.arange(_CELLS) + 0.5) / _CELLS
#: Cells [16, 16] whose centre lies on the face.
_OVAL = (
    ((_CENTERS[None, :] - OVAL_CENTER[0]) / OVAL_AXES[0]) ** 2
    + ((_CENTERS[:, None] - OVAL_CENTER[1]) / OVAL_AXES[1]) ** 2
) <= 1
#: A cell shows something else if it differs by more than this fraction of the face's own contrast, or by this many levels.
_CONTRAST, _LEVELS = 0.8, 14.0
#: A feature is this square round a landmark, half its side; it is looked for this far from its place, pixels of the view.
_FEATURE, _SEARCH = 8, 5
#: Passes of the robust fit of the light, and how much more or less of it there may be.
_PASSES, _MAX_GAIN = 4, 2.0


@dataclass(frozen=True, eq=False)
class Looks:
    """What a face looks like in one frame."""

    view: Frame  # [64, 64], the canonical square in grey
    cells: Float64  # [C], means of its cells, levels of a byte


def appearance(patch: Patch, affine: Float64) -> Looks:
    """What a face looks like in a patch. ``affine`` is its ``A`` [2, 3]."""
    cv2 = opencv()
    side = _CELLS * _PIXELS
    scale = patch.scale
    # From pixel indices of the canonical view to those of the patch: pixel centres lie at half-integers in both.
    linear = affine[:, :2] * scale[:, None] / side
    shift = (affine[:, 2] - patch.corner[:2]) * scale + linear @ (0.5, 0.5) - 0.5
    view = cv2.warpAffine(
        patch.gray,
        np.column_stack([linear, shift]),
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return Looks(view, view.reshape(_CELLS, _PIXELS, _CELLS, _PIXELS).mean(axis=(1, 3))[_OVAL])


def features_kept(before: Looks, now: Looks) -> tuple[float, float]:
    """How well features are found again near their places: correlations of the worst of eyes and nose, and of nose and mouth together.

    On a head that turns, or stands in another light, eyes and nose stay like themselves; what covers them does not become like them.
    A mouth that speaks changes: of it only a part may be missed.
    """
    found = []
    for x, y in np.rint(TEMPLATE * len(before.view)).astype(int):
        feature = before.view[y - _FEATURE : y + _FEATURE, x - _FEATURE : x + _FEATURE]
        reach = _FEATURE + _SEARCH
        near = now.view[y - reach : y + reach, x - reach : x + reach]
        found.append(float(opencv().matchTemplate(near, feature, opencv().TM_CCOEFF_NORMED).max()))
    return min(found[:3]), sum(found[2:]) / 3


def changed_cells(before: Float64, now: Float64) -> npt.NDArray[np.bool_]:
    """Which of the cells [C] show something else than before. Another light (``now = gain before + offset``) is no change; it
    is fitted robustly, so that what covers a part of the face does not pass for light."""
    spread = max(float(before.std()), 1e-6)
    weights = np.ones_like(before)
    gain, offset = 1.0, float(np.median(now - before))
    for _ in range(_PASSES):
        error = now - gain * before - offset
        limit = max(0.5 * _CONTRAST * spread, _LEVELS / 2)
        weights = np.minimum(1.0, limit / np.maximum(np.abs(error), 1e-9)) ** 2
        total = weights.sum()
        mean_before, mean_now = weights @ before / total, weights @ now / total
        variance = weights @ (before - mean_before) ** 2
        gain = float(weights @ ((before - mean_before) * (now - mean_now)) / max(variance, 1e-9))
        gain = min(_MAX_GAIN, max(1 / _MAX_GAIN, gain))
        offset = float(mean_now - gain * mean_before)
    limit = max(_CONTRAST * spread * gain, _LEVELS)
    changed: npt.NDArray[np.bool_] = np.abs(now - gain * before - offset) > limit
    return changed


def lie_near(cells: npt.NDArray[np.bool_], points: Float64) -> npt.NDArray[np.bool_]:
    """Which of the points [P, 2] (canonical) lie in one of these cells [C], or beside one."""
    grid = np.zeros((_CELLS + 2, _CELLS + 2), bool)
    grid[1:-1, 1:-1][_OVAL] = cells
    grid = opencv().dilate(grid.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    column, row = np.clip(np.floor(points * _CELLS).astype(int) + 1, 0, _CELLS + 1).T
    near: npt.NDArray[np.bool_] = grid[row, column]
    return near


def in_frame_fraction(affine: Float64, width: int, height: int) -> float:
    """Fraction of a face's cells that lie in a frame of this size, 0 to 1."""
    v, u = np.nonzero(_OVAL)
    points = np.column_stack([_CENTERS[u], _CENTERS[v]]) @ affine[:, :2].T + affine[:, 2]
    return float(((points >= 0) & (points < (width, height))).all(axis=1).mean())
