"""Where a man's beard or moustache is, by colour and roughness beside his cheeks; and beards that are put on other men.

Only an eye tells stubble from a jaw's shadow: nobody has a beard of his own who was not seen to have one (tag "beard", or "moustache" alone).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from . import masks, mean_face
from .subject import (
    BELOW_NOSE,
    CHIN,
    EYES,
    LIPS,
    LOWER_LIP,
    LUMA,
    MOUTH_CORNERS,
    MOUTH_OPENING,
    NOSE_TIP,
    SIDE,
    Floats,
    Mask,
    Subject,
)

#: Pixels of cheeks or beard below which nothing is told of them.
_FEW = 60
#: Least share of a chin that is beard, or there is a moustache alone.
_CHIN = 0.35
#: Rounds of the fit, and the density below which a pixel is neither skin nor beard (a collar), log, under the beard's highest.
_ROUNDS, _OTHER = 5, 8.0
#: Added to both colours before one is divided by the other.
_DARK = 0.02
#: A beard that is darker than the cheek by this share shows no skin; its mask has at least this; and how much brighter than it was it may get.
_DENSE, _SURE, _BRIGHTER = 0.55, 0.8, (0.5, 2.0)
_COLUMNS = np.arange(SIDE, dtype=np.float32)[None]
#: Keys of men with beards that are not grey, whose masks an eye found right: others wear them (``put_on``).
CHECKED = Path(__file__).with_name("beards.json")


def found(subject: Subject, skin: Mask) -> Floats:
    """Soft mask of the beard, [SIDE, SIDE]. ``skin``: the face's visible skin."""
    if subject.beard is not None:
        return subject.beard
    nothing = np.zeros((SIDE, SIDE), np.float32)
    if not {"beard", "moustache"} & subject.photo.tags:
        return nothing
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    nose, half = subject.mesh[NOSE_TIP], subject.half_width
    aside, oval = abs(x - nose[0]) / half, masks.oval(subject)
    sides = _cheeks(subject, skin)
    if min(side.sum() for side in sides) < _FEW:
        return nothing
    cheeks = sides[0] | sides[1]
    told = _beside_cheeks(subject, sides)
    low = oval & (y > subject.mesh[BELOW_NOSE, 1] + 1)
    # It grows over the jaw's outline and hangs below the chin, where no mesh tells: there it fades.
    person, under = subject.person > 0.6, y - subject.mesh[CHIN, 1]
    near = person & masks.grow(oval, round(0.1 * half)) & (y > subject.height_of(EYES))
    near &= (y > subject.height_of(LIPS)) | (aside > 0.72)
    hangs = (1.25 - 3.2 * under / half).clip(0, 1) * person * (aside < 0.9) * (under >= -6)
    # A moustache hangs over the upper lip, far darker than lips are.
    lips = masks.feature(subject, LIPS, 1) & (told[..., 0] > -24)
    lips |= masks.polygon(subject.mesh[list(MOUTH_OPENING)], hull=False)
    where = (low | near | (hangs > 0)) & ~lips
    share, rough = _likeness(told, cheeks, where & oval & (aside < 0.6))
    lip = subject.mesh[LOWER_LIP, 1]
    on_chin = where & oval & (y > lip + 2) & (aside < 0.3)
    if "moustache" in subject.photo.tags or share[on_chin].sum() < _CHIN * on_chin.sum():
        where &= _moustache(subject, where & (share > 0.5), (x, y))
    # Off the face a shadow is as dark, and smooth but for its edge.
    rough = cv2.morphologyEx((2.5 * rough - 0.5).clip(0, 1), cv2.MORPH_OPEN, np.ones((13, 13)))
    off_face = np.maximum(hangs, near) * masks.blur(rough, 2.0)
    share *= masks.soft(where, 1.5) * np.maximum(masks.soft((low | near) & oval, 2.0), off_face)
    whole = cv2.morphologyEx((share > 0.5).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3)))
    count, label, stats, _ = cv2.connectedComponentsWithStats(whole)
    large = np.isin(label, [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] > 0.015 * low.sum()])
    return (share * masks.soft(masks.grow(large, 2), 1.5)).astype(np.float32)


