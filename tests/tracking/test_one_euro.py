from __future__ import annotations

import math

import numpy as np
import pytest

from lgin_edge import geometry
from lgin_edge.tracking.one_euro import OneEuro

DT = 1 / 30


def literal(values: list[float], min_cutoff: float, beta: float, derivative_cutoff: float) -> list[float]:
    """Algorithm 1 of the paper, for one number, as it stands there."""

    def alpha(cutoff: float) -> float:
        tau = 1.0 / (2 * math.pi * cutoff)
        return 1.0 / (1.0 + tau / DT)

    result: list[float] = []
    speed = 0.0
    for x in values:
        if not result:
            result.append(x)
            continue
        dx = (x - result[-1]) / DT
        a = alpha(derivative_cutoff)
        speed = a * dx + (1 - a) * speed
        a = alpha(min_cutoff + beta * abs(speed))
        result.append(a * x + (1 - a) * result[-1])
    return result


def test_it_is_the_algorithm_of_the_paper() -> None:
    values = np.random.default_rng(1).normal(0, 3, 40).cumsum().tolist()
    one = OneEuro(min_cutoff=0.7, beta=0.3, derivative_cutoff=1.5)
    filtered = [one(np.array([[x, 0.0]]), DT)[0, 0] for x in values]
    assert np.allclose(filtered, literal(values, 0.7, 0.3, 1.5))


def test_a_point_at_rest_is_steadied() -> None:
    noise = np.random.default_rng(2).normal(0, 1, (600, 5, 2))
    one = OneEuro(min_cutoff=0.5, beta=0.01)
    out = np.array([one(points, DT) for points in noise])[100:]
    assert out.std() < 0.35
    assert np.diff(out, 2, axis=0).std() < 0.1 * np.diff(noise, 2, axis=0).std()


def test_a_moving_point_is_followed_more_closely_than_without_beta() -> None:
    path = [np.array([[100.0 * t * DT, 0.0]]) for t in range(60)]
    lags = []
    for beta in (0.0, 1.0):
        one = OneEuro(min_cutoff=0.5, beta=beta)
        lags.append(path[-1][0, 0] - [one(point, DT) for point in path][-1][0, 0])
    assert lags[1] < 0.2 * lags[0]


def test_a_movement_that_is_known_costs_no_delay() -> None:
    """The state moves with the face, so that the filter sees a face that keeps still."""
    turn = np.array([[math.cos(0.05), -math.sin(0.05), 4.0], [math.sin(0.05), math.cos(0.05), -2.0]])
    points = geometry.TEMPLATE * 100
    one = OneEuro(min_cutoff=0.1, beta=0.0)
    one(points, DT)
    for _ in range(50):
        points = geometry.apply(turn, points)
        one.carry(turn)
        assert np.allclose(one(points, DT), points)


def test_speeds_are_in_the_given_unit() -> None:
    """A face twice as large, moving twice as far, is filtered alike."""
    small, large = OneEuro(), OneEuro()
    for points in np.random.default_rng(3).normal(0, 5, (20, 5, 2)):
        assert np.allclose(2 * small(points, DT, unit=20.0), large(2 * points, DT, unit=40.0))


@pytest.mark.parametrize("dt", [0.0, -1.0])
def test_without_time_nothing_moves(dt: float) -> None:
    one = OneEuro()
    first = one(np.zeros((5, 2)), DT)
    assert np.array_equal(one(np.ones((5, 2)), dt), first)


def test_long_gaps_take_the_new_value() -> None:
    one = OneEuro()
    one(np.zeros((5, 2)), DT)
    assert np.allclose(one(np.ones((5, 2)), 1000.0), 1.0, atol=1e-3)


def test_what_it_gives_is_not_what_it_keeps() -> None:
    one = OneEuro()
    one(np.zeros((5, 2)), DT)[:] = 7
    assert np.array_equal(one(np.zeros((5, 2)), DT), np.zeros((5, 2)))
