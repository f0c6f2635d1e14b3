"""Five branches become one, with the same numbers out; what cannot be merged is refused, saying where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import numpy as np
import numpy.typing as npt
import pytest

onnx = pytest.importorskip("onnx", reason="fusing needs onnx: ./bootstrap.sh test")
pytest.importorskip("onnx_graphsurgeon", reason="fusing needs onnx-graphsurgeon: ./bootstrap.sh test,tensorrt-rtx")

import onnxruntime
from onnx import helper, numpy_helper

from lgin_edge import ModelError, geometry, transformer
from lgin_edge.engine.fuse import FuseReport, fuse

#: Share of a residual's range by which the fused model may differ.
TOLERANCE = 1e-5
SEED = 11
#: Convolutions of one local generator: stem, down, two residual blocks of two, reduce, decode, head.
LAYERS = 9

#: Small models of earlier releases; until 0.5 each local generator spread its pixels itself.
RELEASED = Path(__file__).parent.parent / "data" / "models"

Model = Any  # onnx.ModelProto
Array = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def model() -> Model:
    return onnx.load(transformer.WEIGHTS)


@pytest.fixture(scope="module")
def fused(model: Model) -> tuple[Model, FuseReport]:
    return fuse(model)


@pytest.fixture
def spoilt(model: Model) -> Model:
    """A copy, to be changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def session(model: Model) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def feeds(model: Model, faces: int, age: Array, rng: np.random.Generator) -> dict[str, Array]:
    """Random pictures and boxes jittered about the template, of the sizes that the model's inputs have."""
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim[1:]] for v in model.graph.input}
    pictures = {name: rng.uniform(-1, 1, (faces, *shapes[name])).astype(np.float32) for name in ("face", "patches")}
    boxes = geometry.REGION_BOXES + rng.uniform(-0.05, 0.05, (faces, 5, 4))
    return {**pictures, "boxes": boxes.astype(np.float32), "age": age}


def worst_difference(model: Model, other: Model) -> float:
    """Largest difference of the two models' residuals as a share of their range: every age group, mixtures, M = N G."""
    rng = np.random.default_rng(SEED)
    groups = model.graph.input[3].type.tensor_type.shape.dim[1].dim_value
    cases = [(1, row[None]) for row in np.eye(groups)]
    cases += [(n, rng.dirichlet(np.ones(groups), n * g)) for n, g in ((1, 1), (2, 1), (3, 1), (1, 5), (2, 3), (3, 2))]
    first, second = session(model), session(other)
    worst = 0.0
    for faces, age in cases:
        feed = feeds(model, faces, age.astype(np.float32), rng)
        for a, b in zip(first.run(None, feed), second.run(None, feed), strict=True):
            assert a.shape == b.shape == (len(age), *a.shape[1:])
            worst = max(worst, float(np.abs(a - b).max() / max(np.ptp(a), 1e-6)))
    return worst


def kinds(model: Model, op: str) -> list[Any]:
    return [node for node in model.graph.node if node.op_type == op]


def attribute(node: Any, name: str) -> Any:
    return next(helper.get_attribute_value(a) for a in node.attribute if a.name == name)


def test_the_same_numbers_come_out(model: Model, fused: tuple[Model, FuseReport]) -> None:
    assert worst_difference(model, fused[0]) < TOLERANCE


@pytest.mark.parametrize("file", sorted(RELEASED.glob("lgin-0.?.onnx")), ids=lambda file: file.stem)
def test_models_of_every_release_can_be_fused(file: Path) -> None:
    model = onnx.load(file)
    result, report = fuse(model)
    assert report.nodes_after < 0.55 * report.nodes_before
    assert worst_difference(model, result) < TOLERANCE


def test_one_convolution_a_layer(model: Model, fused: tuple[Model, FuseReport]) -> None:
    result, report = fused
    groups = [attribute(node, "group") for node in kinds(result, "Conv")]
    assert groups.count(5) == LAYERS
    assert set(groups) == {1, 5}
    assert report.convolutions_before == len(kinds(model, "Conv")) == len(groups) + 4 * LAYERS
    assert report.convolutions_after == len(groups)


def test_no_branch_is_left(model: Model, fused: tuple[Model, FuseReport]) -> None:
    result, report = fused
    assert (report.nodes_before, report.nodes_after) == (len(model.graph.node), len(result.graph.node))
    assert report.nodes_after < 0.55 * report.nodes_before
    assert not report.already_fused
    assert sum(report.after.values()) == len(result.graph.node)
    # Once for the whole face and once for the five regions; their stacks are no more.
    assert [len(kinds(result, op)) for op in ("DepthToSpace", "Split", "Sigmoid")] == [2, 2, 2]
    assert all(len(node.input) < 5 or attribute(node, "axis") == 0 for node in kinds(result, "Concat"))
    # Every weight of the branches is in another now, and nothing is stored that nobody reads.
    kept = {tensor.name for tensor in result.graph.initializer}
    assert not [name for name in kept if any(f".{region}." in name for region in geometry.REGION_NAMES)]
    assert kept <= {name for node in result.graph.node for name in node.input}


