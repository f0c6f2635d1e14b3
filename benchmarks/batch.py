"""How ``integrations/datasets/batch.py`` scales over the cores of one machine: ``python benchmarks/batch.py [-o FILE.json]``.

One folder of pictures (scikit-image's astronaut, 512x512 JPEGs in different light) by every engine in turn, each a process of its
own, as the command line starts it. The rate is that of the middle of a batch, by the times at which results were written: from a
fifth of them to four fifths, while every worker is at work. Loading the model and starting Ray is told apart: the time to the first
result. Not measured: a cluster, a slow shared disk, GPUs.
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

from benchmarks.stages.machine import describe

RUN = [sys.executable, str(Path(__file__).parents[1] / "integrations" / "datasets" / "batch.py")]


def candidates(cores: int) -> dict[str, list[str]]:
    """name -> options."""
    found = {"local, 1 thread": ["--threads", "1"]}
    if cores > 1:
        found[f"local, {cores} threads"] = ["--threads", str(cores)]
    workers = sorted({1 << i for i in range(cores.bit_length()) if 1 << i <= cores} | {cores})
    return found | {f"ray, {n} x 1 thread": ["--executor", "ray", "--workers", str(n)] for n in workers}


def pictures(folder: Path, count: int) -> Path:
    from PIL import Image, ImageEnhance
    from skimage import data

    folder.mkdir()
    astronaut = ImageEnhance.Brightness(Image.fromarray(data.astronaut()))
    for i in range(count):
        astronaut.enhance(0.7 + 0.6 * i / count).save(folder / f"{i:05}.jpg", quality=90)
    return folder


def measure(source: Path, options: list[str]) -> tuple[float, float]:
    """Pictures a second in the middle of a batch, and seconds to its first result; every picture must have one."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.time()
        subprocess.run([*RUN, str(source), folder, "--years", "70", *options], check=True, capture_output=True)
        written = sorted(path.stat().st_mtime for path in Path(folder).glob("*.jpg"))
    count = len(list(source.iterdir()))
    assert len(written) == count, f"{len(written)} of {count} results"
    first, last = count // 5, count - 1 - count // 5
    return (last - first) / (written[last] - written[first]), written[0] - start


def main(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the figures as JSON.")] = None,
    count: Annotated[int, typer.Option(min=10, help="Pictures.")] = 200,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each.")] = 3,
) -> None:
    about = describe()
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates(about["cores"])}
    with tempfile.TemporaryDirectory() as folder:
        source = pictures(Path(folder) / "pictures", count)
        for _ in track(range(rounds), console=Console(stderr=True), transient=True):
            for name, options in candidates(about["cores"]).items():
                samples[name].append(measure(source, options))
    table = Table(box=None)
    for name in ("", "pictures/s", "x the first", "to the first, s", "lowest/highest"):
        table.add_column(name, justify="left" if not name else "right")
    rows: dict[str, Any] = {}
    for name, runs in samples.items():
        rates = [rate for rate, _ in runs]
        rate, start = statistics.median(rates), statistics.median(start for _, start in runs)
        first = next(iter(rows.values()))["rate"] if rows else rate
        rows[name] = {"rate": rate, "of_first": rate / first, "start_s": start, "samples": runs}
        spread = f"{min(rates) / max(rates):.2f}"
        table.add_row(name, f"{rate:.1f}", f"{rate / first:.2f}", f"{start:.1f}", spread)
    Console().print(table)
    if out:
        load = os.getloadavg()[0]
        facts = {"count": count, "rounds": rounds, "load_after": load}
        out.write_text(json.dumps(facts | {"rows": rows, "machine": about}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
