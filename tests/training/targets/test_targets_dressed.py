"""Faces in other hair and before other walls."""

import json
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")
pytest.importorskip("scipy", reason="training needs scipy: pip install 'lgin-edge[train]'")

from training.dataset.labels import PACKS, default_packs, read_packs
from training.targets import beard, build, dressed, grey, hair, masks
from training.targets.subject import BELOW_NOSE, CHIN, LIPS, LUMA, MOUTH_CORNERS, NOSE_TIP, SIDE

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


BALD = np.zeros((SIDE, SIDE), np.float32)


def with_beard(subject, light=(0.04, 0.09), tags=("beard",)):
    """The subject in a beard of two lights: below the nose and off the mouth; and where that is."""
    below = np.arange(SIDE)[:, None] > subject.mesh[BELOW_NOSE, 1] + 4
    where = masks.oval(subject) & ~masks.feature(subject, LIPS, 3) & below
    image = subject.image.copy()
    hairs = np.where(np.arange(SIDE) % 8 < 4, *light)[:, None] * np.array((1.2, 1.0, 0.9))
    image[where] = np.broadcast_to(hairs, image.shape)[where]
    photo = replace(subject.photo, gender="M", tags=frozenset(tags))
    return replace(subject, photo=photo).showing(image.astype(np.float32)), where


def orange(subject):
    """The subject in half the light, with skin of another hue."""
    return subject.showing(subject.image * np.array((0.6, 0.4, 0.25), np.float32))


def moved(subject, down):
    """The subject lower in its picture, in pixels, its mesh with it."""
    image = np.roll(subject.image, down, 0)
    mesh, person = subject.mesh + np.array((0, down)), np.roll(subject.person, down, 0)
    return replace(subject, mesh=mesh, person=person).showing(image)


@pytest.fixture
def only_a_beard(monkeypatch):
    for name in ("_WALL", "_WIG", "_DYE"):
        monkeypatch.setattr(dressed, name, 0.0)


def wearing(subject, of, wig=None):
    return dressed.dressed(subject, BALD, wig, [subject.image], np.random.default_rng(SEED), (of, BALD))[0]


def test_a_man_wears_the_beard_of_another(young, old, only_a_beard):
    """It lies where it does on the own face, in the own light and its own hue, and is known there: it greys as the other's would."""
    of, _ = with_beard(moved(orange(old), 16))
    _, there = with_beard(young)
    seen = wearing(young, of)
    above_chin = np.arange(SIDE)[:, None] < young.mesh[CHIN, 1] - 4  # below it a beard hangs
    inside, outside = masks.shrink(there, 6), ~masks.grow(there, 12) & above_chin
    assert (seen.beard[inside] > 0.5).mean() > 0.8
    assert seen.beard[outside].max() < 0.1
    np.testing.assert_allclose(seen.image[outside], young.image[outside], atol=0.02)
    light = (seen.image @ LUMA)[inside & (seen.beard > 0.9)]
    bare = np.median((young.image @ LUMA)[inside])
    assert 0.125 < np.median(light) < 0.25 * bare  # twice as light as on the other, at most
    red, green, blue = np.median(seen.image[inside & (seen.beard > 0.9)], 0)
    assert red > green > blue  # black beside orange, it would be blue beside pale skin
    assert seen.photo.tags == young.photo.tags | {"beard"}
    assert seen.person[masks.shrink(there, 8)].min() > 0.5
    assert beard.found(seen, masks.skin(seen)) is seen.beard
    assert np.median(grey.greyed(seen, BALD, masks.skin(seen)).matte[inside]) > 0.5


def test_between_the_hairs_of_a_thin_beard_lies_the_own_skin(young, old):
    """What is nearly as light as the other's cheek is nearly as light, and of the hue, of the own."""
    darker = orange(old)
    of, _ = with_beard(darker)
    cheek = np.median(darker.image[masks.skin(darker)], 0)
    beside = np.where(
        (of.image @ LUMA < 0.12)[..., None] & (np.arange(SIDE) % 8 < 4)[:, None, None], 0.9 * cheek, of.image
    )
    worn = beard.put_on(young, of.showing(beside.astype(np.float32)), masks.skin(young), masks.skin(of))
    thin = (worn.mask > 0.5) & (worn.dense < 0.25)
    assert thin.sum() > 100
    own = np.median(young.image[masks.skin(young)], 0)
    np.testing.assert_allclose(np.median(worn.thin[thin], 0), 0.9 * own, atol=0.06)
    assert np.median(worn.bristles[thin]) < 0.1  # skin in shade is no hair, and does not grey
    assert np.median(worn.bristles[(worn.mask > 0.9) & (worn.dense > 0.8)]) > 0.9


