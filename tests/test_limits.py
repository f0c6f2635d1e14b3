"""What is taken at most: the limits, and that each holds where it is said to."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from typer.testing import CliRunner

from lgin_edge import CenterFace, Face, ImageError, InputError, Limits, Transformer, geometry, images
from lgin_edge.cli import app as cli

Image8 = npt.NDArray[np.uint8]


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, None, "many"])
def test_no_such_limit(wrong: Any) -> None:
    with pytest.raises(InputError, match=f"faces: expected a whole number from 1 on, got {wrong!r}"):
        Limits(faces=wrong)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[[]]]", "2 levels"),
        ('{"a": [{}]}', "2 levels"),
        ("[" * 99, "2 levels"),
        ("x" * 101, "101 characters of JSON; at most 100"),
        ('"\\\\"[[[', "2 levels"),
    ],
)
def test_json_beyond_the_limits(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Limits(json_bytes=100, json_depth=2).check_json(text)


@pytest.mark.parametrize("text", ["[[]]", '{"a": {}, "b": {}}', '"[[[["', '{"\\"[[[": [1]}', '"[[[', "", "]]]]"])
def test_json_within_the_limits(text: str) -> None:
    Limits(json_bytes=100, json_depth=2).check_json(text)


@pytest.mark.parametrize(
    "text", ['\\"' * 30_000, '"' + '\\"' * 30_000, '"' * 60_001, "[]" * 30_000, '"' + "\\" * 60_001]
)
def test_looking_at_json_takes_no_time(text: str) -> None:
    start = time.process_time()
    Limits().check_json(text)
    assert time.process_time() - start < 0.5


def test_files_of_too_many_bytes(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    data = path.read_bytes()
    assert images.read(path, limits=Limits(image_bytes=len(data))).image.size == (64, 64)
    for attempt in (images.read, lambda _, limits: images.decode(data, limits=limits)):
        with pytest.raises(ImageError, match=f"{len(data)} bytes; at most {len(data) - 1}"):
            attempt(path, limits=Limits(image_bytes=len(data) - 1))


def test_only_files_are_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)  # opening it would wait for ever
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(ImageError, match="device or pipe"):
            images.read(path)


def test_the_detector_takes_the_largest(astronaut: Image8) -> None:
    two = np.concatenate([astronaut, np.full_like(astronaut, 90)], axis=1)
    two[:256, 700:956] = astronaut[::2, ::2]
    both = CenterFace()(two)
    assert len(both) == 2
    (one,) = CenterFace(max_faces=1)(two)
    np.testing.assert_allclose(one.landmarks, both[0].landmarks)
    with pytest.raises(InputError, match="max_faces"):
        CenterFace(max_faces=0)


def test_the_transformer_takes_the_first_of_any_detector(tiny_model: Path, tiny_age_model: Path) -> None:
    crowd = [Face(geometry.TEMPLATE * 64 + 10 * i) for i in range(9)]
    picture = np.full((200, 200, 3), 100, np.uint8)
    with Transformer(
        tiny_model, age_model=tiny_age_model, detector=lambda *_: list(crowd), limits=Limits(faces=3, batch=2)
    ) as t:
        assert t.detect(picture) == crowd[:3]
        assert len(t.estimate_age(picture)) == 3
        t.age(picture, group=1)
        assert t.last_call.faces == crowd[:3]
        t.age(picture, group=1, faces=crowd)  # what the program itself asks for is its own affair
        assert t.last_call.faces == crowd


def test_options_of_the_command_line(tmp_path: Path, astronaut: Image8, tiny_model: Path) -> None:
    path, out = tmp_path / "portrait.png", tmp_path / "out.png"
    Image.fromarray(astronaut).save(path)
    arguments = ["age", str(path), "--group", "1", "-o", str(out), "--model", str(tiny_model)]
    for option, code, message in (
        (["--max-megapixels", "0.2"], 4, "512 x 512 pixels; at most 0.2 million"),
        (["--max-mb", "0.1"], 4, "at most 100000"),
        (["--sha256", "0" * 64], 5, "sha256= asks for 0000"),
        (["--max-faces", "1"], 0, ""),
    ):
        result = CliRunner().invoke(cli.app, [*arguments, *option])
        assert result.exit_code == code, result.output
        assert message in result.output
    assert out.is_file()
