"""What a run found: rows as the JSON file has them, and tables for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lgin_edge.cli.options import print_whole
from lgin_edge.errors import InputError

from . import resnet18
from .measure import FEW, NOISY, WARM_UP_CALLS, WARM_UP_MS, Measured, Skipped, summarize

Row = dict[str, Any]
#: What makes two rows of two files the same measurement.
KEY = ("table", "stage", "candidate", "device", "size", "batch", "ages", "threads")
#: Load of other processes, in cores, from which on times are not to be trusted.
BUSY = 0.5
NOT_MEASURED = (
    "a camera, decoding and encoding pictures, files, a display",
    "the first call: loading, and warming up (benchmarks/footprint.py has the start)",
    "other faces and frames: one face of 300 px in 1280x720; detection's time grows with the faces",
    "how good a picture is (python -m training.evaluate)",
    "heat: a device that runs for minutes may slow down; watts",
    "memory on a GPU; memory of the parts of it that one library shares between processes",
)
_TITLES = {
    "stages": "Stages, CPU threads: {threads}",
    "batch": "Engine against faces a call, CPU threads: {threads}",
    "threads": "Stages against CPU threads",
    "kernels": "Crop and paste against OpenCV with NumPy, CPU threads: {threads}",
    "baseline": "Engine and tracked frame against other run times, CPU threads: {threads}",
}


def rows(measured: Sequence[Measured], table: str) -> list[Row]:
    """Rows of candidates that took turns, for one of ``_TITLES``. ResNet-18 on as many threads, or else the first one among them,
    gives ``times_resnet18``."""
    r18 = {
        one.candidate.threads: summarize(one.samples_ms).median
        for one in reversed(measured)
        if one.candidate.name == resnet18.NAME
    }
    first = next(reversed(r18.values()), None)
    return [_row(one, table, r18.get(one.candidate.threads, first)) for one in measured]


def _row(one: Measured, table: str, r18: float | None) -> Row:
    candidate, summary = one.candidate, summarize(one.samples_ms)
    remarks = [summary.remark] * bool(summary.remark) + ["short warm-up"] * (not one.warm)
    names = ("stage", "name", "device", "dtype", "size", "batch", "ages", "threads")
    facts = {"candidate" if name == "name" else name: getattr(candidate, name) for name in names}
    return {
        "table": table,
        **facts,
        "warm_up_calls": one.warm_up_calls,
        "warm_up_ms": round(one.warm_up_ms, 1),
        "n": summary.n,
        "median_ms": round(summary.median, 5),
        "p95_ms": round(summary.p95, 5),
        "p99_ms": round(summary.p99, 5),
        "cv": round(summary.cv, 4),
        "per_second": round(1e3 * candidate.batch / summary.median, 3),
        "times_resnet18": None if r18 is None else round(summary.median / r18, 5),
        "peak_mb": None,
        "remark": ", ".join(remarks),
        "answer": one.answer,
        "inputs_sha256": one.inputs,
        "samples_ms": [round(sample, 5) for sample in one.samples_ms],
    }


def write(path: Path, machine: dict[str, Any], found: Sequence[Row]) -> None:
    """``{"machine": ..., "rows": [...]}``, a row a line. Raises InputError if it cannot be written."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in found)
    head = json.dumps(machine, indent=1, ensure_ascii=False)
    try:
        path.write_text(f'{{"machine": {head},\n"rows": [\n{lines}\n]}}\n', encoding="utf-8")
    except OSError as error:
        raise InputError(f"--json {path}: cannot be written ({error.strerror})") from error


