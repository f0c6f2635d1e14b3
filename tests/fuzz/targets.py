"""What is fuzzed in Python: functions of bytes that return whatever the bytes are, or else something is wrong.

Each hands the bytes to something that takes them from outside, and lets through the errors that are promised there. Whatever
else it raises, a promise that is broken, and an execution of more than two seconds of CPU time is a find. They are called by
atheris (``campaign.py``), by hypothesis, and with the committed corpus by pytest (``tests/test_fuzz_corpus.py``).
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import math
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any

import numpy as np
from arguments import Arguments
from kiosk_alone import SMALL, ask, nothing, run, visit
from starlette.types import Message

from lgin_edge import (
    BackendError,
    ImageError,
    InputError,
    LginError,
    ModelError,
    geometry,
    images,
    kernels,
)
from lgin_edge.batch.worker import Aged
from lgin_edge.faces import FaceBatch
from lgin_edge.frames import PixelFormat
from lgin_edge.inference import onnxruntime
from lgin_edge.kernels import Edits, FacePlan
from lgin_edge.kiosk import protocol
from lgin_edge.kiosk.security import Guard, host_name, is_loopback
from lgin_edge.kiosk.settings import Settings
from lgin_edge.models import engine_file, onnx_file, tensorrt_variants
from lgin_edge.models.description import Description, check_template, parse

sys.path.append(str(Path(__file__).parents[2] / "integrations" / "datasets"))

import webdataset_shards

TARGETS: dict[str, Callable[[bytes], None]] = {}
#: How often a target got past its arguments, which it would not if they were no longer those of what it calls.
REACHED: Counter[str] = Counter()
#: Seconds of CPU time that an execution may take. (Wall time would count what other processes take.)
_PATIENCE = 2.0


def target(function: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Put a function among the targets, with the time that it may take."""

    @wraps(function)
    def timed(data: bytes) -> None:
        start = time.thread_time()
        function(data)
        taken = time.thread_time() - start
        assert taken < _PATIENCE, f"{function.__name__} took {taken:.1f} s of CPU time for {len(data)} bytes"

    TARGETS[function.__name__] = timed
    return timed


@target
def image(data: bytes) -> None:
    """Any file that is said to be a picture. What is read can be written again, and is then the same size."""
    kinds = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
    try:
        picture = images.decode(data, limits=SMALL)
    except ImageError:
        return
    assert picture.image.mode in ("L", "LA", "RGB", "RGBA")
    assert 0 < picture.image.width * picture.image.height <= SMALL.image_pixels
    with contextlib.suppress(ImageError):  # metadata that this format cannot hold
        written = images.encode(picture.image, kinds[len(data) % len(kinds)], picture)
        assert images.decode(written).image.size == picture.image.size


@target
def description(data: bytes) -> None:
    """The JSON inside a model. What is accepted means the same when it is written again, and can be used."""
    text = data.decode("utf-8", "replace")
    try:
        about = parse(text)
    except ModelError:
        return
    assert type(about).from_json(about.to_json()) == about
    about.model.encode()  # a lone surrogate could not be printed
    assert "\x1b" not in about.model + about.training_data + "".join(group.label for group in about.groups)
    with contextlib.suppress(ModelError):
        check_template(Path("model.onnx"), about)
    if isinstance(about, Description):
        code = about.age_code(years=50)
        assert math.isclose(code.sum(), 1, abs_tol=1e-5)


@target
def model(data: bytes) -> None:
    """An ONNX file, up to where ONNX Runtime would get it."""
    with contextlib.suppress(ModelError, ValueError):
        file = onnx_file.parse(_here() / "model.onnx", data)
        assert onnx_file.parse(file.path, file.data).data == file.data  # written anew, it is what it was
        if len(data) < 20_000:
            _same_to_protobuf(data, file.data)
        about = onnx_file.read_description(file, Description.from_json)
        onnx_file.check_interface(file, about.inputs, about.outputs)


def _same_to_protobuf(data: bytes, written: bytes) -> None:
    """What protobuf reads of a file and of what we wrote of it: the same, where it reads both."""
    import onnx

    theirs, ours = onnx.ModelProto(), onnx.ModelProto()
    ours.ParseFromString(written)
    try:
        theirs.ParseFromString(data)
    except Exception:  # noqa: BLE001 - protobuf is the stricter one here
        return
    for one in (theirs, ours):
        assert not one.functions
        assert not one.training_info
        assert not one.graph.sparse_initializer
    assert [node.op_type for node in theirs.graph.node] == [node.op_type for node in ours.graph.node]
    assert [(one.domain, one.version) for one in theirs.opset_import] == [
        (one.domain, one.version) for one in ours.opset_import
    ]
    for mine, original in zip(ours.graph.initializer, theirs.graph.initializer, strict=True):
        original.ClearField("doc_string")
        original.ClearField("metadata_props")
        assert (mine.name, mine.dims, mine.data_type) == (original.name, original.dims, original.data_type)
        assert mine.external_data == original.external_data


