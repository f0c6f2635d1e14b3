"""A model in float16: its types, how near it stays, and what of it stays float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import models
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

onnx = pytest.importorskip("onnx", reason="lowering needs onnx: ./bootstrap.sh test")
pytest.importorskip("onnx_graphsurgeon", reason="lowering needs onnx-graphsurgeon: ./bootstrap.sh test,tensorrt-rtx")

import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from lgin_edge import ModelError, Transformer, geometry, transformer
from lgin_edge.edits import Edits
from lgin_edge.engine import fp16
from lgin_edge.engine.fp16 import description_of
from lgin_edge.faces import FaceBatch
from lgin_edge.kernels import FacePlan, region_crop, region_paste

#: dB that float16 must keep: of the edits (peak 2), and of the picture's pixels that change (peak 255).
RESIDUAL_DB, PICTURE_DB = 60.0, 50.0
FACES = 2

Model = Any  # onnx.ModelProto


@pytest.fixture(scope="module")
def full() -> Model:
    return onnx.load(transformer.WEIGHTS)


@pytest.fixture(scope="module")
def lowered(full: Model) -> tuple[Model, float]:
    return fp16.lower(full)


def types_of(model: Model) -> dict[str, int]:
    """The type of every tensor that is no constant."""
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    values = (*inferred.input, *inferred.output, *inferred.value_info)
    return {v.name: v.type.tensor_type.elem_type for v in values}


def check_types(model: Model) -> None:
    """Strongly typed, and no Cast too many."""
    onnx.checker.check_model(model, full_check=True)
    types = types_of(model) | {t.name: t.data_type for t in model.graph.initializer}
    casts = [node for node in model.graph.node if node.op_type == "Cast"]
    for node in model.graph.node:
        if node.op_type not in ("Cast", "Shape", "Resize", "Reshape", "Expand"):
            floats = {types[name] for name in (*node.input, *node.output) if name} - {
                TensorProto.INT64,
                TensorProto.INT8,
            }
            assert len(floats) <= 1, f"{node.op_type} {node.name}"
    assert len({(node.input[0], node.attribute[0].i) for node in casts}) == len(casts)
    assert all(types[node.input[0]] != types[node.output[0]] for node in casts)
    readers = {name for node in model.graph.node for name in node.input} | {v.name for v in model.graph.output}
    assert readers >= set(types) - {v.name for v in model.graph.input}


def test_types(lowered: tuple[Model, float]) -> None:
    model, _ = lowered
    check_types(model)
    half, full = TensorProto.FLOAT16, TensorProto.FLOAT
    types = types_of(model)
    assert {v.name: types[v.name] for v in (*model.graph.input, *model.graph.output)} == {
        "face": half,
        "patches": half,
        "boxes": full,
        "age": full,
    } | dict.fromkeys(description_of(model).outputs, half)
    kernels = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    stored = {t.name: t.data_type for t in model.graph.initializer}
    assert {stored[name] for name in kernels} == {half}


def test_what_is_kept_is_measured(full: Model, lowered: tuple[Model, float]) -> None:
    model, kept = lowered
    about = description_of(model)
    assert (about.precision, about.fp32_islands) == ("fp16", ("boxes",))
    assert description_of(full).precision == "fp32"
    assert kept > RESIDUAL_DB
    # Other faces than those that it was measured with.
    samples = fp16.sample_inputs(about, seed=7)
    assert fp16.psnr(full, model, samples) > RESIDUAL_DB
    with pytest.raises(ModelError, match="expected a model of precision 'fp32', got 'fp16'"):
        fp16.lower(model)


def shifted_boxes() -> Model:
    """A model in which float16 ruins only what depends on the boxes: (boxes + 1000) - 1000."""
    model = models.build()
    graph = model.graph
    for name, value in (("thousand", 1000.0), ("some", 0.1)):
        graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
    for node in graph.node:
        if node.op_type == "ReduceSum":
            node.input[0] = "back"
        if "box_sum" in node.input:
            node.input[1] = "some"
    graph.node.insert(0, helper.make_node("Sub", ["far", "thousand"], ["back"]))
    graph.node.insert(0, helper.make_node("Add", ["boxes", "thousand"], ["far"]))
    return model


def test_positions_stay_float32_and_what_loses_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = shifted_boxes()
    _, kept = fp16.lower(model)
    monkeypatch.setattr(fp16, "ISLAND", "face")  # which stays float32 for a few nodes, where the boxes ruin the rest
    monkeypatch.setattr(fp16, "LEAST_PSNR_DB", kept - 10)
    with pytest.raises(
        ModelError, match=r"in float16 the edits keep [\d.]+ dB of at least .*: keep this model in float32"
    ):
        fp16.lower(model)


def test_weights_beyond_float16_are_refused() -> None:
    model = models.build(face_gain=1e5)
    with pytest.raises(ModelError, match="weights 'face_gain' reach 100000, float16 ends at 65504"):
        fp16.lower(model)


def test_small_weights_are_kept_as_far_as_float16_goes() -> None:
    model, _ = fp16.lower(models.build(face_gain=3e-7, patch_gain=1e-9))
    kept = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert kept["face_gain"] == np.float16(3e-7) > 0
    assert kept["patch_gain"] == np.finfo(np.float16).smallest_subnormal


def test_rounded_rounds_every_value() -> None:
    """As NumPy does it, where ONNX Runtime on a CPU rounds only in places."""
    rng = np.random.default_rng(3)
    a, b = (rng.normal(size=(4, 5)).astype(np.float16) for _ in range(2))
    nodes = [
        helper.make_node("Mul", ["x", "a"], ["xa"]),
        helper.make_node("Add", ["xa", "b"], ["sum"]),
        helper.make_node("Transpose", ["sum"], ["turned"], perm=[1, 0]),
        helper.make_node("Mul", ["turned", "turned"], ["y"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "test",
        [value("x", TensorProto.FLOAT16, [4, 5])],
        [value("y", TensorProto.FLOAT16, [5, 4])],
        [numpy_helper.from_array(a, "a"), numpy_helper.from_array(b, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    x = rng.normal(size=(4, 5)).astype(np.float32)
    session = onnxruntime.InferenceSession(fp16.rounded(model).SerializeToString())
    (y,) = session.run(None, {"x": x})
    expected = ((x.astype(np.float16) * a + b).T) ** 2
    assert expected.dtype == np.float16
    np.testing.assert_array_equal(y, expected.astype(np.float32))


def test_it_is_a_model_file(lowered: tuple[Model, float], bundled: Transformer, tmp_path: Path) -> None:
    """ONNX Runtime runs it, and gives the picture that the float32 model gives."""
    onnx.save(lowered[0], tmp_path / "half.onnx")
    picture = np.random.default_rng(5).integers(60, 190, (300, 300, 3), dtype=np.uint8)
    landmarks = geometry.TEMPLATE * 260 + 20
    with Transformer(tmp_path / "half.onnx") as t:
        have = t.age(picture, group=4, landmarks=landmarks)
    want = bundled.age(picture, group=4, landmarks=landmarks)
    assert (want != picture).any()
    assert decibels(have, want, picture) > PICTURE_DB


def decibels(have: npt.NDArray[np.uint8], want: npt.NDArray[np.uint8], before: npt.NDArray[np.uint8]) -> float:
    """PSNR with peak 255 over the pixels that ``want`` changes."""
    changed = (want != before).any(axis=-1)
    error = np.mean((have[changed].astype(float) - want[changed]) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def test_real_faces(
    full: Model,
    lowered: tuple[Model, float],
    portraits: list[tuple[Path, npt.NDArray[np.float64]]],
) -> None:
    model, _ = lowered
    about = description_of(full)
    sessions = [onnxruntime.InferenceSession(m.SerializeToString()) for m in (full, fp16.rounded(model))]
    samples = []
    for path, landmarks in portraits[:: len(portraits) // FACES][:FACES]:
        picture = np.asarray(Image.open(path).convert("RGB"))
        affine = geometry.fit_similarity(landmarks)
        boxes = geometry.region_boxes(landmarks, affine)
        plan = FacePlan.of(picture, FaceBatch(affine[None], boxes[None]), about.views)
        face, patches = region_crop(plan, picture)
        age = np.eye(len(about.groups), dtype=np.float32)[None]
        sample = {"face": face, "patches": patches, "boxes": boxes[None].astype(np.float32), "age": age}
        samples.append(sample)
        answers = [session.run(list(about.outputs), sample) for session in sessions]
        for group in range(len(about.groups)):
            want, have = (
                region_paste(
                    plan, picture, Edits(*(part if name == "place" else part[:, group] for name, part in parts))
                )
                for parts in (list(zip(about.outputs, one, strict=True)) for one in answers)
            )
            assert decibels(have, want, picture) > PICTURE_DB, f"{path.name}, group {group}"
    # Bytes are rounded, which hides much of the difference and doubles the rest: so also before that.
    assert fp16.psnr(full, model, samples) > RESIDUAL_DB


@pytest.mark.slow
def test_tensorrt_rtx_takes_it(lowered: tuple[Model, float]) -> None:
    """With N and G dynamic, and inputs of the right types. (test_engine_build.py builds it.)"""
    trt = pytest.importorskip("tensorrt_rtx", reason="needs TensorRT-RTX: ./bootstrap.sh test,tensorrt-rtx")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse(lowered[0].SerializeToString())
    assert parsed, [str(parser.get_error(i)) for i in range(parser.num_errors)]
    half, full = trt.DataType.HALF, trt.DataType.FLOAT
    types = {"face": half, "patches": half, "boxes": full, "age": full}
    for i in range(network.num_inputs):
        value = network.get_input(i)
        assert value.dtype == types.pop(value.name)
        assert value.shape[0] == -1
    assert not types
