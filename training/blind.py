"""A blind choice by viewers: sheets without names, and what the answers say.

    python -m training.blind pairs runs/blind new.onnx lgin_edge/weights/lgin.onnx --mesh mesh.npz
    python -m training.blind singles runs/singles new.onnx --age 70
    python -m training.blind score runs/blind viewer1.csv viewer2.csv viewer3.csv

``pairs`` draws ``original | left | right`` at full size, each as often on the left, two rows a sheet, with catch trials among them:
both sides unaltered (does a viewer lean to a side?), and the first source against the input with contrast alone or grey hair
alone (is it better than a cheap trick?). ``singles`` mixes aged pictures with photographs of people of that age, of the same sources. A viewer gets
the folder ``sheets`` (with ``QUESTION.md`` and an empty ``answers.csv``), never ``key.json`` beside it.

The sheets show real people: keep them in ``runs/``, never commit or publish them.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from PIL import Image

from .command import PacksOption, exit_on_error
from .dataset import labels
from .dataset.labels import Photo
from .judging.anatomy import Meshes
from .judging.sources import UNCHANGED, Frame, Source, open_source
from .sheets import grid
from .templating import Json

#: Side of a face on the sheets, and rows of a sheet: together 1.2 megapixels, more than which a viewer's window makes smaller.
SIDE, ROWS = 416, 2
#: Faces across a sheet of single pictures.
SINGLES = 3
_BAND, _GAP = 30, 8
#: Contrast of the catch trial, about the mean; gain of the lightness of hair made darker (younger) in the other.
CONTRAST, DARKER = 1.25, 0.7
#: A real photograph stands for an age up to this many years away.
NEAR_YEARS = 5.0
#: Least part of the picture that is hair for a catch trial of hair.
LEAST_HAIR = 0.08
#: Faces that no camera took: neither shown nor counted among single photographs.
GENERATED = "syn"
ROUNDS = 4000

PAIRS_QUESTION = """# Which one is it?

Each row shows a person (`original`) and two pictures of that person at the age that the sheet names. Look at every picture at
full size, one sheet after the other, and choose for each row: **which would you believe if it were handed to you as this person
at that age?** It should be believable as a photograph, the same person, and of that age; all three count.

Write `left` or `right` for each row into `answers.csv` (columns `sheet`, `row`, `choice`), or `same` where you see no difference that
matters: a guess would only be noise.
"""
SINGLES_QUESTION = """# Edited or not?

