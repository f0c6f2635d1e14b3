"""Detection and a followed face against the size of the frame: ``python benchmarks/frame_sizes.py -o FILE.json``.

The bench's drawn frame, 480p to 4K; its face is enlarged with it (300 px in 720p), so crop and paste grow too. Frames are
changed in place on all cores, the candidates take turns, and ResNet-18 at 256x256 takes its turn among them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

import lgin_edge
from benchmarks.stages import machine, report
from benchmarks.stages.measure import Candidate, WrongAnswer, measure_interleaved
from benchmarks.stages.resnet18 import Sessions
from benchmarks.stages.scene import Scene

SIZES = ((854, 480), (1280, 720), (1920, 1080), (3840, 2160))


def candidates(
    transformer: lgin_edge.Transformer, scene: Scene, width: int, height: int, threads: int
) -> list[Candidate]:
    """Detect, and a frame with given landmarks, of one size."""
    scale = height / scene.frame.shape[0]
    # From the middle: sizes of 480p are no exact multiple.
    picture = Image.fromarray(scene.frame).resize((round(1280 * scale), height), Image.Resampling.BICUBIC)
    pixels = np.ascontiguousarray(np.asarray(picture)[:, :width])
    pixels.flags.writeable = False
    landmarks = scene.landmarks * scale
    frame = pixels.copy()

    def one_face(faces: Any) -> str:
        if len(faces) != 1:
            raise WrongAnswer(f"{len(faces)} faces instead of one")
        return "one face"

    def changed(answer: Any) -> str:
        if not (answer != pixels).any():
            raise WrongAnswer("nothing changed")
        return "changed"

    def age() -> object:
        return transformer.age(frame, group=4, landmarks=landmarks, out=frame)

    def restore() -> None:
        np.copyto(frame, pixels)

    def candidate(stage: str, run: Callable[[], object], check: Callable[[Any], str], setup: Any) -> Candidate:
        size = f"{width}x{height}"
        return Candidate(stage, "onnxruntime", run, check, [pixels, landmarks], setup, size=size, threads=threads)

    return [
        candidate("detect", lambda: transformer.detect(pixels), one_face, lambda: None),
        candidate("tracked frame", age, changed, restore),
    ]


def main(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the rows as JSON.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time for timing.")] = 40.0,
) -> None:
    """Measure each frame size and print a table."""
    threads, facts = machine.usable_cores(), machine.describe()
    with ExitStack() as stack:
        transformer = stack.enter_context(lgin_edge.Transformer(threads=threads))
        about = transformer.description
        scene = Scene.of(about)
        todo = [Sessions(stack).candidate(threads)]
        for width, height in SIZES:
            todo += candidates(transformer, scene, width, height, threads)
        measured, skipped = measure_interleaved(todo, seconds)
    for one in skipped:
        raise SystemExit(f"{one.stage} {one.name}: {one.reason}")
    found = report.rows(measured, "frame sizes")
    table = Table("stage", "size", "median ms", "p95", "x R18", "remark")
    for row in found:
        numbers = (f"{row['median_ms']:.2f}", f"{row['p95_ms']:.2f}", f"{row['times_resnet18']:.2f}")
        table.add_row(row["stage"], row["size"], *numbers, row["remark"])
    Console().print(table)
    if out:
        report.write(out, facts, found)


if __name__ == "__main__":
    typer.run(main)
