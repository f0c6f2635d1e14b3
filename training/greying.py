"""Hair that greys by its own strands: what is worked out from the picture, not learnt.

A network says where hair greys as it says everything: as a mean of what might be. So an edge of hair is a haze, and grey
over black hair, which shows no strands, is a veil. Both are mended here, by the picture's own colours and directions.

- *Hairline*: beside skin, how much of a pixel is hair follows from its colour, which lies between the hair's and the skin's nearby (the
  compositing equation of Levin et al. 2008's matting): what is skin loses the grey that spreads over it.
- *Brows* keep most of their darkness and some of their colour, which is the skin's between their hairs; red ones lose what skin has not.
- *Beards* keep half of their darkness and some of their colour: light that is laid over them is a smoke. They are told by their place alone, so
  hair that hangs beside a chin counts as one.
- *Contrast*: light that is added takes contrast from dark hair, which looks like a veil; its own strands get up to 1.7 times as strong.
- *Strands*: where hair gets lighter, white hairs lie along the hair that is there. Their texture is noise, streaked in
  ``DIRECTIONS`` directions; the structure tensor (Bigün & Granlund 1987) of the picture chooses among them. Hair without one direction, tight curls,
  gets specks. A blurred picture gets none.

Nothing here has weights: the same picture always gets the same strands, which move with the face.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import canonical
from .blotches import evened
from .edits import LUMA, luma

#: Directions of streaks.
DIRECTIONS = 8
#: Light of strands, standard deviation in [0, 1] where hair is all grey; and of specks, of that.
AMOUNT, SPECKS = 0.05, 0.5
#: Length and width (sigma) of a streak, its distance from its neighbours, and the same of a speck, pixels of the face's view.
_LENGTH, _WIDTH, _APART = 11.0, 0.6, 3.5
_SPECK, _SPECKS_APART = 0.6, 1.6
#: White hairs are fewer than dark ones: noise below this (in standard deviations) is dark. And none is whiter than all others:
#: alone in dark hair it looks like a scratch.
_FEW, _WHITEST = 0.6, 2.2
#: Hair gets all its strands where it gets lighter by this.
LIGHTER = 0.10
#: Light of hair that shows its own strands, and of hair that shows few.
_SHOWS = (0.42, 0.20)
#: How much stronger hair's own detail gets where it is as grey as the face's greyest hair, and that half grey or more; and the light of hair
#: that gets none of that and of hair that gets all.
#: Viewers chose it so (78 % of 40 people); with 1.1 hair looks like wire (39 %).
CONTRAST, _VEILED = 0.7, (0.65, 0.40)
#: The variance of light in a block from which hair gets none either, and up to which it gets all: of 79 val people's hair the standard
#: deviation is 0.02 to 0.09, and those who lost by more contrast had 0.05 and more.
_CONTRASTS = (0.0060, 0.0016)
#: Light of hair that is all grey, and how much of what it would get lighter than this (and than it was) is spared: all of it would be flat.
LIGHTEST, _SPARED = 0.72, 0.5
#: Sigma of the structure tensor's window, pixels of half the side; gradients, in light per pixel, that are noise.
_WINDOW, _NOISE = 2.0, 0.004
#: Coherence of directions below which hair has none, and above which it has one.
_CURLED, _STRAIGHT = 0.25, 0.6
#: Ratio of the finest detail to coarser detail, squared, of a picture that is too blurred to show a hair, and of one that shows all.
_BLURRED, _SHARP = 0.25, 0.49
#: Sigma of the windows in which the colours of hair and of skin are taken, pixels of a quarter of the side.
_NEARBY = 2.5
#: Squared distance of two colours in [0, 1] that tells them apart, and the noise of colour on the way between them.
_TOLD, _NOISE_OF_COLOUR = 0.01, 0.003
#: Share of the way from skin to hair from which a pixel is hair in part, and what of the way from there it is all hair.
_PART, _ALL = 0.35, 0.5
#: Rows of a face's view, of its side from above, between which brows are, and how soon. Other holes in skin are eyes, mouths and jewels.
_HIGHEST, _LIDS, _TO_BROWS = 0.39, 0.506, 0.022
#: A brow begins to lose its colour where it is more ``yellow`` than skin by the first, brown ones a little. The share of its yellow beyond
#: that, times the second, is how much it loses.
_RED, _ALL_RED = 0.08, 1.8
#: Hair has a red rim that a network takes for skin where it is more yellow than skin by ``_RED``, and by this more in full.
_RIM = 0.1
#: Of the grey of holes in skin, beards too, what is left out: skin shows between their hairs, and without its colour they look blue. And of brows' light:
#: where brows are a network is sure of a mean, which looks like a smudge. Viewers chose them so (75 % of 40 people); all dark, they look dyed (28 %).
_BROWS, _BROWS_LIGHT = 0.2, 0.6
#: The same of beards, whose light is a smoke that hides their hairs: two viewers chose it so of 47 bearded people of the train split (76 % [66, 85]; with
#: a quarter of the light over that 62 %), four hardly of 10 of the test split (55 %). And where they are, of a face's view's side: below this row, and within so much of its middle; and how soon.
_BEARDS, _BEARDS_LIGHT = 0.3, 0.5
_BEARD_ROW, _BEARD_HALF, _TO_BEARD = 0.56, 0.24, (0.03, 0.05)
#: Side of a block, pixels of the view, in which is worked out where hair is dark and how much lighter it gets.
_BLOCK = 8


def streaks(side: int, seed: int = 3) -> Tensor:
    """Noise of mean 0 and variance 1 streaked in each direction, and specks: [DIRECTIONS + 1, side, side], without seams."""
    random = np.random.default_rng(seed)
    frequency = np.fft.fftfreq(side)
    fy, fx = np.meshgrid(frequency, frequency, indexing="ij")

    def kept(sigma: float, f: np.ndarray) -> np.ndarray:
        return np.exp(-2 * (np.pi * sigma * f) ** 2)

    white = np.fft.fft2(random.standard_normal((side, side)))
    bands = []
    for angle in np.pi * np.arange(DIRECTIONS) / DIRECTIONS:
        along, across = fx * np.cos(angle) + fy * np.sin(angle), fy * np.cos(angle) - fx * np.sin(angle)
        bands.append(kept(_LENGTH, along) * kept(_WIDTH, across) * (1 - kept(_APART, across)))
    radius = np.hypot(fx, fy)
    bands.append(kept(_SPECK, radius) * (1 - kept(_SPECKS_APART, radius)))
    noise = np.stack([np.fft.ifft2(white * band).real for band in bands])
    noise /= noise.std((1, 2), keepdims=True)
    noise = noise.clip(_FEW, _WHITEST)
    noise -= noise.mean((1, 2), keepdims=True)
    noise /= noise.std((1, 2), keepdims=True)
    # In the steps of int8 in which an exported file has them (``export.store_textures``).
    step = abs(noise).max((1, 2), keepdims=True) / 127
    return torch.from_numpy((np.rint(noise / step) * step).astype(np.float32))


def gaussian(side: int, sigma: float) -> Tensor:
    """[side, side]: means weighted by a Gaussian."""
    at = torch.arange(side)
    weight = torch.exp(-0.5 * ((at[:, None] - at) / sigma) ** 2)
    return weight / weight.sum(1, keepdim=True)


def enlarged(side: int, to: int) -> Tensor:
    """[to, side]: bilinear reading of maps at a larger side, half-pixel centres, border replicated."""
    return canonical.hat(torch.tensor(0.0), torch.tensor(1.0), to, side)


def across(reader: Tensor, maps: Tensor) -> Tensor:
    """Maps [..., h, h] read along both axes by a matrix [k, h]: [..., k, k].

    Products of small matrices, which every device is quick at; a mean over windows of one channel is slow on most.
    """
    return reader @ maps @ reader.mT


def blocks(maps: Tensor, step: int = 1) -> Tensor:
    """Means over blocks of maps [N, G, h, h], whose pixels are ``step`` of the view's: [N, G, S / _BLOCK, S / _BLOCK]."""
    return F.avg_pool2d(maps, _BLOCK // step)


def yellow(colour: Tensor) -> Tensor:
    """How much more green than blue a colour [N, G, 3, h, w] in [0, 1] has, as a share of its light: [N, G, 1, h, w]. Red hair has most."""
    red, green, blue = colour.split(1, 2)
    return (green - blue) / (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue + 0.03)


def kept_light(light: Tensor, edits: Tensor, skin: Tensor, most: Tensor) -> Tensor:
    """Edits that darken what is no skin by ``most`` [N, G, 1, 1] light at most.

    Args:
        light: [N, 1, S, S] in [0, 1]. edits: residual and gain [N, G, 4, S, S]. skin: [N, G, 1, S, S].

    Returns: residual and gain of the same shape, both less by one factor where they darken more.
    """
    residual, gain = edits.split((3, 1), 2)
    darker = -(gain[:, :, 0] * light + luma(residual.flatten(0, 1)).unflatten(0, gain.shape[:2])[:, :, 0] / 2)
    share = (most / darker.clamp(min=1e-3)).clamp(max=1.0)[:, :, None]
    return edits * (share + skin * (1 - share))


class Greying(nn.Module):
    """Edits of faces whose hair greys up to its own hairline and along its own strands, and whose skin's blotches get fainter."""

    bank: Tensor
    nearby: Tensor
    brow_rows: Tensor
    beard_rows: Tensor
    beard_columns: Tensor
    large: Tensor
    larger: Tensor
    orient: Tensor
    sobel: Tensor
    means: Tensor
    turns: Tensor
    luma: Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        angles = torch.pi * torch.arange(DIRECTIONS) / DIRECTIONS
        rows = (torch.arange(side) + 0.5) / side
        across_rows = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
        # Of three values, and of five such means: rows, then columns.
        means = torch.tensor([[0.0, 0, 1, 1, 1, 0, 0], [0.2, 0.4, 0.6, 0.6, 0.6, 0.4, 0.2]]) / 3
        for name, value in {
            "bank": F.pixel_unshuffle(streaks(side)[:, None], 2).flatten(1, 2),  # [DIRECTIONS + 1, 4 * S/2, S/2]
            "nearby": gaussian(side // 4, _NEARBY),
            "brow_rows": (torch.minimum(_LIDS - rows, rows - _HIGHEST) / _TO_BROWS).clamp(0, 1)[:, None],
            "beard_rows": ((rows - _BEARD_ROW) / _TO_BEARD[0]).clamp(0, 1)[:, None],
            "beard_columns": ((_BEARD_HALF - (rows - 0.5).abs()) / _TO_BEARD[1]).clamp(0, 1),
            "large": enlarged(side // 4, side),
            "larger": enlarged(side // _BLOCK, side),
            "orient": gaussian(side // 2, _WINDOW),
            "sobel": torch.stack([across_rows, across_rows.T])[:, None] / _NOISE,
            "means": means[:, None, None],
            "turns": torch.stack([torch.cos(2 * angles), torch.sin(2 * angles)])[..., None, None],
            "luma": torch.tensor(LUMA)[:, None, None],
        }.items():
            self.register_buffer(name, value.contiguous(), persistent=False)

    def forward(self, face: Tensor, light: Tensor, face_edit: Tensor, aged: Tensor) -> Tensor:
        """Face edits [N, G, 6, S, S] of views [N, 3, S, S] in [-1, 1], whose light is [N, 1, S, S] in [0, 1] -> the same shape.

        ``aged`` [N, G]: how far skin ages, 0 to 1, as which its blotches get fainter (by the colour of the skin nearby, which the hairline needs, too).
        """
        half = F.avg_pool2d(light, 2)
        residual, gain, grey, skin = face_edit.split((3, 1, 1, 1), 2)
        face = (face + 1) / 2
        share, brows, red, greyest, tint = self.hairline(face, grey, skin)
        # What does not grey is of a face that gets younger: it gets all of its edit.
        greys = (8 * grey).clamp(max=1.0)
        beard = greys * self.beard_rows * self.beard_columns
        lit = share * (1 - _BROWS_LIGHT * self.brow_rows * brows * greys) * (1 - _BEARDS_LIGHT * beard)
        residual, gain = lit * residual + evened(face, light, tint, skin, aged), lit * gain
        grey = torch.maximum(share * (1 - _BROWS * brows) * (1 - _BEARDS * beard) * grey, red)
        lighter = gain[:, :, 0] * light + (residual * self.luma).sum(2) / 2
        # What is as light as grey hair already, as a hairline's skin, a collar or a wall, may be no hair that gets lighter.
        excess = torch.minimum(lighter, light + lighter - LIGHTEST).clamp(min=0) * (6 * grey[:, :, 0]).clamp(max=1.0)
        residual = residual - 2 * _SPARED * excess[:, :, None]
        mean, square = blocks(torch.cat([half, half * half], 1), 2).chunk(2, 1)
        whiter = (blocks(lighter - _SPARED * excess) / LIGHTER).clamp(0, 1)
        few, veiled = (((fair - mean) / (fair - dark)).clamp(0, 1) * whiter for fair, dark in (_SHOWS, _VEILED))
        flat = (_CONTRASTS[0] - square + mean * mean) / (_CONTRASTS[0] - _CONTRASTS[1])
        veiled = veiled * flat.clamp(0, 1)
        # Light and what it is weighed with, enlarged as one: beside a wall a rim would get darker.
        maps = across(self.larger, torch.stack([few, veiled, veiled * mean], 2))
        few, strong, blurred = maps.split(1, 2)
        white = AMOUNT * grey * few * self.strands(light, half, grey[:, :, 0], greyest[:, :, 0])[:, :, None]
        hair = grey / (greyest + 0.05) * (1 - skin)
        hair = CONTRAST * hair * hair * (2 * greyest).clamp(max=1.0)
        strong, blurred = hair * strong, hair * blurred
        # The gain multiplies colour too, which stays as strong as it was.
        grey = grey + (1 - grey) * strong / (1 + gain.clamp(min=-0.9) + strong)
        return torch.cat([residual + 2 * (white - blurred), gain + strong, grey, skin], 2)

    def brows(self, skin: Tensor) -> Tensor:
        """Where brows are, holes in skin that a closing fills: maps [N, G, S/4, S/4], both."""
        closed = -F.max_pool2d(-F.max_pool2d(skin, 9, 1, 4), 9, 1, 4)
        return (3 * (closed - skin)).clamp(0, 1)

    def hairline(self, face: Tensor, grey: Tensor, skin: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """How much of its edit a pixel gets, where brows are, and how grey red ones and red rims of hair get, each [N, G, 1, S, S].

        And the most grey [N, G, 1, 1, 1], and the tint of the skin nearby, its red and its blue less its light, [N, G, 2, S, S].

        A pixel gets all of its edit but between hair and skin, where it gets as much as it is hair. Brows are left out of that, as
        skin shows between their hairs; red ones are what a network misses. What does not grey is not touched.

        Args:
            face: [N, 3, S, S] in [0, 1]. grey, skin: [N, G, 1, S, S].
        """
        colour = F.avg_pool2d(face, 4)[:, None]
        maps = torch.cat([grey, skin], 2).flatten(0, 1)
        q, s = F.avg_pool2d(maps, 4).unflatten(0, grey.shape[:2]).split(1, 2)
        brows = self.brows(s[:, :, 0])[:, :, None]
        # What is as grey as the most is hair, and no skin.
        greyest = q.amax((3, 4), keepdim=True)
        hair = q / (greyest + 0.05) * (1 - s)
        hair, s = hair * hair, s * s
        means = across(self.nearby, torch.cat([hair, s, hair * q, hair * colour, s * colour], 2))
        hair, s, most, of_hair, of_skin = means.split((1, 1, 1, 3, 3), 2)
        most, of_hair, of_skin = most / (hair + 1e-3), of_hair / (hair + 1e-3), of_skin / (s + 1e-3)
        way = of_hair - of_skin
        apart = (way * way).sum(2, keepdim=True)
        way = way / (apart + _NOISE_OF_COLOUR)
        # Both have to be near, and unlike.
        both = hair + s + 1e-3
        near = (6 * hair / both).clamp(max=1.0) * (4 * s / both).clamp(max=1.0) * (4 * both).clamp(max=1.0)
        more = yellow(colour) - yellow(of_skin).clamp(min=0.0) - _RED
        red = greyest * (_ALL_RED * more / yellow(colour).clamp(min=0.1)).clamp(0, 1)
        # Beside hair that is more yellow than skin itself, brown hair too: by black hair what is yellow is a wall, an earring or a leaf.
        rim = ((yellow(of_hair) - yellow(of_skin).clamp(min=0.0) - _RED) / _RIM).clamp(0, 1)
        near = near * (6 * most).clamp(max=1.0) * apart / (apart + _TOLD)
        # A pixel lies at a hairline or in a brow: one map says both, which takes an engine less memory.
        maps = torch.cat(
            [
                way,
                (of_skin * way).sum(2, keepdim=True),
                most,
                near * (1 - brows) - brows,
                torch.maximum(brows * self.brow_rows[2::4], near * rim) * red,
                of_skin[:, :, ::2] - (of_skin * self.luma).sum(2, keepdim=True),
            ],
            2,
        )
        way, start, most, which, red, tint = across(self.large, maps).split((3, 1, 1, 1, 1, 2), 2)
        come = (face[:, None] * way).sum(2, keepdim=True) - start
        wanted = most * ((come - _PART) / _ALL).clamp(0, 1)
        near, brows = which.clamp(min=0), (-which).clamp(min=0)
        return 1 + near * (((wanted + 0.01) / (grey + 0.01)).clamp(max=1.0) - 1), brows, red, greyest, tint

    def strands(self, light: Tensor, half: Tensor, grey: Tensor, most: Tensor) -> Tensor:
        """Light of white hairs along the picture's own directions, [N, G, S, S], of variance 1 in straight hair of a sharp picture.

        Args:
            light: [N, 1, S, S] in [0, 1]; half: the same at S/2. grey: [N, G, S, S]; most: about the most of it, [N, G, 1, 1].
        """
        # What is seen well inside hair: its outline, far steeper than its strands, has a direction of its own.
        inside = F.avg_pool2d(grey, 2)
        inside = (inside / (most + 0.05)).clamp(max=1.0)
        inside = inside * inside
        gx, gy = F.conv2d(half, self.sobel, padding=1).chunk(2, 1)
        # The double angle along the strands, which lie across the gradient; and the gradients' energy.
        tensor = torch.stack([gy * gy - gx * gx, -2 * gx * gy, gx * gx + gy * gy], 2)
        tensor = across(self.orient, tensor * (inside * inside)[:, :, None]).flatten(0, 1)  # [N * G, 3, S/2, S/2]
        direction = tensor[:, :2] / (tensor[:, 2:] + 1)
        coherence = torch.sqrt((direction * direction).sum(1, keepdim=True) + 1e-6)
        straight = ((coherence - _CURLED) / (_STRAIGHT - _CURLED)).clamp(0, 1)
        along, off = direction.split(1, 1)
        weight = F.relu(along * self.turns[0] + off * self.turns[1] + 0.05)
        weight = weight * weight
        weight = straight * weight * torch.rsqrt((weight * weight).sum(1, keepdim=True) + 1e-6)
        weight = torch.cat([weight, SPECKS * (1 - straight)], 1)  # [N * G, DIRECTIONS + 1, S/2, S/2]
        bank = self.bank.unflatten(1, (4, -1))  # the pixels of each 2 x 2 block
        # One after the other, which an engine does in one kernel: as one product they need nine times the memory.
        white = weight[:, :1] * bank[0]
        for k in range(1, len(bank)):
            white = white + weight[:, k : k + 1] * bank[k]
        white = F.pixel_shuffle(white, 2)
        return white.unflatten(0, grey.shape[:2])[:, :, 0] * self.sharpness(light)

    def sharpness(self, light: Tensor) -> Tensor:
        """1 of a sharp view, 0 of one whose finest detail is far weaker than the next coarser one, [N, 1, 1, 1]."""
        means = F.conv2d(F.conv2d(light, self.means, stride=(1, 2)), self.means.mT, stride=(2, 1), groups=2)
        detail = torch.cat([light[..., 3:-3:2, 3:-3:2], means[:, :1]], 1) - means
        finest, next_one = (detail * detail).mean((2, 3), keepdim=True).chunk(2, 1)
        return ((finest / (next_one + 1e-6) - _BLURRED) / (_SHARP - _BLURRED)).clamp(0, 1)
