"""Where hair and beards are, and what they turn into, on drawn heads."""

from dataclasses import replace

import numpy as np
import pytest
from support import portraits

pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")
pytest.importorskip("scipy", reason="training needs scipy: pip install 'lgin-edge[train]'")

from training.targets import beard, build, edits, grey, hair, masks
from training.targets.subject import BELOW_NOSE, BROWS, CHIN, EYES, JAWS, LEFT_BROW, LIPS, LOWER_LIP, NOSE_TIP, SIDE

SEED = 2


def test_a_network_that_guesses_is_uncertain():
    sure = np.zeros((8, 8), np.float32)
    sure[:4] = 0.99
    assert hair.uncertainty(sure) < 0.1
    assert hair.uncertainty(np.full((8, 8), 0.4, np.float32)) > build.MOST_UNCERTAIN
    assert hair.uncertainty(np.zeros((8, 8), np.float32)) == 0


def test_a_fringe_that_was_drawn_is_hair(young, monkeypatch):
    """The network takes a fringe in the skin's colour for skin."""
    seen = hair.predict(hair.load(), hair.net_input(young)[None])[0]
    middle, brows = young.mesh[NOSE_TIP, 0], young.height_of(BROWS)
    corners = [[middle + dx, brows + dy] for dx, dy in ((-30, -30), (30, -30), (30, -8), (-30, -8))]
    fringe = masks.shrink(masks.polygon(np.array(corners)), 4)
    without = hair.matte(young, seen)
    monkeypatch.setattr(hair, "fringes", lambda: {young.photo.key: [corners]})
    drawn = hair.matte(young, seen)
    assert without[fringe].mean() < 0.2
    assert drawn[fringe].mean() > 0.8
    below = np.arange(SIDE) > brows
    np.testing.assert_allclose(drawn[below], without[below], atol=0.02)


@pytest.mark.parametrize("colour", [(0.12, 0.10, 0.08), (0.74, 0.69, 0.60)], ids=["dark", "fair"])
def test_hair_that_hangs_beside_a_neck_is_hair(young, monkeypatch, colour):
    """Of the colour of the hair above, also behind the neck: no whisker, no ear's shade, no neck's, nothing between hair and skin."""
    left, right = young.mesh[list(JAWS), 0].round().astype(int)
    eyes, lips, chin = round(young.height_of(EYES)), round(young.height_of(LIPS)), round(young.mesh[CHIN, 1])
    image, person = young.image.copy(), young.person.copy()
    core = masks.shrink(portraits.draw(portraits.mesh_of(0), SIDE, 0)[2] > 0.5, 4)
    skin, between = np.median(image[masks.skin(young)], 0), 0.35
    y, x = np.mgrid[:SIDE, :SIDE]

    def box(x0, x1, y0, y1):
        return (x >= x0) & (x < x1) & (y >= y0) & (y < y1)

    neck, ear, hole = (
        box(left + 8, right - 8, chin - 30, SIDE), box(left - 34, left - 2, lips - 60, lips + 20), box(left - 26, left - 12, lips - 50, lips - 6)
    )  # fmt: skip
    tail, behind, shade = (
        box(right + x0, right + x1, y0, SIDE) for x0, x1, y0 in ((4, 24, eyes - 20), (-6, 4, chin), (-16, -6, chin))
    )
    line, polo = box(left - 4, left - 1, lips + 30, SIDE), box(left + 8, right - 16, chin, SIDE)
    person[neck | ear | tail | behind | line] = 1.0
    image[person < 0.5] = 0.85
    dark = np.array(colour, np.float32)
    for part, of in (
        (neck, skin), (ear, skin), (shade, between * skin + (1 - between) * dark),
        *((part, dark) for part in (core, tail, behind, hole, line, polo)),
    ):  # fmt: skip
        image[part & ~masks.oval(young)] = of
    image[masks.oval(young) & (x < left + 6) & (y > lips - 50)] = dark  # whiskers
    subject = replace(young.showing(image), person=person)
    found = hair.hanging(subject, core)
    assert found[masks.shrink(tail | behind, 2) & (y > lips)].mean() > 0.95
    assert not found[: eyes + 10].any(), "there the network sees it"
    assert not (found & ~masks.grow(tail | behind | core, 5)).any()
    said = core[1::3, 1::3].astype(np.float32)  # the network sees none of it
    with monkeypatch.context() as patch:
        patch.setattr(hair, "checked", lambda: {"tails": frozenset({subject.photo.key})})
        assert hair.matte(subject, said)[masks.shrink(tail, 3) & (y > lips)].mean() > 0.8
    assert hair.matte(subject, said)[masks.shrink(tail, 3) & (y > lips)].mean() < 0.1


def test_tails_are_of_those_whose_hair_counts():
    checked = hair.checked()
    assert len(checked["tails"]) > 50
    assert checked["tails"] <= checked["right"] - checked["wrong"]


