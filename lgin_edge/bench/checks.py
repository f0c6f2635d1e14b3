"""Whether an answer is right: all tolerances of the bench, and where they come from.

``exact`` candidates compute in float32 on the CPU, as the reference does: they differ by rounding. The others (float16, TF32,
another library's sampling) must keep a peak signal-to-noise ratio.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..frames import Floats, Frame
from .measure import WrongAnswer

#: Crop against the NumPy reference in double: rounding of positions and of float16 views; see tests/tolerances.py.
VIEW = {np.dtype(np.float32): 4e-5, np.dtype(np.float16): 6e-4}
#: Residuals of float32 against one thread of ONNX Runtime: sums in another order. A level of 8 bits is 7.8e-3.
RESIDUAL = 1e-3
#: The yardstick's logits, which are of the order of 1, against one thread.
LOGIT = 1e-3
#: Frames: levels by which a byte may differ, and share of the bytes round the face that may.
LEVELS, SHARE = 1, 0.01
#: Of lossy candidates, decibels: over residuals (peak 2) and over the bytes round the face (peak 255).
PSNR = 40.0
#: Detection: the drawn face's landmarks, as a share of the distance of its eyes.
DETECTED = 0.15
#: OpenCV warps bytes with positions in 1/32 pixel and rounds twice: mean and worst difference, levels.
OPENCV_MEAN, OPENCV_WORST = 0.5, 6.0


def views(answer: Sequence[Floats], expected: Sequence[Floats]) -> str:
    """Crop: face and patches in [-1, 1]."""
    worst = max(_worst(a, e) for a, e in zip(answer, expected, strict=True))
    return _within(worst, VIEW[answer[0].dtype], "{:.1e}")


def residuals(answer: Sequence[Floats], expected: Sequence[Floats] | None, *, exact: bool) -> str:
    """Engine: face_delta and patch_delta. Without a reference they must be plausible."""
    if expected is None:
        return plausible(answer)
    if exact:
        return _within(max(_worst(a, e) for a, e in zip(answer, expected, strict=True)), RESIDUAL, "{:.1e}")
    return _signal(answer, expected, 2.0)


def logits(answer: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> str:
    """The yardstick."""
    return _within(_worst(answer, expected), LOGIT, "{:.1e}")


def plausible(answer: Sequence[Floats]) -> str:
    """Engine without a reference: finite residuals in [-2, 2] that are not all nothing."""
    if not all(np.isfinite(array).all() and np.abs(array).max() <= 2.0 for array in answer):
        raise WrongAnswer("residuals that are no numbers, or beyond [-2, 2]")
    if not any(np.any(array) for array in answer):
        raise WrongAnswer("residuals that are all 0")
    return "plausible; there is no reference"


def changed(answer: Frame, before: Frame, around: tuple[slice, slice]) -> str:
    """A whole frame without a reference: it changed near the face, and nowhere else."""
    _unchanged(answer, before, around)
    if not np.any(answer != before):
        raise WrongAnswer("nothing changed")
    return "plausible; there is no reference"


def frame(answer: Frame, expected: Frame, around: tuple[slice, slice], *, exact: bool) -> str:
    """Paste and whole frame: near the face as expected, and elsewhere not one byte changed."""
    _unchanged(answer, expected, around)
    here, there = answer[around], expected[around]
    if not exact:
        return _signal([here], [there], 255.0)
    off = np.abs(here.astype(np.int16) - there)
    if off.max() > LEVELS or np.count_nonzero(off) > SHARE * off.size:
        raise WrongAnswer(f"{np.count_nonzero(off)} of {off.size} bytes differ, by up to {off.max()} levels")
    return f"{np.count_nonzero(off)} of {off.size} bytes by one level"


def like_opencv(answer: npt.NDArray[np.generic], expected: npt.NDArray[np.generic], unit: float) -> str:
    """OpenCV's composition against ours; ``unit`` is levels of 8 bits a unit of the arrays."""
    off = np.abs(answer.astype(np.float64) - expected.astype(np.float64)) * unit
    if off.mean() > OPENCV_MEAN or off.max() > OPENCV_WORST:
        raise WrongAnswer(f"off by {off.mean():.2f} levels in the mean, {off.max():.1f} at worst")
    return f"mean {off.mean():.2f}, worst {off.max():.1f} levels"


def landmarks(answer: npt.NDArray[np.float64], expected: npt.NDArray[np.float64], share: float) -> str:
    """Detection: five points [5, 2], off by at most a share of the distance of the eyes."""
    off = float(np.abs(answer - expected).max() / np.linalg.norm(expected[1] - expected[0]))
    return _within(off, share, "{:.1e} of the eyes' distance")


def _unchanged(answer: Frame, expected: Frame, around: tuple[slice, slice]) -> None:
    if answer.shape != expected.shape or answer.dtype != expected.dtype:
        raise WrongAnswer(f"{answer.dtype} {answer.shape} instead of {expected.dtype} {expected.shape}")
    different = answer != expected
    different[around] = False
    if different.any():
        raise WrongAnswer(f"{np.count_nonzero(different)} bytes away from the face changed")


def _worst(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> float:
    if a.shape != b.shape:
        raise WrongAnswer(f"shape {a.shape} instead of {b.shape}")
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0))


def _within(worst: float, limit: float, form: str) -> str:
    if not worst <= limit:  # so that NaN is refused
        raise WrongAnswer(f"off by {form.format(worst)}, allowed are {form.format(limit)}")
    return f"within {form.format(worst)}"


def _signal(answer: Sequence[npt.NDArray[np.generic]], expected: Sequence[npt.NDArray[np.generic]], peak: float) -> str:
    squares = 0.0
    for a, e in zip(answer, expected, strict=True):
        if a.shape != e.shape:
            raise WrongAnswer(f"shape {a.shape} instead of {e.shape}")
        squares = max(squares, float(np.square(a.astype(np.float64) - e.astype(np.float64)).mean()))
    decibels = 10 * np.log10(peak * peak / squares) if squares else np.inf
    if not decibels >= PSNR:
        raise WrongAnswer(f"PSNR {decibels:.1f} dB, at least {PSNR:.0f} are asked")
    return f"PSNR {decibels:.0f} dB"
