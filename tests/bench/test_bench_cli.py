"""``python -m benchmarks.stages`` from the command line, on a tiny model and with hardly any time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.stages import __main__ as command
from benchmarks.stages import machine, measure, report, resnet18
from lgin_edge.cli import options

STAGES = ("detect", "crop", "model", "paste", "whole frame", "tracked frame", "timeline")


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ResNet-18 without its dear stages, two rounds, two cores."""
    monkeypatch.setattr(resnet18, "_STAGES", ((64, 2),))
    monkeypatch.setattr(measure, "LEAST_ROUNDS", 2)
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)


def run(*arguments: object) -> Any:
    for console in (options.stdout, options.stderr):
        console.width = 200
    return CliRunner().invoke(command.app, ["--seconds", "0.1", *map(str, arguments)])


def test_all_of_it(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    result = run(tiny_model, "--json", file, "--threads", 1)
    assert result.exit_code == 0, result.output
    for words in (
        *STAGES,
        "model, 6 ages",
        "timeline, 5 ages",
        "resnet18",
        "1280x720",
        "64² + 5x32²",
        "Not measured",
    ):
        assert words in result.stdout
    assert "skipped: all, onnxruntime CUDA: " in result.stdout

    content = json.loads(file.read_text())
    assert list(content) == ["machine", "rows"]
    about = content["machine"]
    assert {"cpu", "cores", "system", "python", "versions", "load", "bench", "providers"} <= set(about)
    assert about["versions"]["onnxruntime"]
    assert about["bench"]["models"] == ["tiny.onnx"]
    found = content["rows"]
    assert {row["stage"] for row in found} == {"yardstick", *STAGES}
    for row in found:
        check_row(row)
        assert (row["table"], row["threads"]) == ("stages", 1)
    assert [row["candidate"] for row in found if row["stage"] == "yardstick"] == ["resnet18"]
    keys = [tuple(row[name] for name in report.KEY) for row in found]
    assert len(set(keys)) == len(keys)


def check_row(row: dict[str, Any]) -> None:
    assert len(row["samples_ms"]) == row["n"] >= 2
    assert row["warm_up_calls"] >= 2
    assert min(row["samples_ms"]) <= row["median_ms"] <= row["p95_ms"] <= row["p99_ms"] <= max(row["samples_ms"])
    assert row["per_second"] == pytest.approx(1e3 * row["batch"] / row["median_ms"], rel=1e-3)
    assert len(row["inputs_sha256"]) == 64
    assert row["answer"]
    assert row["times_resnet18"] > 0
    assert ("few samples" in row["remark"]) == (row["n"] < 10)


def test_same_inputs_for_the_same_work(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    assert run(tiny_model, "--json", file, "--stage", "model", "--stage", "crop").exit_code == 0
    found = json.loads(file.read_text())["rows"]
    assert {row["stage"] for row in found} == {"yardstick", "model", "crop"}
    inputs: dict[tuple[str, int, int], set[str]] = {}
    for row in found:
        inputs.setdefault((row["stage"], row["batch"], row["ages"]), set()).add(row["inputs_sha256"])
    assert all(len(one) == 1 for one in inputs.values())


def test_two_models_are_told_apart(tiny_model: Path, tmp_path: Path) -> None:
    other, file = tmp_path / "other.onnx", tmp_path / "bench.json"
    other.write_bytes(tiny_model.read_bytes())
    result = run(tiny_model, other, "--stage", "tracked", "--stage", "crop", "--json", file)
    assert result.exit_code == 0, result.output
    found = json.loads(file.read_text())["rows"]
    names = [row["candidate"] for row in found if row["table"] == "stages"]
    assert names == ["resnet18", "kernels", "tiny.onnx: onnxruntime", "other.onnx: onnxruntime"]


def test_wrong_answer_fails_and_the_rest_is_measured(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "VIEW", dict.fromkeys(measure.VIEW, 0.0))
    result = run(tiny_model, "--stage", "crop", "--stage", "paste", "--threads", 1)
    assert result.exit_code == options.BAD_MODEL
    assert "FAILED: crop, kernels: wrong answer: off by" in result.stdout
    assert "paste" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stage", "dream"], "--stage: expected one of detect, crop"),
        (["--threads", "0"], "--threads"),
        (["--seconds", "0"], "--seconds"),
        (["--json", "/no/such/folder/a.json"], "there is no folder"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_unusable_models(tiny_age_model: Path, tmp_path: Path) -> None:
    broken, engine = tmp_path / "broken.onnx", tmp_path / "engine.plan"
    broken.write_bytes(b"no model")
    engine.write_bytes(b"ftrt no engine")
    for model in (broken, engine, tmp_path / "none.onnx", tiny_age_model):
        result = run(model)
        assert result.exit_code == options.BAD_MODEL
        assert str(model) in result.stderr
        assert "Traceback" not in result.output