def test_a_red_brow_as_light_as_the_skin_is_a_brow(young):
    lab = young.lab.copy()
    skin = masks.skin(young)
    brow = masks.feature(young, LEFT_BROW)
    lab[brow] = np.median(lab[skin], 0)
    bare = grey.facial_hair(young.showing(masks.rgb(lab)), skin)[0]
    lab[brow, 2] += 14
    red = grey.facial_hair(young.showing(masks.rgb(lab)), skin)[0]
    inside = masks.shrink(brow, 2)
    assert bare[inside].mean() < 0.3
    assert red[inside].mean() > 0.6


def test_at_an_edge_the_picture_says_what_is_hair():
    """A matte that is two pixels off greys the hair all the same, and leaves what is beside it."""
    x = np.arange(SIDE)[None, :].repeat(SIDE, 0)
    random = np.random.default_rng(SEED)
    light = np.where(x < 192, 0.08, 0.75).astype(np.float32) + random.normal(0, 0.01, (SIDE, SIDE)).astype(np.float32)
    for off in (-2, 0, 2):
        matte = masks.soft(x < 192 + off, 1.0)
        slope, offset = grey.lines(light, light + matte * (0.5 - light), matte)
        made = slope * light + offset
        assert np.abs(made - light)[:, 193:].max() < 0.06
        assert np.abs(made - 0.5)[:, :191].max() < 0.06


def test_where_no_line_rises_the_matte_decides():
    """Hair that gets lighter than a dark background: no line through both rises."""
    x = np.arange(SIDE)[None, :].repeat(SIDE, 0)
    light = np.where(x < 192, 0.05, 0.2).astype(np.float32)
    matte = (x < 192).astype(np.float32)
    wanted = light + matte * (0.5 - light)
    slope, offset = grey.lines(light, wanted, matte)
    assert slope.min() > 0
    assert np.abs(slope * light + offset - wanted).max() < 0.03


def test_where_dark_hair_turns_into_skin_nothing_is_lighter_than_both(young):
    """What is half skin is no strand: it got the strands' contrast, and a pale rim ran along the forehead."""
    hair = portraits.draw(portraits.mesh_of(0), SIDE, 0)[2] > 0.5
    light = masks.blur(np.where(hair, 0.15, 0.55), 3.0)
    subject = young.showing(np.repeat(light[..., None], 3, 2))
    made = grey.greyed(subject, masks.soft(masks.grow(hair, 2), 1.0), np.zeros((SIDE, SIDE), bool))
    after = (1 + made.gain) * light + made.residual @ edits.LUMA
    assert np.median(after[masks.shrink(hair, 8)]) > 0.3
    assert after[masks.grow(hair, 8)].max() < 0.55 + 0.02


@pytest.mark.parametrize("own", [0.06, 0.2, 0.6])
def test_hair_that_is_all_grey_is_lighter_the_lighter_it_was_but_never_white(young, own):
    matte = portraits.draw(portraits.mesh_of(0), SIDE, 0)[2]
    core = masks.shrink(matte > 0.5, 8)
    grown = young.image * (own / (young.image @ edits.LUMA)[core].mean())
    subject = young.showing(np.where((matte > 0.5)[..., None], grown, young.image))
    made = grey.greyed(subject, matte, masks.skin(subject))
    after = ((1 + made.gain) * (subject.image @ edits.LUMA) + made.residual @ edits.LUMA)[core]
    wanted = min(grey.GREY_LIGHT + grey.OWN_LIGHT * own, grey.MOST_LIGHT)
    assert np.median(after) == pytest.approx(wanted, abs=0.08)


@pytest.mark.parametrize("tags", [{"grey"}, {"greying"}, {"grey", "dark"}, set()])
def test_hair_that_was_seen_to_be_grey_gets_dark_again(old, tags):
    matte = portraits.draw(portraits.mesh_of(7), SIDE, 0)[2]
    subject = replace(old, photo=replace(old.photo, tags=frozenset(tags)))
    made = grey.dark_again(subject, matte, masks.skin(subject))
    assert not made.matte.any(), "fair hair would turn ashen"
    after = (1 + made.gain[..., None]) * subject.image + made.residual
    core = masks.shrink(matte > 0.5, 8)
    before, mean = subject.image[core].mean(0), after[core].mean(0)
    if not tags:
        assert np.abs(after - subject.image).max() < 1e-3
        return
    assert mean @ edits.LUMA < 0.7 * before @ edits.LUMA
    assert 0.05 < mean @ edits.LUMA < 0.3
    # Dark skin's hair is black.
    assert (mean[0] > 1.2 * mean[2]) == ("dark" not in tags)
    # White hair stays lighter than grey hair: its rims are what a matte misses.
    white = subject.showing(subject.image + matte[..., None] * (0.7 - before @ edits.LUMA))
    lighter = grey.dark_again(white, matte, masks.skin(white))
    light = (1 + lighter.gain) * (white.image @ edits.LUMA) + lighter.residual @ edits.LUMA
    assert light[core].mean() > mean @ edits.LUMA + 0.02


