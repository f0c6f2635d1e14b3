"""A model made by any release loads for ever, and gives the picture that it gave then (docs/distribution.md)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tolerances import assert_close

import lgin_edge
from lgin_edge import geometry
from lgin_edge.models.description import KINDS
from lgin_edge.models.model_file import read_description
from lgin_edge.transformer import WEIGHTS

FOLDER = Path(__file__).parent.parent / "data" / "models"
#: Where the face is taken to be in ``picture.png``, as in ``make.py``.
LANDMARKS = geometry.TEMPLATE * 80 + (22, 9)
#: Of those that are not of format 1.
FORMATS_OF = {"lgin-1.8": 2, "lgin-1.10": 3, "lgin-1.11": 4}


def names(kind: str) -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.onnx") if path.stem.startswith(kind))


@pytest.fixture(scope="module")
def picture() -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(FOLDER / "picture.png"))


def test_none_is_lost() -> None:
    assert {"lgin-0.1", "lgin-0.3", "lgin-0.5", "lgin-0.5-int8", "lgin-0.6", "lgin-0.6-int8"} <= set(names("lgin"))
    assert set(FORMATS_OF) <= set(names("lgin"))
    assert {"age-0.1"} <= set(names("age"))


@pytest.mark.parametrize("name", names("lgin"))
def test_a_released_model_makes_the_same_picture(name: str, picture: npt.NDArray[np.uint8]) -> None:
    expected = np.asarray(Image.open(FOLDER / f"{name}.png"))
    assert np.abs(expected.astype(float) - picture).mean() > 1  # there is something to compare
    with lgin_edge.Transformer(FOLDER / f"{name}.onnx", threads=1) as t:
        assert t.description.model == name
        assert_close(t.age(picture, group=3.5, landmarks=LANDMARKS), expected, kind="frame")


def test_the_bundled_model_and_its_twin_in_8_bits_are_of_one_release() -> None:
    float_, int8 = (read_description(WEIGHTS.with_name(name)) for name in ("lgin.onnx", "lgin-int8.onnx"))
    assert float_.model == int8.model
    assert (float_.precision, int8.precision) == ("fp32", "int8")


@pytest.mark.parametrize("name", names("age"))
def test_a_released_age_model_says_the_same_age(name: str, picture: npt.NDArray[np.uint8]) -> None:
    with lgin_edge.Transformer(age_model=FOLDER / f"{name}.onnx", threads=1) as t:
        (estimate,) = t.estimate_age(picture, landmarks=LANDMARKS)
    assert estimate.years == pytest.approx(float((FOLDER / f"{name}.txt").read_text()), abs=1e-2)


@pytest.mark.parametrize("name", [*names("lgin"), *names("age")])
def test_a_released_model_says_what_it_is(name: str) -> None:
    about = read_description(FOLDER / f"{name}.onnx")
    assert about.kind in KINDS
    assert (about.model, about.format) == (name, FORMATS_OF.get(name, 1))
