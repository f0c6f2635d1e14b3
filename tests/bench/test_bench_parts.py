"""Parts of ``python -m lgin_edge.bench`` on their own: the machine, memory, layers, baselines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from lgin_edge.bench import (
    machine,
    measure,
    memory,
    run,
    stages,
    sweeps,
    targets,
)
from lgin_edge.bench.stages import CPU, Model


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def model(tiny_model: Path, stack: ExitStack) -> Model:
    return stages.open_models([tiny_model], stack)[0]


def outcomes(candidates: list[measure.Candidate]) -> dict[tuple[str, str], str | measure.Skipped]:
    return {(one.stage, one.name): measure._try(one) for one in candidates}


# ---- the machine


def test_machine_says_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = machine.describe()
    json.dumps(facts)
    assert facts["cores"] >= 1
    assert "" not in facts.values()
    monkeypatch.setattr(machine, "_text", lambda path: "")
    monkeypatch.setattr(machine, "_output", lambda command: "")
    assert "gpus" not in machine.describe()
    assert machine.describe()["cpu"]


def test_gpus_by_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text(
        "#!/bin/sh\necho 'NVIDIA H100, 580.1, 1980, 2619, 1980, 700.00, Enabled, 31'\n"
        "echo 'Orin, 540.4, [N/A], [N/A], [N/A], [N/A], [N/A], [N/A]'\n"
    )
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    gpus = machine.describe()["gpus"]
    assert gpus[0] == {
        "name": "NVIDIA H100",
        "driver": "580.1",
        "clock_mhz": "1980",
        "memory_clock_mhz": "2619",
        "max_clock_mhz": "1980",
        "power_limit_w": "700.00",
        "persistence": "Enabled",
        "celsius": "31",
    }
    assert gpus[1] == {"name": "Orin", "driver": "540.4"}
    smi.write_text("#!/bin/sh\necho 'no devices were found'\nexit 6\n")
    assert "gpus" not in machine.describe()


def test_power_mode_of_a_jetson(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_output", lambda c: "NV Power Mode: MAXN\n0\n" if c[0] == "nvpmodel" else "")
    assert machine.describe()["power_mode"] == "MAXN"


# ---- memory


def test_peak_memory_is_the_stage_s_own(tiny_model: Path) -> None:
    mine = np.ones(500 << 20, np.uint8)  # what the parent holds must not count
    peak = memory.peak("crop", tiny_model, CPU, 1)
    assert peak is not None
    assert 20 < peak < 400
    assert mine[0]
    own = memory.own_peak()
    assert own is not None
    assert own > 500


def test_peak_memory_that_cannot_be_told(tmp_path: Path) -> None:
    assert memory.peak("crop", tmp_path / "none.onnx", CPU, 1) is None


# ---- sweeps and targets


def test_thread_counts() -> None:
    assert sweeps.thread_counts(1) == [1]
    assert sweeps.thread_counts(2) == [1, 2]
    assert sweeps.thread_counts(6) == [1, 2, 3, 4, 6]
    assert sweeps.thread_counts(16) == [1, 2, 3, 4, 8, 16]


def test_batches_that_a_slow_machine_can_afford() -> None:
    bench = run.Bench([], ("model",), 1, 1, 30.0)
    row = {"stage": "model", "candidate": "onnxruntime", "ages": 1, "median_ms": 300.0}
    bench.result.rows.append(row)
    assert bench._most_faces("onnxruntime", 6.0) == 1
    row["median_ms"] = 30.0
    assert bench._most_faces("onnxruntime", 6.0) >= 8
    assert bench._most_faces("another", 6.0) == 1


def test_ways_without_a_gpu(model: Model, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets.kernels, "cuda_built", lambda: True)
    monkeypatch.setattr(targets.kernels, "cuda_is_host", lambda: False)
    monkeypatch.setattr(targets.kernels, "cuda_device_count", lambda: 0)
    found = targets.discover_targets(model, 1, stack)
    assert [target.name for target in found.cpu][:1] == ["onnxruntime"]
    assert found.gpu == []
    assert found.skipped[-1].reason == "no NVIDIA GPU on this machine"
    assert targets.unbuilt_engines([model]) == []
    monkeypatch.setattr(targets.kernels, "cuda_device_count", lambda: 1)
    assert "onnxruntime-gpu" in targets.discover_targets(model, 1, stack).skipped[-1].reason
    for one in targets.unbuilt_engines([model]):
        assert "lgin-edge build" in one.reason


def test_provider_that_does_not_load(model: Model, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["MadeUpExecutionProvider", CPU])
    with pytest.warns(UserWarning, match="MadeUp"):  # by ONNX Runtime
        found = targets.discover_targets(model, 1, stack)
    assert [target.name for target in found.cpu] == ["onnxruntime"]
    assert found.skipped[0].name == "onnxruntime MadeUp"


def test_memory_that_there_is_no_time_for(model: Model, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> None:
    monkeypatch.setattr(run, "_MEMORY_SECONDS", 0.0)
    bench = run.Bench([model.path], ("crop",), 1, 2, 1.0)
    row = {"table": "stages", "stage": "crop", "size": model.size, "candidate": "kernels", "threads": 1, "ages": 1}
    bench.result.rows.append(row | {"peak_mb": None})
    bench._memory([model], [targets.discover_targets(model, 1, stack)])
    assert bench.result.rows[0]["peak_mb"] is None
    assert bench.result.skipped == [measure.Skipped("crop", "peak memory", "no time left, or not told by this system")]
