"""Everything that only an NVIDIA GPU can show, in one command: ``python benchmarks/gpu_check.py``.

Runs the tests marked ``cuda`` (our kernels against the CPU's) and ``gpu`` (the whole frame path by ONNX Runtime's CUDA provider,
TensorRT-RTX and TensorRT against the CPU, replayed graphs against calls, leaks), under compute-sanitizer too where it is, then
times a frame each target, in turn. Prints one table, with what was skipped and why, and writes the same as JSON.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any
from xml.etree import ElementTree

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import lgin_edge
from lgin_edge import kernels, transformer
from lgin_edge.models import tensorrt_variants

ROOT = Path(__file__).parent.parent
PACKAGES = ("onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx-cu13", "cuda-python", "onnx-graphsurgeon")
#: Frames of the leak test, and of the same under compute-sanitizer, which is a hundred times slower.
FRAMES, SANITIZED_FRAMES = 10_000, 20


def machine() -> dict[str, Any]:
    """What the figures belong to; ``gpu`` is None where there is none that this build can use."""
    gpu: dict[str, Any] | None = None
    reason = ""
    if not kernels.cuda_built() or kernels.cuda_is_host():
        reason = "this build of lgin-edge has no CUDA kernels (LGIN_CUDA=ON ./bootstrap.sh test)"
    else:
        try:
            from lgin_edge.inference.cuda import Cuda

            cuda = Cuda(0)
            gpu = {"name": cuda.name(), "capability": cuda.capability, "driver": cuda.call("cudaDriverGetVersion")}
        except lgin_edge.BackendError as error:
            reason = str(error)
    installed = {one.metadata["Name"]: one.version for one in metadata.distributions()}
    versions = {package: installed[package] for package in PACKAGES if package in installed}
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return {
        "gpu": gpu,
        "no_gpu_because": reason,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "lgin_edge": lgin_edge.__version__,
        "commit": commit.strip(),
        "packages": versions,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def run_tests(prefix: list[str], frames: int, marks: str) -> list[dict[str, Any]]:
    """One row for each group of tests: how many passed, failed and were skipped, and why."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        command = [*prefix, sys.executable, "-m", "pytest", "-q", "-m", marks, f"--junitxml={report}", "tests"]
        environment = os.environ | {"LGIN_GPU_FRAMES": str(frames)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if not report.is_file():
            return [{"what": marks, "outcome": "failed", "detail": (done.stdout + done.stderr)[-500:]}]
        cases = ElementTree.parse(report).getroot().iter("testcase")
        groups: dict[str, list[ElementTree.Element]] = {}
        for case in cases:
            parameters = case.get("name", "").partition("[")[2]
            kind = next((target for target in ("tensorrt-rtx", "tensorrt", "onnx") if target in parameters), "")
            groups.setdefault(f"{case.get('classname', '').removeprefix('tests.')} {kind}".strip(), []).append(case)
    rows = []
    for name, members in sorted(groups.items()):
        outcomes = Counter[str]()
        details = Counter[str]()
        for case in members:
            tags = {child.tag: child.get("message", "") for child in case}
            outcome = next((tag for tag in ("failure", "error", "skipped") if tag in tags), "passed")
            outcomes[outcome] += 1
            if outcome != "passed":
                details[tags[outcome].splitlines()[0] if tags[outcome] else outcome] += 1
        bad = outcomes["failure"] + outcomes["error"]
        state = "failed" if bad else "skipped" if outcomes["skipped"] == len(members) else "passed"
        detail = "; ".join(text[:200] for text, _ in details.most_common(2))
        counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
        rows.append({"what": name, "outcome": state, "detail": f"{counts}{': ' if detail else ''}{detail}"})
    if prefix and done.returncode:
        rows.append({"what": prefix[0], "outcome": "failed", "detail": (done.stdout + done.stderr)[-500:]})
    return rows


def ways(folder: Path) -> dict[str, Path | str]:
    """The models to time by the name of the target: a file, or why there is none."""
    found: dict[str, Path | str] = {"ONNX Runtime CUDA": transformer.WEIGHTS}
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        found["ONNX Runtime CUDA"] = "this onnxruntime has no CUDA provider"
    for variant in tensorrt_variants.VARIANTS.values():
        if not variant.installed or importlib.util.find_spec("onnx_graphsurgeon") is None:
            found[variant.name] = "not installed"
            continue
        from lgin_edge.engine import build

        path = folder / f"{variant.name}.plan"
        try:
            build.build(build.prepare(transformer.WEIGHTS), path, variant=variant)
            found[variant.name] = path
        except lgin_edge.LginError as error:
            found[variant.name] = str(error)
    return found


def time_frames(rounds: int) -> list[dict[str, Any]]:
    """A 720p frame with one face each target, candidates in turn; milliseconds of every sample."""
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    landmarks = lgin_edge.geometry.TEMPLATE * 300 + (490, 210)
    with tempfile.TemporaryDirectory() as scratch:
        candidates: dict[str, lgin_edge.Transformer] = {"CPU": lgin_edge.Transformer()}
        rows = []
        for name, path in ways(Path(scratch)).items():
            if isinstance(path, str):
                rows.append({"what": f"time, {name}", "outcome": "skipped", "detail": path})
                continue
            try:
                candidates[name] = lgin_edge.Transformer(path, device=0)
                candidates[f"{name}, without graph"] = lgin_edge.Transformer(path, device=0)
                candidates[f"{name}, without graph"].frame_path.record = False  # type: ignore[union-attr]
            except lgin_edge.LginError as error:
                rows.append({"what": f"time, {name}", "outcome": "failed", "detail": str(error)})
        samples: dict[str, list[float]] = {name: [] for name in candidates}
        for t in candidates.values():
            for _ in range(20):
                t.age(frame, group=4, landmarks=landmarks)
        for _ in range(rounds):
            for name, t in candidates.items():
                start = time.perf_counter()
                t.age(frame, group=4, landmarks=landmarks, out=frame)
                samples[name].append(round(1e3 * (time.perf_counter() - start), 4))
        for t in candidates.values():
            t.close()
    cpu = float(np.median(samples["CPU"]))
    for name, times in samples.items():
        median = float(np.median(times))
        spread = float(np.std(times) / np.mean(times))
        detail = f"median {median:.3f} ms, {cpu / median:.1f}x the CPU's speed, variation {spread:.0%}"
        rows.append({"what": f"time, {name}", "outcome": "measured", "detail": detail, "samples_ms": times})
    return rows


def main(
    out: Annotated[Path, typer.Option("-o", "--out", help="The JSON to write.")] = Path(
        "benchmarks/results/gpu_check.json"
    ),
    frames: Annotated[int, typer.Option(min=10, help="Frames of the leak test.")] = FRAMES,
    rounds: Annotated[int, typer.Option(min=5, help="Samples of each timing.")] = 200,
) -> None:
    """Check and time the GPU path on this machine; exit code 1 if something failed, 0 also where there is no GPU."""
    console = Console()
    here = machine()
    rows: list[dict[str, Any]]
    with console.status("running; the leak test takes minutes"):
        if here["gpu"] is None:
            rows = [{"what": "everything", "outcome": "skipped", "detail": here["no_gpu_because"]}]
        else:
            rows = run_tests([], frames, "cuda or gpu")
            sanitizer = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
            if sanitizer is None:
                rows.append({"what": "compute-sanitizer", "outcome": "skipped", "detail": "not on this machine"})
            else:
                prefix = [sanitizer, "--leak-check", "full", "--error-exitcode", "9", "--target-processes", "all"]
                checked = run_tests(prefix, SANITIZED_FRAMES, "cuda or gpu")
                rows += [row | {"what": f"compute-sanitizer: {row['what']}"} for row in checked]
            rows += time_frames(rounds)
    table = Table("what", "outcome", "detail", title=here["gpu"]["name"] if here["gpu"] else "no NVIDIA GPU")
    for row in rows:
        table.add_row(row["what"], row["outcome"], row["detail"])
    console.print(table)
    out.write_text(json.dumps({"machine": here, "rows": rows}, indent=1) + "\n")
    console.print(f"wrote {out}")
    if any(row["outcome"] == "failed" for row in rows):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
