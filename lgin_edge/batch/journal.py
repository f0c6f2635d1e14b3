"""What is done: ``report.jsonl`` beside the results, one line a task as it ends, and ``failures.csv`` for people.

The first line says what is asked for, so that one folder never holds the results of two questions.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import json
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import ImageError, InputError
from ..files import write_files
from .tasks import Outcome

#: What file systems of networks say that have no locks; there nothing keeps two processes apart.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
FILE, FAILURES = "report.jsonl", "failures.csv"


class JsonLines:
    """Rows of JSON in a file, a line each, to which one process at a time may append, where the file system has locks: an interruption
    loses nothing.

    Half a line at the end, of a process that was killed, does not count; it is cut off before the next row is written.

    Attributes:
        data: the bytes that were there.

    Raises BlockingIOError: another process holds it; OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b")
        try:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
            self._file.seek(0)
            self.data = self._file.read()
        except BaseException:
            self._file.close()
            raise
        self._end = self.data.rfind(b"\n") + 1

    def rows(self) -> list[Any]:
        """The rows that were there. Raises ValueError or RecursionError if one is damaged."""
        return [json.loads(line) for line in self.data[: self._end].splitlines()]

    def clear(self) -> None:
        """Begin anew with the next row."""
        self._end = 0

    def append(self, row: Any) -> None:
        """Write a row, so that it is there after a power failure. Raises OSError."""
        line = json.dumps(row).encode() + b"\n"
        self._file.truncate(self._end)
        self._file.write(line)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._end += len(line)

    def close(self) -> None:
        with suppress(OSError):  # of a line that could not be written, which was reported
            self._file.close()


class Journal(AbstractContextManager["Journal"]):
    """The journal of a folder of results, held by one process at a time.

    Args:
        folder: of the results; made if missing.
        question: what is asked for, in JSON's types; a journal of another question is refused.
        overwrite: begin anew: everything is done again.

    Attributes:
        outcomes: by the tasks' names, the last of each.

    Raises:
        InputError: another question, another process at work, or a folder with files that are not from here.
        ImageError: it cannot be read or written.
    """

    def __init__(self, folder: Path, question: dict[str, Any], *, overwrite: bool = False) -> None:
        self._folder = folder
        self.outcomes: dict[str, Outcome] = {}
        path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not overwrite and not path.exists() and any(folder.iterdir()):
                raise InputError(
                    f"{folder} has files and no {FILE}: they are not from lgin-edge batch; give another folder, or --overwrite"
                )
            self._lines = JsonLines(path)
        except BlockingIOError:
            raise InputError(f"{folder}: another lgin-edge batch is writing to it") from None
        except OSError as error:
            raise ImageError(f"{folder}: cannot be written: {error}") from error
        try:
            self._begin(question, overwrite)
        except BaseException:
            self._lines.close()
            raise

    def _begin(self, question: dict[str, Any], overwrite: bool) -> None:
        asked, self.outcomes = (None, {}) if overwrite else self._read()
        before = {key: (asked or {}).get(key) for key in question if asked is None or asked.get(key) != question[key]}
        if before and self.outcomes:
            now = {key: question[key] for key in before}
            raise InputError(
                f"{self._folder} holds the results of {before}, and now {now} is asked for; give another folder, or --overwrite"
            )
        if before:
            self._lines.clear()
            self._write(question)

    def _read(self) -> tuple[dict[str, Any] | None, dict[str, Outcome]]:
        """What was asked for, and what came of it."""
        try:
            asked, *rest = self._lines.rows() or [None]
            if asked is not None and not isinstance(asked, dict):
                raise ValueError(f"its first line is not what was asked for: {str(asked)[:100]}")
            outcomes = [Outcome.from_json(row) for row in rest]
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{self._folder / FILE} is damaged ({error}); give another folder, or --overwrite"
            ) from error
        return asked, {outcome.name: outcome for outcome in outcomes}

    def add(self, outcome: Outcome) -> None:
        """Remember what came of a task. Raises ImageError."""
        self.outcomes[outcome.name] = outcome
        self._write(asdict(outcome))

    def _write(self, row: dict[str, Any]) -> None:
        try:
            self._lines.append(row)
        except OSError as error:
            raise ImageError(f"{self._folder / FILE}: cannot be written: {error}") from error

    def write_failures(self, names: Iterable[str]) -> None:
        """Write ``failures.csv`` for the tasks of these names: every picture that has no result, and why. Raises ImageError."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("picture", "reason"))
        for name in names:
            if name in self.outcomes:
                writer.writerows(map(_cell, row) for row in self.outcomes[name].left_out)
        try:
            write_files({self._folder / FAILURES: text.getvalue().encode(errors="surrogateescape")})
        except OSError as error:
            raise ImageError(f"{self._folder / FAILURES}: cannot be written: {error}") from error

    def __exit__(self, *_: object) -> None:
        self._lines.close()


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
