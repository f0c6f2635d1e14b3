"""Error of ``Transformer.estimate_age`` on held-out portraits: ``python benchmarks/estimate_age.py`` (ten seconds).

The whole run-time path, detector included. Labels are good to 3 to 5 years themselves (the portraits' README).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import lgin_edge
from training.command import PacksOption
from training.dataset.labels import default_packs, of_split, read_packs


def main(
    data: PacksOption = None,
    split: Annotated[str, typer.Option(help="val or test.")] = "test",
    model: Annotated[Path | None, typer.Option(help="An age model (default: the bundled one).")] = None,
) -> None:
    """Print, as JSON: mean absolute error, that of always saying the median, shares of right groups, bias by age."""
    try:
        rows = of_split(read_packs(data or default_packs()), split)
    except (ValueError, FileNotFoundError) as error:
        typer.echo(f"{error}: name the packs with --data", err=True)
        raise typer.Exit(2) from None
    years, groups, labels, centers = [], [], [], np.zeros(0)
    with lgin_edge.Transformer(threads=1, age_model=model) as transformer:
        centers = np.array([group.center for group in transformer.groups])
        for row in rows:
            for estimate in transformer.estimate_age(row.frame())[:1]:
                years.append(estimate.years)
                groups.append(estimate.group)
                labels.append(row.age)
    error, label = np.array(years) - labels, np.array(labels)
    off = np.abs(np.array(groups) - np.abs(label[:, None] - centers).argmin(1))
    bias = {
        f"{low} to {high}": round(float(error[(label >= low) & (label < high)].mean()), 1)
        for low, high in ((0, 30), (30, 40), (40, 60), (60, 100))
    }
    report = {
        "split": split,
        "portraits": len(rows),
        "without a face": len(rows) - len(years),
        "mae_years": round(float(np.abs(error).mean()), 2),
        "mae_of_the_median": round(float(np.abs(label - np.median(label)).mean()), 2),
        "exact_group": round(float((off == 0).mean()), 2),
        "within_one_group": round(float((off <= 1).mean()), 2),
        "correlation": round(float(np.corrcoef(years, labels)[0, 1]), 2),
        "bias_years_by_age": bias,
    }
    typer.echo(json.dumps(report, indent=2))


if __name__ == "__main__":
    typer.run(main)
