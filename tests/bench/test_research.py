"""The research bench: baselines answer as ours do, and a profile is read right."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.stages import machine, measure, report, resnet18, stages
from benchmarks.stages.run import discover_targets
from benchmarks.stages.stages import CPU, Model
from lgin_edge.cli import options
from lgin_edge.inference.loader import open_model

pytest.importorskip("benchmarks.research", reason="needs a checkout")

from benchmarks.research import __main__ as command
from benchmarks.research import baselines, frameworks, layers, memory, tables


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def model(tiny_model: Path, stack: ExitStack) -> Model:
    return stages.open_models([tiny_model], stack)[0]


def outcomes(candidates: list[measure.Candidate]) -> dict[tuple[str, str], str | measure.Skipped]:
    return {(one.stage, one.name): measure._try(one) for one in candidates}


def test_the_command(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2")
    for name in ("torch", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(resnet18, "_STAGES", ((64, 2),))
    monkeypatch.setattr(measure, "LEAST_ROUNDS", 2)
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    monkeypatch.setattr(memory, "peak", lambda *_: 123.4)
    for console in (options.stdout, options.stderr):
        console.width = 200
    file = tmp_path / "bench.json"
    asked = [
        tiny_model,
        "--seconds",
        0.1,
        "--stage",
        "crop",
        "--stage",
        "model",
        "--threads",
        1,
        "--json",
        file,
        "--profile",
    ]
    result = CliRunner().invoke(command.app, [str(word) for word in asked])
    assert result.exit_code == 0, result.output
    assert "skipped: model, torch.compile: torch cannot be imported" in result.stdout
    for words in ("operator", "Slowest layers", "Slowest convolutions", "share"):
        assert words in result.stdout
    found = json.loads(file.read_text())["rows"]
    assert {row["candidate"] for row in found if row["table"] == "kernels"} == {"resnet18", "kernels", "opencv"}
    assert {row["candidate"] for row in found if row["table"] == "baseline"} == {"resnet18", "onnxruntime"}
    counts = {
        name: {row["threads"] for row in found if row["table"] == name} for name in ("stages", "batch", "threads")
    }
    assert counts == {"stages": {1}, "batch": {1}, "threads": {1, 2}}
    for row in found:
        assert row["peak_mb"] == (123.4 if row["table"] == "stages" and row["stage"] != "yardstick" else None)
    keys = [tuple(row[name] for name in report.KEY) for row in found]
    assert len(set(keys)) == len(keys)


# ---- layers


def test_layers_of_a_profile() -> None:
    def event(name: str, ts: int, dur: int, **args: Any) -> dict[str, Any]:
        return {"cat": "Node" if args else "Session", "name": name, "ts": ts, "dur": dur, "args": args}

    conv = {
        "op_name": "Conv",
        "input_type_shape": [{"float": [1, 16, 8, 8]}, {"float": [32, 16, 3, 3]}, {"float": [32]}],
        "output_type_shape": [{"float": [1, 32, 8, 8]}],
    }
    events = [event("model_run", 0, 9000), event("c_kernel_time", 1, 8000, **conv)]  # the first call warms up
    for start in (10_000, 20_000):
        events += [
            event("model_run", start, 4000),
            event("c_kernel_time", start + 1, 3000, **conv),
            event("c_fence_before", start, 100, op_name="Conv"),
            event("a_kernel_time", start + 2, 500, op_name="Add", output_type_shape=[{"float": [1, 32]}]),
        ]
    found = layers.parse(events, warm_up=1)
    assert found.total_ms == pytest.approx(4.0)
    assert [(layer.name, layer.kind) for layer in found.layers] == [("c", "Conv"), ("a", "Add")]
    assert [layer.ms for layer in found.layers] == pytest.approx([3.0, 0.5])
    assert found.layers[0].gmac == pytest.approx(32 * 16 * 9 * 64 / 1e9)
    assert found.layers[1].gmac == 0
    assert found.kinds() == [("Conv", 1, pytest.approx(3.0)), ("Add", 1, pytest.approx(0.5))]
    with pytest.raises(RuntimeError, match="no call"):
        layers.parse([])


def test_profile_leaves_no_file_behind(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    found = layers.profile(tiny_model, 1)
    assert found.layers
    assert 0 < sum(layer.ms for layer in found.layers) <= found.total_ms
    assert list(tmp_path.iterdir()) == []


# ---- baselines


def test_opencv_draws_what_our_kernels_draw(model: Model, stack: ExitStack) -> None:
    pytest.importorskip("cv2")
    found, skipped = baselines.kernels(model, resnet18.Sessions(stack), stack)
    assert skipped == []
    for key, outcome in outcomes(found).items():
        assert isinstance(outcome, str), f"{key}: {outcome}"
    assert {one.name for one in found} == {"resnet18", "kernels", "opencv"}
    assert {one.threads for one in found} == {1}


def test_opencv_that_is_off_by_a_pixel_is_refused(model: Model, stack: ExitStack) -> None:
    cv2 = pytest.importorskip("cv2")
    found, _ = baselines.kernels(model, resnet18.Sessions(stack), stack)
    crop = next(one for one in found if (one.stage, one.name) == ("crop", "opencv"))
    face, patches = crop.answer()
    assert crop.check((face, patches))
    with pytest.raises(measure.WrongAnswer):
        crop.check((np.roll(face, 1, axis=-1), patches))
    with pytest.raises(measure.WrongAnswer):
        crop.check((face, np.roll(patches, 1, axis=-1)))
    assert cv2.getNumThreads() == 1


def test_without_opencv(model: Model, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    found, (skipped,) = baselines.kernels(model, resnet18.Sessions(stack), stack)
    assert {one.name for one in found} == {"resnet18", "kernels"}
    assert (skipped.name, skipped.failed) == ("opencv", False)


def test_what_is_absent_has_its_reason(model: Model, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)
    found, skipped = baselines.models(model, 1, resnet18.Sessions(stack), stack)
    assert {one.name for one in found} == {"resnet18", "onnxruntime"}
    reasons = {one.name: one.reason for one in skipped}
    assert set(reasons) == {"pytorch eager", "torch.compile", "openvino"}
    assert "pip install torch" in reasons["pytorch eager"]
    assert "pip install openvino" in reasons["openvino"]
    assert not any(one.failed for one in skipped)


def test_pytorch_has_the_weights_of_the_file(stack: ExitStack, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    networks = pytest.importorskip("training.networks", reason="needs a checkout")
    from training import export

    torch.manual_seed(5)
    net = networks.LGIN().eval()
    with torch.no_grad():
        for weight in net.parameters():  # heads begin at 0
            weight.add_(0.02 * torch.randn_like(weight))
    net.ages = networks.Ages((20, 22, 40, 52, 66, 74.5, 76.5), (20, 28, 45, 60, 69, 74.5, 76.5))
    export.export(net, tmp_path / "t.onnx")
    (model,) = stages.open_models([tmp_path / "t.onnx"], stack)
    run = frameworks.eager(frameworks.torch_module(model), 1)
    inputs = model.scene.engine_inputs()
    expected = model.expected.edits(1, 1)
    assert expected is not None
    assert measure.check_edits(run(*inputs), expected, exact=True)


def test_pytorch_of_another_model_is_absent(model: Model) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("training.networks", reason="needs a checkout")
    with pytest.raises(frameworks.Unavailable, match="no plain export"):
        frameworks.torch_module(model)


def test_openvino(model: Model, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in with OpenVINO's interface: that is how it is called; its numbers are ONNX Runtime's."""
    seen: dict[str, Any] = {}

    class Request:
        def infer(self, inputs: dict[str, Any]) -> None:
            backend = open_model(model.path, providers=(CPU,), threads=1)
            self.outputs = dict(zip(("face_delta", "patch_delta"), backend.run(**inputs), strict=True))

        def get_tensor(self, name: str) -> Any:
            return SimpleNamespace(data=self.outputs[name])

    class Core:
        def read_model(self, path: str) -> str:
            return path

        def compile_model(self, path: str, device: str, options: dict[str, Any]) -> Any:
            seen.update(path=path, device=device, **options)
            return SimpleNamespace(create_infer_request=Request)

    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(Core=Core))
    answer = frameworks.openvino(model, 2)(*model.scene.engine_inputs())
    assert measure.check_edits(answer, model.expected.edits(1, 1), exact=True)
    assert seen["path"] == str(model.path)
    assert seen["INFERENCE_NUM_THREADS"] == 2
    monkeypatch.setattr(
        Core, "read_model", lambda self, path: open_model(Path(path + "?"), providers=(CPU,), threads=1)
    )
    with pytest.raises(frameworks.Unavailable, match="does not read"):
        frameworks.openvino(model, 2)


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


