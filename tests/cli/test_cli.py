from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import models
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from typer.testing import CliRunner

import lgin_edge
from lgin_edge import images, jobs, transformer
from lgin_edge.cli import app as cli
from lgin_edge.cli import options, pictures

Image8 = npt.NDArray[np.uint8]


class Run:
    """The command line with the tiny models."""

    def __init__(self, model: Path, age_model: Path) -> None:
        self.model = model
        self.age_model = age_model

    def __call__(self, *arguments: Any, model: Path | None = None) -> Any:
        words = [str(argument) for argument in arguments]
        if words[0] in ("age", "demo"):
            words += ["--model", str(model or self.model), "--threads", "2"]
        if words[0] == "estimate":
            words += ["--age-model", str(model or self.age_model), "--threads", "2"]
        result = CliRunner().invoke(cli.app, words, env={"COLUMNS": "200"})
        assert "Traceback" not in result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result


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


def pixels(path: Path) -> Image8:
    return np.asarray(images.read(path).image)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


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


def test_a_folder_is_mirrored(run: Run, album: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("age", album, "--group", 4, "-o", out)
    assert result.exit_code == options.BAD_INPUT  # the broken one is reported, the others are done
    assert "broken.jpg: not an image" in result.stderr
    assert "1 of 5 pictures failed" in result.stderr
    assert "empty.png: no face found" in result.stderr
    assert files(out) == ["a.png", "deep/c.png", "deep/er/b [1].JPG"]
    assert (pixels(out / "a.png") != pixels(album / "a.png")).any()


def test_what_an_earlier_run_wrote_inside_the_folder_is_left_out(run: Run, album: Path) -> None:
    (album / "broken.jpg").unlink()
    out = album / "older"
    assert run("age", album, "--group", 4, "-o", out).exit_code == 0
    result = run("age", album, "--group", 4, "-o", out, "--overwrite")
    assert result.exit_code == 0
    assert files(out) == ["a.png", "deep/c.png", "deep/er/b [1].JPG"]


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "exactly one"),
        (["--group", 1, "--years", 50], "exactly one"),
        (["--group", 1, "--timeline"], "exactly one"),
        (["--group", 9], "group: expected a number from 0 to 4"),
        (["--years", -5], "years: expected an age"),
        (["--group", "old"], "valid"),
    ],
)
def test_wrong_usage(run: Run, portrait: Path, arguments: list[Any], message: str) -> None:
    result = run("age", portrait, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert files(portrait.parent) == ["portrait.jpg"]


def test_wrong_threads(portrait: Path) -> None:
    result = CliRunner().invoke(cli.app, ["age", str(portrait), "--group", "1", "--threads", "0"])
    assert result.exit_code == 2
    assert files(portrait.parent) == ["portrait.jpg"]


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


def test_unusable_models(run: Run, portrait: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("I am not a model")
    for model in (text, tmp_path / "missing.onnx", tmp_path / "engine.plan"):
        result = run("age", portrait, "--group", 1, model=model)
        assert result.exit_code == options.BAD_MODEL
        assert str(model) in result.stderr
        assert run("info", model).exit_code == options.BAD_MODEL


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_photographs_come_out_upright(run: Run, tmp_path: Path, astronaut: Image8, orientation: int) -> None:
    turned = {3: np.rot90(astronaut, 2), 6: np.rot90(astronaut, 1), 8: np.rot90(astronaut, -1)}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path, out = tmp_path / "in.png", tmp_path / "out.png"
    Image.fromarray(np.ascontiguousarray(turned)).save(path, exif=exif)
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


def test_timeline_of_a_folder(run: Run, album: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("age", album, "--timeline", "-o", out)
    assert files(out) == ["a.timeline.png", "deep/c.timeline.png", "deep/er/b [1].timeline.png"]


@pytest.mark.slow
def test_12_megapixels_with_two_faces_outside_the_squares(run: Run, tmp_path: Path, astronaut: Image8) -> None:
    canvas = np.random.default_rng(0).integers(90, 120, (3000, 4000, 3), dtype=np.uint8)
    for side, x, y in ((1500, 300, 700), (1100, 2500, 1200)):
        canvas[y : y + side, x : x + side] = np.asarray(Image.fromarray(astronaut).resize((side, side)))
    path, out = tmp_path / "photo.jpg", tmp_path / "photo.png"
    Image.fromarray(canvas).save(path, quality=92)
    result = run("age", path, "--group", 4, "-o", out)
    assert "(2 faces)" in result.stdout
    before, after = pixels(path), pixels(out)
    changed = (after != before).any(axis=2)
    for side, x, y in ((1500, 300, 700), (1100, 2500, 1200)):
        here = changed[y : y + side, x : x + side]
        assert here.any()
        # The face square of the astronaut lies within the middle and the upper half of the portrait.
        changed[y : y + side * 5 // 8, x + side // 4 : x + side * 3 // 4] = False
    assert not changed.any()


def test_info(run: Run, tiny_model: Path) -> None:
    result = run("info", tiny_model)
    assert result.exit_code == 0
    for words in (
        "test model",
        "under 35",
        "65 and over",
        "64 px",
        "32 px",
        "none: made by tests/models.py",
        "SHA-256",
    ):
        assert words in result.stdout
    import hashlib

    assert hashlib.sha256(tiny_model.read_bytes()).hexdigest() in result.stdout


def test_info_of_an_age_model(run: Run, tiny_age_model: Path) -> None:
    result = run("info", tiny_age_model)
    assert result.exit_code == 0
    for words in ("test age model", "under 35", "65 and over", "48 px", "estimates ages", "SHA-256"):
        assert words in result.stdout


def test_info_of_the_bundled_models(bundled: lgin_edge.Transformer) -> None:
    result = CliRunner().invoke(cli.app, ["info"])
    assert result.exit_code == 0, result.output
    for words in ("lgin.onnx", "makes younger or older", "age.onnx", "estimates ages"):
        assert words in result.stdout


def test_estimate(run: Run, portrait: Path, album: Path) -> None:
    (album / "broken.jpg").unlink()
    result = run("estimate", portrait, album)
    assert result.exit_code == 0, result.output
    head, *rows, _, sentence = result.stdout.splitlines()
    assert head.split() == ["file", "face", "years", "group"]
    assert [row.split()[0] for row in rows[:2]] == [str(portrait), str(album / "a.png")]
    assert len(rows) == 4
    assert str(album / "deep" / "er" / "b [1].JPG") in result.stdout
    for row in rows:
        years, group = row.removesuffix(")").split(" (")[0].split()[-2:]
        assert 30 <= int(years) <= 70
        assert row.endswith(f"({models.GROUPS[int(group)].label})")
    assert "empty.png: no face found" in result.stderr
    assert re.fullmatch(r"The 4 faces look roughly \d\d( to \d\d)? years old(, \d\d on average)?\.", sentence)
    assert pictures._in_words([44.6]) == "The face looks roughly 45 years old."
    assert pictures._in_words([33.0, 60.0, 45.0]) == "The 3 faces look roughly 33 to 60 years old, 46 on average."


def test_estimate_as_json(run: Run, album: Path, tmp_path: Path, astronaut: Image8) -> None:
    two = tmp_path / "two.png"
    Image.fromarray(np.concatenate([astronaut, astronaut], axis=1)).save(two)
    result = run("estimate", two, album / "empty.png", "--json")
    assert result.exit_code == 0, result.output
    first, second = json.loads(result.stdout)
    assert (first["file"], second) == (str(two), {"file": str(album / "empty.png"), "faces": []})
    assert len(first["faces"]) == 2
    for face in first["faces"]:
        assert set(face) == {"box", "years", "group", "label", "probability"}
        assert len(face["box"]) == 4
        assert sum(face["probability"]) == pytest.approx(1)


def test_estimate_says_what_went_wrong(run: Run, portrait: Path, album: Path, tmp_path: Path, tiny_model: Path) -> None:
    result = run("estimate", album, "--json")
    assert result.exit_code == options.BAD_INPUT  # the broken one is reported, the others are done
    assert "broken.jpg: not an image" in result.stderr
    assert "1 of 5 pictures failed" in result.stderr
    assert len(json.loads(result.stdout)) == 4
    result = run("estimate", album / "empty.png")
    assert result.exit_code == options.NO_FACE
    assert result.stdout == ""
    (tmp_path / "nothing").mkdir()
    assert run("estimate", tmp_path / "nothing").exit_code == 2
    for model in (tiny_model, tmp_path / "missing.onnx"):
        result = run("estimate", portrait, model=model)
        assert result.exit_code == options.BAD_MODEL
        assert str(model) in result.stderr


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


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (KeyboardInterrupt(), options.INTERRUPTED, "interrupted"),
        (
            MemoryError("Unable to allocate 3.00 GiB"),
            options.BAD_INPUT,
            "error: not enough memory: Unable to allocate",
        ),
        (MemoryError(), options.BAD_INPUT, "error: not enough memory: reduce the picture first"),
    ],
)
def test_broken_off(
    run: Run, portrait: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, told: str
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(transformer.Transformer, "age", stop)
    result = run("age", portrait, "--group", 1)
    assert result.exit_code == code
    assert told in result.stderr
    assert files(portrait.parent) == ["portrait.jpg"]


def test_help_teaches() -> None:
    """Every command says what its exit codes are, in the same words; no type stands where a name should."""
    commands = [command.callback.__name__.replace("_", "-") for command in cli.app.registered_commands]  # type: ignore[union-attr]
    assert {"age", "video", "export-triton"} <= set(commands)
    for name in ["", *commands]:
        text = " ".join(CliRunner().invoke(cli.app, [*name.split(), "--help"], env={"COLUMNS": "200"}).stdout.split())
        assert options.EXIT_CODES in text
        assert not re.search(r"<\w+[>\[]|BOOLEAN|INTEGER|TEXT|FLOAT", text), name
    text = CliRunner().invoke(cli.app, ["age", "--help"], env={"COLUMNS": "200"}).stdout
    for words in ("--group", "--years", "--timeline", "--tiles", "lgin-edge age portrait.jpg"):
        assert words in text


def test_as_a_process(subprocess_env: dict[str, str], portrait: Path, tiny_model: Path, tmp_path: Path) -> None:
    code = "from lgin_edge.cli.app import main; main()"
    out = tmp_path / "out.png"
    command = [sys.executable, "-c", code, "age", portrait, "--group", "3", "-o", out, "--model", tiny_model]
    done = subprocess.run(command, env=subprocess_env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{portrait} -> {out} (1 face)\n"


def test_diagnosis(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    from lgin_edge import __main__

    monkeypatch.setattr(transformer, "WEIGHTS", tiny_model)
    assert __main__.main() == 0
    text = capsys.readouterr().out
    for words in (
        "numpy",
        "onnxruntime",
        "CUDA kernels",
        "weights/centerface.onnx",
        "tensorrt-rtx",
        "self-test",
        "passed",
    ):
        assert words in text
    monkeypatch.setattr(transformer, "WEIGHTS", tiny_model.with_name("missing.onnx"))
    assert __main__.main() == 1
    assert "self-test:                 FAILED: ModelError" in capsys.readouterr().out


def test_diagnosis_finds_a_model_that_changes_too_much(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tiny_model: Path
) -> None:
    from lgin_edge import __main__

    def everything(self: lgin_edge.Transformer, image: Image8, **_: Any) -> Image8:
        return 255 - image

    monkeypatch.setattr(transformer, "WEIGHTS", tiny_model)
    monkeypatch.setattr(transformer.Transformer, "age", everything)
    assert __main__.main() == 1
    assert "outside the face" in capsys.readouterr().out
    monkeypatch.setattr(transformer.Transformer, "age", lambda self, image, **_: image.copy())
    assert __main__.main() == 1
    assert "changed nothing" in capsys.readouterr().out


def test_bundled_demo(bundled: lgin_edge.Transformer, tmp_path: Path) -> None:
    out = tmp_path / "strip.png"
    result = CliRunner().invoke(cli.app, ["demo", "-o", str(out), "--threads", "2"])
    assert result.exit_code == 0, result.output
    strip = pixels(out).astype(int)
    cells = [strip[40:290, 6 + 262 * i :][:, :256] for i in range(6)]
    assert np.abs(cells[5] - cells[1]).mean() > 1


def test_the_module_with_arguments_is_the_command(tmp_path: Path) -> None:
    """``python -m lgin_edge demo -o X`` once printed the diagnosis, wrote nothing and succeeded."""
    out = tmp_path / "made" / "face.png"
    wrong = subprocess.run(
        [sys.executable, "-m", "lgin_edge", "age", str(out)], capture_output=True, text=True, check=False
    )
    assert wrong.returncode != 0
    assert "self-test" not in wrong.stdout
    told = subprocess.run([sys.executable, "-m", "lgin_edge", "--help"], capture_output=True, text=True, check=False)
    assert told.returncode == 0
    assert "estimate" in told.stdout


# ---- as people type it ----


def test_version_and_short_help(run: Run) -> None:
    assert run("--version").stdout == f"lgin-edge {lgin_edge.__version__}\n"
    assert "Make every face in a picture" in run("age", "-h").stdout


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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("age film.mp4 --group 4", "is a film: lgin-edge video film.mp4 --group 4"),
        ("age film.mp4", "is a film: lgin-edge video film.mp4 --years 70"),
        ("age rtsp://camera/1 --years 50", "shown by: lgin-edge camera rtsp://camera/1 --years 50"),
        ("age https://x.org/a.jpg", "Fetch a picture first: curl -O https://x.org/a.jpg"),
        ("age {portrait} older.jpg", "To write there: lgin-edge age {portrait} -o older.jpg --years 70"),
        ("age {portrait} {portrait} younger --years 30", "{portrait} -o younger --years 30"),
        ("age {portrait} -o {folder}/older.gif --years 70", "'.gif' is not one that is written"),
        ("estimate film.mp4", "film.mp4 is a film, and ages are estimated of pictures"),
        ("estimate https://x.org/a.jpg", "an address"),
        ("video {portrait}", "is a picture, not a film: lgin-edge age {portrait} --years 70"),
        ("video rtsp://camera/1 --group 1", "To record it: lgin-edge camera rtsp://camera/1 -o FILE.mp4 --group 1"),
        ("video {portrait} out.mp4 --years 70", "To write there: lgin-edge video {portrait} -o out.mp4 --years 70"),
        ("video a.mp4 b.mp4 c.mp4 --years 70", "expected one film, got 3"),
    ],
)
def test_the_right_command_is_told(run: Run, portrait: Path, words: str, message: str) -> None:
    places = {"portrait": portrait, "folder": portrait.parent}
    result = run(*words.format(**places).split())
    assert result.exit_code == options.WRONG_USAGE
    assert message.format(**places) in result.stderr
    assert files(portrait.parent) == ["portrait.jpg"]


@pytest.mark.parametrize(("option", "times"), [("--tiles", 1), ("--no-tiles", 0)])
def test_tiles_can_be_chosen(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, times: int
) -> None:
    searched: list[object] = []
    monkeypatch.setattr(lgin_edge.CenterFace, "_search_tiles", lambda *_: searched.append(1) or [])
    Image.new("RGB", (2700 - 900 * times, 64)).save(tmp_path / "wide.png")
    for command in ("age --years 70", "estimate"):
        assert run(*command.split(), tmp_path / "wide.png", option).exit_code == options.NO_FACE
    assert len(searched) == 2 * times


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