def _moustache(subject: Subject, like: Mask, at: tuple[Floats, Floats]) -> Mask:
    """Where a moustache may be: only what is ``like`` one and joined to the part above the mouth; a fixed limit would end it at a straight line."""
    (x, y), corners = at, subject.mesh[list(MOUTH_CORNERS)]
    middle, half = corners.mean(0), float(np.ptp(corners[:, 0])) / 2
    # A face that is turned shows its nose aside: the mouth is the middle.
    aside, lip = abs(x - middle[0]) / half, float(subject.mesh[LOWER_LIP, 1])
    core = (aside < 0.9) & (y < middle[1])
    ends = (aside < 1.5) & (y < middle[1] + np.where(aside > 0.9, 0.7, 0.4) * (lip - middle[1]))
    _, label = cv2.connectedComponents((like & ends).astype(np.uint8))
    joined = np.isin(label, np.unique(label[core & like])) & like & ends
    return masks.grow(joined, 2)


@dataclass(frozen=True)
class Worn:
    """A beard on another's face. ``thin``, ``hair`` [SIDE, SIDE, 3]: the face with the skin between the hairs, and the hair itself.

    ``mask`` [SIDE, SIDE]: where the beard is. ``dense`` [SIDE, SIDE]: how much of that is hair.
    """

    thin: Floats
    hair: Floats
    mask: Floats
    dense: Floats

    @property
    def bristles(self) -> Floats:
        """Where its hair is, [SIDE, SIDE]: not where skin is in shade, which networks then took for stubble, and greyed."""
        return self.mask * (1.5 * self.dense - 0.25).clip(0, 1)


def put_on(subject: Subject, of: Subject, skin: Mask, skin_of: Mask) -> Worn | None:
    """Another's beard on a face, darker than skin; None where one of them shows no cheek, or no beard is found.

    Carried over is how much darker than the cheek beside it each pixel is: the beard lies in the face's own light, and the skin between its
    hairs is the face's own. Hair keeps its own hue: by what differs from the cheek in each colour, hair of an orange face would be blue on a pale one.

    Args:
        of: who wears it. skin, skin_of: the visible skin of both.
    """
    sides, sides_of = _cheeks(subject, skin), _cheeks(of, skin_of)
    bristles = found(of, skin_of)
    if min(side.sum() for side in (*sides, *sides_of)) < _FEW or bristles.max() < _SURE:
        return None
    there = mean_face.enlarge(mean_face.warp(subject.mesh / SIDE, of.mesh / SIDE, 1e-4), SIDE)
    image = mean_face.look_up(of.image, there, cv2.INTER_CUBIC)
    theirs = _cheek_colour(of, of.image, sides_of, there[..., 0] * SIDE)
    own = _cheek_colour(subject, subject.image, sides)
    light, light_beside = image @ LUMA + _DARK, theirs @ LUMA + _DARK
    dense = ((1 - light / light_beside) / _DENSE).clip(0, 1)
    thin = (light / light_beside)[..., None] * (own + _DARK) - _DARK
    brighter = ((own @ LUMA + _DARK) / light_beside).clip(*_BRIGHTER)
    # Above the mouth it does not grow off the face: there its mask may have seen what is behind.
    above = np.arange(SIDE)[:, None] < subject.height_of(LIPS)
    face = masks.soft(masks.grow(masks.oval(subject), 2) | ~above, 1.5) * ((there > 0) & (there < 1)).all(-1)
    mask = face * mean_face.look_up(bristles, there).clip(0, 1)
    return Worn(thin.clip(0, 1), (brighter[..., None] * image).clip(0, 1), mask, dense)


