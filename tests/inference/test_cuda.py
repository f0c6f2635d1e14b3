"""The wrapper over the CUDA run time, on a stand-in for it."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
from cuda_stand_in import Runtime

from lgin_edge.errors import BackendError, InputError
from lgin_edge.inference.cuda import Cuda, PinnedBuffer, Stream, parse_device


@pytest.mark.parametrize(("given", "number"), [("cpu", None), ("cuda", 0), ("cuda:1", 1), (0, 0), (3, 3)])
def test_devices(given: int | str, number: int | None) -> None:
    assert parse_device(given) == number


@pytest.mark.parametrize("given", ["gpu", "cuda:", "cuda:x", "CUDA", -1, True, None, 1.0, "cuda:1 "])
def test_no_devices(given: Any) -> None:
    with pytest.raises(InputError, match='expected "cpu", "cuda", "cuda:1" or the number of a GPU'):
        parse_device(given)


def test_a_device() -> None:
    cuda = Cuda(1, Runtime(capability=87, devices=2))
    assert (cuda.capability, cuda.name()) == (87, "stand-in")


def test_no_such_device() -> None:
    with pytest.raises(BackendError, match="cuda:2: this machine has 2 CUDA devices"):
        Cuda(2, Runtime(devices=2))
    broken = Runtime()
    broken.fail("cudaGetDeviceCount")
    with pytest.raises(BackendError, match=r"no NVIDIA GPU can be used here .*error 999.*nvidia-smi"):
        Cuda(0, broken)
    for version, cure in (
        (12060, r"CUDA 12, the bindings of 13: pip install 'cuda-python>=12,<13'; see nvidia-smi"),
        (0, r"\); see"),
    ):
        broken.driver = version
        with pytest.raises(BackendError, match=cure):
            Cuda(0, broken)


@pytest.mark.skipif(importlib.util.find_spec("cuda") is None, reason="cuda-python is not installed")
def test_the_real_bindings_without_a_gpu() -> None:
    """Every name that the wrapper uses is there, and no driver is an error of ours."""
    runtime = pytest.importorskip("cuda.bindings.runtime")
    for name in [*vars(Runtime), "cudaDeviceAttr"]:
        if name.startswith("cuda"):
            assert hasattr(runtime, name), name
    for kind in (Runtime.cudaMemcpyKind, Runtime.cudaMemoryType, Runtime.cudaStreamCaptureMode, Runtime.cudaDeviceAttr):
        of = next(key for key, value in vars(Runtime).items() if value is kind)
        assert all(hasattr(getattr(runtime, of), member) for member in vars(kind))
    if int(runtime.cudaGetDeviceCount()[0]):
        with pytest.raises(BackendError, match="no NVIDIA GPU can be used here"):
            Cuda(0)


def test_buffer() -> None:
    runtime = Runtime()
    cuda = Cuda(0, runtime)
    stream = Stream(cuda)
    buffer = PinnedBuffer(cuda, 1000)
    buffer.host[:] = np.arange(1000) % 251
    buffer.upload(stream.handle, 10)
    buffer.upload(stream.handle)
    stream.synchronize()
    buffer.host[:] = 0
    buffer.download(stream.handle, 300, 500)
    stream.synchronize()
    np.testing.assert_array_equal(
        buffer.host, np.where(np.arange(1000) // 100 % 10 // 5 * (np.arange(1000) < 800), np.arange(1000) % 251, 0)
    )
    buffer.download(stream.handle)
    stream.synchronize()
    np.testing.assert_array_equal(buffer.host, np.arange(1000) % 251)
    buffer.close()
    buffer.close()
    stream.close()
    stream.close()
    assert runtime.live == {}


def test_a_buffer_that_fails_half_way_frees_the_rest() -> None:
    runtime = Runtime()
    cuda = Cuda(0, runtime)
    runtime.fail("cudaMalloc")
    with pytest.raises(BackendError, match="cudaMalloc failed"):
        PinnedBuffer(cuda, 10)
    assert runtime.live == {}


def test_streams_wait_for_one_another() -> None:
    runtime = Runtime()
    cuda = Cuda(0, runtime)
    ours, done = Stream(cuda), []
    runtime.queue(7, lambda: done.append("theirs, before"))
    ours.wait_for(7)
    runtime.queue(7, lambda: done.append("theirs, after"))
    runtime.queue(ours.handle, lambda: done.append("ours"))
    ours.hold(7)
    runtime.queue(7, lambda: done.append("theirs, last"))
    ours.synchronize()
    assert done == ["theirs, before", "ours"]
    runtime.run(7)
    assert done == ["theirs, before", "ours", "theirs, after", "theirs, last"]
    ours.close()
    assert runtime.live == {}


def test_a_recording_that_raises_leaves_the_stream_usable() -> None:
    runtime = Runtime()
    stream = Stream(Cuda(0, runtime))

    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream.capture(fail)
    stream.synchronize()
    stream.close()
    assert runtime.live == {}
