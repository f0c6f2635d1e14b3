"""What a training run cost, read from its folder, and what a model file costs, counted in its graph."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import numpy_helper

from .. import checkpoint


@dataclass(frozen=True)
class RunCost:
    """Steps by phase, faces seen by each of the networks' phases, and hours of the steps themselves, as logged."""

    steps: dict[str, int]
    images: dict[str, int]
    hours: float

    def __add__(self, other: RunCost) -> RunCost:
        def joined(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
            return {phase: a.get(phase, 0) + b.get(phase, 0) for phase in {**a, **b}}

        return RunCost(joined(self.steps, other.steps), joined(self.images, other.images), self.hours + other.hours)


def of_run(folder: Path) -> RunCost:
    """Cost of a run of ``training.fit``, from ``config.json`` and ``metrics.jsonl``.

    Start-up, sheets and checkpoints are not in the hours; steps that were lost in an interruption count once.

    Raises FileNotFoundError: the folder lacks one of the two; ValueError: they are not what ``training.fit`` writes.
    """
    texts = {}
    for name in ("config.json", "metrics.jsonl"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"no {name} in {folder}; python -m training.fit FOLDER makes such a folder")
        texts[name] = (folder / name).read_text()
    saved = folder / checkpoint.FILE
    processes = len(checkpoint.load(saved, "rng.")[0]["states"]) if saved.is_file() else 1
    steps: dict[str, int] = {}
    images: dict[str, int] = {}
    seconds = 0.0
    try:
        config = json.loads(texts["config.json"])
        for line in texts["metrics.jsonl"].splitlines():
            row = json.loads(line)
            if "images_per_s" not in row:
                continue
            phase, batch = row["phase"], config["classifier_batch" if row["phase"] == "classifier" else "batch"]
            new = batch * processes * max(0, row["step"] - steps.get(phase, 0))
            steps[phase] = max(steps.get(phase, 0), row["step"])
            images[phase] = images.get(phase, 0) + new
            seconds += new / row["images_per_s"]
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise ValueError(f"{folder}: not the config and metrics of a run of training.fit ({error!r})") from error
    return RunCost(steps, images, seconds / 3600)


def parameters(model: onnx.ModelProto) -> int:
    """Numbers that a model stores, in tensors of more than one dimension or of weights' types."""
    kinds = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}
    return sum(math.prod(tensor.dims) for tensor in model.graph.initializer if tensor.data_type in kinds)


def macs(model: onnx.ModelProto, free: int = 1) -> int:
    """Multiply-accumulates of one forward pass: convolutions and matrix products.

    Args:
        free: size of the dimensions that the graph leaves open (faces, ages).

    Raises ValueError: the shape of a product cannot be inferred.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if not dim.dim_value:
                dim.dim_value = free
    graph = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            shapes[node.output[0]] = list(numpy_helper.to_array(node.attribute[0].t).shape)
    total = 0
    for node in graph.node:
        if node.op_type in ("Conv", "MatMul", "Gemm"):
            left, right, out = (shapes.get(name, [0]) for name in (*node.input[:2], node.output[0]))
            # A convolution's kernel is [out, in / groups, kh, kw]; both products sum over the left one's last dimension.
            terms = math.prod(right[1:]) if node.op_type == "Conv" else left[-1]
            if not terms * math.prod(out):
                raise ValueError(
                    f"the shapes of {node.op_type} {node.name!r} cannot be inferred, so it cannot be counted"
                )
            total += terms * math.prod(out)
    return total
