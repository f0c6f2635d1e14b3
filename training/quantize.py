"""Write a model's int8 twin: ``python -m training.quantize my.onnx my-int8.onnx``.

Convolutions get 8-bit weights (a scale for each channel) and 8-bit activations, by ONNX Runtime's own tool. The range of an
activation is what all but a ten-thousandth of its values keep to, on real faces at all ages in the light of all cameras: with the
largest value instead, the steps are so coarse that a rare face loses 7 dB more. The first and the last convolution of each generator
stay float32, and what the last one of the whole face reads: they write the edit itself, and alone they cost more of the picture than all
others together (3 dB of the median one); the first costs nothing to keep. So do the few that all parts of the face go through. Weights keep to 7 bits,
because processors without VNNI or dot products add two products in 16 bits and would clip them.
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

from lgin_edge.files import atomic_write
from lgin_edge.inference.interfaces import Backend
from lgin_edge.inference.loader import open_model
from lgin_edge.models.description import METADATA_KEY, Description
from lgin_edge.reference import psnr

from . import data, edits, examples
from .command import PacksOption, exit_on_error, run_command
from .dataset.labels import default_packs, read_packs
from .networks import FACE_BOX, NetworkConfig

#: Parts of the names of weights that stay float32 beside the outer ones: with the first block's in 8 bits the worst face of
#: weights 1.7 had 38.9 dB, with four others, too, that of 1.6 had 37.1; with all of them but the local one in float that of 1.8 has 42.2. With
#: that in 8 bits a drawn head of 1.15 had 38.6 dB, in float 42.2.
SENSITIVE = (
    "greying.",
    "interaction.read",
    "interaction.write",
    "local.body.3.body",
    "whole.body.0.weight",
    "whole.body.2.body",
    "whole.body.3.body.2",
    "whole.body.4.body.2",
    "whole.body.5.body",
    "whole.mix.0.body.0",
)
#: dB of the square of a face, in the worst picture, under which an int8 model is not written.
FLOOR = 40.0
SEED = 0
PERCENTILE = 99.999


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
    """Names of the convolutions between which and the model's inputs, or its outputs, there is no other; of the face's edit the last two,
    and the ``SENSITIVE`` ones. What comes of means over whole feature maps, as the depth of lines does, does not count.
    """
    nodes = model.graph.node
    makers = {name: node for node in nodes for name in node.output}
    first: list[str] = []
    last: dict[str, None] = {}
    for output in model.graph.output:
        names, left = [output.name], 2 if output.name == "face_edit" else 1
        while left:
            left -= 1
            reached = _nearest_convolutions(names, makers)
            last |= dict.fromkeys(node.name for node in reached)
            names = [node.input[0] for node in reached]
    behind: set[str] = set()  # values that come after a convolution; nodes are in the order of the data
    for node in nodes:
        after = any(name in behind for name in node.input)
        if node.op_type == "Conv" and not after:
            first.append(node.name)
        if node.op_type == "Conv" or after:
            behind.update(node.output)
    chosen = [
        node.name for node in nodes if node.op_type == "Conv" and any(part in node.input[1] for part in SENSITIVE)
    ]
    return list(dict.fromkeys([*first, *last, *chosen]))


def _nearest_convolutions(names: list[str], makers: dict[str, onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The convolutions from which values come, with no other in between."""
    found, seen = [], set()
    names = list(names)
    while names:
        node = makers.get(names.pop())
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if node.op_type == "Conv":
            found.append(node)
        elif node.op_type != "ReduceMean":
            names.extend(node.input)
    return found


def batches_of(faces: examples.Faces, about: Description, strength: float) -> list[examples.Batch]:
    """Each face alone, at ages from the youngest to the oldest in turn.

    Args:
        strength: of the augmentation. With 1, in the light and with the faults of some camera, as in training: what an
            activation may be in a shop is not what it is in a studio.
    """
    config = NetworkConfig(face_size=about.face_size, patch_size=about.patch_size)
    source = examples.Examples(faces, np.ones(len(faces)), config, SEED, strength)
    low, high = examples.YOUNGEST, examples.OLDEST
    result = []
    for i in range(len(faces)):
        present = float(np.clip(faces.age[i], low, high))
        wanted = low + (high - low) * (i * 7 % len(faces)) / max(1, len(faces) - 1)
        result.append(examples.collate([source.example(i, present, wanted, np.random.default_rng((SEED, i)))]))
    return result


