"""What skin shows beside what a network learns: its finest detail, and lines as the picture would show them.

From 20 to 60 the finest detail of real skin gains 80 % (men) and 130 % (women) in contrast (``targets.signs``): pores, small lines, spots of
light. ``v + g (v - blur(v))`` is a gain with a residual, so the frame's own pixels say what is drawn, at the frame's own resolution. A
network learnt that as blotches; here the blur is the view's own. Lines that are drawn (``lines``) get as much deeper: the gain
comes after them.

Skin without lines has hardly any such detail, and lines on it look drawn; and where a network takes lines away it takes pores with them, which
looks like wax. There skin gets a grain: noise in mesh space, so that it moves with the skin.

Lines are drawn as the picture's light and lens would show them (``shaded``).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .edits import luma

#: What the finest detail gains on fully aged skin: less than what is measured. With 0.95 viewers found skin over-sharpened.
AMOUNT = 0.55
#: Sigma of the blur, and its reach, pixels of the face's view.
_SIGMA, _REACH = 1.43, 3
#: Detail is what differs from the blur by less than this share of it; twice as much is a feature or a spot, which stays as it is.
_DETAIL = 0.06
#: Detail of colour in the middle of a face, as a share of its light, up to which it is skin's and from which on it is a sensor's noise, which
#: would be seen on skin alone: of 294 faces the median is 0.006, 97 % are below, and 0.020 with noise of 4 levels in good light.
_SKIN, _NOISE = 0.016, 0.026
#: Grain of a face that is as old as can be, or young again, standard deviation of log light; the finest and the coarsest sigma, texels (a finer one shows the texels'
#: own grid as rows of dots); and how much darker pores are than what is between them is light. Viewers chose such grain at 70 on people under
#: 45 and at 30 on people over 42 (docs/training.md has what they were asked). Twice as strong it looks like noise, and coarser and uneven like pocks.
GRAIN, _FINEST, _COARSEST, _PORES = 0.023, 0.65, 1.9, 1.3 / 0.6
#: Part of a texture's side within which grain fades out at its borders.
_FADES = 0.05
#: Contrast of broad light and shade on skin, in log light, of a face in soft light; beyond it lines are drawn deeper in proportion, up to so much.
#: In 457 faces of 20 to 62 years the contrast of detail of 1 to 3 pixels of 384 rises with about its power of 0.6 to 0.9, in 43 older ones of 1.2.
_SOFT_LIGHT, _DEEPER = 0.112, 1.7
#: Part of a view's rows, from above, where they are looked at, down to below the nose: a beard, which networks take for skin, is dark in any light.
_BEARDLESS = 10 / 16
#: Side of the blocks of the view whose light is compared with that of so many blocks by so many; and added to light before its logarithm.
_BROAD, _BROADEST, _DARK = 16, 5, 0.04
#: Side of a block of texels as whose mean lines are drawn in a picture that is too blurred to show a hair, which blurs them by a sigma of two texels,
#: and how much deeper they are drawn for it.
_COARSE, _BLURRED_DEEPER = 4, 1.15


class Texture(nn.Module):
    """Residual and gain of skin with stronger detail."""

    blur: Tensor

    def __init__(self) -> None:
        super().__init__()
        at = torch.arange(-_REACH, _REACH + 1)
        weight = torch.exp(-0.5 * (at / _SIGMA) ** 2)
        weight = weight / weight.sum()
        # Rows, then columns: as one it takes a CPU three times as long.
        self.register_buffer("blur", weight.repeat(3, 1, 1, 1), persistent=False)

    def forward(self, face: Tensor, light: Tensor, skin: Tensor, aged: Tensor) -> Tensor:
        """Residual and gain [N, G, 4, S, S].

        Args:
            face: [N, 3, S, S] in [-1, 1]. light: its luma in [0, 1], [N, 1, S, S]. skin: in [0, 1], [N, G, 1, S, S].
            aged: how far skin ages, 0 to 1, [N, G].
        """
        blurred = F.conv2d(face, self.blur, padding=(0, _REACH), groups=3)
        blurred = F.conv2d(blurred, self.blur.mT, padding=(_REACH, 0), groups=3)
        mean = (luma(blurred) + 1) / 2
        spots = ((light - mean).abs() / (_DETAIL * mean + 1e-3) - 1).clamp(0, 1)
        detail = (1 - spots) * torch.cat([-1 - blurred, torch.ones_like(light)], 1)
        middle = slice(face.shape[-1] * 3 // 8, face.shape[-1] * 5 // 8)
        aged = aged * (1 - self.noise(face[..., middle, middle], blurred[..., middle, middle]))
        return (AMOUNT * aged)[..., None, None, None] * skin * detail[:, None]

    def noise(self, face: Tensor, blurred: Tensor) -> Tensor:
        """0 of a picture without noise, 1 of one with so much that nothing is to be made stronger, [N, 1]."""
        detail = face - blurred
        colour = ((detail - luma(detail)).abs() / (luma(blurred) + 1.04)).mean((1, 2, 3))
        return ((colour - _SKIN) / (_NOISE - _SKIN)).clamp(0, 1)[:, None]


def shaded(lines: Tensor, light: Tensor, skin: Tensor, sharp: Tensor) -> Tensor:
    """Lines as a picture's light and lens show them, log light [N, G, 1, A, A].

    Hard light draws a fold deeper than soft light, as it draws the whole face: drawn alike, lines look flat in it.
    And lines that are sharper than the picture look like ink.

    Args:
        lines: as deep and as sharp as in any picture, of the same shape, A a multiple of 4. light: [N, 1, S, S] in [0, 1]. skin: in [0, 1], [N, G, 1, S, S].
        sharp: 1 of a sharp view, 0 of a blurred one, [N, 1].
    """
    deeper = (contrast(light, skin) / _SOFT_LIGHT).clamp(1.0, _DEEPER)[..., None, None, None]
    coarse = F.avg_pool2d(lines[:, :, 0], _COARSE)
    blurred = _BLURRED_DEEPER * F.interpolate(coarse, scale_factor=float(_COARSE), mode="bilinear")[:, :, None]
    return deeper * (blurred + sharp[..., None, None, None] * (lines - blurred))


def contrast(light: Tensor, skin: Tensor) -> Tensor:
    """Standard deviation of broad light and shade on skin above the mouth, [N, G], in log light; arguments as of ``shaded``."""
    rows = slice(int(_BEARDLESS * skin.shape[-1]))
    light, skin = light[..., rows, :], skin[..., rows, :]
    skin = F.avg_pool2d(skin.flatten(0, 1), 4).unflatten(0, skin.shape[:2])
    lit = skin * F.avg_pool2d(light, 4)[:, None]
    maps = F.avg_pool2d(torch.cat([skin, lit], 2).flatten(0, 1), _BROAD // 4)
    wide = F.avg_pool2d(maps, _BROADEST, 1, _BROADEST // 2)
    (near, lit), (far, faint) = (m.unflatten(0, skin.shape[:2]).split(1, 2) for m in (maps, wide))
    shade = torch.log((lit + _DARK * near + 1e-4) / (faint + _DARK * far + 1e-4) * (far + 1e-4) / (near + 1e-4))
    inside = (2 * near - 1).clamp(min=0)
    return torch.sqrt((inside * shade * shade).sum((2, 3, 4)) / (inside.sum((2, 3, 4)) + 0.1) + 1e-6)


class Grain(nn.Module):
    """Grain of skin in mesh space: the same for all faces, on which it lies under different lines."""

    tile: Tensor
    fade: Tensor

    def __init__(self, side: int) -> None:
        """``side``: A of textures [A, A]. Raises ValueError: no multiple of 4, which ``shaded`` needs too."""
        super().__init__()
        if side % _COARSE:
            raise ValueError(f"side: expected a multiple of {_COARSE} texels, got {side}")
        at = (torch.arange(side) + 0.5) / side
        fade = (torch.minimum(at, 1 - at) / _FADES).clamp(max=1.0)
        self.register_buffer("tile", grain(side // 2), persistent=False)  # drawn four times
        self.register_buffer("fade", fade, persistent=False)

    def forward(self, amount: Tensor) -> Tensor:
        """Log light [N, G, 1, A, A] of amounts [N, G], 1 of a face that is as old as can be."""
        return (GRAIN * amount)[..., None, None, None] * (self.fade * self.tile.repeat(2, 2) * self.fade[:, None])


def grain(side: int, seed: int = 7) -> Tensor:
    """Noise [side, side] that repeats without a seam, of mean 0 and variance 1."""
    frequency = np.fft.fftfreq(side)
    square = frequency[:, None] ** 2 + frequency**2
    fine, coarse = (np.exp(-2 * np.pi**2 * sigma**2 * square) for sigma in (_FINEST, _COARSEST))
    white = np.random.default_rng(seed).standard_normal((side, side))
    noise = np.fft.ifft2(np.fft.fft2(white) * (fine - coarse)).real
    noise = np.where(noise < 0, _PORES, 1.0) * noise
    return torch.from_numpy(((noise - noise.mean()) / noise.std()).astype(np.float32))
