"""The blind choice: sheets that show no names, a key that fits them, and scores with known answers."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from training import blind
from training.dataset import labels


@pytest.fixture
def photos(made_up, monkeypatch):
    """People of the made-up pack, sharp ones, on small sheets; the file is a person there."""
    monkeypatch.setattr(blind, "SIDE", 64)
    return [photo for photo in labels.read(made_up) if photo.sharp][:6]


def flat(level):
    return lambda photo, years: np.full((photo.size, photo.size, 3), level + years, np.uint8)


def test_the_key_says_on_which_side_each_source_is(tmp_path, photos):
    key = blind.make_pairs(tmp_path, (flat(100), flat(0)), ("new", "old"), photos, (30, 70), catch=1)
    kinds = [trial["kind"] for trial in key["trials"]]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"pair": 12, "same": 2, "contrast": 2}
    for age in (30, 70):  # viewers lean to a side
        sides = [trial["first"] for trial in key["trials"] if trial["age"] == age]
        assert sides.count("left") == sides.count("right") == 4
    assert json.loads((tmp_path / "key.json").read_text()) == key
    for trial in key["trials"]:
        with Image.open(tmp_path / "sheets" / f"{trial['sheet']:02}.png") as sheet:
            pixels = np.asarray(sheet)
        assert pixels.shape[1] >= 3 * blind.SIDE
        y = blind._BAND + (trial["row"] - 1) * (blind.SIDE + blind._BAND) + blind._BAND + blind.SIDE // 2
        left, right = (pixels[y, k * (blind.SIDE + blind._GAP) + 30, 0] for k in (1, 2))
        first = left if trial["first"] == "left" else right
        if trial["kind"] in ("pair", "contrast"):
            assert first == 100 + trial["age"]  # catch trials set the first source against a trick
        if trial["kind"] == "pair":
            assert {left, right} == {100 + trial["age"], trial["age"]}
    shown = "".join(path.name for path in (tmp_path / "sheets").iterdir())
    assert not any(photo.name in shown for photo in photos if len(photo.name) > 2)
    assert "new" not in (tmp_path / "sheets" / "answers.csv").read_text()


def answered(path, key, choose):
    """A viewer's file, filled in by ``choose(trial)``."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ("sheet", "row", "choice", "age"))
        writer.writeheader()
        for trial in key["trials"]:
            choice = choose(trial)
            cells = {"choice": choice} if isinstance(choice, str) else {"choice": choice[0], "age": choice[1]}
            writer.writerow({"sheet": trial["sheet"], "row": trial["row"], **cells})
    return path


def test_scores_of_viewers_who_always_or_never_choose_the_first(tmp_path, photos):
    key = blind.make_pairs(tmp_path, (flat(100), flat(0)), ("/at/home/new.onnx", "old"), photos, (30, 70), catch=2)
    other = {"left": "right", "right": "left"}
    answered(tmp_path / "fan.csv", key, lambda trial: trial["first"])
    answered(tmp_path / "foe.csv", key, lambda trial: other[trial["first"]] if trial["age"] == 30 else trial["first"])
    arguments = ["score", str(tmp_path), str(tmp_path / "fan.csv"), str(tmp_path / "foe.csv")]
    done = CliRunner().invoke(blind.app, arguments)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "score.json").read_text())
    assert (found["first"], found["second"]) == ("new.onnx", "old")  # where they lay is nobody's concern
    assert found["pair"]["viewer fan"]["rate"] == found["pair"]["age 70"]["rate"] == 1
    assert found["pair"]["viewer foe"]["rate"] == found["pair"]["age 30"]["rate"] == 0.5
    # Nobody says what a third viewer would choose.
    assert found["pair"]["all"] == {"rate": 0.75, "low": 0.5, "high": 1.0, "people": 6, "answers": 24}
    assert 0 < found["preferred to"]["contrast"]["rate"] < 1
    assert set(found["left chosen where both are the input"]) == {"fan", "foe"}


def test_who_sees_no_difference_counts_half(tmp_path, photos):
    key = blind.make_pairs(tmp_path, (flat(100), flat(0)), ("new", "old"), photos, (30, 70), catch=0)
    path = answered(tmp_path / "v.csv", key, lambda trial: "same" if trial["age"] == 30 else trial["first"])
    found = blind.score(key, {"v": blind.read_answers(path, key)})
    assert (found["pair"]["age 30"]["rate"], found["pair"]["age 70"]["rate"]) == (0.5, 1.0)
    assert found["same chosen"] == {"v": 0.5}
    assert found["by side"]["left"]["rate"] == found["by side"]["right"]["rate"] == 0.75
    key = blind.make_pairs(tmp_path / "2", (flat(100), flat(0)), ("new", "old"), photos, (30,), catch=2)
    path = answered(tmp_path / "w.csv", key, lambda trial: "same")
    found = blind.score(key, {"w": blind.read_answers(path, key)})
    assert found["left chosen"] == found["left chosen where both are the input"] == {"w": 0.5}