Some pictures are photographs as they were taken, some were edited so that the person seems older or younger. Look at each at
full size and write into `answers.csv` (columns `sheet`, `row`, `choice`, `age`): `real` or `edited`, and how old the person
looks, in years. `row` is the number above the picture.
"""


def contrast_only(frame: Frame) -> Frame:
    """The catch trial of contrast: about the mean, in every channel alike."""
    middle = frame.mean()
    return np.clip(middle + CONTRAST * (frame - middle), 0, 255).round().astype(np.uint8)


def hair_only(frame: Frame, hair: npt.NDArray[np.float64], older: bool) -> Frame:
    """The catch trial of hair: grey where ``hair`` [H, W] is 1 for an older face, darker for a younger one."""
    luma = (frame @ np.array([0.299, 0.587, 0.114]))[..., None]
    changed = 60 + 0.7 * luma if older else DARKER * frame
    alpha = hair[..., None]
    return np.clip(frame + alpha * (changed - frame), 0, 255).round().astype(np.uint8)


def make_pairs(
    out: Path,
    sources: tuple[Source, Source],
    names: tuple[str, str],
    photos: Sequence[Photo],
    ages: Sequence[float],
    *,
    hair: Iterable[tuple[Photo, npt.NDArray[np.float64]]] = (),
    catch: int = 4,
    seed: int = 0,
) -> Json:
    """Draw the sheets and write the key; returns the key.

    Args:
        photos: one a person. ages: a sheet shows one of them.
        hair: mattes [S, S] in [0, 1] of photos that may be catch trials of hair.
        catch: trials of each kind at each age.

    Raises ValueError: a source has no picture of anybody at some age.
    """
    rng = np.random.default_rng(seed)
    mattes = dict(hair)
    trials: dict[float, list[tuple[Json, list[Frame]]]] = defaultdict(list)
    for years in ages:
        both = [(photo, [source(photo, years) for source in sources]) for photo in photos]
        shown = [(photo, a, b) for photo, (a, b) in both if a is not None and b is not None]
        if not shown:
            raise ValueError(f"no person has a picture at {years:g} from both {names[0]} and {names[1]}")
        for photo, a, b in shown:
            trials[years].append(({**_about(photo, years), "kind": "pair"}, [photo.frame(), a, b]))
        for kind in ("same", "contrast", "hair"):
            able = [one for one in shown if kind != "hair" or one[0] in mattes]
            for i in rng.permutation(len(able))[:catch]:
                photo, a, _ = able[i]
                frame = photo.frame()
                if kind == "same":
                    first, second = frame, frame
                elif kind == "contrast":
                    first, second = a, contrast_only(frame)
                else:
                    side = frame.shape[1::-1]
                    matte = Image.fromarray((mattes[photo] * 255).astype(np.uint8)).resize(side)
                    first, second = a, hair_only(frame, np.asarray(matte) / 255.0, years > photo.age)
                trials[years].append(({**_about(photo, years), "kind": kind}, [frame, first, second]))
    sheets = out / "sheets"
    sheets.mkdir(parents=True, exist_ok=True)
    key: Json = {"kind": "pairs", "first": names[0], "second": names[1], "trials": []}
    number = 0
    for years in ages:
        order = [trials[years][i] for i in rng.permutation(len(trials[years]))]
        # As often left as right: viewers prefer one side where they see little.
        sides = rng.permutation(len(order)) % 2 == 0
        for start in range(0, len(order), ROWS):
            number += 1
            rows = []
            for row, (about, (original, first, second)) in enumerate(order[start : start + ROWS], 1):
                left = bool(sides[start + row - 1])
                shown = (original, first, second) if left else (original, second, first)
                rows.append(
                    [(f"{row} {head}", one) for head, one in zip(("original", "left", "right"), shown, strict=True)]
                )
                key["trials"].append({"sheet": number, "row": row, "first": "left" if left else "right", **about})
            title = f"sheet {number}: the person at {years:g}"
            grid(rows, SIDE, band=_BAND, gap=_GAP, title=title).save(sheets / f"{number:02}.png")
    return _write_key(out, key, PAIRS_QUESTION, ("sheet", "row", "choice"))


def make_singles(
    out: Path,
    source: Source,
    name: str,
    photos: Sequence[Photo],
    real: Sequence[Photo],
    years: float,
    people: int = 24,
    seed: int = 0,
) -> Json:
    """Draw sheets of single pictures, aged ones among as many real ones of that age; writes and returns the key.

    Each aged picture has a real one of the same source and sex, or the wall behind a face would tell: viewers learn within a sheet
    that only official portraits are of old people.

    Args:
        photos: whom to age; not those who are ``real`` at that age. people: at most so many are aged.

    Raises ValueError: no two such pictures.
    """
    rng = np.random.default_rng(seed)
    near = {photo.person or photo.key: photo for photo in real if abs(photo.age - years) <= NEAR_YEARS}
    matched: list[tuple[Photo, Frame, Photo]] = []
    for kind in sorted({(photo.source, photo.gender) for photo in near.values()}):
        alike, others = (
            [some[i] for i in rng.permutation(len(some))]
            for some in (
                [photo for photo in near.values() if (photo.source, photo.gender) == kind],
                [p for p in photos if (p.source, p.gender) == kind and (p.person or p.key) not in near],
            )
        )
        aged = ((photo, picture) for photo in others if (picture := source(photo, years)) is not None)
        matched += [(*one, photograph) for photograph, one in zip(alike, aged, strict=False)]
    if not matched:
        raise ValueError(
            f"no picture by {name} of {len(photos)} people has a photograph of its source and sex among {len(near)} of people near {years:g} years;"
            " try another age or split, and see that a folder's pictures are named like the inputs"
        )
    matched = [matched[i] for i in rng.permutation(len(matched))[:people]]
    mixed: list[tuple[Json, Frame]] = [({**_about(p, years), "kind": "aged"}, picture) for p, picture, _ in matched]
    mixed += [({**_about(p, p.age), "kind": "real"}, p.frame()) for *_, p in matched]
    mixed = [mixed[i] for i in rng.permutation(len(mixed))]
    sheets = out / "sheets"
    sheets.mkdir(parents=True, exist_ok=True)
    key: Json = {"kind": "singles", "first": name, "trials": []}
    each = SINGLES * ROWS
    for number, start in enumerate(range(0, len(mixed), each), 1):
        chosen = mixed[start : start + each]
        cells = [(str(i), picture) for i, (_, picture) in enumerate(chosen, 1)]
        rows = [cells[i : i + SINGLES] for i in range(0, len(cells), SINGLES)]
        grid(rows, SIDE, band=_BAND, gap=_GAP).save(sheets / f"{number:02}.png")
        key["trials"] += [{"sheet": number, "row": i, **about} for i, (about, _) in enumerate(chosen, 1)]
    return _write_key(out, key, SINGLES_QUESTION, ("sheet", "row", "choice", "age"))


def _about(photo: Photo, years: float) -> Json:
    return {
        "file": photo.key,
        "person": photo.person or photo.key,
        "source": photo.source,
        "gender": photo.gender,
        "age": years,
    }


def _write_key(out: Path, key: Json, question: str, columns: Sequence[str]) -> Json:
    (out / ".gitignore").write_text("*\n")  # faces of real people lie here
    (out / "key.json").write_text(json.dumps(key, indent=1) + "\n")
    (out / "sheets" / "QUESTION.md").write_text(question)
    with (out / "sheets" / "answers.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([t["sheet"], t["row"], *[""] * (len(columns) - 2)] for t in key["trials"])
    return key


def read_answers(path: Path, key: Json) -> list[tuple[Json, Json]]:
    """A viewer's answers, each with its trial; CSV as ``answers.csv``, or JSON, a list of the same fields.

    Raises ValueError: an answer that is none, a trial without one or with two, or one that the key has not got.
    """
    allowed = ("left", "right", "same") if key["kind"] == "pairs" else ("real", "edited")
    if path.suffix == ".json":
        rows = json.loads(path.read_text())
    else:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    trials = {(trial["sheet"], trial["row"]): trial for trial in key["trials"]}
    found = {}
    for row in rows:
        place = (int(row["sheet"]), int(row["row"]))
        choice = str(row["choice"]).strip().lower()
        if place not in trials or place in found or choice not in allowed:
            raise ValueError(
                f"{path}: sheet {place[0]}, row {place[1]}, {choice!r}: expected one of {allowed}, once a trial"
            )
        found[place] = (trials[place], {**row, "choice": choice})
    if missing := trials.keys() - found.keys():
        raise ValueError(
            f"{path}: {len(missing)} trials without an answer, the first is sheet {min(missing)[0]}, row {min(missing)[1]}"
        )
    return list(found.values())


def rate(answers: Sequence[tuple[Json, float]], seed: int = 0) -> Json:
    """Mean of values with its 95 % interval over people and viewers.

    Both are drawn anew, each by itself (the pigeonhole bootstrap of Owen 2007): all answers about a person move together, and all of a
    viewer. Viewers differ more than people do: of few of them the interval is too narrow, and of one it says nothing of others.
    """
    people = {name: i for i, name in enumerate(dict.fromkeys(trial["person"] for trial, _ in answers))}
    viewers = {name: i for i, name in enumerate(dict.fromkeys(trial.get("viewer", "") for trial, _ in answers))}
    sums = np.zeros((2, len(people), len(viewers)))  # of values, and how many they are
    for trial, value in answers:
        sums[:, people[trial["person"]], viewers[trial.get("viewer", "")]] += value, 1
    random = np.random.default_rng(seed)
    drawn = (random.multinomial(n, np.full(n, 1 / n), ROUNDS) for n in sums.shape[1:])
    total = np.einsum("rp,spv,rv->rs", next(drawn), sums, next(drawn))
    total = total[total[:, 1] > 0]
    low, high = np.quantile(total[:, 0] / total[:, 1], (0.025, 0.975))
    return {
        "rate": round(float(sums[0].sum() / sums[1].sum()), 3),
        "low": round(float(low), 3),
        "high": round(float(high), 3),
        "people": len(people),
        "answers": int(sums[1].sum()),
    }


def score(key: Json, viewers: dict[str, list[tuple[Json, Json]]]) -> Json:
    """What the viewers' answers say: rates at which the first source wins (half where it is the same), or is taken for real; by slice and by viewer."""
    viewers = {
        name: [({**trial, "viewer": name}, answer) for trial, answer in given] for name, given in viewers.items()
    }
    answers = [one for given in viewers.values() for one in given]
    wanted = ("pair",) if key["kind"] == "pairs" else ("aged", "real")

    def value(trial: Json, answer: Json) -> float:
        if answer["choice"] == "same":
            return 0.5
        return float(answer["choice"] == (trial["first"] if key["kind"] == "pairs" else "real"))

    def of(kind: str, chosen: Sequence[tuple[Json, Json]]) -> list[tuple[Json, float]]:
        return [(trial, value(trial, answer)) for trial, answer in chosen if trial["kind"] == kind]

    # Names alone: the key keeps where the sources lay, and scores are passed on.
    names = {side: key.get(side) and Path(key[side]).name for side in ("first", "second")}
    result: Json = {"kind": key["kind"], **names}
    for kind in wanted:
        every = of(kind, answers)
        groups = {"all": every} | {f"viewer {name}": of(kind, given) for name, given in viewers.items()}
        for field in ("age", "source", "gender") if kind != "real" else ("source", "gender"):
            for part in sorted({trial[field] for trial, _ in every}, key=str):
                name = f"{part:g}" if field == "age" else part or "unknown"
                groups[f"{field} {name}"] = [(trial, won) for trial, won in every if trial[field] == part]
        result[kind] = {name: rate(chosen) for name, chosen in groups.items() if chosen}
    if key["kind"] == "pairs":
        result["preferred to"] = {kind: rate(chosen) for kind in ("contrast", "hair") if (chosen := of(kind, answers))}
        result["left chosen where both are the input"] = {
            name: leaning(sides)
            for name, given in viewers.items()
            if (sides := [answer["choice"] for trial, answer in given if trial["kind"] == "same"])
        }
        result["by side"] = {
            side: rate(chosen)
            for side in ("left", "right")
            if (chosen := [(trial, won) for trial, won in of("pair", answers) if trial["first"] == side])
        }
        result["left chosen"] = {n: leaning([a["choice"] for _, a in g]) for n, g in viewers.items()}
        result["same chosen"] = {
            n: round(float(np.mean([a["choice"] == "same" for _, a in g])), 3) for n, g in viewers.items()
        }
    else:
        ages = [(t["kind"], float(a["age"]) - t["age"]) for t, a in answers if str(a.get("age") or "").strip()]
        result["years read less years asked"] = {
            kind: round(float(np.mean([e for k, e in ages if k == kind])), 1) for kind in sorted({k for k, _ in ages})
        }
    return result


