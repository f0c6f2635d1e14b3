"""The bench's GPU part on a stand-in for the CUDA run time; with kernels on the host (``LGIN_CUDA=HOST``) its answers are right too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cuda_stand_in
import models
import pytest
from cuda_stand_in import QueuedEngine

import lgin_edge.inference.loader
from benchmarks.stages import machine, measure, resnet18, run, stages
from benchmarks.stages.stages import Model, Target
from lgin_edge import kernels
from lgin_edge.inference.cuda import Cuda, Stream
from lgin_edge.inference.gpu import GpuFramePath

pytest.importorskip("benchmarks.research", reason="needs a checkout")

from benchmarks.research import gpu, memory
from benchmarks.research.gpu_parts import PARTS, Parts
from benchmarks.research.tables import ResearchBench

KERNELS = kernels.cuda_is_host()


@pytest.fixture
def runtime() -> cuda_stand_in.Runtime:
    return cuda_stand_in.Runtime()


@pytest.fixture
def stack(runtime: cuda_stand_in.Runtime) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack
    assert runtime.live == {}, "the bench leaves something on the device"


@pytest.fixture
def model(tmp_path: Path, runtime: cuda_stand_in.Runtime, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model whose residuals depend on the picture, and a machine on which ``device="cuda"`` is the stand-in."""
    cuda_stand_in.queue_launches(runtime, monkeypatch)

    def open_path(path: Path, device: object, sha256: object, limits: object) -> GpuFramePath:
        cuda = Cuda(0, runtime)
        return GpuFramePath(cuda, Stream(cuda), QueuedEngine(path, runtime))

    monkeypatch.setattr(lgin_edge.inference.loader, "open_gpu_path", open_path)
    return stages.open_models([models.save(tmp_path / "gains.onnx", face_gain=0.2, patch_gain=0.3)], stack)[0]


def target(stack: ExitStack) -> Target:
    return Target("stand-in", 1, stack, device="cuda")


def test_everything_on_a_gpu(model: Model, stack: ExitStack, runtime: cuda_stand_in.Runtime) -> None:
    found, skipped = gpu.candidates(model, target(stack), stages.STAGES)
    assert skipped == []
    assert [(one.stage, one.name) for one in found] == [
        ("whole frame", "stand-in"),
        ("tracked frame", "stand-in"),
        ("timeline", "stand-in"),
        ("tracked frame", "stand-in, frame on the GPU"),
        ("tracked frame", "stand-in, no graph"),
        *((part, "stand-in") for part in PARTS),
    ]
    measured, refused = measure.measure_interleaved(found, 0.05)
    names = {(one.candidate.stage, one.candidate.name) for one in measured}
    if KERNELS:
        assert refused == []
    else:  # kernels that do nothing: that is seen, and only copies and the engine alone are right
        assert names == {("upload", "stand-in"), ("model", "stand-in"), ("download", "stand-in")}
        assert all(one.reason.startswith("wrong answer") for one in refused)
    assert "cudaGraphLaunch" in runtime.names()


def test_no_graph_means_none(model: Model, stack: ExitStack, runtime: cuda_stand_in.Runtime) -> None:
    found, _ = gpu.candidates(model, target(stack), ("tracked frame",))
    for one in found:
        for _ in range(3):
            one.answer()
        before = runtime.names().count("cudaGraphLaunch")
        one.answer()
        launched = runtime.names().count("cudaGraphLaunch") - before
        assert launched == (one.stage == "tracked frame" and "no graph" not in one.name)


def test_engine_that_is_never_recorded(model: Model, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    here = target(stack)
    gpu.path_of(model, here).record = False
    found, (skipped,) = gpu.candidates(model, here, ("tracked frame",))
    assert not any("no graph" in one.name for one in found)
    assert "never recorded" in skipped.reason
    assert not skipped.failed


def test_parts_have_the_inputs_of_the_stages_on_the_cpu(model: Model, stack: ExitStack) -> None:
    parts = Parts(model, target(stack))
    for part in ("crop", "model", "paste"):
        (cpu, *_), there = stages.build(part, model, Target("cpu", 1, stack)), parts.candidate(part)
        assert there.work == cpu.work
        assert measure.digest(there.inputs) == measure.digest(cpu.inputs)


def test_wrong_bytes_are_refused(model: Model, stack: ExitStack, runtime: cuda_stand_in.Runtime) -> None:
    parts = Parts(model, target(stack))
    upload = parts.candidate("upload")
    assert upload.check(upload.answer()) == "the same bytes"
    parts._upload = lambda: None  # type: ignore[method-assign]
    parts.original = parts.original + 1
    with pytest.raises(measure.WrongAnswer, match="not those that went up"):
        upload.check(None)


def test_batches_as_far_as_the_engine_takes_them(model: Model, stack: ExitStack) -> None:
    found = gpu.batches(model, target(stack), (1, 4, 16))  # ONNX Runtime's engine takes eight
    assert [one.batch for one in found] == [1, 4]
    measured, refused = measure.measure_interleaved(found, 0.05)
    assert len(measured) == 2, refused


def test_a_run_on_a_machine_with_a_gpu(model: Model, runtime: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("cuda_built", True), ("cuda_is_host", False), ("cuda_device_count", 1)):
        monkeypatch.setattr(run.kernels, name, lambda value=value: value)
    monkeypatch.setattr(machine, "providers", lambda: [run.CUDA, stages.CPU])
    monkeypatch.setattr(resnet18, "_STAGES", ((64, 2),))
    monkeypatch.setattr(memory, "peak", lambda *_: None)
    result = ResearchBench([model.path], ("model",), 1, 0.1).run()
    rows = [row for row in result.rows if row["device"] == "cuda"]
    assert {row["candidate"] for row in rows} == {"onnxruntime CUDA"}
    assert {(row["table"], row["stage"]) for row in rows} == {
        ("stages", "upload"),
        ("stages", "model"),
        ("stages", "download"),
        ("batch", "model"),
    }
    assert all(row["times_resnet18"] > 0 for row in rows)
    assert not result.failed
