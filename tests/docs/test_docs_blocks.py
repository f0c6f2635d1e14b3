"""Every code block of README.md and docs/ is run, in a scratch folder with the astronaut as the picture. A block that cannot be
says why in a comment before it (``<!-- not run: REASON -->``); of its commands at least the options are checked.

``pytest -v`` lists what is not run, and why.
"""

from __future__ import annotations

import configparser
import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import typer
from doc_blocks import ROOT, Block, blocks, commands, needs_checkout, pages
from PIL import Image
from support.films import Image8

import lgin_edge
from lgin_edge import age_estimator, transformer
from lgin_edge.cli import app as cli
from lgin_edge.stream import sources, stream

PAGES = {page: blocks(page) for page in pages()}
RUN = {page: runs for page, found in PAGES.items() if (runs := [one for one in found if one.not_run is None])}
NOT_RUN = [one for found in PAGES.values() for one in found if one.not_run is not None]
#: Where the pages' kiosk listens.
KIOSK = "127.0.0.1:8000"
#: What a block that is run may start.
QUICK = ("lgin-edge", "python", "curl", "cd")
LONG = (["lgin-edge", "kiosk"], ["lgin-edge", "camera"], ["lgin-edge", "build"])

pytestmark = needs_checkout


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, astronaut: Image8) -> Path:
    """A folder with what the pages' commands name."""
    picture = Image.fromarray(astronaut)
    picture.save(tmp_path / "portrait.jpg")
    for folder in ("holiday", "shards", "UTKFace", "photos"):
        (tmp_path / folder).mkdir()
    for folder in ("holiday", "shards"):
        picture.resize((256, 256)).save(tmp_path / folder / "beach.jpg")
    shutil.copy(transformer.WEIGHTS, tmp_path / "my.onnx")
    shutil.copy(age_estimator.WEIGHTS, tmp_path / "my-age.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch, astronaut: Image8) -> None:
    """Camera 0: ten frames of the astronaut."""
    real = stream.open_source

    def open_source(source: Any, *args: Any, **named: Any) -> sources.Frames:
        return sources.IterableFrames([astronaut] * 10) if source == 0 else real(source, *args, **named)

    monkeypatch.setattr(stream, "open_source", open_source)


@pytest.fixture
def kiosk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a kiosk that runs, for a page that talks to one."""
    if not any(KIOSK in block.code for block in RUN[request.getfixturevalue("page")]):
        yield KIOSK
        return
    from support.kiosk_server import serving

    if shutil.which("curl") is None:
        pytest.skip("the page's commands need curl")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(request.getfixturevalue("bundled")) as server:
        yield server.url.removeprefix("http://")


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run(page: Path, scratch: Path, camera: None, kiosk: str, astronaut: Image8) -> None:
    """One after the other, as somebody who reads the page; what Python defines stays for the next block."""
    if "in.mp4" in page.read_text():
        write_film(scratch / "in.mp4", astronaut)
    shown: list[Image8] = []
    names: dict[str, Any] = {"img": astronaut, "frame": astronaut[..., ::-1].copy(), "show": shown.append}
    for block in RUN[page]:
        code = block.code.replace(KIOSK, kiosk)
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + code, str(page), "exec"), names)  # noqa: S102 - our own pages
        elif block.language == "sh":
            run_shell(block, code)
        elif block.language == "json":
            json.loads(code)
        elif block.language == "ini":
            configparser.ConfigParser().read_string(code)
        else:
            pytest.fail(f"{block}: expected python, sh, json or ini behind the fence, got {block.language!r}")
    if any("show(frame)" in block.code for block in RUN[page]):
        assert shown


def write_film(path: Path, picture: Image8) -> None:
    av = pytest.importorskip("av", reason="makes the film: pip install 'lgin-edge[test]'")
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=30)
        video.width = video.height = 512
        video.pix_fmt = "yuv420p"
        for _ in range(10):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.array(picture), format="rgb24")))
        container.mux(video.encode())


def run_shell(block: Block, code: str) -> None:
    """As somebody types it, but nothing that installs, serves or waits: that would have forgotten its marker."""
    for words in commands(code):
        assert words[0] in QUICK, f"{block}: {words[0]} is none of {', '.join(QUICK)}: say why it is not run"
        assert words[:2] not in LONG, f"{block}: {' '.join(words[:2])} takes long: say that it is not run"
    package = str(Path(lgin_edge.__file__).parent.parent)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": package, "COLUMNS": "120"}
    command = ["bash", "-euo", "pipefail", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    advice = "if it cannot be run here, say so before it: <!-- not run: REASON -->"
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}\n{advice}"


@pytest.mark.parametrize("block", NOT_RUN, ids=lambda block: f"{block}: {block.not_run}")
def test_a_block_that_is_not_run_says_why_and_is_right_as_far_as_it_goes(
    block: Block, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert block.not_run is not None
    assert len(block.not_run) > 10
    for path in re.findall(r"(?:tests|\.ci)/[\w./]*\w", block.not_run):
        assert (ROOT / path).exists(), f"{block} names {path}, which is not there"
    # Options and arguments are parsed by the real command line, which then does nothing.
    monkeypatch.setattr(typer.core.TyperCommand, "invoke", lambda *_: None)
    if block.language == "python":
        compile(block.code, str(block), "exec")
        return
    assert block.language == "sh", f"{block}: expected python or sh behind the fence, got {block.language!r}"
    for words in commands(block.code):
        check_command(words)


def check_command(words: list[str]) -> None:
    """Raises what the command's own parser raises. Programs that are not ours are not looked at."""
    name, *rest = words
    name = Path(name).name
    if name == "lgin-edge":
        parse(cli.app, rest)
    elif name == "pip" and rest[0] == "install":
        for wanted in rest[1:]:
            check_extras(*re.findall(r"^(?:lgin-edge|\.)\[(.+)\]$", wanted))
    elif name == "bootstrap.sh":
        check_extras(*rest)
    elif name in ("python", "python3", "torchrun") and "-m" in rest:
        module, *options = rest[rest.index("-m") + 1 :]
        if module.split(".")[0] in ("lgin_edge", "training"):
            check_module(load(module), options)
    elif name in ("python", "python3") and rest[0].endswith(".py"):
        check_script(ROOT / rest[0], rest[1:])


def check_extras(*lists: str) -> None:
    for extra in ",".join(lists).split(",") if lists else ():
        assert extra in (metadata.metadata("lgin-edge").get_all("Provides-Extra") or ()), f"no extra {extra!r}"


def load(name: str) -> ModuleType:
    """The module that ``python -m NAME`` runs."""
    try:
        module = importlib.import_module(name)
        return importlib.import_module(f"{name}.__main__") if hasattr(module, "__path__") else module
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("lgin_edge", "training"):
            raise
        pytest.skip(f"{name} needs {error.name}, which is not installed")


def check_script(path: Path, options: list[str]) -> None:
    assert path.is_file(), f"no script {path}"
    text = path.read_text()
    if "typer" not in text:
        return  # it reads sys.argv itself
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        check_module(module, options)
    except ModuleNotFoundError as error:
        pytest.skip(f"{path.name} needs {error.name}, which is not installed")
    finally:
        sys.path.remove(str(path.parent))


def check_module(module: ModuleType, options: list[str]) -> None:
    app = getattr(module, "app", None)
    if app is None and hasattr(module, "typer"):
        app = typer.Typer()
        app.command()(module.main)
    if app is None:
        assert not options, f"{module.__name__} takes no options, got {options}"
    else:
        parse(app, options)


def parse(app: typer.Typer, options: list[str]) -> None:
    app(options, standalone_mode=False)


def test_a_wrong_option_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typer.core.TyperCommand, "invoke", lambda *_: pytest.fail("it was run"))
    with pytest.raises(Exception, match="No such option"):
        check_command(["lgin-edge", "age", "portrait.jpg", "--yaers", "70"])
    with pytest.raises(Exception, match="No such option"):
        check_command(["python", "-m", "lgin_edge.bench", "--second", "3"])
    with pytest.raises(Exception, match="No such command"):
        check_command(["lgin-edge", "rejuvenate"])
    with pytest.raises(AssertionError, match="no extra 'kiosks'"):
        check_command(["pip", "install", "lgin-edge[kiosks]"])


def test_commands_of_a_shell_block() -> None:
    code = 'A=1 pip install "x[y]" && lgin-edge build \\\n  -o engine.plan   # a comment\ncat a | head\n'
    assert commands(code) == [
        ["pip", "install", "x[y]"],
        ["lgin-edge", "build", "-o", "engine.plan"],
        ["cat", "a"],
        ["head"],
    ]
