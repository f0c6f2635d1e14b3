from __future__ import annotations

import json
from typing import Any

import models
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgin_edge.errors import InputError, ModelError
from lgin_edge.models.description import AgeDescription, Description, groups_from_centers, soft_one_hot

ABOUT = models.describe()


def test_json_there_and_back() -> None:
    assert Description.from_json(ABOUT.to_json()) == ABOUT
    half = models.describe(precision="fp16", fp32_islands=("boxes", "age"))
    assert Description.from_json(half.to_json()) == half
    about_age = models.describe_age()
    assert AgeDescription.from_json(about_age.to_json()) == about_age


def test_a_description_without_a_kind_is_a_transformers() -> None:
    """The first files had none."""
    raw = json.loads(ABOUT.to_json())
    del raw["kind"]
    assert Description.from_json(json.dumps(raw)) == ABOUT
    with pytest.raises(ModelError, match="kind 'transformer', expected 'age'"):
        AgeDescription.from_json(json.dumps(raw))


def test_a_description_without_islands_has_none() -> None:
    """As the first files."""
    raw = json.loads(ABOUT.to_json())
    del raw["fp32_islands"]
    assert Description.from_json(json.dumps(raw)) == ABOUT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 5}, "format 5"),
        ({"format": None}, "format None"),
        ({"face_size": 8}, "face_size"),
        ({"patch_size": 64.5}, "patch_size"),
        ({"face_taper": 0.0}, "face_taper"),
        ({"region_taper": 0.7}, "region_taper"),
        ({"groups": []}, "groups"),
        ({"groups": [{"label": "x"}]}, "cannot be read"),
        ({"groups": 5}, "cannot be read"),
        ({"template": [[0, 0]]}, "template"),
        ({"template": "none"}, "cannot be read"),
        ({"surprise": 1}, "does not know: surprise; a newer lgin-edge"),
        ({"fp32_islands": "boxes"}, "fp32_islands must be a list of names, got 'boxes'"),
        ({"fp32_islands": [["boxes"]]}, "fp32_islands"),
        ({"fp32_islands": None}, "fp32_islands"),
        ({"kind": "age"}, "kind 'age', expected 'transformer'"),
        ({"kind": "hat"}, "kind 'hat'"),
        ({"kind": ["age"]}, "kind"),
    ],
)
def test_a_wrong_description_is_refused(change: dict[str, Any], message: str) -> None:
    raw = json.loads(ABOUT.to_json()) | change
    with pytest.raises(ModelError, match=message):
        Description.from_json(json.dumps(raw))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 3}, "format 3"),
        ({"face_size": 8}, "face_size"),
        ({"groups": []}, "groups"),
        ({"groups": 5}, "cannot be read"),
        ({"template": [[0, 0]]}, "template"),
        ({"patch_size": 128}, "does not know: patch_size"),
        ({"kind": "transformer"}, "kind 'transformer', expected 'age'"),
    ],
)
def test_a_wrong_description_of_an_age_model_is_refused(change: dict[str, Any], message: str) -> None:
    raw = json.loads(models.describe_age().to_json()) | change
    with pytest.raises(ModelError, match=message):
        AgeDescription.from_json(json.dumps(raw))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("center", float("inf"), "center of a group must be a number from 0 to 130, got inf"),
        ("center", 10**400, "center of a group"),
        ("high", float("nan"), "high of a group"),
        ("low", None, "low of a group"),
        ("low", True, "low of a group"),
        ("label", 5, "label must be a text"),
        ("label", "\ud800", "label must be a text"),  # cannot be printed
        ("label", "\x1b[2J", "label must be a text"),  # empties a terminal
        ("label", "\u202e", "label must be a text"),  # turns what follows round
    ],
)
def test_a_wrong_group_is_refused(field: str, value: Any, message: str) -> None:
    raw = json.loads(ABOUT.to_json())
    raw["groups"][4][field] = value
    with pytest.raises(ModelError, match=message):
        Description.from_json(json.dumps(raw))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"template": [[10**400, 0]] * 5}, "cannot be read"),
        ({"template": [[float("nan"), 0]] * 5}, "finite"),
        ({"face_taper": 1e-9}, "face_taper must be a number from 0.001 to 0.5"),
        ({"face_taper": "0.1"}, "face_taper"),
        ({"model": ["x"]}, "model must be a text"),
        ({"model": "two\nlines"}, "model must be a text"),
        ({"training_data": "\x9b2J"}, "training_data"),
        ({"onnx_sha256": {}}, "onnx_sha256"),
        ({"engine": {"variant": "\x07", "version": "1", "targets": [], "max_faces": 1}}, "variant"),
        ({"engine": {"variant": "a", "version": "1", "targets": "sm86", "max_faces": 1}}, "targets"),
        ({"engine": [1]}, "cannot be read"),
        ({"surprise": [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}, "16 levels deep"),
        ({"training_data": "x" * 70_000}, "at most 65536 are read"),
    ],
    ids=str,
)
def test_a_hostile_description_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Description.from_json(json.dumps(json.loads(ABOUT.to_json()) | change))


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", "[" * 100_000, '{"format": 1}'])
def test_what_is_no_description_is_refused(text: str) -> None:
    with pytest.raises(ModelError):
        Description.from_json(text)


def test_groups_must_rise() -> None:
    raw = json.loads(ABOUT.to_json())
    raw["groups"].reverse()
    with pytest.raises(ModelError, match="rising"):
        Description.from_json(json.dumps(raw))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"group": 0}, [1, 0, 0, 0, 0]),
        ({"group": 4}, [0, 0, 0, 0, 1]),
        ({"group": 3.5}, [0, 0, 0, 0.5, 0.5]),
        ({"years": 50}, [0, 0, 1, 0, 0]),
        ({"years": 62}, [0, 0, 0, 0.8, 0.2]),
        ({"years": 0}, [1, 0, 0, 0, 0]),
        ({"years": 130}, [0, 0, 0, 0, 1]),
        ({"years": np.float32(42.5)}, [0, 0.75, 0.25, 0, 0]),
    ],
)
def test_age_code(arguments: dict[str, float], code: list[float]) -> None:
    got = ABOUT.age_code(**arguments)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, code, atol=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"group": 1, "years": 40},
        {"group": -0.1},
        {"group": 4.01},
        {"group": float("nan")},
        {"group": "3"},
        {"years": -1},
        {"years": 131},
        {"years": float("nan")},
        {"years": float("inf")},
        {"years": "62"},
    ],
)
def test_a_wrong_age_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        ABOUT.age_code(**arguments)


@given(st.floats(0, 130))
def test_years_and_the_mean_of_the_centres_agree(years: float) -> None:
    centers = np.array([group.center for group in ABOUT.groups])
    mean = float(ABOUT.age_code(years=years) @ centers)
    assert mean == pytest.approx(min(max(years, 30), 70), abs=1e-3)


@given(st.integers(2, 9), st.floats(0, 1))
def test_soft_one_hot(size: int, share: float) -> None:
    code = soft_one_hot(share * (size - 1), size)
    assert code.shape == (size,)
    assert (code >= 0).all()
    assert code.sum() == pytest.approx(1, abs=1e-6)
    assert np.count_nonzero(code) <= 2


def test_labels_are_what_people_say() -> None:
    groups = groups_from_centers((35, 45), (30, 40, 50))
    assert [group.label for group in groups] == ["under 35", "35-44", "45 and over"]
    assert [(group.low, group.high) for group in groups] == [(0, 35), (35, 45), (45, 130)]
