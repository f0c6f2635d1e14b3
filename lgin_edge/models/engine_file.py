"""Engine files: a raw TensorRT plan, the description inside it, and its SHA-256 beside it.

An engine is native code: whoever makes TensorRT load one runs it. So everything that can be checked is checked on the
bytes, before TensorRT sees one of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from ..errors import ModelError
from ..files import check_sha256, read_bytes
from ..limits import LIMITS, Limits
from .description import Description
from .tensorrt_variants import FLAVOURS

#: Endings of engine files.
SUFFIXES = (".plan", ".engine", ".trt")
#: How a description begins, and at how many such places one is looked for.
_MARK, _MOST_MARKS = b'{"model":', 64


def is_engine(path: Path) -> bool:
    """Whether a file is an engine, by its name."""
    return path.suffix.lower() in SUFFIXES


def hash_file(path: Path) -> Path:
    """Where the SHA-256 of an engine stands, in the format of ``sha256sum``."""
    return path.with_name(path.name + ".sha256")


def write(path: Path, data: bytes) -> str:
    """Write an engine and its hash, each under its name only when it is whole; the SHA-256.

    Between the two an older engine is refused, never run by mistake: the hash is the first to be replaced.

    Raises:
        OSError: a file cannot be written.
    """
    digest = hashlib.sha256(data).hexdigest()
    write_whole({hash_file(path): f"{digest}  {path.name}\n".encode(), path: data})
    return digest


def write_whole(contents: Mapping[Path, bytes]) -> None:
    """Write files, which take their names one after the other when all are whole; none if one cannot be written.

    Raises:
        OSError: a file cannot be written.
    """
    partials = {path.with_name(path.name + ".partial"): path for path in contents}
    try:
        for partial, path in partials.items():
            partial.write_bytes(contents[path])
        for partial, path in partials.items():
            partial.replace(path)
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)


def read(path: Path, sha256: str | None = None, limits: Limits = LIMITS) -> tuple[bytes, Description]:
    """An engine's bytes and description, its hash checked.

    Args:
        sha256: the hash that it must have; that of the file beside it when not given.

    Raises:
        ModelError: missing, empty, too large, changed, no engine, or one without a description of ours.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such engine; build one with lgin-edge build MODEL.onnx -o {path}")
    data = read_bytes(path, limits)
    if not data:
        raise ModelError(f"{path}: the file is empty; {rebuild(path)}")
    wanted = _expected_hash(path) if sha256 is None else sha256
    where = f"{hash_file(path).name} says" if sha256 is None else "sha256= asks for"
    check_sha256(path, data, wanted, where, f"and an engine is native code, so it is not loaded; {rebuild(path)}")
    return data, describe(path, data, limits)


def describe(path: Path, data: bytes, limits: Limits = LIMITS) -> Description:
    """The description that stands in an engine's bytes. Raises ModelError; ``path`` goes into the message."""
    magics = {flavour.magic: name for name, flavour in FLAVOURS.items()}
    if data[:4] not in magics:
        raise ModelError(f"{path}: not a TensorRT engine (it begins with {data[:4]!r}); {rebuild(path)}")
    found = _find(data, limits)
    if found is None:
        raise ModelError(
            f"{path}: a {magics[data[:4]]} engine, but none of lgin-edge: it carries no description; {rebuild(path)}"
        )
    try:
        description = Description.from_json(found, limits)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    if description.engine is None:
        raise ModelError(f"{path}: its description says nothing of an engine; {rebuild(path)}")
    return description


def rebuild(path: Path, options: str = "") -> str:
    """What to do about an engine that cannot be used."""
    return f"build it again: lgin-edge build MODEL.onnx{options} -o {path}"


def _expected_hash(path: Path) -> str:
    beside = hash_file(path)
    try:
        text = beside.read_text("ascii")
    except FileNotFoundError:
        raise ModelError(
            f"{path}: {beside.name} is not beside it. An engine is native code and is loaded only with its SHA-256: copy that "
            "file along with it, or give sha256= from a source that you trust"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{beside}: cannot be read: {error}") from error
    return text.split(maxsplit=1)[0] if text.strip() else ""


def _find(data: bytes, limits: Limits) -> str | None:
    """The first JSON object in the bytes that looks like a description."""
    start = data.find(_MARK)
    for _ in range(_MOST_MARKS):
        if start < 0:
            break
        # What follows the JSON is binary and may split a character: it is dropped, the JSON itself is ASCII.
        text = data[start : start + limits.json_bytes].decode("latin-1")
        try:
            value, end = json.JSONDecoder().raw_decode(text)
        except (ValueError, RecursionError):
            pass
        else:
            if "format" in value:
                return text[:end]
        start = data.find(_MARK, start + 1)
    return None
