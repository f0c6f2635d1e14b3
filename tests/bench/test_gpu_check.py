"""``benchmarks/gpu_check.py``: that no step stops another, and that the measurements run, on the stand-in for CUDA."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cuda_stand_in
import pytest
from cuda_stand_in import needs_kernels

pytest.importorskip("benchmarks.gpu_check", reason="needs a checkout")

import lgin_edge._native
from benchmarks import gpu_check, gpu_steps
from benchmarks.gpu_check import Step


def step(code: str, seconds: int = 20) -> Step:
    """Python code that adds rows to the file ``sys.argv[1]``."""

    def rows(report: Path) -> list[gpu_check.Row]:
        return [json.loads(line) for line in report.read_text().splitlines()] if report.is_file() else []

    head = "import json, sys, time; add = lambda **row: print(json.dumps(row), file=open(sys.argv[1], 'a'))\n"
    return Step(seconds, lambda report: [sys.executable, "-c", head + code, str(report)], rows)


def test_a_step_that_fails_or_runs_out_of_time_leaves_its_rows_and_the_others() -> None:
    wanted = {
        "fine": step("add(what='copy', gb_s=3)"),
        "wrong": step("add(what='frames', failed=True)"),
        "breaks": step("add(what='half', us=1); raise SystemExit('out of memory')"),
        "slow": step("add(what='first', us=2); time.sleep(60)", seconds=1),
        "last": step("pass"),
    }
    rows = [row for found in gpu_check.check(wanted, 60, None) for row in found]
    assert [(row["step"], row["what"], row["outcome"]) for row in rows] == [
        ("fine", "copy", "measured"),
        ("wrong", "frames", "failed"),
        ("breaks", "half", "measured"),
        ("breaks", "breaks", "failed"),
        ("slow", "first", "measured"),
        ("slow", "slow", "failed"),
        ("last", "last", "passed"),
    ]
    assert "out of memory" in rows[3]["detail"]
    assert "not done after 1 s" in rows[5]["detail"]


def test_no_gpu_ends_it_and_no_time_skips() -> None:
    no_gpu = step("add(what='card', skipped='no NVIDIA GPU'); sys.exit(3)")
    (rows,) = gpu_check.check({"card": no_gpu, "path": step("add(what='path')")}, 60, None)
    assert [(row["what"], row["outcome"]) for row in rows] == [("card", "skipped")]
    ((row,),) = gpu_check.check({"path": step("add(what='path')")}, 0.5, None)
    assert (row["outcome"], row["skipped"]) == ("skipped", "no time was left")
    ((row,),) = gpu_check.check({"path": step("time.sleep(60)")}, 60, None, step_seconds=0.1)
    assert "not done after 0 s" in row["detail"]


def test_what_is_not_installed_or_did_not_compile_skips() -> None:
    """A healthy card has not failed."""
    lacks = replace(step("add(what='network')"), needs=("json", "no_such_module"), kernels=False)
    build = SimpleNamespace(wait=lambda seconds: {"step": "build", "what": "build", "outcome": "failed"})
    found = gpu_check.check({"network": lacks, "path": step("add(what='path')")}, 60, build)  # type: ignore[arg-type]
    rows = [row for rows in found for row in rows]
    assert [(row["step"], row["outcome"], row.get("skipped")) for row in rows] == [
        ("network", "skipped", "needs no_such_module: ./bootstrap.sh test,train"),
        ("build", "failed", None),
        ("path", "skipped", "the kernels could not be compiled"),
    ]


def test_kernels_that_were_compiled_take_the_place_of_those_that_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    native = gpu_check.native_module()
    assert native is not None
    assert str(native) == lgin_edge._native.__file__
    assert gpu_check.machine()["native"]["path"] == str(native)
    installed, imported = tmp_path / "installed" / "lgin_edge", tmp_path / native.name
    installed.mkdir(parents=True)
    (installed / native.name).write_bytes(b"new")
    (installed / "_native.cpython-27-other.so").write_bytes(b"of another Python")
    imported.write_bytes(b"old")
    monkeypatch.setattr(gpu_check, "native_module", lambda: imported)
    build = object.__new__(gpu_check.Build)
    build.start, build.folder = 0.0, tmp_path
    build.process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE, text=True)
    row = build.wait(20)
    assert (row["outcome"], row["module"]) == ("passed", str(imported))
    assert imported.read_bytes() == b"new"
    assert gpu_check.native_facts() == {"path": str(imported), "sha256": hashlib.sha256(b"new").hexdigest()}


@needs_kernels
@pytest.mark.parametrize(
    ("name", "count"),
    [("card", 3), ("path", 21), ("paste-times", 24), ("path-times", 10), ("network", 5), ("frame", 10)],
)
def test_measurements_run(name: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in ("network", "frame"):
        pytest.importorskip("torch", reason="needs PyTorch: ./bootstrap.sh test,train")
    runtime = cuda_stand_in.Runtime()
    cuda_stand_in.queue_launches(runtime, monkeypatch)
    (gpu_steps.STEPS | gpu_steps.kernel_steps())[name](gpu_steps.Step(tmp_path / "rows", True, runtime))
    rows = [json.loads(line) for line in (tmp_path / "rows").read_text().splitlines()]
    assert len(rows) == count
    assert not any(row.get("failed") for row in rows)
    # A whole frame has a network in half precision, and a limit of its own.
    assert name == "frame" or all(row["bytes_that_differ"] == 0 for row in rows if "bytes_that_differ" in row)
    assert all(row["graph"] for row in rows if row.get("frame_from") == "device" and "graph" in row)
    assert runtime.live == {}
