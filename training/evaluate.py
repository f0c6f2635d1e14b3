"""Measure a model on the held-out people: ``python -m training.evaluate lgin_edge/weights/lgin.onnx``.

Age is read by estimators and identity by an embedder that training never saw (``training.evaluation.estimators``). Faces are given
by their labelled landmarks, so that detection is not what is measured. What is under test is an ``Ager``, any function
that ages a picture:

    judges = prepare(rows)                    # rows = labels.read(folder); once for several agers
    evaluate(do_nothing, labels.of_split(rows, "test"), judges)

``report.json`` holds every person's figures, ``report.md`` the tables; docstrings in ``training.evaluation.measures`` and
``training.evaluation.temporal_consistency`` say what each is. Who wears glasses, the tags of a pack say; the portraits have none.
"""

from __future__ import annotations

import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import track

import lgin_edge
from lgin_edge import geometry
from lgin_edge.frames import Frame
from lgin_edge.models.description import AgeGroup

from . import data
from .command import PacksOption, exit_on_error, run_command
from .dataset import labels
from .dataset.labels import Photo
from .evaluation import measures, report, summary, temporal_consistency
from .evaluation.estimators import Embedder, Estimator, MissingJudge, age_estimators
from .evaluation.measures import Floats, Pairs
from .templating import Json

#: Ages a picture: (frame [H, W, 3] uint8 RGB, landmarks [5, 2] px, ages in years) -> one new picture for each age.
Ager = Callable[[Frame, Floats, Sequence[float]], list[Frame]]

#: People whose portraits are put in motion; each costs some 3 seconds.
MOVED = 8


def ager_of(transformer: lgin_edge.Transformer) -> Ager:
    """A Transformer as an Ager; each face is encoded once for all its ages."""
    return lambda frame, landmarks, years: transformer.age(frame, landmarks=landmarks, years=list(years))


def do_nothing(frame: Frame, landmarks: Floats, years: Sequence[float]) -> list[Frame]:
    """The baseline: every age is the input."""
    return [frame.copy() for _ in years]


@dataclass
class Judges:
    """The estimators, the embedder, and what they make of real portraits; ``prepare`` makes it."""

    estimators: list[Estimator]
    embedder: Embedder
    bias: dict[str, float]  # of each estimator on the val split, years; what a figure called "corrected" subtracts
    pairs: dict[str, Pairs]  # descriptors of real pictures compared; see ``measures.pairs``

    @property
    def threshold(self) -> float:
        """Least cosine that ``summary.FALSE_ACCEPTS`` of the pairs of different people reach."""
        return float(np.quantile(self.pairs["different"].cosine, 1 - summary.FALSE_ACCEPTS))


def prepare(rows: Sequence[Photo], limit: int | None = None, quiet: bool = False) -> Judges:
    """Load the judges and show them real portraits.

    Args:
        rows: of all splits.
        limit: at most this many real portraits in each comparison, for a trial.

    Raises MissingJudge: a package or a file is not here; says how to get it.
    """
    estimators, embedder = age_estimators(), Embedder()
    sizes = defaultdict(set)
    for row in rows:
        sizes[row.person].add(row.size)
    twice = [row for row in rows if row.person and len(sizes[row.person]) > 1]
    pictured = [row for row in rows if row in twice or row.split in ("val", "test")][:limit]
    vectors = [embedder([row.frame()], row.landmarks)[0] for row in _track(pictured, "real pairs", quiet)]
    errors: dict[str, list[float]] = defaultdict(list)
    for row in _track([row for row in rows if row.split == "val"][:limit], "real faces", quiet):
        frame = row.frame()
        for estimator in estimators:
            errors[estimator.name].append(float(estimator([frame], row.landmarks)[0]) - row.age)
    return Judges(
        estimators,
        embedder,
        {estimator.name: float(np.mean(errors[estimator.name] or [0.0])) for estimator in estimators},
        measures.pairs(np.array(vectors), [row.person for row in pictured], [row.gender for row in pictured]),
    )


