"""Engine files: written whole, found out when they are not what they were."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.engines import ABOUT, FACTS, bytes_of

from lgin_edge import ModelError
from lgin_edge.inference.tensorrt import check_gpu, check_variant
from lgin_edge.models import engine_file, tensorrt_variants
from lgin_edge.models.description import Description


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "engine.plan"
    engine_file.write(path, bytes_of(), ABOUT)
    return path


def test_written_and_read(engine: Path) -> None:
    data, about = engine_file.read(engine)
    assert data == bytes_of()
    assert about == ABOUT
    assert sorted(one.name for one in engine.parent.iterdir()) == ["engine.plan", "engine.plan.json"]
    beside = json.loads(engine_file.json_file(engine).read_text())
    assert beside["sha256"] == hashlib.sha256(bytes_of()).hexdigest()


def test_a_given_hash_counts_and_the_description_is_needed(engine: Path) -> None:
    digest = hashlib.sha256(bytes_of()).hexdigest()
    assert engine_file.read(engine, digest)[1] == engine_file.read(engine, digest.upper())[1] == ABOUT
    with pytest.raises(ModelError, match="sha256= asks for 1111"):
        engine_file.read(engine, "1" * 64)
    with pytest.raises(ModelError, match="64 hexadecimal digits, got 'abc'"):
        engine_file.read(engine, "abc")
    engine_file.json_file(engine).unlink()
    with pytest.raises(ModelError, match=r"engine\.plan\.json is not beside it.*native code.*lgin-edge build"):
        engine_file.read(engine, digest)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:100], r"SHA-256 is .*engine\.plan\.json says .*changed, damaged or cut off"),
        (lambda data: data[:-1] + b"\0", "changed, damaged or cut off"),
        (lambda data: b"\x89PNG and so on", r"not a TensorRT engine \(it begins with b'\\x89PNG'\)"),
        (lambda data: b"", "the file is empty"),
    ],
)
def test_damage_is_found(engine: Path, change, message: str) -> None:
    engine.write_bytes(change(engine.read_bytes()))
    with pytest.raises(ModelError, match=message) as caught:
        engine_file.read(engine)
    assert f"lgin-edge build MODEL.onnx -o {engine}" in str(caught.value)


def test_a_picture_given_as_an_engine_is_not_advised_to_be_replaced(tmp_path: Path) -> None:
    picture = tmp_path / "portrait.jpg"
    picture.write_bytes(b"\xff\xd8\xff\xe0 and so on")
    with pytest.raises(ModelError, match=r"not a TensorRT engine .* -o engine\.plan makes one") as caught:
        engine_file.read(picture)
    assert f"-o {picture}" not in str(caught.value)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such engine; build one with lgin-edge build"):
        engine_file.read(tmp_path / "none.plan")
    with pytest.raises(ModelError, match="no such engine"):
        engine_file.read(tmp_path)


def about_of(**changes: object) -> bytes:
    """What stands beside an engine, changed."""
    beside = {"sha256": hashlib.sha256(bytes_of()).hexdigest(), "description": json.loads(ABOUT.to_json())}
    return json.dumps(beside | changes).encode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[1]", "no sha256 and description"),
        (b"{}", "no sha256 and description"),
        (b'{"sha256":' * 5, "cannot be read"),
        (b"[" * 100_000, "characters of JSON|levels deep"),
        (about_of(sha256=5), "no sha256 and description"),
        (about_of(sha256="0" * 63), "64 hexadecimal digits"),
        (about_of(description={"model": "a", "format": 77}), "has format 77"),
        (about_of(description={"model": "a", "format": 1}), "description cannot be read"),
        (about_of(description=json.loads(replace(ABOUT, engine=None).to_json())), "says nothing of an engine"),
        (about_of(note="x" * 200_000), "characters of JSON"),
    ],
)
def test_what_stands_beside_is_none(engine: Path, text: bytes, message: str) -> None:
    engine_file.json_file(engine).write_bytes(text)
    with pytest.raises(ModelError, match=message) as caught:
        engine_file.read(engine)
    assert "engine.plan" in str(caught.value)
    assert len(str(caught.value)) < 1000 + len(str(engine))


def test_a_failed_write_leaves_the_old_engine(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        engine_file.write(engine, b"new", ABOUT)
    monkeypatch.undo()
    assert engine_file.read(engine)[1] == ABOUT
    assert len(list(engine.parent.iterdir())) == 2


def test_variants_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("engine.plan")
    monkeypatch.setattr(tensorrt_variants.Variant, "version", lambda self: "1.7.1.116")
    assert check_variant(path, b"vtrt", FACTS).name == "tensorrt-rtx"
    with pytest.raises(
        ModelError, match=r"built by tensorrt-rtx 1\.6\.0, and 1\.7\.1\.116 is installed.*--runtime tensorrt-rtx"
    ):
        check_variant(path, b"vtrt", replace(FACTS, version="1.6.0"))
    with pytest.raises(ModelError, match="description says tensorrt-rtx, its first bytes do not"):
        check_variant(path, b"ftrt", FACTS)
    with pytest.raises(ModelError, match="variant 'openvino'"):
        check_variant(path, b"vtrt", replace(FACTS, variant="openvino"))


def test_gpus() -> None:
    path, rtx, full = (
        Path("engine.plan"),
        tensorrt_variants.VARIANTS["tensorrt-rtx"],
        tensorrt_variants.VARIANTS["tensorrt"],
    )
    for capability in (80, 86, 120):
        check_gpu(path, FACTS, rtx, capability)
    for capability in (87, 90, 100, 110):  # Orin, Hopper and Blackwell of data centres, Thor
        with pytest.raises(
            ModelError, match=rf"runs on sm75, .*sm121, and this GPU is sm{capability}; .*--runtime tensorrt,"
        ):
            check_gpu(path, FACTS, rtx, capability)
    with pytest.raises(ModelError, match=r"from sm80 on, and this one is sm75; .*--target sm75 -o engine\.plan"):
        check_gpu(path, FACTS, rtx, 75)
    with pytest.raises(ModelError, match=r"built for sm86, and this GPU is sm120; .*--target sm120"):
        check_gpu(path, replace(FACTS, targets=("sm86",)), rtx, 120)
    jetson = replace(FACTS, variant="tensorrt", targets=("sm87",))
    check_gpu(path, jetson, full, 87)
    with pytest.raises(
        ModelError, match=r"this GPU is sm110; build it again: lgin-edge build MODEL\.onnx --runtime tensorrt -o"
    ):
        check_gpu(path, jetson, full, 110)


@pytest.mark.parametrize(
    "facts",
    [
        {"variant": 1, "version": "1", "targets": [], "max_faces": 4},
        {"variant": "a", "version": "1", "targets": [3], "max_faces": 4},
        {"variant": "a", "version": "1", "targets": [], "max_faces": 0},
        {"variant": "a", "version": "1", "targets": 5, "max_faces": 1},
        {"variant": "a", "version": "1", "max_faces": 1},
        ["a"],
        "a",
    ],
)
def test_facts_that_are_none(facts: object) -> None:
    text = json.dumps(json.loads(ABOUT.to_json()) | {"engine": facts})
    with pytest.raises(ModelError, match="description cannot be read"):
        Description.from_json(text)
