"""Targets from examples, on drawn heads: hair, edits, age layers and who gets which."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from support import portraits

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")
pytest.importorskip("scipy", reason="training needs scipy: pip install 'lgin-edge[train]'")

from training.dataset import labels
from training.targets import (
    ageing,
    beard,
    build,
    curves,
    dressed,
    edits,
    grey,
    hair,
    layers,
    masks,
    matching,
    mean_face,
)
from training.targets.subject import (
    BELOW_NOSE,
    BROWS,
    CHIN,
    LEFT_BROW,
    LIPS,
    LOWER_LIP,
    NOSE_TIP,
    OVAL,
    SIDE,
    subjects,
)

SEED = 2


@pytest.fixture(scope="module")
def people(made_up):
    return list(subjects(labels.read(made_up), made_up / "mesh.npz"))


@pytest.fixture(scope="module")
def young(people):
    return people[0]


@pytest.fixture(scope="module")
def old(people):
    return people[7]


def at(targets, subject, years):
    """The subject's picture at an age."""
    own = build.load(targets, subject)
    edit = edits.at_age(own, subject.photo.age, years)
    with np.load(targets / "choice.npz") as choice, np.load(targets / "layers.npz") as bank:
        (row,) = np.flatnonzero(choice["name"] == subject.photo.key)
        lines = layers.texture(bank["layers"], choice["shares"][row] * choice["depth"][row][:, None], bank["windows"])
    return edits.apply(subject.image, edit, lines, own.place)


def contrast(picture, where):
    """RMS of the relative fine detail of the light."""
    light = picture @ edits.LUMA
    return float(((light - masks.blur(light, 3.0)) / (masks.blur(light, 3.0) + 0.02))[where].std())


def chroma(picture, where):
    return float(np.hypot(*masks.lab(picture)[where][:, 1:].T).mean())


def test_a_pack_with_meshes_gives_subjects(people, made_up):
    assert len(people) == portraits.PEOPLE + len(portraits.DONORS)
    assert people[0].image.shape == (SIDE, SIDE, 3)
    np.testing.assert_allclose(people[3].mesh / SIDE, portraits.mesh_of(3), atol=1e-6)
    assert masks.skin(people[0]).mean() > 0.06
    assert not (masks.skin(people[0]) & masks.features(people[0])).any()


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


@pytest.fixture
def all_of_it(monkeypatch):
    """A subject that is dressed gets another wall, other hair and a dye."""
    for name in ("_WALL", "_WIG", "_DYE"):
        monkeypatch.setattr(dressed, name, 1.0)


def wig(light, rows=(40, 200)):
    matte = np.zeros((SIDE, SIDE), np.float32)
    matte[rows[0] : rows[1], 90:300] = 1
    return dressed.Wig(np.full((SIDE, SIDE, 3), light, np.float32), matte)


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


def test_dyed_hair_is_no_longer_known_to_be_grey(young, all_of_it):
    grey_haired = replace(young, photo=replace(young.photo, tags=frozenset({"grey", "glasses"})))
    matte = wig(0.3).matte
    seen, _ = dressed.dressed(grey_haired, matte, None, [young.image], np.random.default_rng(SEED))
    assert seen.photo.tags == {"glasses"}
    assert grey_haired.photo.tags == {"grey", "glasses"}


def test_a_bald_head_wears_no_wig(young, all_of_it):
    """Light: the wig's is 0.9, and nothing else is so bright."""
    dim = young.showing(0.3 * young.image)
    for hair_on_top, wears in ((20, False), (120, True)):
        own = np.zeros((SIDE, SIDE), np.float32)
        own[:hair_on_top, 100:200] = 1
        _, matte = dressed.dressed(dim, own, wig(0.9), [0 * young.image], np.random.default_rng(SEED))
        assert (matte.sum() > own.sum() + 1000) == wears


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


