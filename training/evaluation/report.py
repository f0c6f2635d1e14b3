"""What ``training.evaluate`` found, as JSON, Markdown and a figure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..templating import Json, render

TEMPLATES = Path(__file__).parent / "templates"


def write(result: Json, folder: Path) -> None:
    """Write ``report.json``, ``report.md`` and ``age.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "report.md").write_text(markdown(result))
    draw_age(result, folder / "age.png")


def headline(result: Json) -> str:
    """The one table to look at first, Markdown."""
    return render(TEMPLATES / "headline.md", result=result)


def markdown(result: Json) -> str:
    """The whole report, ``templates/report.md``; the same result gives the same text."""

    def sliced(field: str, key: str = "", shown: Callable[[float], Any] = lambda value: value) -> list[list[Any]]:
        found = [(cut, one["n"], one[field]) for cut, one in result["slices"].items() if field in one]
        return [
            [cut, values.get("n", n) if key else n, *map(shown, values[key] if key else values)]
            for cut, n, values in found
        ]

    asked = [f"{group['label']} ({group['center']:g})" for group in result["groups"]]
    parts = {"headline": headline(result), "temporal_consistency": temporal_consistency(result)}
    return render(TEMPLATES / "report.md", result=result, asked=asked, sliced=sliced, **parts).rstrip() + "\n"


def temporal_consistency(result: Json) -> str:
    """The section on flicker, ``templates/temporal_consistency.md``; nothing of a report from before it was measured."""
    if "temporal_consistency" not in result:
        return ""
    return render(TEMPLATES / "temporal_consistency.md", result=result, still=result["temporal_consistency"])


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
