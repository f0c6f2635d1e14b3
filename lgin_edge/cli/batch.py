"""The command line for many pictures: ``lgin-edge batch``."""

from __future__ import annotations

from collections import Counter
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from . import options
from .options import exit_on_error, stderr, stdout


class ExecutorName(str, Enum):
    """Who does the work."""

    local = "local"
    ray = "ray"


def batch(
    source: Annotated[
        Path,
        typer.Argument(metavar="SRC", help="A folder of pictures, Parquet files and WebDataset shards (.tar), or one."),
    ],
    out: Annotated[Path, typer.Argument(metavar="DST", help="Folder of the results, in which SRC is mirrored.")],
    group: options.GroupOption = None,
    years: options.YearsOption = None,
    executor: Annotated[
        ExecutorName,
        typer.Option(help="local: this process; ray: the cores of this machine, or a cluster.", metavar="local|ray"),
    ] = ExecutorName.local,
    address: Annotated[
        str | None,
        typer.Option(
            help="For ray: a cluster, like ray://HOST:10001 or HOST:6379. Default: RAY_ADDRESS, or this machine.",
            metavar="ADDRESS",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="For ray: processes. Default: one for each core.", metavar="N")
    ] = None,
    column: Annotated[
        str, typer.Option(help="Of Parquet files: the column of the pictures.", metavar="NAME")
    ] = "image",
    mark: options.MarkOption = False,
    model: options.ModelOption = None,
    device: options.DeviceOption = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="CPU threads of a worker. Default: all cores; for ray 1.", metavar="N"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do everything again, whatever DST holds.")] = False,
) -> None:
    """Make the faces of many pictures younger or older; the same command again does what is missing.

    Examples:

      lgin-edge batch photos/ older/ --years 70

      lgin-edge batch shards/ older/ --years 70 --executor ray

      lgin-edge batch /shared/photos /shared/older --years 70 --executor ray --address ray://head:10001

    DST has a result for each picture with a face; DST/failures.csv lists the others, with the reason. Shards keep their other
    columns and files. Ray and Parquet files need: pip install 'lgin-edge\\[ray]'
    """
    options.check_one_age(group, years)
    if executor is ExecutorName.local and (address or workers):
        raise typer.BadParameter("--address and --workers belong to --executor ray")
    with exit_on_error():
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from ..batch import ray_executor, run

        settings = run.settings(
            model, group=group, years=years, column=column, mark=mark, device=device, threads=threads
        )
        chosen = (
            run.local if executor is ExecutorName.local else partial(ray_executor.run, workers=workers, address=address)
        )
        _say_left_out(source)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=stderr, transient=True) as bar:
            task = bar.add_task("ageing", total=None)
            try:
                summary = run.run(
                    source,
                    out,
                    settings,
                    executor=chosen,
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


def _say_left_out(source: Path) -> None:
    """Name the kinds of films and pictures in a folder that have no result."""
    from importlib.util import find_spec

    from .. import jobs
    from ..images import HEIF_SUFFIXES, UNREAD

    missing = HEIF_SUFFIXES if find_spec("pillow_heif") is None else ()
    counts = Counter(file.suffix.lower() for file in jobs.files(source, (*UNREAD, *jobs.FILMS, *missing)))
    for suffix, count in sorted(counts.items()):
        why = "films" if suffix in jobs.FILMS else "pip install pillow-heif" if suffix in missing else "not read"
        stderr.print(f"{count} {suffix} left out: {why}")
