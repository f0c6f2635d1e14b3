"""Engine files: a raw TensorRT engine, and beside it one ``.json`` with its SHA-256 and its description.

An engine is native code: to load one in TensorRT is to run it. So everything that can be checked is checked on the
bytes, before TensorRT sees one of them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..files import check_sha256, is_file, read_bytes, sweep, write_files
from ..limits import LIMITS, Limits
from .description import Description
from .tensorrt_variants import VARIANTS

#: Endings of engine files.
SUFFIXES = (".plan", ".engine", ".trt")


def is_engine(path: Path) -> bool:
    """Whether a file is an engine, by its name."""
    return path.suffix.lower() in SUFFIXES


def json_file(path: Path) -> Path:
    """Where the SHA-256 and the description of an engine stand."""
    return path.with_name(path.name + ".json")


def write(path: Path, data: bytes, description: Description) -> str:
    """Write an engine and its ``.json``, each under its name only when it is whole; the SHA-256.

    Between the two an older engine is refused, never run by mistake: the ``.json`` is the first to be replaced.

    Raises OSError: a file cannot be written.
    """
    digest = hashlib.sha256(data).hexdigest()
    about = {"sha256": digest, "description": json.loads(description.to_json())}
    for file in (json_file(path), path):
        sweep(file)
    write_files({json_file(path): json.dumps(about, indent=1).encode() + b"\n", path: data})
    return digest


def read(path: Path, sha256: str | None = None, limits: Limits = LIMITS) -> tuple[bytes, Description]:
    """An engine's bytes and description, its hash checked.

    Args:
        sha256: the hash that it must have; that of the ``.json`` beside it when not given.

    Raises ModelError: missing, empty, too large, changed, no engine, or one without a description of ours beside it.
    """
    if not is_file(path):
        raise ModelError(f"{path}: no such engine; build one with lgin-edge build MODEL.onnx -o {path}")
    data = read_bytes(path, limits)
    if not data:
        raise ModelError(f"{path}: the file is empty; {rebuild(path)}")
    if data[:4] not in {variant.magic for variant in VARIANTS.values()}:
        # What has nothing of ours beside it may be anything, a picture say: it is not advised to be replaced.
        advice = rebuild(path) if json_file(path).is_file() else "lgin-edge build MODEL.onnx -o engine.plan makes one"
        raise ModelError(f"{path}: not a TensorRT engine (it begins with {data[:4]!r}); {advice}")
    beside = _read_json(path, limits)
    wanted, where = (
        (beside["sha256"], f"{json_file(path).name} says") if sha256 is None else (sha256, "sha256= asks for")
    )
    check_sha256(path, data, wanted, where, f"and an engine is native code, so it is not loaded; {rebuild(path)}")
    try:
        description = Description.from_json(json.dumps(beside["description"]), limits)
    except ModelError as error:
        raise ModelError(f"{json_file(path)}: {error}") from error
    if description.engine is None:
        raise ModelError(f"{json_file(path)}: its description says nothing of an engine; {rebuild(path)}")
    return data, description


def rebuild(path: Path, options: str = "") -> str:
    """What to do about an engine that cannot be used."""
    return f"build it again: lgin-edge build MODEL.onnx{options} -o {path}"


def _read_json(path: Path, limits: Limits) -> dict[str, Any]:
    """What stands beside an engine. Raises ModelError."""
    beside = json_file(path)
    try:
        with beside.open("rb") as file:
            text = str(file.read(2 * limits.json_bytes + 1), "utf-8")
        limits.check_json(text)
        found = json.loads(text)
        if not isinstance(found, dict) or not isinstance(found.get("sha256"), str) or "description" not in found:
            raise ValueError("it has no sha256 and description")
    except FileNotFoundError:
        raise ModelError(
            f"{path}: {beside.name} is not beside it. An engine is native code and is loaded only with its SHA-256 and "
            f"description: copy that file along with it, or {rebuild(path)}"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{beside}: cannot be read: {error}; {rebuild(path)}") from error
    return found
