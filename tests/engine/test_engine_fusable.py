"""What an engine's graph says in other operators: the same numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

onnx = pytest.importorskip("onnx", reason="needs onnx: ./bootstrap.sh test")

import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from lgin_edge import transformer
from lgin_edge.engine import fusable, maps

node = helper.make_node
Array = npt.NDArray[Any]


def whole(*shape: int) -> npt.NDArray[np.float32]:
    """Whole numbers, so that the order of a sum does not matter."""
    return np.random.default_rng(sum(shape)).integers(-9, 9, shape).astype(np.float32)


def model_of(
    nodes: list[Any], inputs: dict[str, Array], outputs: dict[str, list[Any]], constants: dict[str, Array]
) -> Any:
    """Inputs [N, ...], of which "code" is [N, G, K]."""
    sides = {name: ["N", *array.shape[1:]] for name, array in inputs.items()}
    if "code" in sides:
        sides["code"][1] = "G"
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in some.items()]
        for some in (sides, outputs)
    ]
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", *values, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def answers(model: Any, inputs: dict[str, Array]) -> list[Array]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: list[Array] = session.run(None, inputs)
    return result


def check(model: Any, inputs: dict[str, Array], tolerance: float = 0) -> Counter[str]:
    """The kinds of nodes that it is rewritten to, which must mean the same."""
    changed = fusable.rewritten(model)
    onnx.checker.check_model(changed, full_check=True)
    read = {name for one in changed.graph.node for name in one.input}
    assert read >= {one.name for one in changed.graph.initializer}
    for have, want in zip(answers(changed, inputs), answers(model, inputs), strict=True):
        np.testing.assert_allclose(have, want, rtol=0, atol=tolerance)
    return Counter(one.op_type for one in changed.graph.node)


def test_products_of_a_row_or_of_few_terms() -> None:
    inputs = {"row": whole(2, 4, 1, 9), "matrix": whole(2, 1, 9, 7), "rows": whole(2, 4, 3, 7), "few": whole(2, 3, 9)}
    constants = {"wide": whole(7, 9), "narrow": whole(7, 2), "maps": whole(4, 7, 30), "layers": whole(2, 9, 5)}
    constants["more"] = whole(2, 9, 3)
    nodes = [
        node("MatMul", ["row", "matrix"], ["one_row"]),
        node("MatMul", ["rows", "narrow"], ["few_columns"]),
        node("MatMul", ["rows", "maps"], ["few_terms"]),
        node("MatMul", ["rows", "wide"], ["kept"]),
        node("Transpose", ["few"], ["turned"], perm=[1, 0, 2]),
        node("Slice", ["turned", "start", "two"], ["regions"]),
        node("MatMul", ["regions", "layers"], ["a_row_a_face"]),
        node("Concat", ["layers", "more"], ["joined"], axis=-1),
        node("MatMul", ["regions", "joined"], ["by_joined"]),
    ]
    constants |= {"start": np.array([0]), "two": np.array([2])}
    outputs: dict[str, list[Any]] = {
        "one_row": ["N", 4, 1, 7], "few_columns": ["N", 4, 3, 2], "few_terms": ["N", 4, 3, 30], "kept": ["N", 4, 3, 9],
        "a_row_a_face": [2, "N", 5], "by_joined": [2, "N", 8],
    }  # fmt: skip
    kinds = check(model_of(nodes, inputs, outputs, constants), inputs)
    assert (kinds["MatMul"], kinds["ReduceSum"], kinds["Add"]) == (1, 3, 12)


def test_products_of_one_code_are_one() -> None:
    inputs = {"code": whole(2, 3, 7)}
    constants = {"a": whole(7, 40), "b": whole(7, 5), "c": whole(7, 96)}
    nodes = [node("MatMul", ["code", name], [f"by_{name}"]) for name in constants]
    outputs: dict[str, list[Any]] = {f"by_{name}": ["N", "G", one.shape[1]] for name, one in constants.items()}
    kinds = check(model_of(nodes, inputs, outputs, constants), inputs)
    assert kinds == {"Unsqueeze": 1, "Mul": 1, "ReduceSum": 1, "Split": 1}


def test_products_of_one_code_with_small_matrices_are_term_by_term() -> None:
    inputs = {"code": whole(2, 3, 7)}
    constants = {"a": whole(7, 1), "b": whole(7, 7)}
    nodes = [node("MatMul", ["code", name], [f"by_{name}"]) for name in constants]
    outputs: dict[str, list[Any]] = {f"by_{name}": ["N", "G", one.shape[1]] for name, one in constants.items()}
    kinds = check(model_of(nodes, inputs, outputs, constants), inputs)
    assert (kinds["MatMul"], kinds["ReduceSum"], kinds["Add"]) == (0, 0, 12)


def test_what_comes_with_channels_last_is_not_copied() -> None:
    inputs = {"last": whole(2, 4, 6, 3)}
    constants = {"kernel": whole(5, 3, 1, 1), "bias": whole(5)}
    nodes = [
        node("Transpose", ["last"], ["first"], perm=[0, 3, 1, 2]),
        node("Conv", ["first", "kernel", "bias"], ["mixed"], kernel_shape=[1, 1]),
    ]
    outputs: dict[str, list[Any]] = {"mixed": ["N", 5, 4, 6]}
    kinds = check(model_of(nodes, inputs, outputs, constants), inputs)
    assert kinds == {"MatMul": 1, "Add": 1, "Transpose": 1}


def test_small_work_on_maps() -> None:
    inputs = {"maps": whole(2, 3, 6, 4), "one": whole(2, 1, 6, 4), "two": whole(2, 2, 6, 4), "odd": whole(2, 3, 5, 4)}
    inputs |= {"blocks": whole(2, 2, 16, 8), "large": whole(2, 1, 9, 9)}
    constants = {
        "by22": np.array([1, 1, 2, 2], np.float32), "by21": np.array([1, 1, 2, 1], np.float32), "channel": np.array([1]),
        "sobel": np.array([[[[1, 2, 1], [0, 0, 0], [-1, -2, -1]]], [[[1, 0, -1], [2, 0, -2], [1, 0, -1]]]], np.float32),
        "turns": whole(8, 2, 1, 1), "biased": whole(2), "sides": np.array([2, 3]),
        "row": whole(2, 1, 1, 7), "column": whole(2, 1, 7, 1), "many": whole(1, 1, 2, 5), "shared": whole(4, 1, 1, 1),
    }  # fmt: skip
    asymmetric = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    nodes = [
        node("Resize", ["maps", "", "by22"], ["doubled"], **asymmetric),
        node("Resize", ["maps", "", "by21"], ["stretched"], **asymmetric),
        node("Resize", ["maps", "", "by22"], ["smooth"], mode="linear"),
        node("AveragePool", ["maps"], ["halved"], kernel_shape=[2, 2], strides=[2, 2]),
        node("AveragePool", ["odd"], ["cut"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["one", "sobel"], ["slopes"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Conv", ["two", "turns"], ["directions"], kernel_shape=[1, 1]),
        node("Conv", ["one", "sobel", "biased"], ["kept"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("ReduceSum", ["maps", "channel"], ["energy"]),
        node("AveragePool", ["blocks"], ["means"], kernel_shape=[4, 8], strides=[4, 8]),
        node("Conv", ["blocks", "row"], ["rows"], kernel_shape=[1, 7], strides=[1, 2], pads=[0, 3, 0, 3], group=2),
        node("Conv", ["blocks", "column"], ["columns"], kernel_shape=[7, 1], strides=[2, 1], group=2),
        node("AveragePool", ["large"], ["one_block"], kernel_shape=[9, 9], strides=[9, 9]),
        node("Conv", ["large", "many"], ["of_many"], kernel_shape=[2, 5]),
        node("Conv", ["blocks", "shared"], ["of_groups"], kernel_shape=[1, 1], group=2),
        node("MaxPool", ["maps"], ["dilated"], kernel_shape=[3, 3], pads=[1] * 4),
        node("Neg", ["dilated"], ["negated"]),
        node("MaxPool", ["negated"], ["eroded"], kernel_shape=[3, 5], pads=[1, 2, 1, 2]),
        node("ReduceMean", ["blocks", "sides"], ["mean"], keepdims=0),
    ]
    outputs: dict[str, list[Any]] = {
        "doubled": ["N", 3, 12, 8], "stretched": ["N", 3, 12, 4], "smooth": ["N", 3, 12, 8], "halved": ["N", 3, 3, 2],
        "cut": ["N", 3, 2, 2], "slopes": ["N", 2, 6, 4], "directions": ["N", 8, 6, 4], "kept": ["N", 2, 6, 4],
        "energy": ["N", 1, 6, 4], "means": ["N", 2, 4, 1], "rows": ["N", 2, 16, 4],
        "columns": ["N", 2, 5, 8], "of_groups": ["N", 4, 16, 8], "eroded": ["N", 3, 6, 4], "mean": ["N", 2],
        "one_block": ["N", 1, 1, 1], "of_many": ["N", 1, 8, 5],
    }  # fmt: skip
    kinds = check(model_of(nodes, inputs, outputs, constants), inputs)
    assert (kinds["Resize"], kinds["Expand"], kinds["AveragePool"], kinds["Conv"]) == (2, 1, 2, 3)
    assert (kinds["ReduceSum"], kinds["MaxPool"], kinds["ReduceMean"]) == (0, 1, 1)


def test_maps_that_are_read_by_matrices() -> None:
    """Means of three are no whole numbers."""
    inputs = {"maps": whole(2, 3, 12, 12), "stack": whole(2, 2, 3, 12, 12)}
    window, larger = maps._means(12), maps._enlarging(48, 12)
    readers = {"window": window, "larger": larger, "spread": larger @ window, "other": np.eye(12)[::-1]}
    constants = {name: one.astype(np.float32) for name, one in readers.items()}
    nodes, outputs = [], {}
    for name, one in readers.items():
        nodes.append(node("Transpose", [name], [f"{name}.T"], perm=[1, 0]))
        for source in inputs:
            nodes.append(node("MatMul", [name, source], [f"{name} {source}"]))
            nodes.append(node("MatMul", [f"{name} {source}", f"{name}.T"], [f"{name} {source} read"]))
            outputs[f"{name} {source} read"] = ["N", *inputs[source].shape[1:-2], len(one), len(one)]
    kinds = check(model_of(nodes, inputs, outputs, constants), inputs, tolerance=1e-5)
    assert (kinds["MatMul"], kinds["AveragePool"], kinds["Resize"]) == (4, 4, 4)


def test_the_bundled_model_means_the_same() -> None:
    """At all ages of two faces, in float32."""
    pytest.importorskip(
        "onnx_graphsurgeon", reason="made-up faces need onnx-graphsurgeon: ./bootstrap.sh test,tensorrt-rtx"
    )
    from lgin_edge.engine import fp16

    model = onnx.load(transformer.WEIGHTS)
    samples = fp16.sample_inputs(fp16.description_of(model))
    inputs = {name: np.concatenate([sample[name] for sample in samples]) for name in samples[0]}
    changed = fusable.rewritten(model)
    for have, want in zip(answers(changed, inputs), answers(model, inputs), strict=True):
        np.testing.assert_allclose(have, want, rtol=0, atol=3e-6 * max(1.0, float(abs(want).max())))