def evaluate(
    ager: Ager,
    rows: Sequence[Photo],
    judges: Judges,
    groups: Sequence[AgeGroup] = data.GROUPS,
    quiet: bool = False,
    moved: int = MOVED,
) -> Json:
    """Age every portrait to every group and measure. The same arguments give the same result.

    Args:
        ager: what is measured.
        rows: the portraits to age, held out from its training.
        judges: from ``prepare``.
        groups: the targets; each asks for its centre in years.
        moved: at most this many sharp portraits are put in motion.

    Returns: What ``training.evaluation.report`` writes; JSON throughout.
    """
    years = [group.center for group in groups]
    labelled = any("glasses" in row.tags for row in rows)
    people = []
    for row in _track(rows, "aged faces", quiet):
        frame = row.frame()
        aged = ager(frame, row.landmarks, years)
        if len(aged) != len(years) or any(one.shape != frame.shape or one.dtype != np.uint8 for one in aged):
            raise ValueError(f"the ager must give {len(years)} pictures of shape {frame.shape} and dtype uint8")
        people.append(
            {
                "file": row.file,
                "source": row.source,
                "sharp": row.sharp,
                "gender": row.gender,
                "age": row.age,
                "age_kind": row.age_kind,
                "group": summary.group_of(row.age, groups),
                **({"glasses": "glasses" in row.tags} if labelled else {}),
                "estimates": {e.name: summary.rounded(e([frame, *aged], row.landmarks)) for e in judges.estimators},
                **identity(judges.embedder([frame, *aged], row.landmarks)),
                **preserved(frame, aged, row),
            }
        )
    cuts = summary.slices(people, groups)
    movers = _track(labels.spread([row for row in rows if row.sharp], moved), "moving faces", quiet)
    steady = temporal_consistency.measure(ager, movers, (years[0], years[-1]), (0, len(years) - 1))
    return {
        "groups": [{"label": group.label, "center": group.center} for group in groups],
        "people": people,
        "estimators": {e.name: summary.real_error(e, people, judges.bias[e.name]) for e in judges.estimators},
        "pairs": summary.describe_pairs(judges),
        "slices": {name: summary.summarise(chosen, years, judges) for name, chosen in cuts.items()},
        "temporal_consistency": steady,
        "glasses": summary.glasses(people),
        "worst": summary.worst(people, years, steady),
    }


def identity(vectors: Floats) -> Json:
    """Cosine and Euclidean distance of the aged pictures' descriptors [1 + G, D] to the input's, the first one."""
    return {
        "cosine": summary.rounded(measures.cosine(vectors[1:], vectors[:1]), 4),
        "distance": summary.rounded(np.linalg.norm(vectors[1:] - vectors[:1], axis=-1), 4),
    }


def preserved(frame: Frame, aged: Sequence[Frame], row: Photo) -> Json:
    """Skin colour, sharpness, background and the rims of glasses (if any) of the aged pictures against the input."""
    affine = geometry.fit_similarity(row.landmarks)
    behind = measures.background(affine, *frame.shape[:2])
    before = measures.skin(frame, affine)
    drift = np.array([measures.skin(one, affine)["skin"] - before["skin"] for one in aged])
    angle = measures.typology_angle(before["cheeks"])
    rims = measures.rim_edges(frame, affine)
    result: Json = {
        "ita": round(angle, 1),
        "tone": measures.tone(angle),
        "skin_drift": [summary.rounded(one) for one in drift],  # (dL, da, db) each
        "background": summary.rounded([measures.change(frame, one, behind) for one in aged], 3),
        "rims": summary.rounded([measures.edges_kept(rims, measures.rim_edges(one, affine)) for one in aged], 3),
    }
    if row.sharp:  # the others have no detail to keep
        sharp = measures.detail(frame, affine)
        result["sharpness"] = summary.rounded([measures.detail(one, affine) / sharp for one in aged], 3)
    return result


def _track(items: Sequence[Any], what: str, quiet: bool) -> Iterable[Any]:
    return track(items, what, disable=quiet, transient=True)


def main(
    model: Annotated[Path, typer.Argument(help="The .onnx to measure.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of the report (default: runs/evaluate/MODEL)")
    ] = None,
    packs: PacksOption = None,
    split: Annotated[str, typer.Option(help="Whose portraits to age.")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many portraits, for a trial.")] = None,
    mesh: Annotated[
        Path | None, typer.Option(help="Mesh file: also the page of training.judge, of both packs.")
    ] = None,
) -> None:
    """Measure age, identity, preservation and temporal consistency of a model on held-out people."""
    from . import judge  # a second

    start = time.perf_counter()
    output = output or Path("runs/evaluate") / model.stem
    with exit_on_error("evaluate", MissingJudge):
        rows = labels.read_packs(packs or labels.default_packs())
        chosen = labels.of_split(rows, split, limit)
        judges = prepare(rows, limit and max(limit, 60))
        transformer = lgin_edge.Transformer(model, threads=1)
    with transformer:
        ager, groups = ager_of(transformer), transformer.groups
        result = evaluate(ager, chosen, judges, groups)
        result["model"] = {"file": model.name, "name": transformer.description.model, "split": split, "limit": limit}
        report.write(result, output)
    typer.echo(report.headline(result))
    if mesh is not None:
        judge.main(str(model), mesh, output / "judge", data=packs, split=split, people=limit)
    typer.echo(f"{output}/report.md, {time.perf_counter() - start:.0f} s on {platform.machine()}, one thread")


if __name__ == "__main__":
    run_command(main)