def leaning(choices: Sequence[str]) -> float:
    """How often the left was chosen, 0 to 1; half where it is the same."""
    return round(float(np.mean([{"left": 1.0, "same": 0.5}.get(choice, 0.0) for choice in choices])), 3)


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False, no_args_is_help=True, help=__doc__)

_Split = Annotated[str, typer.Option(help="Whose faces are shown; photographs beside single pictures are of any.")]
_People = Annotated[int, typer.Option(min=1, help="At most this many people.")]
_Seed = Annotated[int, typer.Option(help="Of sides, order and catch trials.")]
_SourceHelp = f"Model file, folder of pictures named like the inputs, or {UNCHANGED!r}."


def _people(
    data: list[Path] | None, split: str, people: int, without: Sequence[str] = ()
) -> tuple[list[Photo], list[Photo]]:
    """Sharp faces, one a person, spread over a split, none from the sources ``without``; and all photos."""
    photos = labels.read_packs(data or labels.default_packs())
    first: dict[str, Photo] = {}
    for photo in labels.of_split(photos, split):
        if photo.sharp and photo.source not in without:
            first.setdefault(photo.person or photo.key, photo)
    if not first:
        raise ValueError(f"no sharp picture ({labels.SHARP_SIZE} px and more) in the split {split!r}")
    return labels.spread(list(first.values()), people), photos


