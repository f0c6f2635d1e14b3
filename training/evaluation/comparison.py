"""Several methods measured on the same people: means with intervals, paired differences, and what may be said of them.

Works on what ``training.evaluate.evaluate`` returns. An interval is a percentile bootstrap over people (Efron 1979): it
says how far other people would move a mean, and nothing of how far another training would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import measures
from .measures import Floats

Json = dict[str, Any]

#: Resamples of a bootstrap, and the share of them that an interval holds.
ROUNDS, LEVEL = 4000, 0.95
NO_DIFFERENCE = "no difference that these numbers show"


@dataclass(frozen=True)
class Measure:
    """One figure a person. ``better``: +1 where higher is better, -1 where lower is, 0 where neither."""

    title: str
    unit: str
    digits: int
    better: int

    def number(self, value: float, sign: str = "") -> str:
        """The value with the measure's digits, without its unit; nothing is shown as ``-0``."""
        text = f"{value:{sign}.{self.digits}f}"
        return text.replace("-", sign) if float(text) == 0 else text


class Interval(NamedTuple):
    """A mean and the ends of its 95 % interval over ``n`` people."""

    value: float
    low: float
    high: float
    n: int


def measures_of(estimators: Sequence[str]) -> list[Measure]:
    """What is compared, in the order of the tables."""
    age = [
        one
        for name in estimators
        for one in (
            Measure(f"age error ({name})", "years", 2, -1),
            Measure(f"slope ({name})", "", 3, 0),
            Measure(f"rank correlation ({name})", "", 3, +1),
        )
    ]
    return [
        *age,
        Measure("identity cosine", "", 4, +1),
        Measure("verified", "%", 1, +1),
        Measure("sharpness ratio", "", 3, 0),
        Measure("distance of the sharpness ratio from 1", "", 3, -1),
        Measure("skin-tone drift", "dE", 2, -1),
    ]


def per_person(result: Json) -> dict[str, Floats]:
    """Each measure of ``measures_of`` by its title, [N]: a person's mean over the target groups.

    Slope and rank correlation run over a person's groups already. Not a number where a person has no such figure: blurred
    portraits have no sharpness to keep.
    """
    people = result["people"]
    years = np.array([group["center"] for group in result["groups"]], np.float64)
    found: dict[str, Floats] = {}
    for name in result["estimators"]:
        read = np.array([person["estimates"][name][1:] for person in people], np.float64)  # [N, G]
        found[f"age error ({name})"] = np.abs(read - years).mean(1)
        found[f"slope ({name})"] = np.array([measures.slope(years, one) for one in read])
        found[f"rank correlation ({name})"] = np.array([measures.rank_correlation(years, one) for one in read])
    cosine = np.array([person["cosine"] for person in people], np.float64)
    sharp = np.array([person.get("sharpness", [np.nan] * len(years)) for person in people], np.float64)
    drift = np.array([person["skin_drift"] for person in people], np.float64)
    found["identity cosine"] = cosine.mean(1)
    found["verified"] = 100 * (cosine >= result["pairs"]["threshold_cosine"]).mean(1)
    found["sharpness ratio"] = sharp.mean(1)
    found["distance of the sharpness ratio from 1"] = np.abs(sharp - 1).mean(1)
    found["skin-tone drift"] = np.linalg.norm(drift, axis=-1).mean(1)
    return found


def bootstrap(values: Floats, seed: int = 0) -> Interval | None:
    """Mean of ``values`` [N] with its interval over people; those that are not numbers are left out. None without any."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    index = np.random.default_rng(seed).integers(0, len(known), (ROUNDS, len(known)))
    low, high = np.quantile(known[index].mean(1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(known.mean()), float(low), float(high), len(known))


def paired(result: Json, reference: Json, seed: int = 0) -> dict[str, Interval | None]:
    """Mean difference ``result - reference`` of the same people, by measure.

    Raises ValueError: the two were measured on different people.
    """
    if [person["file"] for person in result["people"]] != [person["file"] for person in reference["people"]]:
        raise ValueError(
            "the two methods were measured on different people, so they cannot be compared person by person"
        )
    own, other = per_person(result), per_person(reference)
    return {title: bootstrap(own[title] - other[title], seed) for title in own}


def verdict(measure: Measure, difference: Interval) -> str:
    """What a paired difference allows to say: a direction only where the whole interval has one sign."""
    if difference.low <= 0 <= difference.high:
        return NO_DIFFERENCE
    up = difference.value > 0
    word = {+1: ("worse", "better"), -1: ("better", "worse"), 0: ("lower", "higher")}[measure.better][up]
    ends = sorted((abs(difference.low), abs(difference.high)))
    unit = f" {measure.unit}" if measure.unit else ""
    return f"{word} by {measure.number(abs(difference.value))}{unit} [{', '.join(map(measure.number, ends))}]"


def sentences(title: str, differences: Mapping[str, Interval | None], listed: Sequence[Measure]) -> list[str]:
    """What may be said of a method against the reference: one sentence for each direction, Markdown."""
    said: dict[str, list[str]] = {"better": [], "worse": [], "moved": [], "same": []}
    for measure in listed:
        difference = differences.get(measure.title)
        if difference is None:
            continue
        words = verdict(measure, difference)
        kind = "same" if words == NO_DIFFERENCE else words.split()[0]
        said[kind if kind in said else "moved"].append(measure.title if kind == "same" else f"{measure.title} {words}")
    result = [f"**{title}**: {'; '.join(said[kind])}." for kind in ("better", "worse", "moved") if said[kind]]
    if said["same"]:
        result.append(f"**{title}**: {NO_DIFFERENCE} in {', '.join(said['same'])}.")
    return result


def effect(part: str, differences: Mapping[str, Interval | None], listed: Sequence[Measure]) -> str:
    """What leaving ``part`` ("the local generators") out did, in one sentence."""
    kinds = [verdict(m, d).split()[0] for m in listed if m.better and (d := differences.get(m.title)) is not None]
    worse, better = kinds.count("worse"), kinds.count("better")
    text = f"Without {part}, of the {len(kinds)} measures that have a better and a worse, {worse} got worse and {better} better"
    if worse and better:
        return f"{text}: a trade."
    if worse:
        return f"{text}: it pays, by these numbers, to have."
    return f"{text}: it costs, by these numbers, to have." if better else f"{text}: {NO_DIFFERENCE}."
