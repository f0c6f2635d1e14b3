"""A subject's edits, older and younger, as maps that a network can learn and the kernels can paste (design section 2).

Maps are kept at full strength, an age of 80 for a face of 20 and all of a face's own age for "younger"; ``at_age`` scales them
by ``curves``. Hair is greyed strand by strand: its own detail is kept and multiplied, its mean moves, its colour goes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from . import ageing, curves, grey, masks, mean_face
from .layers import log_light
from .subject import (
    BELOW_NOSE,
    LEFT_EYE,
    LIPS,
    LUMA,
    MOUTH_OPENING,
    NOSE_TIP,
    RIGHT_EYE,
    SIDE,
    Float64,
    Floats,
    Mask,
    Subject,
)

#: Channels of ``SubjectEdits.maps``: of hair that is all grey, of old skin, and of a young face.
SKIN, MATTE, HAIR_GAIN, HAIR_RED, HAIR_GREEN, HAIR_BLUE = range(6)
GREY, GAIN, RED, GREEN, BLUE = range(6, 11)
YOUNG_GAIN, YOUNG_RED, YOUNG_GREEN, YOUNG_BLUE = range(11, 15)
CHANNELS = 15
#: How much of hair is grey, as an eye saw it.
_HOW_GREY = {"grey": 1.0, "greying": 0.5}
#: Own lines deepen by this in ``ageing.YEARS`` years, on face and neck; skin's detail softens by this when it gets younger. Measured
#: (``signs``), skin's detail gains 80 % (men) to 130 % (women), lines with it. By 42 % here targets looked older, but what networks learn of it is blotches.
DEEPEN, DEEPEN_NECK, SOFTEN = 0.12, 0.55, 0.04
#: When younger: how much of the detail of a neck goes, how much lighter teeth get (L*), and what share of their yellow goes.
_SOFTEN_NECK, _TEETH_LIGHTER, _TEETH_WHITER = 0.45, 5.0, 0.5
#: What the whites of eyes change in ``ageing.YEARS`` years, a* and b*, as measured (``signs``: 4.5 and 4.0 of men, 5.9 and 6.3 of women);
#: Russell et al. (2014) found viewers to read ages from them. Young whites keep this much of both, and lips get redder by this a*.
_WHITES, _YOUNG_WHITES, _LIPS_REDDER = (5.0, 5.0), (3.5, 2.0), 3.5
#: What skin's a* changes in ``ageing.YEARS`` years; measured 2.2 (``signs``), part of which is how people are lit.
_REDDER = 1.0
#: Skin gets lighter by no more than this where nothing is that fades, log light.
_BRIGHTER = 0.06
#: Sigma of the windows in which a line from skin to young skin is fitted, and the noise of light that it does not follow, squared.
_WINDOW, _NOISE = 2.5, 1e-4
#: Of the mean change of colours that was measured, what is drawn: ages are estimates, which makes slopes flatter than they are.
COLOUR, YOUNGER_COLOUR = 0.95, 0.85
#: And of its hues, which are make-up as much as age: in full they turn warm and dark skin grey. Lips lose their own.
HUE, LIP_HUE = 0.2, 0.8
#: Of the change of colours, what highlights are spared.
SHINE = 0.4
#: Smallest and greatest slope of a colour's log over light's that skin's own shades are believed to have.
_SLOPES = (0.6, 1.5)
#: The same of the mean change of shape; what hands add to it (``moves``); and what comes back when a face gets younger.
SHAPE, SHAPE_BY_HAND, YOUNGER_SHAPE = 1.5, 1.0, 1.0
#: Smoothing of the warp. Lips nearly touch: with a hundredth of it, points of one lip that move unlike those of the other notch the teeth.
_STIFF = 1e-4


@dataclass
class SubjectEdits:
    """What is kept of a subject.

    Attributes:
        maps: [CHANNELS, SIDE, SIDE] float32 over the canonical square, where things are in the picture. MATTE is the part of hair's
            colour that goes where all of it is grey; the other three groups are gain and residual of design section 2.
        flow: [GRID, GRID, 2], canonical, from 20 to 80. place: [GRID, GRID, 2].
    """

    maps: Floats
    flow: Floats
    place: Floats


@dataclass
class Edit:
    """An edit at one age, over the canonical square: ``apply`` is ``kernels.region_paste`` with all windows 1.

    Attributes:
        residual: [SIDE, SIDE, 3] in units of [0, 1]. gain, grey, skin: [SIDE, SIDE]. flow: [GRID, GRID, 2].
        depth: how deep the age layers are drawn.
    """

    residual: Floats
    gain: Floats
    grey: Floats
    skin: Floats
    flow: Floats
    depth: float


def at_age(own: SubjectEdits, present: float, wanted: float) -> Edit:
    """The edit of a subject of ``present`` years at ``wanted`` years, where things are in the picture."""
    if wanted >= present:
        flow = curves.older("shape", present, wanted) * own.flow
    else:
        flow = -YOUNGER_SHAPE * curves.younger("shape", present, wanted) * curves.at("shape", present) * own.flow
    m = own.maps
    if wanted < present:
        gone = curves.undone(present, wanted)
        residual = gone * m[YOUNG_RED : YOUNG_BLUE + 1].transpose(1, 2, 0)
        return Edit(residual, gone * m[YOUNG_GAIN], np.zeros_like(m[SKIN]), m[SKIN], flow, 0.0)
    # A hair of the picture is dark or grey; lines and shape are each a part of the way.
    hair, skin = curves.still_to_come("hair", present, wanted), curves.older("skin", present, wanted)
    gain = hair * m[HAIR_GAIN]
    grey = 1 - (1 - hair * m[MATTE]) / (1 + gain)  # the gain multiplies colour too
    residual = (hair * m[HAIR_RED : HAIR_BLUE + 1] + skin * m[RED : BLUE + 1]).transpose(1, 2, 0)
    depth = curves.older("lines", present, wanted)
    return Edit(residual, gain + skin * m[GAIN], (grey + skin * m[GREY]).clip(0, 1), m[SKIN], flow, depth)


def grey_hair(tags: frozenset[str], present: float, wanted: float) -> tuple[float, float]:
    """Fraction of a head's hair that is grey, as it is and as ``at_age`` has it. At one age some are grey, some are not, and some dye it."""
    own = max((fraction for tag, fraction in _HOW_GREY.items() if tag in tags), default=0.0)
    if wanted < present:
        return own, own * (1 - grey.HOW_DARK * curves.undone(present, wanted))
    return own, own + (1 - own) * curves.still_to_come("hair", present, wanted)


