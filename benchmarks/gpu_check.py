"""Everything that only an NVIDIA GPU can show, in one command: ``python benchmarks/gpu_check.py``.

Named steps, the most telling first, each in a process of its own with a time limit; the JSON is written anew after each, so that a
machine that is taken away leaves what was found. A step that fails or runs out of time does not stop the others. ``--build``
compiles the kernels for this machine's GPU first, beside steps that do not need them; they take the place of those that are imported here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from xml.etree import ElementTree

import typer
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # as the steps have it, whether the package is installed or not
PACKAGES = ("cuda-bindings", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx-cu13", "torch")
#: Tests that compare our kernels with the CPU's; files by name, because others import what is not on every machine.
KERNEL_TESTS = ("test_kernels_cuda.py", "test_kernels_edits.py", "test_kernels_edges.py", "test_kernels.py")
#: Frames of the leak test.
FRAMES = 10_000
UNAVAILABLE = 3  # exit code of ``gpu_steps``
SANITIZERS = ("memcheck", "initcheck", "racecheck")

Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One process, and what its results say.

    Attributes:
        command: of a file or folder for results.
        rows: of that and of what was printed; what stands there already counts also when the time ran out.
        kernels: whether it needs the CUDA build.
        needs: modules without which there is nothing to run.
    """

    seconds: int
    command: Callable[[Path], list[str]]
    rows: Callable[[Path], list[Row]]
    kernels: bool = True
    needs: tuple[str, ...] = ()

    def lacks(self) -> str:
        """What is not installed and has to be; "" if all is there."""
        missing = ", ".join(name for name in self.needs if importlib.util.find_spec(name) is None)
        return f"needs {missing}: ./bootstrap.sh test,train" if missing else ""


def measured(
    name: str,
    seconds: int,
    *,
    kernels: bool = True,
    needs: tuple[str, ...] = (),
    prefix: tuple[str, ...] = (),
    quick: bool = False,
) -> Step:
    """A step of ``gpu_steps``."""

    def command(report: Path) -> list[str]:
        return [
            *prefix,
            sys.executable,
            "-m",
            "benchmarks.gpu_steps",
            name,
            str(report),
            *(["--quick"] if quick else []),
        ]

    def rows(report: Path) -> list[Row]:
        return [json.loads(line) for line in report.read_text().splitlines()] if report.is_file() else []

    return Step(seconds, command, rows, kernels, needs)


def tests(seconds: int, marks: str, *files: str) -> Step:
    """Tests, a row for each module and target."""

    def command(report: Path) -> list[str]:
        options = ["-q", "-p", "no:cacheprovider", "-W", "default", "-m", marks, f"--junitxml={report}"]
        return [sys.executable, "-m", "pytest", *options, *files]

    return Step(seconds, command, _test_rows, needs=("pytest",))


def steps() -> dict[str, Step]:
    """All steps by name, in their order."""
    found = {
        "card": measured("card", 30, kernels=False),
        "network": measured("network", 45, kernels=False, needs=("torch",)),
        "tests": tests(120, "cuda", *(f"tests/kernels/{name}" for name in KERNEL_TESTS)),
    }
    for name in ("path", "kernels", "paste-times", "path-times", "frame", "arrays"):
        found[name] = measured(name, 60, needs=("torch",) if name == "frame" else ())
    sanitizer = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    for tool in SANITIZERS if sanitizer else ():
        prefix = (str(sanitizer), "--tool", tool, "--error-exitcode", "9")
        found[tool] = measured("path", 90, prefix=prefix, quick=True)
    found["targets"] = tests(1800, "gpu", "tests/gpu")
    found["target-times"] = measured("target-times", 900)
    return found


