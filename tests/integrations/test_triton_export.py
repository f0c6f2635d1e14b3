"""Model repositories for Triton: by Triton's own schema they say what the model file is. No server of NVIDIA's runs here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import models
import numpy as np
import onnx
import pytest
from example_runs import INTEGRATIONS, load
from onnx import helper
from typer.testing import CliRunner

from lgin_edge import InputError, ModelError
from lgin_edge.models import engine_file, onnx_file
from lgin_edge.models.description import Description, EngineFacts
from lgin_edge.transformer import INT8_WEIGHTS, WEIGHTS

pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="needs Triton's schema: pip install 'lgin-edge[test]'")

import triton_server

triton_export = load(INTEGRATIONS / "triton" / "export.py")

FACTS = EngineFacts("tensorrt", "10.9.0.34", (), 4)


def write_engine(path: Path, **changes: Any) -> Path:
    """What an engine looks like from outside; TensorRT itself builds none without a GPU."""
    about = models.describe(**({"precision": "fp16", "onnx_sha256": "0" * 64, "engine": FACTS} | changes))
    engine_file.write(path, b"ftrt" + bytes(range(256)), about)
    return path


def tensors(graph: onnx.GraphProto, kind: str) -> dict[str, tuple[np.dtype[Any], list[int]]]:
    """Name -> dtype and shape without the first axis, as ONNX itself tells."""
    return {
        one.name: (
            np.dtype(helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type)),
            [-1 if dim.dim_param else dim.dim_value for dim in one.type.tensor_type.shape.dim[1:]],
        )
        for one in getattr(graph, kind)
    }


def configured(config: Any, kind: str) -> dict[str, tuple[np.dtype[Any], list[int]]]:
    types = {"FP32": np.dtype(np.float32), "FP16": np.dtype(np.float16)}
    return {one.name: (types[triton_server.data_type(one)], list(one.dims)) for one in getattr(config, kind)}


@pytest.mark.parametrize("model", [WEIGHTS, INT8_WEIGHTS, None], ids=["bundled", "int8", "tiny"])
def test_the_configuration_is_the_models(model: Path | None, tiny_model: Path, tmp_path: Path) -> None:
    path = model or tiny_model
    folder = triton_export.export(path, tmp_path / "repository", max_batch=16, delay_us=500)
    assert folder == tmp_path / "repository" / "lgin_edge_onnx"
    assert sorted(str(one.relative_to(folder)) for one in folder.rglob("*")) == ["1", "1/model.onnx", "config.pbtxt"]
    assert (folder / "1" / "model.onnx").read_bytes() == onnx_file.read(path).data
    config, graph = triton_server.read_config(folder), onnx.load(path).graph
    assert (config.name, config.backend, config.max_batch_size) == ("lgin_edge_onnx", "onnxruntime", 16)
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    for kind in ("input", "output"):
        assert configured(config, kind) == tensors(graph, kind)
        for one in getattr(graph, kind):  # Triton batches along the first axis, which must have no fixed size
            assert one.type.tensor_type.shape.dim[0].dim_param, one.name
    about = Description.from_json(config.parameters["lgin"].string_value)
    assert about.inputs == {name: tuple(shape) for name, (_, shape) in tensors(graph, "input").items()}


def test_an_engine_beside_the_onnx(tiny_model: Path, tmp_path: Path) -> None:
    engine = write_engine(tmp_path / "engine.plan")
    repository = tmp_path / "repository"
    triton_export.export(tiny_model, repository)
    folder = triton_export.export(engine, repository, version=3)
    assert sorted(one.name for one in repository.iterdir()) == ["lgin_edge_onnx", "lgin_edge_plan"]
    config = triton_server.read_config(folder)
    assert (config.backend, config.max_batch_size) == ("tensorrt", FACTS.max_faces)
    assert (folder / "3" / "model.plan").read_bytes() == engine.read_bytes()
    engine_file.read(folder / "3" / "model.plan")  # its hash came along
    with pytest.raises(InputError, match="built for up to 4 faces, got 5; lgin-edge build --max-batch 5"):
        triton_export.export(engine, repository, version=4, max_batch=5)


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_an_engines_types_are_those_that_it_is_built_with(tmp_path: Path, precision: str) -> None:
    from lgin_edge.engine import build

    prepared = build.prepare(models.save_edits(tmp_path / "edits.onnx", gain=0.1), precision=precision)
    about = replace(prepared.description, engine=FACTS)
    path = tmp_path / "engine.plan"
    engine_file.write(path, b"ftrt", about)
    config = triton_server.read_config(triton_export.export(path, tmp_path / "repository"))
    for kind in ("input", "output"):
        assert configured(config, kind) == tensors(prepared.model.graph, kind)


def test_engines_that_triton_does_not_load(tmp_path: Path) -> None:
    about = models.describe(precision="fp16", engine=replace(FACTS, variant="tensorrt-rtx"))
    path = tmp_path / "engine.plan"
    engine_file.write(path, b"vtrt", about)
    with pytest.raises(ModelError, match="an engine of tensorrt-rtx, and Triton loads those of tensorrt alone"):
        triton_export.export(path, tmp_path / "repository")
    write_engine(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="changed, damaged or cut off"):
        triton_export.export(path, tmp_path / "repository")
    assert not (tmp_path / "repository").exists()


def test_what_is_there_stays(tiny_model: Path, tmp_path: Path) -> None:
    folder = triton_export.export(tiny_model, tmp_path)
    before = (folder / "config.pbtxt").read_bytes()
    with pytest.raises(InputError, match="1 exists; give another version"):
        triton_export.export(tiny_model, tmp_path)
    with pytest.raises(InputError, match=r"config\.pbtxt says something else"):
        triton_export.export(tiny_model, tmp_path, version=2, max_batch=2)
    assert sorted(one.name for one in folder.iterdir()) == ["1", "config.pbtxt"]
    assert (folder / "config.pbtxt").read_bytes() == before
    triton_export.export(tiny_model, tmp_path, version=2)
    (folder / "1" / "old").touch()
    triton_export.export(tiny_model, tmp_path, max_batch=2, overwrite=True)
    assert sorted(one.name for one in folder.iterdir()) == ["1", "2", "config.pbtxt"]
    assert [one.name for one in (folder / "1").iterdir()] == ["model.onnx"]
    assert triton_server.read_config(folder).max_batch_size == 2


@pytest.mark.parametrize("name", ["", "../up", "a/b", 'a"b', "a b", ".hidden"])
def test_names_that_are_none(tiny_model: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="name: expected letters"):
        triton_export.config(triton_export.read(tiny_model), name, max_batch=1, delay_us=0)
    assert list(tmp_path.iterdir()) == []


def test_a_description_cannot_add_to_the_configuration(tmp_path: Path) -> None:
    odd = 'x" } } max_batch_size: 77 \\" \u00e9 \U0001f600'
    path = models.save(tmp_path / "odd.onnx", description=models.describe(model=odd, training_data=odd).to_json())
    config = triton_server.read_config(triton_export.export(path, tmp_path / "repository"))
    assert config.max_batch_size == 8
    assert Description.from_json(config.parameters["lgin"].string_value).model == odd


def test_the_command(tiny_model: Path, tiny_age_model: Path, tmp_path: Path) -> None:
    def run(*arguments: object) -> Any:
        return CliRunner().invoke(triton_export.app, [*map(str, arguments)])

    done = run(tmp_path / "repository", "--model", tiny_model, "--name", "younger", "--max-batch", 3)
    assert done.exit_code == 0, done.output
    assert triton_server.read_config(tmp_path / "repository" / "younger").max_batch_size == 3
    again = run(tmp_path / "repository", "--model", tiny_model, "--name", "younger", "--max-batch", 3)
    assert again.exit_code == 2
    assert "exists" in again.stderr
    wrong = run(tmp_path / "other", "--model", tiny_age_model)
    assert wrong.exit_code == 5
    assert "estimates ages" in wrong.stderr
    (tmp_path / "file").touch()
    assert run(tmp_path / "file", "--model", tiny_model).exit_code == 4