def apply(image: Floats, edit: Edit, lines: Floats, place: Floats) -> Floats:
    """The edited picture [SIDE, SIDE, 3]; ``lines`` [A, A] is the subject's texture at full depth."""
    side, light = image.shape[0], image @ LUMA
    lit = image + edit.grey[..., None] * (light[..., None] - image)
    if edit.depth:
        drawn = np.float32(edit.depth) * edit.skin * mean_face.look_up(lines, mean_face.enlarge(place, side))
        lit = lit + (np.expm1(drawn) * light)[..., None]
    edited = ((1 + edit.gain)[..., None] * lit + edit.residual).clip(0, 1).astype(np.float32, copy=False)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    flow = mean_face.enlarge(edit.flow, side) * side
    there = x + flow[..., 0], y + flow[..., 1]
    return cv2.remap(edited, *there, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).clip(0, 1)


# --- how they are made ---


def make(subject: Subject, hair: Floats, mean: Float64, young: Floats) -> SubjectEdits:
    """Edits of a subject.

    Args:
        hair: matte [SIDE, SIDE]. mean: the mean mesh. young: mean detail of young skin in mesh space (``layers.mean_of``).
    """
    skin = masks.skin(subject) & (hair < 0.5)
    maps = np.zeros((CHANNELS, SIDE, SIDE), np.float32)
    visible = masks.soft(masks.shrink(skin, 1), 1.6)
    maps[SKIN] = masks.soft(masks.shrink(skin | masks.forehead(subject, hair), 1), 1.6)
    place = mean_face.place_of(subject, mean)
    greyed = grey.greyed(subject, hair, skin)
    maps[MATTE], maps[HAIR_GAIN] = greyed.matte, greyed.gain
    maps[HAIR_RED : HAIR_BLUE + 1] = greyed.residual.transpose(2, 0, 1)
    mean_change = _mean_change(subject, hair, place)
    maps[GREY], maps[GAIN], maps[RED : BLUE + 1] = _aged_skin(subject, hair, visible, COLOUR * mean_change)
    maps[YOUNG_GAIN], maps[YOUNG_RED : YOUNG_BLUE + 1] = _young(
        subject, hair, skin, visible, young, mean, place, mean_change
    )
    return SubjectEdits(maps, _flow(subject, moves(subject.photo.gender, mean)), place)