def run(name: str, step: Step, seconds: float) -> list[Row]:
    """Run a step for at most so long; its rows, each with the step's name and an outcome, the first with its time."""
    environment = os.environ | {"LGIN_REQUIRE_CUDA": "1", "LGIN_GPU_FRAMES": str(FRAMES), "PYTHONUNBUFFERED": "1"}
    environment.setdefault("LGIN_TEST_EXAMPLES", "40")
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report"
        start = time.monotonic()
        code, output = _run(step.command(report), seconds, environment)
        rows = step.rows(report)
    took = time.monotonic() - start
    for row in rows:
        outcome = "skipped" if "skipped" in row else "failed" if row.pop("failed", False) else "measured"
        row.setdefault("outcome", outcome)
    if code is None:
        rows.append({"what": name, "outcome": "failed", "detail": f"not done after {seconds:.0f} s: {output[-1500:]}"})
    elif code not in (0, UNAVAILABLE) and not any(row["outcome"] == "failed" for row in rows):
        rows.append({"what": name, "outcome": "failed", "detail": f"exit code {code}: {output[-1500:]}"})
    rows = rows or [{"what": name, "outcome": "passed"}]
    rows[0] = rows[0] | {"seconds": round(took, 1)}
    return [{"step": name, **row} for row in rows]


