"""Files, whole or not at all: written in one step, read within bounds, known by their SHA-256."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from .errors import ModelError, shown
from .limits import Limits

_HASH = re.compile(r"[0-9a-f]{64}")
#: Bytes of a file's name, as file systems take them.
_MAX_NAME = 255


def partial_path(path: Path) -> Path:
    """A name beside ``path`` for what becomes it later: hidden, ``.NAME.01234567.tmp``, and never too long."""
    tail = f".{secrets.token_hex(4)}.tmp"
    name = os.fsencode(path.name)[: _MAX_NAME - 1 - len(tail)]
    return path.with_name(f".{name.decode(sys.getfilesystemencoding(), 'ignore')}{tail}")


def sweep(path: Path) -> None:
    """Remove what a killed process left half written of this file."""
    for stale in path.parent.glob(f".{glob.escape(path.name)}.????????.tmp"):
        stale.unlink(missing_ok=True)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A file to write instead of ``path``, which becomes it when all went well; removing it leaves ``path`` as it was.

    A file that is replaced keeps its permissions, and a symbolic link its place: what it leads to is replaced.
    """
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    try:
        mode: int | None = stat.S_IMODE(target.stat().st_mode)
    except OSError:
        mode = None
    partial = partial_path(target)
    try:
        if mode is not None:
            partial.touch(mode=mode & 0o600, exist_ok=False)  # private until it has its own permissions
        yield partial
        if partial.exists():
            if mode is not None:
                with suppress(PermissionError):  # file systems of networks may have permissions of their own
                    partial.chmod(mode)
            with partial.open("rb+") as written:
                os.fsync(written.fileno())  # else a power failure leaves an empty file of this name
            partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write files, which take their names one after the other when all are whole; none if one cannot be written.

    Raises OSError: a file cannot be written.
    """
    with ExitStack() as stack:
        for path in reversed(list(contents)):  # the first to be left takes its name first
            _write(stack.enter_context(atomic_write(path)), contents[path], path)


def _write(partial: Path, data: bytes, path: Path) -> None:
    try:
        partial.write_bytes(data)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk names no file
        raise


#: Whether there is such a file, or such a file or folder. For a name that none can have, too, they say no; ``Path``'s raise.
is_file, exists = os.path.isfile, os.path.exists


def sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


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
    wanted = wanted.lower() if isinstance(wanted, str) else shown(wanted)
    if not _HASH.fullmatch(wanted):
        raise ModelError(f"{path}: expected a SHA-256 of 64 hexadecimal digits, got {wanted[:80]!r}")
    found = hashlib.sha256(data).hexdigest()
    if found != wanted:
        raise ModelError(
            f"{path}: its SHA-256 is {found}, and {who} {wanted}: it was changed, damaged or cut off, {so}"
        )
