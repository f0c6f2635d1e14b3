"""What ``training.evaluate`` found, as JSON, Markdown, figures and a contact sheet."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..sheets import grid
from ..templating import listed, percent, render, table

if TYPE_CHECKING:
    from ..dataset.labels import Photo
    from ..evaluate import Ager

Json = dict[str, Any]

TEMPLATES = Path(__file__).parent / "templates"
#: People and target groups of the contact sheet, and the side of its pictures in pixels.
_SHEET_PEOPLE, _SHEET_GROUPS, _SHEET_SIDE = 24, (0, 2, 4), 256


def write(result: Json, folder: Path) -> None:
    """Write ``report.json``, ``report.md``, ``age.png`` and ``identity.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "report.md").write_text(markdown(result))
    draw_age(result, folder / "age.png")
    draw_identity(result, folder / "identity.png")


def headline(result: Json) -> str:
    """The one table to look at first, Markdown."""
    every, rows = result["slices"]["all"], []
    for name, age in every["age"].items():
        real = result["estimators"][name]["real"]["all"]
        rows += [
            [f"{name}: its own error on the real faces, MAE (bias), years", f"{real['mae']} ({real['bias']:+})"],
            [
                f"{name}: MAE to the requested age (doing nothing)",
                f"{age['mae_overall']} ({age['nothing_mae_overall']})",
            ],
            [f"{name}: slope, years read for a year asked", age["slope"]],
            [f"{name}: rank correlation; fraction rising", f"{age['rank']}; {percent(age['rising'])}"],
        ]
    one, verified = (
        every["identity"],
        f"identity: verified at {result['pairs']['threshold_cosine']} (1 % false accepts), worst group",
    )
    rows += [
        ["identity: lowest mean cosine of the groups", min(one["cosine"])],
        [verified, percent(min(one["accepted"]))],
        ["identity: verified at dlib's distance 0.6, worst group", percent(min(one["within_distance"]))],
        ["skin tone drift dE, worst group", max(every["skin"]["de"])],
        ["changed pixels outside the face's square", every["outside"]["changed"]],
    ]
    if "sharpness" in every:
        rows.append(["sharpness ratio, median by group", listed(every["sharpness"]["median"])])
    if still := result.get("temporal_consistency"):
        worst = [max(still[kind]["flicker"]) for kind in ("exact", "detected")]
        rows.append(["flicker, worst group, levels: exact landmarks; the detector's", listed(worst, "; ")])
    return table([f"{every['n']} people", "value"], rows)


def markdown(result: Json) -> str:
    """The whole report, ``templates/report.md``; the same result gives the same text."""
    groups, every, pairs, cuts = result["groups"], result["slices"]["all"], result["pairs"], result["slices"].items()

    def sliced(field: str, key: str = "", shown: Callable[[float], Any] = lambda value: value) -> list[list[Any]]:
        found = [(cut, one["n"], one[field]) for cut, one in cuts if field in one]
        return [
            [cut, values.get("n", n) if key else n, *map(shown, values[key] if key else values)]
            for cut, n, values in found
        ]

    def ages(name: str) -> list[list[Any]]:
        rows = []
        for cut, one in cuts:
            age = one["age"][name]
            errors = [f"{a} ({b})" for a, b in zip(age["mae"], age["nothing_mae"], strict=True)]
            whole = f"{age['mae_overall']} ({age['nothing_mae_overall']})"
            tail = [whole, age["corrected_mae"], age["slope"], age["rank"], percent(age["rising"])]
            rows.append([cut, one["n"], *errors, *tail])
        return rows

    preserved = [["dE", *every["skin"]["de"]]]
    preserved += [[f"d{axis}", *(f"{one[i]:+}" for one in every["skin"]["lab"])] for i, axis in enumerate("Lab")]
    preserved.append(["background, mean change in levels", *every["background"]])
    if sharp := every.get("sharpness"):
        preserved += [
            [f"sharpness ratio, {name} ({sharp['n']} sharp)", *sharp[name]] for name in ("median", "min", "max")
        ]
    values = {
        "result": result,
        "headline": headline(result),
        "asked": [f"{group['label']} ({group['center']:g})" for group in groups],
        "ages": {name: ages(name) for name in result["estimators"]},
        "judges": [
            [f"{name}, {kind}", real["n"], real["mae"], f"{real['bias']:+}", real.get("rank"), real.get("slope")]
            for name, one in result["estimators"].items()
            for kind, real in one["real"].items()
        ],
        "real_pairs": [
            [name, one["n"], listed(one["cosine"]), listed(one["distance"]), percent(one["accepted"]), percent(one["within_distance"])]
            for name in ("same", "different", "different, one gender")
            if (one := pairs.get(name))
        ],
        "sliced": sliced,
        "preserved": preserved,
        "temporal_consistency": temporal_consistency(result),
        "kid": [
            [row["group"], row["n_real"], *("{} [{}, {}]".format(*row[k][:3]) if row.get(k) else None for k in ("aged", "input", "real"))]
            for row in result["kid"]
        ],
        "parity": [
            [row["name"], 0, "not run", row["error"]]
            if "error" in row
            else [row["name"], row["faces"], "equal" if row["psnr"] is None else row["psnr"], row["max_levels"]]
            for row in result.get("precision_parity", ())
        ],
    }  # fmt: skip
    return render(TEMPLATES / "report.md", **values).rstrip() + "\n"


