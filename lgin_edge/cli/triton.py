"""The command line for other servers: ``lgin-edge export-triton``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import exit_on_error, stdout


def export_triton(
    repository: Annotated[Path, typer.Argument(metavar="DIR", help="The model repository; made if missing.")],
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            help="An .onnx model file, int8, or an engine of lgin-edge build --runtime tensorrt. Default: the bundled model.",
            metavar="FILE",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="The model's name there. Default: lgin_edge_onnx or lgin_edge_plan.", metavar="NAME"),
    ] = None,
    version: Annotated[int, typer.Option(min=1, help="Number of this version of the model.", metavar="N")] = 1,
    max_batch: Annotated[
        int | None, typer.Option(min=1, help="Most faces of one call. Default: 8, or the engine's own.", metavar="N")
    ] = None,
    delay_us: Annotated[
        int,
        typer.Option(
            "--delay-us", min=0, help="How long a request may wait for others to share its call, in µs.", metavar="US"
        ),
    ] = 1000,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a version that exists.")] = False,
) -> None:
    """Write a model repository for NVIDIA Triton Inference Server: the model and its configuration.

    Examples:

      lgin-edge export-triton repository/

      lgin-edge export-triton repository/ --model engine.plan

    Triton loads engines that were built on its GPU with its version of TensorRT. examples/triton_client.py asks such a server.
    """
    with exit_on_error():
        from ..models import triton_repository
        from ..transformer import model_path

        folder = triton_repository.export(
            model_path(model),
            repository,
            name=name,
            version=version,
            max_batch=max_batch,
            delay_us=delay_us,
            overwrite=overwrite,
        )
        stdout.print(f"wrote {folder}")
