"""The command line, a portrait and a folder of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from support.command_line import Run

Image8 = npt.NDArray[np.uint8]


@pytest.fixture
def run(tiny_model: Path, tiny_age_model: Path) -> Run:
    return Run(tiny_model, tiny_age_model)


@pytest.fixture
def portrait(tmp_path: Path, astronaut: Image8) -> Path:
    path = tmp_path / "portrait.jpg"
    exif = Image.Exif()
    exif[0x010E] = "a description"
    Image.fromarray(astronaut).save(path, quality=90, exif=exif)
    return path


@pytest.fixture
def album(tmp_path: Path, astronaut: Image8) -> Path:
    """A folder with two pictures of a face, one without, one that is damaged, and what is no picture at all."""
    folder = tmp_path / "album"
    (folder / "deep" / "er").mkdir(parents=True)
    picture = Image.fromarray(astronaut)
    picture.save(folder / "a.png")
    picture.save(folder / "deep" / "er" / "b [1].JPG")
    picture.quantize(64).save(folder / "deep" / "c.gif")
    Image.new("RGB", (50, 50)).save(folder / "empty.png")
    (folder / "broken.jpg").write_text("I am not a picture")
    (folder / "notes.txt").write_text("nor am I")
    (folder / ".hidden.png").write_bytes((folder / "a.png").read_bytes())
    return folder
