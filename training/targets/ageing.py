"""What ageing does to a face on average: how the mesh moves and how its colours change, measured on the packs' own people.

A regression on age at every mesh point and at every texel of mesh space, for men and women apart, with what else differs
between people as covariates (the head's turn, the mouth's opening and width, tone, and where a picture is from): the
composites of Burt & Perrett (1995) without their two groups. It is a mean of hundreds of faces: nobody's own wrinkles are in
it, and what differs from person to person (lines) is the age layers' part.

    python -m training.targets.ageing runs/targets/mesh.npz    writes ageing.npz beside this file
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from rich.progress import track

from training.command import MeshesArgument, PacksOption, run_command
from training.dataset.labels import default_packs, read_packs

from . import mean_face
from .subject import NOSE_TIP, SIDE, Float64, Floats, Subject, subjects

FILE = Path(__file__).with_name("ageing.npz")
SEXES = ("M", "F")
#: Side of the texture: bags and folds are wider than one of its texels.
TEXTURE_SIDE = 128
#: Added to light before its logarithm.
DARK = 0.04
#: Nothing changes before this age; the change is given for this many years.
FROM_AGE, YEARS = 32.0, 40.0
#: Corners of the eyes, bridge and wings of the nose: what hardly ages, by which meshes are laid on each other.
_STEADY = (33, 133, 362, 263, 168, 6, 129, 358)
_LEFT_CORNER, _RIGHT_CORNER, _UPPER_LIP, _LOWER_LIP = 61, 291, 13, 14
#: Rounds of weights by Huber (1964), which keep a few glasses and shadows out of the mean.
_ROUNDS = 3


@dataclass(frozen=True)
class Ageing:
    """From ``FROM_AGE`` to ``YEARS`` later. ``shape`` [468, 2] canonical. ``colour`` [TEXTURE_SIDE, TEXTURE_SIDE, 3] log RGB."""

    shape: Float64
    colour: Floats


@cache
def load(sex: str) -> Ageing:
    """What was measured for a sex; for any other word, of somebody whose sex the labels do not tell, the mean of both."""
    chosen = [SEXES.index(sex)] if sex in SEXES else list(range(len(SEXES)))
    with np.load(FILE) as file:
        shape, colour = (file[name][chosen].astype(float).mean(0) for name in ("shape", "colour"))
    return Ageing(shape, colour.astype(np.float32))


def fit(people: Sequence[Subject]) -> Ageing:
    """The mean change of people of one sex."""
    mean = mean_face.load()
    partner = mean_face.mirrored_points(mean)
    meshes = np.stack([_laid_on(s.mesh / SIDE, mean) for s in people])
    reflected = meshes[:, partner] * (-1, 1) + (2 * mean[NOSE_TIP, 0], 0)
    textures = np.stack([_texture(s, mean) for s in track(people, "textures")])
    tones = np.median(
        textures[:, TEXTURE_SIDE // 12 : 3 * TEXTURE_SIDE // 4, TEXTURE_SIDE // 5 : -TEXTURE_SIDE // 5], (1, 2)
    )
    covariates = np.column_stack(
        [
            abs(meshes[:, NOSE_TIP, 0] - reflected[:, NOSE_TIP, 0]),
            meshes[:, NOSE_TIP, 1],
            np.linalg.norm(meshes[:, _UPPER_LIP] - meshes[:, _LOWER_LIP], axis=-1),
            np.linalg.norm(meshes[:, _LEFT_CORNER] - meshes[:, _RIGHT_CORNER], axis=-1),
            tones.mean(-1),
        ]
    )
    covariates = (covariates - covariates.mean(0)) / covariates.std(0)
    sources = sorted({s.photo.source for s in people})
    known = np.array([[s.photo.source == source for source in sources[1:]] for s in people], float)
    age = np.clip([s.photo.age for s in people], 20, 85)
    grown, child = np.clip(age - FROM_AGE, 0, None) / YEARS, np.clip(FROM_AGE - age, 0, None) / 12
    factors = np.column_stack([grown, np.ones(len(people)), child, covariates, known])
    even = textures - tones[:, None, None]
    even = (even + even[:, :, ::-1]) / 2
    return Ageing(_slope(factors, (meshes + reflected) / 2), _slope(factors, even).astype(np.float32))


def _slope(factors: Float64, values: npt.NDArray[np.floating]) -> Float64:
    """Coefficient of the first factor at each place: values [n, ...] on factors [n, f], robust."""
    n, f = factors.shape
    flat = values.reshape(n, -1)
    slope = np.empty(flat.shape[1])
    for start in range(0, flat.shape[1], 4096):
        y = flat[:, start : start + 4096].astype(float)
        weight = np.ones_like(y)
        for _ in range(_ROUNDS):
            # One small system a place: [places, f, f].
            products = np.einsum("ni,np,nj->pij", factors, weight, factors, optimize=True) + 1e-2 * np.eye(f)
            right = np.einsum("ni,np->pi", factors, weight * y)
            solution = np.linalg.solve(products, right[..., None])[..., 0]
            error = abs(y - factors @ solution.T)
            weight = 1 / np.maximum(1, error / (1.345 * 1.48 * np.median(error, 0) + 1e-9))
        slope[start : start + 4096] = solution[:, 0]
    return slope.reshape(values.shape[1:])


def _laid_on(mesh: Float64, mean: Float64) -> Float64:
    """A mesh moved, turned and scaled so that its steady points lie nearest to the mean's."""
    points, wanted = ((m[list(_STEADY)] @ (1, 1j)) for m in (mesh, mean))
    away = points - points.mean()
    turn = np.vdot(away, wanted) / np.vdot(away, away)
    moved = turn * (mesh @ (1, 1j) - points.mean()) + wanted.mean()
    return np.stack([moved.real, moved.imag], -1)


def _texture(subject: Subject, mean: Float64) -> Floats:
    """Log RGB in mesh space."""
    image = cv2.GaussianBlur(subject.image, (0, 0), 1.0)
    return np.log(mean_face.look_up(image, mean_face.texture_grid(mean, subject, TEXTURE_SIDE)) + DARK).astype(
        np.float32
    )


def main(
    meshes: MeshesArgument,
    data: PacksOption = None,
) -> None:
    """Measure the mean ageing of the people of the packs' train split, without glasses, and keep it beside this module."""
    people = [
        s
        for s in subjects(read_packs(data or default_packs()), meshes)
        if s.photo.split == "train" and "glasses" not in s.photo.tags
    ]
    found = [fit([s for s in people if s.photo.gender == sex]) for sex in SEXES]
    shape, colour = (np.stack([getattr(f, name) for f in found]).astype(np.float16) for name in ("shape", "colour"))
    np.savez_compressed(FILE, shape=shape, colour=colour)
    print(f"{len(people)} people -> {FILE} ({FILE.stat().st_size / 1e3:.0f} kB)", file=sys.stderr)


if __name__ == "__main__":
    cv2.setNumThreads(1)
    run_command(main)
