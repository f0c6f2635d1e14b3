"""``lgin-edge age`` and ``demo``: which files are written, and what is said."""

from __future__ import annotations

import errno
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from support.command_line import Run, files, pixels
from typer.testing import CliRunner

import lgin_edge
from lgin_edge import ImageError, images, jobs
from lgin_edge.cli import app as cli
from lgin_edge.cli import options, pictures

Image8 = npt.NDArray[np.uint8]


def test_one_picture(run: Run, portrait: Path, tmp_path: Path) -> None:
    before = portrait.read_bytes()
    out = tmp_path / "older.png"
    result = run("age", portrait, "--group", 4, "-o", out)
    assert result.exit_code == 0, result.output
    assert f"{portrait} -> {out} (1 face)" in result.stdout
    assert portrait.read_bytes() == before
    change = pixels(out).astype(int) - pixels(portrait)
    assert change.min() < -40
    assert (change[300:] == 0).all()
    with Image.open(out) as written:
        assert written.getexif()[0x010E] == "a description"
    assert run("age", portrait, "--group", 4, "-o", tmp_path / "marked.png", "--mark").exit_code == 0
    marked = pixels(tmp_path / "marked.png").astype(int) - pixels(out)
    assert marked[490:, 400:].max() > 100  # "changed by AI"
    assert (marked[:480] == 0).all()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--group", 3], "portrait.group3.jpg"),
        (["--group", 0.5], "portrait.group0.5.jpg"),
        (["--years", 62], "portrait.62years.jpg"),
        (["--timeline"], "portrait.timeline.png"),
    ],
)
def test_without_out_the_result_stands_beside(run: Run, portrait: Path, arguments: list[Any], name: str) -> None:
    result = run("age", portrait, *arguments)
    assert result.exit_code == 0, result.output
    assert files(portrait.parent) == sorted(["portrait.jpg", name])


