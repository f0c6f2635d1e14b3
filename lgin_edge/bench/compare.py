"""``--compare A.json B.json``: what changed beyond the noise.

For each row that both have, the ratio of the medians B / A has a 99 % interval (moving-block bootstrap of the samples of both).
Between two processes on one machine times drift by more than their samples tell, so a change counts only where the whole
interval lies beyond a floor: 3 %, or what the yardstick itself moved, if that is more. Where the machines differ, only
multiples of the yardstick are compared, and their floor is 10 %: no two processors do everything alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from ..errors import InputError
from . import report, resnet18
from .rows import KEY, Row
from .stats import CONFIDENCE, interval, medians

FLOOR, FLOOR_BETWEEN_MACHINES = 0.03, 0.10
_SEED = 0


@dataclass(frozen=True)
class Change:
    """Of one row.

    Attributes:
        before, after: medians in ms, or multiples of the yardstick.
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
        drift: after / before of the yardstick, the one furthest from 1; 1 where the machines differ.
    """

    changes: list[Change]
    only_a: list[Row]
    only_b: list[Row]
    differing: list[str]
    drift: float


def compare(a: tuple[dict[str, Any], list[Row]], b: tuple[dict[str, Any], list[Row]]) -> Comparison:
    """Two files of ``rows.read``.

    Raises:
        InputError: they have no row in common, or a table lacks the yardstick.
    """
    differing = report.differing(a[0], b[0])
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
        is_yardstick = before["candidate"] == resnet18.NAME
        if differing:
            if not is_yardstick:
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
        floor = FLOOR if is_yardstick else max(FLOOR, abs(float(np.log(moved))))
        points = [np.median(row["samples_ms"]) for row in (before, after)]
        changes.append(
            _change(before, after, points, [medians(row["samples_ms"], rng) for row in (before, after)], floor)
        )
    only_a = [row for key, row in first.items() if key not in second]
    only_b = [row for key, row in second.items() if key not in first]
    return Comparison(changes, only_a, only_b, differing, drift)


def _base(rows: Sequence[Row], row: Row) -> Row:
    """The yardstick of a row: in its table, on as many threads if there is one."""
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


def show(console: Console, found: Comparison) -> None:
    """As a table, with what it rests on."""
    unit = "x R18" if found.differing else "ms"
    if found.differing:
        console.print(
            f"Two machines (another {', '.join(found.differing)}): only multiples of {resnet18.NAME} are compared, and a change "
            f"counts beyond {FLOOR_BETWEEN_MACHINES:.0%}."
        )
    table = report.plain("")
    report.columns(table, ("table", "stage", "back end"), right=False)
    report.columns(table, ("batch", "threads", f"A {unit}", f"B {unit}", "change", f"{CONFIDENCE:.0%} interval"))
    report.columns(table, ("",), right=False)
    for one in found.changes:
        row = one.row
        ages = f", {row['ages']} ages" if row["ages"] > 1 else ""
        names = row["table"], row["stage"] + ages, row["candidate"], str(row["batch"]), str(row["threads"])
        span = f"{one.low - 1:+.1%} to {one.high - 1:+.1%}"
        table.add_row(
            *names, report.short(one.before), report.short(one.after), f"{one.ratio - 1:+.1%}", span, one.verdict
        )
    report.wide(console, table)
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
