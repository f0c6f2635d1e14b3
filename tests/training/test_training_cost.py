"""What a model costs, from its graph."""

import pytest

pytest.importorskip("torch", reason="training needs torch: pip install -e .[train]")
onnx = pytest.importorskip("onnx", reason="counting needs onnx: pip install -e .[train]")

import torch
from onnx import TensorProto, helper, numpy_helper

from training.evaluation import cost


def test_macs_of_a_graph_by_hand():
    """A convolution of stride 2 with two groups, then a product, at a batch that the graph leaves open."""
    weights = {"w": torch.zeros(6, 2, 3, 3), "m": torch.zeros(5, 7)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1], group=2),
        helper.make_node("MatMul", ["y", "m"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 10, 10])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 6, 5, 7])],
        [numpy_helper.from_array(value.numpy(), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph)
    assert cost.parameters(model) == 6 * 2 * 9 + 35
    by_hand = 6 * 5 * 5 * 2 * 9 + 6 * 5 * 7 * 5
    assert cost.macs(model) == by_hand
    assert cost.macs(model, free=3) == 3 * by_hand