def test_what_is_hardly_darker_than_skin_does_not_grey(young):
    """A jaw's shade where a beard may be."""
    skin = masks.skin(young)
    below = skin & (np.arange(SIDE)[:, None] > young.mesh[BELOW_NOSE, 1] + 6)
    inside = masks.shrink(below, 5)
    greyed = []
    for darker in (0.05, 0.3):
        image = young.image * (1 - darker * below[..., None])
        seen = replace(young, beard=below.astype(np.float32)).showing(image.astype(np.float32))
        greyed.append(np.median(grey.greyed(seen, BALD, skin).matte[inside]))
    assert greyed[0] < 0.03
    assert greyed[1] > 0.5


def test_no_beard_is_worn_where_none_can_be_carried_over(young, old, only_a_beard):
    seen = wearing(young, replace(old, photo=replace(old.photo, tags=frozenset())))  # in whom none is found
    assert seen.beard is None
    assert seen.photo.tags == young.photo.tags
    of, _ = with_beard(old)
    nothing = np.zeros((SIDE, SIDE), bool)
    assert beard.put_on(young, of, nothing, masks.skin(of)) is None


def test_hair_over_a_beard_is_no_beard(young, old, only_a_beard, monkeypatch):
    monkeypatch.setattr(dressed, "_WIG", 1.0)
    monkeypatch.setattr(dressed, "_BALD", -1.0)
    of, _ = with_beard(old)
    whole = wearing(young, of, wig(0.3, rows=(0, 40))).beard
    covered = wearing(young, of, wig(0.3, rows=(150, SIDE))).beard
    assert covered.sum() < 0.5 * whole.sum()


def test_a_beard_is_dyed_as_the_hair_is(young, old, only_a_beard, monkeypatch):
    """Not lighter than skin, and not where a young head is bleached."""
    monkeypatch.setattr(dressed, "_DYE", 1.0)
    of, there = with_beard(old)
    inside = masks.shrink(there, 8)

    def redness(colour, turns_grey=0.0):
        for name in ("_GREY", "_YOUNG_GREY"):
            monkeypatch.setattr(dressed, name, turns_grey)
        for name in ("_colour", "_grey"):
            monkeypatch.setattr(dressed, name, lambda random: np.array(colour, np.float32))
        red, _, blue = np.median(wearing(young, of).image[inside], 0)
        return red / blue

    own = redness((2.0, 2.0, 2.0))
    assert own < 2
    assert redness((0.30, 0.12, 0.08)) > 2
    assert young.photo.age < dressed._GREYED_BY_AGE
    assert redness((0.30, 0.12, 0.08), turns_grey=1.0) == pytest.approx(own)


def test_who_may_wear_whose_beard(young):
    man = replace(young, photo=replace(young.photo, gender="M", tags=frozenset()))
    assert build._may_wear_beard(man, man)
    for tag in ("beard", "moustache"):
        assert not build._may_wear_beard(replace(man, photo=replace(man.photo, tags=frozenset({tag}))), man)
    assert not build._may_wear_beard(replace(man, photo=replace(man.photo, gender="F")), man)
    turned = man.mesh.copy()
    turned[NOSE_TIP, 0] += 0.3 * man.half_width
    assert not build._may_wear_beard(replace(man, mesh=turned), man)


def test_a_moustache_ends_where_it_ends(young):
    """Not at a straight border beside the mouth, and not in a shade on the cheek that it does not touch; a turned nose is not its middle."""
    (left, y), (right, _) = young.mesh[list(MOUTH_CORNERS)]
    middle, half = (left + right) / 2, (right - left) / 2
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    height = y - 6 + 0.004 * (columns - middle) ** 2
    wide = (abs(rows - height) < 3) & (abs(columns - middle) < 1.1 * half)
    shade = (abs(rows - y) < 5) & (abs(columns - middle - 1.3 * half) < 2)
    mesh = young.mesh.copy()
    mesh[NOSE_TIP, 0] += half
    found = beard._moustache(replace(young, mesh=mesh), wide | shade, (columns, rows))
    for at in (middle - 1.05 * half, middle, middle + 1.05 * half):
        column = round(at)
        assert found[wide[:, column], column].all()
    assert not found[masks.shrink(shade, 1)].any()


