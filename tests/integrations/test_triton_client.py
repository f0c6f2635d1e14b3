"""The Triton client through NVIDIA's own client library, on a stand-in for the server that runs the exported model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_runs import INTEGRATIONS, load
from PIL import Image

from lgin_edge import LginError, Transformer, images
from lgin_edge.faces import FaceBatch
from lgin_edge.frames import PixelFormat
from lgin_edge.inference.cpu import CpuFramePath

pytest.importorskip("tritonclient.http", reason="needs Triton's client: pip install 'lgin-edge[triton]'")
pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="needs Triton's schema: pip install 'lgin-edge[test]'")

import triton_server
from tolerances import assert_close


@pytest.fixture(scope="module")
def example() -> Any:
    return load(INTEGRATIONS / "triton" / "client.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    from lgin_edge.transformer import WEIGHTS

    export = load(INTEGRATIONS / "triton" / "export.py").export
    repository = tmp_path_factory.mktemp("triton") / "repository"
    export(WEIGHTS, repository)
    export(tiny_model, repository, name="tiny", max_batch=2)
    with triton_server.serving(repository) as (address, served):
        yield address, served


def run(example: Any, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["client.py", *map(str, arguments)])
    example.main()


def test_the_servers_picture_is_ours(
    example: Any,
    monkeypatch: pytest.MonkeyPatch,
    server: Any,
    astronaut: np.ndarray,
    tmp_path: Path,
    bundled: Transformer,
) -> None:
    source, out = tmp_path / "portrait.png", tmp_path / "older.png"
    Image.fromarray(astronaut).save(source)
    run(example, monkeypatch, source, out, "--years", 62, "--address", server[0])
    there, here = np.asarray(images.read(out).image), bundled.age(astronaut, years=62)
    assert (there != astronaut).any()
    assert_close(there, here, kind="frame")


def test_more_rows_than_a_call_takes(example: Any, server: Any, tiny: Transformer, astronaut: np.ndarray) -> None:
    address, served = server
    backend = example.TritonBackend(address, "tiny")
    two = np.concatenate([astronaut, astronaut], axis=1)
    faces = tiny.detect(two)
    assert len(faces) == 2
    codes = np.eye(5, dtype=np.float32)
    results = [two.copy() for _ in codes]
    path = CpuFramePath(backend, threads=1)
    path.change(two, PixelFormat.RGB, FaceBatch.of(faces), codes, results, tiny.last_call.stage)
    path.close()
    for result, expected in zip(results, tiny.timeline(two, faces=faces), strict=True):
        assert_close(result, expected, kind="frame")
    assert set(served["tiny"].batches) == {1, 2}
    assert sum(served["tiny"].batches) == 10


def test_the_server_refuses_what_triton_would(server: Any, example: Any) -> None:
    """The stand-in is no yes-man."""
    backend = example.TritonBackend(server[0], "tiny")
    rows = {name: np.zeros((2, *shape), np.float32) for name, shape in backend.description.inputs.items()}
    backend._infer(rows)
    for bad, message in (
        (rows | {"age": rows["age"][:1]}, "batch of 1"),
        ({name: np.repeat(array, 2, 0) for name, array in rows.items()}, "batch of 4"),
        (rows | {"face": rows["face"][..., :-1]}, "input face"),
    ):
        with pytest.raises(LginError, match=message):
            backend._infer(bad)
    del rows["boxes"]
    with pytest.raises(LginError, match="expected the inputs"):
        backend._infer(rows)
    backend.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a socket that tritonclient leaves open when nobody answers
def test_what_goes_wrong_is_told(
    example: Any, monkeypatch: pytest.MonkeyPatch, server: Any, astronaut: np.ndarray, tmp_path: Path
) -> None:
    source, out = tmp_path / "portrait.png", tmp_path / "older.png"
    Image.fromarray(astronaut).save(source)
    for arguments, message in (
        (["--address", server[0], "--model", "other"], "other at .*unknown model"),
        (["--address", "127.0.0.1:9"], "127.0.0.1:9: .*refused"),
    ):
        with pytest.raises(SystemExit, match=message):
            run(example, monkeypatch, source, out, *arguments)
    Image.new("RGB", (64, 64)).save(source)
    with pytest.raises(SystemExit, match="no face in"):
        run(example, monkeypatch, source, out, "--address", server[0])
    assert not out.exists()
