"""A model of format 4 through ``Transformer``: edits known in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
from onnx import helper

from lgin_edge import AgeRangeWarning, ModelError, Transformer, geometry
from lgin_edge.edits import all_finite
from lgin_edge.inference.onnxruntime import OnnxBackend
from lgin_edge.models.description import METADATA_KEY, Description
from lgin_edge.models.model_file import read_description

LANDMARKS = geometry.TEMPLATE * 200 + (60, 80)
CENTRE = (slice(170, 190), slice(150, 170))  # in the middle of the face, where the windows are 1
Image8 = np.ndarray[Any, np.dtype[np.uint8]]


def save(path: Path, **options: Any) -> Path:
    path.write_bytes(models.build_edits(**options).SerializeToString())
    return path


@pytest.fixture(scope="module")
def noise() -> Image8:
    return np.random.default_rng(5).integers(60, 190, (320, 320, 3), dtype=np.uint8)


@pytest.fixture
def edits(tmp_path: Path) -> Iterator[Transformer]:
    with Transformer(save(tmp_path / "edits.onnx")) as t:
        yield t


def test_its_file_says_what_it_is(tmp_path: Path) -> None:
    about = read_description(save(tmp_path / "edits.onnx"))
    assert about == models.describe_edits()
    assert isinstance(about, Description)
    assert about.views.face_box == models.FACE_BOX
    assert about.shape("age", 2, 3) == (2, 3, 7)
    assert about.shape("lines", 2, 3) == (2, 3, 1, models.A, models.A)
    assert about.shape("place", 2, 3) == (2, 2, models.S // 8, models.S // 8)
    old = models.describe()
    assert (old.shape("age", 2, 3), old.shape("face_delta", 2, 3)) == ((6, 5), (6, 3, models.S, models.S))
    assert "face_box" not in old.to_json()


def test_its_rows_are_faces_and_ages(tmp_path: Path) -> None:
    backend = OnnxBackend(save(tmp_path / "edits.onnx"))
    codes = np.eye(7, dtype=np.float32)[[0, 3, 6]]
    face = np.zeros((2, 3, models.S, models.S), np.float32)
    patches, boxes = np.zeros((2, 5, 3, models.P, models.P), np.float32), np.zeros((2, 5, 4), np.float32)
    face_edit, patch_edit, flow, place, lines = backend.run(face, patches, boxes, np.tile(codes, (2, 1)))
    assert [len(one) for one in (face_edit, patch_edit, flow, place, lines)] == [6, 6, 6, 2, 6]
    assert face_edit[:, 0, 0, 0].tolist() == models.SHIFTS_2[[0, 3, 6, 0, 3, 6]].tolist()


def test_the_residual_is_the_ages(edits: Transformer, noise: Image8) -> None:
    for group, shift in enumerate(models.SHIFTS_2):
        out = edits.age(noise, group=group, landmarks=LANDMARKS)
        change = out[CENTRE].astype(int) - noise[CENTRE]
        wanted = np.clip(np.rint(noise[CENTRE] + 127.5 * shift), 0, 255) - noise[CENTRE]
        assert np.abs(change - wanted).max() <= 1
    assert (edits.age(noise, group=3, landmarks=LANDMARKS) == noise).all()  # no edit, no byte


def test_timeline_and_several_faces(edits: Transformer, noise: Image8) -> None:
    marks = [LANDMARKS * 0.5 + (10 * i, 5 * i) for i in range(5)]  # more than go through the model in one call
    strip = edits.timeline(noise, landmarks=marks)
    for group, picture in enumerate(strip):
        np.testing.assert_array_equal(picture, edits.age(noise, group=group, landmarks=marks))


@pytest.mark.parametrize("color", ["rgb", "bgra", "nv12"])
def test_gain_and_grey(tmp_path: Path, noise: Image8, color: str) -> None:
    shapes = {"rgb": (320, 320, 3), "bgra": (320, 320, 4), "nv12": (480, 320)}
    frame = np.random.default_rng(6).integers(100, 140, shapes[color], dtype=np.uint8)
    with Transformer(save(tmp_path / "gain.onnx", gain=-0.5)) as t:
        dark = t.age(frame, group=3, landmarks=LANDMARKS, color=color)  # type: ignore[arg-type]
    with Transformer(save(tmp_path / "grey.onnx", grey=1.0)) as t:
        grey = t.age(frame, group=3, landmarks=LANDMARKS, color=color)  # type: ignore[arg-type]
    assert dark[CENTRE].mean() < 0.7 * frame[CENTRE].mean()
    if color != "nv12":
        assert np.ptp(grey[CENTRE][..., :3].astype(int), axis=-1).max() <= 1
        np.testing.assert_array_equal(dark[..., 3:], frame[..., 3:])  # alpha


def test_what_is_edited_moves_but_in_format_2(tmp_path: Path, noise: Image8) -> None:
    """The residual fades out to the square's border with w_0: there its shape tells whether it moved."""
    model = models.build_edits(flow=(0.1, 0.0))
    new, old = tmp_path / "new.onnx", tmp_path / "old.onnx"
    new.write_bytes(model.SerializeToString())
    helper.set_model_props(model, {METADATA_KEY: models.describe_edits(format=2).to_json()})
    old.write_bytes(model.SerializeToString())
    flat = np.full_like(noise, 100)
    with Transformer(new) as t, Transformer(old) as u:
        moved, still = (one.age(flat, group=1, landmarks=LANDMARKS).astype(int) for one in (t, u))
        assert (t.description.format, u.description.format) == (4, 2)
    assert moved[CENTRE].tolist() == still[CENTRE].tolist()
    left, right = slice(40, 60), slice(260, 280)
    assert moved[180, left].sum() > still[180, left].sum() + 100
    assert moved[180, right].sum() < still[180, right].sum() - 100


