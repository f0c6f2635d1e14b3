"""Faces in other hair and before other walls."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")
pytest.importorskip("scipy", reason="training needs scipy: pip install 'lgin-edge[train]'")

from training.targets import dressed, hair, masks
from training.targets.subject import NOSE_TIP, SIDE

SEED = 2


@pytest.fixture
def all_of_it(monkeypatch):
    """A subject that is dressed gets another wall, other hair and a dye."""
    for name in ("_WALL", "_WIG", "_DYE"):
        monkeypatch.setattr(dressed, name, 1.0)


def wig(light, rows=(40, 200)):
    matte = np.zeros((SIDE, SIDE), np.float32)
    matte[rows[0] : rows[1], 90:300] = 1
    return dressed.Wig(np.full((SIDE, SIDE, 3), light, np.float32), matte)


def test_half_of_the_heads_wear_the_hair_of_others():
    """Hair, person and picture are of one mind; what is covered nowhere stays as it was."""
    torch.manual_seed(SEED)
    side = hair.NET_SIDE
    x, own = torch.full((32, 6, side, side), -0.5), torch.zeros(32, 1, side, side)
    other = torch.full((32, 4, side, side), 0.8)
    other[:, 3] = 0
    other[:, 3, 8:40, 30:98] = 1  # a cap of hair
    seen, wanted = hair._wearing(x, own, other)
    worn = wanted.amax((1, 2, 3)) > 0.5
    assert 6 <= worn.sum() <= 26
    everywhere = wanted.expand(-1, 4, -1, -1)
    assert (seen[:, :4][everywhere > 0.99] > 0.7).all()
    assert (seen[:, :4][everywhere == 0] == -0.5).all()
    assert (seen[:, 4:] == -0.5).all()
    # Lower than it grew, on most.
    rows = torch.arange(side)[:, None]
    centre = [(rows * w[0]).sum() / w.sum() for w in wanted[worn]]
    assert torch.stack(centre).median() > 30


def test_a_dressed_subject_is_the_same_face_in_other_hair(young, all_of_it):
    """Hair is where the matte says, of one colour; the lower face is the photo's; the wall is another."""
    own = masks.soft(masks.polygon(np.array([[100, 20], [280, 20], [280, 90], [100, 90]])), 1.0)
    walls = [np.full((SIDE, SIDE, 3), 0.9, np.float32)]
    seen, matte = dressed.dressed(young, own, wig(0.3), walls, np.random.default_rng(SEED))
    hair_, face = matte > 0.99, masks.feature(young, range(468)) & (matte == 0)
    assert matte.mean() > own.mean()
    assert (seen.image[hair_].std(0) < 0.2).all()
    below = face & (np.arange(SIDE)[:, None] > young.mesh[NOSE_TIP, 1] + 40)  # below the hair's shadow
    np.testing.assert_allclose(seen.image[below], young.image[below], atol=1e-3)
    outside = masks.shrink(seen.person < 0.01, 4)
    assert outside.any()
    assert np.median(seen.image[outside].std(-1)) < 0.02  # a plain wall
    assert (young.photo.tags, young.image is seen.image) == (seen.photo.tags, False)


def test_hair_is_known_to_be_grey_as_long_as_it_is(young, all_of_it, monkeypatch):
    """Dyed it is what the dye is; grey and other hair together are grey in parts. On a young head it is no grey hair that gets dark again."""
    matte = wig(0.3).matte

    def after(tags, worn=None, age=60):
        subject = replace(young, photo=replace(young.photo, tags=frozenset(tags), age=age))
        seen, _ = dressed.dressed(subject, matte, worn, [young.image], np.random.default_rng(SEED))
        assert subject.photo.tags == tags
        return seen

    for share, tags in ((0.0, {"glasses"}), (1.0, {"glasses", "grey"})):
        monkeypatch.setattr(dressed, "_GREY", share)
        monkeypatch.setattr(dressed, "_YOUNG_GREY", share)
        assert after({"greying", "glasses"}).photo.tags == tags
    assert after({"glasses"}, age=25).photo.tags == {"glasses"}
    colours = after({"glasses"}).image[masks.shrink(matte > 0.9, 3)]
    assert np.ptp(colours.mean(0)) < 0.15 * colours.mean()
    monkeypatch.setattr(dressed, "_DYE", 0.0)
    grey_hair = replace(wig(0.6), tags=frozenset({"grey"}))
    assert after({"grey"}, grey_hair).photo.tags == {"grey"}
    assert after({"glasses"}, grey_hair).photo.tags == {"glasses", "greying"}
    assert after({"grey"}, wig(0.1)).photo.tags == {"greying"}
    assert after({"glasses"}, grey_hair, age=25).photo.tags == {"glasses"}


def test_a_bald_head_wears_no_wig(young, all_of_it):
    """Light: the wig's is 0.9, and nothing else is so bright."""
    dim = young.showing(0.3 * young.image)
    for hair_on_top, wears in ((20, False), (120, True)):
        own = np.zeros((SIDE, SIDE), np.float32)
        own[:hair_on_top, 100:200] = 1
        _, matte = dressed.dressed(dim, own, wig(0.9), [0 * young.image], np.random.default_rng(SEED))
        assert (matte.sum() > own.sum() + 1000) == wears


def test_hair_with_the_wall_between_its_curls_is_no_wig(young):
    dark = wig(0.1)
    assert dressed.wig_of(young, 0 * dark.matte) is None
    for light, serves in ((0.3, True), (0.9, False)):
        picture = dark.image.copy()
        picture[::3] = light
        assert (dressed.wig_of(young.showing(picture), dark.matte) is not None) == serves
