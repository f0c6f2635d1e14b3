"""``python -m benchmarks.research``: the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.stages import machine
from benchmarks.stages.__main__ import measure, stages_of
from lgin_edge.cli.options import BAD_MODEL, exit_on_error, stdout
from lgin_edge.models.engine_file import is_engine
from lgin_edge.transformer import INT8_WEIGHTS, WEIGHTS, model_path

from . import layers
from .tables import ResearchBench

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)


@app.command()
def research(
    models: Annotated[list[Path] | None, typer.Argument(metavar="MODEL", show_default=False)] = None,
    stage: Annotated[
        list[str] | None, typer.Option(help="Measure only this stage; repeatable.", show_default=False)
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, show_default=False)] = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=86400, help="Time for timing the stages; six times as much in all.")
    ] = 18.0,
    profile: Annotated[
        bool, typer.Option("--profile", help="Also the model's time by operator and layer, by ONNX Runtime's profiler.")
    ] = False,
    json_: Annotated[Path | None, typer.Option("--json", show_default=False)] = None,
) -> None:
    """What benchmarks.stages measures, and: more faces a call, more threads, peak memory, what is installed among PyTorch,
    torch.compile (takes minutes), OpenVINO and OpenCV, and each part of the frame path on a GPU."""
    with exit_on_error():
        failed = measure(ResearchBench, models or [], stages_of(stage), threads, seconds, json_)
        if profile:
            for path in [model_path(path) for path in models or []] or [WEIGHTS, INT8_WEIGHTS]:
                stdout.print()
                if is_engine(path):
                    stdout.print(f"{path.name}: no profile of an engine; trtexec --loadEngine --dumpProfile makes one")
                else:
                    layers.show(stdout, path.name, layers.profile(path, threads or machine.usable_cores()))
    if failed:
        raise typer.Exit(BAD_MODEL)


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.research")