@app.command()
def pairs(
    out: Annotated[Path, typer.Argument(help="Folder of sheets and key.")],
    first: Annotated[str, typer.Argument(help=_SourceHelp)],
    second: Annotated[str, typer.Argument(help="The same, to compare it with.")],
    age: Annotated[list[float], typer.Option(help="Age in years; may be repeated.")] = [30, 70],  # noqa: B006
    data: PacksOption = None,
    split: _Split = "test",
    people: _People = 40,
    catch: Annotated[int, typer.Option(min=0, help="Catch trials of each kind at each age.")] = 4,
    mesh: Annotated[Path | None, typer.Option(help="Mesh file, for catch trials of grey hair.")] = None,
    seed: _Seed = 0,
) -> None:
    """Sheets ``original | left | right`` of two sources, and their key."""
    with exit_on_error("blind"):
        photos, _ = _people(data, split, people)
        meshes = Meshes(mesh) if mesh else None
        anatomies = [(photo, meshes.of(photo)) for photo in photos if photo in meshes] if meshes else []
        hair = [(photo, one.soft_hair) for photo, one in anatomies if one.hair.mean() > LEAST_HAIR]
        sources = (open_source(first), open_source(second))
        key = make_pairs(out, sources, (first, second), photos, age, hair=hair, catch=catch, seed=seed)
    typer.echo(f"{out}/sheets: {len(key['trials'])} rows; give viewers this folder and nothing else")