def _mean_change(subject: Subject, hair: Floats, place: Floats) -> Floats:
    """The mean change of log colours in ``ageing.YEARS`` years where it lies on a face, [SIDE, SIDE, 3]; 0 off it and on its hair."""
    change = mean_face.look_up(
        ageing.load(subject.photo.gender).colour, mean_face.enlarge(place, SIDE), cv2.INTER_CUBIC
    )
    on_face = masks.soft(masks.shrink(masks.oval(subject), 5), 3.0)
    eyes = masks.feature(subject, LEFT_EYE) | masks.feature(subject, RIGHT_EYE)
    opening = masks.polygon(subject.mesh[list(MOUTH_OPENING)], hull=False)
    # Irises and teeth of many people are no mean of anything.
    on_face *= (1 - 0.65 * masks.soft(eyes, 1.5)) * (1 - masks.soft(opening, 1.5)) * (1 - hair).clip(0, 1)
    # Brows, lashes and stubble fade. What else is dark about the eyes are rims of glasses, which stay.
    below = np.arange(SIDE)[:, None] > subject.mesh[BELOW_NOSE, 1]
    fades = masks.soft(masks.features(subject, 3) | below, 2.0)[..., None]
    change = np.minimum(change, _BRIGHTER + fades * np.maximum(change, 0))
    light = (change @ LUMA)[..., None]
    hue = HUE + (LIP_HUE - HUE) * masks.soft(masks.feature(subject, LIPS), 1.5)[..., None]
    return (light + hue * (change - light)) * on_face[..., None]


def _recoloured(subject: Subject, change: Floats, skin: Mask) -> Floats:
    """A subject's picture whose log colours change; nothing gets lighter than the skin round it: a brow that is not there needs no fading."""
    image = subject.image
    result = (image + ageing.DARK) * np.exp(change * _as_shaded(subject, skin)) - ageing.DARK
    light, wanted = image @ LUMA, result @ LUMA
    most = np.maximum(light, 1.02 * masks.masked_blur(light, skin, 10.0))
    return result * (np.minimum(wanted, most) / np.maximum(wanted, 1e-3))[..., None].clip(0, 1)


def _as_shaded(subject: Subject, skin: Mask) -> Floats:
    """How much each colour changes where skin's log light changes by 1, [SIDE, SIDE, 3]: as it does between this face's own lights and shades.

    Skin's shades are redder than its lights, and highlights are pale: what only gets darker in proportion looks grey.
    """
    ones = np.ones((SIDE, SIDE, 3), np.float32)
    if skin.sum() < 500:
        return ones
    smooth = masks.masked_blur(subject.image, skin, 1.5)[skin]
    colours, light = np.log(smooth + ageing.DARK), np.log(smooth @ LUMA + ageing.DARK)
    off = light - light.mean()
    slopes = (off @ colours / max(float(off @ off), 1e-3)).clip(*_SLOPES).astype(np.float32)
    return ones + masks.soft(skin, 1.5)[..., None] * (slopes - 1)


def whites(subject: Subject) -> Floats:
    """Soft mask [SIDE, SIDE] of the whites of open eyes: what is lighter than the most of each."""
    light, found = subject.lab[..., 0], np.zeros((SIDE, SIDE), np.float32)
    for points in (LEFT_EYE, RIGHT_EYE):
        eye = masks.feature(subject, points)
        if eye.any():
            dark, bright = np.percentile(light[eye], (10, 90))
            lighter = (3 * (light - dark) / max(bright - dark, 8.0) - 1).clip(0, 1)
            found = np.maximum(found, lighter * masks.soft(eye, 0.8))
    return found


def _teeth(subject: Subject, most_yellow: float) -> Floats:
    """Soft mask [SIDE, SIDE] of what is light in the open mouth, and no more coloured than this."""
    opening = masks.soft(masks.polygon(subject.mesh[list(MOUTH_OPENING)], hull=False), 0.8)
    lightness, a, b = subject.lab.transpose(2, 0, 1)
    return opening / (1 + np.exp(-(lightness - 55) / 4)) / (1 + np.exp(-(most_yellow - np.hypot(a, b)) / 3))


