"""What a run found: rows as the JSON file has them, tables for people, and what changed beyond the noise from one file to another.

For each row that two files have, the ratio of the medians B / A has a 99 % interval (moving-block bootstrap of the samples of
both). Between two processes on one machine times drift by more than their samples tell, so a change counts only where the whole
interval lies beyond a floor: 3 %, or what ResNet-18 itself moved, if that is more. Where the machines differ, only multiples of
ResNet-18 are compared, and their floor is 10 %: no two processors do everything alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from ..errors import InputError
from . import resnet18
from .machine import IDENTITY
from .measure import FEW, NOISY, WARM_UP_CALLS, WARM_UP_MS, Measured, Skipped, summarize

Row = dict[str, Any]
#: What makes two rows of two files the same measurement.
KEY = ("table", "stage", "candidate", "device", "size", "batch", "ages", "threads")
_NUMBERS = ("median_ms", "samples_ms")
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
FLOOR, FLOOR_BETWEEN_MACHINES = 0.03, 0.10
#: Confidence of an interval: of the fifty rows of a run, hardly one strays out of its own by chance.
CONFIDENCE = 0.99
_SEED, _RESAMPLES = 0, 2000


def rows(measured: Sequence[Measured], table: str) -> list[Row]:
    """Rows of candidates that took turns.

    Args:
        table: "stages", "batch", "threads", "kernels" or "baseline"; ResNet-18 among them gives ``times_resnet18``: that on as many
            threads, or else the first one.
    """
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
    return {
        "table": table,
        "stage": candidate.stage,
        "candidate": candidate.name,
        "device": candidate.device,
        "dtype": candidate.dtype,
        "size": candidate.size,
        "batch": candidate.batch,
        "ages": candidate.ages,
        "threads": candidate.threads,
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


def read(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """Machine and rows of a file that ``write`` wrote. Raises InputError, naming what is wrong with it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a file of --json") from error
    except ValueError as error:
        raise InputError(f"{path}: not a file of python -m lgin_edge.bench --json: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("machine"), dict):
        raise InputError(f"{path}: not a file of python -m lgin_edge.bench --json: it has no 'machine'")
    found = content.get("rows")
    if not isinstance(found, list) or not all(isinstance(row, dict) and _complete(row) for row in found):
        raise InputError(f"{path}: not a file of python -m lgin_edge.bench --json: 'rows' lack {', '.join(_NUMBERS)}")
    return content["machine"], found


def _complete(row: Row) -> bool:
    samples = row.get("samples_ms")
    named = all(name in row for name in (*KEY, "inputs_sha256"))
    return named and isinstance(samples, list) and bool(samples) and all(isinstance(x, (int, float)) for x in samples)


def show(console: Console, machine: dict[str, Any], rows: Sequence[Row], skipped: Sequence[Skipped]) -> None:
    """Everything but the profile."""
    show_machine(console, machine)
    for table in _TITLES:
        found = [row for row in rows if row["table"] == table]
        if found:
            console.print()
            wide(console, _table(table, found))
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
    told = [form.format(machine[name]) for name, form in forms.items() if name in machine]
    console.print(", ".join([f"{machine['cpu']}, {machine['cores']} cores", *told]))
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


def differing(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """In what the machines of two runs differ, of what their times depend on."""

    def known(machine: dict[str, Any], name: str) -> Any:
        value = machine.get(name)
        return [gpu.get("name") for gpu in value] if name == "gpus" and isinstance(value, list) else value

    return [name for name in IDENTITY if known(a, name) != known(b, name)]


def short(value: float) -> str:
    """Three figures or more, never in powers of ten."""
    return (
        f"{value:.0f}"
        if value >= 1000
        else f"{value:.1f}"
        if value >= 100
        else f"{value:.2f}"
        if value >= 1
        else f"{value:.3f}"
    )


def plain(title: str) -> Table:
    """A table without lines."""
    return Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, title=title, title_justify="left", title_style="bold")


def columns(table: Table, names: Iterable[str], right: bool = True) -> None:
    """Add columns that are never cut."""
    for name in names:
        table.add_column(name, justify="right" if right else "left", no_wrap=True)


def wide(console: Console, table: Table) -> None:
    """As wide as it needs: no name is cut short, in a narrow terminal or in a pipe."""
    needed = console.measure(table, options=console.options.update(max_width=1_000_000)).maximum
    Console(file=console.file, highlight=False, markup=False, width=max(needed, console.width)).print(table)


@dataclass(frozen=True)
class Change:
    """Of one row.

    Attributes:
        before, after: medians in ms, or multiples of ResNet-18.
        ratio, low, high: after / before, and its interval.
        verdict: "faster", "slower", "no change", or why it is not compared.
    """

    row: Row
    before: float
    after: float
    ratio: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """Of two runs.

    Attributes:
        changes: of the rows that both have.
        only_a, only_b: rows that the other lacks.
        differing: in what the machines differ; if in anything, ``changes`` are of multiples.
        drift: after / before of ResNet-18, the one furthest from 1; 1 where the machines differ.
    """

    changes: list[Change]
    only_a: list[Row]
    only_b: list[Row]
    differing: list[str]
    drift: float


def compare(a: tuple[dict[str, Any], list[Row]], b: tuple[dict[str, Any], list[Row]]) -> Comparison:
    """Two files of ``rows.read``.

    Raises:
        InputError: they have no row in common, or a table lacks ResNet-18.
    """
    unlike = differing(a[0], b[0])
    first, second = ({tuple(row[name] for name in KEY): row for row in rows} for _, rows in (a, b))
    common = [key for key in first if key in second]
    if not common:
        raise InputError("the two files have no row in common: nothing to compare")
    rng = np.random.default_rng(_SEED)
    changes: list[Change] = []
    drift = 1.0
    for key in common:
        before, after = first[key], second[key]
        bases = _base(a[1], before), _base(b[1], after)
        moved = float(np.median(bases[1]["samples_ms"]) / np.median(bases[0]["samples_ms"]))
        is_resnet18 = before["candidate"] == resnet18.NAME
        if unlike:
            if not is_resnet18:
                multiples = [
                    medians(row["samples_ms"], rng) / medians(base["samples_ms"], rng)
                    for row, base in zip((before, after), bases, strict=True)
                ]
                points = [
                    np.median(row["samples_ms"]) / np.median(base["samples_ms"])
                    for row, base in zip((before, after), bases, strict=True)
                ]
                changes.append(_change(before, after, points, multiples, FLOOR_BETWEEN_MACHINES))
            continue
        drift = max(drift, moved, key=lambda ratio: abs(np.log(ratio)))
        floor = FLOOR if is_resnet18 else max(FLOOR, abs(float(np.log(moved))))
        points = [np.median(row["samples_ms"]) for row in (before, after)]
        changes.append(
            _change(before, after, points, [medians(row["samples_ms"], rng) for row in (before, after)], floor)
        )
    only_a = [row for key, row in first.items() if key not in second]
    only_b = [row for key, row in second.items() if key not in first]
    return Comparison(changes, only_a, only_b, unlike, drift)


def _base(rows: Sequence[Row], row: Row) -> Row:
    """ResNet-18 of a row: in its table, on as many threads if there is one."""
    found = [one for one in rows if one["candidate"] == resnet18.NAME and one["table"] == row["table"]]
    if not found:
        raise InputError(
            f"the table {row['table']!r} has no {resnet18.NAME}: not written by python -m lgin_edge.bench?"
        )
    return next((one for one in found if one["threads"] == row["threads"]), found[0])


def _change(
    before: Row,
    after: Row,
    points: Sequence[float],
    resampled: Sequence[npt.NDArray[np.float64]],
    floor: float,  # of the logarithm of the ratio
) -> Change:
    low, high = interval(resampled[1] / resampled[0])
    if before["inputs_sha256"] != after["inputs_sha256"]:
        verdict = "other input"
    elif np.log(low) > floor:
        verdict = "slower"
    elif np.log(high) < -floor:
        verdict = "faster"
    else:
        verdict = "no change"
    return Change(before, float(points[0]), float(points[1]), float(points[1] / points[0]), low, high, verdict)


def show_comparison(console: Console, found: Comparison) -> None:
    """As a table, with what it rests on."""
    unit = "x R18" if found.differing else "ms"
    if found.differing:
        console.print(
            f"Two machines (another {', '.join(found.differing)}): only multiples of {resnet18.NAME} are compared, and a change "
            f"counts beyond {FLOOR_BETWEEN_MACHINES:.0%}."
        )
    table = plain("")
    columns(table, ("table", "stage", "back end"), right=False)
    columns(table, ("batch", "threads", f"A {unit}", f"B {unit}", "change", f"{CONFIDENCE:.0%} interval"))
    columns(table, ("",), right=False)
    for one in found.changes:
        row = one.row
        ages = f", {row['ages']} ages" if row["ages"] > 1 else ""
        names = row["table"], row["stage"] + ages, row["candidate"], str(row["batch"]), str(row["threads"])
        span = f"{one.low - 1:+.1%} to {one.high - 1:+.1%}"
        table.add_row(*names, short(one.before), short(one.after), f"{one.ratio - 1:+.1%}", span, one.verdict)
    wide(console, table)
    for name, rows in (("A", found.only_a), ("B", found.only_b)):
        if rows:
            listed = ", ".join(sorted({f"{row['stage']} by {row['candidate']} ({row['table']})" for row in rows}))
            console.print(f"only in {name}: {listed}")
    if not found.differing:
        console.print(
            f"{resnet18.NAME} itself moved by up to {found.drift - 1:+.1%}. What its neighbour {resnet18.NAME} moved too, or less "
            f"than {FLOOR:.0%}, is no change."
        )
        if abs(np.log(found.drift)) > FLOOR_BETWEEN_MACHINES:
            console.print("That is much: the machine was busy or hot in one of the runs; measure again.")


def medians(samples: Sequence[float], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Medians of resampled samples, [2000].

    A moving-block bootstrap (Künsch 1989): blocks of about ``n^(1/3)`` samples in a row are drawn, because a machine's slow
    spells last longer than one sample.
    """
    values = np.asarray(samples, np.float64)
    n = len(values)
    block = max(1, round(n ** (1 / 3)))
    starts = rng.integers(0, n, (_RESAMPLES, -(-n // block)))
    index = (starts[..., None] + np.arange(block)).reshape(_RESAMPLES, -1)[:, :n] % n
    return np.median(values[index], axis=1)


def interval(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The middle 99 % of bootstrapped values."""
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(values, (tail, 100 - tail))
    return float(low), float(high)
