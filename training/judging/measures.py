"""What a pair (input, output) shows beside its age: stencil lines, hair, rims, texture. Pure functions over pictures.

Pictures are canonical, [SIDE, SIDE, 3] in [0, 1] (``anatomy.canonical_view``); an ``Anatomy`` says where things are in the
input, and is used for the output too: what moves, moves by a few pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from ..evaluation.measures import to_lab
from ..templating import Json
from .anatomy import EYE_CORNERS, REGIONS, SIDE, Anatomy, Floats, Mask, Meshes

LUMA = np.array([0.299, 0.587, 0.114])
#: Added to luma before its logarithm, so that black is no pole; a tenth of skin's.
_FLOOR = 0.05
#: Band of wrinkles and folds: what lies between these Gaussians, pixels of the canonical view.
FOLDS = (1.5, 9.0)
#: Finest to coarsest octave of the texture, as Gaussians.
OCTAVES = ((0.7, 1.4), (1.4, 2.8), (2.8, 5.6), (5.6, 11.2))
#: Texels of skin that two people, or one, must show in a region to be compared there.
LEAST_TEXELS = 1500
#: Change of a hair's colour that is seen, dE in CIELAB; lightness of hair (median L) below which it is dark.
SEEN_DE, DARK_HAIR = 4.0, 32.0
#: Size of a strand against its surroundings: what a Gaussian of this sigma takes away.
_STRAND = 2.2
#: Rings in which a rim is seen, canonical distances: beside the person, outside the outline; and round the face's oval below the
#: eyes, where a jaw that moves is painted as a light line on the neck.
BESIDE, ROUND_JAW = (0.005, 0.03), (0.01, 0.045)
#: Finer than this, pixels, is taken away in the paint test.
PAINT_PX = 3.0


def blur_within(values: Floats, mask: Mask, sigma: float) -> Floats:
    """Gaussian blur of the values inside a mask, by those inside alone; 0 outside."""
    weight = mask.astype(np.float64)
    blurred = gaussian_filter(values * weight, sigma) / (gaussian_filter(weight, sigma) + 1e-6)
    return blurred * weight


def band(values: Floats, mask: Mask, sigmas: tuple[float, float]) -> Floats:
    """What lies between two Gaussians, inside a mask."""
    fine, coarse = sigmas
    return blur_within(values, mask, fine) - blur_within(values, mask, coarse)


class Unfolded:
    """The natural logarithm of the luma of visible skin in mesh space.

    Attributes:
        values: [SIDE, SIDE]. skin: [SIDE, SIDE], where they are visible skin.
    """

    def __init__(self, meshes: Meshes, anatomy: Anatomy, picture: Floats) -> None:
        self.values = meshes.unfold(np.log(picture @ LUMA + _FLOOR), anatomy)
        self.skin: Mask = meshes.unfold(anatomy.skin.astype(np.float64), anatomy) > 0.9


def correlations(layers: Floats, masks: Mask) -> Floats:
    """Correlation of every two people's layers [N, P] where both masks [N, P] are; NaN where too little is shared. [N (N - 1) / 2]

    Layers are band-passed, so their mean is 0 already.
    """
    weight = masks.astype(np.float64)
    shown = layers * weight
    product, energy = shown @ shown.T, (shown**2) @ weight.T
    with np.errstate(divide="ignore", invalid="ignore"):
        found = product / np.sqrt(energy * energy.T)
    found[weight @ weight.T < LEAST_TEXELS] = np.nan
    return found[np.triu_indices(len(layers), 1)]


def stencil(meshes: Meshes, layers: Sequence[Floats], masks: Sequence[Mask]) -> dict[str, float | None]:
    """Mean correlation between people of band-passed layers in mesh space, by region; None with fewer than two people.

    Everybody with the same lines has 1; lines that only lie at the same places, as on real people, some 0.1.
    """
    found: dict[str, float | None] = dict.fromkeys(REGIONS)
    for name, region in meshes.regions.items():
        if len(layers) > 1:
            pairs = correlations(np.array([one[region] for one in layers]), np.array([one[region] for one in masks]))
            found[name] = None if np.isnan(pairs).all() else round(float(np.nanmean(pairs)), 3)
    return found


def change_layer(before: Unfolded, after: Unfolded) -> Floats:
    """The band-passed change of the log luma in mesh space: the lines that were drawn or taken away."""
    return band(after.values - before.values, before.skin, FOLDS)


def energies(meshes: Meshes, unfolded: Unfolded) -> dict[str, list[float] | None]:
    """log2 of the RMS of each octave of the texture by region, ``OCTAVES`` long; None where too little skin is seen."""
    octaves = [band(unfolded.values, unfolded.skin, sigmas) for sigmas in OCTAVES]
    found: dict[str, list[float] | None] = {}
    for name, region in meshes.regions.items():
        chosen = region & unfolded.skin
        found[name] = None
        if chosen.sum() >= LEAST_TEXELS:
            found[name] = [round(float(0.5 * np.log2(np.mean(one[chosen] ** 2) + 1e-12)), 3) for one in octaves]
    return found


def hair(anatomy: Anatomy, after: Floats) -> Json | None:
    """How the hair changed; None for who shows hardly any.

    Returns:
        "dark": was it; "changed": part of the matte with a seen change of colour; "lightness": its change at the 10th, 50th and
        90th percentile, L; "chroma_kept": of the mean distance from grey; "strands_kept": contrast of strands, after over before.
    """
    matte = anatomy.hair
    if matte.sum() < LEAST_TEXELS:
        return None
    lab, aged = anatomy.lab, to_lab(after)
    change = (aged - lab)[matte]
    chroma = [float(np.linalg.norm(one[matte][:, 1:], axis=-1).mean()) for one in (lab, aged)]
    strands = [float(np.std((one[..., 0] - gaussian_filter(one[..., 0], _STRAND))[matte])) for one in (lab, aged)]
    return {
        "dark": bool(np.median(lab[matte][:, 0]) < DARK_HAIR),
        "changed": round(float((np.linalg.norm(change, axis=-1) > SEEN_DE).mean()), 3),
        "lightness": [round(float(v), 1) for v in np.quantile(change[:, 0], (0.1, 0.5, 0.9))],
        "chroma_kept": round(chroma[1] / max(chroma[0], 1e-6), 3),
        "strands_kept": round(strands[1] / max(strands[0], 1e-6), 3),
    }


def rims(anatomy: Anatomy, after: Floats) -> Json:
    """95th percentile of the change where nothing should show, levels of a byte; None where there is no such place.

    Returns: "beside" the person, just outside the outline; "jaw": on neck and background round the lower face.
    """
    change = 255 * np.abs(after - anatomy.view).max(-1)
    below_eyes = ((np.arange(SIDE) + 0.5) / SIDE)[:, None] > anatomy.points[EYE_CORNERS, 1].mean()
    from_face = distance_transform_edt(~anatomy.oval) / SIDE
    rings = {
        "beside": (anatomy.outside > BESIDE[0]) & (anatomy.outside < BESIDE[1]),
        "jaw": (from_face > ROUND_JAW[0]) & (from_face < ROUND_JAW[1]) & below_eyes & ~anatomy.hair,
    }
    return {
        name: round(float(np.quantile(change[ring], 0.95)), 1) if ring.sum() >= LEAST_TEXELS else None
        for name, ring in rings.items()
    }


def without_paint(before: Floats, after: Floats) -> Floats:
    """The output with its change's chroma, and what of the change is finer than ``PAINT_PX``, taken away."""
    change = gaussian_filter((after - before) @ LUMA, PAINT_PX / 2)
    return np.clip(before + change[..., None], 0, 1)


def greyness(picture: Floats) -> float:
    """How far a picture is from grey: the largest difference of its channels, levels of a byte."""
    return round(float(255 * np.ptp(picture, axis=-1).max()), 2)