@target
def session(data: bytes) -> None:
    """An ONNX file as ``Transformer`` takes it: loaded, and run on one face. ONNX Runtime must live through what we let through."""
    path = _folder() / "model.onnx"
    path.write_bytes(data)
    with contextlib.suppress(ModelError, BackendError):
        backend = onnxruntime.OnnxBackend(path)
        one = {name: np.zeros((1, *shape), np.float32) for name, shape in backend.description.inputs.items()}
        if sum(array.size for array in one.values()) < 100_000:
            backend.run(**one)


@target
def engine(data: bytes) -> None:
    """What stands beside an engine, up to where TensorRT would get the engine."""
    path = _folder() / "engine.plan"
    path.write_bytes(b"vtrt")
    engine_file.json_file(path).write_bytes(data)
    with contextlib.suppress(ModelError):
        _, about = engine_file.read(path)
        assert about.engine is not None
        from lgin_edge.inference.tensorrt import check_gpu, check_variant

        check_gpu(Path("engine.plan"), about.engine, tensorrt_variants.VARIANTS["tensorrt-rtx"], 89)
        with contextlib.suppress(LginError):
            check_variant(Path("engine.plan"), b"vtrt", about.engine)


@target
def shard(data: bytes) -> None:
    """A WebDataset shard. Every sample has a result or a reason, and what a second reader finds damaged is not taken as whole."""
    source, result = _folder() / "in.tar", _folder() / "out.tar"
    source.write_bytes(data)
    result.unlink(missing_ok=True)

    def age(file: bytes, name: str) -> Aged | None:
        if len(file) % 5 == 4:
            raise ImageError(f"{name}: damaged")
        return Aged(file[::-1], 1) if file else None

    members = _tar_members(data)
    try:
        outcome = webdataset_shards.age_shard("s", source, result, age)
    except ImageError:
        assert not result.exists()
        return
    assert members != _DAMAGED
    names, kept = _tar_names(source), _tar_names(result) if outcome.aged else []
    assert members in (len(names), _UNKNOWN)
    left_out = {name.removeprefix("s/") for name, _ in outcome.left_out}
    assert {webdataset_shards.split(name)[0] for name in names} == {
        webdataset_shards.split(name)[0] for name in kept
    } | left_out


def _tar_names(path: Path) -> list[str]:
    with tarfile.open(path, "r:") as tar:
        return [member.name for member in tar if not member.isdir()]


_DAMAGED, _UNKNOWN = -1, -2


