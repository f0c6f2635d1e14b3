"""The model card: ``python -m training.model_card REPORT.json`` -> ``docs/model-card.md``.

After Mitchell et al. 2019 ("Model Cards for Model Reporting"). Sizes and costs are read from the model file, counts from
``labels.csv``, figures from the report of ``training.evaluate``, and whether an aim was reached is decided by rule.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import onnx
import typer

from lgin_edge.errors import LginError
from lgin_edge.models.description import METADATA_KEY, Description
from lgin_edge.transformer import WEIGHTS

from . import data
from .evaluation import cost, report, summary
from .evaluation.measures import TONES

Json = dict[str, Any]

#: Test people of a slice below which its figures are called uncertain, and share of an equal share of the training faces
#: (half of them for a gender, a K-th for an age group) below which a kind of people is called under-represented.
FEW, RARE = 10, 0.5


@dataclass(frozen=True)
class Aim:
    """One aim of the project, and how far the report is from it. ``found`` is text, because some are ranges."""

    what: str
    aim: str
    found: str
    reached: bool


def aims(result: Json) -> list[Aim]:
    """The aims of the project, each estimator apart: all have to agree. ``result`` as ``training.evaluate`` writes it."""
    every = result["slices"]["all"]
    found = []
    for name, age in every["age"].items():
        found += [
            Aim(f"slope, years read for a year asked ({name})", ">= 0.6", f"{age['slope']:g}", age["slope"] >= 0.6),
            Aim(f"rank correlation ({name})", ">= 0.95", f"{age['rank']:g}", age["rank"] >= 0.95),
            Aim(f"mean error to the age asked for ({name})", "<= 8 years", _years(age), age["mae_overall"] <= 8),
        ]
    one = every["identity"]
    cosine, verified = min(one["cosine"]), min(one["accepted"])
    found += [
        Aim("identity, mean cosine of the worst group", ">= 0.6", f"{cosine:g}", cosine >= 0.6),
        Aim("identity verified, worst group", "all", _percent(verified), verified >= 1),
    ]
    if "sharpness" in every:
        low, high = min(every["sharpness"]["median"]), max(every["sharpness"]["median"])
        ok = low >= 0.9 and high <= 1.1
        found.append(Aim("sharpness ratio, median by group", "0.9 to 1.1", f"{low:g} to {high:g}", ok))
    return found


def markdown(
    model: Path,
    result: Json,
    labels: Sequence[dict[str, str]],
    commands: Sequence[str],
    spent: cost.RunCost | None = None,
) -> str:
    """The whole card; the same arguments give the same text.

    Args:
        model: the ``.onnx`` that was evaluated.
        result: its report by ``training.evaluate``.
        labels: the rows of ``labels.csv``.
        commands: that made report and card.
        spent: cost of the training run, if it is known.

    Raises:
        ValueError: the report or the model lacks something that the card needs.
    """
    try:
        loaded = onnx.load(str(model))
        about = description_of(loaded, model)
        parts = [
            _about(loaded, about, model, result),
            _use(),
            _data(about, labels),
            _limits(result, labels),
            _figures(result),
            _training(spent),
            "## Made by\n\n<!-- not run: needs the estimators and the portraits, takes minutes -->\n```sh\n"
            + "\n".join(commands)
            + "\n```\n",
        ]
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"the report, the labels or the model lack what the card needs ({error!r})") from error
    return "".join(parts)


def description_of(model: onnx.ModelProto, path: Path) -> Description:
    """What a model file says of itself. Raises ValueError where it says nothing."""
    properties = {item.key: item.value for item in model.metadata_props}
    if METADATA_KEY not in properties:
        raise ValueError(f"{path} has no description; python -m training.export writes one")
    return Description.from_json(properties[METADATA_KEY])


def _about(model: onnx.ModelProto, about: Description, path: Path, result: Json) -> str:
    groups = ", ".join(f"{group.label} ({group.center:g})" for group in about.groups)
    rows = [
        ["file", f"`{path.name}`, {path.stat().st_size / 1e6:.1f} MB"],
        ["numbers stored", f"{cost.parameters(model) / 1e6:.2f} million, {about.precision}"],
        ["cost of one face at one age", f"{cost.macs(model) / 1e9:.2f} GMAC"],
        [
            "input",
            f"face {about.face_size}x{about.face_size}, five patches {about.patch_size}x{about.patch_size}, an age",
        ],
        ["output", "residuals that are added to the picture inside the square of the face"],
        ["age groups (years that each stands for)", groups],
    ]
    named = result.get("model", {}).get("name")
    text = f"# Model card: {about.model}\n\n"
    text += "Makes the face in a picture younger or older: the generators of the Local-Global Interactive Network (LGIN), trained "
    text += "from random weights. It estimates no age and knows nobody.\n\n"
    if named and named != about.model:
        text += f"**The report is of `{named}`, not of this file.**\n\n"
    return text + report.table(["model", ""], rows)


def _use() -> str:
    return (
        "## Use and misuse\n\n"
        "Meant for pictures of adults who have agreed to it: photo booths and kiosks, films and games, art, research on face "
        "ageing. The picture shows **one way** a face could look, not a forecast.\n\n"
        "Not meant for, and not to be used to\n\n"
        "- deceive: pass off an aged picture as a real one, or a person as older or younger than they are;\n"
        "- identify or search for people, or defeat their identification;\n"
        "- decide anything by age. Neither this model nor `estimate_age`, which ships beside it, is an age check: "
        "`estimate_age` is wrong by years and is **not for age verification**;\n"
        "- show anybody without their consent, or children at all.\n\n"
    )


def _data(about: Description, labels: Sequence[dict[str, str]]) -> str:
    splits = [name for name in ("train", "val", "test") if any(row["split"] == name for row in labels)]
    kinds: list[tuple[str, list[str]]] = [
        ("tier", [row["tier"] for row in labels]),
        ("gender", [row["gender"] for row in labels]),
        ("age", [_group(row) for row in labels]),
        ("age label", [row["age_kind"] for row in labels]),
    ]
    rows: list[list[Any]] = [["all", *(sum(row["split"] == split for row in labels) for split in splits)]]
    for kind, values in kinds:
        order = [g.label for g in data.GROUPS] if kind == "age" else sorted(set(values))
        for value in order:
            counts = Counter(row["split"] for row, own in zip(labels, values, strict=True) if own == value)
            rows.append([f"{kind} {value}", *(counts[split] for split in splits)])
    ages = [float(row["age"]) for row in labels if row["split"] == "train"]
    text = "## Data\n\n"
    text += f"The model file says of its training data: *{about.training_data}*\n\n"
    text += f"Counted in `labels.csv`: the training faces are {int(min(ages))} to {int(max(ages))} years old. "
    splits_of: dict[str, set[str]] = {}
    for row in labels:
        splits_of.setdefault(row["bioguide"], set()).add(row["split"])
    shared = sum(len(found) > 1 for found in splits_of.values())
    text += f"**{shared} people are in several splits.** " if shared else "No person is in two splits. "
    text += "Tier A is sharp, tier B was enlarged. `dated` ages are known from the date of the photograph, `estimated` ones "
    text += "are off by 3 to 5 years themselves.\n\n"
    text += report.table(["portraits", *splits], rows)
    rights = Counter(row.get("rights", "") or "not stated" for row in labels)
    text += "**Rights** are stated per image by those who collected the portraits: mostly presumed US-government work, not checked "
    text += "image by image. US-government works are in the public domain in the USA; other countries may differ.\n\n"
    text += report.table(["rights, as stated", "portraits"], [[name, n] for name, n in rights.most_common()])
    return text + "The people are real and many are living. That a picture is free is not consent.\n\n"


def _limits(result: Json, labels: Sequence[dict[str, str]]) -> str:
    train = [row for row in labels if row["split"] == "train"]
    kinds = Counter(f"gender {row['gender']}" for row in train) + Counter(f"age {_group(row)}" for row in train)
    equal = {f"age {group.label}": 1 / len(data.GROUPS) for group in data.GROUPS} | {
        "gender F": 1 / 2,
        "gender M": 1 / 2,
    }
    rare = [(name, kinds[name]) for name, share in equal.items() if kinds[name] < RARE * share * len(train)]
    few = [(name, one["n"]) for name, one in result["slices"].items() if one["n"] < FEW]
    known = [
        *(f"input {g.label}" for g in data.GROUPS),
        *(f"gender {g}" for g in "FM"),
        *(f"tone {t}" for t, _ in TONES),
    ]
    none = [name for name in known if name not in result["slices"]]
    children = sum(float(row["age"]) < 18 for row in train)
    lines = [
        "Adults in formal portraits, in studio light, facing the camera: expect worse elsewhere.",
        f"Training faces under 18 years: {children}. Do not use it on children.",
        (
            f"Of {len(train)} training faces {kinds['gender F']} are of women and {kinds['gender M']} of men. "
            f"Under-represented, by less than half of an equal share: {_listed(rare) or 'no gender or age group'}."
        ),
        "Ethnicity is not labelled; skin tones of the test people are measured from their pictures, light and camera included.",
        (
            f"Fewer than {FEW} test people, so that the figures below are uncertain: {_listed(few) or 'in no slice'}. "
            f"No test person at all: {', '.join(none) or 'in no slice'}."
        ),
    ]
    worst = _worst_slices(result)
    return "## Limits\n\n" + "".join(f"- {line}\n" for line in [*lines, *worst]) + "\n"


def _worst_slices(result: Json) -> list[str]:
    """For each estimator the slice, of at least ``FEW`` people, with the largest error to the age asked for."""
    found = []
    for name, every in result["slices"]["all"]["age"].items():
        cuts = {
            cut: one["age"][name]["mae_overall"]
            for cut, one in result["slices"].items()
            if cut != "all" and one["n"] >= FEW
        }
        if cuts:
            worst = max(cuts, key=lambda cut: cuts[cut])
            found.append(
                f"Worst slice of at least {FEW} people by {name}: {worst}, {cuts[worst]:g} years off the age asked for, where "
                f"all are {every['mae_overall']:g} off."
            )
    return found


def _figures(result: Json) -> str:
    about, people = result.get("model", {}), result["slices"]["all"]["n"]
    text = f"## Evaluation\n\n{people} people of the {about.get('split', 'test')} split, who trained nothing; "
    text += "two age estimators and an embedder that gave training no gradient, each with errors of its own. The gains of the "
    text += "prototypes were chosen by eye on training faces, and with the two estimators on val faces.\n\n"
    if about.get("limit"):
        text += f"**A trial: {about['limit']} portraits at most.**\n\n"
    rows = [[one.what, one.aim, one.found, "reached" if one.reached else "**missed**"] for one in aims(result)]
    text += report.table(["aim of the project", "aim", "found", ""], rows)
    pairs = result["pairs"]
    text += "The cosine's aim says little by itself: with this embedder the median of two strangers is "
    text += f"{pairs['different']['cosine'][1]:g} already. Verified means at least {pairs['threshold_cosine']:g}, which lets "
    text += f"{_percent(pairs['false_accepts'])} of strangers through.\n\n"
    names = list(result["estimators"])
    head = ["people", "n", *(f"error, {name}" for name in names), *(f"slope, {name}" for name in names)]
    head += ["cosine", "verified", "sharpness", "skin drift, dE"]
    rows = []
    for cut, one in result["slices"].items():
        age, same = one["age"], one["identity"]
        sharp = one["sharpness"]["median"] if "sharpness" in one else None
        rows.append(
            [
                cut,
                one["n"],
                *(_years(age[name]) for name in names),
                *(f"{age[name]['slope']:g}" for name in names),
                f"{min(same['cosine']):g}",
                _percent(min(same["accepted"])),
                f"{min(sharp):g} to {max(sharp):g}" if sharp else None,
                f"{max(one['skin']['de']):g}",
            ]
        )
    text += "Error: mean distance of the age read from the age asked for, years (doing nothing). Cosine, verified and skin drift "
    text += "are of the worst age group, sharpness the range of the groups' medians. `input`: the age group of the picture.\n\n"
    return text + report.table(head, rows)


def _training(spent: cost.RunCost | None) -> str:
    text = "## Training cost\n\n"
    if spent is None:
        return text + "Not recorded.\n\n"
    rows = [[phase, spent.steps[phase], spent.images[phase]] for phase in spent.steps]
    text += report.table(["phase", "steps", "faces seen"], rows)
    return (
        text
        + f"{spent.hours:.1f} hours of training steps, of this run alone; earlier runs whose weights it began from are not in it.\n\n"
    )


def _group(row: dict[str, str]) -> str:
    return data.GROUPS[summary.group_of(float(row["age"]), data.GROUPS)].label


def _years(age: Json) -> str:
    return f"{age['mae_overall']:g} ({age['nothing_mae_overall']:g})"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _listed(counts: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{name} ({n})" for name, n in counts)


def main(
    report_: Annotated[Path, typer.Argument(metavar="REPORT.json", help="report.json of training.evaluate.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The card to write.")] = Path("docs/model-card.md"),
    model: Annotated[
        Path | None, typer.Option(help="The .onnx that was evaluated (default: the bundled one).", show_default=False)
    ] = None,
    portraits: Annotated[
        Path | None, typer.Option("--data", help="Folder with labels.csv (default: ../shared/portraits)")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Folder of the run that trained it, for what it cost.", show_default=False)
    ] = None,
) -> None:
    """Write the model card: what the model is, its data, use, limits, evaluation and cost. Counted and measured, never typed.

    Examples:

        python -m training.evaluate lgin_edge/weights/lgin.onnx

        python -m training.model_card runs/evaluate/lgin/report.json --run runs/third
    """
    path, table = model or WEIGHTS, (portraits or data.default_portraits()) / "labels.csv"
    try:
        for needed in (report_, path, table):
            if not needed.is_file():
                raise FileNotFoundError(f"no {needed}; --help says where each file comes from")
        try:
            result = json.loads(report_.read_text())
        except ValueError as error:
            raise ValueError(f"{report_} is not a report.json of training.evaluate: {error}") from error
        with table.open(newline="", encoding="utf-8") as file:
            labels = list(csv.DictReader(file))
        commands = [f"python -m training.evaluate {_shown(path)}", f"python -m training.model_card {_shown(report_)}"]
        commands[1] += f" --model {_shown(path)}" * (model is not None) + f" --run {_shown(run)}" * (run is not None)
        text = markdown(path, result, labels, commands, cost.of_run(run) if run else None)
    except (FileNotFoundError, ValueError, LginError) as error:
        typer.echo(f"training.model_card: {error}", err=True)
        raise typer.Exit(2) from None
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text)
    missed = [one.what for one in aims(result) if not one.reached]
    typer.echo(f"{output}; aims missed: {', '.join(missed) or 'none'}")


def _shown(path: Path | None) -> str:
    """A path as anyone can type it: from the checkout where it lies in there, else its name alone."""
    here = Path.cwd().resolve()
    where = Path(path or "").resolve()
    return str(where.relative_to(here)) if where.is_relative_to(here) else where.name


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
