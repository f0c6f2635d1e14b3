"""The document of ``training.experiments``: tables, what they allow to say, and pictures of nobody but an astronaut."""

from __future__ import annotations

import os
import platform
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import lgin_edge
from lgin_edge import contact_sheet, geometry
from lgin_edge.frames import Frame
from lgin_edge.kernels import resample

from .. import data
from . import comparison, cost, report
from .comparison import Interval, Measure

if TYPE_CHECKING:
    from ..evaluate import Ager
    from ..experiments import Experiments, Method, Plan
    from .measures import Floats

Json = dict[str, Any]

#: Side of a picture in a figure, pixels; most bytes of the astronaut's; test people in the figures.
_CELL, _BYTES, _PEOPLE = 128, 150_000, 8
PICTURE = "astronaut.jpg"
#: Least slope, estimated over requested age, of a full LGIN whose parts can be compared; one that does nothing has 0.
LEARNT = 0.2
#: Methods that are compared with the full LGIN, person by person, in sections 2, 3 and 4.
_COMPARED = (("global-gan", "prototypes", "nothing"), ("no-interaction", "no-local"), ("no-classifier",))


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
    """The whole document; the same results give the same text. ``results`` by the methods' names, "full" among them."""
    parts = [
        _introduction(methods, results, facts),
        _warning(results["full"]),
        _section_results(results["full"], facts.plan.seed),
        "## 2. Comparison with other methods\n\n",
        _compared(methods, results, _COMPARED[0], facts.plan.seed, extra=("bundled",)),
        "## 3. Effect of the interactive structure and of the local generators\n\n",
        _compared(methods, results, _COMPARED[1], facts.plan.seed),
        _effects(results, {"no-interaction": "the interactive structure", "no-local": "the local generators"}, facts),
        _parts(methods, results, facts.plan.seed),
        "## 4. Effect of the age classifier\n\n",
        _compared(methods, results, _COMPARED[2], facts.plan.seed),
        _effects(results, {"no-classifier": "the age classifier"}, facts),
        _limits(results, facts),
    ]
    return "".join(parts).rstrip() + "\n"


def _introduction(methods: Sequence[Method], results: Mapping[str, Json], facts: Facts) -> str:
    plan, people = facts.plan, len(results["full"]["people"])
    text = "# Experiments\n\n"
    if plan.smoke:
        text += "**A smoke run: it shows that the command works, and its numbers say nothing.**\n\n"
    text += (
        "The experiments of the LGIN paper on our portraits, at a small budget. Made by\n\n"
        f"<!-- not run: trains for hours, on the portraits -->\n```sh\n{facts.command}\n```\n\n"
        f"on {facts.machine}. One seed ({plan.seed}) and one training a method; {people} test people who trained nothing, "
        f"one portrait each; {facts.faces} portraits train. "
        "Every trained method takes the same number of steps of the same batch, with the same C, and masks and prototypes if it uses any. "
        "Brackets are 95 % intervals over people (bootstrap): how far other people would move a number, **not how far "
        "another training would**.\n\n"
    )
    rows: list[list[Any]] = []
    for method in methods:
        spent = facts.costs.get(method.name)
        cells: list[Any] = [None, None, None]
        if spent is not None:
            seen = spent.images.get("warm", 0) + spent.images.get("adversarial", 0)
            split = f"{spent.steps.get('warm', 0)} + {spent.steps.get('adversarial', 0)}"
            cells = [split, seen, f"{60 * spent.hours:.1f}"]
        rows.append([f"**{method.title}**: {method.about}", *cells, f"{results[method.name]['seconds'] / 60:.1f}"])
    text += report.table(["method", "steps, warm-up + GAN", "faces seen", "training, min", "measuring, min"], rows)
    whole = sum((spent.hours for spent in facts.costs.values()), 0.0)
    measuring = sum(result["seconds"] for result in results.values())
    if "classifier" in facts.costs:
        one = facts.costs["classifier"]
        text += f"C: {one.steps.get('classifier', 0)} steps, {60 * one.hours:.1f} minutes. "
    else:
        text += f"C is that of the run `{plan.classifier}`. "
    text += (
        f"In all {60 * whole:.0f} minutes of training steps and {measuring / 60:.0f} of measuring; start-up, masks, prototypes "
        "and the judges' own preparation come on top.\n\n"
        f"![The astronaut Eileen Collins, by every method at every age group](experiments/{PICTURE})\n\n"
        "*Scikit-image's astronaut (NASA, public domain). The prototypes alone were told the age that "
        "`Transformer.estimate_age` reads, because her portrait has no label.*\n\n"
    )
    return text