def show(console: Console, machine: dict[str, Any], rows: Sequence[Row], skipped: Sequence[Skipped]) -> None:
    """Everything but the profile."""
    show_machine(console, machine)
    for table in _TITLES:
        found = [row for row in rows if row["table"] == table]
        if found:
            console.print()
            print_whole(console, _table(table, found))
    for one in skipped:
        word = "FAILED" if one.failed else "skipped"
        console.print(f"{word}: {one.stage}, {one.name}: {one.reason}")
    console.print()
    console.print(
        f"Warm-up: {WARM_UP_CALLS} calls and {WARM_UP_MS:g} ms, or what the time allows (then it says so). Candidates of a table take "
        f"one sample in turn, in random order, each answer checked before and after. CV: deviation over mean; noisy above {NOISY:.0%}, "
        f"few below {FEW} samples. x R18: multiples of ResNet-18 at {resnet18.SIDE}x{resnet18.SIDE} ({resnet18.GMAC} GMAC, random "
        "weights) in ONNX Runtime on as many CPU threads. MB: peak resident memory of a process that does this alone."
    )
    console.print("Not measured: " + "; ".join(NOT_MEASURED) + ".")


def show_machine(console: Console, machine: dict[str, Any]) -> None:
    """A few lines; the JSON has it all."""
    forms = {
        "clock_mhz": "{} MHz",
        "max_clock_mhz": "{} MHz at most",
        "governor": "governor {}",
        "memory_mb": "{} MB",
        "power_mode": "power mode {}",
    }
    facts = [form.format(machine[name]) for name, form in forms.items() if name in machine]
    console.print(", ".join([f"{machine['cpu']}, {machine['cores']} cores", *facts]))
    for gpu in machine.get("gpus", []):
        console.print(", ".join(f"{value}" if name == "name" else f"{name} {value}" for name, value in gpu.items()))
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    console.print(f"{machine['system']}, Python {machine['python']}, {versions}")
    commit = machine.get("commit", "")
    short_commit = f", commit {commit[:12]}{'+changes' * commit.endswith('+changes')}" if commit else ""
    console.print(f"lgin-edge {machine['lgin_edge']}{short_commit}")
    if machine.get("load", 0) > BUSY:
        console.print(
            f"This machine is not idle (load {machine['load']:.2f}): expect noise, and times that are too long."
        )


def _table(name: str, rows: Sequence[Row]) -> Table:
    threads = {row["threads"] for row in rows}
    title = _TITLES[name].format(threads=max(threads))
    table = plain(title)
    with_threads, with_memory = len(threads) > 1, any(row["peak_mb"] is not None for row in rows)
    columns(table, ("stage", "back end", "type", "size"), right=False)
    columns(table, ["threads"] * with_threads)
    columns(table, ("batch", "warm-up", "n", "median ms", "p95", "p99", "CV", "/s", "x R18"))
    columns(table, ["MB"] * with_memory)
    columns(table, ("",), right=False)
    for row in rows:
        ages = f", {row['ages']} ages" if row["ages"] > 1 else ""
        multiple = "" if row["times_resnet18"] is None else f"{row['times_resnet18']:.3f}"
        memory = "" if row["peak_mb"] is None else f"{row['peak_mb']:.0f}"
        table.add_row(
            row["stage"] + ages,
            row["candidate"],
            row["dtype"],
            row["size"],
            *[str(row["threads"])] * with_threads,
            str(row["batch"]),
            str(row["warm_up_calls"]),
            str(row["n"]),
            *(short(row[key]) for key in ("median_ms", "p95_ms", "p99_ms")),
            f"{row['cv']:.0%}",
            short(row["per_second"]),
            multiple,
            *[memory] * with_memory,
            row["remark"],
        )
    return table


def short(value: float) -> str:
    """Three figures or more, never in powers of ten."""
    return f"{value:.{0 if value >= 1000 else 1 if value >= 100 else 2 if value >= 1 else 3}f}"


def plain(title: str) -> Table:
    """A table without lines."""
    return Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, title=title, title_justify="left", title_style="bold")


def columns(table: Table, names: Iterable[str], right: bool = True) -> None:
    """Add columns that are never cut."""
    for name in names:
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
