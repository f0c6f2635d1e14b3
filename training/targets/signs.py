"""Signs of age that no mean of colours holds: the whites of eyes and how rough skin is, by regression on age.

python -m training.targets.signs runs/targets/mesh.npz    prints what ``edits._WHITES`` and ``edits.DEEPEN`` were set by
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt
from rich.progress import track

from training.command import MeshesArgument, PacksOption, run_command
from training.dataset.labels import default_packs, read_packs

from . import masks
from .ageing import FROM_AGE, SEXES, YEARS
from .edits import whites
from .layers import log_light
from .subject import Subject, subjects

Float64 = npt.NDArray[np.float64]

#: What is measured of a face: L*a*b* of the whites beside the skin's, the skin's a* and b*, and log contrast of its three finest octaves.
SIGNS = ("whites L*", "whites a*", "whites b*", "skin a*", "skin b*", "detail 0.8 px", "detail 1.6 px", "detail 3.2 px")
_FEW = 12


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


if __name__ == "__main__":
    cv2.setNumThreads(1)
    run_command(main)
