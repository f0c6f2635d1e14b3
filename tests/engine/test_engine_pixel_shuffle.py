"""DepthToSpace as a transposed convolution and back: the same bytes come out of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs onnx: ./bootstrap.sh test")

import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from lgin_edge.engine import pixel_shuffle

SEED = 3
CHANNELS = 3


def build(**attributes: Any) -> Any:
    """x [N, 12, H, W] -> y, by two shuffles that share their input."""
    nodes = [helper.make_node("DepthToSpace", ["x"], [y], name=y, **attributes) for y in ("a", "b")]
    nodes.append(helper.make_node("Add", ["a", "b"], ["y"]))
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", c, "H", "W"]) for name, c in (("x", 12), ("y", 3))
    )
    graph = helper.make_graph(nodes, "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def run(model: Any, x: Any) -> Any:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, {"x": x}
    )[0]


def test_there_and_back() -> None:
    model, origin = build(blocksize=2, mode="CRD"), build(blocksize=2, mode="CRD")
    pixel_shuffle.to_convolutions(model, CHANNELS)
    onnx.checker.check_model(model, full_check=True)
    assert {node.op_type for node in model.graph.node} == {"ConvTranspose", "Add"}
    x = np.random.default_rng(SEED).normal(size=(2, 12, 5, 7)).astype(np.float32)
    assert run(model, x).tobytes() == run(origin, x).tobytes()

    kept = model.SerializeToString()
    back = pixel_shuffle.from_convolutions(model)
    assert model.SerializeToString() == kept
    assert back == origin


def test_a_convolution_that_is_no_shuffle_stays() -> None:
    model = build(blocksize=2, mode="CRD")
    pixel_shuffle.to_convolutions(model, CHANNELS)
    (weights,) = model.graph.initializer
    values = numpy_helper.to_array(weights).copy()
    values[0, 0, 0, 1] = 0.5
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    assert pixel_shuffle.from_convolutions(model) == model


@pytest.mark.parametrize("attributes", [{"blocksize": 2, "mode": "DCR"}, {"blocksize": 2}])
def test_the_order_that_mixes_channels_is_refused(attributes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a: expected DepthToSpace with blocksize 2 and mode CRD"):
        pixel_shuffle.to_convolutions(build(**attributes), CHANNELS)
