"""Hair, brows and beards that turn grey, and grey hair that turns dark again, as maps that stay crisp at any resolution.

What hair should look like is made with a matte. What is kept is not that picture but, at each place, the straight line from the
picture's light to the wanted light that fits best round it (the local linear model of He et al. 2010's guided filter, and of
Levin et al. 2008's matting). Inside hair its slope is the strands' contrast. At an edge the line goes through "hair becomes
grey" and "what is beside it stays": there the frame's own pixels say what is hair, however coarse the maps are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import beard, masks
from .subject import LEFT_BROW, LUMA, RIGHT_BROW, Floats, Mask, Subject

#: Colour of grey hair for a luma of 1, a little warm, women's more: so it is in the packs, where many dye theirs. Ours, by looking.
TINT = {"F": np.array((1.045, 0.983, 0.93), np.float32), "M": np.array((1.033, 0.988, 0.945), np.float32)}
#: The same of brows and beards.
FACIAL_TINT = np.array((1.075, 0.985, 0.88), np.float32)
#: Hair that is young again: its light on average, its colour for a luma of 1, and the same of dark skin's. As faces under 36 have
#: it in the packs (light 0.16 and 0.12), a little redder, for not all of the grey goes.
YOUNG_LIGHT, YOUNG_TINT = 0.165, np.array((1.24, 0.94, 0.72), np.float32)
DARK_LIGHT, DARK_TINT = 0.12, np.array((1.05, 0.985, 0.955), np.float32)
#: What is lighter than this stays so by a part: white hair as dark as most people's has white rims, wherever a matte misses some.
_NOT_SO_LIGHT, LIGHTER = 0.25, 0.3
#: The same of beards, whose light is added to a part of their own.
BEARD_LIGHT, BEARD_TINT = 0.13, np.array((1.25, 0.93, 0.72), np.float32)
#: How far its shading varies, in units of its light: young heads' 0.5, less what grey strands leave of it. Where hair was grey in
#: parts these are not its shades: an exponent. Contrast of its strands.
YOUNG_SHADING, MIXED_SHADING, YOUNG_STRANDS = 0.35, 0.55, 0.037
#: Light of hair that is all grey, on average: black hair's, what each unit of light that it had adds, and the most. Black hair
#: shows few strands: lighter than this it is a veil.
GREY_LIGHT, OWN_LIGHT, MOST_LIGHT = 0.22, 1.2, 0.66
#: Exponent of grey hair's shading, in units of what it was: between its locks it stays dark. Contrast of its strands (RMS of
#: light, bands below 3 px of SIDE). Ours, by looking, near what hair over 66 has in the packs (strands 0.033 to 0.046; light 0.09
#: to 0.6 in one head).
SHADING, STRANDS = 1.2, 0.050
#: How much more contrast strands of dark hair get at most, and how steep a line may be: more would be a photograph's noise.
_MOST_STRANDS, _STEEPEST = 7.0, 6.0
#: How much of grey hair turns dark when it is young again: in full, what a network takes for fair or misses is seen as a patch.
HOW_DARK = 0.9
#: How far brows and beard grey, of what the hair does.
BROWS_GREY, BEARD_GREY = 0.75, 0.95
#: A beard's hair is darker than bare skin by the second share of its light; what is darker by no more than the first is skin.
_BRISTLES_DARKER = (0.08, 0.38)
#: Tags of hair that an eye saw to be grey nearly all over or in parts: colours cannot tell it from fair hair.
GREY = frozenset({"grey", "greying"})
#: Sigma of the windows in which a line is fitted, and the noise of light that it does not follow, squared.
_WINDOW, _NOISE = 3.0, 2.5e-4


@dataclass
class Hair:
    """What hair turns into at full strength, [SIDE, SIDE].

    Attributes:
        matte: how much of the colour goes. gain: slope of the light, less 1. residual: [SIDE, SIDE, 3], in units of [0, 1].
    """

    matte: Floats
    gain: Floats
    residual: Floats


def slope_of(light: Floats, wanted: Floats, mean: Callable[[Floats], Floats], noise: float) -> Floats:
    """Slope of the line from ``light`` to ``wanted`` that fits best round each pixel, where ``mean`` is over what is round it.

    Light that varies by less than ``noise`` (squared) has a slope of 1.
    """
    x, y = mean(light), mean(wanted)
    return masks.blur((mean(light * wanted) - x * y + noise) / (mean(light * light) - x * x + noise), 1.0)


def lines(light: Floats, wanted: Floats, matte: Floats) -> tuple[Floats, Floats]:
    """Slope and offset [SIDE, SIDE] of the line from ``light`` to ``wanted`` that fits best round each pixel.

    What the matte is not sure of counts little: a matte that is wrong by two pixels gives the same line.
    """
    sure = (2 * masks.blur(matte, 2.0) - 1) ** 4 + 0.01
    total = masks.blur(sure, _WINDOW)

    def mean(values: Floats) -> Floats:
        return masks.blur(sure * values, _WINDOW) / total

    x, y = mean(light), mean(wanted)
    slope = slope_of(light, wanted, mean, _NOISE)
    # No line that rises goes through hair that gets lighter than what is beside it: there the matte says where hair ends.
    rises = ((slope - 0.10) / 0.25).clip(0, 1)
    slope = slope.clip(0.05, _STEEPEST)
    offset = masks.blur(y - slope * x, 0.7)
    return 1 + rises * (slope - 1), rises * offset + (1 - rises) * (wanted - light)


def turned(subject: Subject, matte: Floats, wanted: Floats, tint: Floats, *, by_grey: bool = True) -> Hair:
    """Hair that has the light ``wanted`` [SIDE, SIDE] and the colour of ``tint`` ([3] or for each pixel) where the matte is 1.

    Args:
        by_grey: its own colour goes by the matte, crisp; else by the residual. A network gives some grey to hair of which it is not sure.
    """
    light = subject.image @ LUMA
    there = light + matte * (wanted - light)
    slope, offset = lines(light, there, matte)
    # Colour follows the matte: a picture may have colours on both sides of an edge, and the eye sees them less sharply.
    colour = subject.image - light[..., None]
    left = (matte + slope - 1)[..., None]
    left = np.minimum(0, left) if by_grey else left
    residual = offset[..., None] + (matte * wanted)[..., None] * (tint - (tint @ LUMA)[..., None]) - left * colour
    return Hair(matte if by_grey else 0 * matte, (slope - 1).astype(np.float32), residual.astype(np.float32))


def greyed(subject: Subject, hair: Floats, skin: Mask) -> Hair:
    """The hair of a head, with brows and beard, when it is grey; ``hair``: its matte."""
    light = subject.image @ LUMA
    wanted, matte = light.copy(), np.zeros_like(light)
    core = masks.shrink(hair > 0.7, 1)
    if core.sum() > 200:
        near = masks.masked_blur(light, core, 3.0)
        middle = float(np.median(near[core]))
        shade = ((near + 0.02) / (middle + 0.02)).clip(0.05, 20) ** SHADING
        strands = float(np.clip(STRANDS / (float((light - near)[core].std()) + 1e-3), 1.0, _MOST_STRANDS))
        base = min(GREY_LIGHT + OWN_LIGHT * middle, MOST_LIGHT)
        wanted = base * shade.clip(0.3, 1.5) + (strands * (light - near)).clip(-0.25, 0.25)
        wanted = np.clip(wanted, 0.04, 0.93)
        # Strands stand out inside hair. At its edge a pixel changes by its share of what the hair beside it changes, or what is
        # half skin would be lighter than both.
        inside, edge = masks.shrink(core, 6), 1 - masks.soft(masks.shrink(core, 6), 2.5)
        share = _share(light, hair, inside, middle)
        change = _beside(wanted - light, inside, base - middle)
        wanted = light + (1 - edge) * (wanted - light) + edge * change
        matte = hair * (1 + edge * (share - 1))
    brows, bristles = facial_hair(subject, skin)
    # Brows get no brighter than the skin round them, or dark skin gets white ones; a beard may a little. Both stay rough.
    around = masks.masked_blur(light, skin, 12.0)
    # Between the hairs of a thin beard lies skin, which greyed is a pale smear.
    bare = masks.masked_blur(light, skin & (bristles < 0.2), 24.0)
    none, all_hair = _BRISTLES_DARKER
    bristles = bristles * ((1 - masks.blur(light, 0.7) / (bare + 1e-3) - none) / (all_hair - none)).clip(0, 1)
    tint = TINT["F" if subject.photo.gender == "F" else "M"]
    for part, share, lift, slope, contrast, highest, floor in (
        (brows, BROWS_GREY, 0.22, 0.60, 1.25, 0.95, 0.0),
        (bristles, BEARD_GREY, 0.38, 0.80, 1.80, 1.12, 0.45),
    ):
        near = masks.masked_blur(light, part > 0.2, 3.0)
        inside = masks.shrink(part > 0.5, 3)
        if floor and inside.any():  # a black beard shows few of its hairs
            contrast = float(np.clip(STRANDS / (float((light - near)[inside].std()) + 1e-3), contrast, _MOST_STRANDS))
        detail = (contrast * (light - near)).clip(-0.2, 0.25)
        own = np.minimum(lift + slope * near, np.maximum(highest * around, floor)) + detail
        wanted = np.where(part > matte, np.maximum(own, 0.8 * light), wanted)
        matte = np.maximum(matte, share * part)
    # Beside skin, what is as neutral as hair looks blue.
    tint = tint + np.maximum(brows, bristles)[..., None] * (FACIAL_TINT - tint)
    return turned(subject, matte.astype(np.float32), wanted.astype(np.float32), tint)


def _beside(values: Floats, part: Mask, usual: float) -> Floats:
    """Mean of values over a part of the picture, close by; ``usual`` where none of it is close: beside a thin strand."""
    near = (masks.blur(part, 4.0) / 0.05).clip(0, 1)
    return near * masks.masked_blur(values, part, 4.0) + (1 - near) * usual


def _share(light: Floats, hair: Floats, inside: Mask, middle: float) -> Floats:
    """How much of each pixel near hair's edge is hair, [SIDE, SIDE]: where its light lies between hair's and what is beside it."""
    outside = ~masks.grow(hair > 0.3, 2)
    inner, outer = _beside(light, inside, middle), masks.masked_blur(light, outside, 4.0)
    between = (outer - light) / np.where(abs(outer - inner) < 1e-3, 1e-3, outer - inner)
    # Of one light with what is beside it, hair has no edge that light could tell.
    told = ((abs(outer - inner) - 0.05) / 0.10).clip(0, 1) * (masks.blur(outside, 4.0) > 0.02)
    return (1 + told * (between.clip(0, 1) - 1)).astype(np.float32)


def facial_hair(subject: Subject, skin: Mask) -> tuple[Floats, Floats]:
    """Soft masks of brows and beard [SIDE, SIDE]."""
    colour = subject.lab
    bright, _, yellow = np.median(colour[skin], 0) if skin.any() else (60.0, 0.0, 99.0)
    smooth = masks.blur(colour, 0.8)
    dark = 1 / (1 + np.exp(-(bright - 13 - smooth[..., 0]) / 3.5))
    red = 1 / (1 + np.exp(-(smooth[..., 2] - yellow - 5) / 1.5))  # a red brow may be as light as the skin
    around = masks.soft(masks.feature(subject, LEFT_BROW, 4) | masks.feature(subject, RIGHT_BROW, 4), 2.0)
    return (around * np.maximum(dark, red)).astype(np.float32), beard.found(subject, skin)


def dark_again(subject: Subject, hair: Floats, skin: Mask) -> Hair:
    """Grey hair, and a beard with it, that are young again; nothing gets lighter, and nothing changes where none was seen to be grey."""
    light = subject.image @ LUMA
    wanted, matte = light.copy(), np.zeros_like(light)
    usual, tint = (DARK_LIGHT, DARK_TINT) if "dark" in subject.photo.tags else (YOUNG_LIGHT, YOUNG_TINT)
    core = masks.shrink(hair > 0.7, 1)
    if GREY & subject.photo.tags and core.sum() > 200:
        near = masks.masked_blur(light, core, 3.0)
        middle = float(np.median(near[core]))
        shading = MIXED_SHADING
        if "grey" in subject.photo.tags:
            shading = np.clip(YOUNG_SHADING * middle / (float(near[core].std()) + 1e-3), 0.7, 2.2)
        # Light grey was brown or fair, dark grey was black.
        tint = DARK_TINT + np.float32(np.clip((middle - 0.12) / 0.12, 0, 1)) * (tint - DARK_TINT)
        shade = ((near + 0.02) / (middle + 0.02)).clip(0.05, 20) ** shading
        strands = min(1.2, YOUNG_STRANDS / (float((light - near)[core].std()) + 1e-3))
        mean = usual + LIGHTER * max(0.0, middle - _NOT_SO_LIGHT)
        wanted = mean * shade.clip(0.3, 2.2) + strands * (light - near)
        matte = HOW_DARK * hair
    if (GREY | {"grey beard"}) & subject.photo.tags and (bristles := beard.found(subject, skin)).any():
        near = masks.masked_blur(light, bristles > 0.2, 3.0)
        own = BEARD_LIGHT + 0.25 * near + 0.8 * (light - near)
        wanted = np.where(bristles > matte, own, wanted)
        matte = np.maximum(matte, HOW_DARK * bristles)
        tint = tint + bristles[..., None] * (BEARD_TINT * (DARK_TINT if usual == DARK_LIGHT else 1) - tint)
    wanted = np.minimum(wanted.clip(0.03, 0.6), light)
    return turned(subject, matte.astype(np.float32), wanted.astype(np.float32), tint, by_grey=False)
