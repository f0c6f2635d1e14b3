"""Target pictures in folders, to be judged like a model's: python -m training.targets.pictures runs/targets OUT --split val

OUT/70/NAME.png   the face of NAME at 70, as ``training.blind`` and ``training.judge`` read a folder
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from PIL import Image
from rich.progress import track

from training.command import PacksOption, run_command
from training.dataset.labels import default_packs, of_split, read_packs

from . import build, edits, layers
from .subject import subjects


def main(
    folder: Annotated[Path, typer.Argument(metavar="TARGETS", help="What training.targets.build made.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of pictures; made if missing.")],
    age: Annotated[list[float] | None, typer.Option(help="Age in years; may be repeated (default: 30 and 70).")] = None,
    split: Annotated[str, typer.Option(help="Whose faces.")] = "val",
    data: PacksOption = None,
) -> None:
    """Write what the targets show of people at some ages."""
    people = list(subjects(of_split(read_packs(data or default_packs()), split), folder / "mesh.npz"))
    with np.load(folder / "layers.npz") as file:
        bank, windows = file["layers"], file["windows"]
    with np.load(folder / "choice.npz") as file:
        row = {str(name): i for i, name in enumerate(file["name"])}
        shares, depth = file["shares"], file["depth"]
    for subject in track(people, "pictures"):
        i, own = row[subject.photo.key], build.load(folder, subject)
        lines = layers.texture(bank, shares[i] * depth[i][:, None], windows)
        for years in age or [30.0, 70.0]:
            made = edits.apply(subject.image, edits.at_age(own, subject.photo.age, years), lines, own.place)
            pixels = cv2.resize(
                (made * 255 + 0.5).astype(np.uint8), (subject.photo.size,) * 2, interpolation=cv2.INTER_AREA
            )
            path = output / f"{years:g}" / f"{subject.photo.name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


if __name__ == "__main__":
    run_command(main)
