"""What an engine's graph says in other operators: the same numbers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs onnx: ./bootstrap.sh test")

import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from lgin_edge.engine import fusable


def test_products_of_a_row_or_of_few_terms_and_nearest_resizes_mean_the_same() -> None:
    """Whole numbers, so that the order of a sum does not matter."""
    rng = np.random.default_rng(3)
    values = {"row": (2, 4, 1, 9), "matrix": (2, 1, 9, 7), "rows": (2, 4, 3, 7), "picture": (2, 3, 5, 4)}
    inputs = {name: rng.integers(-9, 9, shape).astype(np.float32) for name, shape in values.items()}
    weights = {"wide": (7, 9), "narrow": (7, 2), "maps": (4, 7, 30)}
    constants = [
        *(
            numpy_helper.from_array(rng.integers(-9, 9, shape).astype(np.float32), name)
            for name, shape in weights.items()
        ),
        *(numpy_helper.from_array(np.array([1, 1, y, x], np.float32), f"by{y}{x}") for y, x in ((2, 2), (2, 1))),
    ]
    asymmetric = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    nodes = [
        *(helper.make_node("Neg", [name], [f"-{name}"]) for name in values),
        helper.make_node("MatMul", ["-row", "-matrix"], ["one_row"]),
        helper.make_node("MatMul", ["-rows", "narrow"], ["few_columns"]),
        helper.make_node("MatMul", ["-rows", "maps"], ["few_terms"]),
        helper.make_node("MatMul", ["-rows", "wide"], ["kept"]),
        helper.make_node("Resize", ["-picture", "", "by22"], ["doubled"], **asymmetric),
        helper.make_node("Resize", ["-picture", "", "by21"], ["stretched"], **asymmetric),
        helper.make_node("Resize", ["-picture", "", "by22"], ["smooth"], mode="linear"),
    ]
    ins = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape[1:]]) for name, shape in values.items()]
    shapes = {
        "one_row": [4, 1, 7],
        "few_columns": [4, 3, 2],
        "few_terms": [4, 3, 30],
        "kept": [4, 3, 9],
        "doubled": [3, 10, 8],
        "stretched": [3, 10, 4],
        "smooth": [3, 10, 8],
    }
    outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]) for name, shape in shapes.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ins, outs, constants), opset_imports=[helper.make_opsetid("", 20)], ir_version=9
    )
    changed = fusable.rewritten(model)
    onnx.checker.check_model(changed, full_check=True)
    kinds = Counter(node.op_type for node in changed.graph.node)
    assert (kinds["MatMul"], kinds["ReduceSum"], kinds["Resize"], kinds["Expand"]) == (1, 3, 2, 1)
    results = [
        onnxruntime.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, inputs)
        for one in (model, changed)
    ]
    for have, want in zip(*results, strict=True):
        np.testing.assert_array_equal(have, want)
