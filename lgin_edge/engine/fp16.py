"""A model in float16, strongly typed: the arithmetic is written into the graph, as every TensorRT understands it.

Weights, activations, pictures and edits become float16; ``boxes`` and ``age``, a few numbers, stay float32 inputs. What is
computed from the boxes alone stays float32, too: positions in float16 are off by up to 1/64 of a pixel, which is half of the
whole error and more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import onnx_graphsurgeon as gs
from onnx import TensorProto, helper, numpy_helper

from .. import geometry
from ..errors import ModelError
from ..faces import FaceBatch
from ..inference.onnxruntime import session_options
from ..kernels import FacePlan, region_crop
from ..models.description import METADATA_KEY, Description
from ..reference import psnr as signal_to_noise

HALF, FULL = TensorProto.FLOAT16, TensorProto.FLOAT
#: Graph inputs that stay float32, and the one whose consequences do.
FULL_INPUTS, ISLAND = ("boxes", "age"), "boxes"
#: A model that keeps less in float16 is refused. (A difference of one level of 255 everywhere is 48 dB.)
LEAST_PSNR_DB = 60.0
#: Operators that leave every value as it is, so that there is nothing to round after them.
_MOVES = ("DepthToSpace", "Expand", "Gather", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")
_LARGEST = float(np.finfo(np.float16).max)

Inputs: TypeAlias = Mapping[str, npt.NDArray[np.float32]]


def lower(model: onnx.ModelProto) -> tuple[onnx.ModelProto, float]:
    """A copy of a float32 model in float16, whose description says so, and the ``psnr`` of its edits over ``sample_inputs``, dB.

    Raises ModelError: no description, float16 already, weights beyond float16's range, or a PSNR below ``LEAST_PSNR_DB``.
    """
    description = description_of(model)
    if description.precision != "fp32":
        raise ModelError(f"{description.model}: expected a model of precision 'fp32', got {description.precision!r}")
    for tensor in model.graph.initializer:
        largest = float(np.abs(numpy_helper.to_array(tensor)).max(initial=0)) if tensor.data_type == FULL else 0.0
        if not largest <= _LARGEST:
            raise ModelError(
                f"weights {tensor.name!r} reach {largest:g}, float16 ends at {_LARGEST:g}: keep this model in float32, or train "
                "it with smaller weights"
            )
    result = _lowered(model)
    description = replace(description, precision="fp16", fp32_islands=(ISLAND,))
    others = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(result, others | {METADATA_KEY: description.to_json()})
    onnx.checker.check_model(result, full_check=True)
    kept = psnr(model, result, sample_inputs(description))
    if kept < LEAST_PSNR_DB:
        raise ModelError(
            f"in float16 the edits keep {kept:.1f} dB of at least {LEAST_PSNR_DB:.0f}: keep this model in float32"
        )
    return result, kept


def psnr(reference: onnx.ModelProto, model: onnx.ModelProto, samples: Sequence[Inputs]) -> float:
    """dB, peak 2, between all edits of two models over samples: inputs by name, float32.

    A float16 model is measured as ``rounded``.
    """
    return signal_to_noise(_edits(rounded(reference), samples), _edits(rounded(model), samples), 2.0)


def description_of(model: onnx.ModelProto) -> Description:
    """The description that a model carries. Raises ModelError if it has none or it cannot be read."""
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            return Description.from_json(entry.value)
    raise ModelError(
        f"not a model of lgin-edge: it carries no description (metadata {METADATA_KEY!r}); export the model again with "
        "python -m training.export"
    )


def sample_inputs(description: Description, seed: int = 0) -> list[dict[str, npt.NDArray[np.float32]]]:
    """Made-up faces to measure with: soft light and shade with fine noise, cut out as faces are, at every age group."""
    rng = np.random.default_rng(seed)
    side = 2 * description.face_size
    affine = np.array([[side, 0, 0], [0, side, 0]], np.float64)
    x = (np.arange(side) + 0.5) / side
    waves = np.stack([np.cos(np.pi * k * x) / (1 + k) for k in range(8)])  # [8, side]
    k = len(description.groups)
    samples = []
    for _ in range(2):
        light = np.einsum("cij,iy,jx->yxc", rng.normal(0, 40, (3, 8, 8)), waves, waves)
        noise = rng.normal(0, rng.uniform(2, 12), light.shape)
        frame = (127.5 + light + noise).clip(0, 255).astype(np.uint8)
        boxes = geometry.REGION_BOXES + np.tile(rng.uniform(-0.02, 0.02, (5, 2)), 2)
        plan = FacePlan.of(frame, FaceBatch(affine[None], boxes[None]), description.views)
        face, patches = region_crop(plan, frame)
        age = np.eye(k, dtype=np.float32).reshape(description.shape("age", 1, k))
        inputs = {"face": face, "patches": patches, "boxes": boxes[None], "age": age}
        samples.append({name: array.astype(np.float32) for name, array in inputs.items()})
    return samples


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """A float16 model in float32 arithmetic, with every value that is float16 there rounded to float16.

    ONNX Runtime runs most float16 operators on a CPU as float32, and leaves out the roundings between them; that is no
    measure of a GPU. Here no rounding is left out, which is somewhat worse than a GPU that joins operators. Inputs and
    outputs are float32; a model that has no float16 comes out as it went in.
    """
    result = _typed(model)
    graph = result.graph
    values = [*graph.input, *graph.output, *graph.value_info]
    half = {v.name for v in values if v.type.tensor_type.elem_type == HALF}
    nodes: list[onnx.NodeProto] = []

    def rounding(source: str, out: str) -> None:
        nodes.append(helper.make_node("Cast", [source], [f"{out}/half"], to=HALF))
        nodes.append(helper.make_node("Cast", [f"{out}/half"], [out], to=FULL))

    inputs = {v.name: f"{v.name}/rounded" for v in graph.input if v.name in half}
    for name, out in inputs.items():
        rounding(name, out)
    for node in graph.node:
        node.input[:] = [inputs.get(name, name) for name in node.input]
        outs = [name for name in node.output if name in half and node.op_type not in _MOVES]
        node.output[:] = [f"{name}/raw" if name in outs else name for name in node.output]
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == HALF:
                attribute.i = FULL
        nodes.append(node)
        for out in outs:
            rounding(f"{out}/raw", out)
    # Copies, because a node that the graph owns goes with the graph's list; what was known of the tensors is no longer true.
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(copies)
    for tensor in graph.initializer:
        if tensor.data_type == HALF:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for v in (*graph.input, *graph.output):
        if v.name in half:
            v.type.tensor_type.elem_type = FULL
    return result


def _lowered(model: onnx.ModelProto) -> onnx.ModelProto:
    """By ONNX Runtime's converter, less its Casts to float16 and back between the nodes of the island."""
    typed = _typed(model)
    for i, node in enumerate(typed.graph.node):
        node.name = f"{i}_{node.op_type}"  # the converter knows nodes by their names
    # Late: it takes time, and its package puts a folder of its own at the end of the search path.
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half: onnx.ModelProto = convert_float_to_float16(
        typed,
        keep_io_types=list(FULL_INPUTS),
        disable_shape_infer=True,
        op_block_list=[],
        node_block_list=_only(typed, ISLAND),
    )
    # Before ONNX Runtime 1.32 it casts a constant once for each reader, under one name.
    outputs = [node.output[0] for node in half.graph.node]
    for i in reversed(range(len(outputs))):
        if outputs.index(outputs[i]) < i:
            del half.graph.node[i]
    graph = gs.import_onnx(half)
    for node in graph.nodes:
        before = node.inputs[0].inputs if node.op == "Cast" else []
        if before and before[0].op == "Cast" and (before[0].attrs["to"], node.attrs["to"]) == (HALF, FULL):
            for reader in list(node.outputs[0].outputs):
                reader.inputs = [before[0].inputs[0] if t is node.outputs[0] else t for t in reader.inputs]
    result: onnx.ModelProto = gs.export_onnx(graph.cleanup().toposort())
    result.ir_version = model.ir_version
    del result.graph.value_info[:]
    return _typed(result)


def _typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model that tells the type of every tensor."""
    try:
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(f"the types of the model's tensors do not fit each other: {error}") from error


def _only(model: onnx.ModelProto, source: str) -> list[str]:
    """Names of the nodes whose values depend on this graph input and on no other."""
    sources = {v.name: frozenset({v.name}) for v in model.graph.input}
    found = []
    for node in model.graph.node:
        known = [sources.get(name, frozenset()) for name in node.input if node.op_type != "Shape"]
        whole = frozenset().union(*known)
        sources.update(dict.fromkeys(node.output, whole))
        if whole == {source}:
            found.append(node.name)
    return found


def _edits(model: onnx.ModelProto, samples: Sequence[Inputs]) -> npt.NDArray[np.float64]:
    """All outputs over all samples, joined, by ONNX Runtime on one thread of the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), session_options(1), providers=["CPUExecutionProvider"]
    )
    parts = [out.ravel() for sample in samples for out in session.run(None, dict(sample))]
    return np.concatenate(parts).astype(np.float64)