def _cheeks(subject: Subject, skin: Mask) -> tuple[Mask, Mask]:
    """The left and the right cheek, as seen in the picture."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    cheeks = masks.shrink(masks.oval(subject), 6) & ~masks.features(subject, 4) & skin
    cheeks &= (y > subject.height_of(EYES) + 6) & (y < subject.mesh[BELOW_NOSE, 1])
    nose = subject.mesh[NOSE_TIP, 0]
    return cheeks & (x < nose - 8), cheeks & (x > nose + 8)


def _cheek_colour(subject: Subject, image: Floats, sides: tuple[Mask, Mask], x: Floats = _COLUMNS) -> Floats:
    """The colour of the cheek of the same side (a face may be lit from one) of an image [SIDE, SIDE, 3], at columns ``x`` [H, W]: [H, W, 3]."""
    left, right = (np.median(image[side], 0) for side in sides)
    share = ((x - subject.mesh[NOSE_TIP, 0]) / subject.half_width * 0.6 + 0.5).clip(0, 1)
    return (left + (right - left) * share[..., None]).astype(np.float32)


def _beside_cheeks(subject: Subject, sides: tuple[Mask, Mask]) -> Floats:
    """How far L*, a*, b* and log roughness are from the cheek of the same side, [SIDE, SIDE, 4]."""
    lab = subject.lab
    colour = masks.blur(lab, 0.8)
    cheek = _cheek_colour(subject, colour, sides)
    off = colour - cheek
    off[..., 0] *= 60 / np.maximum(cheek[..., 0], 25)  # relative: dark skin's beard is as far from it
    light = lab[..., 0]
    detail = np.sqrt(masks.blur((light - masks.blur(light, 1.5)) ** 2, 3.0))
    rough = np.log(60 * detail / np.maximum(masks.blur(light, 4.0), 20) + 0.3)
    return np.dstack([off, 8 * (rough - np.median(rough[sides[0] | sides[1]]))]).astype(np.float32)


def _likeness(told: Floats, cheeks: Mask, sure: Mask) -> tuple[Floats, Floats]:
    """How much each pixel is like beard, and its roughness in units of the beard's, [SIDE, SIDE].

    Normal distributions of cheeks and of beard, fitted in turns (Dempster et al. 1977). ``sure``: where beard may be looked for.
    """
    share = np.zeros(told.shape[:2], np.float32)
    if sure.sum() < _FEW:
        return share, share
    unlike = -told[..., 0] / 9 + np.hypot(told[..., 1], told[..., 2]) / 12 + told[..., 3] / 8
    beard = sure & (unlike > max(1.5, np.quantile(unlike[sure], 0.65)))
    for _ in range(_ROUNDS):
        if beard.sum() < _FEW:
            break
        of_skin, _ = _log_density(told, cheeks, 1.5)
        of_beard, highest = _log_density(told, beard, 1.0)
        densities = np.stack([of_beard, of_skin, np.full_like(of_skin, highest - _OTHER)])
        densities = np.exp(densities - densities.max(0))
        share = masks.blur(densities[0] / densities.sum(0), 1.0)
        beard = sure & (share > 0.6)
    if beard.sum() < _FEW:
        return np.zeros_like(share), np.zeros_like(share)
    return share, told[..., 3] / max(2.0, float(np.median(told[..., 3][beard])))


def _log_density(values: Floats, part: Mask, wide: float) -> tuple[Floats, float]:
    """Each pixel's under the normal distribution of a part, ``wide`` times as wide, but for a constant; and the highest."""
    spread: npt.NDArray[np.float64] = wide * np.cov(values[part].T) + np.diag((16.0, 4.0, 4.0, 6.0))
    off = values - np.median(values[part], 0)
    highest = -0.5 * float(np.log(np.linalg.det(spread)))
    density = highest - 0.5 * np.einsum("...i,ij,...j", off, np.linalg.inv(spread), off)
    return density.astype(np.float32), highest
