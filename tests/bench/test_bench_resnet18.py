"""The yardstick of ``python -m benchmarks.stages``: written without onnx, so checked against it; and the scene that is measured on."""

from __future__ import annotations

import math
from contextlib import ExitStack

import numpy as np
import onnx
import pytest

from benchmarks.stages import measure, resnet18, scene
from lgin_edge import CenterFace, geometry

# Of ResNet-18: 11.69 M parameters, of which 4,800 are the shifts of batch norms, here biases; the scales are folded away.
PARAMETERS = 11_684_712


@pytest.fixture(scope="module")
def network() -> onnx.ModelProto:
    return onnx.load_from_string(resnet18.resnet18())


def test_it_is_a_valid_model(network: onnx.ModelProto) -> None:
    onnx.checker.check_model(network, full_check=True)
    (image,), (logits,) = network.graph.input, network.graph.output
    assert [dim.dim_value for dim in image.type.tensor_type.shape.dim] == [1, 3, 256, 256]
    assert [dim.dim_value for dim in logits.type.tensor_type.shape.dim] == [1, 1000]


def test_it_is_a_resnet18(network: onnx.ModelProto) -> None:
    weights = {tensor.name: tuple(tensor.dims) for tensor in network.graph.initializer}
    assert sum(math.prod(dims) for dims in weights.values()) == PARAMETERS
    graph = onnx.shape_inference.infer_shapes(network).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.output)
    }
    kinds = [node.op_type for node in graph.node]
    assert (kinds.count("Conv"), kinds.count("Add"), kinds.count("MaxPool")) == (20, 8, 1)
    macs = 0
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm"):
            places = math.prod(shapes[node.output[0]][2:])
            macs += math.prod(weights[node.input[1]]) * places
    assert macs / 1e9 == pytest.approx(resnet18.GMAC, abs=0.005)


def test_it_keeps_its_activations_near_one(network: onnx.ModelProto) -> None:
    import onnxruntime

    # Every sum of a residual branch as an output too: neither overflow nor numbers so small that arithmetic slows down.
    for node in network.graph.node:
        if node.op_type == "Add":
            network.graph.output.append(onnx.ValueInfoProto(name=node.output[0]))
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    for array in session.run(None, {"image": resnet18.image()}):
        assert np.isfinite(array).all()
        assert 0.1 < array.std() < 10


def test_it_answers_alike_on_any_threads() -> None:
    with ExitStack() as stack:
        sessions = resnet18.Sessions(stack)
        candidate = sessions.candidate(2)
        assert candidate.check(candidate.answer()).startswith("within")
        with pytest.raises(measure.WrongAnswer):
            candidate.check(candidate.answer() + 1)


def test_frame_is_the_same_everywhere() -> None:
    found = scene.Scene(256, 128, 5)
    assert found.frame.shape == (720, 1280, 3)
    assert scene.digest([found.frame]) == "7a7f331bd142eac0b2a277e03d9e12fb547f15f15e331dd9f314db0542ab2310"
    assert scene.digest(found.engine_inputs()) == "d730b9276234ef921fb334bb706efe6f160a3f99dfc9b543eadf7b3d2ae72bb7"
    assert not found.frame.flags.writeable


def test_detector_finds_the_drawn_face() -> None:
    found = scene.Scene(256, 128, 5)
    (face,) = CenterFace()(found.frame)
    assert measure.check_landmarks(face.landmarks, found.landmarks, measure.DETECTED)


def test_scene_places_its_face_as_the_geometry_does() -> None:
    found = scene.Scene(64, 32, 5)
    assert np.linalg.norm(found.face.affine[:, 0]) == pytest.approx(scene.FACE)
    np.testing.assert_allclose(geometry.apply(found.face.affine, (0.5, 0.5)), scene.CENTER)
    np.testing.assert_allclose(found.face.boxes, geometry.REGION_BOXES, atol=1e-9)
    corners = geometry.apply(found.face.affine, [(0, 0), (0, 1), (1, 0), (1, 1)])
    rows, columns = found.surroundings
    assert columns.start < corners[:, 0].min() < corners[:, 0].max() < columns.stop
    assert rows.start < corners[:, 1].min() < corners[:, 1].max() < rows.stop


def test_engine_inputs_repeat_one_face() -> None:
    face, patches, boxes, age = scene.Scene(64, 32, 5).engine_inputs(faces=2, ages=6)
    assert (face.shape, patches.shape, boxes.shape) == ((2, 3, 64, 64), (2, 5, 3, 32, 32), (2, 5, 4))
    assert age.shape == (12, 5)
    np.testing.assert_array_equal(age[:6], age[6:])
    np.testing.assert_array_equal(age.sum(axis=1), 1)
    assert age[5].argmax() == 4
    np.testing.assert_array_equal(face[0], face[1])
    assert np.abs(face).max() <= 1


def test_digest_tells_shape_and_type() -> None:
    a = np.zeros((2, 3), np.float32)
    assert scene.digest([a]) == scene.digest([a.copy("F")])
    assert len({scene.digest([b]) for b in (a, a.T, a.astype(np.int32), a + 1, a.reshape(6))}) == 5
