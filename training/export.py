"""Write the ONNX model: ``python -m training.export runs/first/checkpoint.pt lgin_edge/weights/lgin.onnx``.

One file is the whole model: weights, graph and the description (design section 5). Each face is encoded once however many
ages are asked for: ``age`` has M rows for N faces, M a multiple of N, the ages of one face together.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import torch
import typer
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from lgin_edge import geometry
from lgin_edge.description import METADATA_KEY, Description

from . import data
from .networks import LGIN, NetworkConfig, count_macs, example_inputs

OPSET = 20  # the newest that TensorRT 10.3 (JetPack 6) reads
INPUTS = ("face", "patches", "boxes", "age")
OUTPUTS = ("face_delta", "patch_delta")

TRAINING_DATA = (
    "775 official portraits of members of the US Congress (mostly presumed US-government works, not checked per image; "
    "ages 25-76, mostly 40-70, three men to one woman, most of them white): expect worse results on other faces. Birth dates: "
    "congress-legislators (CC0); service dates: FiveThirtyEight (CC BY 4.0). Trained from random initialisation."
)


class Exported(nn.Module):
    """T without the coarse images that only L_I needs."""

    def __init__(self, net: LGIN) -> None:
        super().__init__()
        self.net = net

    def forward(self, face: Tensor, patches: Tensor, boxes: Tensor, age: Tensor) -> tuple[Tensor, Tensor]:
        face_delta, patch_delta, _ = self.net(face, patches, boxes, age)
        return face_delta, patch_delta


def describe(config: NetworkConfig, name: str) -> Description:
    return Description(
        model=name,
        groups=data.GROUPS,
        face_size=config.face_size,
        patch_size=config.patch_size,
        face_taper=geometry.FACE_TAPER,
        region_taper=geometry.REGION_TAPER,
        template=tuple((float(x), float(y)) for x, y in geometry.TEMPLATE),
        precision="fp32",
        training_data=TRAINING_DATA,
    )


def export(net: LGIN, path: Path, name: str = "lgin") -> onnx.ModelProto:
    """Export T to ``path``, checked, with its description.

    Args:
        net: on the CPU, in evaluation mode.
    """
    config = net.config
    example = example_inputs(config, faces=2, ages=3)
    faces, ages = torch.export.Dim("faces"), torch.export.Dim("ages")
    shapes = ({0: faces}, {0: faces}, {0: faces}, {0: faces, 1: ages})
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as scratch:
        warnings.simplefilter("ignore")  # the exporter's notes on its own internals
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it reports that torchvision is not there
        raw = Path(scratch) / "raw.onnx"
        program = torch.onnx.export(
            Exported(net).eval(),
            example,
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=shapes,
            input_names=INPUTS,
            output_names=OUTPUTS,
            external_data=False,
            verbose=False,
        )
        program.save(str(raw))
        model = onnx.load(str(raw))
    flatten_ages(model, config)
    forget_source(model)
    helper.set_model_props(model, {METADATA_KEY: describe(config, name).to_json()})
    model.producer_name, model.doc_string = "lgin-edge training.export", ""
    onnx.checker.check_model(model, full_check=True)
    partial = path.with_suffix(".partial")
    onnx.save(model, str(partial))
    partial.replace(path)
    return model


def flatten_ages(model: onnx.ModelProto, config: NetworkConfig) -> None:
    """Make ``age`` [M, K] the input and reshape it to [N, M / N, K]: M = N is the plain model of the design."""
    graph = model.graph
    for node in graph.node:
        for i, used in enumerate(node.input):
            if used == "age":
                node.input[i] = "age_per_face"
    tail = numpy_helper.from_array(np.array([-1, config.groups], np.int64), "age_tail")
    graph.initializer.append(tail)
    nodes = [
        helper.make_node("Shape", ["face"], ["faces_shape"], start=0, end=1),
        helper.make_node("Concat", ["faces_shape", "age_tail"], ["age_shape"], axis=0),
        helper.make_node("Reshape", ["age", "age_shape"], ["age_per_face"], name="age_per_face"),
    ]
    for node in reversed(nodes):
        graph.node.insert(0, node)
    s, p, k = config.face_size, config.patch_size, config.groups
    wanted = {
        "face": ["N", 3, s, s],
        "patches": ["N", 5, 3, p, p],
        "boxes": ["N", 5, 4],
        "age": ["M", k],
        "face_delta": ["M", 3, s, s],
        "patch_delta": ["M", 5, 3, p, p],
    }
    for values in (graph.input, graph.output):
        named = [helper.make_tensor_value_info(v.name, TensorProto.FLOAT, wanted[v.name]) for v in values]
        del values[:]
        values.extend(named)
    del graph.value_info[:]  # they name the exporter's own dimensions


def forget_source(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes: stack traces with paths of this machine in every node."""
    graph = model.graph
    for item in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del item.metadata_props[:]
        item.doc_string = ""


def load(checkpoint: Path, average: bool = True) -> LGIN:
    """T from a checkpoint of ``training.fit``: its averaged weights, or the last ones."""
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    network = json.loads(state["config"])["network"]
    config = NetworkConfig(**{key: tuple(v) if isinstance(v, list) else v for key, v in network.items()})
    net = LGIN(config)
    net.load_state_dict(state["average" if average else "net"])
    return net.eval()


def compare(net: LGIN, path: Path, seed: int = 0) -> float:
    """Largest difference between PyTorch and ONNX Runtime over random faces and several ages a face."""
    import onnxruntime

    rng = np.random.default_rng(seed)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for n, g in ((1, 1), (2, 1), (1, 6), (3, 2)):
        face, patches, boxes, age = (t.numpy() for t in example_inputs(net.config, n, g))
        face = rng.uniform(-1, 1, face.shape).astype(np.float32)
        patches = rng.uniform(-1, 1, patches.shape).astype(np.float32)
        boxes = boxes + rng.uniform(-0.02, 0.02, boxes.shape).astype(np.float32)
        age = rng.dirichlet(np.ones(age.shape[-1]), (n, g)).astype(np.float32)
        with torch.no_grad():
            expected = Exported(net)(*(torch.from_numpy(a) for a in (face, patches, boxes, age)))
        feeds = dict(zip(INPUTS, (face, patches, boxes, age.reshape(n * g, -1)), strict=True))
        for have, want in zip(session.run(list(OUTPUTS), feeds), expected, strict=True):
            worst = max(worst, float(np.abs(have - want.numpy()).max()))
    return worst


def main(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoint.pt of a run of training.fit")],
    output: Annotated[Path, typer.Argument(help="the .onnx to write")] = Path("lgin_edge/weights/lgin.onnx"),
    name: Annotated[str, typer.Option(help="Name and version that the file carries.")] = "lgin-edge-0.1",
    last: Annotated[bool, typer.Option("--last", help="Export the last weights instead of the averaged ones.")] = False,
) -> None:
    """Export T of a checkpoint to ONNX with its description, and compare it with PyTorch in ONNX Runtime."""
    if not checkpoint.is_file():
        typer.echo(
            f"no checkpoint at {checkpoint}; python -m training.fit --run FOLDER makes FOLDER/checkpoint.pt", err=True
        )
        raise typer.Exit(2)
    net = load(checkpoint, average=not last)
    model = export(net, output, name)
    macs = count_macs(Exported(net), *example_inputs(net.config))
    typer.echo(f"{output}: {output.stat().st_size / 1e6:.1f} MB, {len(model.graph.node)} nodes, {macs / 1e9:.2f} GMAC")
    typer.echo(f"largest difference to PyTorch: {compare(net, output):.1e}")


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
