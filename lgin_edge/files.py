"""A model file's bytes: how many are read, and which ones."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from .errors import ModelError
from .limits import Limits

_HASH = re.compile(r"[0-9a-f]{64}")


def read_bytes(path: Path, limits: Limits) -> bytes:
    """A model file, whole. Raises ModelError if it is larger than ``limits.model_bytes`` or cannot be read."""
    try:
        size = path.stat().st_size
        if size > limits.model_bytes:
            raise ModelError(
                f"{path}: {size} bytes; at most {limits.model_bytes} of a model are read (Limits.model_bytes)"
            )
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error


def check_sha256(path: Path, data: bytes, wanted: str, who: str, so: str) -> None:
    """Raises ModelError if the bytes of a file have not the hash that is wanted, or that is none.

    Args:
        wanted: 64 hexadecimal digits.
        who: wants it, as in "sha256= asks for".
        so: what follows, and what to do.
    """
    wanted = wanted.lower()
    if not _HASH.fullmatch(wanted):
        raise ModelError(f"{path}: expected a SHA-256 of 64 hexadecimal digits, got {wanted[:80]!r}")
    found = hashlib.sha256(data).hexdigest()
    if found != wanted:
        raise ModelError(
            f"{path}: its SHA-256 is {found}, and {who} {wanted}: it was changed, damaged or cut off, {so}"
        )
