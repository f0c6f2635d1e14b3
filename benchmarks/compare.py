"""What changed beyond the noise from one file of ``python -m benchmarks.stages --json`` to another.

    python -m benchmarks.compare before.json after.json

For each row that two files have, the ratio of the medians B / A has a 99 % interval (moving-block bootstrap of the samples of
both). Between two processes on one machine times drift by more than their samples tell, so a change counts only where the whole
interval lies beyond a floor: 3 %, or what ResNet-18 itself moved, if that is more. Where the machines differ, only multiples of
ResNet-18 are compared, and their floor is 10 %: no two processors do everything alike.

Before and after many commits, on a quiet machine, in turn and twice, with one model file that both read (what ``before1`` to ``before2``
says is the machine's own drift; a COMMIT without benchmarks/stages/ has ``python -m lgin_edge.bench`` in its place):

    git worktree add ../before COMMIT && (cd ../before && ./bootstrap.sh)
    for run in 1 2; do for tree in ../before .; do
      (cd $tree && .venv/bin/python -m benchmarks.stages "$OLDPWD/lgin_edge/weights/lgin.onnx" --json "/tmp/$(basename $PWD)$run.json")
    done; done
    for pair in "before1 before2" "before1 $(basename $PWD)1" "before2 $(basename $PWD)2"; do
      .venv/bin/python -m benchmarks.compare $(printf "/tmp/%s.json " $pair)
    done
    git worktree remove --force ../before
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console

from benchmarks.stages import resnet18
from benchmarks.stages.report import KEY, Row, columns, plain, short
from lgin_edge.cli.options import exit_on_error, print_whole, stdout
from lgin_edge.errors import InputError

#: What two runs must share for their times to be compared.
IDENTITY = ("cpu", "cores", "gpus")
_NUMBERS = ("median_ms", "samples_ms")
FLOOR, FLOOR_BETWEEN_MACHINES = 0.03, 0.10
#: Confidence of an interval: of the fifty rows of a run, hardly one strays out of its own by chance.
CONFIDENCE = 0.99
_SEED, _RESAMPLES = 0, 2000


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
        if unlike and is_resnet18:
            continue
        floor = FLOOR_BETWEEN_MACHINES
        if not unlike:
            drift = max(drift, moved, key=lambda ratio: abs(np.log(ratio)))
            floor = FLOOR if is_resnet18 else max(FLOOR, abs(float(np.log(moved))))
        changes.append(_change(before, after, bases if unlike else (None, None), floor, rng))
    only_a = [row for key, row in first.items() if key not in second]
    only_b = [row for key, row in second.items() if key not in first]
    return Comparison(changes, only_a, only_b, unlike, drift)


def _base(rows: Sequence[Row], row: Row) -> Row:
    """ResNet-18 of a row: in its table, on as many threads if there is one."""
    found = [one for one in rows if one["candidate"] == resnet18.NAME and one["table"] == row["table"]]
    if not found:
        raise InputError(
            f"the table {row['table']!r} has no {resnet18.NAME}: not written by python -m benchmarks.stages?"
        )
    return next((one for one in found if one["threads"] == row["threads"]), found[0])


def _change(
    before: Row,
    after: Row,
    bases: tuple[Row | None, Row | None],  # of which these are multiples, where they are
    floor: float,  # of the logarithm of the ratio
    rng: np.random.Generator,
) -> Change:
    def of(statistic: Callable[[Sequence[float]], Any]) -> list[Any]:
        pairs = zip((before, after), bases, strict=True)
        return [statistic(one["samples_ms"]) / (statistic(base["samples_ms"]) if base else 1) for one, base in pairs]

    points, resampled = of(np.median), of(lambda samples: medians(samples, rng))
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


def show(console: Console, found: Comparison) -> None:
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
    print_whole(console, table)
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


def differing(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """In what the machines of two runs differ, of what their times depend on."""

    def known(machine: dict[str, Any], name: str) -> Any:
        value = machine.get(name)
        return [gpu.get("name") for gpu in value] if name == "gpus" and isinstance(value, list) else value

    return [name for name in IDENTITY if known(a, name) != known(b, name)]


def read(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """Machine and rows of a file that ``write`` wrote. Raises InputError, naming what is wrong with it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a file of --json") from error
    except ValueError as error:
        raise InputError(f"{path}: not a file of python -m benchmarks.stages --json: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("machine"), dict):
        raise InputError(f"{path}: not a file of python -m benchmarks.stages --json: it has no 'machine'")
    found = content.get("rows")
    if not isinstance(found, list) or not all(isinstance(row, dict) and _complete(row) for row in found):
        raise InputError(f"{path}: not a file of python -m benchmarks.stages --json: 'rows' lack {', '.join(_NUMBERS)}")
    return content["machine"], found


def _complete(row: Row) -> bool:
    samples = row.get("samples_ms")
    named = all(name in row for name in (*KEY, "inputs_sha256"))
    return named and isinstance(samples, list) and bool(samples) and all(isinstance(x, (int, float)) for x in samples)


def main(before: Path, after: Path) -> None:
    """Say what changed beyond the noise."""
    with exit_on_error():
        show(stdout, compare(read(before), read(after)))


if __name__ == "__main__":
    typer.run(main)
