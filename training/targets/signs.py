"""Signs of age that no mean of colours holds: the whites of eyes and how rough skin is, by regression on age; and what colour lines have.

python -m training.targets.signs runs/targets/mesh.npz    prints what ``edits._WHITES`` and ``edits.DEEPEN`` were set by, and why
                                                          lines change light alone (format 4)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from rich.progress import track

from training.command import MeshesArgument, PacksOption, run_command
from training.dataset.labels import default_packs, read_packs

from . import masks
from .ageing import FROM_AGE, SEXES, YEARS
from .edits import whites
from .layers import log_light
from .subject import Float64, Subject, subjects

#: What is measured of a face: L*a*b* of the whites beside the skin's, the skin's a* and b*, and log contrast of its three finest octaves.
SIGNS = ("whites L*", "whites a*", "whites b*", "skin a*", "skin b*", "detail 0.8 px", "detail 1.6 px", "detail 3.2 px")
_FEW = 12
#: Lines of old skin: from this age on, this much darker (L*) than the skin within some 4 pixels, at least so many pixels.
_OLD, _DARKER, _PIXELS = 55.0, 1.5, 150


def of(subject: Subject) -> Float64 | None:
    """``SIGNS`` of a face; None where an eye is shut or hardly any skin is seen."""
    white = whites(subject) > 0.8
    skin = masks.shrink(masks.skin(subject) & masks.oval(subject) & ~masks.features(subject, 6), 2)
    if white.sum() < _FEW or skin.sum() < 500:
        return None
    _, red, yellow = np.median(subject.lab[skin], 0)
    light = log_light(subject.image)
    levels = [light] + [masks.blur(light, sigma) for sigma in (0.8, 1.6, 3.2)]
    detail = [np.log(abs(fine - coarse)[skin].mean()) for fine, coarse in pairwise(levels)]
    return np.array([*np.median(subject.lab[white], 0), red, yellow, *detail], float)


def line_colour(subject: Subject) -> Float64 | None:
    """How much a* and b* rise in skin's lines where its L* rises by 1, [2]; None where few are seen.

    On skin of L* 66, a* 12 and b* 15 light that is multiplied, colour with it, gives 0.16 and 0.22; light that is taken away alone -0.07 twice.
    """
    skin = masks.shrink(masks.skin(subject), 3)
    lab = [masks.masked_blur(c, skin, 1.0) - masks.masked_blur(c, skin, 4.0) for c in subject.lab.transpose(2, 0, 1)]
    line = skin & (lab[0] < -_DARKER)
    if line.sum() < _PIXELS:
        return None
    darker = lab[0][line]
    return np.array([darker @ c[line] / (darker @ darker) for c in lab[1:]], float)


def change(people: Sequence[Subject]) -> tuple[Float64, Float64, int]:
    """How each of ``SIGNS`` changes in ``ageing.YEARS`` years, its standard error, and of how many people; sources are covariates."""
    found = [(s.photo, signs) for s in track(people, "faces") if (signs := of(s)) is not None]
    age = np.array([photo.age for photo, _ in found])
    sources = sorted({photo.source for photo, _ in found})
    known = [[float(photo.source == source) for source in sources] for photo, _ in found]
    grown, child = np.clip(age - FROM_AGE, 0, None) / YEARS, np.clip(FROM_AGE - age, 0, None) / YEARS
    factors, values = np.column_stack([grown, child, known]), np.stack([signs for _, signs in found])
    slopes = np.linalg.lstsq(factors, values, rcond=None)[0]
    spread = (values - factors @ slopes).std(0, ddof=factors.shape[1])
    return slopes[0], spread * np.sqrt(np.linalg.pinv(factors.T @ factors)[0, 0]), len(found)


def main(
    meshes: MeshesArgument,
    data: PacksOption = None,
) -> None:
    """Print what changes in 40 years in the sharp pictures of the packs' train and val people without glasses, with standard errors."""
    photos = [
        p for p in read_packs(data or default_packs()) if p.sharp and p.split != "test" and "glasses" not in p.tags
    ]
    people = list(subjects(photos, meshes))
    for sex in SEXES:
        slopes, errors, count = change([s for s in people if s.photo.gender == sex])
        print(f"{sex}, {count} people")
        for sign, slope, error in zip(SIGNS, slopes, errors, strict=True):
            print(f"  {sign:14} {slope:+6.2f} ± {error:.2f}")
    old = [s for s in people if s.photo.age >= _OLD and "beard" not in s.photo.tags]
    slopes = np.array([one for one in map(line_colour, old) if one is not None])
    if len(slopes):
        red, yellow = np.median(slopes, 0)
        print(
            f"lines of {len(slopes)} people from {_OLD:.0f} on: a* {red:+.2f} and b* {yellow:+.2f} for L* +1 (medians)"
        )


if __name__ == "__main__":
    cv2.setNumThreads(1)
    run_command(main)