def feed(batch: examples.Batch) -> dict[str, Any]:
    """What the graph takes, at one age."""
    code = data.age_codes(batch.wanted)[:, None].float()
    tensors = {"face": batch.face, "patches": batch.patches, "boxes": batch.boxes, "age": code}
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def compare(model: Path, small: Path, faces: examples.Faces) -> Loss:
    """What the pictures of ``faces``, at ages from the youngest to the oldest, lose."""
    backends = [open_model(path, providers=("CPUExecutionProvider",), threads=1) for path in (model, small)]
    decibels, levels = [], 0.0
    for batch in track(batches_of(faces, backends[0].description, strength=0.0), "comparing", transient=True):
        want, have = (picture(backend, batch) for backend in backends)
        decibels.append(psnr(want.numpy(), have.numpy(), 1.0))
        levels = max(levels, 255 * float((have - want).abs().max()))
    for backend in backends:
        backend.close()
    return Loss(min(decibels), float(np.median(decibels)), levels)


def picture(backend: Backend, batch: examples.Batch) -> torch.Tensor:
    """The edited face on its canvas, [1, 3, CANVAS, CANVAS] in [0, 1]."""
    inputs = feed(batch)
    outputs = backend.run(inputs["face"], inputs["patches"], inputs["boxes"], inputs["age"][:, 0])
    made = edits.Edits(*(torch.from_numpy(np.asarray(one, np.float32)) for one in outputs))
    return edits.apply(made, batch.boxes, batch.canvas, FACE_BOX, backend.description.format)


def main(
    model: Annotated[Path, typer.Argument(help="A float32 model of training.export.")],
    output: Annotated[Path, typer.Argument(help="The int8 model to write.")],
    targets: Annotated[Path, typer.Option(help="What python -m training.targets.build made.")] = Path("runs/targets"),
    packs: PacksOption = None,
    faces: Annotated[
        int, typer.Option(min=1, help="Training faces to take ranges from; half as many are compared.")
    ] = 96,
    floor: Annotated[float, typer.Option(help="Write nothing if a picture falls below this many dB.")] = FLOOR,
) -> None:
    """Quantise a model's convolutions to int8, and say what the pictures of held-out faces lose by it.

    Example:

        python -m training.quantize lgin_edge/weights/lgin.onnx lgin_edge/weights/lgin-int8.onnx
    """
    with exit_on_error("quantize"):
        about = open_model(model, providers=("CPUExecutionProvider",), threads=1).description
        if about.precision != "fp32":
            raise ValueError(f"{model} is {about.precision}: give the float32 model that it was made from")
        if about.format == 1 or (about.groups, about.face_box) != (data.GROUPS, FACE_BOX):
            raise ValueError(f"{model} is of another version: quantise it with the version that exported it")
        photos = read_packs(packs or default_packs())
        known = examples.load(targets, examples.only(photos, "train"), faces)
        unseen = examples.load(targets, examples.only(photos, "val"), max(1, faces // 2))
        small = quantize(onnx.load(str(model)), [feed(one) for one in batches_of(known, about, strength=1.0)])
        with atomic_write(output) as partial:
            onnx.save(small, str(partial))
            loss = compare(model, partial, unseen)
            if loss.worst_db < floor:
                raise ValueError(
                    f"a picture would fall to {loss.worst_db:.1f} dB (floor: {floor:g}); nothing was written"
                )
    typer.echo(f"{output}: {output.stat().st_size / 1e6:.1f} MB, {model.stat().st_size / 1e6:.1f} MB in float32")
    typer.echo(
        f"{len(unseen)} held-out faces: {loss.worst_db:.1f} dB in the worst picture, {loss.median_db:.1f} in the median one, "
        f"no level off by more than {loss.levels:.0f}"
    )


if __name__ == "__main__":
    run_command(main)
