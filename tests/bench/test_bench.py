"""``python -m lgin_edge.bench``: what it says, from the command line, on a tiny model and with hardly any time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lgin_edge import bench
from lgin_edge.cli import options


def test_rows_of_two_models(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "WARM_UP", 1)
    other, file = tmp_path / "other.onnx", tmp_path / "bench.json"
    other.write_bytes(tiny_model.read_bytes())
    arguments = [str(tiny_model), str(other), "--seconds", "0.1", "--threads", "1", "--json", str(file)]
    result = CliRunner().invoke(bench.app, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(file.read_text())
    assert found["machine"]["cores"] >= 1
    stages = ["detect", "crop", "model", "paste", "followed frame"]
    assert [(row["model"], row["stage"]) for row in found["rows"]] == [
        (str(name), stage) for name in (tiny_model, other) for stage in stages
    ]
    for row in found["rows"]:
        assert row["n"] == len(row["samples_ms"]) >= bench.LEAST
        assert row["median_ms"] == pytest.approx(np.median(row["samples_ms"]), abs=1e-3)
        assert 0 < row["median_ms"] <= row["p95_ms"]
    detect, *parts, frame = (row["median_ms"] for row in found["rows"][:5])
    assert max(parts) < frame
    sentence = result.stdout.splitlines()[-2]
    said = re.search(r"about (\d+) frames/s at 720p with one face that is followed, (\d+) where", sentence)
    assert said is not None
    assert [int(number) for number in said.groups()] == pytest.approx([1e3 / frame, 1e3 / (frame + detect)], abs=0.51)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["none.onnx"], options.BAD_MODEL, "none.onnx"),
        (["--json", "/no/such/folder/a.json"], options.WRONG_USAGE, "there is no folder"),
        (["--seconds", "0"], options.WRONG_USAGE, "--seconds"),
    ],
)
def test_what_cannot_be_measured(arguments: list[str], code: int, words: str) -> None:
    result = CliRunner().invoke(bench.app, arguments)
    assert result.exit_code == code
    assert words in result.stderr


def test_as_a_module_help_teaches_and_is_instant(subprocess_env: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "lgin_edge.bench", "--help"],
        env=subprocess_env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert all(word in done.stdout for word in ("Examples", "engine.plan", "Exit codes"))
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & {"numpy", "onnxruntime", "cv2", "PIL", "torch", "onnx"}