def test_existing_files_stay(run: Run, portrait: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    out.write_bytes(b"mine")
    result = run("age", portrait, "--group", 1, "-o", out)
    assert result.exit_code == options.BAD_INPUT
    assert "--overwrite" in result.stderr
    assert out.read_bytes() == b"mine"
    assert run("age", portrait, "--group", 1, "-o", out, "--overwrite").exit_code == 0
    assert pixels(out).shape == (512, 512, 3)


def test_the_input_is_never_replaced(run: Run, portrait: Path) -> None:
    before = portrait.read_bytes()
    for out in (portrait, portrait.parent, portrait.parent / "." / "portrait.jpg"):
        result = run("age", portrait, "--group", 1, "-o", out, "--overwrite")
        assert result.exit_code == 2
        assert "would be replaced" in result.stderr
    assert run("age", portrait.parent, "--group", 1, "-o", portrait.parent, "--overwrite").exit_code == 2
    assert portrait.read_bytes() == before


def test_a_folder_is_mirrored(run: Run, album: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("age", album, "--group", 4, "-o", out)
    assert result.exit_code == options.BAD_INPUT  # the broken one is reported, the others are done
    assert "broken.jpg: not an image" in result.stderr
    assert "1 of 5 pictures failed" in result.stderr
    assert "empty.png: no face found" in result.stderr
    assert files(out) == ["a.png", "deep/c.png", "deep/er/b [1].JPG"]
    assert (pixels(out / "a.png") != pixels(album / "a.png")).any()


def test_where_the_results_of_a_folder_go(album: Path) -> None:
    """Beside what an earlier run wrote inside the folder, which is left out; and strips under their own names."""
    out = album / "older"
    out.mkdir()
    (out / "a.png").write_bytes(b"of an earlier run")
    for label, names in (
        ("group4", ["a.png", "broken.jpg", "deep/c.png", "deep/er/b [1].JPG", "empty.png"]),
        ("timeline", [f"{name}.timeline.png" for name in ("a", "broken", "deep/c", "deep/er/b [1]", "empty")]),
    ):
        planned = jobs.plan([album], out, label)
        assert sorted(str(job.target.relative_to(out)) for job in planned) == names


def test_several_inputs_into_a_folder(run: Run, portrait: Path, album: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    result = run("age", portrait, album / "a.png", "--group", 1, "-o", out)
    assert result.exit_code == 0, result.output
    assert files(out) == ["a.png", "portrait.jpg"]


def test_no_face(run: Run, album: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    result = run("age", album / "empty.png", "--group", 1, "-o", out)
    assert result.exit_code == options.NO_FACE
    assert "no face found" in result.stderr
    assert not out.exists()
    assert run("age", album / "empty.png", "--timeline", "-o", out).exit_code == options.NO_FACE
    assert not out.exists()


def test_wrong_places(run: Run, portrait: Path, album: Path, tmp_path: Path) -> None:
    cases: list[tuple[list[Any], str]] = [
        ([album], "is a folder: say with -o"),
        ([portrait, album / "a.png", "-o", tmp_path / "out.png"], "give a folder"),
        ([album, "-o", tmp_path / "out.png"], "give a folder"),
        ([portrait, portrait, "-o", tmp_path / "out"], "2 pictures would be written"),
        ([album / "deep" / "er" / "..", "-o", album / "deep"], "no pictures"),
    ]
    (album / "deep" / "c.gif").unlink()
    (album / "deep" / "er" / "b [1].JPG").unlink()
    for arguments, message in cases:
        result = run("age", *arguments, "--group", 1)
        assert result.exit_code == 2, arguments
        assert message in " ".join(result.stderr.replace("│", " ").split()), arguments


def test_unreadable_inputs(run: Run, tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("I am not a picture")
    for path, message in ((text, "not an image"), (tmp_path / "missing.jpg", "no such file")):
        result = run("age", path, "--group", 1)
        assert result.exit_code == options.BAD_INPUT
        assert message in result.stderr
    assert files(tmp_path) == ["text.jpg"]


def test_photographs_come_out_upright(run: Run, tmp_path: Path, astronaut: Image8) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # tests/images/test_image_tags.py has the others
    path, out = tmp_path / "in.png", tmp_path / "out.png"
    Image.fromarray(np.rot90(astronaut).copy()).save(path, exif=exif)
    assert run("age", path, "--group", 2, "-o", out).exit_code == 0  # group 2 changes nothing
    np.testing.assert_array_equal(pixels(out), astronaut)
    with Image.open(out) as written:
        assert written.getexif().get(0x0112, 1) == 1


def test_timeline(run: Run, album: Path, tmp_path: Path, astronaut: Image8) -> None:
    two = tmp_path / "two.png"
    Image.fromarray(np.concatenate([astronaut, astronaut], axis=1)).save(two)
    out = tmp_path / "strip.png"
    result = run("age", two, "--timeline", "-o", out)
    assert result.exit_code == 0, result.output
    assert "(2 faces)" in result.stdout
    strip = pixels(out)
    assert strip.shape[1] > 5.5 * 256
    assert strip.shape[0] > 2 * 256
    # The middles of the six cells of a row darken from "under 35" to "65 and over"; the original equals group 2.
    step = (strip.shape[1] - 6) // 6
    cells = [strip[100:280, 6 + i * step :][:, 60:190].mean() for i in range(6)]
    assert cells[1] > cells[2] > cells[3] > cells[4] > cells[5]
    assert cells[0] == cells[3]


def test_demo(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "strip.png"
    for _ in range(2):  # it may replace its own picture
        result = run("demo", "-o", out)
        assert result.exit_code == 0, result.output
        assert f"wrote {out}" in result.stdout
    assert pixels(out).shape[1] > 1500


def test_demo_with_a_photograph(run: Run, portrait: Path, album: Path, tmp_path: Path) -> None:
    out = tmp_path / "strip.jpg"
    assert run("demo", "--image", portrait, "-o", out).exit_code == 0
    assert run("demo", "--image", album / "empty.png", "-o", tmp_path / "no.png").exit_code == options.NO_FACE
    assert run("demo", "--image", portrait, "-o", portrait).exit_code == 2
    assert not (tmp_path / "no.png").exists()


def test_demo_without_scikit_image(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    result = run("demo", "-o", tmp_path / "strip.png")
    assert result.exit_code == 2
    assert "pip install 'lgin-edge[demo]'" in result.stderr


def test_bundled_demo(bundled: lgin_edge.Transformer, tmp_path: Path) -> None:
    out = tmp_path / "strip.png"
    result = CliRunner().invoke(cli.app, ["demo", "-o", str(out), "--threads", "2"])
    assert result.exit_code == 0, result.output
    strip = pixels(out).astype(int)
    cells = [strip[40:290, 6 + 262 * i :][:, :256] for i in range(6)]
    assert np.abs(cells[5] - cells[1]).mean() > 1


def test_json_and_quiet(run: Run, portrait: Path) -> None:
    result = run("age", portrait, "--group", 4, "--json")
    out = portrait.with_name("portrait.group4.jpg")
    assert json.loads(result.stdout) == [{"file": str(portrait), "out": str(out), "faces": 1}]
    assert run("age", portrait, "--group", 4, "-q", "--overwrite").stdout == ""


def test_stdin_to_stdout(run: Run, portrait: Path) -> None:
    words = ["age", "-", "--group", "4", "--model", str(run.model)]
    result = CliRunner().invoke(cli.app, words, input=portrait.read_bytes())
    assert result.exit_code == 0, result.output
    aged = images.decode(result.stdout_bytes)
    assert aged.format == "JPEG"
    assert aged.image.size == (512, 512)
    empty = CliRunner().invoke(cli.app, words, input=b"")
    assert empty.exit_code == options.BAD_INPUT
    assert "stdin: nothing came from it" in empty.stderr


def test_a_dash_is_stdin_or_stdout_in_every_place(run: Run, portrait: Path) -> None:
    data, out = portrait.read_bytes(), portrait.with_name("new.jpg")

    def piped(*words: object) -> Any:
        return CliRunner().invoke(cli.app, [*map(str, words)], input=data)

    age = ("--group", 4, "--model", run.model)
    aged = piped("age", portrait, "-o", "-", *age).stdout_bytes
    assert aged == piped("age", "-", *age).stdout_bytes == piped("age", "-", "-o", "-", *age).stdout_bytes
    assert images.decode(aged).format == "JPEG"
    assert json.loads(piped("age", "-", "-o", out, "--json", *age).stdout) == [
        {"file": "-", "out": str(out), "faces": 1}
    ]
    assert out.read_bytes() == aged
    out.write_bytes(b"mine")
    assert "exists already" in piped("age", "-", "-o", out, *age).stderr
    assert out.read_bytes() == b"mine"
    assert files(portrait.parent) == [out.name, portrait.name]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("age - {portrait}", "one picture comes from stdin"),
        ("age {portrait} {portrait} -o -", "one picture goes to stdout"),
        ("age {folder} -o -", "one picture goes to stdout"),
        ("age - -o {folder}", "needs the name of a file"),
        ("age - -o new", "needs the name of a file"),
    ],
)
def test_a_dash_is_one_picture(run: Run, portrait: Path, words: str, told: str) -> None:
    command = words.format(portrait=portrait, folder=portrait.parent).split()
    result = run(*command, "--years", 70)
    assert result.exit_code == options.WRONG_USAGE
    assert told in result.stderr
    assert files(portrait.parent) == [portrait.name]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("batch {album} {out}", "1 of 5 files are done; the same command does the rest"),
        ("age {album} -o {out}", "1 of 5 pictures are done. lgin-edge batch goes on where it was broken off"),
    ],
)
def test_work_that_is_interrupted_says_how_far_it_came(
    run: Run, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, told: str
) -> None:
    done: list[jobs.Job] = []

    def one_and_no_more(_: object, job: jobs.Job, **__: object) -> int:
        done.append(job)
        if len(done) > 1:
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr(jobs, "age_file", one_and_no_more)
    command = words.format(album=album, out=tmp_path / "out").split()
    result = run(*command, "--years", 70, "--model", run.model)
    assert result.exit_code == options.INTERRUPTED
    assert told in result.stderr
    assert "interrupted" in result.stderr


def test_an_age_out_of_reach_names_the_file_by_what_was_used(run: Run, portrait: Path) -> None:
    result = run("age", portrait, "--years", 90)
    assert "the model does not reach 90 years: 70 is used" in result.stderr
    assert portrait.with_name("portrait.70years.jpg").exists()


def test_names_that_are_too_long_cost_one_line(run: Run, portrait: Path) -> None:
    long = portrait.with_name("b" * 248 + ".jpg")  # its result would have more than 255 bytes
    long.write_bytes(portrait.read_bytes())
    result = run("age", long, portrait, "--years", 70)
    assert result.exit_code == options.BAD_INPUT
    assert portrait.with_name("portrait.70years.jpg").exists()


def test_a_folder_leaves_nothing_out_unsaid(run: Run, album: Path, portrait: Path, tmp_path: Path) -> None:
    folder = tmp_path / "phone"
    folder.mkdir()
    (folder / "a.jfif").write_bytes(portrait.read_bytes())
    (folder / "b.NEF").write_bytes(b"raw")
    (folder / "c.MOV").write_bytes(b"film")
    result = run("age", folder, "-o", tmp_path / "out", "--group", 4)
    assert files(tmp_path / "out") == ["a.jpg"]
    assert "b.NEF: .NEF is not read, left out" in result.stderr
    assert "c.MOV: a film, left out" in result.stderr


class Pipe(io.RawIOBase):
    """An unbuffered standard output, which takes some of what it is given, until it is full."""

    def __init__(self, room: int) -> None:
        self.taken, self._room = bytearray(), room

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if len(self.taken) >= self._room:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = bytes(data)[:1000]
        self.taken += part
        return len(part)


def test_an_unbuffered_stdout_gets_all_of_a_picture() -> None:
    """PYTHONUNBUFFERED is common in containers."""
    data = bytes(range(256)) * 40
    pipe = Pipe(len(data))
    with pictures.whole_stdout(pipe) as out:
        out.write(data)
    assert bytes(pipe.taken) == data
    with (
        pytest.raises(ImageError, match="stdout: cannot be written: No space left"),
        pictures.whole_stdout(Pipe(3000)) as out,
    ):
        out.write(data)
