"""Write a model's int8 twin: ``python -m training.quantize my.onnx my-int8.onnx``.

Convolutions get 8-bit weights (a scale for each channel) and 8-bit activations, by ONNX Runtime's own tool. The range of an
activation is what all but a ten-thousandth of its values keep to, on real faces at all ages in the light of all cameras: with the
largest value instead, the steps are so coarse that a rare face loses 7 dB more. The first and the last convolution of each generator stay float32: the last writes the residual itself, and
alone it costs more of the picture than all others together; the first costs nothing to keep. Weights keep to 7 bits, because processors without VNNI or dot products add two
products in 16 bits and would clip them.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import torch
import typer
from onnx import helper
from rich.progress import track
from torch import Tensor

from lgin_edge.inference.interfaces import Backend
from lgin_edge.inference.loader import open_model
from lgin_edge.models.description import METADATA_KEY, Description

from . import augment, data
from .canonical import compose
from .evaluation.measures import psnr

#: dB of the square of a face, in the worst picture, under which an int8 model is not written.
FLOOR = 40.0
SEED = 0
PERCENTILE = 99.99


@dataclass(frozen=True)
class Loss:
    """What the squares of faces lose: PSNR (peak 255) of the worst and of the median one, and the worst level of all."""

    worst_db: float
    median_db: float
    levels: float


def quantize(model: onnx.ModelProto, feeds: Sequence[dict[str, Any]]) -> onnx.ModelProto:
    """The int8 twin of a float32 model, with its description. ``feeds``: inputs whose ranges the activations take."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(track(feeds, "looking at ranges", transient=True))

        def get_next(self) -> dict[str, Any] | None:
            return next(self.rest, None)

    # Its advice (to fold batch norms first, which there are none of) and its progress are for others.
    silent = contextlib.redirect_stdout(io.StringIO())
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch, silent, contextlib.ExitStack() as stack:
        stack.callback(logging.disable, logging.NOTSET)
        source, target = Path(scratch) / "float.onnx", Path(scratch) / "int8.onnx"
        onnx.save(model, str(source))
        quantize_static(
            str(source),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=outer_convolutions(model),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": PERCENTILE},
        )
        small = onnx.load(str(target))
    about = Description.from_json({p.key: p.value for p in model.metadata_props}[METADATA_KEY])
    helper.set_model_props(small, {METADATA_KEY: replace(about, precision="int8").to_json()})
    small.producer_name = "lgin-edge training.quantize"
    return small


def outer_convolutions(model: onnx.ModelProto) -> list[str]:
    """Names of the convolutions between which and the model's inputs, or its outputs, there is no other."""
    nodes = model.graph.node
    makers = {name: node for node in nodes for name in node.output}
    first, last, seen, names = [], [], set(), [value.name for value in model.graph.output]
    while names:
        node = makers.get(names.pop())
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if node.op_type == "Conv":
            last.append(node.name)
        else:
            names.extend(node.input)
    behind: set[str] = set()  # values that come after a convolution; nodes are in the order of the data
    for node in nodes:
        after = any(name in behind for name in node.input)
        if node.op_type == "Conv" and not after:
            first.append(node.name)
        if node.op_type == "Conv" or after:
            behind.update(node.output)
    return [*first, *last]


def views_of(faces: data.Faces, generator: torch.Generator | None = None) -> list[tuple[data.Views, Tensor]]:
    """Each face alone with its code of an age, from the youngest to the oldest group in turn.

    With a generator, in the light and with the faults of some camera, as in training: what an activation may be in a shop is
    not what it is in a studio.
    """
    low, high = data.GROUPS[0].center, data.GROUPS[-1].center
    result = []
    for i in range(len(faces)):
        some = torch.tensor([i])
        picture = data.to_float(faces.pixels[some])
        if generator is not None:
            picture = augment.degrade(augment.photometric(picture, generator), generator)
        views = data.cut_views(picture, data.plain_affines(1), faces.landmarks[some] * data.CANVAS)
        years = low + (high - low) * (i * 7 % len(faces)) / max(1, len(faces) - 1)
        result.append((views, data.age_codes(torch.tensor([years])).float()))
    return result


def feed(views: data.Views, code: Tensor) -> dict[str, Any]:
    tensors = {"face": views.face, "patches": views.patches, "boxes": views.boxes, "age": code}
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def compare(model: Path, small: Path, faces: data.Faces) -> Loss:
    """What the pictures of ``faces``, at ages from the youngest to the oldest, lose."""
    backends = [open_model(path, providers=("CPUExecutionProvider",), threads=1) for path in (model, small)]
    decibels, levels = [], 0.0
    for views, code in track(views_of(faces), "comparing", transient=True):
        want, have = (picture(backend, views, code) for backend in backends)
        error = have - want
        found = psnr(error.numpy(), 2.0)
        decibels.append(np.inf if found is None else found)
        levels = max(levels, 127.5 * float(error.abs().max()))
    for backend in backends:
        backend.close()
    return Loss(min(decibels), float(np.median(decibels)), levels)


def picture(backend: Backend, views: data.Views, code: Tensor) -> Tensor:
    """The transformed face on its canvas, [3, CANVAS, CANVAS] in [-1, 1]."""
    face_delta, patch_delta = (torch.from_numpy(np.asarray(d)) for d in backend.run(**feed(views, code)))
    return (views.canvas[0, :3] + compose(face_delta, patch_delta, views.boxes, data.CANVAS)[0]).clamp(-1, 1)


def main(
    model: Annotated[Path, typer.Argument(help="A float32 model of training.export.")],
    output: Annotated[Path, typer.Argument(help="The int8 model to write.")],
    portraits: Annotated[
        Path | None, typer.Option("--data", help="Folder with labels.csv (default: ../shared/portraits)")
    ] = None,
    faces: Annotated[
        int, typer.Option(min=1, help="Training faces to take ranges from; half as many are compared.")
    ] = 64,
    floor: Annotated[float, typer.Option(help="Write nothing if a picture falls below so many dB.")] = FLOOR,
) -> None:
    """Quantise a model's convolutions to int8, and say what the pictures of held-out faces lose by it.

    Example:

        python -m training.quantize lgin_edge/weights/lgin.onnx lgin_edge/weights/lgin-int8.onnx
    """
    try:
        about = open_model(model, providers=("CPUExecutionProvider",), threads=1).description
        if about.precision != "fp32":
            raise ValueError(f"{model} is {about.precision}: give the float32 model that it was made from")
        where = portraits or data.default_portraits()
        known, unseen = (
            data.load_portraits(where, "train", faces),
            data.load_portraits(where, "val", max(1, faces // 2)),
        )
        small = quantize(
            onnx.load(str(model)), [feed(*one) for one in views_of(known, torch.Generator().manual_seed(SEED))]
        )
        partial = output.with_suffix(".partial")
        onnx.save(small, str(partial))
        try:
            loss = compare(model, partial, unseen)
            if loss.worst_db < floor:
                raise ValueError(
                    f"a picture would fall to {loss.worst_db:.1f} dB (floor: {floor:g}); nothing was written"
                )
            partial.replace(output)
        finally:
            partial.unlink(missing_ok=True)
    except (ValueError, OSError) as error:
        typer.echo(f"training.quantize: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"{output}: {output.stat().st_size / 1e6:.1f} MB, {model.stat().st_size / 1e6:.1f} MB in float32")
    typer.echo(
        f"{len(unseen)} held-out faces: {loss.worst_db:.1f} dB in the worst picture, {loss.median_db:.1f} in the median one, "
        f"no level off by more than {loss.levels:.0f}"
    )


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
