"""The command line for many pictures: ``lgin-edge batch``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import advice, options
from .options import exit_on_error, stderr, stdout

if TYPE_CHECKING:
    from ..batch.run import Executor
    from ..batch.worker import AgeShard

#: Files of many pictures, and what reads them.
_DATASETS = dict.fromkeys((".parquet", ".tar"), "integrations/datasets/batch.py reads them")

OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Do everything again, whatever DST holds.")]
OutArgument = Annotated[Path, typer.Argument(metavar="DST", help="Folder of the results, in which SRC is mirrored.")]


def batch(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A folder of pictures, or one.")],
    out: OutArgument,
    group: options.GroupOption = None,
    years: options.YearsOption = None,
    mark: options.MarkOption = False,
    model: options.ModelOption = None,
    device: options.DeviceOption = None,
    threads: options.ThreadsOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Make the faces of many pictures younger or older; the same command again does what is missing.

    Example:

      lgin-edge batch photos/ older/ --years 70

    DST has a result for each picture with a face; DST/failures.csv lists the others, with the reason. Parquet files, WebDataset
    shards and Ray: integrations/datasets of the repository.
    """
    run_and_tell(source, out, group, years, mark, model, device, threads, overwrite)


def run_and_tell(
    source: Path,
    out: Path,
    group: float | None,
    years: float | None,
    mark: bool,
    model: Path | None,
    device: str | None,
    threads: int | None,
    overwrite: bool,
    *,
    shards: Mapping[str, AgeShard] | None = None,
    executor: Executor | None = None,
    question: Mapping[str, object] | None = None,
) -> None:
    """A batch with its progress, its sum and its exit code; all that is given by name is ``batch.run``'s."""
    options.check_one_age(group, years)
    with exit_on_error():
        advice.check_batch(source, group, years)
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from ..batch import run

        settings = run.settings(
            model, group=group, years=years, mark=mark, device=device, threads=threads, shards=shards or {}
        )
        _say_left_out(source, shards or {})
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=stderr, transient=True) as bar:
            task = bar.add_task("ageing", total=None)
            try:
                summary = run.run(
                    source,
                    out,
                    settings,
                    executor=executor or run.local,
                    question=question,
                    overwrite=overwrite,
                    progress=lambda done, of: bar.update(task, completed=done, total=of),
                )
            except KeyboardInterrupt:
                missing = bar.tasks[0]
                of = "" if missing.total is None else f" of {missing.total:.0f}"
                stderr.print(f"{missing.completed:.0f}{of} files are done; the same command does the rest")
                raise
    before = f"; {summary.before} of {summary.tasks} files were done before" if summary.before else ""
    stdout.print(f"{summary.aged} pictures with {summary.faces} faces in {out}{before}")
    if summary.without_face or summary.failed:
        stderr.print(f"{summary.without_face} without a face, {summary.failed} failed: {out / 'failures.csv'}")
    if summary.failed:
        raise typer.Exit(options.BAD_INPUT)
    if not summary.aged:
        raise typer.Exit(options.NO_FACE)


def _say_left_out(source: Path, shards: Mapping[str, AgeShard]) -> None:
    """Name the kinds of films, pictures and data sets in a folder that have no result."""
    from importlib.util import find_spec

    from .. import jobs
    from ..images import HEIF_SUFFIXES, UNREAD

    why = dict.fromkeys(UNREAD, "not read") | dict.fromkeys(jobs.FILMS, "films") | _DATASETS
    if find_spec("pillow_heif") is None:
        why |= dict.fromkeys(HEIF_SUFFIXES, "pip install pillow-heif")
    left_out = tuple(suffix for suffix in why if suffix not in shards)
    for folder in jobs.closed_folders(source):
        stderr.print(f"{folder}: {jobs.why_left_out(folder)}, left out")
    counts = Counter(file.suffix.lower() for file in jobs.files(source, left_out))
    for suffix, count in sorted(counts.items()):
        stderr.print(f"{count} {suffix} left out: {why[suffix]}")