def _tar_members(data: bytes) -> int:
    """How many files a tar of plain files has, block by block; ``_DAMAGED`` where it breaks off, ``_UNKNOWN`` if it has others."""
    at = count = 0
    while at + 512 <= len(data):
        block = data[at : at + 512]
        if not any(block):
            return _DAMAGED if any(data[at:]) else count
        try:
            size, checksum = (int(block[a:b].strip(b" \0") or b"0", 8) for a, b in ((124, 136), (148, 156)))
        except ValueError:
            return _UNKNOWN
        if block[156:157] not in b"0" or sum(block[:148] + b" " * 8 + block[156:]) != checksum or size < 0:
            return _UNKNOWN
        at, count = at + 512 + -(-size // 512) * 512, count + 1
    return _DAMAGED


@target
def messages(data: bytes) -> None:
    """A text and a frame of the kiosk's page."""
    with contextlib.suppress(protocol.Refused):
        protocol.command(data.decode("utf-8", "replace"), Settings().frames)
    with contextlib.suppress(protocol.Refused):
        number, file = protocol.frame(data)
        assert 0 <= number < 1 << 32
        assert file


@target
def door(data: bytes) -> None:
    """``Host`` and ``Origin``, split at a newline: let in is only who goes by a name of the kiosk, from its own page."""
    host, _, origin = data.partition(b"\n")
    headers = [(b"host", host)] + ([(b"origin", origin)] if origin else [])
    passed, answers = [], []

    async def inside(*_: Any) -> None:
        passed.append(True)

    async def send(message: Message) -> None:
        answers.append(message)

    guard = Guard(inside, hosts=("kiosk.example",), refused=lambda _: None)
    run(guard({"type": "http", "headers": headers}, nothing, send))
    assert bool(passed) != bool(answers)
    name = host_name(host.decode("latin-1"))
    is_loopback(name)
    if passed and origin:
        assert host.lower() in origin.lower()
    if answers:
        assert answers[0]["status"] in (403, 421)


@target
def request(data: bytes) -> None:
    """HTTP requests: method, path and query, headers and body, each split at a newline. Never a 5xx but "busy"."""
    head, _, body = data.partition(b"\n\n")
    line, *lines = head.split(b"\n")
    method, _, address = line.partition(b" ")
    path, _, query = address.partition(b"?")
    pairs = [tuple(one.split(b":", 1)) for one in lines if b":" in one]
    headers = [(key.strip().lower(), value.strip()) for key, value in pairs if key.strip().lower() != b"host"]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method.decode("latin-1")[:20] or "POST",
        "scheme": "http",
        "path": path.decode("utf-8", "replace") or "/v1/age",
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"localhost"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    answer = run(ask(scope, body))
    assert 200 <= answer < 500 or answer == 503, f"answered {answer}"


@target
def live(data: bytes) -> None:
    """A visitor's WebSocket: messages split at 0xFF 0x00, texts but for those that begin with 0x01. It ends with a code of ours."""
    received: list[Message] = [{"type": "websocket.connect"}]
    for one in itertools.islice(data.split(b"\xff\x00"), 12):
        if one[:1] == b"\x01":
            received.append({"type": "websocket.receive", "bytes": one[1:]})
        else:
            received.append({"type": "websocket.receive", "text": one.decode("utf-8", "replace")})
    received.append({"type": "websocket.disconnect", "code": 1000})
    sent = run(visit(received))
    for message in sent:
        if message["type"] == "websocket.close":
            assert message["code"] in set(protocol.Close) - {protocol.Close.FAILED}
            assert len(message["reason"].encode()) <= 123


@target
def arguments(data: bytes) -> None:
    """What our own Python hands to the kernels: arrays of any type, shape and strides, numbers of any kind."""
    give = Arguments(data)
    frame, color = give.frame()
    affines, boxes = give.floats((give.small(), 2, 3)), give.floats((give.small(), 5, 4))
    before = frame.copy() if isinstance(frame, np.ndarray) else None
    with contextlib.suppress(InputError):
        pixel_format = PixelFormat.parse(color)
        spec, faces = geometry.ViewSpec(give.number(16), give.number(16)), FaceBatch(affines, boxes)
        plan = FacePlan.of(frame, faces, spec, pixel_format)
        kind = give.pick((np.float32, np.float16, "f8", None))
        face, patches = kernels.region_crop(plan, frame, dtype=kind, threads=give.number(3))
        assert np.isfinite(face).all()
        assert np.isfinite(patches).all()
        edits = Edits(give.array(face), give.array(patches))
        kernels.region_paste(plan, frame, edits, out=give.pick((None, frame)), threads=1)
        before = None
    with contextlib.suppress(InputError):
        view = give.floats((2, 3)), give.number(16), give.number(16)
        kernels.resample(frame, *view, pixel_format=PixelFormat.parse(color))
    with contextlib.suppress(InputError):
        pixel_format = PixelFormat.parse(color)
        spec, faces = geometry.ViewSpec(give.number(9), give.number(9)), FaceBatch(affines, boxes)
        plan = FacePlan(faces, spec, give.number(99), give.number(99), pixel_format)
        block = np.zeros(kernels.block_size(pixel_format, len(affines)) + give.pick((0, 0, 1)), np.uint8)
        plan.write_block(block, give.number(64), give.number(400))
    if before is not None:
        np.testing.assert_array_equal(frame, before)  # what was refused changed nothing


@target
def native(data: bytes) -> None:
    """The native module itself, past ``kernels``: a ValueError or TypeError, whatever it is called with."""
    give = Arguments(data)
    module: Any = vars(kernels)["_native"]
    frame, color = give.frame()
    n = give.small()
    affines, boxes = give.floats((n, 2, 3)), give.floats((give.pick((n, n, n, give.small())), 5, 4))
    s, p = 1 + give.take(1)[0] % 12, 1 + give.take(1)[0] % 12
    with contextlib.suppress(ValueError, TypeError):
        face, patches = (
            give.array(np.zeros((n, 3, s, s), np.float32)),
            give.array(np.zeros((n, 5, 3, p, p), np.float32)),
        )
        tapers, box = (give.real(), give.real()), tuple(give.real() for _ in range(4))
        rows, width = (*getattr(frame, "shape", ()), 0, 0)[:2]
        height = rows * 2 // 3 if color == "nv12" else rows
        plan = module.FacePlan(
            affines,
            boxes,
            give.floats((n,)),
            s,
            p,
            *tapers,
            give.pick(((0.0, 0.0, 1.0, 1.0), box)),
            1 + s % 4,
            height,
            width,
            color,
        )
        REACHED["native"] += 1
        with contextlib.suppress(ValueError, TypeError):
            module.region_crop(plan, frame, face, patches, give.number(3), -1)
        with contextlib.suppress(ValueError, TypeError):
            module.region_paste(plan, frame, face, patches, give.number(3), -1)
        with contextlib.suppress(ValueError, TypeError):
            view = give.array(np.zeros((3, s, p), np.float32))
            module.resample(frame, color, give.floats((2, 3)), view, give.number(3))
        corners = (give.number(40), give.number(40), give.number(80), give.number(80))
        block = give.array(np.zeros(module.block_size(color, n), np.uint8))
        with contextlib.suppress(ValueError, TypeError):
            plan.write_block(block, give.number(64), give.number(400), corners)
        face, patches, flow = (
            give.array(np.zeros(shape, np.float32)) for shape in ((n, 6, s, s), (n, 5, 4, p, p), (n, 2, 4, 4))
        )
        module.edit_paste(plan, frame, face, patches, give.pick((None, flow)), None, None, give.number(3), -1)


@lru_cache(maxsize=1)
def _folder() -> Path:
    """A folder that is removed at the end."""
    folder = tempfile.TemporaryDirectory(prefix="lgin-fuzz-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@lru_cache(maxsize=1)
def _here() -> Path:
    return Path(__file__).parent.resolve()