def test_hair_with_the_wall_between_its_curls_is_no_wig(young):
    dark = wig(0.1)
    assert dressed.wig_of(young, 0 * dark.matte) is None
    for light, serves in ((0.3, True), (0.9, False)):
        picture = dark.image.copy()
        picture[::3] = light
        assert (dressed.wig_of(young.showing(picture), dark.matte) is not None) == serves


def test_the_forehead_goes_on_above_the_mesh(young):
    """Where the face's own skin does, and no hair hangs."""
    mean = mean_face.load()
    bare = np.zeros((SIDE, SIDE), np.float32)
    # This mesh ends below hair that is drawn; the same head bald has skin there.
    skin_colour = np.median(young.image[masks.skin(young)], 0)
    above = masks.polygon(masks.above_mesh(young.mesh), hull=False)
    bald = young.showing(np.where(above[..., None], skin_colour, young.image))
    found = masks.forehead(bald, bare)
    new = above & ~masks.oval(bald)
    assert found[masks.shrink(new, 3)].mean() > 0.9
    assert not found[masks.grow(above, 3) == 0].any()
    assert not masks.forehead(bald, np.ones((SIDE, SIDE), np.float32)).any()
    assert not masks.forehead(young, bare)[masks.shrink(new, 3)].any()
    assert layers.face_in_texture(mean).mean() > 1.1 * masks.polygon(mean[list(OVAL)] * SIDE, hull=False).mean()


def test_grey_hair_keeps_its_strands(young, targets):
    core = masks.shrink(portraits.draw(portraits.mesh_of(0), SIDE, 0)[2] > 0.5, 8)
    after = at(targets, young, 80)
    assert chroma(after, core) < 0.5 * chroma(young.image, core)
    assert (after @ edits.LUMA)[core].mean() > (young.image @ edits.LUMA)[core].mean() + 0.1
    absolute = [
        float((light - masks.blur(light, 3.0))[core].std()) for light in (young.image @ edits.LUMA, after @ edits.LUMA)
    ]
    assert absolute[1] > absolute[0]


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


@pytest.mark.parametrize("redder", [0.0, 0.3])
def test_skin_gets_darker_as_its_own_shades_are(young, redder):
    """Darkened in proportion, skin turned grey; a grey picture's stays grey."""
    x = np.arange(SIDE, dtype=np.float32)[None].repeat(SIDE, 0)
    light = 0.35 + 0.25 * x / SIDE  # shaded from left to right
    slopes = np.array([1 - redder, 1.0, 1 + redder], np.float32)
    image = light[..., None] ** slopes
    skin = np.full((SIDE, SIDE), True)
    subject = young.showing(image)
    darker = edits._recoloured(subject, np.full((SIDE, SIDE, 3), -0.2, np.float32), skin)
    ratio = np.log((darker / image)[100:-100, 100:-100]).mean((0, 1))
    assert ratio == pytest.approx(-0.2 * slopes * ratio[1] / -0.2, abs=0.02)
    assert ratio[1] == pytest.approx(-0.2, abs=0.04)


def test_a_line_of_the_face_goes_although_its_place_is_not_known_to_the_pixel():
    x = np.arange(SIDE, dtype=np.float32)[None].repeat(SIDE, 0)
    line = -0.15 * np.exp(-(((x - 192) / 2) ** 2) / 2)
    image, wanted = (np.repeat((0.6 + line * part)[..., None], 3, 2).astype(np.float32) for part in (1.0, 0.1))
    slope, offset = (np.roll(one, 2, 1) for one in edits.line(image, wanted))
    assert np.abs(slope[..., None] * image + offset - 0.6).max() < 0.15 * 0.15
    beside = np.roll(wanted - image, 2, 1)  # what it was: a difference of pictures
    assert np.abs(image + beside - 0.6).max() > 0.5 * 0.15


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


