"""How near two results must be. All tolerances stand here, by kind of result, dtype and device; no test owns a number.

Where they come from: views are float arithmetic on positions of up to some hundred pixels (2^-24 of the position, times a
slope of up to 255 levels a pixel, in units of 127.5 levels), float16 adds half a unit of its last place. Frames are
rounded to whole levels, and a value that float error moves across a rounding boundary differs by one level: such flips
must be few and must not lean to one side. The CPU and CUDA run the same arithmetic with contraction off.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["view", "large view", "frame"]

_VIEW = {np.dtype(np.float32): 4e-5, np.dtype(np.float16): 6e-4}
#: Views of faces of ten thousands of pixels: the position's rounding is a few thousandths of a pixel.
_LARGE_VIEW = 5e-3
_FLIP_SHARE = 1e-3
_FLIPS_ALWAYS_ALLOWED = 3
#: Between devices: a last place or two of the float arithmetic; for float16 that may turn one rounding.
_DEVICE_VIEW = {np.dtype(np.float32): 2.5e-7, np.dtype(np.float16): 1e-3}
_DEVICE_FLIP_SHARE = 1e-5


def assert_close(
    actual: npt.NDArray[np.generic],
    expected: npt.NDArray[np.generic],
    *,
    kind: Kind,
    device_pair: bool = False,
) -> None:
    """Fail unless ``actual`` is near enough to ``expected``, of the same shape and dtype.

    Args:
        kind: "view" (crop, resample: in [-1, 1]), "large view" (of a huge face) or "frame" (uint8 after a paste).
        device_pair: both come from the kernels, on two devices, and not one from the reference.
    """
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    difference = actual.astype(np.float64) - expected.astype(np.float64)
    worst = float(np.abs(difference).max(initial=0.0))
    if kind == "frame":
        flips = np.count_nonzero(difference)
        assert worst <= 1, f"a byte differs by {worst:.0f} levels"
        share = _DEVICE_FLIP_SHARE if device_pair else _FLIP_SHARE
        assert flips <= _FLIPS_ALWAYS_ALLOWED + share * difference.size, f"{flips} of {difference.size} flipped"
        lean = abs(float(difference.sum()))
        assert lean <= _FLIPS_ALWAYS_ALLOWED + 4 * np.sqrt(flips), f"flips lean to one side: {lean:.0f} of {flips}"
        return
    assert np.isfinite(difference).all()
    limit = _LARGE_VIEW if kind == "large view" else (_DEVICE_VIEW if device_pair else _VIEW)[actual.dtype]
    assert worst <= limit, f"worst difference {worst:.3g}, limit {limit:.3g}"


def assert_identical(actual: npt.NDArray[np.generic], expected: npt.NDArray[np.generic]) -> None:
    """Fail unless every bit is the same."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    assert actual.tobytes() == expected.tobytes()
