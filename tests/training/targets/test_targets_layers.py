"""Age layers, who gets which, and the mesh space that they lie in."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")
pytest.importorskip("scipy", reason="training needs scipy: pip install 'lgin-edge[train]'")

from training.targets import build, layers, masks, matching, mean_face
from training.targets.subject import NOSE_TIP, OVAL, SIDE

SEED = 2


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


def test_a_young_womans_forehead_has_shallower_lines(people):
    ages = (20.0, 36.0, 41.0, 60.0)
    women = [replace(p, photo=replace(p.photo, gender="F", age=age)) for p, age in zip(people, ages, strict=False)]
    depth = matching.choose(women, women[:2]).depth
    np.testing.assert_allclose(depth[:, 0], (0.65, 0.65, 0.75, 0.85), atol=1e-6)
    assert (depth[:, 1:] == depth[0, 1:]).all()


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


def test_lines_that_look_drawn_on_smooth_faces_are_fainter():
    mean, side = mean_face.load(), layers.TEXTURE_SIDE
    bank = np.stack([np.full((side, side), light, np.float32) for light in (-1, 1, *[-1] * 10)])
    made = layers.calmed(bank, mean)
    np.testing.assert_allclose(made[1], -layers.RIDGES * made[0], rtol=1e-6)

    def at(point: int, layer: int = 0) -> float:
        x, y = layers.texels(mean)[point]
        return -made[layer][int(y), int(x)]

    assert min(at(point) for point in (33, 50, 280, 172)) > 0.9  # eye, cheeks, jaw
    assert at(199) == pytest.approx(1 - layers.CALM_CHIN, abs=0.1)
    assert at(9) == pytest.approx(1 - layers.CALM_BROWS, abs=0.15)
    assert at(61) == pytest.approx(1 - layers.CALM_CORNERS, abs=0.1)
    served = next(k for k, other in layers.INSTEAD.items() if other in layers.HATCHED)
    for hatched in (layers.HATCHED[0], served):
        assert at(205, hatched) == pytest.approx(1 - layers.CALM_CHEEKS, abs=0.1)
        assert at(33, hatched) > 0.9


def test_a_forehead_is_drawn_inside_its_outline_and_fades_towards_it(young, tmp_path, monkeypatch):
    """Whatever masks of colour and hair say: here they would leave out a dark band."""
    mean, outline = mean_face.load(), [[90, 0], [230, 0], [230, 75], [90, 75]]
    monkeypatch.setattr(layers, "FOREHEADS", tmp_path / "foreheads.json")
    layers.FOREHEADS.write_text(json.dumps({young.photo.name: outline}))
    lined = young.image * (0.6 + 0.4 * (np.arange(SIDE) % 12 > 5))[:, None, None].astype(np.float32)
    made = layers.forehead(young.showing(lined), mean)
    rows = np.abs(made[:, 110:210]).mean(1)
    assert rows[30:60].min() > 0.005
    assert made[45, 100:220].std() < made[30:60, 160].std()  # across the forehead, as the band lies
    assert rows[:2].max() < 0.2 * rows[30:60].max()
    assert not made[150:].any()
    assert not made[:, :85].any()
    edge, middle = (np.abs(made[30:60, x]).max() for x in (92, 160))
    assert edge < 0.6 * middle
    assert not layers.forehead(replace(young, photo=replace(young.photo, path=tmp_path / "other.png")), mean).any()
    monkeypatch.setattr(layers, "_CALM_GLABELLA", 0.0)
    bolder = np.abs(layers.forehead(young.showing(lined), mean))
    assert np.abs(made[70:75, 150:170]).sum() < 0.8 * bolder[70:75, 150:170].sum()  # between the brows
    np.testing.assert_allclose(np.abs(made[20:40, 100:120]), bolder[20:40, 100:120], rtol=1e-3, atol=1e-6)


def test_every_layer_has_a_forehead():
    outlines = json.loads(layers.FOREHEADS.read_text())
    for k in range(len(layers.DONORS)):
        serving = layers.FOREHEAD_INSTEAD.get(k, k)
        assert layers.FOREHEAD_OF.get(serving, layers.DONORS[serving]) in outlines


def test_what_stands_in_for_a_layer_is_mirrored_and_bent():
    side = layers.TEXTURE_SIDE
    bank = np.zeros((2, side, side), np.float32)
    bank[0, 100:120, 40:60] = 1.0
    made = layers.replaced(bank, {1: 0, 5: 0}, (3.0, 3.0))
    assert (made[0] == bank[0]).all()
    y, x = (np.average(at, weights=made[1].clip(0)) for at in np.mgrid[0:side, 0:side])
    assert abs(x - (side - 50)) < 12
    assert abs(y - 110) < 12
    assert made[1].clip(0).sum() == pytest.approx(400, rel=0.3)
    assert (made[1] != bank[0][:, ::-1]).any()


def test_foreheads_lie_in_their_window_and_eyes_are_deeper():
    mean, side = mean_face.load(), layers.TEXTURE_SIDE
    windows = matching.region_windows(side, mean, mean_face.TEXTURE_BOX)
    whole, foreheads = (np.full((2, side, side), light, np.float32) for light in (-0.1, -0.3))
    made = layers.bank_of(whole, foreheads, windows, mean)
    assert made[:, 30, 160] == pytest.approx(-0.3, abs=0.01)
    assert made[:, 230, 80] == pytest.approx(-0.1, abs=0.01)
    assert made[:, 112, 70] == pytest.approx(-0.1 * layers.EYES, abs=0.01)


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


def test_place_undoes_the_grid_of_textures(young):
    mean = mean_face.load()
    there = mean_face.texture_grid(mean, young, 40)
    back = mean_face.look_up(mean_face.place_of(young, mean), there)
    t = (np.arange(40) + 0.5) / 40
    inside = layers.face_in_texture(mean)[4 :: layers.TEXTURE_SIDE // 40, 4 :: layers.TEXTURE_SIDE // 40]
    off = np.abs(back - np.stack(np.meshgrid(t, t), -1)).max(-1)
    assert np.median(off[inside]) < 0.005
    assert masks.polygon(young.mesh[list(OVAL)], hull=False).mean() > 0.1


def test_a_pack_without_donors_is_explained(people):
    with pytest.raises(ValueError, match="lack these donors of age layers: sync3184cbf"):
        build.donors(people)