def test_what_the_file_says_stays(model: Model, fused: tuple[Model, FuseReport]) -> None:
    result, _ = fused
    assert list(result.metadata_props) == list(model.metadata_props)
    assert list(result.opset_import) == list(model.opset_import)
    assert result.ir_version == model.ir_version
    assert list(result.graph.input) == list(model.graph.input)
    assert list(result.graph.output) == list(model.graph.output)


def test_the_given_model_stays(model: Model, fused: tuple[Model, FuseReport]) -> None:
    assert model == onnx.load(transformer.WEIGHTS)


def test_fusing_twice_is_fusing_once(fused: tuple[Model, FuseReport]) -> None:
    again, report = fuse(fused[0])
    assert again == fused[0]
    assert report.already_fused
    assert report.before == report.after == fused[1].after


def reader(model: Model, tensor: str) -> Any:
    """The one node that reads a tensor."""
    (node,) = [node for node in model.graph.node if tensor in node.input]
    return node


def head(model: Model, region: str) -> Any:
    return reader(model, f"net.regions.{region}.head.weight")


def activation(model: Model, region: str) -> Any:
    """The one behind a branch's first convolution."""
    return reader(model, reader(model, f"net.regions.{region}.stem.0.weight").output[0])


def widen(model: Model, name: str, axis: int) -> None:
    """Give a weight eight more zeros along an axis."""
    (tensor,) = [t for t in model.graph.initializer if t.name == name]
    values = numpy_helper.to_array(tensor)
    more = [(0, 8 if i == axis else 0) for i in range(values.ndim)]
    tensor.CopyFrom(numpy_helper.from_array(np.pad(values, more), name))


def another_slope(model: Model) -> None:
    slope = activation(model, "nose")
    del slope.attribute[:]
    slope.attribute.append(helper.make_attribute("alpha", 0.2))


def another_width(model: Model) -> None:
    """A valid model whose nose is wider between its last two layers."""
    widen(model, "net.regions.nose.decode.1.weight", 0)
    widen(model, "net.regions.nose.decode.1.bias", 0)
    widen(model, "net.regions.nose.head.weight", 1)


def another_operator(model: Model) -> None:
    activation(model, "mouth").op_type = "Tanh"


def four_branches(model: Model) -> None:
    for node in kinds(model, "Concat"):
        if attribute(node, "axis") == 1:
            del node.input[2]


def other_order(model: Model) -> None:
    """Eyes and nose swap the patches that they read."""
    cuts = [node for node in kinds(model, "Slice") if node.input[0] == "patches"]
    for node, start, end in ((cuts[1], 2, 3), (cuts[2], 1, 2)):
        for i, value in ((1, start), (2, end)):
            node.input[i] = f"{node.name}/{i}"
            model.graph.initializer.append(numpy_helper.from_array(np.array([value]), node.input[i]))


def read_elsewhere(model: Model) -> None:
    value = head(model, "eyes").output[0]
    model.graph.output.append(helper.make_tensor_value_info("extra", onnx.TensorProto.FLOAT, None))
    model.graph.node.append(helper.make_node("Identity", [value], ["extra"]))


def an_operator_without_a_rule(model: Model) -> None:
    for region in geometry.REGION_NAMES:
        activation(model, region).op_type = "Softplus"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            another_slope,
            r"differ in LeakyRelu '\w+', attribute alpha: forehead 0.1, eyes 0.1, nose 0.2, mouth 0.1, cheeks_chin 0.1\.",
        ),
        (
            another_width,
            r"differ in Conv '\w+', input 1, shape: forehead \[16, 16, 3, 3\], .* nose \[24, 16, 3, 3\], mouth",
        ),
        (another_operator, r"of forehead comes from: forehead LeakyRelu, eyes .*, nose LeakyRelu, mouth Tanh, cheeks"),
        (four_branches, r"no five branches to fuse: .* found stacks of 4\..*training\.export"),
        (
            other_order,
            r"what they read of 'patches': forehead from \[0\] to \[1\] of axis \[1\], eyes from \[2\] .*, nose from \[1\]",
        ),
        (read_elsewhere, r"Conv '\w+', in a local branch, is used outside the branches as well"),
        (an_operator_without_a_rule, r"Softplus '\w+': no rule merges five of these, only of Conv, "),
    ],
)
def test_what_differs_is_told(spoilt: Model, spoil: Callable[[Model], None], message: str) -> None:
    spoil(spoilt)
    with pytest.raises(ModelError, match=message):
        fuse(spoilt)


def test_blocks_that_mix_channels_cannot_be_merged() -> None:
    model = onnx.load(RELEASED / "lgin-0.5.onnx")
    shuffles = kinds(model, "DepthToSpace")
    assert len(shuffles) == 6  # of the whole face, and of each region
    for node in shuffles:
        del node.attribute[:]
        node.attribute.extend([helper.make_attribute("blocksize", 2), helper.make_attribute("mode", "DCR")])
    with pytest.raises(ModelError, match=r"DepthToSpace '\w+': used in a way that cannot be merged"):
        fuse(model)


def test_a_model_without_branches_is_refused() -> None:
    with pytest.raises(ModelError, match=r"no five branches to fuse: .* found no stack"):
        fuse(models.build())


def test_a_model_without_a_description_is_refused(spoilt: Model) -> None:
    del spoilt.metadata_props[:]
    with pytest.raises(ModelError, match="no description"):
        fuse(spoilt)
