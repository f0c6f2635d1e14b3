"""Numbers and arrays of numbers as arguments: converted, or InputError."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError, shown


def check_integer(name: str, value: Any, low: int, high: int, unit: str = "") -> int:
    if isinstance(value, np.timedelta64) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise InputError(f"{name}: expected a whole number {unit}from {low} to {high}, got {shown(value)}")
    return int(value)


def check_real(name: str, value: Any) -> float:
    try:
        if not isinstance(value, np.timedelta64) and isinstance(value, (numbers.Real, np.integer, np.floating)):
            return float(value)
    except OverflowError:  # more than any float
        pass
    raise InputError(f"{name}: expected a number, got {shown(value)}")


def floats(value: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """``value`` as an array; TypeError, ValueError or OverflowError if it holds no numbers. NumPy takes times and texts for some."""
    given = np.asarray(value)
    if given.dtype.kind not in "biufO":
        raise TypeError(f"numbers are expected, not {given.dtype}")
    return given.astype(np.float64, copy=False)


def check_floats(name: str, value: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """``value`` as a C-contiguous float64 array of ``shape``, where -1 stands for any length."""
    try:
        array = np.require(floats(value), requirements=["C", "A"])
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name}: expected numbers of shape {_text(shape)}, got {type(value).__name__}") from error
    if array.ndim != len(shape) or any(want not in (-1, got) for got, want in zip(array.shape, shape, strict=True)):
        raise InputError(f"{name}: expected shape {_text(shape)}, got {array.shape}")
    return array


def _text(shape: tuple[int, ...]) -> str:
    return str(shape).replace("-1", "N")