def _aged_skin(subject: Subject, hair: Floats, visible: Floats, change: Floats) -> tuple[Floats, Floats, Floats]:
    """Grey, gain and residual [3, SIDE, SIDE] of skin, lips, teeth and eyes, with the mean ``change`` of log colours."""
    image, skin, neck = subject.image, masks.skin(subject), masks.neck(subject, hair)
    below = masks.soft(neck, 2.5)  # of the neck no mesh tells: its own folds deepen, and it gets a little darker
    lips = masks.soft(masks.feature(subject, LIPS), 1.5)
    colour = subject.lab
    teeth = _teeth(subject, 18)
    aged = colour + np.array((0, *_WHITES), np.float32) * whites(subject)[..., None]
    aged[..., 0] += -0.9 * visible - 2.0 * below - 5.0 * teeth
    aged[..., 1] += _REDDER * visible
    aged[..., 2] += 0.3 * visible + 0.8 * below + 5.0 * teeth
    aged[..., 2] += 2.0 * (lips - teeth).clip(0, 1)  # what greys is not blue
    tone = masks.rgb(aged) - image
    grey = 0.15 * (lips - teeth).clip(0, 1)
    deepen = DEEPEN * visible + DEEPEN_NECK * below
    smooth = masks.masked_blur(image, skin | neck, 3.5) * (1 - below)[..., None]
    smooth += masks.masked_blur(image, skin | neck, 6.0) * below[..., None]
    # A highlight is the lamp's light, which no skin takes away.
    light = image @ LUMA
    shine = ((light - masks.masked_blur(light, skin, 14.0)) / 0.15).clip(0, 1) * visible
    change = change * (1 - SHINE * masks.blur(shine, 1.5))[..., None]
    recoloured = _recoloured(subject, change, skin)
    # Light as a gain, which is right for dark skin and light skin alike; what is left is colour.
    gain = ((recoloured @ LUMA) / np.maximum(image @ LUMA, 0.02) - 1).clip(-0.6, 0.8)
    residual = tone - deepen[..., None] * smooth + recoloured - (1 + gain)[..., None] * image
    return grey.astype(np.float32), (deepen + gain).astype(np.float32), residual.transpose(2, 0, 1)


def _young(
    subject: Subject,
    hair: Floats,
    skin: Mask,
    visible: Floats,
    young: Floats,
    mean: Float64,
    place: Floats,
    mean_change: Floats,
) -> tuple[Floats, Floats]:
    """Gain and residual [3, SIDE, SIDE] that take a face's own age away: what exceeds young skin, and the mean change till now."""
    image = subject.image
    if "glasses" in subject.photo.tags:  # thin rims pass for lines
        visible = visible * (
            1 - masks.soft(masks.features(subject, 16) & (np.arange(SIDE)[:, None] < subject.mesh[NOSE_TIP, 1]), 4.0)
        )
    there = mean_face.enlarge(place, SIDE)
    normal = mean_face.look_up(young, there) * ((there > 0.01) & (there < 0.99)).all(-1)
    light = log_light(image)
    fine = light - masks.masked_blur(light, skin, 0.9)
    low = masks.masked_blur(light, skin, 9.0)
    middle = light - fine - low
    excess = middle - (normal - masks.blur(normal, 9.0))
    excess = np.where(excess < 0, 0.95 * excess, 0.6 * excess)
    # Bags and folds: what of the coarse band is dark on both sides of the face.
    coarse = low - masks.masked_blur(light, skin, 26.0) - masks.blur(normal, 9.0)
    both = _symmetrical(subject, coarse * visible, mean, there)
    change = -(excess + 0.25 * fine * np.clip(np.abs(fine) / 0.03 - 0.5, 0, 1)) - 0.85 * both.clip(-0.3, 0.06)
    fades = -YOUNGER_COLOUR * curves.at("skin", subject.photo.age) * mean_change
    result = _recoloured(subject, (change * visible)[..., None] + fades, skin)
    slope, offset = line(image, result)
    dark = grey.dark_again(subject, hair, skin)
    neck = masks.neck(subject, hair)
    below = _SOFTEN_NECK * masks.soft(neck, 2.5)
    smooth = SOFTEN * visible[..., None] * masks.blur(image, _WINDOW)
    smooth += below[..., None] * masks.masked_blur(image, skin | neck, 6.0)
    gain = slope - 1 - SOFTEN * visible - below + dark.gain
    residual = offset + smooth + dark.residual + _whiter(subject)
    return gain.astype(np.float32), residual.transpose(2, 0, 1).astype(np.float32)