def test_thread_counts() -> None:
    assert tables.thread_counts(1) == [1]
    assert tables.thread_counts(2) == [1, 2]
    assert tables.thread_counts(6) == [1, 2, 3, 4, 6]
    assert tables.thread_counts(16) == [1, 2, 3, 4, 8, 16]


def test_batches_that_a_slow_machine_can_afford() -> None:
    bench = tables.ResearchBench([], ("model",), 1, 30.0)
    row = {"stage": "model", "candidate": "onnxruntime", "ages": 1, "median_ms": 300.0}
    bench.rows.append(row)
    assert bench._most_faces("onnxruntime", 6.0) == 1
    row["median_ms"] = 30.0
    assert bench._most_faces("onnxruntime", 6.0) >= 8
    assert bench._most_faces("another", 6.0) == 1


def test_memory_that_there_is_no_time_for(model: Model, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> None:
    monkeypatch.setattr(tables, "_MEMORY_SECONDS", 0.0)
    bench = tables.ResearchBench([model.path], ("crop",), 1, 1.0)
    row = {"table": "stages", "stage": "crop", "size": model.size, "candidate": "kernels", "threads": 1, "ages": 1}
    bench.rows.append(row | {"peak_mb": None})
    bench._memory([model], [discover_targets(model, 1, stack)])
    assert bench.rows[0]["peak_mb"] is None
    assert bench.skipped == [measure.Skipped("crop", "peak memory", "no time left, or not told by this system")]
