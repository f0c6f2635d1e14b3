"""Examples that the generators learn from, made of drawn heads."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")
pytest.importorskip("scipy", reason="training needs scipy: pip install 'lgin-edge[train]'")

from lgin_edge import geometry
from lgin_edge.faces import FaceBatch
from lgin_edge.kernels import FacePlan, region_crop
from training import augment, examples
from training.dataset import labels
from training.networks import NetworkConfig
from training.targets import build, edits
from training.targets.subject import SIDE

SEED = 9
CONFIG = NetworkConfig(layers=2)
#: Of ``default_rng``: the first draws less than 0.5, which mirrors an example without faults, the second more.
MIRRORS, PLAIN = 3, 0


@pytest.fixture(scope="module")
def faces(made_up, targets):
    return examples.load(targets, examples.only(labels.read(made_up), "train"))


def source(faces, strength=1.0):
    return examples.Examples(faces, examples.likelihood(faces, 0.5), CONFIG, SEED, strength)


def made(faces, n=0, wanted=70.0, seed=PLAIN, **options):
    random = np.random.default_rng(seed)
    return source(faces, 0.0).example(n, float(faces.age[n]), wanted, random, **options)


def test_a_number_is_always_the_same_example(faces):
    first, again, other = source(faces)[5], source(faces)[5], source(faces)[6]
    for name, value in first.items():
        assert torch.equal(value, again[name]), name
    assert not torch.equal(first["face"], other["face"])
    assert not torch.equal(first["face"], replace_seed(faces)[5]["face"])


def replace_seed(faces):
    return examples.Examples(faces, examples.likelihood(faces, 0.5), CONFIG, SEED + 1, 1.0)


def test_a_mirrored_example_is_the_mirror_image(faces):
    assert np.random.default_rng(MIRRORS).random() < 0.5 <= np.random.default_rng(PLAIN).random()
    plain, mirrored = made(faces, seed=PLAIN), made(faces, seed=MIRRORS)
    for name in ("face", "canvas", "target"):
        image = plain[name].flip(-1).int()
        off, a_pixel_off = ((shown - mirrored[name].int()).abs().float().mean() for shown in (image, image.roll(1, -1)))
        assert off < 0.4 * a_pixel_off, name  # OpenCV places samples to 1/32 of a pixel
    for name in ("grey", "skin", "weight"):
        torch.testing.assert_close(plain[name].flip(-1), mirrored[name], rtol=0, atol=0.08, msg=name)
    sign = torch.tensor([-1.0, 1.0])[:, None, None]
    torch.testing.assert_close(sign * plain["flow"].flip(-1), mirrored["flow"], rtol=0, atol=1e-3)
    swapped = plain["place"].flip(-1)
    swapped[0] = 1 - swapped[0]
    torch.testing.assert_close(swapped, mirrored["place"], rtol=0, atol=5e-3)
    k = len(faces.bank)
    assert torch.equal(mirrored["which"], torch.cat([plain["which"][:, k:], plain["which"][:, :k]], -1))
    # The template is not quite symmetrical, so boxes and patches are those of the mirrored picture, not mirrored ones.
    points = faces.landmarks[0][[1, 0, 2, 4, 3]] * (-1, 1) + (1, 0)
    boxes = geometry.region_boxes(points, np.eye(2, 3))
    np.testing.assert_allclose(mirrored["boxes"].numpy(), boxes, atol=1e-6)
    picture = np.ascontiguousarray(faces.pixels[0][:, ::-1])
    plan = FacePlan.of(picture, FaceBatch((SIDE * np.eye(2, 3))[None], boxes[None]), geometry.ViewSpec())
    _, patches = region_crop(plan, picture)
    assert np.abs(mirrored["patches"].numpy() / 127.5 - 1 - patches[0]).mean() < 0.01
    assert torch.equal(made(faces, seed=MIRRORS, may_mirror=False)["canvas"], plain["canvas"])


def test_an_unchanged_age_changes_nothing(faces):
    same = made(faces, wanted=float(faces.age[0]))
    assert torch.equal(same["target"], same["canvas"])
    assert not same["flow"].any()
    assert not same["grey"].any()
    assert not same["depth"].any()
    older = made(faces, wanted=80.0)
    assert (older["target"].int() - older["canvas"].int()).abs().float().mean() > 1
    assert older["grey"].max() > 0.3
    assert (older["depth"] > 0).all()


def test_hair_that_is_not_known_does_not_count(faces):
    assert torch.equal(made(faces)["weight"], torch.ones_like(made(faces)["weight"]))
    unknown = replace(faces, hair_is_known=np.zeros(len(faces), bool))
    weight = made(unknown)["weight"][0]
    side = weight.shape[-1]
    assert weight[side // 2, side // 2] > 0.9  # the middle of the face
    assert weight[int(0.08 * side), side // 2] < 0.05  # above the forehead
    assert weight[side // 2, 4] < 0.05


def test_views_are_those_of_the_canvas(faces):
    """Face and canvas show one square: the face is the canvas, smaller."""
    row = made(faces)
    small = torch.nn.functional.interpolate(row["canvas"][None].float(), size=row["face"].shape[-2:], mode="area")[0]
    assert (small - row["face"].float()).abs().mean() < 2
    assert row["patches"].shape == (5, 3, CONFIG.patch_size, CONFIG.patch_size)


def test_an_example_says_how_grey_hair_is(faces):
    row = source(faces).example(0, 60.0, 70.0, np.random.default_rng(SEED))
    assert row["grey_hair"].tolist() == pytest.approx(edits.grey_hair(faces.photos[0].tags, 60.0, 70.0))


def test_processes_share_the_numbers_out(faces):
    """Two processes with batches of two see the examples of one with batches of four, from any number on."""
    whole = next(iter(examples.batches(source(faces), 3, 4, 0, 1, 0)))
    halves = [next(iter(examples.batches(source(faces), 3, 2, rank, 2, 0))) for rank in (0, 1)]
    assert torch.equal(torch.cat([half.face for half in halves]), whole.face)
    assert whole.face.min() >= -1
    assert 0 <= whole.canvas.min() < whole.canvas.max() <= 1


def test_worker_processes_make_the_same_batches(faces):
    here, there = (next(iter(examples.batches(source(faces), 1, 2, 0, 1, workers))) for workers in (0, 1))
    for name, value in vars(here).items():
        assert torch.equal(value, getattr(there, name)), name


def test_faces_of_rare_decades_and_sexes_grey_ones_fringes_tails_and_bald_heads_come_more_often(faces, monkeypatch):
    photos = [replace(photo, gender="F") for photo in faces.photos]
    ages = np.array([25.0, 26.0, 27.0, 28.0, 29.0, 71.0], np.float32)
    many = replace(faces, photos=photos, age=ages, sharp=np.ones(6, bool))
    assert len(set(examples.likelihood(many, 0.0))) == 1
    one_man = replace(many, photos=[replace(photos[0], gender="M"), *photos[1:]])
    of_sexes = examples.likelihood(one_man, 1.0)
    assert of_sexes[0] == pytest.approx(of_sexes[1:5].sum())
    balanced = examples.likelihood(many, 1.0)
    assert balanced[:5].sum() == pytest.approx(balanced[5])
    monkeypatch.setattr(examples.hair, "fringes", lambda: {faces.photos[1].key: []})
    monkeypatch.setattr(
        examples.hair, "checked", lambda: {"tails": {faces.photos[2].key}, "bald": {faces.photos[3].key}}
    )
    drawn = examples.likelihood(many, 0.0)
    assert drawn[1] == drawn[2] == drawn[3] == pytest.approx(4 * drawn[0])
    beard = replace(many, photos=[replace(photos[0], tags=frozenset({"grey beard"})), *photos[1:]])
    assert examples.likelihood(beard, 0.0)[0] == pytest.approx(3 * drawn[0])


def test_dressed_faces_are_drawn_as_often_as_is_asked(made_up, targets, faces):
    photos = examples.only(labels.read(made_up), "train")
    both = examples.load(targets, photos, dressed=True)
    plain = np.flatnonzero(~both.dressed)
    assert [both.photos[i] for i in plain] == faces.photos
    assert both.dressed.sum() == build.DRESSED * faces.hair_is_known.sum() > 0
    assert both.hair_is_known[both.dressed].all()
    for fraction in (0.0, 0.4):
        often = examples.likelihood(both, 0.5, fraction)
        assert often[both.dressed].sum() / often.sum() == pytest.approx(fraction)


def test_missing_targets_are_explained(made_up, targets, tmp_path):
    photos = labels.read(made_up)
    with pytest.raises(FileNotFoundError, match=r"no mesh\.npz in .*training\.targets\.build"):
        examples.load(tmp_path, photos)
    with pytest.raises(ValueError, match="edits of none of the 2 photos"):
        examples.load(targets, examples.only(photos, "donor"))


def test_a_bend_moves_hair_holds_face_and_border_and_folds_nothing():
    side = examples.BENDS
    t = (np.arange(side, dtype=np.float32) + 0.5) / side
    plain = np.stack(np.meshgrid(t, t), -1)
    away = np.hypot(*(plain - 0.5).transpose(2, 0, 1))
    hair = (away > 0.36) & (away < 0.40)
    face = (away < 0.22).astype(np.float32)
    of_hair, of_face = [], []
    for seed in range(20):
        shift = augment.bend(face, np.random.default_rng(seed), 1.0)
        moved = np.hypot(*shift.transpose(2, 0, 1)) * SIDE
        of_hair.append(moved[hair].mean())
        of_face.append(moved[away < 0.12].mean())
        assert max(edge.max() for edge in (moved[0], moved[-1], moved[:, 0], moved[:, -1])) < 3, seed
        there = plain + shift
        assert np.diff(there[..., 0], axis=1).min() > 0, seed
        assert np.diff(there[..., 1], axis=0).min() > 0, seed
        inside = (slice(5, -5),) * 2
        np.testing.assert_allclose(augment.bent(plain, shift)[inside], there[inside], atol=1e-3)
        large = augment.bent(cv2.resize(plain, (SIDE, SIDE)), shift)  # a picture bends as its maps do
        small = cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(small[inside], there[inside], atol=4e-3)
    assert np.mean(of_hair) > max(3.0, 3 * np.mean(of_face))
    assert not augment.bend(face, np.random.default_rng(0), 0.0).any()
