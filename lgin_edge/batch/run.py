"""A batch from beginning to end: what is missing is done, and remembered."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..backends import read_description
from ..description import Description
from ..errors import ModelError
from ..transformer import model_path
from . import tasks as units_
from .journal import Journal
from .tasks import NO_FACE, Outcome, Unit
from .worker import Settings, Worker, sha256_of

Engine = Callable[[Sequence[Unit], Settings], Generator[Outcome, None, None]]
#: Called with how many units are done, of how many.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Summary:
    """What stands now in the folder of the results, and how much of it was there before.

    Attributes:
        units, before: files and shards in all, and those that were done by earlier runs.
        aged, faces: pictures that have a result, and the faces in them.
        without_face, failed: pictures that have none, by reason.
    """

    units: int
    before: int
    aged: int
    faces: int
    without_face: int
    failed: int


def local(units: Sequence[Unit], settings: Settings) -> Generator[Outcome, None, None]:
    """The units one after the other in this process. Raises: as ``Worker``."""
    with Worker(settings) as worker:
        for unit in units:
            yield worker(unit)


def run(
    source: Path,
    out: Path,
    settings: Settings,
    *,
    engine: Engine = local,
    overwrite: bool = False,
    progress: Progress = lambda done, of: None,
) -> Summary:
    """Do what is missing.

    Args:
        source: a folder of pictures and shards, or one of either.
        out: folder of the results, which holds those of one question: source, age, model and column.
        engine: who does the units.
        overwrite: do everything again, whatever is there.

    Raises:
        InputError: wrong places, an age that there cannot be, or results of another question.
        ImageError: the journal cannot be written.
        ModelError, BackendError: the model or a run time is not usable.
    """
    units = units_.find(source, out)
    path = model_path(settings.model)
    about = read_description(path)
    if not isinstance(about, Description):
        raise ModelError(f"{path}: estimates ages; expected a model that makes faces younger or older")
    about.age_code(group=settings.group, years=settings.years)
    question = {
        "source": str(source.absolute()),
        "group": settings.group,
        "years": settings.years,
        "model": settings.sha256,
        "column": settings.column,
    }
    with Journal(out, question, overwrite=overwrite) as journal:
        units_.sweep(out)
        outcomes = journal.outcomes
        missing = [unit for unit in units if unit.name not in outcomes or not outcomes[unit.name].settles(unit)]
        try:
            with closing(engine(missing, settings)) as results:
                for done, outcome in enumerate(results, 1):
                    journal.add(outcome)
                    progress(done, len(missing))
        finally:
            units_.sweep(out)
            journal.write_failures(unit.name for unit in units)
        return _summary([outcomes[unit.name] for unit in units], len(units) - len(missing))


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
