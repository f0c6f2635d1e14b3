"""Models that a Transformer refuses, and those that fail as they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import models
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lgin_edge import BackendError, ModelError, Transformer, geometry
from lgin_edge.inference.onnxruntime import OnnxBackend


def foreign_model(**metadata: str) -> bytes:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    other = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [other])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    helper.set_model_props(model, metadata)
    data: bytes = model.SerializeToString()
    return data


def mangled(change: Any, **options: Any) -> bytes:
    model = models.build(**options)
    change(model)
    data: bytes = model.SerializeToString()
    return data


def drop_output(model: onnx.ModelProto) -> None:
    del model.graph.output[1]


BAD_MODELS: dict[str, tuple[bytes, str]] = {
    "text": (b"I am not a model", "not an ONNX file"),
    "empty": (b"", "."),
    "noise": (np.random.default_rng(0).bytes(5000), "not an ONNX file"),
    "cut off": (models.build().SerializeToString()[:1500], "."),
    "foreign": (foreign_model(), "no description"),
    "described but foreign": (foreign_model(lgin=models.describe().to_json()), "expected the inputs"),
    "no description": (models.build(description=None).SerializeToString(), "no description"),
    "bad description": (models.build(description="{").SerializeToString(), "description"),
    "later format": (models.build(description=models.describe(format=5).to_json()).SerializeToString(), "format 5"),
    "other sizes": (models.build(description=models.describe(face_size=128).to_json()).SerializeToString(), "128"),
    "other groups": (
        models.build(description=models.describe(groups=models.GROUPS[:4]).to_json()).SerializeToString(),
        "age",
    ),
    "fixed batch": (models.build(batch=1).SerializeToString(), "dynamic N"),
    "an output less": (mangled(drop_output), "expected the outputs"),
    "another canonical face": (
        models.build(description=models.describe(template=((0.0, 0.0),) * 5).to_json()).SerializeToString(),
        "canonical face",
    ),
}


@pytest.mark.parametrize("name", BAD_MODELS)
def test_bad_models(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    data, message = BAD_MODELS[name]
    path = tmp_path / "bad.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=message) as caught:
        Transformer(path)
    assert str(path) in str(caught.value)
    assert capfd.readouterr() == ("", "")  # ONNX Runtime's own log is silent


def test_missing_models(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        Transformer(tmp_path / "missing.onnx")
    with pytest.raises(ModelError, match="no such model file"):
        Transformer(tmp_path)
    with pytest.raises(
        ModelError, match=r"no such engine; build one with lgin-edge build MODEL.onnx -o .*engine\.plan"
    ):
        Transformer(tmp_path / "engine.plan")


def test_providers(tiny_model: Path) -> None:
    with pytest.raises(BackendError, match="CPUExecutionProvider"):
        Transformer(tiny_model, providers=["NoSuchProvider"])
    with pytest.raises(BackendError, match="asked for"):
        Transformer(tiny_model, providers=[])


def test_a_run_that_fails(tiny_model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    backend = OnnxBackend(tiny_model)
    good = [np.zeros(shape, np.float32) for shape in ((1, 3, 64, 64), (1, 5, 3, 32, 32), (1, 5, 4), (1, 5))]
    backend.run(*good)
    with pytest.raises(BackendError, match="failed on 1 faces at 1 ages"):
        backend.run(np.zeros((1, 3, 8, 8), np.float32), *good[1:])
    assert capfd.readouterr() == ("", "")


def test_a_model_that_gives_too_many_rows(tmp_path: Path) -> None:
    def double(model: onnx.ModelProto) -> None:
        next(node for node in model.graph.node if node.output[0] == "patch_delta").output[0] = "once"
        model.graph.node.append(helper.make_node("Concat", ["once", "once"], ["patch_delta"], axis=0))

    path = tmp_path / "double.onnx"
    path.write_bytes(mangled(double))
    with Transformer(path) as t, pytest.raises(ModelError, match="for 1 faces"):
        t.age(np.full((160, 200, 3), 128, np.uint8), group=1, landmarks=geometry.TEMPLATE * 100 + (20, 30))
