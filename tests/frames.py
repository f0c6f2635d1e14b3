"""Frames in every format and memory layout, faces to cut from them, and the devices to do it on."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
import pytest

from lgin_edge.frames import Color
from lgin_edge.geometry import REGION_BOXES

COLORS: tuple[Color, ...] = get_args(Color)
Layout = Literal["plain", "padded", "flipped", "steps", "channel steps", "channels reversed", "columns first"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

#: Devices as parameters. Without a GPU conftest.py skips those marked cuda; LGIN_REQUIRE_CUDA=1 makes that a failure.
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


def frame_shape(height: int, width: int, color: Color) -> tuple[int, ...]:
    """Shape of a frame of about ``height x width`` pixels (NV12: rounded up to even)."""
    if color == "nv12":
        return ((height + 1) // 2 * 3, (width + 1) // 2 * 2)
    return (height, width, 4 if color in ("rgba", "bgra") else 3)


def in_layout(frame: np.ndarray, layout: Layout) -> np.ndarray:
    """The same pixels in another memory layout; the memory between them holds other bytes."""
    h, w, *channels = frame.shape
    c = channels[0] if channels else 1
    pixels = frame.reshape(h, w, c)

    def within(shape: tuple[int, ...]) -> np.ndarray:
        return np.random.default_rng(h * w).integers(0, 256, shape, dtype=np.uint8)

    if layout == "padded":
        view = within((h, w + 5, c))[:, 2 : w + 2]
    elif layout == "flipped":
        view = within((h, w, c))[::-1, ::-1]
    elif layout == "steps":
        view = within((2 * h, 3 * w, c))[::-2, 1::3]
    elif layout == "channel steps":
        view = within((h, w, 2 * c + 1))[:, :, 1::2]
    elif layout == "channels reversed":
        view = within((h, w, c))[:, :, ::-1]
    elif layout == "columns first":
        view = within((w, h, c)).transpose(1, 0, 2)
    else:
        view = within((h, w, c))
    view[...] = pixels
    return view if channels else view[:, :, 0]


def random_frame(rng: np.random.Generator, height: int, width: int, color: Color) -> np.ndarray:
    return rng.integers(0, 256, frame_shape(height, width, color), dtype=np.uint8)


def face_affine(center: tuple[float, float], side: float, angle: float = 0.0) -> np.ndarray:
    """Similarity [2, 3] that puts the canonical square's centre at ``center`` with sides of ``side`` px."""
    cos, sin = math.cos(angle) * side, math.sin(angle) * side
    x, y = center
    return np.array([[cos, -sin, x - (cos - sin) / 2], [sin, cos, y - (sin + cos) / 2]])


def template_boxes(count: int) -> np.ndarray:
    """The template's boxes [count, 5, 4]."""
    return np.tile(REGION_BOXES, (count, 1, 1))
