"""The command line for model files: ``lgin-edge info``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import exit_on_error, stdout

if TYPE_CHECKING:
    from ..models.description import AgeDescription, Description


def info(
    model: Annotated[
        Path | None,
        typer.Argument(help="An .onnx model file, or an engine. Default: the bundled models.", metavar="MODEL"),
    ] = None,
) -> None:
    """Say what a model file is: its age groups, sizes, training data and checksum."""
    with exit_on_error():
        from .. import age_estimator, transformer
        from ..models.model_file import read_description

        bundled = (transformer.WEIGHTS, transformer.INT8_WEIGHTS, age_estimator.WEIGHTS)
        paths = bundled if model is None else (transformer.model_path(model),)
        for i, path in enumerate(paths):
            if i:
                stdout.print()
            _print_model(path, read_description(path))


def _print_model(path: Path, about: Description | AgeDescription) -> None:
    from rich.table import Table

    from ..files import sha256
    from ..models.description import Description

    table = Table(box=None, pad_edge=False)
    for name in ("group", "ages", "stands for"):
        table.add_column(name)
    for i, one in enumerate(about.groups):
        table.add_row(str(i), one.label, f"{one.center:g} years")
    stdout.print(f"{about.model}\n{path}, {path.stat().st_size:,} bytes\nSHA-256 {sha256(path)}\n")
    stdout.print(table)
    if isinstance(about, Description):
        what = f"makes younger or older: face view {about.face_size} px, local views {about.patch_size} px"
        islands = about.fp32_islands
    else:
        what, islands = f"estimates ages: face view {about.face_size} px", ()
    precision = about.precision + (f" but for {', '.join(islands)}" if islands else "")
    stdout.print(f"\n{what}, {precision}, format {about.format}\ntraining data: {about.training_data}")
    if isinstance(about, Description) and about.engine is not None:
        engine = about.engine
        gpus = ", ".join(engine.targets) or "those that it takes by default"
        stdout.print(
            f"engine of {engine.variant} {engine.version}, for up to {engine.max_faces} faces a call on GPUs: {gpus}\n"
            f"built from the ONNX file with SHA-256 {about.onnx_sha256}"
        )