def test_the_interval_is_over_people_and_viewers_and_not_over_answers():
    people = [({"person": str(i % 10)}, float(i % 10 < 5)) for i in range(1000)]
    found = blind.rate(people)
    assert (found["rate"], found["people"], found["answers"]) == (0.5, 10, 1000)
    assert found["high"] - found["low"] > 0.5  # of 10 people; of 1000 it would be 0.06
    viewers = [({"person": str(i % 100), "viewer": i // 100}, float(i // 100 < 5)) for i in range(1000)]
    assert (
        blind.rate(viewers)["high"] - blind.rate(viewers)["low"] > 0.5
    )  # of 10 viewers who agree with themselves alone
    of_one = blind.rate([(trial | {"viewer": ""}, value) for trial, value in viewers])
    assert of_one["high"] - of_one["low"] < 0.01  # and all of each person is half and half


@pytest.mark.parametrize("spoil", ["missing", "twice", "wrong word"])
def test_answers_that_do_not_fit_are_refused(tmp_path, photos, spoil):
    key = blind.make_pairs(tmp_path, (flat(100), flat(0)), ("new", "old"), photos, (30,), catch=0)
    path = answered(tmp_path / "viewer.csv", key, lambda trial: "left")
    lines = path.read_text().splitlines()
    spoiled = {
        "missing": lines[:-1],
        "twice": [*lines, lines[-1]],
        "wrong word": [*lines[:-1], lines[-1].replace("left", "both")],
    }
    path.write_text("\n".join(spoiled[spoil]) + "\n")
    with pytest.raises(ValueError, match=r"viewer\.csv"):
        blind.read_answers(path, key)


def test_singles_mix_aged_pictures_with_photographs_of_that_age(tmp_path, photos, made_up):
    every = labels.read(made_up)
    kinds = [("press", "F"), ("press", "M"), ("studio", "F")]
    old = [
        replace(p, age=52.0, source="press", gender=sex, person=f"old {i}")
        for i, (p, sex) in enumerate(zip(every, "FFM", strict=False))
    ]
    # Somebody of another age, and one person twice.
    old += [replace(old[0], age=70.0, source="studio", person="older"), old[0]]
    young = [
        replace(photos[0], source=source, gender=sex, person=f"{source} {sex} {i}")
        for source, sex in kinds
        for i in range(4)
    ]
    key = blind.make_singles(tmp_path, flat(100), "new", [*young, old[1]], old, 50)
    aged = [trial for trial in key["trials"] if trial["kind"] == "aged"]
    real = [trial for trial in key["trials"] if trial["kind"] == "real"]
    of = [sorted((trial["source"], trial["gender"]) for trial in some) for some in (aged, real)]
    assert of[0] == of[1] == [("press", "F"), ("press", "F"), ("press", "M")]
    assert {trial["age"] for trial in real} == {52.0}
    assert not any(trial["person"].startswith("old") for trial in aged)
    assert len(blind.make_singles(tmp_path / "few", flat(100), "new", young, old, 50, people=2)["trials"]) == 4
    with pytest.raises(ValueError, match="photograph of its source and sex"):
        blind.make_singles(tmp_path / "none", flat(100), "new", [p for p in young if p.source == "studio"], old, 50)
    path = answered(tmp_path / "viewer.csv", key, lambda trial: ("real", trial["age"] + 3))
    found = blind.score(key, {"viewer": blind.read_answers(path, key)})
    assert found["aged"]["all"]["rate"] == found["real"]["all"]["rate"] == 1
    assert found["years read less years asked"] == {"aged": 3, "real": 3}


def test_tricks_of_catch_trials_do_what_they_say():
    frame = np.random.default_rng(5).integers(60, 200, (32, 32, 3), np.uint8)
    assert blind.contrast_only(frame).std() == pytest.approx(blind.CONTRAST * frame.std(), rel=0.02)
    hair = np.zeros((32, 32))
    hair[:8] = 1
    older = blind.hair_only(frame, hair, older=True)
    assert np.ptp(older[:8].astype(int), axis=-1).max() <= 1
    np.testing.assert_array_equal(older[8:], frame[8:])
    assert blind.hair_only(frame, hair, older=False)[:8].mean() < 0.8 * frame[:8].mean()
