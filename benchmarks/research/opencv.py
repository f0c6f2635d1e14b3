"""Crop and paste put together from OpenCV and NumPy: what one would write without our kernels.

It gives the same pictures but for OpenCV's own rounding. Our crop is the mean of ``n_a x n_b`` bilinear samples spread evenly over
a view pixel's footprint; that is a bilinear warp to a view ``n_a x n_b`` times as large, reduced by INTER_AREA. Our paste is a
sum of residuals, each times its window; here the windows are multiplied in once, at the residuals' resolution.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.stages.measure import WrongAnswer
from lgin_edge import geometry
from lgin_edge.frames import Floats, Frame
from lgin_edge.models.description import Description

#: OpenCV warps bytes with positions in 1/32 pixel and rounds twice: mean and worst difference, levels.
OPENCV_MEAN, OPENCV_WORST = 0.5, 6.0


class Composition:
    """Crop and paste of one face in an RGB frame.

    Args:
        threads: of OpenCV, which has one setting for the whole process: ``use_threads`` before each call.

    Raises:
        ImportError: OpenCV is not installed.
    """

    def __init__(self, about: Description, threads: int) -> None:
        import cv2

        self._cv: Any = cv2
        self._about, self._threads = about, threads
        # 127.5 levels a unit, so that the sum is in levels of the frame.
        self._windows = {
            side: _window(side, taper)[..., None] * np.float32(127.5)
            for side, taper in ((about.face_size, about.face_taper), (about.patch_size, about.region_taper))
        }

    def use_threads(self) -> None:
        if self._cv.getNumThreads() != self._threads:
            self._cv.setNumThreads(self._threads)

    def crop(self, frame: Frame, affine: geometry.Float64, boxes: geometry.Float64) -> tuple[Floats, Floats]:
        """face [1, 3, S, S] and patches [1, 5, 3, P, P], as ``region_crop`` gives them."""
        face = self._view(frame, affine, self._about.face_size)
        patches = [self._view(frame, geometry.view_affine(affine, box), self._about.patch_size) for box in boxes]
        return face, np.stack(patches, axis=1)

    def paste(
        self, frame: Frame, affine: geometry.Float64, boxes: geometry.Float64, deltas: tuple[Floats, ...]
    ) -> Frame:
        """Change the frame in place, as ``region_paste`` does with ``out=frame``."""
        views = [(deltas[0][0], affine)]
        views += [(delta, geometry.view_affine(affine, box)) for delta, box in zip(deltas[1][0], boxes, strict=True)]
        x0, y0, x1, y1 = _bounds(affine, frame.shape[1], frame.shape[0])
        change = np.zeros((y1 - y0, x1 - x0, 3), np.float32)
        for delta, view in views:
            left, top, right, bottom = _bounds(view, frame.shape[1], frame.shape[0])
            here = self._residual(delta, view, left, top, right - left, bottom - top)
            change[top - y0 : bottom - y0, left - x0 : right - x0] += here
        part = frame[y0:y1, x0:x1]
        part[...] = self._cv.add(part, change, dtype=self._cv.CV_8U)  # rounds and clamps
        return frame

    def _view(self, frame: Frame, view: geometry.Float64, side: int) -> Any:
        """[1, 3, side, side] in [-1, 1]."""
        cv2 = self._cv
        n_a, n_b = (max(1, int(np.ceil(np.linalg.norm(view[:, i]) / side - 1e-3))) for i in range(2))
        width, height = side * n_a, side * n_b
        linear = view[:, :2] / (width, height)
        # OpenCV's pixel centres lie at integers, ours at half-integers.
        matrix = np.column_stack([linear, view[:, 2] + linear @ (0.5, 0.5) - 0.5])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        pixels = cv2.warpAffine(frame, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        if n_a > 1 or n_b > 1:
            pixels = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
        planes = pixels.astype(np.float32).transpose(2, 0, 1)
        planes *= np.float32(1 / 127.5)
        planes -= np.float32(1.0)
        return np.ascontiguousarray(planes)[None]

    def _residual(
        self, delta: Floats, view: geometry.Float64, left: int, top: int, width: int, height: int
    ) -> npt.NDArray[np.float32]:
        """Levels to add to a rectangle of the frame, [height, width, 3]."""
        cv2, side = self._cv, delta.shape[-1]
        weighted = np.ascontiguousarray(delta.transpose(1, 2, 0)) * self._windows[side]
        inverse = geometry.invert(view) * side
        matrix = np.column_stack([inverse[:, :2], inverse[:, 2] + inverse[:, :2] @ (left + 0.5, top + 0.5) - 0.5])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped: npt.NDArray[np.float32] = cv2.warpAffine(
            weighted, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_CONSTANT
        )
        return warped


def _window(side: int, taper: float) -> npt.NDArray[np.float32]:
    row = geometry.window((np.arange(side) + 0.5) / side, taper)
    return np.outer(row, row).astype(np.float32)


def _bounds(view: geometry.Float64, width: int, height: int) -> tuple[int, int, int, int]:
    """The rectangle of the frame that a view covers: x0, y0, x1, y1."""
    corners = geometry.apply(view, [(0, 0), (1, 0), (0, 1), (1, 1)])
    low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int)
    return max(0, low[0]), max(0, low[1]), min(width, high[0]), min(height, high[1])


def check(answer: npt.NDArray[np.generic], expected: npt.NDArray[np.generic], unit: float) -> str:
    """OpenCV's composition against ours; ``unit`` is levels of 8 bits a unit of the arrays."""
    off = np.abs(answer.astype(np.float64) - expected.astype(np.float64)) * unit
    if off.mean() > OPENCV_MEAN or off.max() > OPENCV_WORST:
        raise WrongAnswer(f"off by {off.mean():.2f} levels in the mean, {off.max():.1f} at worst")
    return f"mean {off.mean():.2f}, worst {off.max():.1f} levels"
