"""Scene cuts: another picture from one frame to the next."""

from __future__ import annotations

import numpy as np

from ..frames import Frame, PixelFormat
from ..geometry import Float64
from .opencv import opencv

#: Another scene has other colours *and* another arrangement: a lamp changes the colours alone, a swift pan the
#: arrangement alone. Fraction of the pixels that change their colour bin; correlation of two thumbnails.
_COLORS, _ALIKE = 0.3, 0.6
#: Where every face was lost too, the arrangement is enough.
_ALIKE_LOST = 0.7
_THUMBNAIL = (32, 18)
#: About this many samples of the longer side are looked at.
_SAMPLES = 160
_BINS = 4


class SceneCutDetector:
    """Compares each frame with the one before."""

    def __init__(self, pixel_format: PixelFormat) -> None:
        self._format = pixel_format
        self._shape: tuple[int, ...] = ()
        self._colors: Float64 = np.empty(0)
        self._thumbnail: Float64 = np.empty(0)
        self._alike = 1.0

    def __call__(self, frame: Frame) -> bool:
        """Whether a scene begins with this frame; the first frame and one of another size begin one."""
        last_shape, last_colors, last_thumbnail = self._shape, self._colors, self._thumbnail
        self._shape = frame.shape
        self._colors, self._thumbnail = self._summary(frame)
        if last_shape != self._shape:
            self._alike = 1.0
            return True
        self._alike = _correlation(last_thumbnail, self._thumbnail)
        changed = 0.5 * float(np.abs(last_colors - self._colors).sum())
        return changed > _COLORS and self._alike < _ALIKE

    @property
    def suspected(self) -> bool:
        """Whether the last frame may have begun a scene: it has, if every face was lost with it."""
        return self._alike < _ALIKE_LOST

    def _summary(self, frame: Frame) -> tuple[Float64, Float64]:
        """Fractions of the colour bins, and brightness in a thumbnail without its mean."""
        step = max(1, max(frame.shape[:2]) // _SAMPLES)
        if self._format.is_nv12:
            height, _ = self._format.size(frame)
            frame = frame[:height, :, None]
        pixels = frame[::step, ::step, :3]
        bins = (pixels >> 6).astype(np.intp) @ (_BINS ** np.arange(pixels.shape[2]))
        colors = np.bincount(bins.ravel(), minlength=_BINS ** pixels.shape[2]) / bins.size
        gray = np.ascontiguousarray(pixels.astype(np.float32).mean(axis=2))
        thumbnail = opencv().resize(gray, _THUMBNAIL, interpolation=opencv().INTER_AREA).astype(np.float64)
        return colors, thumbnail - thumbnail.mean()


def _correlation(one: Float64, other: Float64) -> float:
    """Of two pictures without their mean; two pictures that show nothing are alike."""
    sizes = float(np.sqrt((one**2).sum() * (other**2).sum()))
    if sizes < one.size:  # less than a level of contrast
        return 1.0
    return float((one * other).sum() / sizes)
