"""A clip through the ages: its pictures, its files, its command."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from support.movies import Seen
from typer.testing import CliRunner

from lgin_edge import AgeRangeWarning, Face, ImageError, InputError, Transformer, animation
from lgin_edge.animation import Animation
from lgin_edge.cli import app as cli

Image8 = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def clip(tiny: Transformer, astronaut: Image8) -> Animation:
    return tiny.animate(astronaut, 30, 70, 0.5, fps=8)


def test_each_frame_is_the_picture_at_its_age(tiny: Transformer, astronaut: Image8, clip: Animation) -> None:
    assert clip.years == [30, 40, 50, 60, 70]
    assert clip.times_ms == [500, 125, 125, 125, 500]
    for years, frame in zip(clip.years, clip.frames, strict=True):
        assert np.array_equal(np.asarray(frame), tiny.age(astronaut, years=years))
    there_and_back = clip.boomerang()
    assert there_and_back.years == [30, 40, 50, 60, 70, 60, 50, 40]
    assert there_and_back.seconds == pytest.approx(1.75)
    assert there_and_back.frames[5] is clip.frames[3]


def test_a_large_picture_is_reduced_with_its_faces(tiny: Transformer, astronaut: Image8) -> None:
    (face,) = tiny.detect(astronaut)
    large = Image.fromarray(astronaut).resize((1024, 1024))
    (first, last) = tiny.animate(large, 60, 40, 0.1, fps=10, side=512, faces=[Face(2 * face.landmarks)]).frames
    small = large.resize((512, 512))
    assert np.array_equal(np.asarray(first), np.asarray(tiny.age(small, years=60, faces=[face])))
    assert np.array_equal(np.asarray(last), np.asarray(tiny.age(small, years=40, faces=[face])))


def test_files(clip: Animation, tmp_path: Path) -> None:
    there_and_back = clip.boomerang()
    for suffix in (".gif", ".webp"):
        with Image.open(io.BytesIO(there_and_back.encode(suffix))) as file:
            assert (file.n_frames, file.size, file.info["loop"]) == (8, (512, 512), 0)
            shown_ms = 0
            for i, frame in enumerate(there_and_back.frames):
                file.seek(i)
                file.load()
                shown_ms += file.info["duration"]
                assert np.abs(np.asarray(file.convert("RGB"), float) - np.asarray(frame)).mean() < 6, (suffix, i)
            assert shown_ms == pytest.approx(1750, abs=40)  # a GIF counts hundredths of a second
    for suffix in (".mp4", ".webm"):
        path = tmp_path / f"clip{suffix}"
        clip.save(path)
        seen = Seen(path)
        assert np.allclose(seen.times, [0, 0.5, 0.625, 0.75, 0.875, 1.374], atol=0.002)
        for new, frame in zip(seen.frames, clip.frames, strict=False):
            assert np.abs(new.astype(float) - np.asarray(frame)).mean() < 6, suffix
    with pytest.raises(ImageError, match="exists already"):
        clip.save(tmp_path / "clip.mp4")
    with pytest.raises(InputError, match="clips are written as"):
        clip.save(tmp_path / "clip.avi")
    with pytest.raises(ImageError, match="cannot be written"):
        clip.save(tmp_path / "none" / "clip.gif")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "clip.webm"]


def test_a_file_that_would_be_too_long_is_reduced(clip: Animation, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = len(clip.encode(".gif"))
    monkeypatch.setattr(animation, "MAX_BYTES", whole // 2)
    data = clip.encode(".gif")
    assert whole // 8 < len(data) <= whole // 2
    with Image.open(io.BytesIO(data)) as file:
        assert file.size[0] == file.size[1] < 512


def test_wrong_arguments(tiny: Transformer, astronaut: Image8) -> None:
    for arguments, message in (
        ({"seconds": 0}, "seconds: expected 0.1 to 60"),
        ({"fps": 100}, "fps: expected 1 to 60"),
        ({"fps": "fast"}, "fps: expected a number"),
        ({"side": -5}, "side: expected a whole number of pixels from 1"),
        ({"side": 1.5}, "side: expected a whole number"),
        ({"end": 140}, "0 to 130"),
    ):
        with pytest.raises(InputError, match=message):
            tiny.animate(astronaut, **arguments)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no face was found"):
        tiny.animate(np.full((300, 300, 3), 90, np.uint8))
    with pytest.warns(AgeRangeWarning, match="70 is used"):
        clip = tiny.animate(astronaut, 60, 80, 0.1, fps=10)
    assert clip.years == [60, 70]


def run(*words: object) -> Any:
    result = CliRunner().invoke(cli.app, ["animate", *map(str, words)], env={"COLUMNS": "200"})
    assert "Traceback" not in result.output
    return result


def test_the_command(tiny_model: Path, astronaut: Image8, tmp_path: Path) -> None:
    picture = tmp_path / "portrait.png"
    Image.fromarray(astronaut).save(picture)
    options = ("--model", tiny_model, "--threads", 1, "--seconds", 0.2, "--side", 256)
    made = run(picture, *options)
    assert made.exit_code == 0, made.output
    assert f"{picture} -> {tmp_path / 'portrait.30to70years.mp4'} (1.3 s, 256 x 256 pixels)" in made.stdout
    younger = run(picture, *options, "--years", "90:40", "--no-boomerang", "--mark", "-o", tmp_path / "younger.webp")
    assert younger.exit_code == 0, younger.output
    assert "70 to 40 are used" in younger.stderr
    with Image.open(tmp_path / "younger.webp") as file:
        assert file.n_frames == 5  # type: ignore[attr-defined]
        corner = np.asarray(file.convert("RGB"))[240:, 180:].astype(int)
    plain = np.asarray(Image.fromarray(astronaut).resize((256, 256)))[240:, 180:]
    assert np.abs(corner - plain).mean() > 20  # "changed by AI"
    for words, message in (
        (("--years", "60"), "one age: lgin-edge age"),
        (("-o", "x.avi"), "clips are written as .mp4"),
    ):
        refused = run(picture, *options, *words)
        assert (refused.exit_code, message in refused.output) == (2, True), refused.output


def test_what_is_transparent_is_white(tiny: Transformer, astronaut: Image8) -> None:
    """A portrait that was cut out keeps colours where nothing is to be seen."""
    (face,) = tiny.detect(astronaut)
    alpha = np.full((*astronaut.shape[:2], 1), 255, np.uint8)
    alpha[: round(face.box[1])] = 0
    for picture in (np.dstack([astronaut, alpha]), Image.fromarray(np.dstack([astronaut, alpha]))):
        frame = np.asarray(tiny.animate(picture, 30, 40, 0.1, fps=10, faces=[face]).frames[0])
        assert (frame[:20] == 255).all()
        assert np.array_equal(frame[-50:], astronaut[-50:])
    strip = np.asarray(tiny.strip(Image.fromarray(np.dstack([astronaut, alpha * 0])), faces=[face]))
    opaque = np.asarray(tiny.strip(astronaut, faces=[face]))
    rows = np.flatnonzero((opaque != 255).any(axis=(1, 2)))
    middle = (rows[0] + rows[-1]) // 2
    assert (strip[middle] == 255).mean() > 0.9 > (opaque[middle] == 255).mean()


def test_arrays_that_are_no_pictures(tiny: Transformer, astronaut: Image8) -> None:
    for image in (astronaut / 255, astronaut[..., 0]):
        with pytest.raises(InputError, match="image: expected"):
            tiny.animate(image)
