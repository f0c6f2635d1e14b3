"""The long runs of ``benchmarks/``, short: they run, compare and find nothing that grows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="benchmarks/ is not beside these tests")


def run(env: dict[str, str], out: Path, script: str, *arguments: str) -> dict[str, object]:
    command = [sys.executable, str(BENCHMARKS / script), *arguments, "-o", str(out)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, object] = json.loads(out.read_text())
    return result


def test_calls_of_the_kernels(subprocess_env: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "endurance.json"
    out.write_text('{"threads": "stays"}')
    report = run(subprocess_env, out, "endurance.py", "kernels", "--calls", "4000")
    one = report["kernels"]
    assert isinstance(one, dict)
    assert (one["calls"], one["wrong"], len(one["samples"])) == (4000, 0, 100)
    assert one["variants"] == 40  # crop and paste, five formats, two types, one and two threads
    assert report["threads"] == "stays"


def test_frames_of_a_stream(subprocess_env: dict[str, str], tmp_path: Path) -> None:
    report = run(subprocess_env, tmp_path / "stream.json", "stream.py", "soak", "--frames", "400")
    soak = report["soak"]
    assert isinstance(soak, dict)
    film, live = soak["sources"]
    assert film["frames_out"] == 400
    assert live["frames_out"] + live["dropped"] == 400
    assert film["scenes"] >= 2
    for one in (film, live):
        assert one["threads_after"] == 1
        assert one["descriptors_left"] == 0


def test_memory_that_grows_with_each_visit_is_told_from_steps() -> None:
    """In the figures of a run, and in the same with 10 kB a visit that are never given back."""
    from benchmarks.kiosk_visits import LIMIT_MB, growth_mb

    samples = json.loads((BENCHMARKS / "results" / "kiosk_visits.json").read_text())["samples"]
    assert growth_mb(samples) < LIMIT_MB
    leaking = [{**sample, "memory_mb": sample["memory_mb"] + 0.01 * sample["visits"]} for sample in samples]
    assert growth_mb(leaking) > LIMIT_MB
