"""Files on file systems that do not know all that a disk's knows."""

from __future__ import annotations

import errno
import fcntl
import sys
from pathlib import Path

import pytest

from lgin_edge.batch.journal import JsonLines
from lgin_edge.files import atomic_write, partial_path, write_files


def test_a_file_is_replaced_where_permissions_cannot_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on shares of Windows machines."""

    def chmod(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    path = tmp_path / "a.jpg"
    path.write_bytes(b"old")
    monkeypatch.setattr(Path, "chmod", chmod)
    with atomic_write(path) as partial:
        partial.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_journal_is_written_where_there_are_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(code, "no locks")

    monkeypatch.setattr(fcntl, "flock", flock)
    lines = JsonLines(tmp_path / "report.jsonl")
    lines.append({"a": 1})
    lines.close()
    again = JsonLines(tmp_path / "report.jsonl")
    assert again.rows() == [{"a": 1}]
    again.close()


def test_a_name_in_another_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under LC_ALL=C with PYTHONUTF8=0: names are ASCII, and other bytes are kept as they are."""
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    name = partial_path(tmp_path / "é.jpg").name
    assert name.isascii()
    assert (name.startswith("."), name.endswith(".tmp")) == (True, True)


def test_a_full_disk_is_said_to_be_that_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as raised:
        write_files({tmp_path / "mine.json": b"{}"})
    assert raised.value.filename == str(tmp_path / "mine.json")
