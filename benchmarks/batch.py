"""How ``lgin-edge batch`` scales over the cores of one machine: ``python benchmarks/batch.py [-o FILE.json]``.

One folder of pictures (scikit-image's astronaut, 512x512 JPEGs in different light) by every engine in turn, each a process of its
own, as the command line starts it: loading the model and starting Ray are part of a batch. So each is run on two sizes of folder,
and what counts is the difference: the rate of the pictures in between. Not measured: a cluster, a slow shared disk, GPUs.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lgin_edge.bench.machine import describe

RUN = [sys.executable, "-c", "from lgin_edge.cli import main; main()", "batch"]


def candidates(cores: int) -> dict[str, list[str]]:
    """name -> options."""
    found = {"local, 1 thread": ["--threads", "1"]}
    if cores > 1:
        found[f"local, {cores} threads"] = ["--threads", str(cores)]
    workers = sorted({1 << i for i in range(cores.bit_length()) if 1 << i <= cores} | {cores})
    return found | {f"ray, {n} x 1 thread": ["--engine", "ray", "--workers", str(n)] for n in workers}


def pictures(folder: Path, count: int) -> Path:
    from PIL import Image, ImageEnhance
    from skimage import data

    folder.mkdir()
    astronaut = ImageEnhance.Brightness(Image.fromarray(data.astronaut()))
    for i in range(count):
        astronaut.enhance(0.7 + 0.6 * i / count).save(folder / f"{i:05}.jpg", quality=90)
    return folder


def seconds(source: Path, options: list[str]) -> float:
    """Wall time of a batch, every picture of which must have a result."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run([*RUN, str(source), folder, "--years", "70", *options], check=True, capture_output=True)
        took = time.perf_counter() - start
        wanted, got = {path.name for path in source.iterdir()}, {path.name for path in Path(folder).glob("*.jpg")}
        assert wanted == got, f"{len(got)} of {len(wanted)} results"
    return took


def main(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the figures as JSON.")] = None,
    small: Annotated[int, typer.Option(min=1, help="Pictures of the small folder.")] = 20,
    large: Annotated[int, typer.Option(min=2, help="Pictures of the large folder.")] = 220,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each.")] = 3,
) -> None:
    about = describe()
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates(about["cores"])}
    with tempfile.TemporaryDirectory() as folder:
        few, many = pictures(Path(folder) / "few", small), pictures(Path(folder) / "many", large)
        for _ in track(range(rounds), console=Console(stderr=True), transient=True):
            for name, options in candidates(about["cores"]).items():
                samples[name].append((seconds(few, options), seconds(many, options)))
    table = Table(box=None)
    for name in ("", "pictures/s", "x the first", "to start, s", "lowest/highest"):
        table.add_column(name, justify="left" if not name else "right")
    rows: dict[str, Any] = {}
    for name, runs in samples.items():
        rates = [(large - small) / (most - least) for least, most in runs]
        rate = statistics.median(rates)
        start = statistics.median(least - small / rate for least, _ in runs)
        first = next(iter(rows.values()))["rate"] if rows else rate
        rows[name] = {"rate": rate, "of_first": rate / first, "start_s": start, "seconds": runs}
        spread = f"{min(rates) / max(rates):.2f}"
        table.add_row(name, f"{rate:.1f}", f"{rate / first:.2f}", f"{start:.1f}", spread)
    Console().print(table)
    if out:
        load = os.getloadavg()[0]
        facts = {"small": small, "large": large, "rounds": rounds, "load_after": load}
        out.write_text(json.dumps(facts | {"rows": rows, "machine": about}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
