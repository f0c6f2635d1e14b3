"""Rows: what was measured, as the JSON file has it and the tables show it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from . import resnet18
from .measure import Measured
from .stats import summarize

Row = dict[str, Any]
#: What makes two rows of two files the same measurement.
KEY = ("table", "stage", "candidate", "device", "size", "batch", "ages", "threads")
_NUMBERS = ("median_ms", "samples_ms")


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
