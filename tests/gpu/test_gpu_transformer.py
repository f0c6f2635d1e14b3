"""The bundled model on a real GPU against the CPU, in every way that this machine has."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpu.conftest import LANDMARKS
from lgin_edge import Transformer
from lgin_edge.inference.cuda import DeviceMemory

pytestmark = pytest.mark.gpu

#: FP16 against FP32 is about 90 dB in the residuals (engine.fp16); rounding to bytes leaves few that differ, by one level.
LEVELS, SHARE = 2, 0.02
FRAMES = int(os.environ.get("LGIN_GPU_FRAMES", "300"))


def assert_near(have: np.ndarray, want: np.ndarray) -> None:
    difference = np.abs(have.astype(int) - want)
    assert difference.max() <= LEVELS
    assert np.count_nonzero(difference) <= SHARE * difference.size


@pytest.mark.parametrize("group", [0, 2.5, 4])
def test_equals_the_cpu(on_gpu: Transformer, on_cpu: Transformer, picture: np.ndarray, group: float) -> None:
    want = on_cpu.age(picture, group=group, landmarks=LANDMARKS)
    assert (want != picture).any()
    assert_near(on_gpu.age(picture, group=group, landmarks=LANDMARKS), want)


def test_calls_recording_and_replays_agree(model: Path, picture: np.ndarray) -> None:
    with Transformer(model, device=0) as t:
        first, *others = (t.age(picture, group=4, landmarks=LANDMARKS) for _ in range(4))
        for one in others:
            np.testing.assert_array_equal(one, first)
        moved = t.age(picture, group=0, landmarks=LANDMARKS + 3)  # the graph is replayed with other parameters
    with Transformer(model, device=0) as t:
        np.testing.assert_array_equal(moved, t.age(picture, group=0, landmarks=LANDMARKS + 3))


def test_timeline_and_a_crowd(on_gpu: Transformer, on_cpu: Transformer, picture: np.ndarray) -> None:
    for have, want in zip(
        on_gpu.timeline(picture, landmarks=LANDMARKS), on_cpu.timeline(picture, landmarks=LANDMARKS), strict=True
    ):
        assert_near(have, want)
    years = np.linspace(20, 80, 2 * len(on_gpu.description.groups) + 1)  # more than an engine takes at once
    for have, want in zip(
        *(t.age(picture, years=list(years), landmarks=LANDMARKS) for t in (on_gpu, on_cpu)), strict=True
    ):
        assert_near(have, want)
    crowd = [LANDMARKS * 0.3 + (40 * i, 20 * i) for i in range(11)]
    assert_near(on_gpu.age(picture, group=4, landmarks=crowd), on_cpu.age(picture, group=4, landmarks=crowd))


@pytest.mark.parametrize("color", ["bgr", "rgba", "nv12"])
def test_formats(on_gpu: Transformer, on_cpu: Transformer, color: Any) -> None:
    shape = {"bgr": (480, 640, 3), "rgba": (480, 640, 4), "nv12": (720, 640)}[color]
    image = np.random.default_rng(1).integers(40, 200, shape, dtype=np.uint8)
    arguments: dict[str, Any] = {"group": 4, "landmarks": LANDMARKS, "color": color}
    assert_near(on_gpu.age(image, **arguments), on_cpu.age(image, **arguments))


def test_a_frame_on_the_device(on_gpu: Transformer, picture: np.ndarray, cuda: Any) -> None:
    kinds = cuda.runtime.cudaMemcpyKind
    memory = DeviceMemory(cuda, picture.nbytes)
    interface = {"shape": picture.shape, "typestr": "|u1", "data": (memory.address, False), "version": 3}
    frame = SimpleNamespace(__cuda_array_interface__=interface)
    back = np.empty_like(picture)
    for _ in range(4):
        cuda.call("cudaMemcpy", memory.address, picture.ctypes.data, picture.nbytes, kinds.cudaMemcpyHostToDevice)
        assert on_gpu.age(frame, group=4, landmarks=LANDMARKS) is frame
        # A plain copy is on the default stream, and our work is ordered before it.
        cuda.call("cudaMemcpy", back.ctypes.data, memory.address, picture.nbytes, kinds.cudaMemcpyDeviceToHost)
        np.testing.assert_array_equal(back, on_gpu.age(picture, group=4, landmarks=LANDMARKS))
    memory.close()


def test_nothing_leaks(model: Path, picture: np.ndarray, cuda: Any) -> None:
    """Over many frames (LGIN_GPU_FRAMES) and over transformers that come and go, device memory stays where it is."""
    with Transformer(model, device=0) as t:
        for _ in range(20):
            t.age(picture, group=4, landmarks=LANDMARKS)
        free, _ = cuda.call("cudaMemGetInfo")
        for i in range(FRAMES):
            t.age(picture, group=i % 5, landmarks=LANDMARKS + i % 3)
        later, _ = cuda.call("cudaMemGetInfo")
        assert free - later < 8 << 20
    levels = []
    for _ in range(5):
        with Transformer(model, device=0) as t:
            t.age(picture, group=4, landmarks=LANDMARKS)
        del t
        gc.collect()
        levels.append(cuda.call("cudaMemGetInfo")[0])
    assert levels[1] - levels[-1] < 8 << 20
