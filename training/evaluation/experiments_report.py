"""The document of ``training.experiments``: tables, what they allow to say, and pictures of nobody but an astronaut."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import lgin_edge
from benchmarks.stages.machine import cpu
from lgin_edge import contact_sheet, geometry
from lgin_edge._process import usable_cores
from lgin_edge.frames import Frame
from lgin_edge.kernels import resample

from .. import data
from ..templating import render, table
from . import comparison, cost
from .comparison import Interval, Measure

if TYPE_CHECKING:
    from ..experiments import Experiments, Method, Plan
    from .measures import Floats

Json = dict[str, Any]

#: Side of a picture in a figure, pixels; most bytes of the astronaut's; test people in the figures.
_CELL, _BYTES, _PEOPLE = 128, 150_000, 8
PICTURE = "astronaut.jpg"
TEMPLATES = Path(__file__).parent / "templates"
#: Least slope, estimated over requested age, of a full LGIN whose parts can be compared; one that does nothing has 0.
LEARNT = 0.2
#: Methods that are compared with the full LGIN, person by person, in sections 2, 3 and 4.
_COMPARED = (("global-gan", "targets", "nothing"), ("no-interaction", "no-local"), ("no-classifier", "no-gan"))


@dataclass(frozen=True)
class Facts:
    """What the document says of how its numbers were made.

    Attributes:
        faces: portraits that train.
        costs: of the runs that were trained here, by folder.
    """

    plan: Plan
    command: str
    machine: str
    faces: int
    costs: Mapping[str, cost.RunCost]


def write(work: Experiments, target: Path) -> None:
    """Write the document, its picture of the astronaut beside it, and the figures of test people into the runs' folder."""
    from ..experiments import CLASSIFIER, METHODS

    results = {method.name: work.measure(method) for method in METHODS}
    trained = [method.name for method in METHODS if method.settings is not None]
    folders = [*trained, *([] if work.plan.classifier else [CLASSIFIER])]
    facts = Facts(
        plan=work.plan,
        command=_command(work),
        machine=machine(),
        faces=min(len([row for row in work.all_rows if row.split == "train"]), work.plan.faces or 10**9),
        costs={name: cost.of_run(work.folder / name) for name in folders},
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    draw_astronaut(work, target.parent / "experiments" / PICTURE)
    draw_people(work, work.folder / "figures")
    target.write_text(markdown(METHODS, results, facts))


def markdown(methods: Sequence[Method], results: Mapping[str, Json], facts: Facts) -> str:
    """The whole document, ``templates/experiments.md``; the same results give the same text. ``results`` by the methods' names."""
    from ..experiments import PARTS

    full, plan = results["full"], facts.plan
    enough, slopes = learnt(full)
    effects: tuple[dict[str, str], ...] = (
        {},
        {"no-interaction": "the interactive structure", "no-local": "the local generators"},
        {"no-classifier": "the age classifier", "no-gan": "discriminator and classifier"},
    )
    shown = ("bundled", *PARTS)
    text = render(
        TEMPLATES / "experiments.md",
        plan=plan,
        facts=facts,
        full=full,
        methods=[
            [f"**{m.title}**: {m.about}", *_spent(facts.costs.get(m.name)), f"{results[m.name]['seconds'] / 60:.1f}"]
            for m in methods
        ],
        hours=sum((spent.hours for spent in facts.costs.values()), 0.0),
        seconds=sum(result["seconds"] for result in results.values()),
        picture=PICTURE,
        learnt=enough,
        slopes=" and ".join(f"{slope:.3f}" for slope in slopes),
        results_head=["asked for", *(f"{group['label']} ({group['center']:g})" for group in full["groups"])],
        results=_results(full, plan.seed),
        changed=_changed(full),
        compared=[
            _compared(methods, results, names, plan.seed, extra=() if i else ("bundled",))
            + _effects(results, effects[i], facts)
            for i, names in enumerate(_COMPARED)
        ],
        parts_head=["mean over people", *(m.title for name in shown for m in methods if m.name == name)],
        parts=_means(results, shown, plan.seed),
        intervals=sum(map(len, _COMPARED)) * len(comparison.measures_of(list(full["estimators"]))),
    )
    return text.rstrip() + "\n"


def _spent(spent: cost.RunCost | None) -> list[Any]:
    """Steps, faces and minutes of a training; nothing for what is not trained here."""
    if spent is None:
        return [None, None, None]
    steps, images = spent.steps, spent.images
    split = f"{steps.get('supervised', 0)} + {steps.get('adversarial', 0)}"
    return [split, images.get("supervised", 0) + images.get("adversarial", 0), f"{60 * spent.hours:.1f}"]


def learnt(result: Json) -> tuple[bool, list[float]]:
    """Whether a method ages faces enough for its parts to be told apart, and its slopes by estimator."""
    found = comparison.per_person(result)
    slopes = [float(found[f"slope ({name})"].mean()) for name in result["estimators"]]
    return min(slopes) >= LEARNT, slopes


def _results(result: Json, seed: int) -> list[list[str]]:
    """The full LGIN's figures at every age group."""
    years = np.array([group["center"] for group in result["groups"]], np.float64)
    people, none = result["people"], [np.nan] * len(years)
    rows: list[list[str]] = []

    def row(title: str, values: Floats, digits: int) -> None:
        measure = Measure(title, "", digits, 0)
        rows.append([title, *(_cell(measure, comparison.bootstrap(one, seed)) for one in values.T)])

    for name in result["estimators"]:
        read = np.array([person["estimates"][name] for person in people], np.float64)
        row(f"age read ({name})", read[:, 1:], 1)
        row(f"age error ({name}), years", np.abs(read[:, 1:] - years), 1)
        row(f"the same, doing nothing ({name})", np.abs(read[:, :1] - years), 1)
    cosine = np.array([person["cosine"] for person in people], np.float64)
    row("identity cosine", cosine, 4)
    row("verified, %", 100.0 * (cosine >= result["pairs"]["threshold_cosine"]), 1)
    row("sharpness ratio", np.array([person.get("sharpness", none) for person in people], np.float64), 3)
    row("skin-tone drift, dE", np.linalg.norm(np.array([p["skin_drift"] for p in people], np.float64), axis=-1), 2)
    return rows


def _means(results: Mapping[str, Json], names: Sequence[str], seed: int) -> list[list[str]]:
    """Each measure's mean over people, a column a method."""
    found = {name: comparison.per_person(results[name]) for name in names}
    listed = comparison.measures_of(list(results["full"]["estimators"]))
    return [[_head(m), *(_cell(m, comparison.bootstrap(found[name][m.title], seed)) for name in names)] for m in listed]


def _compared(
    methods: Sequence[Method],
    results: Mapping[str, Json],
    names: Sequence[str],
    seed: int,
    extra: Sequence[str] = (),
) -> str:
    """Means of the full LGIN and of ``names``, paired differences, and what they allow to say; ``extra``: means only."""
    titles = {method.name: method.title for method in methods}
    listed = comparison.measures_of(list(results["full"]["estimators"]))
    shown = ("full", *names, *extra)
    rows = _means(results, shown, seed)
    rows.append(["pixels changed outside the face's square, most", *(str(_changed(results[name])) for name in shown)])
    text = table(["mean over people", *(titles[name] for name in shown)], rows) + "\n"
    differences = {name: comparison.paired(results[name], results["full"], seed) for name in names}
    rows = [[_head(m), *(_cell(m, differences[name][m.title], "+") for name in names)] for m in listed]
    text += "Differences to the full LGIN, person by person; bold where the interval leaves out 0:\n\n"
    text += table(["less the full LGIN", *(titles[name] for name in names)], rows) + "\n"
    if learnt(results["full"])[0]:
        for name in names:
            text += "".join(f"- {one}\n" for one in comparison.sentences(titles[name], differences[name], listed))
    return text.rstrip() + "\n\n"


def _effects(results: Mapping[str, Json], parts: Mapping[str, str], facts: Facts) -> str:
    if not parts:
        return ""
    if not learnt(results["full"])[0]:
        return f"Nothing can be said of {' and of '.join(parts.values())}: the full LGIN has learnt too little (above).\n\n"
    listed = comparison.measures_of(list(results["full"]["estimators"]))
    said = [
        comparison.effect(part, comparison.paired(results[name], results["full"], facts.plan.seed), listed)
        for name, part in parts.items()
    ]
    return "\n".join(said) + "\n\n"


def _head(measure: Measure) -> str:
    return f"{measure.title}, {measure.unit}" if measure.unit else measure.title


def _cell(measure: Measure, interval: Interval | None, sign: str = "") -> str:
    """``value [low, high]``; a difference (``sign`` "+") is bold where the interval leaves out 0."""
    if interval is None:
        return "-"
    text = f"{measure.number(interval.value, sign)} [{measure.number(interval.low)}, {measure.number(interval.high)}]"
    return f"**{text}**" if sign and not interval.low <= 0 <= interval.high else text


def _changed(result: Json) -> int:
    return max(person["outside"]["changed"] for person in result["people"])


def _command(work: Experiments) -> str:
    plan = work.plan
    words = [f"python -m training.experiments {work.folder} --steps {plan.supervised_steps} {plan.gan_steps}"]
    words.append(
        f"--classifier {plan.classifier}" if plan.classifier else f"--classifier-steps {plan.classifier_steps}"
    )
    if len(work.rows) < len([row for row in work.all_rows if row.split == "test"]):
        words.append(f"--people {len(work.rows)}")
    return " ".join([*words, f"--seed {plan.seed}", *(["--smoke"] if plan.smoke else [])])


def machine() -> str:
    """This machine in words: usable cores and their name."""
    cores = usable_cores()
    return f"{cores} core{'s' * (cores > 1)} of {cpu()}"


def compose(rows: Sequence[tuple[str, Frame, Floats, Sequence[Frame]]], cell: int = _CELL) -> Image.Image:
    """A sheet: in each row a title, the face's square of the original, and of its pictures at every age group.

    Args:
        rows: title, frame [H, W, 3], landmarks [5, 2] px, one picture of the frame's size for each of ``data.GROUPS``.
        cell: side of a picture, pixels.
    """
    drawn = []
    for title, frame, landmarks, aged in rows:
        affine = geometry.fit_similarity(landmarks)
        views = [resample(np.ascontiguousarray(one), affine, cell, cell) for one in (frame, *aged)]
        pixels = [np.rint((view.transpose(1, 2, 0) + 1) * 127.5).clip(0, 255).astype(np.uint8) for view in views]
        drawn.append([_title(title, cell), *map(Image.fromarray, pixels)])
    return contact_sheet.draw(drawn, ["", "original", *(group.label for group in data.GROUPS)], cell)


def _title(text: str, cell: int) -> Image.Image:
    image = Image.new("RGB", (cell, cell), "white")
    lines = "\n".join(textwrap.wrap(text, 15))
    font = ImageFont.load_default(size=cell // 9)
    ImageDraw.Draw(image).multiline_text(
        (cell / 2, cell / 2), lines, fill=(40, 40, 40), font=font, anchor="mm", align="center"
    )
    return image


def _pictured() -> list[Method]:
    from ..experiments import METHODS, PARTS

    # Not doing nothing, which would be the original again and again, nor the parts of a model that is there.
    return [method for method in METHODS if method.name not in ("nothing", *PARTS)]


def draw_astronaut(work: Experiments, path: Path) -> None:
    """Write the astronaut by every method at every group, a JPEG of less than 150 kB."""
    from skimage.data import astronaut

    frame = np.ascontiguousarray(astronaut())
    with lgin_edge.Transformer(threads=1) as transformer:
        landmarks = np.asarray(transformer.detect(frame)[0].landmarks, np.float64)
    years = [group.center for group in data.GROUPS]
    shown = [method for method in _pictured() if method.name != "targets"]  # which she has none of
    rows = [(method.title, frame, landmarks, work.ager(method)(frame, landmarks, years)) for method in shown]
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = compose(rows)
    for quality in (90, 85, 80, 70, 60):
        sheet.save(path, quality=quality, optimize=True)
        if path.stat().st_size < _BYTES:
            return


def draw_people(work: Experiments, folder: Path) -> None:
    """Write sheets of test people: ``results.jpg`` by the full LGIN, and a sheet a person by every method. Never commit."""
    folder.mkdir(parents=True, exist_ok=True)
    years = [group.center for group in data.GROUPS]
    chosen = work.rows[:: max(1, len(work.rows) // _PEOPLE)][:_PEOPLE]
    aged = {}
    for method in _pictured():
        ager = work.ager(method)
        aged[method.name] = [ager(row.frame(), row.landmarks, years) for row in chosen]
    rows = [(Path(r.file).stem, r.frame(), r.landmarks, one) for r, one in zip(chosen, aged["full"], strict=True)]
    compose(rows).save(folder / "results.jpg", quality=90)
    for i, row in enumerate(chosen):
        rows = [(method.title, row.frame(), row.landmarks, aged[method.name][i]) for method in _pictured()]
        compose(rows).save(folder / f"{Path(row.file).stem}.jpg", quality=90)
