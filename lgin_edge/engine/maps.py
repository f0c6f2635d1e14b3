"""Small work on maps [N, C, H, W] in operators that TensorRT joins with what is around them: rules for ``rewriting``.

Pools, convolutions and matrix products are kernels of their own; slices, sums, broadcasts and resizes are not.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import onnx

from .products import FEW
from .rewriting import Graph, Replacement, attributes

#: Most values that a convolution sums up where it is written value by value, and the largest side of a block.
_TAPS, _BLOCK = 9, 8
#: Where a slice ends that takes all that is left.
_END = 2**31


def enlarged(graph: Graph, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """Enlarging by nearest neighbours as a broadcast."""
    if node.op_type != "Resize" or len(node.input) != 3:
        return None
    settings, shape = attributes(node), graph.shapes.get(node.input[0], [])
    kind = [settings.get(name) for name in ("mode", "coordinate_transformation_mode", "nearest_mode")]
    scales = graph.constants.get(node.input[2])
    if kind != [b"nearest", b"asymmetric", b"floor"] or scales is None or len(shape) != 4 or not all(shape[1:]):
        return None
    by, (c, h, w) = int(scales[2]), shape[1:]
    if scales.tolist() != [1, 1, by, by]:
        return None
    new = Replacement(graph, node)
    apart = new.add("Reshape", node.input[0], [-1, c, h, 1, w, 1])
    new.add("Reshape", new.add("Expand", apart, [1, 1, 1, by, 1, by]), [-1, c, h * by, w * by], to=node.output[0])
    return new.nodes


def averaged(graph: Graph, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """Means over blocks as sums of slices: of rows, then of columns."""
    if node.op_type != "AveragePool":
        return None
    settings, shape = attributes(node), graph.shapes.get(node.input[0], [])
    block = settings["kernel_shape"]
    if settings.get("strides") != block or not 1 < min(block) <= max(block) <= _BLOCK or any(settings.get("pads", ())):
        return None
    if len(shape) != 4 or any(not side or side % by for side, by in zip(shape[2:], block, strict=True)):
        return None
    new = Replacement(graph, node)
    sums = node.input[0]
    for axis, side in ((2, block[0]), (3, block[1])):
        sums = new.total([new.add("Slice", sums, [i], [shape[axis]], [axis], [side]) for i in range(side)])
    new.add("Mul", sums, np.float32(1 / math.prod(block)), to=node.output[0])
    return new.nodes


def convolved(graph: Graph, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """A convolution of few values, without a bias, as a sum of what it reads; of all channels, or of each alone."""
    kernel = graph.constants.get(node.input[1]) if node.op_type == "Conv" and len(node.input) == 2 else None
    shape = graph.shapes.get(node.input[0], [])
    if kernel is None or kernel.ndim != 4 or kernel[0].size > _TAPS or len(shape) != 4 or not all(shape[2:]):
        return None
    settings, (channels, inputs, *sides) = attributes(node), kernel.shape
    alone, pads = settings.get("group", 1) == channels == shape[1], settings.get("pads", [0] * 4)
    if not (alone or settings.get("group", 1) == 1) or pads[:2] != pads[2:] or np.count_nonzero(kernel.any(0)) < 2:
        return None
    new = Replacement(graph, node)
    source = new.add("Pad", node.input[0], [0, 0, *pads[:2]] * 2) if any(pads) else node.input[0]
    ends = [side + 2 * pad - width + 1 for side, pad, width in zip(shape[2:], pads[:2], sides, strict=True)]
    steps = settings.get("strides", [1, 1])
    terms = []
    for i, y, x in np.argwhere(kernel.any(0)).tolist():
        part = source if inputs == 1 else new.part(source, i, 1)
        if sides != [1, 1] or steps != [1, 1]:
            part = new.add("Slice", part, [y, x], [y + ends[0], x + ends[1]], [2, 3], steps)
        terms.append(new.add("Mul", part, kernel[None, :, i, y, x, None, None]))
    new.total(terms, node.output[0])
    return new.nodes


def eroded(graph: Graph, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """The largest of the negated values nearby, in each row and then of the rows, which is one kernel with the negation.

    Not what such a pool may read: both at once would compute each value of it as often as it is read.
    """
    if node.op_type != "MaxPool" or graph.maker(node.input[0], "Neg") is None:
        return None
    settings = attributes(node)
    sides, pads = settings["kernel_shape"], settings.get("pads", ())
    if any(one != 1 for one in settings.get("strides", ())) or len(sides) != 2 or not all(side % 2 for side in sides):
        return None
    if [*pads] != [side // 2 for side in sides] * 2 or min(sides) < 3:
        return None
    new = Replacement(graph, node)
    lowest = np.float32(np.finfo(np.float16).min)
    padded = new.add("Pad", node.input[0], [0, 0, *pads[:2]] * 2, lowest)
    # Ends from behind: the maps' own sides may not be known.
    across = [new.add("Slice", padded, [x], [x + 1 - sides[1] or _END], [3]) for x in range(sides[1])]
    rows = new.greatest(across)
    down = [new.add("Slice", rows, [y], [y + 1 - sides[0] or _END], [2]) for y in range(sides[0])]
    new.greatest(down, node.output[0])
    return new.nodes


def over_channels(graph: Graph, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """A sum over few channels, term by term."""
    if node.op_type != "ReduceSum" or len(node.input) != 2 or not attributes(node).get("keepdims", 1):
        return None
    shape, axes = graph.shapes.get(node.input[0], []), graph.constants.get(node.input[1])
    if axes is None or axes.tolist() != [1] or len(shape) != 4 or not 1 < shape[1] <= FEW:
        return None
    new = Replacement(graph, node)
    new.total([new.part(node.input[0], i, 1) for i in range(shape[1])], node.output[0])
    return new.nodes


def mean(graph: Graph, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """The mean of each map with channels last, as convolutions have them: else what is computed with it is turned."""
    axes = graph.constants.get(node.input[1]) if node.op_type == "ReduceMean" and len(node.input) == 2 else None
    shape = graph.shapes.get(node.input[0], [])
    if axes is None or axes.tolist() != [2, 3] or attributes(node).get("keepdims", 1) or not all(shape[1:]):
        return None
    new = Replacement(graph, node)
    last = new.add("Transpose", node.input[0], perm=[0, 2, 3, 1])
    pixels = new.add("Reshape", last, [-1, shape[2] * shape[3], shape[1]])
    new.add("ReduceMean", pixels, [1], to=node.output[0], keepdims=0)
    return new.nodes


def read(graph: Graph, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """``R M R^T`` with a constant R that takes means over windows of 3 x 3, enlarges bilinearly, or both, as what it is."""
    first = graph.maker(node.input[0], "MatMul") if node.op_type == "MatMul" else None
    if first is None:
        return None
    reader, other = graph.constants.get(first.input[0]), graph.constants.get(node.input[1])
    if reader is None or other is None or reader.ndim != 2 or not np.array_equal(reader, other.T):
        return None
    (to, side), source = reader.shape, first.input[1]
    scale, rank, enlarging = to // side, len(graph.shapes.get(source, [])), _enlarging(to, side)
    blurs = np.allclose(reader, enlarging @ _means(side), atol=1e-6)
    if to % side or rank < 4 or not (blurs or (scale > 1 and np.allclose(reader, enlarging, atol=1e-6))):
        return None
    new = Replacement(graph, node)
    flat = source if rank == 4 else new.add("Reshape", source, [-1, 1, side, side])
    out = node.output[0] if rank == 4 else ""
    if blurs:
        last = out if scale == 1 else ""
        flat = new.add("AveragePool", flat, to=last, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=0)
    if scale > 1:
        flat = new.add("Resize", flat, "", np.array([1.0, 1.0, scale, scale]), to=out, mode="linear")
    if rank > 4:
        shape = new.add("Concat", new.add("Shape", source, end=rank - 2), [to, to], axis=0)
        new.add("Reshape", flat, shape, to=node.output[0])
    return new.nodes


def _means(side: int) -> npt.NDArray[np.float64]:
    """[side, side]: means over 3 values, of what lies in the map."""
    at = np.arange(side)
    inside = abs(at[:, None] - at) <= 1
    means: npt.NDArray[np.float64] = inside / inside.sum(1, keepdims=True)
    return means


def _enlarging(to: int, side: int) -> npt.NDArray[np.float64]:
    """[to, side]: bilinear reading, half-pixel centres, border replicated; nothing for the same side."""
    position = ((np.arange(to) + 0.5) * side / to - 0.5).clip(0, side - 1)
    return (1 - abs(position[:, None] - np.arange(side))).clip(0)