def test_a_beard_is_found_where_an_eye_saw_one(people):
    man = replace(people[0], photo=replace(people[0].photo, tags=frozenset({"beard"})))
    low = masks.shrink(masks.oval(man), 6) & (np.arange(SIDE)[:, None] > man.mesh[BELOW_NOSE, 1] + 6)
    random = np.random.default_rng(SEED)
    bristles = 0.12 + 0.05 * masks.blur(random.normal(0, 1, (SIDE, SIDE)), 0.8)
    bearded = man.showing(np.where(low[..., None], bristles[..., None], man.image))
    found = grey.facial_hair(bearded, masks.skin(bearded))[1]
    assert found[masks.shrink(low & ~masks.feature(man, LIPS, 6), 4)].mean() > 0.7
    # Its lower end hangs over the neck; a shadow there is as dark, and smooth.
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    neck = (y > man.mesh[CHIN, 1] + 14) & (abs(x - man.mesh[NOSE_TIP, 0]) < 0.5 * man.half_width)
    covered = []
    for what, edge in ((bristles, 0.5), (np.full_like(bristles, 0.12), 6.0)):
        there = masks.soft(neck, edge)[..., None]
        hangs = man.showing(bearded.image + there * (what[..., None] - bearded.image))
        covered.append(grey.facial_hair(hangs, masks.skin(hangs))[1][neck].sum())
    assert covered[0] > 100
    assert covered[1] < 0.1 * covered[0], covered
    unseen = replace(bearded, photo=people[0].photo)
    moustache = replace(bearded, photo=replace(man.photo, tags=frozenset({"moustache"})))
    assert not grey.facial_hair(unseen, masks.skin(unseen))[1].any()
    upper = grey.facial_hair(moustache, masks.skin(moustache))[1]
    chin = low & (y > man.mesh[LOWER_LIP, 1] + 8)
    assert upper[chin].max() < 0.1
    assert upper.sum() > 100
    down = np.array((0, SIDE + 2 - man.mesh[BELOW_NOSE, 1]))
    cut = replace(bearded, mesh=man.mesh + down)
    assert not beard.found(cut, np.full((SIDE, SIDE), True)).any(), "the picture ends under the nose"


def test_skin_between_the_hairs_of_a_beard_does_not_grey(people, monkeypatch):
    """And a black beard's few shades become hairs: flat grey is a mask."""
    man = replace(people[0], photo=replace(people[0].photo, tags=frozenset({"beard"})))
    low = masks.shrink(masks.oval(man), 6) & (np.arange(SIDE)[:, None] > man.mesh[BELOW_NOSE, 1] + 6)
    inside = masks.shrink(low & ~masks.feature(man, LIPS, 6), 8)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    hairs = ((x + y) // 5) % 2 == 0
    faint = 0.03 * masks.blur(np.random.default_rng(SEED).normal(0, 1, (SIDE, SIDE)), 0.8)
    thin = man.showing(np.where((low & hairs)[..., None], (0.12 + faint)[..., None], man.image))
    black = man.showing(np.where(low[..., None], (0.12 + faint)[..., None], man.image))
    no_hair = np.zeros((SIDE, SIDE), np.float32)
    monkeypatch.setattr(beard, "found", lambda subject, skin: masks.soft(low, 1.0))
    made = grey.greyed(thin, no_hair, masks.skin(thin)).matte
    core, gap = (masks.shrink(part, 1) & inside for part in (hairs, ~hairs))
    assert made[core].mean() > 2 * made[gap].mean()
    assert made[core].mean() > 0.4
    dense = grey.greyed(black, no_hair, masks.skin(black))
    light = black.image @ edits.LUMA
    after = (1 + dense.gain) * light + dense.residual @ edits.LUMA
    assert (after - light)[inside].mean() > 0.15
    assert after[inside].std() > 1.6 * light[inside].std()


def test_a_grey_beard_gets_dark_again(people):
    """And one that is dark stays as it is."""
    tags = frozenset({"beard", "grey beard"})
    man = replace(people[0], photo=replace(people[0].photo, tags=tags))
    low = masks.shrink(masks.oval(man), 6) & (np.arange(SIDE)[:, None] > man.mesh[BELOW_NOSE, 1] + 6)
    inside = masks.shrink(low & ~masks.feature(man, LIPS, 6), 4)
    noise = 0.05 * masks.blur(np.random.default_rng(SEED).normal(0, 1, (SIDE, SIDE)), 0.8)
    no_hair = np.zeros((SIDE, SIDE), np.float32)
    changes = []
    for light in (0.75, 0.12):
        bearded = man.showing(np.where(low[..., None], (light + noise)[..., None], man.image).astype(np.float32))
        assert beard.found(bearded, masks.skin(bearded))[inside].mean() > 0.5
        made = grey.dark_again(bearded, no_hair, masks.skin(bearded))
        before = bearded.image @ edits.LUMA
        changes.append(((1 + made.gain) * before + made.residual @ edits.LUMA - before)[inside].mean())
    assert changes[0] < -0.2
    assert abs(changes[1]) < 0.03, changes
