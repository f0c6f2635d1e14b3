"""The work on one task: the same on one process and on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from .. import images, jobs
from ..errors import BackendError, ClosedError, LginError, ModelError, raised_by_caller
from ..files import sha256
from ..image_decoders import ImageDecoders
from ..limits import Limits
from ..transformer import Transformer, model_path
from .tasks import NO_FACE, Outcome, Task, size_of

#: Seconds that a picture may take to decode, in a process of its own.
_DECODE_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Settings:
    """What is done to every picture, and with what."""

    model: str | None  # as ``Transformer`` takes it; a path has to be the same on all machines
    sha256: str  # of its file: a worker whose file is another one refuses to work
    group: float | None = None  # as ``Transformer.age`` takes them, one of the two
    years: float | None = None
    mark: bool = False  # words in its corner say that it was changed
    device: str | None = None  # as ``Transformer`` takes them, for each worker
    threads: int | None = None
    shards: Mapping[str, AgeShard] = field(default_factory=dict)  # by their ending, ".tar"


@dataclass(frozen=True)
class Aged:
    """A picture's result: the file's bytes, of the same format where that is written and else PNG, and the number of faces."""

    data: bytes
    faces: int


#: A picture file's bytes and name to its result; None without a face. Raises ImageError, InputError.
Age: TypeAlias = Callable[[bytes, str], Aged | None]
#: A shard by the name of its task, its source and its target, which is replaced. Raises ImageError, BackendError, OSError.
AgeShard: TypeAlias = Callable[[str, Path, Path, Age], Outcome]


def sha256_of(path: Path) -> str:
    """Raises ModelError."""
    try:
        return sha256(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error


class Worker(AbstractContextManager["Worker"]):
    """A loaded model that does tasks. Raises ModelError if it is not the one that the others have; or as ``Transformer``."""

    def __init__(self, settings: Settings) -> None:
        path = model_path(settings.model)
        found = sha256_of(path)
        if found != settings.sha256:
            raise ModelError(
                f"{path} is another model here (SHA-256 {found}) than where the batch was started "
                f"({settings.sha256}): install the same lgin-edge and put the same file on every machine"
            )
        self._settings = settings
        self._asked: dict[str, Any] = {"group": settings.group, "years": settings.years, "mark": settings.mark}
        self._transformer = Transformer(path, device=settings.device, threads=settings.threads)
        self._decoders = ImageDecoders(1, _DECODE_TIMEOUT_S)

    def __call__(self, task: Task) -> Outcome:
        """Do a task. What is wrong with it comes back in the outcome.

        Raises BackendError: the run time is not there or failed: other tasks would fare no better.
        """
        try:
            outcome = self._shard(task) if task.suffix in self._settings.shards else self._picture(task)
        except (BackendError, ClosedError):
            raise
        except (LginError, OSError, MemoryError) as error:
            # No other OSError of a caller's: a shard's reader is not ours either, and may itself have waited for too long.
            reader = getattr(self._settings.shards.get(task.suffix), "__module__", "").partition(".")[0]
            if isinstance(error, TimeoutError) and raised_by_caller(error, reader):
                raise
            reason = str(error) or type(error).__name__
            outcome = Outcome(task.name, 0, 0, ((task.name, reason),), complete=False)
        if outcome.complete and not outcome.aged:  # of an earlier source of this name
            Path(task.target).unlink(missing_ok=True)
        result_size = size_of(Path(task.target)) if outcome.aged else None
        return replace(outcome, size=task.size, mtime_ns=task.mtime_ns, result_size=result_size)

    def _picture(self, task: Task) -> Outcome:
        job = jobs.Job(Path(task.source), Path(task.target))
        faces = jobs.age_file(self._transformer, job, **self._asked, overwrite=True, read=self._read)
        return Outcome(task.name, int(faces > 0), faces, () if faces else ((task.name, NO_FACE),), complete=True)

    def _read(self, path: Path, *, limits: Limits) -> images.Picture:
        """``images.read``, which ends."""
        return self._decoders.decode(images.file_bytes(path, limits=limits), str(path), limits=limits)

    def _shard(self, task: Task) -> Outcome:
        source, target = Path(task.source), Path(task.target)
        target.parent.mkdir(parents=True, exist_ok=True)
        return self._settings.shards[task.suffix](task.name, source, target, self._age)

    def _age(self, data: bytes, name: str) -> Aged | None:
        """``Age``: one picture in memory."""
        picture = self._decoders.decode(data, name)
        image, faces = jobs.age_picture(self._transformer, picture, **self._asked)
        if image is None:
            return None
        kind = picture.format if picture.format in images.WRITABLE.values() else "PNG"
        return Aged(images.encode(image, kind, picture), faces)

    def close(self) -> None:
        self._decoders.close()
        self._transformer.close()

    def __exit__(self, *_: object) -> None:
        self.close()