@app.command()
def singles(
    out: Annotated[Path, typer.Argument(help="Folder of sheets and key.")],
    first: Annotated[str, typer.Argument(help=_SourceHelp)],
    age: Annotated[float, typer.Option(help="Age in years.")] = 70,
    data: PacksOption = None,
    split: _Split = "test",
    people: _People = 24,
    seed: _Seed = 0,
) -> None:
    """Sheets of single pictures, aged ones among photographs of people of that age, source and sex, and their key."""
    with exit_on_error("blind"):
        photos, every = _people(data, split, sys.maxsize, (GENERATED,))
        real = [p for p in every if p.sharp and p.source != GENERATED]
        key = make_singles(out, open_source(first), first, photos, real, age, people, seed)
    aged = len(key["trials"]) // 2
    few = f" (of {people}: no more photographs of that age have their sources and sexes)" * (aged < people)
    typer.echo(
        f"{out}/sheets: {aged} aged pictures{few} and as many photographs; give viewers this folder and nothing else"
    )


@app.command("score")
def score_command(
    out: Annotated[Path, typer.Argument(help="Folder with key.json.")],
    answers: Annotated[list[Path], typer.Argument(help="A file of answers for each viewer, .csv or .json.")],
) -> None:
    """What the answers say, as JSON: rates of the first source with 95 % intervals over people and viewers."""
    with exit_on_error("blind", KeyError):
        key = json.loads((out / "key.json").read_text())
        viewers = {path.stem: read_answers(path, key) for path in answers}
        if len(viewers) < len(answers):
            raise ValueError("two files of answers have the same name, so viewers cannot be told apart")
    result = score(key, viewers)
    text = json.dumps(result, indent=1)
    (out / "score.json").write_text(text + "\n")
    typer.echo(text)


if __name__ == "__main__":
    app()
