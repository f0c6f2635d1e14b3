"""Comparisons of methods: intervals over people, and what may be said of them, on made-up numbers."""

import numpy as np
import pytest

pytest.importorskip("training.evaluation.comparison", reason="training/ is in no wheel: it runs from a checkout")

from training.evaluation import comparison
from training.evaluation.comparison import NO_DIFFERENCE, Interval, Measure

SEED = 11
CENTERS = [30, 40, 50, 60, 70]
ERROR, SLOPE, COSINE = Measure("error", "years", 2, -1), Measure("slope", "", 3, 0), Measure("cosine", "", 4, +1)


def made_up(slope=1.0, cosine=0.95, people=40, spread=0.0, seed=SEED):
    """A result of ``training.evaluate`` in which people of 50 years are read ``slope`` years older for a year asked."""
    rng = np.random.default_rng(seed)
    offset = spread * rng.normal(size=(people, 1))
    read = 50 + slope * (np.array(CENTERS) - 50) + offset
    return {
        "groups": [{"label": str(center), "center": center} for center in CENTERS],
        "estimators": {"judge": {"real": {"all": {"mae": 4.0}}}},
        "pairs": {"threshold_cosine": 0.9},
        "seconds": 60.0,
        "people": [
            {
                "file": f"{i}.jpg",
                "estimates": {"judge": [50.0, *one]},
                "cosine": [cosine] * 5,
                "skin_drift": [[3.0, 0.0, 4.0]] * 5,
                "outside": {"changed": 0},
            }
            | ({"sharpness": [0.9, 1.1, 1.0, 0.9, 1.1]} if i % 2 else {})
            for i, one in enumerate(read)
        ],
    }


def test_figures_of_a_person():
    found = comparison.per_person(made_up(slope=0.5, people=2))
    assert found["age error (judge)"] == pytest.approx([6, 6])  # 10, 5, 0, 5, 10
    assert found["slope (judge)"] == pytest.approx([0.5, 0.5])
    assert found["rank correlation (judge)"] == pytest.approx([1, 1])
    assert found["verified"] == pytest.approx([100, 100])
    assert found["skin-tone drift"] == pytest.approx([5, 5])
    assert np.isnan(found["sharpness ratio"][0])
    assert found["sharpness ratio"][1] == pytest.approx(1.0)  # blurred and sharpened cancel ...
    assert found["distance of the sharpness ratio from 1"][1] == pytest.approx(0.08)  # ... but not here
    assert set(found) == {measure.title for measure in comparison.measures_of(["judge"])}


def test_bootstrap_is_the_interval_of_a_mean():
    values = np.random.default_rng(SEED).normal(3.0, 1.0, 400)
    one = comparison.bootstrap(values, seed=1)
    half = 1.96 * values.std() / np.sqrt(400)
    assert one.value == pytest.approx(values.mean())
    assert one.low == pytest.approx(values.mean() - half, abs=0.01)
    assert one.high == pytest.approx(values.mean() + half, abs=0.01)
    assert comparison.bootstrap(values, seed=1) == one
    assert comparison.bootstrap(values, seed=2) != one


def test_bootstrap_leaves_out_who_has_no_figure():
    assert comparison.bootstrap(np.array([np.nan, 2.0, np.nan])) == Interval(2.0, 2.0, 2.0, 1)
    assert comparison.bootstrap(np.array([np.nan])) is None


def test_pairing_sees_what_the_spread_over_people_hides():
    full, other = made_up(slope=1.0, spread=8.0), made_up(slope=0.95, spread=8.0)
    slopes = comparison.paired(other, full)["slope (judge)"]
    assert slopes.high < 0
    assert slopes.value == pytest.approx(-0.05)
    assert comparison.paired(full, full)["age error (judge)"][:3] == (0, 0, 0)


def test_other_people_are_not_compared():
    with pytest.raises(ValueError, match="different people"):
        comparison.paired(made_up(people=3), made_up(people=4))


@pytest.mark.parametrize(
    ("measure", "difference", "said"),
    [
        (ERROR, (-1.0, -1.5, -0.5), "better by 1.00 years [0.50, 1.50]"),
        (ERROR, (1.0, 0.5, 1.5), "worse by 1.00 years [0.50, 1.50]"),
        (COSINE, (0.01, 0.002, 0.02), "better by 0.0100 [0.0020, 0.0200]"),
        (COSINE, (-0.01, -0.02, -0.002), "worse by 0.0100 [0.0020, 0.0200]"),
        (SLOPE, (0.2, 0.1, 0.3), "higher by 0.200 [0.100, 0.300]"),
        (SLOPE, (-0.2, -0.3, -0.1), "lower by 0.200 [0.100, 0.300]"),
        (ERROR, (-1.0, -2.1, 0.1), NO_DIFFERENCE),
        (ERROR, (1.0, 0.0, 2.0), NO_DIFFERENCE),  # an end at 0 does not leave it out
        (COSINE, (0.0, 0.0, 0.0), NO_DIFFERENCE),
    ],
)
def test_a_verdict_is_no_stronger_than_its_interval(measure, difference, said):
    assert comparison.verdict(measure, Interval(*difference, 50)) == said


def test_sentences_name_every_measure_once():
    differences = {
        "error": Interval(-1.0, -1.5, -0.5, 50),
        "slope": Interval(0.1, -0.1, 0.3, 50),
        "cosine": Interval(-0.01, -0.02, -0.002, 50),
        "of nobody": None,
    }
    said = comparison.sentences("x", differences, [ERROR, SLOPE, COSINE, Measure("of nobody", "", 1, 1)])
    assert said == [
        "**x**: error better by 1.00 years [0.50, 1.50].",
        "**x**: cosine worse by 0.0100 [0.0020, 0.0200].",
        f"**x**: {NO_DIFFERENCE} in slope.",
    ]


@pytest.mark.parametrize(
    ("error", "cosine", "end"),
    [
        ((1.0, 0.5, 1.5), (0.0, -0.1, 0.1), "1 got worse and 0 better: it pays, by these numbers, to have."),
        ((-1.0, -1.5, -0.5), (0.0, -0.1, 0.1), "0 got worse and 1 better: it costs, by these numbers, to have."),
        ((-1.0, -1.5, -0.5), (-0.1, -0.2, -0.05), "1 got worse and 1 better: a trade."),
        ((0.1, -0.5, 0.5), (0.0, -0.1, 0.1), f"0 got worse and 0 better: {NO_DIFFERENCE}."),
    ],
)
def test_effect_of_a_part_is_counted_over_measures_with_a_direction(error, cosine, end):
    differences = {"error": Interval(*error, 9), "cosine": Interval(*cosine, 9), "slope": Interval(0.5, 0.4, 0.6, 9)}
    said = comparison.effect("the part", differences, [ERROR, COSINE, SLOPE])
    assert said == f"Without the part, of the 2 measures that have a better and a worse, {end}"


def test_numbers_have_no_negative_zero():
    assert SLOPE.number(-0.0001) == "0.000"
    assert SLOPE.number(-0.0001, "+") == "+0.000"
    assert SLOPE.number(-0.5, "+") == "-0.500"
