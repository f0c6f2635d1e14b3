from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgin_edge import geometry
from lgin_edge.errors import InputError


def similarity(scale: float, angle: float, x: float, y: float) -> geometry.Float64:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, x], [s, c, y]])


@given(
    st.floats(0.5, 5000),
    st.floats(-np.pi, np.pi),
    st.floats(-5000, 5000),
    st.floats(-5000, 5000),
)
def test_fit_recovers_a_similarity(scale: float, angle: float, x: float, y: float) -> None:
    wanted = similarity(scale, angle, x, y)
    fitted = geometry.fit_similarity(geometry.apply(wanted, geometry.TEMPLATE))
    np.testing.assert_allclose(fitted, wanted, atol=1e-8 * (scale + abs(x) + abs(y) + 1))


def test_fit_is_the_least_squares_one() -> None:
    rng = np.random.default_rng(0)
    points = geometry.apply(similarity(200, 0.3, 50, 80), geometry.TEMPLATE) + rng.normal(0, 5, (5, 2))

    def error(a: geometry.Float64) -> float:
        return float(((geometry.apply(a, geometry.TEMPLATE) - points) ** 2).sum())

    fitted = geometry.fit_similarity(points)
    assert fitted[0, 0] == fitted[1, 1]
    assert fitted[0, 1] == -fitted[1, 0]
    for change in (similarity(0.01, 0, 0, 0), similarity(0.01, np.pi / 2, 0, 0), similarity(0, 0, 0.01, 0)):
        assert error(fitted) < min(error(fitted + change), error(fitted - change))


@pytest.mark.parametrize(
    ("landmarks", "message"),
    [
        (np.zeros((4, 2)), r"shape \(5, 2\)"),
        (np.full((5, 2), np.nan), "finite"),
        (np.full((5, 2), np.inf), "finite"),
        (np.full((5, 2), 7.0), "no similarity"),
        (geometry.TEMPLATE[[1, 0, 2, 4, 3]] * 100, "left and right are swapped"),
    ],
)
def test_degenerate_landmarks_are_refused(landmarks: geometry.Float64, message: str) -> None:
    with pytest.raises(InputError, match=message):
        geometry.fit_similarity(landmarks)


def test_invert_undoes_apply() -> None:
    a = similarity(37, 1.1, -4, 9)
    points = np.random.default_rng(0).normal(size=(7, 2))
    np.testing.assert_allclose(geometry.apply(geometry.invert(a), geometry.apply(a, points)), points, atol=1e-12)


def test_region_boxes_of_the_template_are_the_template_boxes() -> None:
    a = similarity(256, 0.2, 10, 20)
    boxes = geometry.region_boxes(geometry.apply(a, geometry.TEMPLATE), a)
    np.testing.assert_allclose(boxes, geometry.REGION_BOXES, atol=1e-12)


def test_the_mouth_box_follows_the_mouth_alone() -> None:
    a = similarity(256, 0.0, 0, 0)
    moved = geometry.TEMPLATE.copy()
    moved[3:] += (0.01, 0.03)
    shift = geometry.region_boxes(geometry.apply(a, moved), a) - geometry.REGION_BOXES
    names = geometry.REGION_NAMES
    np.testing.assert_allclose(shift[names.index("mouth")], [0.01, 0.03, 0.01, 0.03], atol=1e-12)
    for still in ("forehead", "eyes", "nose"):
        np.testing.assert_allclose(shift[names.index(still)], 0, atol=1e-12)


@given(st.lists(st.floats(-2, 2), min_size=10, max_size=10))
def test_region_boxes_stay_inside_and_keep_their_size(moves: list[float]) -> None:
    landmarks = geometry.TEMPLATE + np.reshape(moves, (5, 2))
    boxes = geometry.region_boxes(landmarks * 100, similarity(100, 0, 0, 0))
    assert boxes.min() > -1e-9
    assert boxes.max() < 1 + 1e-9
    sizes = geometry.REGION_BOXES[:, 2:] - geometry.REGION_BOXES[:, :2]
    np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], sizes, atol=1e-9)


@pytest.mark.parametrize("edit_format", [0, 5, True, "4", 2.5])
def test_an_unknown_format_of_edits_is_refused(edit_format: Any) -> None:
    with pytest.raises(InputError, match="edit_format: expected"):
        geometry.ViewSpec(8, 8, edit_format=edit_format)


def test_view_affine_goes_through_the_box() -> None:
    a = similarity(200, 0.4, 30, 60)
    box = geometry.REGION_BOXES[3]
    corners = np.array([(0, 0), (1, 0), (0, 1), (1, 1)])
    wanted = geometry.apply(a, box[:2] + corners * (box[2:] - box[:2]))
    np.testing.assert_allclose(geometry.apply(geometry.view_affine(a, box), corners), wanted, atol=1e-9)


@pytest.mark.parametrize("taper", [0.12, 0.30, 0.5])
def test_window(taper: float) -> None:
    t = np.linspace(-0.5, 1.5, 2001)
    w = geometry.window(t, taper)
    assert (w[(t <= 0) | (t >= 1)] == 0).all()
    np.testing.assert_allclose(w[(t >= taper) & (t <= 1 - taper)], 1.0, atol=1e-12)
    np.testing.assert_allclose(w, w[::-1], atol=1e-9)
    assert (np.diff(w[t <= 0.5]) >= 0).all()
    assert geometry.window(taper / 2, taper) == pytest.approx(0.5)
