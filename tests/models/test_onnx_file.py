"""ONNX files from anybody: what is refused, that it is refused at once, and before ONNX Runtime sees a byte."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from lgin_edge import Limits, ModelError, Transformer, age_estimator, transformer
from lgin_edge.detectors import centerface
from lgin_edge.inference.onnxruntime import OnnxBackend, open_session
from lgin_edge.models import onnx_file
from lgin_edge.models.protobuf import write_varint

BUNDLED = (transformer.WEIGHTS, transformer.INT8_WEIGHTS, age_estimator.WEIGHTS, centerface.WEIGHTS)
Image8 = np.ndarray[Any, np.dtype[np.uint8]]


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.name)
def test_it_reads_what_onnx_reads(path: Path) -> None:
    """Against the ``onnx`` package, which the run time does without."""
    file = onnx_file.read(path)
    library = onnx.load(path)
    assert file.metadata == {one.key: one.value for one in library.metadata_props}
    for ours, theirs in ((file.inputs, library.graph.input), (file.outputs, library.graph.output)):
        assert list(ours) == [one.name for one in theirs]
        for one in theirs:
            kind = one.type.tensor_type
            assert ours[one.name].shape == tuple(side.dim_param or side.dim_value for side in kind.shape.dim)
            assert ours[one.name].type == {1: "tensor(float)", 10: "tensor(float16)"}[kind.elem_type]
    assert not file.external


def changed(change: Callable[[onnx.ModelProto], object]) -> bytes:
    model = models.build()
    change(model)
    data: bytes = model.SerializeToString()
    return data


def weight(**values: Any) -> Callable[[onnx.ModelProto], object]:
    """Puts in a weight that says of itself what it likes."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(TensorProto(name="extra", **{"data_type": TensorProto.FLOAT, **values}))

    return change


def sparse(model: onnx.ModelProto) -> None:
    values, places = numpy_helper.from_array(np.ones(1, np.float32)), numpy_helper.from_array(np.zeros(1, np.int64))
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [1 << 40]))


def branch(model: onnx.ModelProto) -> None:
    graph = helper.make_graph([], "branch", [], [])
    model.graph.node.append(helper.make_node("If", ["no_box"], ["x"], then_branch=graph, else_branch=graph))


def function(model: onnx.ModelProto) -> None:
    model.functions.append(helper.make_function("mine", "f", [], [], [], []))


def opset(version: int, domain: str = "") -> Callable[[onnx.ModelProto], object]:
    def change(model: onnx.ModelProto) -> None:
        del model.opset_import[:]
        model.opset_import.append(helper.make_opsetid(domain, version))

    return change


def hidden(number: int, data: bytes) -> bytes:
    """A field whose key has bit 32 set: protobuf keeps 32 bits and sees ``number``, other parsers another field."""
    return write_varint(1 << 32 | number << 3 | 2) + write_varint(len(data)) + data


