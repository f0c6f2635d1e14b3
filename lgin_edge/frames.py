"""Frames, views and numbers as the kernels take them: their types, and the checks before anything native is called.

Every check raises InputError, and gives what it checked in the form that the kernels want.
"""

from __future__ import annotations

import re
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from .errors import InputError

#: Channel order of a frame: packed 8-bit [H, W, 3 or 4], or NV12 [H * 3/2, W].
Color: TypeAlias = Literal["rgb", "bgr", "rgba", "bgra", "nv12"]
Frame: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float16]
#: x0, y0, x1, y1 in frame pixels: columns x0 to x1 - 1, rows y0 to y1 - 1.
Rectangle: TypeAlias = tuple[int, int, int, int]


CHANNELS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}
MAX_SIDE = 4096
MAX_FRAME_SIDE = 1 << 24
MAX_FACES = 1 << 20
MAX_ADDRESS = (1 << 63) - 1
MAX_PITCH = 1 << 32
MAX_ORDINAL = 9999


def check_color(color: str) -> str:
    if color not in get_args(Color):
        raise InputError(f"color: expected one of {', '.join(get_args(Color))}, got {color!r}")
    return color


def check_frame(name: str, frame: Frame, color: str) -> None:
    check_color(color)
    if not isinstance(frame, np.ndarray):
        raise InputError(f"{name}: expected a NumPy array, got {type(frame).__name__}")
    if frame.dtype != np.uint8:
        raise InputError(f"{name}: expected dtype uint8, got {frame.dtype}; convert to 8 bits a channel first")
    if frame.size == 0:
        raise InputError(f"{name}: expected at least one pixel, got shape {frame.shape}")
    if color == "nv12":
        if frame.ndim != 2 or frame.shape[0] % 3 or frame.shape[1] % 2:
            raise InputError(
                f"{name}: color 'nv12' is [H * 3/2, W] with even H and W (the rows of Y, then the rows of U and V), got "
                f"shape {frame.shape}"
            )
    elif frame.ndim != 3 or frame.shape[2] != CHANNELS[color]:
        hint = "; repeat a grey picture three times" if frame.ndim == 2 or frame.shape[-1] == 1 else ""
        raise InputError(f"{name}: color {color!r} is [H, W, {CHANNELS[color]}], got shape {frame.shape}{hint}")


def check_out(out: Frame, frame: Frame, color: str) -> None:
    check_frame("out", out, color)
    if out.shape != frame.shape:
        raise InputError(f"out: expected the frame's shape {frame.shape}, got {out.shape}")
    if not out.flags.writeable:
        raise InputError("out: the array is read-only; give a writable copy, or out=None for a new array")
    if _overlaps_itself(out):
        raise InputError(
            f"out: several elements share one byte (strides {out.strides}); give an array of its own memory"
        )
    if not same_elements(out, frame) and _shares_memory(out, frame):
        raise InputError(
            "out: shares memory with frame but is not the same array; give frame itself or a separate array"
        )


def same_elements(a: Frame, b: Frame) -> bool:
    return a is b or (a.ctypes.data, a.shape, a.strides) == (b.ctypes.data, b.shape, b.strides)


def _shares_memory(a: Frame, b: Frame) -> bool:
    effort: Any = 10_000
    try:
        return bool(np.shares_memory(a, b, max_work=effort))
    except RuntimeError:  # TooHardError: the strides are so odd that the answer would take long
        return True


def _overlaps_itself(array: Frame) -> bool:
    """Whether two elements may lie at one address: an axis steps less far than the finer axes reach."""
    reach = 0
    for step, length in sorted((abs(step), length) for step, length in zip(array.strides, array.shape, strict=True)):
        if length > 1:
            if step <= reach:
                return True
            reach += step * (length - 1)
    return False


def check_floats(name: str, value: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """``value`` as a C-contiguous float64 array of ``shape``, where -1 stands for any length."""
    try:
        array = np.require(np.asarray(value), np.float64, ["C", "A"])
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected numbers of shape {_text(shape)}, got {type(value).__name__}") from error
    if array.ndim != len(shape) or any(want not in (-1, got) for got, want in zip(array.shape, shape, strict=True)):
        raise InputError(f"{name}: expected shape {_text(shape)}, got {array.shape}")
    return array


def check_faces(
    affines: npt.ArrayLike, boxes: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    a = check_floats("affines", affines, (-1, 2, 3))
    return a, check_floats("boxes", boxes, (len(a), 5, 4))


def check_strengths(strengths: npt.ArrayLike | None, count: int) -> npt.NDArray[np.float64]:
    return np.ones(count) if strengths is None else check_floats("strengths", strengths, (count,))


def check_residuals(face: Floats, patches: Floats, count: int) -> tuple[Floats, Floats]:
    for name, array, ndim in (("face_delta", face, 4), ("patch_delta", patches, 5)):
        if not isinstance(array, np.ndarray) or array.dtype.newbyteorder("=") not in (np.float32, np.float16):
            got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise InputError(f"{name}: expected a float32 or float16 array, got {got}")
        side = array.shape[-1] if array.ndim else 0
        shape = (count, 3, side, side) if ndim == 4 else (count, 5, 3, side, side)
        if array.shape != shape or not 1 <= side <= MAX_SIDE:
            expected = f"({count}, 3, S, S)" if ndim == 4 else f"({count}, 5, 3, P, P)"
            raise InputError(f"{name}: expected shape {expected} with sides of 1 to {MAX_SIDE}, got {array.shape}")
    kind = face.dtype if face.dtype == patches.dtype else np.dtype(np.float32)
    kind = kind.newbyteorder("=")
    return np.require(face, kind, ["C", "A"]), np.require(patches, kind, ["C", "A"])


def check_integer(name: str, value: int, low: int, high: int) -> int:
    if not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise InputError(f"{name}: expected a whole number from {low} to {high}, got {value!r}")
    return int(value)


def check_address(name: str, address: int) -> int:
    if not isinstance(address, (int, np.integer)) or not 0 < address <= MAX_ADDRESS:
        raise InputError(f"{name}: expected an address in device memory, got {address!r}")
    return int(address)


def check_side(name: str, side: int) -> int:
    if not isinstance(side, (int, np.integer)) or not 1 <= side <= MAX_SIDE:
        raise InputError(f"{name}: expected a whole number of pixels from 1 to {MAX_SIDE}, got {side!r}")
    return int(side)


def check_real(name: str, value: float) -> float:
    if not isinstance(value, (int, float, np.number)):
        raise InputError(f"{name}: expected a number, got {value!r}")
    return float(value)


def check_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    try:
        kind: np.dtype[Any] = np.dtype(dtype)
    except TypeError as error:
        raise InputError(f"dtype: expected float32 or float16, got {dtype!r}") from error
    if kind not in (np.float32, np.float16):
        raise InputError(f"dtype: expected float32 or float16, got {kind}")
    return kind


def check_threads(threads: int) -> None:
    if not isinstance(threads, (int, np.integer)) or not 1 <= threads <= 1024:
        raise InputError(f"threads: expected a whole number from 1 to 1024, got {threads!r}")


def device_ordinal(device: str) -> int:
    """-1 for the CPU, else the CUDA device's number."""
    match = re.fullmatch(r"cpu|cuda(?::(\d{1,4}))?", device) if isinstance(device, str) else None
    if match is None:
        raise InputError(f"device: expected 'cpu', 'cuda' or 'cuda:1', got {device!r}")
    return -1 if device == "cpu" else int(match[1] or 0)


def _text(shape: tuple[int, ...]) -> str:
    return str(shape).replace("-1", "N")
