"""What all commands share: wrong usage, help, models, the diagnosis; and the right command for what belongs to another."""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from support.command_line import Run, files
from typer.testing import CliRunner

import lgin_edge
from lgin_edge import InputError, transformer
from lgin_edge.cli import app as cli
from lgin_edge.cli import options, pictures
from lgin_edge.limits import LIMITS

Image8 = npt.NDArray[np.uint8]


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


def test_unusable_models(run: Run, portrait: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("I am not a model")
    for model in (text, tmp_path / "missing.onnx", tmp_path / "engine.plan"):
        result = run("age", portrait, "--group", 1, model=model)
        assert result.exit_code == options.BAD_MODEL
        assert str(model) in result.stderr
        assert run("info", model).exit_code == options.BAD_MODEL


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tiny_model", ("test model", "makes younger or older", "64 px", "32 px")),
        ("tiny_age_model", ("test age model", "48 px", "estimates ages")),
    ],
)
def test_info(run: Run, request: pytest.FixtureRequest, name: str, kind: tuple[str, ...]) -> None:
    model: Path = request.getfixturevalue(name)
    result = run("info", model)
    assert result.exit_code == 0
    hash_ = hashlib.sha256(model.read_bytes()).hexdigest()
    for words in (*kind, "under 35", "65 and over", "none: made by tests/models.py", f"SHA-256 {hash_}"):
        assert words in result.stdout


def test_info_of_the_bundled_models(bundled: lgin_edge.Transformer) -> None:
    result = CliRunner().invoke(cli.app, ["info"])
    assert result.exit_code == 0, result.output
    for words in ("lgin.onnx", "makes younger or older", "age.onnx", "estimates ages"):
        assert words in result.stdout


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
    assert {"age", "video", "batch"} <= set(commands)
    for name in ["", *commands]:
        text = " ".join(CliRunner().invoke(cli.app, [*name.split(), "--help"], env={"COLUMNS": "200"}).stdout.split())
        assert options.EXIT_CODES in text
        assert not re.search(r"<\w+[>\[]|BOOLEAN|INTEGER|TEXT|FLOAT", text), name
    text = CliRunner().invoke(cli.app, ["age", "--help"], env={"COLUMNS": "200"}).stdout
    for words in ("--group", "--years", "--timeline", "--tiles", "lgin-edge age portrait.jpg"):
        assert words in text


def test_as_a_process(subprocess_env: dict[str, str], portrait: Path, tiny_model: Path, tmp_path: Path) -> None:
    """``python -m lgin_edge`` with arguments is the command; once it printed the diagnosis, wrote nothing and succeeded."""
    out = tmp_path / "out.png"
    command = [sys.executable, "-m", "lgin_edge", "age", portrait, "--group", "3", "-o", out, "--model", tiny_model]
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
    monkeypatch.setattr(__main__, "_detector", lambda: "not asked")
    monkeypatch.setattr(transformer.Transformer, "age", everything)
    assert __main__.main() == 1
    assert "outside the face" in capsys.readouterr().out
    monkeypatch.setattr(transformer.Transformer, "age", lambda self, image, **_: image.copy())
    assert __main__.main() == 1
    assert "changed nothing" in capsys.readouterr().out


def test_version_and_short_help(run: Run) -> None:
    assert run("--version").stdout == f"lgin-edge {lgin_edge.__version__}\n"
    assert "Make every face in a picture" in run("age", "-h").stdout


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
        ("batch film.mp4 out --group 4", "film.mp4 is a film: lgin-edge video film.mp4 --group 4"),
        (
            "animate film.mp4",
            "made of one picture: save a frame first. The film at an age: lgin-edge video film.mp4 --years 70",
        ),
        ("animate https://x.org/a.jpg", "curl -O https://x.org/a.jpg"),
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


def test_a_process_that_is_ended_leaves_nothing_half_written(tmp_path: Path) -> None:
    """By a service manager, or with its terminal; it dies of the signal, as others do."""
    program = (
        "import os, signal, sys, time; from pathlib import Path; from lgin_edge.cli import app as cli; from lgin_edge.files import atomic_write\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # under nohup it is ignored, and stays so
        "def work():\n"
        "    with atomic_write(Path(sys.argv[1])) as partial:\n"
        "        partial.write_bytes(b'half'); os.kill(os.getpid(), int(sys.argv[2])); time.sleep(9)\n"
        "cli.app = work; cli.main()"
    )
    for number in (signal.SIGTERM, signal.SIGHUP):
        done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.mp4"), str(int(number))], check=False)
        assert done.returncode == -number
        assert not list(tmp_path.iterdir())


def test_an_event_loop_at_work_ends_too() -> None:
    """As the kiosk's, when its terminal is closed: a task takes other exceptions for its own result."""
    program = (
        "import asyncio, os, signal; from lgin_edge.cli import app as cli\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "async def task():\n"
        "    os.kill(os.getpid(), signal.SIGHUP); await asyncio.sleep(0)\n"
        "async def work():\n"
        "    one = asyncio.create_task(task()); await asyncio.sleep(9)\n"
        "cli.app = lambda: asyncio.run(work()); cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=8)
    assert done.returncode == -signal.SIGHUP


def test_streams_that_are_closed_are_said_to_be(monkeypatch: pytest.MonkeyPatch, tiny: Any) -> None:
    """As under cron and service managers."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="stdin, which is closed"):
        pictures._read(Path("-"), limits=LIMITS)
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(InputError, match="stdout, which is closed"):
        pictures._through(tiny, Path("a.jpg"), None, 70, False, LIMITS)