def _whiter(subject: Subject) -> Floats:
    """What makes teeth and the whites of eyes whiter, and lips redder, [SIDE, SIDE, 3]."""
    teeth, colour = _teeth(subject, 34), subject.lab.copy()
    colour[..., 0] += _TEETH_LIGHTER * teeth
    colour[..., 2] -= _TEETH_WHITER * teeth * np.maximum(colour[..., 2] - 2, 0)
    years = curves.at("skin", subject.photo.age)  # which are to come off
    white = years * whites(subject)
    for channel, (least, most) in enumerate(zip(_YOUNG_WHITES, _WHITES, strict=True), 1):
        colour[..., channel] -= white * (colour[..., channel] - least).clip(0, most)
    lips = masks.soft(masks.feature(subject, LIPS), 1.5)
    colour[..., 1] += _LIPS_REDDER * years * (lips - teeth).clip(0, 1)
    return masks.rgb(colour) - subject.image


def line(image: Floats, wanted: Floats) -> tuple[Floats, Floats]:
    """Slope [SIDE, SIDE] and offset [SIDE, SIDE, 3] of the line from an image to a wanted one that fits best round each pixel.

    A line of the face is flattened by a slope below 1, whose place need not be known to the pixel.
    """

    def mean(values: Floats) -> Floats:
        return masks.blur(values, _WINDOW)

    slope = grey.slope_of(image @ LUMA, wanted @ LUMA, mean, _NOISE).clip(0.1, 1.5)
    return slope, masks.blur(mean(wanted) - slope[..., None] * mean(image), 0.7)


def _symmetrical(subject: Subject, value: Floats, mean: Float64, place: Floats) -> Floats:
    """The part of a map that is alike on both sides of the face, by way of mesh space; ``place`` [SIDE, SIDE, 2]."""
    there = mean_face.look_up(value.astype(np.float32), mean_face.texture_grid(mean, subject, 160))
    return mean_face.look_up((there + there[:, ::-1]) / 2, place)


def moves(gender: str, mean: Float64) -> Float64:
    """How the mesh moves as a face ages from 20 to 80, canonical [468, 2]: what was measured, and what meshes do not see."""
    shift = np.zeros_like(mean)
    middle = mean[NOSE_TIP, 0]

    def pull(near: int, outwards: float, down: float, reach: float) -> None:
        """Points round a point and its mirror image move, in pixels of 384; reach is the Gaussian's sigma."""
        away, height = abs(mean[near, 0] - middle), mean[near, 1]
        for side in (-1, 1):
            distance = np.hypot(mean[:, 0] - middle - side * away, mean[:, 1] - height) * SIDE
            weight = np.exp(-0.5 * (distance / reach) ** 2)
            shift[:, 0] += side * outwards / SIDE * weight
            shift[:, 1] += down / SIDE * weight

    man = gender == "M"
    pull(172, 1.0, 6.5, 15)  # jowls
    pull(136, 0.8, 6.5, 13)
    pull(205, -0.4, 3.8, 18)  # cheeks sag
    pull(61, 0.4, 1.8, 12)  # corners of the mouth
    pull(46, 0.3, 3.8, 11)  # outer brows
    pull(159, 0.0, 2.2, 6)  # upper lids hang
    pull(33, 0.0, 2.2, 6)  # and their outer corners
    pull(NOSE_TIP, 0.0, 1.4, 10)  # tip of the nose; on the midline both sides pull
    pull(129, 1.6, 1.2, 8)  # wings of the nose
    pull(103, 0.9 if man else 0.0, -11.0 if man else -3.0, 16)  # hairline at the temples
    # Meshes are laid on eyes and nose, of which the measured change therefore tells little.
    measured = ageing.load(gender).shape * curves.at("skin", 80)
    return SHAPE * measured + SHAPE_BY_HAND * shift


def _flow(subject: Subject, shift: Float64) -> Floats:
    """Flow [GRID, GRID, 2] that shows the mesh moved by ``shift``; it fades out off the person."""
    mesh = subject.mesh / SIDE
    t = (np.arange(mean_face.GRID) + 0.5) / mean_face.GRID
    positions = np.stack(np.meshgrid(t, t), -1).astype(np.float32)
    flow = mean_face.warp(mesh + shift, mesh, _STIFF) - positions
    near = masks.soft(masks.grow(subject.person > 0.5, 8), 8.0)
    return flow * cv2.resize(near, (mean_face.GRID,) * 2, interpolation=cv2.INTER_AREA)[..., None]
