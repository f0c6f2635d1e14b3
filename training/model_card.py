"""The model card: ``python -m training.model_card REPORT.json`` -> ``docs/model-card.md``.

After Mitchell et al. 2019 ("Model Cards for Model Reporting"). Sizes and costs are read from the model file, counts from
``labels.csv``, figures from the report of ``training.evaluate``, and whether an aim was reached is decided by rule.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import onnx
import typer

from lgin_edge.models.model_file import read_description
from lgin_edge.transformer import WEIGHTS

from . import data
from .command import PacksOption, exit_on_error, run_command
from .dataset.labels import Photo, default_packs, read_packs
from .evaluation import cost, summary
from .evaluation.measures import TONES
from .templating import Json, percent, render

TEMPLATE = Path(__file__).parent / "evaluation" / "templates" / "model_card.md"

#: Test people of a slice below which its figures are called uncertain, and fraction of an equal part of the training faces
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
        years = f"{age['mae_overall']:g} ({age['nothing_mae_overall']:g})"
        found += [
            Aim(f"slope, years read for a year asked ({name})", ">= 0.6", f"{age['slope']:g}", age["slope"] >= 0.6),
            Aim(f"rank correlation ({name})", ">= 0.95", f"{age['rank']:g}", age["rank"] >= 0.95),
            Aim(f"mean error to the age asked for ({name})", "<= 8 years", years, age["mae_overall"] <= 8),
        ]
    one = every["identity"]
    cosine, verified = min(one["cosine"]), min(one["accepted"])
    found += [
        Aim("identity, mean cosine of the worst group", ">= 0.6", f"{cosine:g}", cosine >= 0.6),
        Aim("identity verified, worst group", "all", percent(verified), verified >= 1),
    ]
    if "sharpness" in every:
        low, high = min(every["sharpness"]["median"]), max(every["sharpness"]["median"])
        ok = low >= 0.9 and high <= 1.1
        found.append(Aim("sharpness ratio, median by group", "0.9 to 1.1", f"{low:g} to {high:g}", ok))
    return found


def markdown(
    model: Path,
    result: Json,
    labels: Sequence[Photo],
    commands: Sequence[str],
    blind: Json | None = None,
) -> str:
    """The whole card; the same arguments give the same text.

    Args:
        model: the ``.onnx`` that was evaluated.
        result: its report by ``training.evaluate``.
        labels: of the packs' faces.
        commands: that made report and card.
        blind: what viewers said, ``training.blind score`` for each question.

    Raises ValueError: the report or the model lacks something that the card needs.
    """
    try:
        loaded = onnx.load(str(model))
        about = read_description(model)
        evaluated = result.get("model", {})
        return render(
            TEMPLATE,
            about=about,
            named=evaluated.get("name"),
            split=evaluated.get("split", "test"),
            limit=evaluated.get("limit"),
            result=result,
            file=model.name,
            megabytes=model.stat().st_size / 1e6,
            millions=cost.parameters(loaded) / 1e6,
            gmacs=cost.macs(loaded) / 1e9,
            **_data(labels),
            **_limits(result, labels),
            aims=[[one.what, one.aim, one.found, "reached" if one.reached else "**missed**"] for one in aims(result)],
            commands=commands,
            blind=blind,
        )
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"the report, the labels or the model lack what the card needs ({error!r})") from error


def _data(labels: Sequence[Photo]) -> Json:
    """What is counted in the tables of labels, by split."""
    splits = [name for name in ("train", "val", "test", "donor") if any(row.split == name for row in labels)]
    kinds = {
        "source": [row.source or "not stated" for row in labels],
        "gender": [row.gender for row in labels],
        "age": [_group(row) for row in labels],
        "age label": [row.age_kind for row in labels],
    }
    rows: list[list[Any]] = [["all", *(sum(row.split == split for row in labels) for split in splits)]]
    for kind, values in kinds.items():
        for value in [g.label for g in data.GROUPS] if kind == "age" else sorted(set(values)):
            counts = Counter(row.split for row, own in zip(labels, values, strict=True) if own == value)
            rows.append([f"{kind} {value}", *(counts[split] for split in splits)])
    ages = [row.age for row in labels if row.split == "train"]
    splits_of: dict[str, set[str]] = {}
    for row in labels:
        splits_of.setdefault(row.person or row.key, set()).add(row.split)
    rights = Counter(row.rights or "not stated" for row in labels)
    return {
        "splits": splits,
        "counts": rows,
        "youngest": int(min(ages)),
        "oldest": int(max(ages)),
        "shared": sum(len(found) > 1 for found in splits_of.values()),
        "rights": [[name, n] for name, n in rights.most_common()],
    }


def _limits(result: Json, labels: Sequence[Photo]) -> Json:
    """What is said of kinds of people that are few: in training, and to test on."""
    train, slices = [row for row in labels if row.split == "train"], result["slices"]
    kinds = Counter(f"gender {row.gender}" for row in train) + Counter(f"age {_group(row)}" for row in train)
    equal = {f"age {group.label}": 1 / len(data.GROUPS) for group in data.GROUPS} | {"gender F": 0.5, "gender M": 0.5}
    known = [f"input {g.label}" for g in data.GROUPS] + ["gender F", "gender M"] + [f"tone {t}" for t, _ in TONES]
    counted = {cut: one for cut, one in slices.items() if cut != "all" and one["n"] >= FEW}
    worst = {
        name: max((one["age"][name]["mae_overall"], cut) for cut, one in counted.items())
        for name in slices["all"]["age"]
        if counted
    }
    return {
        "train": len(train),
        "children": sum(row.age < 18 for row in train),
        "kinds": kinds,
        "rare": [f"{name} ({kinds[name]})" for name, part in equal.items() if kinds[name] < RARE * part * len(train)],
        "few": [f"{name} ({one['n']})" for name, one in slices.items() if one["n"] < FEW],
        "untested": [name for name in known if name not in slices],
        "least": FEW,
        "worst": worst,
    }


def _group(row: Photo) -> str:
    return data.GROUPS[summary.group_of(row.age, data.GROUPS)].label


def main(
    report_: Annotated[Path, typer.Argument(metavar="REPORT.json", help="report.json of training.evaluate.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The card to write.")] = Path("docs/model-card.md"),
    model: Annotated[
        Path | None, typer.Option(help="The .onnx that was evaluated (default: the bundled one).", show_default=False)
    ] = None,
    packs: PacksOption = None,
    blind: Annotated[
        Path | None, typer.Option(help="What training.blind score said, a question a key.", show_default=False)
    ] = None,
) -> None:
    """Write the model card: what the model is, its data, use, limits and evaluation. Counted and measured, never typed.

    Examples:

        python -m training.evaluate lgin_edge/weights/lgin.onnx

        python -m training.model_card runs/evaluate/lgin/report.json
    """
    path = model or WEIGHTS
    with exit_on_error("model_card"):
        for needed in (report_, path, *([blind] if blind else [])):
            if not needed.is_file():
                raise FileNotFoundError(f"no {needed}; --help says where each file comes from")
        try:
            result = json.loads(report_.read_text())
        except ValueError as error:
            raise ValueError(f"{report_} is not a report.json of training.evaluate: {error}") from error
        labels = read_packs(packs or default_packs())
        commands = [f"python -m training.evaluate {_shown(path)}", f"python -m training.model_card {_shown(report_)}"]
        commands[1] += f" --model {_shown(path)}" * (model is not None)
        commands[1] += f" --blind {_shown(blind)}" * (blind is not None)
        said = json.loads(blind.read_text()) if blind else None
        text = markdown(path, result, labels, commands, said)
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
    run_command(main)
