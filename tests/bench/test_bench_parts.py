"""Parts of ``python -m benchmarks.stages`` on their own: the machine, and what it can run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.stages import machine, run, stages
from benchmarks.stages.stages import CPU, Model


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def model(tiny_model: Path, stack: ExitStack) -> Model:
    return stages.open_models([tiny_model], stack)[0]


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


# ---- targets


def test_ways_without_a_gpu(model: Model, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.kernels, "cuda_built", lambda: True)
    monkeypatch.setattr(run.kernels, "cuda_is_host", lambda: False)
    monkeypatch.setattr(run.kernels, "cuda_device_count", lambda: 0)
    found = run.discover_targets(model, 1, stack)
    assert [target.name for target in found.cpu][:1] == ["onnxruntime"]
    assert found.gpu == []
    assert found.skipped[-1].reason == "no NVIDIA GPU on this machine"
    assert run.unbuilt_engines([model]) == []
    monkeypatch.setattr(run.kernels, "cuda_device_count", lambda: 1)
    assert "onnxruntime-gpu" in run.discover_targets(model, 1, stack).skipped[-1].reason
    for one in run.unbuilt_engines([model]):
        assert "lgin-edge build" in one.reason


def test_provider_that_does_not_load(model: Model, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["MadeUpExecutionProvider", CPU])
    with pytest.warns(UserWarning, match="MadeUp"):  # by ONNX Runtime
        found = run.discover_targets(model, 1, stack)
    assert [target.name for target in found.cpu] == ["onnxruntime"]
    assert found.skipped[0].name == "onnxruntime MadeUp"
