"""What the tests of the examples and integrations share: running them, and a film of the astronaut."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.films import Floats, Image8, film, move

import lgin_edge

ROOT = Path(__file__).parent.parent
EXAMPLES, INTEGRATIONS = ROOT / "examples", ROOT / "integrations"
SERVICE = EXAMPLES / "service"
#: A side that is no multiple of 4, so that GStreamer pads its rows.
SIZE = 198
#: Levels by which the tiny model darkens a face at 70 years, and lightens it at 30.
SHIFT = 51


def load(path: Path) -> Any:
    """An example as a module, without running it."""
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses and annotations look
    spec.loader.exec_module(module)
    return module


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)
    return result


def execute(*command: object, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run([*map(str, command)], env=env, capture_output=True, text=True, timeout=60, check=False)


def middle(picture: Image8, landmarks: Floats) -> float:
    """How bright the middle of a face is, levels."""
    x, y = np.rint(landmarks.mean(axis=0)).astype(int)
    return float(picture[y - 6 : y + 6, x - 6 : x + 6].mean())


def grey_still(astronaut: Image8) -> tuple[Image8, Floats]:
    """A frame [SIZE, SIZE, 3] RGB, grey enough for the shift to have room; and the landmarks of its face."""
    one = film(astronaut, [move((SIZE * 0.42, SIZE * 0.5), 36)], SIZE)[0]
    return (60 + 0.5 * one.frame).astype(np.uint8), one.faces[0]


def write_film(path: Path, picture: Image8, frames: int) -> Path:
    av = pytest.importorskip("av", reason="makes the film: pip install 'lgin-edge[test]'")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.width = stream.height = SIZE
        stream.pix_fmt, stream.options = "yuvj420p", {"qscale": "2"}
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


class Fake:
    """A camera: the same picture at about 60 frames a second, until it is pulled out; it can be opened again."""

    def __init__(self, picture: Image8) -> None:
        self.picture = picture
        self.opened = 0
        self.pulled = threading.Event()

    def __iter__(self) -> Iterator[Image8]:
        self.opened += 1
        while not self.pulled.wait(1 / 60):
            yield self.picture
        raise lgin_edge.StreamError("the camera was unplugged")
