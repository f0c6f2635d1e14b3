"""A model as NVIDIA Triton Inference Server takes it: a folder of its model repository (docs/triton.md).

    python integrations/triton/export.py repository/
    python integrations/triton/export.py repository/ --model engine.plan

    REPOSITORY/NAME/config.pbtxt            what the model is: tensors, batches, and its description
    REPOSITORY/NAME/1/model.onnx            or model.plan

Triton batches whole requests along one first axis, so every tensor has one row a face here and each row its own age: M = N in
the terms of ``description.Description``. A face at several ages is several rows.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from lgin_edge.cli.options import EXIT_CODES, Command, exit_on_error, stdout
from lgin_edge.errors import ImageError, InputError, ModelError
from lgin_edge.files import write_files
from lgin_edge.models import engine_file, onnx_file
from lgin_edge.models.description import Description
from lgin_edge.transformer import model_path

#: Key of the description among the ``parameters`` of the configuration; clients cut and paste faces by it.
PARAMETER = "lgin"
#: What Triton's TensorRT back end loads; it has none for TensorRT-RTX.
VARIANT = "tensorrt"
_TYPES = {np.dtype(np.float32): "TYPE_FP32", np.dtype(np.float16): "TYPE_FP16"}
#: Triton takes the name into URLs.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)


@dataclass(frozen=True)
class Model:
    """What Triton has to know of a model file."""

    file: str  # the name that Triton's back end looks for
    backend: str  # the name of that back end
    data: bytes
    description: Description
    dtypes: Mapping[str, np.dtype[Any]]  # of every input and output, by name
    max_batch: int | None = None  # most faces of one call that the file itself allows; None where it does not say

    @property
    def default_name(self) -> str:
        """The variants of a model stand beside each other in one repository."""
        return "lgin_edge_" + self.file.removeprefix("model.")


def read(path: Path) -> Model:
    """A model file for Triton: an ``.onnx`` file that makes faces younger or older, or a TensorRT engine of one.

    Raises ModelError: missing, damaged, another kind of model, or an engine that Triton does not load.
    """
    if engine_file.is_engine(path):
        return _read_engine(path)
    file = onnx_file.read(path)
    about = onnx_file.read_description(file, Description.from_json)
    found = onnx_file.check_interface(file, about.inputs, about.outputs)
    dtypes = {name: np.dtype(kind) for name, kind in found.items()}
    return Model("model.onnx", "onnxruntime", file.data, about, dtypes)


def _read_engine(path: Path) -> Model:
    data, about = engine_file.read(path)
    facts = about.engine
    assert facts is not None  # engine_file.read saw to it
    if facts.variant != VARIANT:
        raise ModelError(
            f"{path}: an engine of {facts.variant}, and Triton loads those of {VARIANT} alone: build it with lgin-edge build "
            f"--runtime {VARIANT} on the server's GPU, with the TensorRT of the server's container"
        )
    # As engine.fp16 makes them: pictures and residuals in half precision, boxes and ages never.
    half, full = np.dtype(np.float16 if about.precision == "fp16" else np.float32), np.dtype(np.float32)
    dtypes = dict.fromkeys([*about.inputs, *about.outputs], half) | {"boxes": full, "age": full}
    return Model("model.plan", "tensorrt", data, about, dtypes, facts.max_faces)


def config(model: Model, name: str, *, max_batch: int, delay_us: int) -> str:
    """The configuration of a model, protobuf text of Triton's ``ModelConfig``.

    Args:
        name: of the model, and of its folder.
        max_batch: most faces of one call, 1 or more.
        delay_us: how long a request may wait for others to share its call, microseconds, 0 or more.

    Raises InputError: an argument out of range, or more faces than an engine was built for.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"name: expected letters, digits, '_', '-' and '.', a letter or digit first, got {name!r}")
    if max_batch < 1 or delay_us < 0:
        raise InputError(f"expected a batch of 1 or more and a delay of 0 or more, got {max_batch} and {delay_us}")
    if model.max_batch is not None and max_batch > model.max_batch:
        raise InputError(
            f"max_batch: this engine was built for up to {model.max_batch} faces, got {max_batch}; lgin-edge build "
            f"--max-batch {max_batch} builds a larger one"
        )
    about = model.description

    def tensors(kind: str, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
        return [
            f'{kind} {{ name: "{tensor}" data_type: {_TYPES[model.dtypes[tensor]]} dims: {list(shape)} }}'
            for tensor, shape in shapes.items()
        ]

    lines = [
        "# Written by integrations/triton/export.py of lgin-edge.",
        f'name: "{name}"',
        f'backend: "{model.backend}"',
        f"max_batch_size: {max_batch}",
        *tensors("input", about.inputs),
        *tensors("output", about.outputs),
        f"dynamic_batching {{ max_queue_delay_microseconds: {delay_us} }}",
        # JSON's escapes of a string are protobuf's too: the description is ASCII.
        f'parameters {{ key: "{PARAMETER}" value {{ string_value: {json.dumps(about.to_json())} }} }}',
    ]
    return "\n".join(lines) + "\n"


def export(
    path: Path,
    repository: Path,
    *,
    name: str | None = None,
    version: int = 1,
    max_batch: int | None = None,
    delay_us: int = 1000,
    overwrite: bool = False,
) -> Path:
    """Put a model file into a model repository, which may be one that a server watches.

    Args:
        name: of the model; "lgin_edge_onnx" or "lgin_edge_plan" when not given.
        version: number of the version's folder, 1 or more.
        max_batch: most faces of one call; 8 when not given, or what the engine was built for.
        delay_us: as for ``config``.
        overwrite: replace this version, and a configuration that says something else.

    Returns: The model's folder.

    Raises:
        ModelError: as ``read``.
        InputError: as ``config``, or there is something that ``overwrite`` would replace.
        ImageError: a file cannot be written.
    """
    if version < 1:
        raise InputError(f"version: expected 1 or more, got {version}")
    model = read(path)
    name = name or model.default_name
    text = config(model, name, max_batch=max_batch or model.max_batch or 8, delay_us=delay_us)
    folder = repository / name
    target, settings = folder / str(version), folder / "config.pbtxt"
    try:
        if not overwrite:
            if target.exists():
                raise InputError(f"{target} exists; give another version or name, or allow overwriting")
            if settings.exists() and settings.read_bytes() != text.encode():
                raise InputError(f"{settings} says something else; give another name, or allow overwriting")
        folder.mkdir(parents=True, exist_ok=True)
        _write_version(target, model)
        write_files({settings: text.encode()})
    except OSError as error:
        raise ImageError(f"{folder}: cannot be written: {error}") from error
    return folder


def _write_version(target: Path, model: Model) -> None:
    """The version's folder, there when it is whole: Triton passes over names that are no numbers."""
    partial = target.with_name(f"{target.name}.{secrets.token_hex(4)}.partial")
    try:
        partial.mkdir()
        if model.description.engine is not None:
            engine_file.write(partial / model.file, model.data, model.description)
        else:
            (partial / model.file).write_bytes(model.data)
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@app.command(cls=Command, epilog=EXIT_CODES)
def main(
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

    Triton loads engines that were built on its GPU with its version of TensorRT. client.py beside this file asks such a server.
    """
    with exit_on_error():
        folder = export(
            model_path(model),
            repository,
            name=name,
            version=version,
            max_batch=max_batch,
            delay_us=delay_us,
            overwrite=overwrite,
        )
        stdout.print(f"wrote {folder}")


if __name__ == "__main__":
    app()
