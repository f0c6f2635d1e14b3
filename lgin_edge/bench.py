"""``python -m lgin_edge.bench``: how many frames per second this machine changes, and where their time goes.

Times are those that ``Transformer.last_call`` gives to every program. Each stage on its own, its answer checked, beside ResNet-18
and other implementations: ``python -m benchmarks.stages`` in a checkout.
"""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli import options
from .cli.options import EXIT_CODES, Command, exit_on_error, print_whole, stdout
from .errors import InputError
from .files import exists, write_files

if TYPE_CHECKING:
    from .transformer import Transformer

# Everything that does the work is imported inside the functions: --help is instant.

HEIGHT, WIDTH, FACE_PX = 720, 1280, 300
#: Frames before the first that counts, frames that count whatever the time, and at most.
WARM_UP, LEAST, MOST = 10, 5, 1000

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)


@app.command(cls=Command, epilog=EXIT_CODES)
def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL", help="Model files: .onnx, or engines. Default: the bundled model, and in int8."
        ),
    ] = None,
    device: options.DeviceOption = None,
    threads: options.ThreadsOption = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=86400, help="Time for timing.", metavar="SECONDS")] = 10.0,
    json_: Annotated[
        Path | None, typer.Option("--json", help="Write machine, rows and all samples to this file.", metavar="FILE")
    ] = None,
    overwrite: options.OverwriteOption = False,
) -> None:
    """How many 720p frames with one face this machine changes per second, and where their time goes.

    Examples:

      python -m lgin_edge.bench

      python -m lgin_edge.bench engine.plan my.onnx --json mine.json

    Needs no network and no photograph. Close other programs first.
    """
    with exit_on_error():
        from contextlib import ExitStack

        from . import __version__
        from ._process import usable_cores
        from .transformer import Transformer

        if json_ is not None and not json_.resolve().parent.is_dir():
            raise InputError(f"--json {json_}: there is no folder {json_.resolve().parent}")
        if json_ is not None and exists(json_) and not overwrite:
            raise InputError(f"--json {json_} exists; --overwrite replaces it")
        machine = {
            "system": platform.platform(),
            "machine": platform.machine(),
            "cores": usable_cores(),
            "python": platform.python_version(),
            "lgin_edge": __version__,
        }
        with ExitStack() as stack:
            opened = {
                name: stack.enter_context(Transformer(name or None, device=device, threads=threads))
                for name in models or ["", "int8"]
            }
            rows = measure({name or "bundled model": one for name, one in opened.items()}, seconds)
        if json_ is not None:
            write_files({json_: (json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n").encode()})
        show(rows, machine["cores"] if threads is None else threads)


def measure(transformers: dict[str, Transformer], seconds: float) -> list[dict[str, Any]]:
    """A row for each model and stage. Models take turns, so that what disturbs the machine disturbs all."""
    import numpy as np

    from .geometry import TEMPLATE

    frame = np.random.default_rng(0).integers(60, 190, (HEIGHT, WIDTH, 3), np.uint8)
    landmarks = FACE_PX * (TEMPLATE - 0.5) + (WIDTH / 2, HEIGHT / 2)
    samples: dict[tuple[str, str], list[float]] = {}
    end, n = time.perf_counter() + seconds, -WARM_UP
    while n < LEAST or (n < MOST and time.perf_counter() < end):
        for name, transformer in transformers.items():
            transformer.detect(frame)
            times = {"detect": transformer.last_call.times["detect"]}
            transformer.age(frame, group=len(transformer.groups) - 1, landmarks=landmarks)
            times |= transformer.last_call.times
            if n >= 0:
                for stage, ms in times.items():
                    samples.setdefault((name, stage), []).append(ms)
        n += 1
    return [
        {
            "model": name,
            "stage": "followed frame" if stage == "total" else stage,
            "n": len(found),
            "median_ms": round(float(np.median(found)), 3),
            "p95_ms": round(float(np.percentile(found, 95)), 3),
            "samples_ms": [round(ms, 3) for ms in found],
        }
        for (name, stage), found in samples.items()
    ]


def show(rows: list[dict[str, Any]], threads: int) -> None:
    """A table, and a sentence for each model."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("model", "stage", "n", "median ms", "p95 ms"):
        table.add_column(heading, justify="left" if heading in ("model", "stage") else "right", no_wrap=True)
    for row in rows:
        table.add_row(row["model"], row["stage"], str(row["n"]), f"{row['median_ms']:.2f}", f"{row['p95_ms']:.2f}")
    print_whole(stdout, table)
    medians = {(row["model"], row["stage"]): row["median_ms"] for row in rows}
    for model in dict.fromkeys(row["model"] for row in rows):
        followed = medians[model, "followed frame"]
        stdout.print(
            f"{model}: about {1e3 / followed:.0f} frames/s at {HEIGHT}p with one face that is followed, "
            f"{1e3 / (followed + medians[model, 'detect']):.0f} where it is searched in each (CPU threads: {threads})."
        )


if __name__ == "__main__":
    app(prog_name="python -m lgin_edge.bench")
