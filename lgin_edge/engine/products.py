"""Products of matrices as sums, where one side has few numbers: rules for ``rewriting``.

For a matrix product TensorRT-RTX 1.7 first copies what it multiplies, padded or repeated, a megabyte a face in order to read it
once; and no product is computed in one kernel with what is around it.
"""

from __future__ import annotations

import numpy as np
import onnx

from .rewriting import Graph, Replacement, attributes

#: Most terms of a product that is written term by term.
FEW = 8


def of_one_code(graph: Graph, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """All products of one short code, the age, with matrices: one sum in the place of the first, and its parts."""
    if not _has_code(graph, node):
        return None
    several = [one for one in graph.readers[node.input[0]] if _has_code(graph, one)]
    matrices = [graph.constants[one.input[1]] for one in several]
    if all(one.shape[1] <= FEW for one in matrices):  # written term by term, they are no kernel of their own
        return None
    if several[0] is not node:
        return []
    new = Replacement(graph, node)
    product = new.add("Mul", new.add("Unsqueeze", node.input[0], [-1]), np.concatenate(matrices, 1))
    total = new.add("ReduceSum", product, [-2], keepdims=0)
    new.add("Split", total, [one.shape[1] for one in matrices], to=node.output[0], axis=-1)
    new.nodes[-1].output[:] = [one.output[0] for one in several]
    return new.nodes


def _has_code(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether a node multiplies [N, G, K] by a constant [K, C], K few."""
    if node.op_type != "MatMul":
        return False
    code, matrix = graph.shapes.get(node.input[0], []), graph.constants.get(node.input[1])
    return len(code) == 3 and not any(code[:2]) and matrix is not None and matrix.ndim == 2 and len(matrix) <= FEW


def of_few_terms(graph: Graph, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """[..., M, K] by [..., K, C], K few: term by term, which is no kernel of its own."""
    sides = _sides(graph, node)
    if sides is None:
        return None
    (left, right), (terms, columns) = sides, sides[1][-2:]
    # TensorRT does well with one small matrix.
    if not 1 < terms <= FEW or (len(right) == 2 and not 0 < columns <= FEW) or len(left) < 2:
        return None
    new = Replacement(graph, node)
    parts = [(new.part(node.input[0], i, -1), new.part(node.input[1], i, -2)) for i in range(terms)]
    new.total([new.add("Mul", *pair) for pair in parts], node.output[0])
    return new.nodes


def of_rows(graph: Graph, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """[..., 1, K] or [R, N, K], a row for each face, by [..., K, C]: one sum."""
    sides = _sides(graph, node)
    if sides is None:
        return None
    left, right = sides
    faces = len(left) == len(right) == 3 and not left[1] and node.input[1] in graph.constants
    if len(left) < 2 or not (left[-2] == 1 or faces):
        return None
    new = Replacement(graph, node)
    product = new.add("Mul", new.add("Unsqueeze", node.input[0], [-1]), new.add("Unsqueeze", node.input[1], [-3]))
    new.add("ReduceSum", product, [-2], to=node.output[0], keepdims=0)
    return new.nodes


def _sides(graph: Graph, node: onnx.NodeProto) -> tuple[list[int], list[int]] | None:
    """Shapes of both sides of a product, the second of matrices."""
    if node.op_type != "MatMul":
        return None
    left, right = (graph.shapes.get(name, []) for name in node.input)
    return (left, right) if len(right) > 1 else None


def of_channels_last(graph: Graph, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """A convolution of single pixels that come with channels last, as a product before they are turned: they need not be copied."""
    turned = graph.maker(node.input[0], "Transpose") if node.op_type == "Conv" else None
    kernel = graph.constants.get(node.input[1]) if turned is not None else None
    if turned is None or kernel is None or len(node.input) < 3 or attributes(turned).get("perm") != [0, 3, 1, 2]:
        return None
    settings = attributes(node)
    if (
        kernel.shape[2:] != (1, 1)
        or settings.get("group", 1) != 1
        or any(one != 1 for one in settings.get("strides", ()))
    ):
        return None
    new = Replacement(graph, node)
    product = new.add("MatMul", turned.input[0], kernel[:, :, 0, 0].T)
    new.add("Transpose", new.add("Add", product, node.input[2]), to=node.output[0], perm=[0, 3, 1, 2])
    return new.nodes
