"""What a model file costs, counted in its graph."""

from __future__ import annotations

import math

import onnx


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