def learnt(result: Json) -> tuple[bool, list[float]]:
    """Whether a method ages faces enough for its parts to be told apart, and its slopes by estimator."""
    found = comparison.per_person(result)
    slopes = [float(found[f"slope ({name})"].mean()) for name in result["estimators"]]
    return min(slopes) >= LEARNT, slopes


def _warning(full: Json) -> str:
    enough, slopes = learnt(full)
    if enough:
        return ""
    read = " and ".join(f"{slope:.3f}" for slope in slopes)
    return (
        f"**At this budget the full LGIN has hardly begun to age faces: {read} years read for a year asked. Sections 1, 3 and 4 "
        "compare networks that do almost nothing, and say nothing of its parts. What does hold are the columns of the "
        "prototypes, of doing nothing and of the bundled model. A longer training: `--steps`.**\n\n"
    )


def _section_results(result: Json, seed: int) -> str:
    years = np.array([group["center"] for group in result["groups"]], np.float64)
    labels = [f"{group['label']} ({group['center']:g})" for group in result["groups"]]
    people = result["people"]
    text = "## 1. Results\n\nThe full LGIN at every age group: mean over people with its interval.\n\n"
    rows: list[list[str]] = []

    def row(title: str, values: Floats, digits: int) -> None:
        measure = Measure(title, "", digits, 0)
        rows.append([title, *(_cell(measure, comparison.bootstrap(one, seed)) for one in values.T)])

    for name, real in result["estimators"].items():
        read = np.array([person["estimates"][name] for person in people], np.float64)
        row(f"age read ({name})", read[:, 1:], 1)
        row(f"age error ({name}), years", np.abs(read[:, 1:] - years), 1)
        row(f"the same, doing nothing ({name})", np.abs(read[:, :1] - years), 1)
        text += f"The own mean error of {name} on the unaltered test portraits is {real['real']['all']['mae']} years.\n"
    cosine = np.array([person["cosine"] for person in people], np.float64)
    row("identity cosine", cosine, 4)
    row("verified, %", 100.0 * (cosine >= result["pairs"]["threshold_cosine"]), 1)
    none = [np.nan] * len(years)
    row("sharpness ratio", np.array([person.get("sharpness", none) for person in people], np.float64), 3)
    drift = np.array([person["skin_drift"] for person in people], np.float64)
    row("skin-tone drift, dE", np.linalg.norm(drift, axis=-1), 2)
    return text + "\n" + report.table(["asked for", *labels], rows) + _outside(result) + "\n\n"


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
    means = {
        name: {
            title: comparison.bootstrap(values, seed) for title, values in comparison.per_person(results[name]).items()
        }
        for name in shown
    }
    rows = [[_head(m), *(_cell(m, means[name][m.title]) for name in shown)] for m in listed]
    rows.append(["pixels changed outside the face's square, most", *(str(_changed(results[name])) for name in shown)])
    text = report.table(["mean over people", *(titles[name] for name in shown)], rows)
    differences = {name: comparison.paired(results[name], results["full"], seed) for name in names}
    rows = [[_head(m), *(_cell(m, differences[name][m.title], "+") for name in names)] for m in listed]
    text += "Differences to the full LGIN, person by person; bold where the interval leaves out 0:\n\n"
    text += report.table(["less the full LGIN", *(titles[name] for name in names)], rows)
    if learnt(results["full"])[0]:
        for name in names:
            text += "".join(f"- {one}\n" for one in comparison.sentences(titles[name], differences[name], listed))
    return text.rstrip() + "\n\n"


