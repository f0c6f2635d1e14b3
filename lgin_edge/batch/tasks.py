"""What there is to do: tasks, each a file that is done as a whole, and what came of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .. import images, jobs
from ..errors import InputError
from ..jobs import Job

#: Endings of files that hold many pictures.
SHARDS = (".parquet", ".tar")
#: Why a picture without a face has no result.
NO_FACE = "no face"


@dataclass(frozen=True)
class Task:
    """A picture file or a shard.

    Attributes:
        name: of the source within the folder given, with slashes.
        source, target: absolute paths, the same on all machines that work.
        size, mtime_ns: of the source; another size or time is another task.
    """

    name: str
    source: str
    target: str
    size: int
    mtime_ns: int

    @property
    def is_shard(self) -> bool:
        return self.source.lower().endswith(SHARDS)


@dataclass(frozen=True)
class Outcome:
    """What came of a task.

    Attributes:
        name: of the task.
        aged: pictures that have a result.
        faces: in these.
        left_out: name and reason of each picture without a result; ``NO_FACE``, or what failed.
        complete: False if the task has to be tried again.
        size, mtime_ns: of the task.
    """

    name: str
    aged: int
    faces: int
    left_out: tuple[tuple[str, str], ...]
    complete: bool
    size: int = 0
    mtime_ns: int = 0

    def is_complete(self, task: Task) -> bool:
        """Whether the task needs no more work: it was done, its source is still the same, and its result still there."""
        same = (self.name, self.size, self.mtime_ns) == (task.name, task.size, task.mtime_ns)
        return self.complete and same and (not self.aged or Path(task.target).exists())


def find(source: Path, out: Path) -> list[Task]:
    """The tasks of a folder of pictures and shards (or of one file), mirrored in the folder ``out``.

    Raises:
        InputError: nothing there, or results that would replace a source or each other.
    """
    suffixes = (*images.SUFFIXES, *SHARDS)
    if source.is_dir():
        root, found = source, jobs.files(source, suffixes, without=out)
    elif source.is_file() and source.suffix.lower() in suffixes:
        root, found = source.parent, [source]
    else:
        raise InputError(f"{source}: expected a folder or a file, of pictures or shards ({' '.join(suffixes)})")
    if not found:
        raise jobs.no_pictures([source], suffixes)
    planned = [Job(file, out / file.relative_to(root).with_name(_result_name(file))) for file in found]
    jobs.check(planned)
    return [_task(job, root) for job in planned]


def _result_name(file: Path) -> str:
    return file.name if file.suffix.lower() in SHARDS else jobs.result_name(file)


def _task(job: Job, root: Path) -> Task:
    stat = job.source.stat()
    name = job.source.relative_to(root).as_posix()
    return Task(name, str(job.source.absolute()), str(job.target.absolute()), stat.st_size, stat.st_mtime_ns)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write instead of ``path``, which becomes it when all went well; removing it leaves ``path`` as it was."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield partial
        if partial.exists():
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def sweep(out: Path) -> None:
    """Remove what killed workers left half written (by ``whole`` and ``images.write``)."""
    for partial in out.rglob(".*.tmp"):
        if len(partial.suffixes) >= 2 and len(partial.suffixes[-2]) == len(".01234567"):
            partial.unlink(missing_ok=True)
