"""``lgin-edge estimate``, and the choice of tiles that it shares with ``age``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import models
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from support.command_line import Run
from typer.testing import CliRunner

import lgin_edge
from lgin_edge.cli import app as cli
from lgin_edge.cli import options, pictures

Image8 = npt.NDArray[np.uint8]


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


def test_estimate_of_stdin(run: Run, portrait: Path) -> None:
    words = ["estimate", "-", "--json", "--age-model", str(run.age_model)]
    result = CliRunner().invoke(cli.app, words, input=portrait.read_bytes())
    assert result.exit_code == 0, result.output
    (told,) = json.loads(result.stdout)
    assert told["file"] == "-"
    assert told["faces"] == json.loads(run("estimate", portrait, "--json").stdout)[0]["faces"]
    assert "one picture comes from stdin" in run("estimate", "-", portrait).stderr


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
