"""The command line with the tiny models, and what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from typer.testing import CliRunner

from lgin_edge import images
from lgin_edge.cli import app as cli


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


def pixels(path: Path) -> npt.NDArray[np.uint8]:
    return np.asarray(images.read(path).image)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