GRAPH = onnx.GraphProto(name="x").SerializeToString()
WHOLE = models.build().SerializeToString()
GIGANTIC = helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["N", 1 << 20, 1 << 20])
HOSTILE: dict[str, tuple[bytes, str]] = {
    "an opset to come": (changed(opset(99)), "opset 7 to 26 and no others, got ai.onnx 99"),
    "an opset long past": (changed(opset(1)), "opset"),
    "no opset": (changed(lambda model: model.ClearField("opset_import")), "got none"),
    "operators of somebody's": (changed(opset(1, "com.example")), "com.example 1"),
    "an operator of somebody's": (
        changed(lambda model: model.graph.node.append(helper.make_node("Run", [], ["x"], domain="com.example"))),
        "'Run' of 'com.example'",
    ),
    "control flow": (changed(branch), "'If': control flow"),
    "a function": (changed(function), "functions"),
    "sparse weights": (changed(sparse), "sparse"),
    "an input of 4 TiB": (
        changed(lambda model: model.graph.input[2].CopyFrom(GIGANTIC)),
        r"'boxes' has the shape \[1048576",
    ),
    "a weight of 4 TiB": (changed(weight(dims=[1 << 20, 1 << 20], raw_data=b"\0" * 4)), "at most 268435456 elements"),
    "a weight without data": (changed(weight(dims=[1 << 20])), "claims 4194304 bytes .* and has 0"),
    "a weight of other data": (changed(weight(dims=[8], raw_data=b"\0" * 4)), "claims 32 bytes .* and has 4"),
    "a weight of fewer numbers": (changed(weight(dims=[8], float_data=[1.0])), "claims 32 bytes"),
    "a weight of a negative side": (changed(weight(dims=[-1], raw_data=b"")), "'extra' has the shape"),
    "a weight of no elements, but what a side": (
        changed(weight(dims=[0, 1 << 60], raw_data=b"")),
        "'extra' has the shape",
    ),
    "a weight of texts": (changed(weight(dims=[1], data_type=TensorProto.STRING, string_data=[b"x"])), "type 8"),
    "a constant of 4 TiB": (
        changed(
            lambda model: model.graph.node.append(
                helper.make_node(
                    "Constant", [], ["x"], value=TensorProto(data_type=1, dims=[1 << 40], name="c", raw_data=b"\0")
                )
            )
        ),
        "at most",
    ),
    "two graphs, which protobuf would merge": (
        WHOLE + onnx.ModelProto(graph=onnx.GraphProto(name="x")).SerializeToString(),
        "2 times",
    ),
    "two descriptions": (
        changed(lambda model: model.metadata_props.add(key="lgin", value=models.describe().to_json())),
        "'lgin' twice",
    ),
    "a second graph, hidden from a parser that keeps 64 bits of a key": (
        WHOLE + hidden(7, GRAPH),
        "a field with the number",
    ),
    "a function, hidden so": (WHOLE + hidden(25, b""), "a field with the number"),
    "an opset in a kind of field that protobuf passes over": (
        changed(opset(99)) + b"\x45\x10\x14\x18\x00",
        "opset_import should be messages, and is of kind 5",
    ),
    "a side of 0 in such a field": (
        changed(
            lambda model: model.graph.initializer.append(TensorProto(name="x", data_type=1, dims=[1 << 14, 1 << 14]))
        ).replace(b"\x08\x80\x80\x01\x08\x80\x80\x01", b"\x08\x80\x80\x01\x0d\0\0\0"),
        "cannot be read",
    ),
    "two opsets": (
        changed(lambda model: model.opset_import.append(helper.make_opsetid("ai.onnx", 99))),
        "got ai.onnx 20, ai.onnx 99",
    ),
    "a name that does things to a terminal": (
        changed(lambda model: setattr(model.graph.node[0], "name", "\x1b[2J")),
        "name has control characters",
    ),
    "a name of 5 MB": (changed(lambda model: setattr(model.graph.node[0], "name", "x" * 5_000_000)), "5000000 bytes"),
    "a sequence": (
        changed(
            lambda model: model.graph.input[0].type.CopyFrom(helper.make_sequence_type_proto(model.graph.input[0].type))
        ),
        "no tensor",
    ),
    "a hundred million fields": (b"\xa0\x06\x01" * 10_000_000, "more than 300000 fields"),
    "a length beyond the end": (b"\x3a\xff\xff\xff\x7f" + bytes(100), "does not end"),
    "a number without an end": (b"\xff" * 100, "more than 10 bytes"),
    "a group of the first protobuf": (b"\x3b" + bytes(40), "kind 3"),
}


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.name)
def test_what_is_run_is_written_anew_and_says_the_same(path: Path) -> None:
    """But for notes and names for people, which are not run."""
    file, library = onnx_file.read(path), onnx.load(path)
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    ours = onnx.load_from_string(file.data)
    onnx.checker.check_model(ours)
    assert ours.graph.name == library.graph.name
    for mine, theirs in zip(ours.graph.node, library.graph.node, strict=True):
        theirs.ClearField("doc_string")
        theirs.ClearField("metadata_props")
        assert mine == theirs
    for mine, theirs in zip(ours.graph.initializer, library.graph.initializer, strict=True):
        assert np.array_equal(numpy_helper.to_array(mine), numpy_helper.to_array(theirs))


def test_unknown_fields_reach_no_run_time(tmp_path: Path) -> None:
    path = tmp_path / "extra.onnx"
    path.write_bytes(WHOLE + b"\xa2\x06\x06secret" + b"\x12\x04note")  # fields 100 and 2, the producer's name
    data = onnx_file.read(path).data
    assert b"secret" not in data
    assert b"note" not in data
    assert onnx_file.parse(path, data).data == data  # written anew, it is what it was


