"""A model in float16, strongly typed: the arithmetic is written into the graph, as every TensorRT understands it.

Weights, activations, ``face``, ``patches`` and both residuals become float16; ``boxes`` and ``age``, a few numbers, stay
float32 inputs. Parts of the graph that lose much in float16 may stay float32: *islands*, each a part that is defined by what
its nodes depend on or lead to, so that it is found in any export, and each kept only if a measurement asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from .. import geometry
from ..errors import ModelError
from ..faces import FaceBatch
from ..kernels import FacePlan, region_crop
from ..models.description import METADATA_KEY, Description
from .fuse import description_of

HALF, FULL = TensorProto.FLOAT16, TensorProto.FLOAT
#: Graph inputs that stay float32.
FULL_INPUTS = ("boxes", "age")
#: An island that gains this much (half of the error comes from it) is kept in any case; below the aim, one that gains that.
WORTH_DB, WORTH_BELOW_AIM_DB = 3.0, 0.5
#: Operators that leave every value as it is, so that there is nothing to round after them.
_MOVES = ("DepthToSpace", "Expand", "Gather", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")
_LARGEST = float(np.finfo(np.float16).max)

Inputs: TypeAlias = Mapping[str, npt.NDArray[np.float32]]
Nodes: TypeAlias = frozenset[str]  # a node goes by its first output, the only name that must be there


@dataclass(frozen=True)
class Fp16Report:
    """What lowering measured.

    Attributes:
        islands: the parts that stay float32.
        psnr: dB, peak 2, of both residuals joined against the float32 model; infinite where nothing differs.
        variants: that figure for every set of islands that was tried, in the order of trying; () is float16 throughout.
        nodes: how many nodes each candidate has.
    """

    islands: tuple[str, ...]
    psnr: float
    variants: dict[tuple[str, ...], float]
    nodes: dict[str, int]


def lower(
    model: onnx.ModelProto, samples: Sequence[Inputs] | None = None, *, aim: float = 60.0
) -> tuple[onnx.ModelProto, Fp16Report]:
    """The model in float16, with as few float32 islands as the aim needs.

    The rule: the residuals' PSNR against float32 is measured over the samples with no island, with each candidate alone and
    with all. While all would gain at least ``WORTH_DB`` (``WORTH_BELOW_AIM_DB`` while the PSNR is below ``aim``), the
    candidate that gains most joins the islands, if it gains that much.

    Args:
        model: float32, fused or not; it is not changed.
        samples: inputs by name, float32: face [N, 3, S, S], patches [N, 5, 3, P, P], boxes [N, 5, 4], age [M, K]; None for
            ``sample_inputs``.
        aim: dB, see ``Fp16Report.psnr``. (A difference of one level of 255 everywhere is 48 dB.)

    Returns:
        The model, whose description says ``precision`` "fp16" and names the islands, and what was measured.

    Raises:
        ModelError: no description, float16 already, or weights beyond float16's range.
    """
    description = description_of(model)
    if description.precision != "fp32":
        raise ModelError(f"{description.model}: expected a model of precision 'fp32', got {description.precision!r}")
    model = _typed(model)
    candidates = {name: nodes for name, find in CANDIDATES.items() if (nodes := find(model))}
    samples = sample_inputs(description) if samples is None else samples
    expected = _residuals(model, samples)
    variants: dict[tuple[str, ...], float] = {}

    def measure(islands: tuple[str, ...]) -> float:
        islands = tuple(name for name in candidates if name in islands)
        if islands not in variants:
            lowered = _lowered(model, frozenset().union(*(candidates[name] for name in islands)))
            variants[islands] = _psnr(expected, _residuals(rounded(lowered), samples))
        return variants[islands]

    everything = tuple(candidates)
    for tried in [(), *((name,) for name in everything), everything]:
        measure(tried)
    chosen: tuple[str, ...] = ()
    while chosen != everything:
        least = measure(chosen) + (WORTH_BELOW_AIM_DB if measure(chosen) < aim else WORTH_DB)
        if measure(everything) < least:
            break
        further = {name: measure((*chosen, name)) for name in candidates if name not in chosen}
        best = max(further, key=further.__getitem__)
        if further[best] < least:
            break
        chosen = tuple(name for name in candidates if name in (*chosen, best))
    result = _lowered(model, frozenset().union(*(candidates[name] for name in chosen)))
    description = replace(description, precision="fp16", fp32_islands=chosen)
    others = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(result, others | {METADATA_KEY: description.to_json()})
    onnx.checker.check_model(result, full_check=True)
    sizes = {name: len(nodes) for name, nodes in candidates.items()}
    return result, Fp16Report(chosen, measure(chosen), variants, sizes)


def psnr(reference: onnx.ModelProto, model: onnx.ModelProto, samples: Sequence[Inputs]) -> float:
    """dB, peak 2, between both residuals, joined, of two models over samples as ``lower`` takes them.

    A float16 model is measured as ``rounded``.
    """
    return _psnr(_residuals(rounded(reference), samples), _residuals(rounded(model), samples))


def sample_inputs(description: Description, seed: int = 0, count: int = 2) -> list[dict[str, npt.NDArray[np.float32]]]:
    """Made-up faces to measure with: soft light and shade with fine noise, cut out as faces are, at every age group."""
    rng = np.random.default_rng(seed)
    side = 2 * description.face_size
    affine = np.array([[side, 0, 0], [0, side, 0]], np.float64)
    x = (np.arange(side) + 0.5) / side
    samples = []
    for _ in range(count):
        waves = np.stack([np.cos(np.pi * k * x) / (1 + k) for k in range(8)])  # [8, side]
        light = np.einsum("cij,iy,jx->yxc", rng.normal(0, 40, (3, 8, 8)), waves, waves)
        noise = rng.normal(0, rng.uniform(2, 12), light.shape)
        frame = (127.5 + light + noise).clip(0, 255).astype(np.uint8)
        boxes = geometry.REGION_BOXES + np.tile(rng.uniform(-0.02, 0.02, (5, 2)), 2)
        plan = FacePlan.of(frame, FaceBatch(affine[None], boxes[None]), description.views)
        face, patches = region_crop(plan, frame)
        k = len(description.groups)
        age = np.eye(k, dtype=np.float32).reshape(description.shape("age", 1, k))
        samples.append(
            {
                "face": face.astype(np.float32),
                "patches": patches.astype(np.float32),
                "boxes": boxes[None].astype(np.float32),
                "age": age,
            }
        )
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
        _cast_to(node, HALF, FULL)
        nodes.append(node)
        for out in outs:
            rounding(f"{out}/raw", out)
    _set_nodes(graph, nodes)
    for tensor in graph.initializer:
        if tensor.data_type == HALF:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for v in (*graph.input, *graph.output):
        if v.name in half:
            v.type.tensor_type.elem_type = FULL
    return result


def _lowered(model: onnx.ModelProto, islands: Nodes) -> onnx.ModelProto:
    """The model (with its shapes inferred) in float16 but for the nodes of the islands, Casts where the two meet."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    weights = {t.name: t for t in graph.initializer}
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.output, *graph.value_info)}
    floats = {name for name, kind in types.items() if kind == FULL}
    floats |= {name for name, t in weights.items() if t.data_type == FULL}
    now = dict.fromkeys(weights, FULL)  # the type that a tensor has by now
    for v in graph.input:
        now[v.name] = v.type.tensor_type.elem_type = FULL if v.name in FULL_INPUTS else HALF
    nodes: list[onnx.NodeProto] = []
    made: set[str] = set()

    def as_type(name: str, kind: int) -> str:
        """The tensor in this type: itself, a copy of a weight, or a Cast, one for all who need it."""
        if name not in floats or now[name] == kind:
            return name
        other = f"{name}/{'half' if kind == HALF else 'full'}"
        if other not in made:
            made.add(other)
            if name in weights:
                graph.initializer.append(_half(weights[name], other))
            else:
                nodes.append(helper.make_node("Cast", [name], [other], name=other, to=kind))
        return other

    for node in graph.node:
        kind = FULL if node.output[0] in islands else HALF
        for i, name in enumerate(node.input):
            if not _keeps_type(node.op_type, i):
                node.input[i] = as_type(name, kind)
        _cast_to(node, FULL, kind)
        now.update((name, kind) for name in node.output if name in floats)
        nodes.append(node)
    for out in graph.output:
        out.type.tensor_type.elem_type = HALF
        if now[out.name] == FULL:
            inner = f"{out.name}/full"
            for node in nodes:
                node.input[:] = [inner if name == out.name else name for name in node.input]
                node.output[:] = [inner if name == out.name else name for name in node.output]
            nodes.append(helper.make_node("Cast", [inner], [out.name], name=f"{out.name}/cast", to=HALF))
    _set_nodes(graph, nodes)
    used = {name for node in nodes for name in node.input}
    kept = [t for t in graph.initializer if t.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return _typed(result)


def _typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model that tells the type of every tensor."""
    try:
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(f"the types of the model's tensors do not fit each other: {error}") from error


def _keeps_type(op: str, i: int) -> bool:
    """Whether an operator's input ``i`` is not of the type that it computes in."""
    return op in ("Cast", "Shape") or (op == "Resize" and i > 0)


def _cast_to(node: onnx.NodeProto, old: int, new: int) -> None:
    """Let a Cast to ``old`` be one to ``new``."""
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == old:
            attribute.i = new


def _half(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    values = numpy_helper.to_array(tensor)
    largest = float(np.abs(values).max(initial=0))
    if not largest <= _LARGEST:
        raise ModelError(
            f"weights {tensor.name!r} reach {largest:g}, float16 ends at {_LARGEST:g}: keep this model in float32, or train "
            "it with smaller weights"
        )
    return numpy_helper.from_array(values.astype(np.float16), name)


def _set_nodes(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Replace the nodes; what was known of the tensors between them is no longer true."""
    # Copies, because a node that the graph owns goes with the graph's list.
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(copies)


def _sources(model: onnx.ModelProto, *cut: str) -> dict[str, frozenset[str]]:
    """The graph inputs that each tensor's values depend on, not looking through the operators ``cut``."""
    sources = {v.name: frozenset({v.name}) for v in model.graph.input}
    for node in model.graph.node:
        known = [sources.get(name, frozenset()) for name in node.input if node.op_type not in ("Shape", *cut)]
        sources.update(dict.fromkeys(node.output, frozenset().union(*known)))
    return sources


def _only(model: onnx.ModelProto, source: str) -> Nodes:
    """Nodes that depend on this graph input and on nothing else."""
    sources = _sources(model)
    return frozenset(node.output[0] for node in model.graph.node if sources[node.output[0]] == {source})


def _interaction(model: onnx.ModelProto) -> Nodes:
    """The products with the matrices that are made of the boxes, and their sums: features to regions and back."""
    sources, near = _sources(model), _sources(model, "Conv")
    nodes = [node for node in model.graph.node if node.op_type in ("MatMul", "ReduceSum")]
    outs = [node.output[0] for node in nodes]
    return frozenset(out for out in outs if "boxes" in near[out] and sources[out] != {"boxes"})


def _modulation(model: onnx.ModelProto) -> Nodes:
    """Where the age meets the picture: nodes that read what depends on the age alone, but do not themselves."""
    sources, age = _sources(model), _only(model, "age")
    return frozenset(
        node.output[0]
        for node in model.graph.node
        if age.intersection(node.input) and sources[node.output[0]] != {"age"}
    )


def _output(model: onnx.ModelProto) -> Nodes:
    """What follows the last convolutions: masks and residuals."""
    wanted = {v.name for v in model.graph.output}
    found: set[str] = set()
    for node in reversed(model.graph.node):
        if node.op_type != "Conv" and wanted.intersection(node.output):
            found.add(node.output[0])
            wanted.update(node.input)
    return frozenset(found)


#: The parts of a model that may stay float32.
CANDIDATES: dict[str, Callable[[onnx.ModelProto], Nodes]] = {
    "boxes": lambda model: _only(model, "boxes"),
    "age": lambda model: _only(model, "age"),
    "interaction": _interaction,
    "modulation": _modulation,
    "output": _output,
}


def _residuals(model: onnx.ModelProto, samples: Sequence[Inputs]) -> npt.NDArray[np.float64]:
    """Both residuals of all samples, joined, by ONNX Runtime on one thread of the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    parts = [out.ravel() for sample in samples for out in session.run(None, dict(sample))]
    return np.concatenate(parts).astype(np.float64)


def _psnr(expected: npt.NDArray[np.float64], actual: npt.NDArray[np.float64]) -> float:
    error = float(np.mean((actual - expected) ** 2))
    if not math.isfinite(error):
        return -math.inf  # float16 overflowed
    return 10 * math.log10(4 / error) if error else math.inf
