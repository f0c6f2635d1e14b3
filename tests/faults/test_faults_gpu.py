"""A GPU that is lost, and calls that break off: on the stand-in for the CUDA run time (``cuda_stand_in``)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cuda_stand_in
import models
import numpy as np
import pytest
from cuda_stand_in import QueuedEngine, needs_kernels

from lgin_edge import BackendError, ClosedError, Face, Transformer, transformer
from lgin_edge.inference import gpu as gpu_path
from lgin_edge.inference.cuda import Cuda, Stream

LANDMARKS = np.array([(204.2, 102.2), (246.8, 104.8), (223.7, 125.9), (203.1, 142.0), (243.0, 144.3)])
FACE = [Face(LANDMARKS)]
Image8 = np.ndarray[Any, np.dtype[np.uint8]]
Make = Callable[[], tuple[Transformer, cuda_stand_in.Runtime]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save(tmp_path_factory.mktemp("models") / "gains.onnx", face_gain=0.2, patch_gain=0.3)


@pytest.fixture
def make(model: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a ``Transformer`` on a GPU that stands in."""

    def make() -> tuple[Transformer, cuda_stand_in.Runtime]:
        runtime = cuda_stand_in.Runtime()
        cuda_stand_in.queue_launches(runtime, monkeypatch)

        def open_path(*_: Any, **__: Any) -> gpu_path.GpuFramePath:
            cuda = Cuda(0, runtime)
            return gpu_path.GpuFramePath(cuda, Stream(cuda), QueuedEngine(model, runtime))

        with monkeypatch.context() as patch:
            patch.setattr(transformer, "open_path", open_path)
            return Transformer(model, device=0), runtime

    return make


@pytest.mark.parametrize("calls", [0, 1, 2, 3])
@pytest.mark.parametrize("after", [0, 1, 5, 9])
def test_a_gpu_that_is_lost(make: Make, astronaut: Image8, calls: int, after: int) -> None:
    """Before the first picture, the one that is recorded, or a replayed one; at its first call of CUDA, or amid them."""
    t, runtime = make()
    for _ in range(calls):
        t.age(astronaut, group=4, faces=FACE)
    runtime.lose(after)
    failures = []
    for _ in range(5):  # a replayed picture takes four calls
        picture = astronaut.copy()
        try:
            t.age(picture, group=4, faces=FACE, out=picture)
        except BackendError as error:
            failures.append(str(error))
            np.testing.assert_array_equal(picture, astronaut)
    assert len(failures) >= 3
    assert all(failure.startswith("CUDA: cuda") and "failed with error 999" in failure for failure in failures)
    engine = t.frame_path().engine  # type: ignore[union-attr]
    with pytest.raises(BackendError, match="CUDA: "):
        t.close()
    assert engine.closed == 1  # type: ignore[attr-defined]
    t.close()
    with pytest.raises(ClosedError):
        t.age(picture, group=4, faces=FACE)
    again, _ = make()
    with again:
        again.age(picture, group=4, faces=FACE)


def test_what_failed_first_is_told(make: Make, astronaut: Image8) -> None:
    """Closing fails too, on the way out."""
    t, runtime = make()
    runtime.fail("cudaHostAlloc")
    runtime.fail("cudaStreamDestroy")
    with pytest.raises(BackendError, match="cudaHostAlloc"), t:
        t.age(astronaut, group=4, faces=FACE)
    t, runtime = make()
    runtime.fail("cudaStreamDestroy")
    with pytest.raises(BackendError, match="cudaStreamDestroy"), t:
        pass


def break_off(t: Transformer, picture: Image8, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that ends when everything is queued, and before it waited."""
    run = gpu_path.GpuFramePath._run

    def breaks_off(self: gpu_path.GpuFramePath, *arguments: Any) -> None:
        run(self, *arguments)
        raise kind

    with monkeypatch.context() as patch:
        patch.setattr(gpu_path.GpuFramePath, "_run", breaks_off)
        with pytest.raises(kind):
            t.age(picture, group=4, faces=FACE)


@pytest.mark.parametrize("calls", [0, 1, 2])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, BackendError])
def test_work_of_a_call_that_broke_off_does_not_reach_the_next_picture(
    make: Make, astronaut: Image8, monkeypatch: pytest.MonkeyPatch, calls: int, kind: type[BaseException]
) -> None:
    """What is queued uses the memory of the next picture."""
    t, runtime = make()
    with t:
        for _ in range(calls):
            t.age(astronaut, group=4, faces=FACE)
        break_off(t, astronaut, kind, monkeypatch)
        assert runtime.pending
        staged = gpu_path._staged

        def staging(*arguments: Any) -> Any:
            assert not runtime.pending
            return staged(*arguments)

        monkeypatch.setattr(gpu_path, "_staged", staging)
        t.age(astronaut, group=4, faces=FACE)
    assert runtime.live == {}


@needs_kernels
def test_the_next_picture_is_right(make: Make, model: Path, astronaut: Image8, monkeypatch: pytest.MonkeyPatch) -> None:
    other = np.ascontiguousarray(astronaut[:, ::-1])
    with Transformer(model) as cpu:
        expected = cpu.age(other, group=4, faces=FACE)
    t, _ = make()
    with t:
        break_off(t, astronaut, KeyboardInterrupt, monkeypatch)
        np.testing.assert_array_equal(t.age(other, group=4, faces=FACE), expected)
