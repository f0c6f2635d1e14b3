"""``python -m benchmarks.stages``: the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgin_edge.cli.options import BAD_MODEL, EXIT_CODES, Command, exit_on_error, stderr, stdout
from lgin_edge.errors import InputError

if TYPE_CHECKING:
    from .run import Bench

# Everything that does the work is imported inside the command: --help is instant.

#: Stages by the first word of their names.
STAGES = ("detect", "crop", "model", "paste", "whole", "tracked", "timeline")

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)


@app.command(cls=Command, epilog=EXIT_CODES)
def bench(
    models: Annotated[
        list[Path] | None,
        typer.Argument(metavar="MODEL", help="Model files: .onnx, or engines. Default: the bundled model."),
    ] = None,
    stage: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Measure only this stage: {', '.join(STAGES)}. whole: a frame with detection; tracked: with landmarks given. May "
            "be repeated. Default: all.",
            metavar="STAGE",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="CPU threads. Default: as many as there are cores.", metavar="N")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=86400, help="Time for timing.", metavar="SECONDS")] = 18.0,
    json_: Annotated[
        Path | None, typer.Option("--json", help="Write machine, rows and all samples to this file.", metavar="FILE")
    ] = None,
) -> None:
    """How fast every stage is on this machine: detect, crop, model, paste, the whole frame.

    Examples:

      python -m benchmarks.stages

      python -m benchmarks.stages --stage model --stage crop --threads 1 --seconds 10

      python -m benchmarks.stages engine.plan my.onnx --json mine.json

    Needs no network, no photograph and no GPU; ends in half a minute. Close other programs first: the table says how noisy
    it was. Every time is also given as a multiple of ResNet-18 on the same threads, so that machines can be compared.
    """
    with exit_on_error():
        from .run import Bench

        failed = measure(Bench, models or [], stages_of(stage), threads, seconds, json_)
    if failed:
        raise typer.Exit(BAD_MODEL)


def stages_of(names: list[str] | None) -> tuple[str, ...]:
    """Stages as the rows name them, in the order of a frame's way."""
    for name in names or ():
        if name not in STAGES:
            raise InputError(f"--stage: expected one of {', '.join(STAGES)}, got {name!r}")
    from .stages import STAGES as ALL

    return tuple(one for one in ALL if not names or one.split()[0] in names)


def measure(
    bench: type[Bench],
    paths: list[Path],
    wanted: tuple[str, ...],
    threads: int | None,
    seconds: float,
    json_: Path | None,
) -> bool:
    """Run a bench and show what it found; whether something failed that should have worked. Raises as ``Bench.run``."""
    from rich.progress import Progress

    from lgin_edge.transformer import INT8_WEIGHTS, WEIGHTS, model_path

    from . import machine, report

    if json_ is not None and not json_.resolve().parent.is_dir():
        raise InputError(f"--json {json_}: there is no folder {json_.resolve().parent}")
    paths = [model_path(path) for path in paths] or [WEIGHTS, INT8_WEIGHTS]
    facts = machine.describe()
    # Drawn between samples alone: a thread that draws would be measured too.
    with Progress(console=stderr, transient=True, auto_refresh=False) as bar:
        task = bar.add_task("", total=1.0)

        def progress(what: str, done: float) -> None:
            bar.update(task, description=what, completed=done, refresh=True)

        result = bench(paths, wanted, threads or machine.usable_cores(), seconds, progress).run()
    facts["bench"] = {
        "arguments": sys.argv[1:],
        "models": [path.name for path in paths],
        "skipped": [f"{one.stage}, {one.name}: {one.reason}" for one in result.skipped],
    }
    if json_ is not None:
        report.write(json_, facts, result.rows)
    report.show(stdout, facts, result.rows, result.skipped)
    if json_ is not None:
        stdout.print(f"wrote {json_}")
    return result.failed


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.stages")
