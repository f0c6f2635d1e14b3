"""What the tests of streams share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from lgin_edge import Face, geometry
from support.films import (
    SIZE,
    Floats,
    Image8,
    Shot,
    film,
    wandering,
)

DT = 1 / 30


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.002)


def our_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("lgin-")]


def inside(landmarks: Floats, size: int = SIZE) -> Image8:
    """Pixels of the square of a face, bool [size, size]."""
    y, x = np.mgrid[:size, :size] + 0.5
    u = geometry.apply(geometry.invert(geometry.fit_similarity(landmarks)), np.stack([x, y], axis=-1))
    return ((u > -0.02) & (u < 1.02)).all(axis=-1)


def change(out: Image8, frame: Image8, landmarks: Floats) -> float:
    """How much brighter the middle of a face became, levels."""
    x, y = np.rint(landmarks.mean(axis=0)).astype(int)
    part = slice(y - 5, y + 5), slice(x - 5, x + 5)
    return float(out[part].astype(float).mean() - frame[part].mean())


def numbered(count: int) -> list[Image8]:
    """Frames that tell their number in every pixel."""
    return [np.full((48, 64, 3), i, np.uint8) for i in range(count)]


def nobody(frame: Image8, color: str) -> list[Face]:
    return []


def darkened(astronaut: Image8, frames: int) -> list[Shot]:
    """The astronaut, who moves about, dark enough for the tiny model's shift to have room."""
    return [Shot((40 + 0.6 * shot.frame).astype(np.uint8), shot.faces) for shot in film(astronaut, wandering(frames))]
