"""Where a man's beard or moustache is, by colour and roughness beside his cheeks.

Only an eye tells stubble from a jaw's shadow: nobody has a beard who was not seen to have one (tag "beard", or "moustache" alone).
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from . import masks
from .subject import BELOW_NOSE, CHIN, EYES, LIPS, LOWER_LIP, MOUTH_OPENING, NOSE_TIP, SIDE, Floats, Mask, Subject

#: Pixels of cheeks or beard below which nothing is told of them.
_FEW = 60
#: Least share of a chin that is beard, or there is a moustache alone.
_CHIN = 0.35
#: Rounds of the fit, and the density below which a pixel is neither skin nor beard (a collar), log, under the beard's highest.
_ROUNDS, _OTHER = 5, 8.0


def found(subject: Subject, skin: Mask) -> Floats:
    """Soft mask of the beard, [SIDE, SIDE]. ``skin``: the face's visible skin."""
    nothing = np.zeros((SIDE, SIDE), np.float32)
    if not {"beard", "moustache"} & subject.photo.tags:
        return nothing
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    nose, half = subject.mesh[NOSE_TIP], subject.half_width
    aside, oval = abs(x - nose[0]) / half, masks.oval(subject)
    cheeks = masks.shrink(oval, 6) & ~masks.features(subject, 4) & skin
    cheeks &= (y > subject.height_of(EYES) + 6) & (y < subject.mesh[BELOW_NOSE, 1])
    sides = [cheeks & (x < nose[0] - 8), cheeks & (x > nose[0] + 8)]
    if min(side.sum() for side in sides) < _FEW:
        return nothing
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
        where &= (y < lip) & (aside < 0.45)
    # Off the face a shadow is as dark, and smooth but for its edge.
    rough = cv2.morphologyEx((2.5 * rough - 0.5).clip(0, 1), cv2.MORPH_OPEN, np.ones((13, 13)))
    off_face = np.maximum(hangs, near) * masks.blur(rough, 2.0)
    share *= masks.soft(where, 1.5) * np.maximum(masks.soft((low | near) & oval, 2.0), off_face)
    whole = cv2.morphologyEx((share > 0.5).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3)))
    count, label, stats, _ = cv2.connectedComponentsWithStats(whole)
    large = np.isin(label, [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] > 0.015 * low.sum()])
    return (share * masks.soft(masks.grow(large, 2), 1.5)).astype(np.float32)


def _beside_cheeks(subject: Subject, sides: list[Mask]) -> Floats:
    """How far L*, a*, b* and log roughness are from the cheek of the same side (a face may be lit from one), [SIDE, SIDE, 4]."""
    lab = subject.lab
    colour = masks.blur(lab, 0.8)
    left, right = (np.median(colour[side], 0) for side in sides)
    x = np.arange(SIDE, dtype=np.float32)[:, None]
    cheek = left + (right - left) * ((x - subject.mesh[NOSE_TIP, 0]) / subject.half_width * 0.6 + 0.5).clip(0, 1)
    off = colour - cheek
    off[..., 0] *= 60 / np.maximum(cheek[:, 0], 25)  # relative: dark skin's beard is as far from it
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
