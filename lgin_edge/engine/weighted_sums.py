"""Products of one row with a matrix, written as sums: an engine then has them in one kernel with what is around them.

As a matrix product TensorRT-RTX 1.7 first pads their odd sides, which copies a megabyte a face in order to read it once.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

_AXES = {f"weighted_sums/{axis}": axis for axis in (-1, -2, -3)}


def from_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which a ``MatMul`` of [..., 1, K] and [..., K, M] is a ``Mul`` and a ``ReduceSum``; others stay."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {one.name: [side.dim_value for side in one.type.tensor_type.shape.dim] for one in inferred.value_info}
    shapes |= {one.name: list(one.dims) for one in inferred.initializer}
    model = onnx.ModelProto.FromString(model.SerializeToString())
    nodes: list[onnx.NodeProto] = []
    last, rows, columns = _AXES
    for node in model.graph.node:
        left, right = (shapes.get(name, []) for name in (*node.input, "", "")[:2])
        if node.op_type != "MatMul" or len(left) < 2 or len(right) < 2 or left[-2] != 1:
            nodes.append(node)
            continue
        (a, b), name = node.input, node.name or node.output[0]
        nodes += [
            helper.make_node("Unsqueeze", [a, last], [f"{name}/a"], f"{name}/a"),
            helper.make_node("Unsqueeze", [b, columns], [f"{name}/b"], f"{name}/b"),
            helper.make_node("Mul", [f"{name}/a", f"{name}/b"], [f"{name}/ab"], f"{name}/ab"),
            helper.make_node("ReduceSum", [f"{name}/ab", rows], [node.output[0]], name, keepdims=0),
        ]
    if len(nodes) > len(model.graph.node):
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(numpy_helper.from_array(np.array([axis]), name) for name, axis in _AXES.items())
    return model
