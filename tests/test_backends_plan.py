"""Engine files: written whole, found out when they are not what they were."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import models
import pytest

from lgin_edge import ModelError
from lgin_edge.inference.tensorrt import check_flavour, check_gpu
from lgin_edge.models import engine_file, tensorrt_variants
from lgin_edge.models.description import Description, EngineFacts

FACTS = EngineFacts("tensorrt-rtx", "1.7.1.116", (), 4)
ABOUT = models.describe(precision="fp16", onnx_sha256="0" * 64, engine=FACTS)


def bytes_of(about: Description = ABOUT, magic: bytes = b"vtrt") -> bytes:
    """What an engine looks like from outside: its description among binary data."""
    return magic + b"\0\xff\x80" * 50 + b'{"model":"\xff' + about.to_json().encode() + bytes(range(256))


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "engine.plan"
    engine_file.write(path, bytes_of())
    return path


def test_written_and_read(engine: Path) -> None:
    data, about = engine_file.read(engine)
    assert data == bytes_of()
    assert about == ABOUT
    assert sorted(one.name for one in engine.parent.iterdir()) == ["engine.plan", "engine.plan.sha256"]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_the_hash_is_in_the_format_of_sha256sum(engine: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "-c", "engine.plan.sha256"], cwd=engine.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout == "engine.plan: OK\n"


def test_a_given_hash_needs_no_file_beside(engine: Path) -> None:
    digest = hashlib.sha256(bytes_of()).hexdigest()
    engine_file.hash_file(engine).unlink()
    with pytest.raises(ModelError, match=r"engine\.plan\.sha256 is not beside it.*native code.*sha256="):
        engine_file.read(engine)
    assert engine_file.read(engine, digest)[1] == engine_file.read(engine, digest.upper())[1] == ABOUT
    with pytest.raises(ModelError, match="sha256= asks for 1111"):
        engine_file.read(engine, "1" * 64)
    with pytest.raises(ModelError, match="64 hexadecimal digits, got 'abc'"):
        engine_file.read(engine, "abc")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:100], r"SHA-256 is .*engine\.plan\.sha256 says .*changed, damaged or cut off"),
        (lambda data: data[:-1] + b"\0", "changed, damaged or cut off"),
        (lambda data: b"", "the file is empty"),
    ],
)
def test_damage_is_found(engine: Path, change, message: str) -> None:
    engine.write_bytes(change(engine.read_bytes()))
    with pytest.raises(ModelError, match=message) as caught:
        engine_file.read(engine)
    assert f"lgin-edge build MODEL.onnx -o {engine}" in str(caught.value)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such engine; build one with lgin-edge build"):
        engine_file.read(tmp_path / "none.plan")
    with pytest.raises(ModelError, match="no such engine"):
        engine_file.read(tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x89PNG and so on", r"not a TensorRT engine \(it begins with b'\\x89PNG'\)"),
        (b"vtrt" + b"\0" * 100, "a tensorrt-rtx engine, but none of lgin-edge"),
        (b"ftrt" + b'{"model":' * 3, "a tensorrt engine, but none of lgin-edge"),
        (b'vtrt{"model":1,"format":77}', "has format 77; this version of lgin-edge reads format 1"),
        (b'vtrt{"model":1,"format":1}', "description cannot be read"),
        (bytes_of(replace(ABOUT, engine=None)), "says nothing of an engine"),
    ],
)
def test_foreign_files(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "foreign.engine"
    engine_file.write(path, data)
    with pytest.raises(ModelError, match=message):
        engine_file.read(path)


def test_a_file_full_of_beginnings_is_refused_at_once() -> None:
    start = time.process_time()
    with pytest.raises(ModelError, match="carries no description"):
        engine_file.describe(Path("foreign.plan"), b"vtrt" + b'{"model":' * 1_000_000)
    assert time.process_time() - start < 1.0


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"not a hash  engine.plan\n", b"0" * 63])
def test_a_hash_file_that_is_none(engine: Path, text: bytes) -> None:
    engine_file.hash_file(engine).write_bytes(text)
    with pytest.raises(ModelError, match=r"engine\.plan"):
        engine_file.read(engine)


def test_a_failed_write_leaves_the_old_engine(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        engine_file.write(engine, b"new")
    monkeypatch.undo()
    assert engine_file.read(engine)[1] == ABOUT
    assert len(list(engine.parent.iterdir())) == 2


def test_flavours_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("engine.plan")
    monkeypatch.setattr(tensorrt_variants.Flavour, "version", lambda self: "1.7.1.116")
    assert check_flavour(path, b"vtrt", FACTS).name == "tensorrt-rtx"
    with pytest.raises(
        ModelError, match=r"built by tensorrt-rtx 1\.6\.0, and 1\.7\.1\.116 is installed.*--flavour tensorrt-rtx"
    ):
        check_flavour(path, b"vtrt", replace(FACTS, version="1.6.0"))
    with pytest.raises(ModelError, match="description says tensorrt-rtx, its first bytes do not"):
        check_flavour(path, b"ftrt", FACTS)
    with pytest.raises(ModelError, match="flavour 'openvino'"):
        check_flavour(path, b"vtrt", replace(FACTS, flavour="openvino"))


def test_gpus() -> None:
    path, rtx, full = (
        Path("engine.plan"),
        tensorrt_variants.FLAVOURS["tensorrt-rtx"],
        tensorrt_variants.FLAVOURS["tensorrt"],
    )
    for capability in (80, 86, 90, 120):
        check_gpu(path, FACTS, rtx, capability)
    with pytest.raises(ModelError, match=r"from sm80 on, and this one is sm75; .*--target sm75 -o engine\.plan"):
        check_gpu(path, FACTS, rtx, 75)
    with pytest.raises(ModelError, match=r"built for sm86, and this GPU is sm120; .*--target sm120"):
        check_gpu(path, replace(FACTS, targets=("sm86",)), rtx, 120)
    jetson = replace(FACTS, flavour="tensorrt", targets=("sm87",))
    check_gpu(path, jetson, full, 87)
    with pytest.raises(
        ModelError, match=r"this GPU is sm110; build it again: lgin-edge build MODEL\.onnx --flavour tensorrt -o"
    ):
        check_gpu(path, jetson, full, 110)


@pytest.mark.parametrize(
    "facts",
    [
        {"flavour": 1, "version": "1", "targets": [], "max_faces": 4},
        {"flavour": "a", "version": "1", "targets": [3], "max_faces": 4},
        {"flavour": "a", "version": "1", "targets": [], "max_faces": 0},
        {"flavour": "a", "version": "1", "targets": 5, "max_faces": 1},
        {"flavour": "a", "version": "1", "max_faces": 1},
        ["a"],
        "a",
    ],
)
def test_facts_that_are_none(facts: object) -> None:
    text = json.dumps(json.loads(ABOUT.to_json()) | {"engine": facts})
    with pytest.raises(ModelError, match="description cannot be read"):
        Description.from_json(text)
