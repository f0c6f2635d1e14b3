"""A face that gets older or younger, on drawn heads; and the build that makes it."""

import pickle
from dataclasses import replace
from multiprocessing.pool import ThreadPool

import numpy as np
import pytest
from support import portraits

pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")
pytest.importorskip("scipy", reason="training needs scipy: pip install 'lgin-edge[train]'")

from training.targets import ageing, build, curves, edits, hair, layers, masks, matching, mean_face
from training.targets.grey import HOW_DARK
from training.targets.subject import BROWS, CHIN, LEFT_EYE, MOUTH_OPENING, OVAL, RIGHT_EYE, SIDE

SEED = 2


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


def test_a_subject_that_shows_another_picture_is_another(young):
    before = young.image.copy()
    dark = young.showing(0.5 * young.image)
    assert (young.image == before).all()
    for subject in (young, dark):
        sent = pickle.dumps(subject)
        assert (pickle.loads(sent).image == subject.image).all()
        assert len(sent) < young.person.nbytes + (subject.shown is not None) * before.nbytes + 50_000, "read anew"


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


def test_grey_hair_keeps_its_strands(young, targets):
    core = masks.shrink(portraits.draw(portraits.mesh_of(0), SIDE, 0)[2] > 0.5, 8)
    after = at(targets, young, 80)
    assert chroma(after, core) < 0.5 * chroma(young.image, core)
    assert (after @ edits.LUMA)[core].mean() > (young.image @ edits.LUMA)[core].mean() + 0.1
    absolute = [
        float((light - masks.blur(light, 3.0))[core].std()) for light in (young.image @ edits.LUMA, after @ edits.LUMA)
    ]
    assert absolute[1] > absolute[0]


def test_hair_is_as_grey_as_an_eye_saw_it_and_as_its_target_gets():
    grey, greying, dark = frozenset({"grey", "smile"}), frozenset({"greying"}), frozenset({"bald"})
    assert edits.grey_hair(grey, 70, 70) == (1.0, 1.0)
    assert edits.grey_hair(greying, 50, 50) == (0.5, 0.5)
    assert edits.grey_hair(dark, 62, 62) == (0.0, 0.0)  # it may be dyed
    assert edits.grey_hair(dark, 25, 70) == (0.0, pytest.approx(curves.at("hair", 70)))
    assert edits.grey_hair(greying, 25, 70) == (0.5, pytest.approx(0.5 + 0.5 * curves.at("hair", 70)))
    for present, wanted in ((70, 20), (70, 50), (40, 30), (31, 20)):  # as much of its edit as a target has
        maps = np.ones((edits.CHANNELS, 1, 1), np.float32)
        own = edits.SubjectEdits(maps, *np.zeros((2, 1, 1, 2), np.float32))
        gone = edits.at_age(own, present, wanted).gain.item() * HOW_DARK
        assert edits.grey_hair(grey, present, wanted) == (1.0, pytest.approx(1 - gone))


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


def test_thin_lips_get_no_notch(young):
    """Lips thin out as they age: where they are thin already, rows of the mesh that all but meet move unlike each other."""
    mesh, shift = young.mesh.copy(), np.zeros_like(young.mesh, dtype=np.float64)
    outer, inner, down = [38, 12, 268], [82, 13, 312], 2.0
    mesh[outer] = mesh[inner] - (0, 0.5)
    shift[outer, 1] = down / SIDE
    flow = edits._flow(replace(young, mesh=mesh), shift) * SIDE
    assert 0.3 < np.abs(flow).max() < down / 2  # exact at every point, it would overshoot


def test_a_second_build_does_nothing_again(made_up, targets, monkeypatch):
    def again(*_, **__):
        raise AssertionError("done twice")

    monkeypatch.setattr(layers, "DONORS", portraits.DONORS)
    monkeypatch.setattr(layers, "FOREHEAD_OF", {})
    monkeypatch.setattr(build.multiprocessing, "get_context", lambda _: portraits.SimpleNamespace(Pool=ThreadPool))
    for module, name in ((edits, "make"), (layers, "layer"), (matching, "choose"), (hair, "fit"), (build, "_sheets")):
        monkeypatch.setattr(module, name, again if name != "_sheets" else lambda *_: None)
    build.main(targets, None, [made_up])


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


def test_yellow_teeth_get_whiter_and_a_neck_smoother_with_youth(old, targets):
    """Lips and what is dark in the mouth stay as the mean change has them."""
    mouth = masks.shrink(masks.polygon(old.mesh[list(MOUTH_OPENING)], hull=False), 1)
    assert mouth.sum() > 20
    lab = old.lab.copy()
    lab[mouth] = (70, 2, 22)
    hair_ = np.zeros((SIDE, SIDE), np.float32)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    neck = (y > old.mesh[CHIN, 1] + 12) & (y < old.mesh[CHIN, 1] + 50) & (abs(x - old.mesh[CHIN, 0]) < 40)
    folds = 3 * np.sin(y[neck])
    lab[neck] = np.median(lab[masks.skin(old)], 0) + np.outer(folds, (1, 0, 0))
    subject = replace(old.showing(masks.rgb(lab)), person=np.maximum(old.person, neck))
    neck = masks.shrink(neck, 6)
    with np.load(targets / "layers.npz") as bank:
        own = edits.make(subject, hair_, mean_face.load(), bank["young"])
    edit = edits.at_age(own, 60, 25)
    still = replace(edit, flow=0 * edit.flow)
    younger = edits.apply(subject.image, still, np.zeros((1, 1), np.float32), own.place)
    before, after = masks.lab(subject.image), masks.lab(younger)
    assert (after - before)[mouth].mean(0)[0] > 2
    assert (after - before)[mouth].mean(0)[2] < -5
    assert contrast(younger, neck) < 0.8 * contrast(subject.image, neck)


def test_whites_of_eyes_tell_the_age(young, targets):
    """Redder and yellower when older, paler when younger, each within what was measured; irises keep their own."""
    with np.load(targets / "layers.npz") as bank:
        normal = bank["young"]

    def change(subject, part, years):
        own = edits.make(subject, np.zeros((SIDE, SIDE), np.float32), mean_face.load(), normal)
        edit = edits.at_age(replace(own, flow=0 * own.flow), subject.photo.age, years)
        made = edits.apply(subject.image, edit, np.zeros((1, 1), np.float32), own.place)
        return (masks.lab(made) - subject.lab)[part].mean(0)

    y, x = np.mgrid[0:SIDE, 0:SIDE]
    whites, irises, lab = np.zeros((SIDE, SIDE), bool), np.zeros((SIDE, SIDE), bool), young.lab.copy()
    for eye in (LEFT_EYE, RIGHT_EYE):
        inside, (cx, cy) = masks.feature(young, eye), young.mesh[list(eye)].mean(0)
        iris = inside & (np.hypot(x - cx, y - cy) < 6)
        lab[inside], lab[iris] = (75, 7, 7), (30, 3, 8)
        irises |= masks.shrink(iris, 2)
        whites |= masks.shrink(inside & ~masks.grow(iris, 2), 1)
    assert whites.sum() > 20
    assert irises.sum() > 20
    eyes = young.showing(masks.rgb(lab))
    of = [replace(eyes, photo=replace(eyes.photo, age=age)) for age in (25, 65)]
    _, red, yellow = change(of[0], whites, 72)
    assert 3 < red < 9
    assert 3 < yellow < 10
    _, red, yellow = change(of[1], whites, 25)
    assert -5 < red < -1
    assert -6 < yellow < -1
    assert abs(change(of[0], irises, 72)[1:]).max() < 2
