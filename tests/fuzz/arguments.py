"""Bytes as arguments of the kernels: what callers give, and what none should."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lgin_edge import geometry
from lgin_edge.frames import PixelFormat


class Arguments:
    """Reads arguments out of bytes; what the bytes no longer give is 0."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        part = self._data[self._at : self._at + count]
        self._at += count
        return part.ljust(count, b"\0")

    def pick(self, choices: Sequence[Any]) -> Any:
        return choices[self.take(1)[0] % len(choices)]

    def small(self) -> int:
        return self.take(1)[0] % 4

    def number(self, usual: int) -> Any:
        """Mostly 1 to ``usual``, sometimes what no caller should give."""
        kind = self.take(1)[0]
        if kind >= 32:
            return 1 + kind % usual
        return self.pick(
            (0, -1, (1 << 12) + 1, 1 << 24, (1 << 31) - 1, 1 << 31, 1 << 63, -(1 << 70), 1.5, None, "1", True, math.nan)
        )

    def real(self) -> Any:
        """Mostly a taper."""
        kind = self.take(1)[0]
        return kind / 512 if kind >= 16 else self.pick((0.0, -1.0, math.nan, math.inf, 1e-320, None, "0.1"))

    def frame(self) -> tuple[Any, Any]:
        color = self.pick(("rgb", "bgr", "rgba", "bgra", "nv12", "yuv"))
        height, width = 1 + self.take(1)[0] % 40, 1 + self.take(1)[0] % 40
        if color == "nv12":
            height, width = height // 2 * 2 or 2, width // 2 * 2 or 2
        shape = PixelFormat("rgb" if color == "yuv" else color).shape(height, width)
        noise = np.random.default_rng(int.from_bytes(self.take(4), "big"))
        return self.array(noise.integers(0, 256, shape, np.uint8)), color

    def array(self, array: npt.NDArray[Any]) -> Any:
        """Mostly the array itself, sometimes another one of its elements, or none at all."""
        kind = self.take(1)[0]
        if kind >= 96:
            return array
        flipped = tuple(slice(None, None, -1 if self.take(1)[0] % 2 else 1) for _ in range(array.ndim))
        step = tuple(slice(None, None, 2) for _ in range(array.ndim))
        padded = np.zeros((*array.shape[:-1], array.shape[-1] + 3), array.dtype) if array.ndim else array
        read_only = array.view()
        read_only.flags.writeable = False
        odd = (
            np.frombuffer(bytes(1) + array.tobytes(), np.uint8)[1:].view(array.dtype).reshape(array.shape)
        )  # misaligned
        with np.errstate(invalid="ignore"):  # of what is no number
            whole = array.astype(np.int16)
        return (
            array[flipped],
            array[step],
            padded[..., : array.shape[-1]] if array.ndim else array,
            array.T,
            read_only,
            odd,
            np.asfortranarray(array),
            array.astype(array.dtype.newbyteorder()),
            array.astype(np.float64),
            whole,
            array.astype(object),
            array[:0],
            array[..., None],
            array.tolist(),
            None,
            np.broadcast_to(array[:1], array.shape) if len(array) else array,
        )[kind % 16]

    def floats(self, shape: tuple[int, ...]) -> Any:
        """Mostly a plausible affine or box, sometimes any doubles."""
        kind = self.take(1)[0]
        if kind < 32:
            raw = np.frombuffer(self.take(8 * math.prod(shape)), np.float64).reshape(shape)
            return self.array(raw.copy())
        noise = np.random.default_rng(int.from_bytes(self.take(2), "big"))
        if shape[-2:] == (2, 3):
            side, turn = np.exp2(noise.uniform(0, 9)), noise.uniform(-3, 3)
            one = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0]]) * side
            one[:, 2] = noise.uniform(-40, 60, 2)
            values = np.broadcast_to(one, shape).copy()
        elif shape[-1:] == (4,):
            values = np.broadcast_to(geometry.REGION_BOXES, shape) + noise.uniform(-0.1, 0.1)
        else:
            values = noise.uniform(0, 1, shape)
        return self.array(values)