def test_flow_moves_the_frame(tmp_path: Path, noise: Image8) -> None:
    """By a tenth of the square to the right: what stood there stands here."""
    with Transformer(save(tmp_path / "flow.onnx", flow=(0.1, 0.0))) as t:
        moved = t.age(noise, group=3, landmarks=LANDMARKS)
    assert np.abs(moved[170:190, 150:170].astype(int) - noise[170:190, 170:190]).max() <= 2
    with Transformer(save(tmp_path / "flow.onnx", flow=(0.1, 0.0))) as t:
        still = t.age(noise, group=3, landmarks=LANDMARKS, strength=0.0)
    np.testing.assert_array_equal(still, noise)


@pytest.mark.parametrize(
    ("options", "output"),
    [({"gain": np.inf}, "face_edit"), ({"flow": (0.0, np.nan)}, "flow"), ({"textured": np.nan}, "face_edit")],
)
def test_values_that_are_no_numbers_are_said(
    tmp_path: Path, noise: Image8, options: dict[str, Any], output: str
) -> None:
    before = noise.copy()
    with (
        Transformer(save(tmp_path / "bad.onnx", **options)) as t,
        pytest.raises(ModelError, match=f"gave {output} with NaN or infinite values"),
    ):
        t.age(noise, group=3, landmarks=LANDMARKS, out=noise)
    np.testing.assert_array_equal(noise, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_no_number_is_found(dtype: Any, value: float) -> None:
    values = np.linspace(-6e4, 6e4, 999, dtype=dtype)
    assert all_finite(values)
    assert all_finite(values[:0])
    values[-1] = value
    assert not all_finite(values)


def test_an_age_out_of_reach(edits: Transformer, noise: Image8) -> None:
    with pytest.warns(AgeRangeWarning, match="from 20 to 80: 80 is used"):
        edits.age(noise, years=95, landmarks=LANDMARKS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ages": 1}, "asks for float or float16"),
        ({"description": models.describe_edits(face_box=(0.5, 0.0, 0.2, 1.0)).to_json()}, "face_box must be"),
        ({"description": models.describe_edits(face_box=(0.0, 0.0, 1.0, 9.0)).to_json()}, "face_box must be"),
        ({"description": models.describe_edits(lines_size=4).to_json()}, "lines_size must be"),
        ({"description": models.describe_edits(lines_size=64).to_json()}, "output 'lines' is"),
        ({"description": models.describe_edits(face_size=68).to_json()}, "face_size must be a multiple of 8"),
        ({"description": models.describe().to_json()}, "asks for float or float16"),
    ],
)
def test_files_that_contradict_themselves(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Transformer(save(tmp_path / "bad.onnx", **options))
