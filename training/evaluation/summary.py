"""What the evaluation says of many people: tables of means, distributions and failures, as plain JSON.

``people`` are the records that ``training.evaluate.evaluate`` makes, one a portrait; lists inside them run over the target
groups (``estimates`` has the input before them).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lgin_edge.models.description import AgeGroup

from ..templating import Json
from . import measures

if TYPE_CHECKING:
    from ..evaluate import Judges
    from .estimators import Estimator

#: Fraction of the pairs of different people that a verification threshold of our own lets through.
FALSE_ACCEPTS = 0.01
#: Outputs named in each list of failures.
_WORST = 8


def number(value: Any, digits: int = 2) -> float:
    return round(float(value), digits)


def rounded(values: Any, digits: int = 2) -> list[float]:
    return [round(float(value), digits) for value in values]


def group_of(age: float, groups: Sequence[AgeGroup]) -> int:
    """Index of the group that an age falls into."""
    return int(np.searchsorted([group.high for group in groups[:-1]], age, side="right"))


def real_error(estimator: Estimator, people: Sequence[Json], bias: float) -> Json:
    """An estimator's own error on the real faces: mean absolute error, bias, correlation, slope; by kind of label."""
    result: Json = {"about": estimator.about, "val_bias": round(bias, 2), "real": {}}
    for kind in ("all", "dated", "estimated"):
        chosen = [p for p in people if kind in ("all", p["age_kind"])]
        if not chosen:
            continue
        age = np.array([p["age"] for p in chosen])
        error = np.array([p["estimates"][estimator.name][0] for p in chosen]) - age
        row = {"n": len(chosen), "mae": number(np.abs(error).mean()), "bias": number(error.mean())}
        if np.ptp(age) > 0:
            row |= {"rank": number(measures.rank_correlation(age, error + age))}
            row |= {"slope": number(measures.slope(age, error + age))}
        result["real"][kind] = row
    return result


def describe_pairs(judges: Judges) -> Json:
    """The distributions of real pairs, as quantiles, and the thresholds."""
    result: Json = {
        "embedder": judges.embedder.name,
        "threshold_distance": judges.embedder.threshold,
        "threshold_cosine": round(judges.threshold, 4),
        "false_accepts": FALSE_ACCEPTS,
    }
    for name, pairs in judges.pairs.items():
        if len(pairs.cosine) == 0:
            continue
        result[name] = {
            "n": len(pairs.cosine),
            "cosine": rounded(np.quantile(pairs.cosine, [0.05, 0.5, 0.95]), 4),
            "distance": rounded(np.quantile(pairs.distance, [0.05, 0.5, 0.95]), 4),
            "accepted": number((pairs.cosine >= judges.threshold).mean(), 4),
            "within_distance": number((pairs.distance < judges.embedder.threshold).mean(), 4),
        }
    return result


def slices(people: Sequence[Json], groups: Sequence[AgeGroup]) -> dict[str, list[Json]]:
    """The people, all and by age group of the input, source, gender and measured skin tone; empty ones left out."""
    result = {"all": list(people)}
    result |= {f"input {g.label}": [p for p in people if p["group"] == i] for i, g in enumerate(groups)}
    result |= {
        f"source {name}": [p for p in people if p["source"] == name] for name in sorted({p["source"] for p in people})
    }
    result |= {f"gender {name}": [p for p in people if p["gender"] == name] for name in ("F", "M")}
    result |= {f"tone {name}": [p for p in people if p["tone"] == name] for name, _ in measures.TONES}
    return {name: chosen for name, chosen in result.items() if chosen}