def test_a_subject_that_shows_another_picture_is_another(young):
    before = young.image.copy()
    dark = young.showing(0.5 * young.image)
    assert (young.image == before).all()
    for subject in (young, dark):
        sent = pickle.dumps(subject)
        assert (pickle.loads(sent).image == subject.image).all()
        assert len(sent) < young.person.nbytes + (subject.shown is not None) * before.nbytes + 50_000, "read anew"


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


@pytest.mark.parametrize("tags", [{"grey"}, set()])
def test_hair_that_was_seen_to_be_grey_gets_dark_again(old, tags):
    matte = portraits.draw(portraits.mesh_of(7), SIDE, 0)[2]
    subject = replace(old, photo=replace(old.photo, tags=frozenset(tags)))
    made = grey.dark_again(subject, matte)
    light = subject.image @ edits.LUMA
    after = (1 + made.gain) * light + made.residual @ edits.LUMA
    core = masks.shrink(matte > 0.5, 8)
    assert (after[core].mean() < 0.7 * light[core].mean()) == bool(tags)
    assert tags or np.abs(after - light).max() < 1e-3


def test_the_present_age_is_the_identity(young, old, targets):
    for subject in (young, old):
        np.testing.assert_allclose(at(targets, subject, subject.photo.age), subject.image, atol=1e-6)


def test_lines_come_with_age_and_go_with_youth(young, old, targets):
    forehead = masks.shrink(masks.skin(young), 3)
    assert contrast(at(targets, young, 80), forehead) > 1.3 * contrast(young.image, forehead)
    forehead = masks.shrink(masks.skin(old), 3) & (np.arange(SIDE)[:, None] < old.height_of(BROWS) - 6)

    def lines(picture):  # coarser than pores, which stay
        light = np.log(masks.blur(picture @ edits.LUMA, 1.2) + 0.04)
        return float((light - masks.blur(light, 5.0))[forehead].std())

    assert lines(at(targets, old, 22)) < 0.8 * lines(old.image)


def test_background_stays(young, targets):
    far = masks.blur(1 - young.person, 3.0) > 0.999
    far[masks.grow(young.person > 0.5, 40)] = False
    for years in (22, 80):
        assert np.abs(at(targets, young, years) - young.image)[far].max() < 0.01


def test_curves_rise_from_0():
    years = np.arange(15, 91)
    for sign in curves._CURVES:
        values = [curves.at(sign, one) for one in years]
        assert values[0] == 0
        assert 0.9 < values[-1] <= 1.6
        assert (np.diff(values) >= 0).all()
        older = [curves.older(sign, 40, one) for one in years]
        assert (np.diff(older) >= 0).all()
        assert not any(older[: 40 - 15 + 1])
        to_come = [curves.still_to_come(sign, 40, one) for one in years]
        assert to_come == pytest.approx(np.array(older) / (1 - curves.at(sign, 40)))
        younger = [curves.younger(sign, 60, one) for one in years]
        assert (np.diff(younger) <= 0).all()
        assert (younger[0], younger[60 - 15]) == (1, 0)
    shares = [curves.share_of_age(one) for one in years]
    assert (np.diff(shares) >= 0).all()
    assert (shares[20 - 15], shares[60 - 15]) == (0, 1)


def test_layers_of_the_other_sex_never_serve(people):
    choice = matching.choose(people, people[:4])
    assert choice.shares.shape == (len(people), 5, 8)
    np.testing.assert_allclose(choice.shares.sum(-1), 1, atol=1e-6)
    for i, one in enumerate(people):
        for k, donor in enumerate(people[:4]):
            if donor.photo.gender != one.photo.gender:
                assert not choice.shares[i][:, [k, 4 + k]].any()


def test_every_layer_serves_as_many(people):
    choice = matching.choose(people, people[:4])
    served = (choice.shares[..., :4] + choice.shares[..., 4:]).sum(0)  # [5, K]
    np.testing.assert_allclose(served, len(people) / 4, rtol=0.12)


def test_who_leans_left_gets_mirrored_layers(people):
    choice = matching.choose(people, people[:4])
    for one, shares in zip(people, choice.shares, strict=True):
        assert shares[:, 4:].any() == matching.leans_left(one)
        assert shares[:, :4].any() != matching.leans_left(one)


