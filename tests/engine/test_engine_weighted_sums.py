"""Products of a row with a matrix as sums."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs onnx: ./bootstrap.sh test")

import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from lgin_edge.engine import weighted_sums


def test_only_products_of_a_row_are_sums_and_mean_the_same() -> None:
    """[N, G, 1, 5] with [N, 1, 5, 7], and [N, G, 3, 7] with [7, 2]; whole numbers, so that the order of a sum does not matter."""
    rng = np.random.default_rng(3)
    values = {"row": (2, 4, 1, 5), "matrix": (2, 1, 5, 7), "rows": (2, 4, 3, 7)}
    inputs = {name: rng.integers(-9, 9, shape).astype(np.float32) for name, shape in values.items()}
    weights = numpy_helper.from_array(rng.integers(-9, 9, (7, 2)).astype(np.float32), "weights")
    nodes = [
        helper.make_node("Neg", ["row"], ["negative"]),
        helper.make_node("Neg", ["matrix"], ["negative_matrix"]),
        helper.make_node("MatMul", ["negative", "negative_matrix"], ["one"]),
        helper.make_node("MatMul", ["rows", "weights"], ["several"]),
    ]
    ins = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", "G" if shape[1] > 1 else 1, *shape[2:]])
        for name, shape in values.items()
    ]
    shapes = {"one": ["N", "G", 1, 7], "several": ["N", "G", 3, 2]}
    outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ins, outs, [weights]), opset_imports=[helper.make_opsetid("", 20)], ir_version=9
    )
    changed = weighted_sums.from_products(model)
    assert [node.op_type for node in changed.graph.node].count("MatMul") == 1
    onnx.checker.check_model(changed, full_check=True)
    results = [
        onnxruntime.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, inputs)
        for one in (model, changed)
    ]
    for have, want in zip(*results, strict=True):
        np.testing.assert_array_equal(have, want)
