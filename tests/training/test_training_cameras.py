"""What cameras do to a picture and its target alike."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")
cv2 = pytest.importorskip("cv2")

from lgin_edge import geometry
from training import cameras

SEED, SIDE = 4, 96


@pytest.fixture
def picture():
    random = np.random.default_rng(SEED)
    coarse = random.integers(40, 216, (24, 24, 3), np.uint8)
    return cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def test_strength_0_leaves_both_as_they_are(picture):
    target = 255 - picture
    pair, hidden, sharpness = cameras.both(picture, target, np.random.default_rng(SEED), 0.0)
    assert np.array_equal(pair, [picture, target])
    assert (hidden.any(), sharpness) == (False, 1.0)


def test_a_target_that_is_the_picture_stays_it(picture):
    """Whatever befalls them: each camera of forty."""
    changed = 0
    for seed in range(40):
        (seen, target), _, _ = cameras.both(picture, picture, np.random.default_rng(seed), 1.0)
        assert np.array_equal(seen, target)
        changed += not np.array_equal(seen, picture)
    assert changed == 40


def test_nothing_changes_behind_what_is_before_the_face(picture):
    """A target far from the picture: where something is hidden, both show the same thing (but for noise, clipped apart)."""
    seen = 0
    for seed in range(60):
        pair, hidden, sharpness = cameras.both(picture, 255 - picture, np.random.default_rng(seed), 1.0)
        if (hidden > 0.999).sum() < 40 or sharpness < 1:
            continue
        seen += 1
        behind = cv2.erode((hidden > 0.999).astype(np.uint8), np.ones((3, 3))) > 0
        apart = np.abs(pair[0].astype(int) - pair[1])
        assert np.median(apart[behind]) <= 1
        assert np.median(apart[hidden < 0.001]) > 10
    assert seen >= 2


def test_blurred_pictures_are_said_to_be_less_sharp():
    fine = np.random.default_rng(SEED).integers(40, 216, (48, 48, 3), np.uint8)
    picture = cv2.resize(fine, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)

    def detail(image):
        """Of the contrast that there is, how much is fine."""
        grey = image.astype(np.float32).mean(-1)
        return np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean() / grey.std()

    kept = {True: [], False: []}
    for seed in range(60):
        pair, hidden, sharpness = cameras.both(picture, picture, np.random.default_rng(seed), 1.0)
        if not hidden.any():
            kept[sharpness < 0.6].append(detail(cv2.GaussianBlur(pair[0], (0, 0), 0.8)))  # less of the noise
    assert min(map(len, kept.values())) > 5
    assert np.median(kept[True]) < 0.8 * np.median(kept[False])


def test_faces_are_found_no_further_off_than_detectors_err():
    moved = [
        geometry.apply(cameras.jittered_affine(np.random.default_rng(i), 1.0), geometry.TEMPLATE) for i in range(50)
    ]
    off = np.abs(np.stack(moved) - geometry.TEMPLATE).max((1, 2))
    assert 0.005 < np.median(off) < off.max() < 0.04
    np.testing.assert_allclose(cameras.jittered_affine(np.random.default_rng(0), 0.0), np.eye(2, 3), atol=1e-12)
