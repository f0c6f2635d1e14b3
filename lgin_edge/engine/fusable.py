"""Operators written anew, so that TensorRT computes them in one kernel with what is around them; the numbers stay.

- A product of one row with a matrix, or over few terms, becomes a sum: for a matrix product TensorRT-RTX 1.7 first copies what it
  multiplies, padded or repeated, a megabyte a face in order to read it once.
- Enlarging by nearest neighbours becomes a broadcast, which is not a kernel of its own where something is added to it.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

#: Most terms of a product that is a sum.
_FEW = 8


def rewritten(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with every ``MatMul`` as a ``Mul`` and a ``ReduceSum``, and every nearest ``Resize`` as an ``Expand``, where that pays."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {one.name: [side.dim_value for side in one.type.tensor_type.shape.dim] for one in inferred.value_info}
    shapes |= {one.name: list(one.dims) for one in inferred.initializer}
    constants = {one.name: numpy_helper.to_array(one).tolist() for one in model.graph.initializer if one.dims == [4]}
    model = onnx.ModelProto.FromString(model.SerializeToString())
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        sides = [shapes.get(name, []) for name in node.input]
        if node.op_type == "MatMul" and _is_sum(*sides):
            nodes += _sum(node)
        elif node.op_type == "Resize" and (scale := _scale(node, sides[0], constants)):
            nodes += _broadcast(node, sides[0], scale)
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _is_sum(left: list[int], right: list[int]) -> bool:
    if len(right) < 2:
        return False
    terms, columns = right[-2:]
    # TensorRT multiplies by all small matrices that have the age code on their left at once.
    few = 0 < terms <= _FEW and (len(right) > 2 or 0 < columns <= _FEW)
    return few or (len(left) > 1 and left[-2] == 1)


def _sum(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """[..., M, K] and [..., K, N] to [..., M, N]."""
    (a, b), name = node.input, node.name or node.output[0]
    product = helper.make_node("Mul", [f"{name}/a", f"{name}/b"], [f"{name}/ab"], f"{name}/ab")
    total = _with("ReduceSum", f"{name}/ab", [-2], node.output[0])
    total[1].attribute.append(helper.make_attribute("keepdims", 0))
    return [*_with("Unsqueeze", a, [-1], f"{name}/a"), *_with("Unsqueeze", b, [-3], f"{name}/b"), product, *total]


def _scale(node: onnx.NodeProto, shape: list[int], constants: dict[str, list[float]]) -> int:
    """By how much a node enlarges both sides of pictures [N, C, H, W], a whole number; 0 where it does something else."""
    attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    kind = [attributes.get(name) for name in ("mode", "coordinate_transformation_mode", "nearest_mode")]
    scales = constants.get(node.input[2]) if len(node.input) == 3 else None
    if kind != [b"nearest", b"asymmetric", b"floor"] or scales is None or len(shape) != 4 or not all(shape[1:]):
        return 0
    scale = int(scales[2])
    return scale if scales == [1, 1, scale, scale] else 0


def _broadcast(node: onnx.NodeProto, shape: list[int], scale: int) -> list[onnx.NodeProto]:
    """[N, C, H, W] to [N, C, H * scale, W * scale]."""
    name, (channels, height, width) = node.name or node.output[0], shape[1:]
    return [
        *_with("Reshape", node.input[0], [-1, channels, height, 1, width, 1], f"{name}/apart"),
        *_with("Expand", f"{name}/apart", [1, 1, 1, scale, 1, scale], f"{name}/repeated"),
        *_with("Reshape", f"{name}/repeated", [-1, channels, height * scale, width * scale], node.output[0]),
    ]


def _with(kind: str, source: str, values: list[int], to: str) -> list[onnx.NodeProto]:
    """A node whose second input is a constant, after the constant's."""
    constant = numpy_helper.from_array(np.array(values, np.int64))
    name = f"{to}/{kind.lower()}"
    return [
        helper.make_node("Constant", [], [name], name, value=constant),
        helper.make_node(kind, [source, name], [to], to),
    ]
