"""Faces in other hair and before other walls."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")
pytest.importorskip("scipy", reason="training needs scipy: pip install 'lgin-edge[train]'")

from training.targets import beard, build, dressed, grey, hair, masks
from training.targets.subject import BELOW_NOSE, LIPS, LUMA, MOUTH_CORNERS, NOSE_TIP, SIDE

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


def with_beard(subject, tags=("beard",)):
    """The subject in a dark beard: below the nose and off the mouth, with hairs of two lights."""
    below = np.arange(SIDE)[:, None] > subject.mesh[BELOW_NOSE, 1] + 4
    where = masks.oval(subject) & ~masks.feature(subject, LIPS, 3) & below
    image = subject.image.copy()
    hairs = np.where(np.arange(SIDE) % 4 < 2, 0.05, 0.12)[:, None] * np.array((1.2, 1.0, 0.9))
    image[where] = np.broadcast_to(hairs, image.shape)[where]
    photo = replace(subject.photo, gender="M", tags=frozenset(tags))
    return replace(subject, photo=photo).showing(image.astype(np.float32)), where


def test_a_man_wears_the_beard_of_another(young, old, monkeypatch):
    """It lies where the other's does on the own face, and is known there: it greys as the other's would."""
    for name, often in (("_WALL", 0.0), ("_WIG", 0.0), ("_DYE", 0.0), ("_BEARD", 1.0)):
        monkeypatch.setattr(dressed, name, often)
    of, _ = with_beard(old)
    _, there = with_beard(young)
    bald = np.zeros((SIDE, SIDE), np.float32)
    seen, _ = dressed.dressed(young, bald, None, [young.image], np.random.default_rng(SEED), (of, bald))
    inside, outside = masks.shrink(there, 6), ~masks.grow(there, 12)
    assert (seen.beard[inside] > 0.5).mean() > 0.8
    assert seen.beard[outside].max() < 0.1
    assert np.median((seen.image @ LUMA)[inside]) < 0.2 < np.median((young.image @ LUMA)[inside])
    np.testing.assert_allclose(seen.image[outside], young.image[outside], atol=0.02)
    assert seen.photo.tags == young.photo.tags | {"beard"}
    assert beard.found(seen, masks.skin(seen)) is seen.beard
    greyed = grey.greyed(seen, bald, masks.skin(seen))
    assert np.median(greyed.matte[inside]) > 0.5
    of, _ = with_beard(old, ("beard", "grey"))
    seen, _ = dressed.dressed(young, bald, None, [young.image], np.random.default_rng(SEED), (of, bald))
    assert seen.photo.tags == young.photo.tags | {"beard", "grey beard"}


def test_who_may_wear_whose_beard(young):
    man = replace(young, photo=replace(young.photo, gender="M", age=30, tags=frozenset()))
    other = replace(man, photo=replace(man.photo, age=60, tags=frozenset({"beard"})))
    assert build._may_wear_beard(man, other)
    assert not build._may_wear_beard(other, other)  # has one
    assert not build._may_wear_beard(replace(man, photo=replace(man.photo, gender="F")), other)
    grey_beard = replace(other, photo=replace(other.photo, tags=frozenset({"beard", "grey beard"})))
    assert not build._may_wear_beard(man, grey_beard)
    assert build._may_wear_beard(replace(man, photo=replace(man.photo, age=45)), grey_beard)
    turned = man.mesh.copy()
    turned[NOSE_TIP, 0] += 0.3 * man.half_width
    assert not build._may_wear_beard(replace(man, mesh=turned), other)


def test_a_moustache_ends_where_it_ends(young):
    """Not at a straight border beside the mouth, and not in a shade on the cheek that it does not touch."""
    (left, y), (right, _) = young.mesh[list(MOUTH_CORNERS)]
    middle, half = (left + right) / 2, (right - left) / 2
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    height = y - 6 + 0.004 * (columns - middle) ** 2
    wide = (abs(rows - height) < 3) & (abs(columns - middle) < 1.3 * half)
    shade = (abs(rows - y) < 5) & (abs(columns - middle - 1.45 * half) < 2)
    found = beard._moustache(young, wide | shade, (columns, rows))
    for at in (middle - 1.2 * half, middle, middle + 1.2 * half):
        column = round(at)
        assert found[wide[:, column], column].all()
    assert not found[masks.shrink(shade, 1)].any()


def test_beards_that_are_worn_were_seen_to_be_right():
    keys = json.loads(beard.CHECKED.read_text())
    assert len(keys) == len(set(keys)) > 50