def test_windows_of_the_regions_sum_to_1():
    windows = matching.region_windows(96, mean_face.load(), mean_face.TEXTURE_BOX)
    assert windows.shape == (5, 96, 96)
    assert windows.min() >= 0
    np.testing.assert_allclose(windows.sum(0), 1, atol=1e-5)
    x0, y0, x1, y1 = mean_face.TEXTURE_BOX
    spots = ((0.5, 0.3), (0.33, 0.47), (0.5, 0.6), (0.5, 0.72), (0.25, 0.7))  # forehead, eyes, nose, mouth, cheek
    for region, (x, y) in enumerate(spots):
        column, row = int((x - x0) / (x1 - x0) * 96), int((y - y0) / (y1 - y0) * 96)
        assert windows[:, row, column].argmax() == region


def test_the_coarse_band_of_a_layer_is_symmetrical():
    """Light from one side is the donor's; bags on both sides are the age's."""
    side = layers.TEXTURE_SIDE
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    bags = sum(np.exp(-0.5 * (((x - center) / 22) ** 2 + ((y - 120) / 12) ** 2)) for center in (100, side - 101))
    pores = masks.blur(np.random.default_rng(SEED).normal(0, 0.4, (side, side)), 1.5)
    value = (-0.15 * bags + 0.2 * (x - side / 2) / side + pores + pores[:, ::-1]).astype(np.float32)
    made = layers.layer(layers.Detail(value, np.ones((side, side), bool)), np.zeros((side, side), np.float32))
    low = masks.blur(made, 9.0)
    assert np.abs(low - low[:, ::-1]).max() < 0.1 * np.abs(low).max()
    assert low[120, 100] < 0.4 * low.min() < 0


def test_furrows_are_deeper_than_ridges_and_rough_skin_gets_no_darker():
    """Ridges fainter than furrows are a stain where skin is rough, unless the mean is taken away."""
    side = layers.TEXTURE_SIDE
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    rough = np.hypot(x - 100, y - 200) < 40
    grain = masks.blur(np.random.default_rng(SEED).normal(0, 0.5, (side, side)), 1.5)
    furrows = 0.15 * np.sin(2 * np.pi * y / 12) * (y < 100)
    value = (rough * grain + furrows).astype(np.float32)
    made = layers.layer(layers.Detail(value, np.ones((side, side), bool)), np.zeros((side, side), np.float32))
    inside = masks.shrink(rough, 8)
    assert abs(made[inside].mean()) < 0.1 * made[inside].std()
    lines = made[30:80, 60:-60]
    assert -lines.min() > 1.2 * lines.max()


def test_a_texture_is_its_layers_where_their_regions_are():
    random = np.random.default_rng(SEED)
    bank = random.normal(0, 0.1, (2, 16, 16)).astype(np.float32)
    windows = np.full((5, 16, 16), 0.2, np.float32)
    first = np.zeros((5, 4), np.float32)
    first[:, 0] = 1
    np.testing.assert_allclose(layers.texture(bank, first, windows), bank[0], atol=1e-6)
    np.testing.assert_allclose(layers.texture(bank, np.roll(first, 2, 1), windows), bank[0, :, ::-1], atol=1e-6)
    np.testing.assert_allclose(layers.texture(bank, 0.3 * first, windows), 0.3 * bank[0], atol=1e-6)
    # A mixture of two layers is as deep as one of them: their squares add up.
    mixed = layers.texture(bank, np.float32([[0.5, 0.5, 0, 0]] * 5), windows)
    np.testing.assert_allclose(mixed, (bank[0] + bank[1]) / np.sqrt(2), atol=1e-6)


