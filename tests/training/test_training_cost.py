"""Costs: of a run from what it logged, of a model from its graph."""

import json

import pytest

pytest.importorskip("torch", reason="training needs torch: pip install -e .[train]")
onnx = pytest.importorskip("onnx", reason="counting needs onnx: pip install -e .[train]")

import torch
from onnx import TensorProto, helper, numpy_helper

from training.evaluation import cost


def logged(folder, rows):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"batch": 8, "classifier_batch": 32}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_cost_of_a_run_is_what_its_rows_add_up_to(tmp_path):
    rows = [
        {"phase": "classifier", "step": 50, "images_per_s": 80.0},  # 20 s
        {"phase": "C on held-out faces", "step": 50, "mae_years": 4.0},
        {"phase": "supervised", "step": 50, "images_per_s": 10.0},  # 40 s
        {"phase": "supervised", "step": 100, "images_per_s": 20.0},  # 20 s
        {
            "phase": "supervised",
            "step": 90,
            "images_per_s": 20.0,
        },  # resumed from an earlier checkpoint: counted already
        {"phase": "adversarial", "step": 10, "images_per_s": 8.0},  # 10 s
    ]
    found = cost.of_run(logged(tmp_path, rows))
    assert found.steps == {"classifier": 50, "supervised": 100, "adversarial": 10}
    assert found.images == {"classifier": 1600, "supervised": 800, "adversarial": 80}
    assert found.hours == pytest.approx(90 / 3600)


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        cost.of_run(tmp_path)
    with pytest.raises(ValueError, match="not the config and metrics"):
        cost.of_run(logged(tmp_path, [{"images_per_s": 1.0}]))


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
