"""A batch from beginning to end: what is missing is done, and remembered."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelError
from ..models.description import Description
from ..models.model_file import read_description
from ..transformer import model_path
from .journal import Journal
from .tasks import NO_FACE, Outcome, Task, find, sweep
from .worker import Settings, Worker, sha256_of

Executor = Callable[[Sequence[Task], Settings], Generator[Outcome, None, None]]
#: Called with how many tasks are done, of how many.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Summary:
    """What stands now in the folder of the results, and how much of it was there before."""

    tasks: int  # files and shards in all
    before: int  # those of them that were done by earlier runs
    aged: int  # pictures that have a result
    faces: int  # in these
    without_face: int  # pictures that have none
    failed: int  # the other pictures without a result


def local(tasks: Sequence[Task], settings: Settings) -> Generator[Outcome, None, None]:
    """The tasks one after the other in this process. Raises: as ``Worker``."""
    with Worker(settings) as worker:
        for task in tasks:
            yield worker(task)


def run(
    source: Path,
    out: Path,
    settings: Settings,
    *,
    executor: Executor = local,
    question: Mapping[str, object] | None = None,
    overwrite: bool = False,
    progress: Progress = lambda done, of: None,
) -> Summary:
    """Do what is missing.

    Args:
        source: a folder of pictures and of ``settings.shards``, or one of either.
        out: folder of the results, which holds those of one question: source, age, model, mark, and ``question``.
        executor: who does the tasks.
        question: what else is asked for, in JSON's types.
        overwrite: do everything again, whatever is there.

    Raises:
        InputError: wrong places, an age that there cannot be, or results of another question.
        ImageError: the journal cannot be written.
        ModelError, BackendError: the model or a run time is not usable.
    """
    tasks = find(source, out, settings.shards)
    path = model_path(settings.model)
    about = read_description(path)
    if not isinstance(about, Description):
        raise ModelError(f"{path}: estimates ages; expected a model that makes faces younger or older")
    about.age_code(group=settings.group, years=settings.years)
    asked = {
        "source": str(source.absolute()),
        "group": settings.group,
        "years": settings.years,
        "model": settings.sha256,
        "mark": settings.mark,
        **(question or {}),
    }
    with Journal(out, asked, overwrite=overwrite) as journal:
        sweep(out)
        outcomes = journal.outcomes
        missing = [task for task in tasks if task.name not in outcomes or not outcomes[task.name].is_complete(task)]
        try:
            with closing(executor(missing, settings)) as results:
                for done, outcome in enumerate(results, 1):
                    journal.add(outcome)
                    progress(done, len(missing))
        finally:
            sweep(out)
            journal.write_failures(task.name for task in tasks)
        return _summary([outcomes[task.name] for task in tasks], len(tasks) - len(missing))


def settings(model: Path | None, **others: object) -> Settings:
    """Settings for a model as the command line takes it. Raises ModelError."""
    path = model_path(model)
    # The bundled models go by their names: another machine may keep them elsewhere.
    named = None if model is None else "int8" if path != model else str(path.absolute())
    return Settings(named, sha256_of(path), **others)  # type: ignore[arg-type]


def _summary(outcomes: Sequence[Outcome], before: int) -> Summary:
    reasons = [reason for outcome in outcomes for _, reason in outcome.left_out]
    without_face = reasons.count(NO_FACE)
    aged, faces = sum(outcome.aged for outcome in outcomes), sum(outcome.faces for outcome in outcomes)
    return Summary(len(outcomes), before, aged, faces, without_face, len(reasons) - without_face)
