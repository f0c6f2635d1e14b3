"""Skin whose finest detail gets stronger."""

import numpy as np
import torch

from training import texture
from training.edits import luma
from training.texture import Texture

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
    assert (gained - (1 + texture.AMOUNT)).abs().max() < 0.12
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


def test_grey_pictures_stay_grey():
    grey = luma(skin_of(2)).expand(1, 3, SIDE, SIDE)
    made = roughened(grey)
    torch.testing.assert_close(made[:, 0], made[:, 2], atol=1e-5, rtol=0)