def summarise(people: Sequence[Json], years: Sequence[float], judges: Judges) -> Json:
    """Means over some people; lists are by target group."""
    target = np.array(years)
    result: Json = {"n": len(people), "age": {}}
    for estimator in judges.estimators:
        estimates = np.array([p["estimates"][estimator.name] for p in people])  # [N, 1 + G]
        error, idle = estimates[:, 1:] - target, estimates[:, :1] - target
        slopes = np.array([measures.slope(target, one[1:]) for one in estimates])
        ranks = np.array([measures.rank_correlation(target, one[1:]) for one in estimates])
        result["age"][estimator.name] = {
            "mean": rounded(estimates[:, 1:].mean(0)),
            "mae": rounded(np.abs(error).mean(0)),
            "mae_overall": number(np.abs(error).mean()),
            "corrected_mae": number(np.abs(error - judges.bias[estimator.name]).mean()),
            "nothing_mae": rounded(np.abs(idle).mean(0)),
            "nothing_mae_overall": number(np.abs(idle).mean()),
            "slope": number(slopes.mean(), 3),
            "rank": number(ranks.mean(), 3),
            "rising": number((slopes > 0).mean(), 3),
        }
    cosine, distance = (np.array([p[name] for p in people]) for name in ("cosine", "distance"))
    result["identity"] = {
        "cosine": rounded(cosine.mean(0), 4),
        "cosine_min": rounded(cosine.min(0), 4),
        "distance": rounded(distance.mean(0), 4),
        "accepted": rounded((cosine >= judges.threshold).mean(0), 3),
        "within_distance": rounded((distance < judges.embedder.threshold).mean(0), 3),
    }
    drift = np.array([p["skin_drift"] for p in people])  # [N, G, 3]
    result["skin"] = {
        "de": rounded(np.linalg.norm(drift, axis=-1).mean(0)),
        "lab": [rounded(one) for one in drift.mean(0)],
    }
    result["background"] = rounded(np.mean([p["background"] for p in people], axis=0), 3)
    if sharp := [p["sharpness"] for p in people if "sharpness" in p]:
        result["sharpness"] = _over(sharp, "median", "min", "max")
    return result


def _over(rows: Sequence[Sequence[float]], *statistics: str) -> Json:
    """How many rows, and NumPy's statistics of these names over them, one value a column."""
    return {"n": len(rows)} | {name: rounded(getattr(np, name)(rows, axis=0), 3) for name in statistics}


def glasses(people: Sequence[Json]) -> Json | None:
    """Fraction of the edges that is left where rims run, by target group: of wearers of glasses, and of the others, in whom
    these edges are folds and lines. None where it is not known who wears glasses."""
    wearers = [p for p in people if p.get("glasses")]
    if not wearers:
        return None
    kept = np.array([p["rims"] for p in wearers])
    who, group = np.unravel_index(kept.argmin(), kept.shape)
    result: Json = {
        "wearers": _over(kept, "median", "min"),
        "least": {"file": wearers[who]["file"], "group": int(group), "value": number(kept.min(), 3)},
    }
    if others := [p["rims"] for p in people if not p["glasses"]]:
        result["others"] = _over(others, "median")
    return result


def worst(people: Sequence[Json], years: Sequence[float], steady: Json | None = None) -> Json:
    """The worst outputs by name of the file: what to look at first. ``steady`` is ``temporal_consistency.measure``'s."""

    def lowest(values: Iterable[tuple[float, str, int | None]], falling: bool = False) -> list[Json]:
        ordered = sorted(values, key=lambda v: (-v[0] if falling else v[0], v[1], v[2] or 0))[:_WORST]
        return [{"file": file, "group": group, "value": round(value, 3)} for value, file, group in ordered]

    def each(name: str) -> Iterator[tuple[float, str, int | None]]:
        return ((value, p["file"], i) for p in people for i, value in enumerate(p.get(name, ())))

    slopes = [
        (float(np.mean([measures.slope(years, one[1:]) for one in p["estimates"].values()])), p["file"], None)
        for p in people
    ]
    drift = ((float(np.linalg.norm(one)), p["file"], i) for p in people for i, one in enumerate(p["skin_drift"]))
    wrong = {
        name: [p["file"] for p in people if measures.slope(years, p["estimates"][name][1:]) <= 0]
        for name in sorted({name for p in people for name in p["estimates"]})
    }
    kept = [(value, p["file"], i) for p in people if p.get("glasses") for i, value in enumerate(p["rims"])]
    moved = steady or {"people": [], "groups": []}
    flicker = [(v, p["file"], i) for p in moved["people"] for i, v in zip(moved["groups"], p["detected"], strict=True)]
    found = {
        "identity, lowest cosine": lowest(each("cosine")),
        "age, lowest slope (mean of the estimators)": lowest(slopes),
        "skin, largest colour drift (dE)": lowest(drift, falling=True),
        "sharpness, lowest ratio": lowest(each("sharpness")),
        "sharpness, highest ratio": lowest(each("sharpness"), falling=True),
        "background, largest change (levels)": lowest(each("background"), falling=True),
        "glasses, least edges kept": lowest(kept),
        "flicker with detected landmarks, highest (levels)": lowest(flicker, falling=True),
    }
    return {title: entries for title, entries in found.items() if entries} | {"not_rising": wrong}