def _run(command: list[str], seconds: float, environment: dict[str, str]) -> tuple[int | None, str]:
    """Exit code, None if the time ran out, and what was printed. All of a process group ends with its first process."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=seconds)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return None, process.communicate()[0]


def _test_rows(report: Path) -> list[Row]:
    if not report.is_file():
        return []
    groups: dict[str, list[ElementTree.Element]] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        parameters = case.get("name", "").partition("[")[2]
        kind = next((target for target in ("tensorrt-rtx", "tensorrt", "onnx") if target in parameters), "")
        groups.setdefault(f"{case.get('classname', '').removeprefix('tests.')} {kind}".strip(), []).append(case)
    rows = []
    for name, members in sorted(groups.items()):
        outcomes, details = Counter[str](), Counter[str]()
        for case in members:
            tags = {child.tag: child.get("message", "") for child in case}
            outcome = next((tag for tag in ("failure", "error", "skipped") if tag in tags), "passed")
            outcomes[outcome] += 1
            if outcome != "passed":
                details[f"{case.get('name')}: {(tags[outcome].splitlines() or [outcome])[0]}"] += 1
        bad = outcomes["failure"] + outcomes["error"]
        state = "failed" if bad else "skipped" if outcomes["skipped"] == len(members) else "passed"
        detail = "; ".join(text[:300] for text, _ in details.most_common(5 if bad else 1))
        rows.append({"what": name, "outcome": state, **outcomes, **({"detail": detail} if detail else {})})
    return rows


def native_module() -> Path | None:
    """The compiled module that is imported here: of an editable installation it lies elsewhere than the package."""
    found = importlib.util.find_spec("lgin_edge._native")
    return Path(found.origin) if found is not None and found.origin is not None else None


def native_facts() -> dict[str, str] | None:
    """Where that module lies, and its hash."""
    native = native_module()
    return None if native is None else {"path": str(native), "sha256": hashlib.sha256(native.read_bytes()).hexdigest()}


class Build:
    """The kernels for one architecture, compiled in the background by CMake and Ninja with pybind11 of this Python.

    They take the place of the module that is imported here.
    """

    def __init__(self, architecture: str, jobs: int) -> None:
        self.start, self.folder = time.monotonic(), ROOT / "build" / "gpu_check"
        configure = [
            "cmake",
            "-S",
            ".",
            "-B",
            str(self.folder),
            "-G",
            "Ninja",
            "-DCMAKE_BUILD_TYPE=Release",
            "-DLGIN_CUDA=ON",
        ]
        configure += [f"-DCMAKE_CUDA_ARCHITECTURES={architecture}", f"-DPython_EXECUTABLE={sys.executable}"]
        compile_ = ["cmake", "--build", str(self.folder), "--parallel", str(jobs)]
        install = ["cmake", "--install", str(self.folder), "--prefix", str(self.folder / "installed")]
        script = " && ".join(shlex.join(one) for one in (configure, compile_, install))
        self.process = subprocess.Popen(
            script,
            shell=True,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def wait(self, seconds: float) -> Row:
        """A row: how long it took, or what went wrong."""
        try:
            output = self.process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            self.stop()
            output = self.process.communicate()[0]
        row = {"step": "build", "what": "build", "seconds": round(time.monotonic() - self.start, 1)}
        if self.process.returncode == 0:
            (made,) = (self.folder / "installed" / "lgin_edge").glob(
                f"_native*{sysconfig.get_config_var('EXT_SUFFIX')}"
            )
            there = native_module() or ROOT / "lgin_edge" / made.name
            there.unlink(missing_ok=True)  # not written over: another process may run it
            shutil.copy(made, there)
            return row | {"outcome": "passed", "module": str(there)}
        return row | {"outcome": "failed", "detail": output[-1500:]}

    def stop(self) -> None:
        """End it, if it runs."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    installed = {one.metadata["Name"]: one.version for one in metadata.distributions()}
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "commit": commit.strip() or None,
        "native": native_facts(),
        "packages": {package: installed[package] for package in PACKAGES if package in installed},
        "cpus": os.cpu_count(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def check(
    wanted: dict[str, Step], seconds: float, build: Build | None, step_seconds: float = 3600
) -> Iterator[list[Row]]:
    """The rows of one step after another, until the time is over or there is no GPU."""
    end, not_built = time.monotonic() + seconds, ""
    for name, step in wanted.items():
        if step.kernels and build is not None:
            row = build.wait(max(1.0, end - time.monotonic()))
            build = None
            not_built = "" if row["outcome"] == "passed" else "the kernels could not be compiled"
            yield [row]
        left = end - time.monotonic()
        if why := (step.kernels and not_built) or step.lacks() or ("no time was left" if left < 1 else ""):
            yield [{"step": name, "what": name, "outcome": "skipped", "skipped": why}]
            continue
        rows = run(name, step, min(step.seconds, step_seconds, left))
        yield rows
        if name == "card" and "skipped" in rows[0]:
            break
    if build is not None:
        build.stop()


def main(
    out: Annotated[Path, typer.Option("-o", "--out", help="The JSON to write.")] = Path(
        "benchmarks/results/gpu_check.json"
    ),
    only: Annotated[
        str, typer.Option("--steps", help="Steps to make, with commas between them; all when not given.")
    ] = "",
    seconds: Annotated[float, typer.Option(min=1, help="For all steps together.")] = 3600,
    step_seconds: Annotated[float, typer.Option(min=1, help="For each step, where it has no lower limit.")] = 3600,
    build: Annotated[
        str,
        typer.Option(
            metavar="ARCH", help="Compile the kernels first, for this architecture of CMake's: native, 90-real."
        ),
    ] = "",
) -> None:
    """Check and time the GPU path on this machine; exit code 1 if something failed, 0 also where there is no GPU."""
    known = steps()
    names = [name.strip() for name in only.split(",") if name.strip()] or list(known)
    if unknown := [name for name in names if name not in known]:
        raise typer.BadParameter(
            f"no step {', '.join(unknown)} here; there are {', '.join(known)}", param_hint="--steps"
        )
    if not (weights := ROOT / "lgin_edge" / "weights" / "lgin.onnx").is_file():
        raise typer.BadParameter(f"{weights} is not here, and most steps read it")
    tools = {tool: shutil.which(tool) for tool in ("cmake", "ninja")} | {
        "pybind11": importlib.util.find_spec("pybind11")
    }
    if build and (missing := [tool for tool, found in tools.items() if found is None]):
        wanted = " ".join(missing)
        raise typer.BadParameter(f"needs {wanted}: {sys.executable} -m pip install {wanted}", param_hint="--build")
    building = Build(build, max(1, (os.cpu_count() or 1) - 2)) if build else None
    report: dict[str, Any] = {"machine": machine(), "rows": []}
    console = Console()
    table = Table("step", "what", "outcome", "detail")
    for rows in check({name: known[name] for name in names}, seconds, building, step_seconds):
        report["rows"] += rows
        if rows[0]["step"] == "build":
            report["machine"]["native"] = native_facts()
        out.write_text(json.dumps(report, indent=1) + "\n")
        for row in rows:
            print(json.dumps(row)[:400], flush=True)
            rest = {key: value for key, value in row.items() if key not in ("step", "what", "outcome")}
            table.add_row(
                row["step"], row["what"], row["outcome"], ", ".join(f"{k} {_short(v)}" for k, v in rest.items())
            )
    console.print(table)
    console.print(f"wrote {out}")
    if any(row["outcome"] == "failed" for row in report["rows"]):
        raise typer.Exit(1)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:300]


if __name__ == "__main__":
    typer.run(main)
