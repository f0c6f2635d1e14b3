"""Skin whose finest detail gets stronger."""

import numpy as np
import pytest
import torch

from training import texture
from training.edits import luma
from training.texture import Grain, Texture, contrast, shaded

SIDE = 64


def roughened(picture: torch.Tensor, skin: float = 1.0, aged: float = 1.0) -> torch.Tensor:
    """A view [1, 3, S, S] in [0, 1] with its edit made, less its border."""
    face = 2 * picture - 1
    edit = Texture()(face, (luma(face) + 1) / 2, torch.full((1, 1, 1, SIDE, SIDE), skin), torch.full((1, 1), aged))[
        0, 0
    ]
    made = picture * (1 + edit[3]) + edit[:3] / 2
    return made[:, :, 4:-4, 4:-4]


def skin_of(seed: int, contrast: float = 0.02) -> torch.Tensor:
    noise = np.random.default_rng(seed).standard_normal((1, 1, SIDE, SIDE)).astype(np.float32)
    colour = torch.tensor([0.8, 0.6, 0.5])[:, None, None]
    return colour * (1 + contrast * torch.from_numpy(noise))


def test_finest_detail_gains_and_colour_stays():
    picture = skin_of(0, 0.01)
    before, after = picture[:, :, 4:-4, 4:-4], roughened(picture)
    gained = (after.std((2, 3)) / before.std((2, 3))).flatten()
    # The blur keeps a tenth of the noise, which does not gain.
    assert (gained - (1 + texture.AMOUNT)).abs().max() < 0.06
    torch.testing.assert_close(after.mean((2, 3)), before.mean((2, 3)), atol=2e-3, rtol=0)


def test_half_as_much_is_half():
    picture = skin_of(1, 0.01)
    plain, half, whole = picture[:, :, 4:-4, 4:-4], roughened(picture, aged=0.5), roughened(picture)
    torch.testing.assert_close(half - plain, (whole - plain) / 2, atol=1e-6, rtol=0)
    torch.testing.assert_close(roughened(picture, skin=0.0), plain)


def test_smooth_skin_and_spots_stay():
    flat = torch.tensor([0.8, 0.6, 0.5])[:, None, None].expand(1, 3, SIDE, SIDE).clone()
    torch.testing.assert_close(roughened(flat), flat[:, :, 4:-4, 4:-4], atol=1e-5, rtol=0)
    flat[:, :, 30:34, 30:34] *= 0.5
    torch.testing.assert_close(roughened(flat)[:, :, 27:29, 27:29], flat[:, :, 31:33, 31:33], atol=1e-5, rtol=0)


def test_a_sensor_s_noise_is_left_alone():
    """Its colours differ from pixel to pixel as those of skin do not; on skin alone it would be seen."""
    random = np.random.default_rng(3)
    noise = torch.from_numpy(random.standard_normal((1, 3, SIDE, SIDE)).astype(np.float32))
    picture = torch.tensor([0.8, 0.6, 0.5])[:, None, None] + 0.03 * noise
    torch.testing.assert_close(roughened(picture), picture[:, :, 4:-4, 4:-4])


def test_each_face_and_age_is_by_itself():
    faces = torch.cat([skin_of(4), skin_of(5)]) * 2 - 1
    light, skin, aged = (luma(faces) + 1) / 2, torch.rand(2, 3, 1, SIDE, SIDE), torch.rand(2, 3)
    module = Texture()
    together = module(faces, light, skin, aged)
    for n in range(2):
        for g in range(3):
            alone = module(faces[n : n + 1], light[n : n + 1], skin[n : n + 1, g : g + 1], aged[n : n + 1, g : g + 1])
            torch.testing.assert_close(together[n : n + 1, g : g + 1], alone)


