"""Frames: the order of their bytes, the one check of an array that is to be one, and what its memory shares."""

from __future__ import annotations

import enum
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from .errors import InputError, shown

#: A pixel format as callers name it. It becomes a ``PixelFormat`` once, where a call comes in.
Color: TypeAlias = Literal["rgb", "bgr", "rgba", "bgra", "nv12"]
Frame: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float16]
#: x0, y0, x1, y1 in frame pixels: columns x0 to x1 - 1, rows y0 to y1 - 1.
Rectangle: TypeAlias = tuple[int, int, int, int]


class PixelFormat(enum.Enum):
    """The order of a frame's bytes.

    Packed frames are [H, W, 3 or 4] uint8. NV12 is [H * 3/2, W] with even H and W: the rows of Y, then H/2 rows of U and V
    in turns; BT.601, limited range.
    """

    RGB = "rgb"
    BGR = "bgr"
    RGBA = "rgba"
    BGRA = "bgra"
    NV12 = "nv12"

    @staticmethod
    def parse(color: str) -> PixelFormat:
        """The format that a caller names. Raises InputError."""
        if not isinstance(color, str) or color not in get_args(Color):
            raise InputError(f"color: expected one of {', '.join(get_args(Color))}, got {shown(color)}")
        return PixelFormat(color)

    @staticmethod
    def of(color: str | None, shape: tuple[int, ...]) -> PixelFormat:
        """The format that a caller names; of none, by an array's channels. Raises InputError."""
        if color is not None:
            return PixelFormat.parse(color)
        if len(shape) == 3 and shape[2] in (3, 4):
            return PixelFormat.RGB if shape[2] == 3 else PixelFormat.RGBA
        if len(shape) == 2 or (len(shape) == 3 and shape[2] == 1):
            raise InputError(
                f"image: expected [H, W, 3 or 4], got shape {shape}. Make a grey picture RGB with "
                'np.stack([gray] * 3, axis=-1); if it is NV12, say color="nv12"'
            )
        raise InputError(f"image: expected [H, W, 3] RGB or [H, W, 4] RGBA, got shape {shape}")

    @property
    def is_nv12(self) -> bool:
        return self is PixelFormat.NV12

    @property
    def channels(self) -> int:
        """Bytes of a packed pixel; of NV12's Y, 1."""
        return 1 if self.is_nv12 else len(self.value)

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Index of R, G and B in a packed pixel."""
        return (2, 1, 0) if self.value.startswith("b") else (0, 1, 2)

    def rows(self, height: int) -> int:
        """Rows of an array that holds a picture of this height."""
        return height * 3 // 2 if self.is_nv12 else height

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """Shape of an array that holds a picture of this size."""
        return (self.rows(height), width) if self.is_nv12 else (height, width, self.channels)

    def size(self, frame: Frame) -> tuple[int, int]:
        """Height and width of the picture in a checked array, pixels."""
        return self.size_of(frame.shape)

    def size_of(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Height and width of the picture in a checked array of this shape, pixels."""
        rows, width = shape[:2]
        return (rows * 2 // 3 if self.is_nv12 else rows), width

    def planes(self, frame: Frame, rectangle: Rectangle) -> list[Frame]:
        """Views of what lies in a rectangle: the packed pixels, or the rows of Y and the rows of UV."""
        x0, y0, x1, y1 = rectangle
        if not self.is_nv12:
            return [frame[y0:y1, x0:x1]]
        height, _ = self.size(frame)
        return [frame[y0:y1, x0:x1], frame[height + y0 // 2 : height + y1 // 2, x0:x1]]

    def check(self, name: str, frame: Frame) -> None:
        """Raise InputError unless this is an array that holds a picture in this format. ``name`` goes into the message."""
        if not isinstance(frame, np.ndarray):
            raise InputError(f"{name}: expected a NumPy array, got {type(frame).__name__}")
        if frame.dtype != np.uint8:
            raise InputError(f"{name}: expected dtype uint8, got {frame.dtype}; convert to 8 bits a channel first")
        self.check_shape(name, frame.shape)

    def check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Raise InputError unless an array of this shape holds a picture in this format."""
        if 0 in shape:
            raise InputError(f"{name}: expected at least one pixel, got shape {shape}")
        if self.is_nv12:
            if len(shape) != 2 or shape[0] % 3 or shape[1] % 2:
                raise InputError(
                    f"{name}: color 'nv12' is [H * 3/2, W] with even H and W (the rows of Y, then the rows of U and V), got "
                    f"shape {shape}"
                )
        elif len(shape) != 3 or shape[2] != self.channels:
            hint = "; repeat a grey picture three times" if len(shape) == 2 or shape[-1:] == (1,) else ""
            raise InputError(f"{name}: color {self.value!r} is [H, W, {self.channels}], got shape {shape}{hint}")


def check_result(out: Frame) -> None:
    """Raise InputError unless every element of an array can be written without another."""
    if not out.flags.writeable:
        raise InputError("out: the array is read-only; give a writable copy, or out=None for a new array")
    if overlaps_itself(out):
        raise InputError(
            f"out: several elements share one byte (strides {out.strides}); give an array of its own memory"
        )


def same_elements(a: Frame, b: Frame) -> bool:
    """Whether two frames are the same bytes in the same order."""
    return a is b or (a.ctypes.data, a.shape, a.strides) == (b.ctypes.data, b.shape, b.strides)


def shares_memory(a: Frame, b: Frame) -> bool:
    """Whether two frames may have a byte in common."""
    effort: Any = 10_000
    try:
        return bool(np.shares_memory(a, b, max_work=effort))
    except RuntimeError:  # TooHardError: the strides are so odd that the answer would take long
        return True


def overlaps_itself(array: Frame) -> bool:
    """Whether two elements may lie at one address: an axis steps less far than the finer axes reach."""
    reach = 0
    for step, length in sorted((abs(step), length) for step, length in zip(array.strides, array.shape, strict=True)):
        if length > 1:
            if step <= reach:
                return True
            reach += step * (length - 1)
    return False
