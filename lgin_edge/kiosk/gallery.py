"""Pictures that the staff may see after the visit: files in a folder, where the operator asked for that."""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import InputError
from .snapshots import MEDIA_TYPES

_log = logging.getLogger(__name__)

#: Time in UTC, and the visitor's token. Files of others in the folder have other names.
_TIME = "%Y%m%d-%H%M%S"
_NAME = re.compile(rf"\d{{8}}-\d{{6}}-[\w-]{{22}}\.({'|'.join(MEDIA_TYPES)})")
_TOKEN = slice(16, 38)
_SHORTEST_PASSWORD = 12


class Gallery:
    """A folder of pictures, each for a set time, of a set size in all; readable for this user alone.

    Args:
        folder: made if it is not there.
        seconds: how long a picture is kept.
        max_bytes: of all pictures; of more, the oldest go.
        password: of the staff.

    Raises:
        InputError: the folder cannot be written to; the password is short.
    """

    def __init__(self, folder: Path, seconds: float, max_bytes: float, password: str) -> None:
        if len(password) < _SHORTEST_PASSWORD:
            raise InputError(
                f"the staff's password: expected {_SHORTEST_PASSWORD} characters or more, got {len(password)}"
            )
        self.folder, self.seconds, self._max_bytes, self._password = folder, seconds, max_bytes, password.encode()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder}: no folder that pictures can be kept in: {error.strerror}") from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise InputError(f"{folder}: no picture can be written there")

    def admits(self, authorization: str) -> bool:
        """Whether this header has the staff's password, as HTTP's Basic scheme sends it; the user's name does not count."""
        scheme, _, word = authorization.partition(" ")
        try:
            _, _, given = base64.b64decode(word, validate=True).partition(b":")
        except ValueError:
            return False
        return scheme.lower() == "basic" and secrets.compare_digest(given, self._password)

    def names(self) -> list[str]:
        """Of all pictures, the newest first."""
        try:
            found = [path.name for path in self.folder.iterdir()]
        except OSError as error:  # a disk that was unplugged, say
            _log.error("%s: cannot be read: %s", self.folder, error)
            return []
        return sorted(filter(_NAME.fullmatch, found), reverse=True)

    def path(self, name: str) -> Path | None:
        """Of a picture; None if there is none of that name, or no more."""
        path = self.folder / name
        return path if _NAME.fullmatch(name) and path.is_file() else None

    def add(self, token: str, kind: str, data: bytes) -> None:
        """Keep a picture; where the disk does not take it, the log says so."""
        path = self.folder / f"{time.strftime(_TIME, time.gmtime())}-{token}.{kind}"
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
        except OSError as error:
            _log.error("%s was not kept: %s", path, error)
            path.unlink(missing_ok=True)
        self.sweep()

    def delete(self, token: str) -> None:
        """Drop a visitor's picture."""
        self._drop(name for name in self.names() if name[_TOKEN] == token)

    def sweep(self) -> None:
        """Drop what is over, and of too many bytes the oldest pictures."""
        self._drop(self._over())

    def _over(self) -> Iterator[str]:
        oldest = time.strftime(_TIME, time.gmtime(max(0.0, time.time() - self.seconds)))
        left = self._max_bytes
        for name in self.names():
            with contextlib.suppress(FileNotFoundError):  # deleted just now
                left -= (self.folder / name).stat().st_size
            if name < oldest or left < 0:
                yield name

    def _drop(self, names: Iterable[str]) -> None:
        try:
            for name in names:
                (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            _log.error("%s: cannot be deleted from: %s", self.folder, error)
