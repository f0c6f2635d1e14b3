"""How many frames a second the kiosk's page shows: ``python benchmarks/kiosk.py [-o FILE.json]``.

One and two visitors in a Chromium on this same machine, whose camera plays scikit-image's astronaut at 640x480, beside a plain loop
that does the kiosk's work on the same frames (decode, follow and change, encode) without a browser and a network. The candidates
take turns. A kiosk whose visitors bring their own phones has this machine for itself: Chromium's share is part of the figures here
(it decodes, draws and encodes without a GPU).
"""

from __future__ import annotations

import io
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.progress import track
from rich.table import Table
from skimage import data

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from support import kiosk_browser, kiosk_server

from benchmarks.stages.machine import describe
from lgin_edge import Transformer
from lgin_edge.kiosk.state import live_jpeg
from lgin_edge.stream import Pipeline

#: Seconds before each measurement: faces are found and faded in.
WARM_UP = 2.0


def plain_loop(transformer: Transformer, camera: Path, seconds: float) -> list[float]:
    """Frames a second of a loop over the camera's film."""
    film = [b"\xff\xd8\xff" + part for part in camera.read_bytes().split(b"\xff\xd8\xff")[1:]]
    with Pipeline(transformer, years=70) as pipeline:
        counted, begin = 0, time.monotonic() + WARM_UP
        for file in itertools.cycle(film):
            now = time.monotonic()
            if now >= begin + seconds:
                return [counted / seconds]
            frame = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
            live_jpeg(pipeline(frame, now).image)
            counted += now >= begin
    raise AssertionError("the film is empty")


def pages(transformer: Transformer, browser: Browser, count: int, seconds: float) -> list[float]:
    """Frames a second of each of so many pages at once."""
    with kiosk_server.serving(transformer) as server:
        opened = [kiosk_browser.open_page(browser, server.url) for _ in range(count)]
        for page in opened:
            kiosk_browser.go_live(page)
        time.sleep(WARM_UP)
        before, start = [kiosk_browser.frames(page) for page in opened], time.monotonic()
        time.sleep(seconds)
        after, end = [kiosk_browser.frames(page) for page in opened], time.monotonic()
        for page in opened:
            page.context.close()
    return [(b - a) / (end - start) for a, b in zip(before, after, strict=True)]


def main(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the figures as JSON.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Length of each run.")] = 8.0,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each.")] = 3,
) -> None:
    about = describe()
    with tempfile.TemporaryDirectory() as folder, Transformer() as transformer, sync_playwright() as playwright:
        camera = kiosk_browser.film(Path(folder) / "astronaut.mjpeg", data.astronaut())
        with kiosk_browser.browsing(playwright, camera) as browser:
            candidates: dict[str, Callable[[], list[float]]] = {
                "plain loop": lambda: plain_loop(transformer, camera, seconds),
                "one page": lambda: pages(transformer, browser, 1, seconds),
                "two pages": lambda: pages(transformer, browser, 2, seconds),
            }
            samples: dict[str, list[list[float]]] = {name: [] for name in candidates}
            for _ in track(range(rounds), console=Console(stderr=True), transient=True):
                for name, run in candidates.items():
                    samples[name].append(run())
    table = Table(box=None)
    for name in ("", "frames/s each", "together", "fewest/most"):
        table.add_column(name, justify="left" if not name else "right")
    rows: dict[str, Any] = {}
    for name, runs in samples.items():
        each = statistics.median(rate for run in runs for rate in run)
        together = statistics.median(sum(run) for run in runs)
        fair = min(min(run) / max(run) for run in runs)
        rows[name] = {"each": each, "together": together, "fewest_of_most": fair, "samples": runs}
        table.add_row(name, f"{each:.1f}", f"{together:.1f}", f"{fair:.2f}")
    Console().print(table)
    if out:
        out.write_text(json.dumps({"seconds": seconds, "rows": rows, "machine": about}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