def test_grain_has_no_seam_and_fades_at_the_texture_s_border():
    module = Grain(SIDE)
    drawn = module(torch.tensor([[1.0, 0.5], [0.0, 1.0]]))
    assert drawn.shape == (2, 2, 1, SIDE, SIDE)
    torch.testing.assert_close(drawn[0, 1], drawn[0, 0] / 2)
    assert (drawn[1, 0] == 0).all()
    inside = drawn[0, 0, 0, 8:-8, 8:-8]
    assert abs(inside.mean()) < 0.1 * texture.GRAIN
    assert 0.9 * texture.GRAIN < inside.std() < 1.1 * texture.GRAIN
    # What lies across the middle, where tiles meet, differs as any neighbours do.
    for texture_ in (drawn[0, 0, 0], drawn[0, 0, 0].T):
        steps = (texture_[8:-8, 1:] - texture_[8:-8, :-1]).std(0)
        assert 0.6 < steps[SIDE // 2 - 1] / steps[8:-8].mean() < 1.4
    for border in (0, -1):
        assert abs(drawn[0, 0, 0, border]).max() < 0.2 * abs(inside).max()
        assert abs(drawn[0, 0, 0, :, border]).max() < 0.2 * abs(inside).max()
    with pytest.raises(ValueError, match="multiple of 4 texels, got 63"):
        Grain(63)


def test_pores_are_darker_than_what_is_between_them_is_light():
    noise = texture.grain(160)
    assert (noise**3).mean() < -0.5
    assert abs(noise.mean()) < 1e-5
    assert noise.std().item() == pytest.approx(1, abs=1e-3)
    assert torch.equal(noise, texture.grain(160))


def lit_from_the_side(strength: float, exposure: float = 0.5, detail: float = 0.0) -> torch.Tensor:
    """The light [1, 1, 256, 256] of a face of one colour, brighter by waves of some 60 pixels, in log light; and by fine detail."""
    x = torch.arange(256) / 256
    fine = torch.randn(256, 256, generator=torch.Generator().manual_seed(6))
    return (exposure * torch.exp(strength * torch.sin(2 * torch.pi * 4 * x) + detail * fine))[None, None]


ALL_SKIN = torch.ones(1, 1, 1, 256, 256)
LINES = 0.1 * torch.randn(1, 1, 1, 32, 32, generator=torch.Generator().manual_seed(5))


def test_contrast_is_of_broad_light_and_not_of_pores_or_exposure() -> None:
    soft, hard = (contrast(lit_from_the_side(strength), ALL_SKIN).item() for strength in (0.1, 0.3))
    assert 0.04 < soft < 0.1
    assert hard == pytest.approx(3 * soft, rel=0.05)
    assert contrast(lit_from_the_side(0.3, 0.25), ALL_SKIN).item() == pytest.approx(hard, rel=0.1)
    assert contrast(lit_from_the_side(0.0, detail=0.1), ALL_SKIN).item() < 0.02


def test_contrast_is_of_skin_alone() -> None:
    light, skin = lit_from_the_side(0.1), ALL_SKIN.clone()
    skin[..., :100, :] = 0.0
    bright, dark = light.clone(), light.clone()
    bright[..., :100, :], dark[..., :100, :] = 1.0, 0.02  # a wall, and hair
    torch.testing.assert_close(contrast(bright, skin), contrast(dark, skin))
    assert contrast(torch.zeros(1, 1, 256, 256), 0 * ALL_SKIN).isfinite().all()


def test_a_beard_is_no_shade() -> None:
    """It is dark in any light, and a network's skin covers it."""
    light = lit_from_the_side(0.1)
    bearded = light.clone()
    bearded[..., 164:, 60:190] *= 0.3
    torch.testing.assert_close(contrast(bearded, ALL_SKIN), contrast(light, ALL_SKIN))


def test_what_is_less_than_half_skin_is_no_shade() -> None:
    """A fringe or a veil of hair."""
    light, skin = lit_from_the_side(0.1), ALL_SKIN.clone()
    skin[..., 240:] = 0.4
    dark = light.clone()
    dark[..., 240:] = 0.02
    assert contrast(dark, skin).item() == pytest.approx(contrast(light, skin).item(), rel=0.3)


def test_lines_get_deeper_in_hard_light_and_stay_in_soft_light() -> None:
    def deeper(strength: float) -> float:
        drawn = shaded(LINES, lit_from_the_side(strength), ALL_SKIN, torch.ones(1, 1))
        factor = (drawn / LINES).flatten()
        torch.testing.assert_close(factor, factor[:1].expand_as(factor), atol=0, rtol=1e-4)
        return float(factor[0])

    assert deeper(0.0) == pytest.approx(1.0)
    assert deeper(0.1) == pytest.approx(1.0)
    assert 1.1 < deeper(0.2) < deeper(0.25) < texture._DEEPER
    assert deeper(0.9) == pytest.approx(texture._DEEPER)


def test_lines_are_as_blurred_as_the_picture() -> None:
    """Broad ones stay as they were, a little deeper, and a half blurred picture gets half of each."""
    sharp, half, soft = (
        shaded(LINES, lit_from_the_side(0.0), ALL_SKIN, torch.full((1, 1), s)) for s in (1.0, 0.5, 0.0)
    )
    # As a Gaussian of two texels would: a line of one texel is left 0.2 as deep.
    one = torch.zeros_like(LINES)
    one[..., 17] = -0.1
    faint = shaded(one, lit_from_the_side(0.0), ALL_SKIN, torch.zeros(1, 1))
    assert 0.17 < faint.min() / (-0.1 * texture._BLURRED_DEEPER) < 0.25
    torch.testing.assert_close(faint.sum(), texture._BLURRED_DEEPER * one.sum())
    torch.testing.assert_close(half, (sharp + soft) / 2)
    broad = torch.full_like(LINES, -0.1)
    drawn = shaded(broad, lit_from_the_side(0.0), ALL_SKIN, torch.zeros(1, 1))
    torch.testing.assert_close(drawn, texture._BLURRED_DEEPER * broad)


def test_each_face_and_age_has_its_own_light() -> None:
    light = torch.cat([lit_from_the_side(0.3), lit_from_the_side(0.05)])
    skin = torch.ones(2, 3, 1, 256, 256)
    skin[0, 1, :, :128] = 0
    lines, sharp = LINES.expand(2, 3, -1, -1, -1), torch.tensor([[1.0], [0.3]])
    together = shaded(lines, light, skin, sharp)
    for n in range(2):
        for g in range(3):
            alone = shaded(lines[n : n + 1, g : g + 1], light[n : n + 1], skin[n : n + 1, g : g + 1], sharp[n : n + 1])
            torch.testing.assert_close(together[n : n + 1, g : g + 1], alone)
