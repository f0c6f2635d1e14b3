"""What there is to do: tasks, each a file that is done as a whole, and what came of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from .. import images, jobs
from ..errors import InputError
from ..jobs import Job

#: Why a picture without a face has no result.
NO_FACE = "no face"


@dataclass(frozen=True)
class Task:
    """A picture file, or a shard: a file of many pictures."""

    name: str  # of the source within the folder given, with slashes
    source: str  # absolute paths, the same on all machines that work
    target: str
    size: int  # of the source; another size or time is another task
    mtime_ns: int

    @property
    def suffix(self) -> str:
        """The ending of its file, in small letters."""
        return Path(self.source).suffix.lower()


@dataclass(frozen=True)
class Outcome:
    """What came of a task."""

    name: str  # of the task
    aged: int  # pictures that have a result
    faces: int  # in these
    left_out: tuple[tuple[str, str], ...]  # name and reason of each picture without one; ``NO_FACE``, or what failed
    complete: bool  # False if the task has to be tried again
    size: int = 0  # of the task
    mtime_ns: int = 0
    result_size: int | None = None  # bytes of the result, if there is one

    def is_complete(self, task: Task) -> bool:
        """Whether the task needs no more work: it was done, its source has still the same size and time, and its result is
        still there in the size in which it was written."""
        same = (self.name, self.size, self.mtime_ns) == (task.name, task.size, task.mtime_ns)
        if not (self.complete and same):
            return False
        return not self.aged or (self.result_size is not None and size_of(Path(task.target)) == self.result_size)

    @staticmethod
    def from_json(row: object) -> Outcome:
        """What ``asdict`` made of an outcome and JSON kept. Raises ValueError if it is none."""
        if not isinstance(row, dict) or any(type(row.get(name)) is not kind for name, kind in _TYPES.items()):
            raise ValueError(f"no outcome: {str(row)[:100]}")
        for pair in row["left_out"]:
            if not isinstance(pair, list) or [type(text) for text in pair] != [str, str]:
                raise ValueError(f"no name and reason: {str(pair)[:100]}")
        known = {name: row[name] for name in _TYPES}
        size = row.get("result_size")
        return Outcome(
            **known | {"left_out": tuple(map(tuple, row["left_out"]))}, result_size=size if type(size) is int else None
        )


#: What each line of a journal has, and of what type.
_TYPES = {"name": str, "aged": int, "faces": int, "left_out": list, "complete": bool, "size": int, "mtime_ns": int}


def size_of(path: Path) -> int | None:
    """Bytes of a file; None if there is none."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def find(source: Path, out: Path, shards: Collection[str] = ()) -> list[Task]:
    """The tasks of a folder (or of one file), mirrored in the folder ``out``: its pictures, and shards of these endings.

    Raises InputError: nothing there, or results that would replace a source or each other.
    """
    suffixes = (*images.SUFFIXES, *shards)
    try:
        if source.is_dir():
            root, found = source, jobs.files(source, suffixes, without=out)
        elif source.is_file() and source.suffix.lower() in suffixes:
            root, found = source.parent, [source]
        else:
            raise InputError(f"{source}: expected a folder or a file, of pictures ({' '.join(suffixes)})")
        above = out.resolve() in root.resolve().parents
    except OSError as error:
        raise InputError(f"{source}: cannot be looked at: {error}") from error
    if above:
        raise InputError(f"{out} lies above the sources; give another folder for the results")
    if not found:
        raise jobs.no_pictures([source], suffixes)
    planned = [Job(file, out / target) for file, target in zip(found, _result_paths(found, root, shards), strict=True)]
    jobs.check(planned)
    return [_task(job, root) for job in planned]


def _result_paths(found: list[Path], root: Path, shards: Collection[str]) -> list[Path]:
    """Where the results stand in the folder of results. A picture in a format that is not written becomes ``a.png``; beside an
    ``a.png`` of its own it becomes ``a.gif.png``."""
    taken = {file.relative_to(root) for file in found}
    paths = []
    for file in found:
        path = file.relative_to(root)
        if file.suffix.lower() not in shards:
            plain = path.with_name(jobs.result_name(file))
            path = plain if plain == path or plain not in taken else path.with_name(f"{file.name}.png")
            taken.add(path)
        paths.append(path)
    return paths


def _task(job: Job, root: Path) -> Task:
    stat = job.source.stat()
    name = job.source.relative_to(root).as_posix()
    return Task(name, str(job.source.absolute()), str(job.target.absolute()), stat.st_size, stat.st_mtime_ns)


def sweep(out: Path) -> None:
    """Remove what killed workers left half written (``files.atomic_write``)."""
    for partial in out.rglob(".*.tmp"):
        if len(partial.suffixes) >= 2 and len(partial.suffixes[-2]) == len(".01234567"):
            partial.unlink(missing_ok=True)
