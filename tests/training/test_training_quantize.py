"""The int8 twin of a model: what is quantised, what a picture loses, and what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")

import onnx
from typer.testing import CliRunner

import lgin_edge
from lgin_edge.errors import ModelError
from lgin_edge.models.model_file import read_description
from lgin_edge.transformer import WEIGHTS
from training import examples, quantize
from training.dataset import labels

app = quantize.typer.Typer()
app.command()(quantize.main)


def packs(made_up, targets):
    return ["--data", str(made_up), "--targets", str(targets)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The bundled model, in a folder of its own."""
    return Path(shutil.copy(WEIGHTS, tmp_path_factory.mktemp("quantize")))


@pytest.fixture(scope="module")
def small(model, made_up, targets):
    path = model.with_name("int8.onnx")
    result = CliRunner().invoke(app, [str(model), str(path), *packs(made_up, targets), "--faces", "6"])
    assert result.exit_code == 0, result.output
    assert "dB in the worst picture" in result.output
    return path


def test_all_convolutions_but_the_first_and_the_last_ones(model, small):
    graph = onnx.load(str(small)).graph
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    makers = {name: node for node in graph.node for name in node.output}
    whole = [
        node
        for node in convolutions
        if node.input[0] not in makers or makers[node.input[0]].op_type != "DequantizeLinear"
    ]
    # Stems and heads of both generators, heads of flow and place, what the face's head reads, two of the interaction, nine of blocks and
    # where the streams are mixed, and those of ``Greying`` and ``Texture``.
    assert len(whole) == 22
    assert len(convolutions) == sum(node.op_type == "Conv" for node in onnx.load(str(model)).graph.node)
    stored = [onnx.numpy_helper.to_array(t) for t in graph.initializer if t.data_type == onnx.TensorProto.INT8]
    weights = [np.abs(array).max() for array in stored if array.ndim == 4]
    assert weights
    assert max(weights) <= 64  # 7 bits
    assert small.stat().st_size < model.stat().st_size


def test_a_model_like_any_other(model, small, made_up, targets):
    assert read_description(small) == replace(read_description(model), precision="int8")
    unseen = examples.load(targets, examples.only(labels.read(made_up), "val"))
    loss = quantize.compare(model, small, unseen)
    assert loss.worst_db > quantize.FLOOR
    assert loss.worst_db <= loss.median_db
    assert 0 < loss.levels < 96  # 71: one pixel of made-up noise, whose contrast gets stronger


def test_what_loses_too_much_is_not_written(model, made_up, targets, tmp_path):
    path = tmp_path / "lossy.onnx"
    result = CliRunner().invoke(
        app, [str(model), str(path), *packs(made_up, targets), "--faces", "2", "--floor", "200"]
    )
    assert result.exit_code == 2
    assert "nothing was written" in result.output
    assert not list(tmp_path.iterdir())


def test_an_int8_model_is_not_quantised_again_and_not_built(small, tiny_model, made_up, tmp_path):
    result = CliRunner().invoke(app, [str(small), str(tmp_path / "x.onnx"), "--data", str(made_up)])
    assert result.exit_code == 2
    assert "give the float32 model" in result.output
    result = CliRunner().invoke(app, [str(tiny_model), str(tmp_path / "x.onnx"), "--data", str(made_up)])
    assert result.exit_code == 2
    assert "with the version that exported it" in result.output
    from lgin_edge.engine import build

    with pytest.raises(ModelError, match="engines are built from the fp32 one"):
        build.prepare(small)


def test_the_bundled_twin(astronaut):
    with lgin_edge.Transformer(threads=1) as fp32, lgin_edge.Transformer("int8", threads=1) as int8:
        assert replace(int8.description, precision="fp32") == fp32.description
        faces = fp32.detect(astronaut)
        want, have = (t.age(astronaut, group=4, faces=faces).astype(float) for t in (fp32, int8))
    changed = want != astronaut
    assert changed.mean() > 0.02
    psnr = 10 * np.log10(255**2 / np.square(have - want)[changed].mean())
    assert psnr > quantize.FLOOR
