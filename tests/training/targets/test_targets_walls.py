"""Walls that are made up behind people who are dressed."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")
pytest.importorskip("scipy", reason="training needs scipy: pip install 'lgin-edge[train]'")

from training.targets import masks, walls
from training.targets.subject import SIDE

SEED = 5


def picture(colour):
    return np.full((SIDE, SIDE, 3), colour, np.float32)


def test_walls_are_pictures_and_no_two_alike():
    """The same random numbers make the same wall."""
    made = [walls.wall([picture(0.5)], np.random.default_rng((SEED, i % 24))) for i in range(25)]
    for wall in made:
        assert (wall.shape, wall.dtype) == ((SIDE, SIDE, 3), np.float32)
        assert wall.min() >= 0
        assert wall.max() <= 1
    np.testing.assert_array_equal(made[0], made[24])
    assert all(abs(a - b).mean() > 0.01 for i, a in enumerate(made[:24]) for b in made[:i])


@pytest.mark.parametrize("pattern", dict.fromkeys(walls.PATTERNS), ids=lambda pattern: pattern.__name__)
def test_patterns_are_as_uneven_as_hair(pattern):
    """Hair's light differs by 0.02 to 0.09 in a head: no pattern is a plain wall, and its mean and its spread stay those of a picture."""
    made = np.stack([pattern(np.random.default_rng((SEED, i))) for i in range(12)])
    fine = np.stack([one - masks.blur(one, 12.0) for one in made]).std((1, 2))
    assert made.dtype == np.float32
    assert np.median(fine) > 0.05, fine
    assert 0.1 < made.mean() < 0.9
    assert made.std((1, 2)).max() < 0.6


def test_folds_change_across_alone_and_bricks_lie_in_rows(monkeypatch):
    """Means along the folds keep most of their spread; bricks' rows repeat."""
    monkeypatch.setattr(walls, "_turned", lambda random, most: tuple(np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)))
    folds = walls.folds(np.random.default_rng(SEED))
    assert folds.mean(0).std() > 0.5 * folds.std()
    bricks = walls.bricks(np.random.default_rng(SEED))
    rows = bricks.mean(1) - bricks.mean()
    power = abs(np.fft.rfft(rows))[3:]  # a row of bricks is 14 to 60 pixels high
    assert power.max() > 4 * np.median(power)
    assert power.argmax() + 3 >= 384 / 60 - 1


def test_half_the_walls_have_a_pattern(monkeypatch):
    """Whose colours lie between two, which may both be the picture's."""
    seen = []
    monkeypatch.setattr(walls, "PATTERNS", (lambda random: seen.append(1) or np.zeros((SIDE, SIDE), np.float32),))
    for i in range(60):
        walls.wall([picture((0.8, 0.2, 0.1))], np.random.default_rng((SEED, i)))
    assert 20 <= len(seen) <= 45