@pytest.fixture
def no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes a session fails."""
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: pytest.fail("ONNX Runtime got the file"))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_at_once(tmp_path: Path, name: str, no_session: None) -> None:
    data, message = HOSTILE[name]
    path = tmp_path / "hostile.onnx"
    path.write_bytes(data)
    start = time.process_time()
    with pytest.raises(ModelError, match=message) as caught:
        OnnxBackend(path)
    assert time.process_time() - start < 1.0
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000 + len(str(path))


@pytest.mark.parametrize(
    "options",
    [{"description": None}, {"batch": 1}, {"side": 128}, {"description": models.describe(face_size=128).to_json()}],
    ids=str,
)
def test_foreign_models_are_refused_before_they_are_loaded(
    tmp_path: Path, options: dict[str, Any], no_session: None
) -> None:
    with pytest.raises(ModelError):
        OnnxBackend(models.save(tmp_path / "foreign.onnx", **options))
    with pytest.raises(ModelError, match="CenterFace"):
        centerface.CenterFace(path=tmp_path / "foreign.onnx")


def test_the_format_of_onnx_runtime_is_none(tiny_model: Path, tmp_path: Path) -> None:
    """Its own format is read without the checks of ONNX; the bytes say themselves which of the two they are."""
    options, path = onnxruntime.SessionOptions(), tmp_path / "tiny.ort"
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(tiny_model), options, providers=["CPUExecutionProvider"])
    with pytest.raises(ModelError, match="not an ONNX file"):
        OnnxBackend(path)
    file = onnx_file.OnnxFile(path, path.read_bytes(), "", {}, {}, {}, external=False)  # as if it had got through
    with pytest.raises(ModelError, match=r"that ONNX Runtime can run"):
        open_session(file)


def test_what_was_looked_at_is_what_is_run(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny_model.read_bytes())
    file = onnx_file.read(path)
    path.write_bytes(b"exchanged")
    assert {value.name for value in open_session(file).raw.get_inputs()} == set(file.inputs)


def test_a_pinned_model(tiny_model: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    Transformer(tiny_model, sha256=digest.upper()).close()
    with pytest.raises(ModelError, match=rf"its SHA-256 is {digest}, and sha256= asks for 0000.*not loaded"):
        Transformer(tiny_model, sha256="0" * 64)
    with pytest.raises(ModelError, match="64 hexadecimal digits"):
        Transformer(tiny_model, sha256="latest")


def test_too_large(tiny_model: Path, no_session: None) -> None:
    size = tiny_model.stat().st_size
    with pytest.raises(ModelError, match=rf"{size} bytes; at most {size - 1}"):
        Transformer(tiny_model, limits=Limits(model_bytes=size - 1))
    with pytest.raises(ModelError, match="at most 100 are read"):
        Transformer(tiny_model, limits=Limits(json_bytes=100))
    with pytest.raises(ModelError, match="2 levels deep"):
        Transformer(tiny_model, limits=Limits(json_depth=2))


# ---- weights in other files ----


def outside(folder: Path, location: str, *, content: bytes | None = None, **entries: str) -> Path:
    """A model in ``folder`` whose shifts lie elsewhere, in ``content``; None: what belongs there."""
    model = models.build()
    tensor = next(one for one in model.graph.initializer if one.name == "shifts")
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": location, "offset": "0", "length": str(len(data))} | entries).items():
        tensor.external_data.add(key=key, value=value)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    (folder / "weights.bin").write_bytes(data if content is None else content)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models" / "parts").mkdir(parents=True)
    return tmp_path / "models"


@pytest.mark.parametrize("location", ["weights.bin", "parts/weights.bin", "parts/link.bin"])
def test_weights_in_the_models_folder(folder: Path, location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = outside(folder, location)
    (folder / "parts" / "weights.bin").write_bytes((folder / "weights.bin").read_bytes())
    (folder / "parts" / "link.bin").symlink_to(folder / "weights.bin")
    monkeypatch.chdir(folder.parent)  # it is the model's folder that counts, not the one that we are in
    with Transformer(path.relative_to(folder.parent)) as t:
        face = np.zeros((64, 64, 3), np.uint8)
        older = t.age(face, group=0, landmarks=np.array([[24, 30], [40, 30], [32, 39], [25, 46], [39, 46]]))
        assert older.max() > 40


@pytest.mark.parametrize(
    "location",
    ["../secret", "/etc/passwd", "parts/../../secret", "link", "parts/link", "linked/secret", "", ".", "..", "parts", "missing.bin",
     "C:\\secret", "..\\secret", "*/_ORT_MEM_ADDR_/*", "a\0b", "weights.bin/", "./weights.bin", "file:///etc/passwd"],
)  # fmt: skip
def test_weights_elsewhere_are_refused(folder: Path, location: str, no_session: None) -> None:
    (folder.parent / "secret").write_bytes(bytes(20))
    (folder / "link").symlink_to(folder.parent / "secret")
    (folder / "parts" / "link").symlink_to("../../secret")
    (folder / "linked").symlink_to(folder.parent)
    (folder / "*" / "_ORT_MEM_ADDR_").mkdir(parents=True)
    (folder / "*" / "_ORT_MEM_ADDR_" / "*").write_bytes(bytes(20))
    with pytest.raises(ModelError, match="in the model's folder"):
        OnnxBackend(outside(folder, location))


@pytest.mark.parametrize(
    "entries",
    [{"offset": "1"}, {"offset": "-4"}, {"offset": "9" * 50}, {"length": "16"}, {"length": "x"}, {"offset": "٣"}],
    ids=str,
)
def test_weights_that_are_not_there_are_refused(folder: Path, entries: dict[str, str], no_session: None) -> None:
    with pytest.raises(ModelError, match="does not hold them"):
        OnnxBackend(outside(folder, "weights.bin", **entries))


def test_a_hash_does_not_speak_for_other_files(folder: Path, no_session: None) -> None:
    path = outside(folder, "weights.bin")
    with pytest.raises(ModelError, match="for which the hash does not speak"):
        OnnxBackend(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def test_other_files_count(folder: Path, no_session: None) -> None:
    path = outside(folder, "weights.bin", content=bytes(100_000))
    with pytest.raises(ModelError, match="100000 bytes in other files"):
        OnnxBackend(path, limits=Limits(model_bytes=50_000))