def temporal_consistency(result: Json) -> str:
    """The section on flicker, ``templates/temporal_consistency.md``; nothing of a report from before it was measured."""
    if "temporal_consistency" not in result:
        return ""
    rows: list[list[Any]] = []
    still = result["temporal_consistency"]
    for kind in ("exact", "detected") if still else ():
        one = still[kind]
        rows += [[f"{kind}: flicker", *one["flicker"]], [f"{kind}: signal", *one["signal"]]]
        rows.append([f"{kind}: flicker / signal", *(v if v is None else f"{100 * v:.1f} %" for v in one["ratio"])])
    labels = [result["groups"][i]["label"] for i in still["groups"]] if still else []
    return render(TEMPLATES / "temporal_consistency.md", still=still, moved_labels=labels, moved=rows)


def draw_age(result: Json, path: Path) -> None:
    """Estimated over requested age, a panel an estimator: every person, and the mean."""
    from matplotlib.figure import Figure

    centers = [group["center"] for group in result["groups"]]
    figure = Figure(figsize=(5 * len(result["estimators"]), 5), layout="constrained")
    axes = figure.subplots(1, len(result["estimators"]), sharey=True, squeeze=False)[0]
    for ax, name in zip(axes, result["estimators"], strict=True):
        lines = np.array([person["estimates"][name] for person in result["people"]])
        ax.plot(centers, lines[:, 1:].T, color="0.75", lw=0.6)
        ax.plot(centers, lines[:, 1:].mean(0), "o-", color="C0", lw=2, label="aged, mean")
        ax.axhline(lines[:, 0].mean(), color="C1", ls="--", label="input, mean")
        ax.plot(centers, centers, color="k", lw=1, ls=":", label="as asked")
        slope = result["slices"]["all"]["age"][name]["slope"]
        ax.set(title=f"{name}: slope {slope}", xlabel="requested age, years", xticks=centers)
    axes[0].set_ylabel("estimated age, years")
    axes[0].legend()
    figure.savefig(path, dpi=110)


def draw_identity(result: Json, path: Path) -> None:
    """Cosines of real pairs and of aged pictures to their inputs."""
    from matplotlib.figure import Figure

    pairs = result["pairs"]
    bins = np.array(pairs["bins"])
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    ax = figure.subplots()
    for name in ("same", "different"):
        if name in pairs:
            counts = np.array(pairs[name]["histogram"])
            ax.stairs(counts / max(1, counts.sum()), bins, fill=True, alpha=0.4, label=f"real pairs: {name}")
    cosines = np.array([person["cosine"] for person in result["people"]])
    for i, group in enumerate(result["groups"]):
        counts = np.histogram(cosines[:, i], bins)[0]
        ax.stairs(counts / max(1, counts.sum()), bins, label=f"aged to {group['label']}", lw=1.5)
    ax.axvline(pairs["threshold_cosine"], color="k", ls=":", label="1 % false accepts")
    ax.set(xlabel=f"cosine ({pairs['embedder']})", ylabel="share", xlim=(0.75, 1.0))
    ax.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def choose(people: Sequence[Json], count: int = _SHEET_PEOPLE) -> list[int]:
    """Indices of people spread over age group, gender and skin tone: one of each kind in turn, sharp pictures first."""
    kinds: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for i in sorted(range(len(people)), key=lambda i: (not people[i]["sharp"], people[i]["file"])):
        kinds[people[i]["tone"], people[i]["gender"], people[i]["group"]].append(i)
    rest = [kinds[kind] for kind in sorted(kinds)]
    chosen: list[int] = []
    while rest and len(chosen) < count:
        # Every n-th kind first, so that a round which is cut short still has all tones.
        step = max(1, -(-len(rest) // (count - len(chosen))))
        chosen += [kind.pop(0) for kind in rest[::step][: count - len(chosen)]]
        rest = [kind for kind in rest if kind]
    return sorted(chosen, key=lambda i: (people[i]["group"], people[i]["gender"], people[i]["file"]))


def write_sheet(result: Json, rows: Sequence[Photo], ager: Ager, path: Path) -> None:
    """Contact sheet, two people a line: the input and three groups each. Portraits: never commit or publish it."""
    groups = [i for i in _SHEET_GROUPS if i < len(result["groups"])]
    years = [result["groups"][i]["center"] for i in groups]
    people = []
    for i in choose(result["people"]):
        row, frame = rows[i], rows[i].frame()
        captions = [f"{Path(row.file).stem} {row.gender} {row.age:.0f} {result['people'][i]['tone']}"]
        captions += [f"{one:g}" for one in years]
        people.append(list(zip(captions, [frame, *ager(frame, row.landmarks, years)], strict=True)))
    grid([[*chain(*people[i : i + 2])] for i in range(0, len(people), 2)], _SHEET_SIDE, band=16, gap=4).save(path)
