"""Signs of age that are measured: whites of eyes and skin's detail, on drawn heads."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")
pytest.importorskip("scipy", reason="training needs scipy: pip install 'lgin-edge[train]'")

from training.targets import ageing, masks, signs
from training.targets.subject import LEFT_EYE, RIGHT_EYE, SIDE

SEED = 5


@pytest.mark.parametrize(("keep", "expected"), [(True, (-0.07, -0.07)), (False, (0.16, 0.22))])
def test_what_colour_lines_have_is_measured(young, keep, expected):
    """Light skin with dark lines, whose light is taken away alone or is multiplied; as docs/training.md has it, roughly."""
    skin = masks.rgb(np.full((SIDE, SIDE, 3), (66, 12, 15), np.float32))
    light = (skin @ np.float32((0.299, 0.587, 0.114)))[..., None]
    less = np.float32(0.12) * (np.arange(SIDE) % 12 < 3)[:, None, None]
    lined = skin - less * (light if keep else skin)
    found = signs.line_colour(young.showing(np.where(masks.oval(young)[..., None], lined, 1.0)))
    np.testing.assert_allclose(found, expected, atol=0.04)


def test_what_is_put_into_faces_is_measured(young):
    """Whites 6 redder and skin's detail 60 % more in 40 years, from two sources of which one is yellower throughout."""
    random = np.random.default_rng(SEED)
    eyes = masks.feature(young, LEFT_EYE) | masks.feature(young, RIGHT_EYE)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    middles = [young.mesh[list(points)].mean(0) for points in (LEFT_EYE, RIGHT_EYE)]
    irises = np.min([np.hypot(x - cx, y - cy) for cx, cy in middles], 0) < 6
    people = []
    for i in range(24):
        age = 20 + 60 * i / 23
        grown = max(0.0, age - ageing.FROM_AGE) / ageing.YEARS
        noise = masks.blur(random.normal(0, 1, (SIDE, SIDE)), 0.6)
        lab = young.lab + (3 * 1.6**grown * noise)[..., None] * (1, 0, 0)
        lab[eyes] = (75, 4 + 6 * grown + random.normal(0, 0.3), 5 + 3 * (i % 2))
        lab[irises] = (30, 3, 8)
        photo = replace(young.photo, age=age, source=f"pack {i % 2}")
        people.append(replace(young.showing(masks.rgb(lab)), photo=photo))
    slopes, errors, count = signs.change(people)
    of, error = (dict(zip(signs.SIGNS, values, strict=True)) for values in (slopes, errors))
    assert count == 24
    assert abs(of["whites a*"] - 6) < 1
    assert abs(of["whites b*"]) < 1
    assert np.log(1.6) - 0.2 < of["detail 0.8 px"] < np.log(1.6) + 0.1
    assert 0 < error["whites a*"] < 0.5


def test_a_shut_eye_is_not_measured(young):
    shut = young.lab.copy()
    for points in (LEFT_EYE, RIGHT_EYE):
        shut[masks.feature(young, points, 3)] = np.median(shut[masks.skin(young)], 0)
    assert signs.of(young.showing(masks.rgb(shut))) is None
