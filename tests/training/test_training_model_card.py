"""The model card: aims by rule, counts from the labels, and a whole card from a small made-up report."""

import copy
import csv
import json
from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="training needs torch: pip install -e .[train]")
pytest.importorskip("onnx", reason="counting needs onnx: pip install -e .[train]")

import typer

from training import model_card
from training.dataset.labels import POINTS, read


def cut(n, slope=0.7, rank=0.97, mae=6.0, cosine=0.97, verified=1.0, sharp=(0.95, 1.05)):
    age = {"mae_overall": mae, "nothing_mae_overall": 14.0, "slope": slope, "rank": rank}
    return {
        "n": n,
        "age": {"judge": age},
        "identity": {"cosine": [cosine, 0.99], "accepted": [verified, 1.0]},
        "skin": {"de": [1.5, 0.5]},
        "sharpness": {"median": list(sharp)},
    }


@pytest.fixture
def result():
    return {
        "model": {"file": "tiny.onnx", "name": "tiny", "split": "test", "limit": None},
        "estimators": {"judge": {}},
        "pairs": {"threshold_cosine": 0.91, "false_accepts": 0.01, "different": {"cosine": [0.77, 0.84, 0.89]}},
        "slices": {"all": cut(40), "gender F": cut(9), "gender M": cut(31, mae=9.5), "tone light": cut(40)},
    }


@pytest.fixture
def labels(tmp_path):
    """Forty training faces: 30 men of 50, 8 women of 40, 2 men of 70; two people to test."""
    points = {f"{point}_{axis}": "1" for point in POINTS for axis in "xy"}
    kinds = [("M", 50.0)] * 30 + [("F", 40.0)] * 8 + [("M", 70.0)] * 2 + [("M", 50.0)] * 2
    rows = [
        {"file": f"{i}.jpg", "split": "train" if i < 40 else "test", "tier": "AB"[i % 2], "gender": gender}
        | {"age": str(age), "age_kind": "estimated", "bioguide": f"p{i}", "rights": "presumed US government work"}
        | points
        for i, (gender, age) in enumerate(kinds)
    ]
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return read(tmp_path)


def reached(result):
    return {one.what: one.reached for one in model_card.aims(result)}


def test_every_aim_can_be_reached_and_missed(result):
    assert set(reached(result).values()) == {True}
    missed = {
        "slope": {"slope": 0.59},
        "rank": {"rank": 0.94},
        "mean error": {"mae": 8.01},
        "identity, mean cosine": {"cosine": 0.59},
        "identity verified": {"verified": 0.99},
        "sharpness": {"sharp": (0.89, 1.0)},
    }
    for start, worse in missed.items():
        other = copy.deepcopy(result)
        other["slices"]["all"] = cut(40, **worse)
        assert [what for what, ok in reached(other).items() if not ok] == [
            what for what in reached(result) if what.startswith(start)
        ]
    result["slices"]["all"] = cut(40, sharp=(1.0, 1.11))
    assert not reached(result)["sharpness ratio, median by group"]


def test_no_sharp_portrait_no_aim_of_sharpness(result):
    del result["slices"]["all"]["sharpness"]
    assert not any(what.startswith("sharpness") for what in reached(result))


def test_a_card_says_what_was_counted(result, labels, tiny_model):
    every, at_thirty = ({"rate": rate, "low": 0.8, "high": 0.95, "people": 40} for rate in (0.9, 0.93))
    said = {
        "what": "three viewers",
        "to 0.6": {"kind": "pairs", "pair": {"all": every, "age 30": at_thirty, "age 70": every}},
        "at 70": {
            "kind": "singles",
            "aged": {"all": at_thirty},
            "real": {"all": every},
            "years read less years asked": {"aged": -9.6, "real": 1.0},
        },
    }
    text = model_card.markdown(tiny_model, result, labels, ["python -m training.model_card report.json"], blind=said)
    for wanted in (
        "| preferred to 0.6 | 90 % [80, 95] | 40 | at 30 93 % [80, 95]; at 70 90 % [80, 95] |",
        "| taken for real (at 70) | 93 % [80, 95] | 40 |  |",
        "-10; +1",
        "Of 40 training faces 8 are of women and 32 of men",
        "age under 25 (0)",
        "age 65-74 (2)",
        "gender F (8)",
        "No person is in two splits",
        "| presumed US government work | 42 |",
        "| gender F | 8 | 0 |",
        "| age 45-54 | 30 | 2 |",
        "gender F (9)",  # few test people
        "gender M, 9.5 years off the age asked for, where all are 6 off",
        "tone dark",
        "Training faces under 18 years: 0",
        "not for age verification",
        "median of two strangers is 0.84",
        "python -m training.model_card report.json",
    ):
        assert wanted in text, wanted
    assert "missed" not in text
    assert "nan" not in text
    assert "age 45-54 (30)" not in text


def test_a_card_warns_of_another_model_a_trial_and_shared_people(result, labels, tiny_model):
    result["model"] |= {"name": "somebody else's", "limit": 12}
    labels[-1] = replace(labels[-1], person=labels[0].person)
    text = model_card.markdown(tiny_model, result, labels, [])
    assert "The report is of `somebody else's`, not of this file" in text
    assert "A trial: 12 portraits at most" in text
    assert "1 people are in several splits" in text


@pytest.fixture
def files(result, labels, tmp_path, tiny_model):
    (tmp_path / "report.json").write_text(json.dumps(result))
    return {
        "report_": tmp_path / "report.json",
        "output": tmp_path / "docs" / "card.md",
        "model": tiny_model,
        "packs": [tmp_path],
    }


def test_the_command_writes_the_card(files, capsys):
    model_card.main(**files)
    assert "# Model card: " in files["output"].read_text()
    assert "aims missed: none" in capsys.readouterr().out


@pytest.mark.parametrize("broken", ["report_", "model", "packs"])
def test_a_missing_file_is_named(files, broken, tmp_path, capsys):
    files[broken] = [tmp_path / "not here"] if broken == "packs" else tmp_path / "not here"
    with pytest.raises(typer.Exit):
        model_card.main(**files)
    assert "not here" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "{}", "[]"])
def test_what_is_no_report_is_refused(files, text, capsys):
    files["report_"].write_text(text)
    with pytest.raises(typer.Exit):
        model_card.main(**files)
    assert "report" in capsys.readouterr().err
    assert not files["output"].exists()