def test_mesh_space_and_back():
    """Place says where a point lies on the mean face; the texture's grid says where that lies on the subject."""
    mean = mean_face.load()
    reflected = mean * (-1, 1) + (2 * mean[NOSE_TIP, 0], 0)
    assert np.abs(reflected - mean[mean_face.mirrored_points(mean)]).max() < 0.004
    t = (np.arange(mean_face.GRID) + 0.5) / mean_face.GRID
    still = mean_face.warp(mean, mean)
    np.testing.assert_allclose(still, np.stack(np.meshgrid(t, t), -1), atol=1e-3)


def test_thin_lips_get_no_notch(young):
    """Lips thin out as they age: where they are thin already, rows of the mesh that all but meet move unlike each other."""
    mesh, shift = young.mesh.copy(), np.zeros_like(young.mesh, dtype=np.float64)
    outer, inner, down = [38, 12, 268], [82, 13, 312], 2.0
    mesh[outer] = mesh[inner] - (0, 0.5)
    shift[outer, 1] = down / SIDE
    flow = edits._flow(replace(young, mesh=mesh), shift) * SIDE
    assert 0.3 < np.abs(flow).max() < down / 2  # exact at every point, it would overshoot


def test_place_undoes_the_grid_of_textures(young):
    mean = mean_face.load()
    there = mean_face.texture_grid(mean, young, 40)
    back = mean_face.look_up(mean_face.place_of(young, mean), there)
    t = (np.arange(40) + 0.5) / 40
    inside = layers.face_in_texture(mean)[4 :: layers.TEXTURE_SIDE // 40, 4 :: layers.TEXTURE_SIDE // 40]
    off = np.abs(back - np.stack(np.meshgrid(t, t), -1)).max(-1)
    assert np.median(off[inside]) < 0.005
    assert masks.polygon(young.mesh[list(OVAL)], hull=False).mean() > 0.1


def test_a_second_build_does_nothing_again(made_up, targets, monkeypatch):
    def again(*_, **__):
        raise AssertionError("done twice")

    monkeypatch.setattr(layers, "DONORS", portraits.DONORS)
    monkeypatch.setattr(
        build.multiprocessing, "get_context", lambda _: portraits.SimpleNamespace(Pool=portraits.OneProcess)
    )
    for module, name in ((edits, "make"), (layers, "layer"), (matching, "choose"), (hair, "fit"), (build, "_sheets")):
        monkeypatch.setattr(module, name, again if name != "_sheets" else lambda *_: None)
    build.main(targets, None, [made_up])


def test_a_pack_without_donors_is_explained(people):
    with pytest.raises(ValueError, match="lack these donors of age layers: sync3184cbf"):
        build.donors(people)


def test_the_mean_change_is_found_beside_other_causes_and_outliers():
    random = np.random.default_rng(SEED)
    grown, other = random.uniform(0, 1, 300), random.normal(size=300)
    slope = random.normal(size=(4, 3))
    values = grown[:, None, None] * slope + 2 * other[:, None, None] + 1 + random.normal(0, 0.05, (300, 4, 3))
    values[::20] += 40  # a shadow, glasses
    found = ageing._slope(np.column_stack([grown, np.ones(300), other]), values)
    np.testing.assert_allclose(found, slope, atol=0.1)


def test_the_mean_change_that_is_kept_is_symmetrical_and_of_both_sexes():
    man, woman, anybody = (ageing.load(sex) for sex in (*ageing.SEXES, ""))
    np.testing.assert_allclose(anybody.shape, (man.shape + woman.shape) / 2)
    for sex in ageing.SEXES:
        kept = ageing.load(sex)
        assert kept.colour.shape == (ageing.TEXTURE_SIDE, ageing.TEXTURE_SIDE, 3)
        np.testing.assert_allclose(kept.colour, kept.colour[:, ::-1], atol=2e-3)
        upper, lower = kept.shape[[159, 386], 1], kept.shape[[145, 374], 1]
        assert (lower < upper).all()  # eyes get narrower
        assert kept.shape[17, 1] < kept.shape[0, 1]  # and lips thinner