def _parts(methods: Sequence[Method], results: Mapping[str, Json], seed: int) -> str:
    """What the global and the local residuals of the bundled model carry: no training without them, but their absence."""
    from ..experiments import PARTS

    titles = {method.name: method.title for method in methods}
    listed = comparison.measures_of(list(results["full"]["estimators"]))
    names = ("bundled", *PARTS)
    found = {name: comparison.per_person(results[name]) for name in names}
    rows = [[_head(m), *(_cell(m, comparison.bootstrap(found[name][m.title], seed)) for name in names)] for m in listed]
    return (
        "What each carries in the bundled model, whose generators were trained together: its residuals, and those of one kind "
        "alone. This is not what a network trained without the others would do.\n\n"
    ) + report.table(["mean over people", *(titles[name] for name in names)], rows)


def _effects(results: Mapping[str, Json], parts: Mapping[str, str], facts: Facts) -> str:
    if not learnt(results["full"])[0]:
        return f"Nothing can be said of {' and of '.join(parts.values())}: the full LGIN has learnt too little (above).\n\n"
    listed = comparison.measures_of(list(results["full"]["estimators"]))
    said = [
        comparison.effect(part, comparison.paired(results[name], results["full"], facts.plan.seed), listed)
        for name, part in parts.items()
    ]
    return "\n".join(said) + "\n\n"


def _limits(results: Mapping[str, Json], facts: Facts) -> str:
    intervals = sum(map(len, _COMPARED)) * len(comparison.measures_of(list(results["full"]["estimators"])))
    people = len(results["full"]["people"])
    lines = [
        (
            "One training a method, one seed: the intervals are over people and not over trainings. A difference that they show "
            "is one between these networks; another seed may move it, or turn it round."
        ),
        f"{intervals} differences are shown: of as many without any effect, about {0.05 * intervals:.0f} would leave out 0.",
        (
            "The budget is small, and methods may rank otherwise after a longer training. An equal number of steps is not equal "
            "time: a step of the GAN costs more than one of warm-up, and a method without local generators less."
        ),
        (
            "The weights of the losses are those that the full LGIN was tuned with; no variant was tuned, which favours the full "
            "one. The global GAN is in IPCGAN's manner, not its authors' code."
        ),
        f"A share of 100 % among {people} people does not exclude up to {300 / people:.3g} % in others (rule of three).",
        (
            "Two estimators and one embedder judge, each with its own errors; portraits of adults, in formal light; "
            "most labels of the ages are estimates."
        ),
        "Cosine, sharpness and skin tone are best where nothing is done: read them together with the age.",
    ]
    return "## Limits\n\n" + "".join(f"- {line}\n" for line in lines)


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


def _outside(result: Json) -> str:
    return f"Most pixels changed outside the face's square, in a larger frame: {_changed(result)}."


def _command(work: Experiments) -> str:
    plan = work.plan
    words = [f"python -m training.experiments {work.folder} --steps {plan.warm_steps} {plan.gan_steps}"]
    words.append(
        f"--classifier {plan.classifier}" if plan.classifier else f"--classifier-steps {plan.classifier_steps}"
    )
    if len(work.rows) < len([row for row in work.all_rows if row.split == "test"]):
        words.append(f"--people {len(work.rows)}")
    return " ".join([*words, f"--seed {plan.seed}", *(["--smoke"] if plan.smoke else [])])


def machine() -> str:
    """This machine in words: usable cores and their name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{cores} core{'s' * (cores > 1)} of {named[0] if named else platform.machine()}"


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

    # Not doing nothing, which would be the original six times, nor the parts of a model that is there.
    return [method for method in METHODS if method.name not in ("nothing", *PARTS)]


def draw_astronaut(work: Experiments, path: Path) -> None:
    """Write the astronaut by every method at every group, a JPEG of less than 150 kB."""
    from skimage.data import astronaut

    frame = np.ascontiguousarray(astronaut())
    with lgin_edge.Transformer(threads=1) as transformer:
        face = transformer.detect(frame)[0]
        age = transformer.estimate_age(frame, faces=[face])[0].years
    landmarks = np.asarray(face.landmarks, np.float64)
    years = [group.center for group in data.GROUPS]
    rows = []
    for method in _pictured():
        ager: Ager = work.ager(method, present=lambda *_: age)
        rows.append((method.title, frame, landmarks, ager(frame, landmarks, years)))
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
