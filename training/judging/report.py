"""The report of ``training.judge`` as JSON and as a page to look at."""

from __future__ import annotations

import json
from pathlib import Path

from ..templating import Json, render

TEMPLATE = Path(__file__).parent / "templates" / "judge.html"
#: The plot of ages: its side in pixels, and the ages at its ends.
_PLOT, _YOUNGEST, _OLDEST = 260, 15.0, 90.0


def write(result: Json, folder: Path) -> None:
    """Write ``report.json`` and ``report.html``, whose pictures lie in ``strips/``; a ``.gitignore`` keeps the folder out of git."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    (folder / "report.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "report.html").write_text(page(result))


def page(result: Json) -> str:
    """The page; the same result gives the same text."""
    return render(TEMPLATE, result=result, plots=plots(result), side=_PLOT)


def plots(result: Json) -> list[Json]:
    """A plot an estimator: of each person the line (asked, read) in pixels, and the mean's."""

    def at(age: float) -> float:
        return round((age - _YOUNGEST) / (_OLDEST - _YOUNGEST) * _PLOT, 1)

    def line(points: list[tuple[float, float]]) -> str:
        return " ".join(f"{at(asked)},{_PLOT - at(read)}" for asked, read in points)

    names = sorted({name for person in result["people"] for name in person["read"]})
    drawn = []
    for name in names:
        lines = [
            [(float(age), one["read"][name]) for age, one in person["ages"].items()] for person in result["people"]
        ]
        means = [
            (age, sum(reads) / len(reads))
            for age in result["ages"]
            if (reads := [read for one in lines for asked, read in one if asked == age])
        ]
        drawn.append(
            {
                "name": name,
                "people": [line(one) for one in lines],
                "mean": line(means),
                "ticks": [(at(a), f"{a:g}") for a in (20, 30, 40, 50, 60, 70, 80)],
            }
        )
    return drawn
