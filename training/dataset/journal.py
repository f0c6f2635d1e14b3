"""The journal of ``training.prepare``: what was decided on each picture, a line each, so that an interruption loses nothing.

The first line holds the options.
"""

from __future__ import annotations

from pathlib import Path

from lgin_edge.batch.journal import JsonLines
from lgin_edge.errors import InputError

from .alignment import UNREADABLE, Job, Json, stamp

NAME = "prepare.jsonl"
_HEAD = b'{"options": '


class Journal:
    """``prepare.jsonl`` of a folder, made or resumed, and locked until it is closed.

    Args:
        out: the folder; made if missing, and ``images/`` in it.
        options: what every picture must have been judged by; JSON-able.

    Attributes:
        verdicts: by the picture's name, as ``alignment.align`` returns them; the last one of a name counts.

    Raises InputError: the folder is not ours, cannot be written, is at work elsewhere, or was begun with other options.
    """

    def __init__(self, out: Path, options: Json) -> None:
        path = out / NAME
        try:
            out.mkdir(parents=True, exist_ok=True)
            if not path.is_file() and any(out.iterdir()):
                raise InputError(f"{out}: holds files but no {NAME}, so it is not ours; give a new or an empty folder")
            self._lines = JsonLines(path)
        except BlockingIOError as error:
            raise InputError(f"{path}: another training.prepare is at work here; wait for its end") from error
        except OSError as error:
            raise InputError(f"{out}: cannot be written ({error.strerror}); give another folder for OUT") from error
        try:
            self.verdicts = self._resume(path, options)
            (out / "images").mkdir(exist_ok=True)
            for stale in (out / "images").glob(".*.tmp"):  # of a worker that was killed as it wrote
                stale.unlink()
        except BaseException:
            self.close()
            raise

    def _resume(self, path: Path, options: Json) -> dict[str, Json]:
        data = self._lines.data
        if not (data.startswith(_HEAD) or _HEAD.startswith(data)):
            raise InputError(f"{path}: not a journal of training.prepare; give another folder for OUT")
        try:
            rows = self._lines.rows()
        except ValueError as error:
            raise InputError(f"{path}: damaged ({error}); give another folder for OUT, or delete this one") from error
        if not rows:
            self._lines.append({"options": options})
            return {}
        header, *entries = rows
        begun = header["options"]
        changed = [
            f"{key}: {begun.get(key)!r} then, {options.get(key)!r} now"
            for key in sorted(begun | options)
            if begun.get(key) != options.get(key)
        ]
        if changed:
            raise InputError(
                f"{path.parent}: was begun with other options, and one set must not mix them ({'; '.join(changed)}). Give "
                "the same options to go on, or another folder for OUT"
            )
        return {entry["name"]: entry for entry in entries}

    def holds(self, job: Job) -> bool:
        """Whether a verdict still holds: source unchanged, result there, and not a failure that may have passed."""
        entry = self.verdicts.get(job.name)
        if entry is None or entry.get("reason") == UNREADABLE or entry["stamp"] != stamp(job.path):
            return False
        return "row" not in entry or (job.out / entry["row"]["file"]).is_file()

    def add(self, verdict: Json) -> None:
        self._lines.append(verdict)
        self.verdicts[verdict["name"]] = verdict

    def close(self) -> None:
        self._lines.close()
