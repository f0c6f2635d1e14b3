"""What ``training.evaluate`` found, as JSON, Markdown and a figure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..templating import listed, percent, render, table

Json = dict[str, Any]

TEMPLATES = Path(__file__).parent / "templates"


def write(result: Json, folder: Path) -> None:
    """Write ``report.json``, ``report.md`` and ``age.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "report.md").write_text(markdown(result))
    draw_age(result, folder / "age.png")


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