def test_hair_goes_on_beyond_the_picture_s_edge_without_streaks(monkeypatch):
    """A wig that comes down shows other rows above, not its first one again and again."""
    rows = np.random.default_rng(SEED).uniform(0, 1, (SIDE, 1, 1)).astype(np.float32)
    striped = dressed.Wig(np.broadcast_to(rows, (SIDE, SIDE, 3)).copy(), np.ones((SIDE, SIDE), np.float32))

    class Down:
        """Straight, as large as it was, and as far down as wigs come."""

        def uniform(self, low, high):
            return high if (low, high) == (-0.03, 0.11) else 0.0 if low < 0 < high else low

        def choice(self, of):
            return of[-1]

        def normal(self, mean, deviation, shape):
            return np.zeros(shape)

    image, matte = dressed._moved(striped, Down())
    above = image[: int(0.09 * SIDE), SIDE // 2, 0]
    assert (abs(np.diff(above)) > 1e-3).mean() > 0.9
    assert matte.min() > 0.99


def test_beards_that_are_worn_are_of_the_packs():
    """Of men for training whose beards are not grey."""
    packs = default_packs()
    if len(packs) < len(PACKS):
        pytest.skip(f"needs the packs {', '.join(PACKS.values())} in ../shared")
    photos = {photo.key: photo for photo in read_packs(packs)}
    keys = json.loads(beard.CHECKED.read_text())
    assert len(keys) == len(set(keys)) > 40
    for key in keys:
        photo = photos[key]
        assert (photo.split, photo.gender) == ("train", "M")
        assert {"beard", "moustache"} & photo.tags
        assert not (grey.GREY | {"grey beard"}) & photo.tags


def test_the_build_gives_men_the_beards_of_others(people, monkeypatch, tmp_path):
    """Each with what is known of its own hair; of men for training alone; often, and not always; the same ones each time."""
    some = [
        replace(s, photo=replace(s.photo, split="train", gender="MF"[i % 2], tags=frozenset()))
        for i, s in enumerate(people)
    ]
    for i, split in ((0, "train"), (2, "train"), (4, "val")):
        some[i] = replace(some[i], photo=replace(some[i].photo, split=split, tags=frozenset({"beard"})))
    checked = tmp_path / "beards.json"
    checked.write_text(json.dumps([some[i].photo.key for i in (0, 2, 4)]))
    monkeypatch.setattr(beard, "CHECKED", checked)
    monkeypatch.setattr(
        build.hair, "checked", lambda: {"right": frozenset(s.photo.key for s in some), "wrong": frozenset()}
    )
    monkeypatch.setattr(build.multiprocessing, "get_context", lambda _: SimpleNamespace(Pool=ThreadPool))
    monkeypatch.setattr(build, "_TURNED_ALIKE", 1.0)
    probability = np.zeros((len(some), 2, 2), np.float32) + np.arange(len(some), dtype=np.float32)[:, None, None] * 1e-6

    def jobs():
        made = []
        monkeypatch.setattr(build, "_make_dressed", made.append)
        build._dress(some, probability, np.zeros(1, np.float32), tmp_path, 1)
        return {job[6].name: (job[0], job[4]) for job in made}

    first, second = jobs(), jobs()
    assert {name: of and of[0].photo.key for name, (_, of) in first.items()} == {
        name: of and of[0].photo.key for name, (_, of) in second.items()
    }
    worn = [(subject, of) for subject, of in first.values() if of is not None]
    bare = [subject for subject, _ in first.values() if subject.photo.gender == "M" and not subject.photo.tags]
    assert 0 < len(worn) < len(bare)
    for subject, (of, said) in worn:
        assert (subject.photo.gender, subject.photo.tags) == ("M", frozenset())
        assert of in (some[0], some[2])
        assert said[0, 0] == probability[some.index(of)][0, 0]
