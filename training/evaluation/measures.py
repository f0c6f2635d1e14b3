"""What the evaluation measures: pure functions over arrays.

Pictures are uint8 RGB [H, W, 3] with an affine ``A`` [2, 3] (canonical face to pixels, ``geometry.fit_similarity``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import correlate1d

from lgin_edge import geometry
from lgin_edge.frames import Frame
from lgin_edge.kernels import resample

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: Skin without beard or brows, canonical (x0, y0, x1, y1): both cheeks, beside the nose and under the eyes; the forehead.
CHEEKS = ((0.33, 0.56, 0.41, 0.64), (0.59, 0.56, 0.67, 0.64))
FOREHEAD = (0.42, 0.32, 0.58, 0.39)
#: Where glasses sit, canonical (x0, y0, x1, y1): where the gradients of portraits with glasses exceed those of others.
RIMS = (0.24, 0.42, 0.76, 0.59)
#: Side of the tiles in which edges are compared, in pixels of a view 12 of them wide and 4 high.
_TILE = 16
#: Skin tones by the individual typology angle (Chardon et al. 1991, Del Bino & Bernerd 2013): least angle in degrees.
TONES = (("very light", 55), ("light", 41), ("intermediate", 28), ("tan", 10), ("brown", -30), ("dark", -90))
#: Side of the view in which colours and sharpness are measured.
_VIEW = 384


def slope(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Least-squares slope of y over x."""
    dx = np.asarray(x, np.float64)
    dx = dx - dx.mean()
    values = np.asarray(y, np.float64)
    return float(dx @ (values - values[0]) / (dx @ dx))  # less the first: a constant has a slope of exactly 0


def rank_correlation(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Spearman's: Pearson's correlation of the ranks, ties sharing their mean rank; 0 where one of the two is constant."""
    from scipy.stats import rankdata  # half a second

    a, b = (rankdata(v) for v in (x, y))
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 0 else 0.0


def cosine(a: Floats, b: Floats) -> Floats:
    """Cosine of the angle between vectors [..., D]."""
    return (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))


class Pairs(NamedTuple):
    """Cosines and Euclidean distances of pairs of different pictures, [P] each."""

    cosine: Floats
    distance: Floats


def pairs(vectors: Floats, people: Sequence[str], genders: Sequence[str]) -> dict[str, Pairs]:
    """All pairs of ``vectors`` [N, D]: of the same person, of different people, and of different people of one gender."""
    i, j = np.triu_indices(len(vectors), 1)
    person, gender = np.array(people), np.array(genders)
    same, alike = person[i] == person[j], gender[i] == gender[j]
    both = Pairs(cosine(vectors[i], vectors[j]), np.linalg.norm(vectors[i] - vectors[j], axis=-1))
    chosen = {"same": same, "different": ~same, "different, one gender": ~same & alike}
    return {name: Pairs(both.cosine[mask], both.distance[mask]) for name, mask in chosen.items()}


def canonical_positions(affine: Floats, height: int, width: int) -> Floats:
    """Canonical (x, y) of every pixel's centre, [H, W, 2]."""
    y, x = np.mgrid[:height, :width] + 0.5
    return geometry.apply(geometry.invert(affine), np.stack([x, y], -1))


def background(affine: Floats, height: int, width: int) -> Mask:
    """Pixels of the face's square beside and above the head, [H, W]: outside an ellipse round head and hair, over the
    shoulders. Wide hair reaches into it."""
    x, y = np.moveaxis(canonical_positions(affine, height, width), -1, 0)
    beside = ((x - 0.5) / 0.40) ** 2 + ((y - 0.50) / 0.46) ** 2 > 1
    return np.asarray(beside & (x >= 0) & (x <= 1) & (y >= 0) & (y < 0.70))


def change(before: Frame, after: Frame, mask: Mask) -> float:
    """Mean absolute change inside ``mask`` [H, W], levels of a byte."""
    return float(np.abs(after[mask].astype(np.int16) - before[mask]).mean()) if mask.any() else 0.0


def to_lab(picture: Floats) -> Floats:
    """sRGB in [0, 1], [..., 3], to CIELAB under D65."""
    from skimage.color import rgb2lab

    return rgb2lab(picture)


def skin(frame: Frame, affine: Floats) -> dict[str, Floats]:
    """Median CIELAB [3] of the cheeks and of cheeks and forehead together ("skin")."""
    patches = []
    for box in (*CHEEKS, FOREHEAD):
        view = resample(np.ascontiguousarray(frame), geometry.view_affine(affine, box), 24, 24)
        patches.append(to_lab((view.transpose(1, 2, 0).astype(np.float64) + 1) / 2).reshape(-1, 3))
    cheeks = np.concatenate(patches[: len(CHEEKS)])
    return {"cheeks": np.median(cheeks, axis=0), "skin": np.median(np.concatenate(patches), axis=0)}


def typology_angle(lab: npt.ArrayLike) -> float:
    """Individual typology angle of a skin colour, degrees: arctan((L - 50) / b)."""
    lightness, _, b = np.asarray(lab, np.float64)
    return float(np.degrees(np.arctan2(lightness - 50, b)))


def tone(angle: float) -> str:
    """Name of the skin tone of a typology angle; an angle on a bound belongs to the darker tone."""
    return next((name for name, least in TONES if angle > least), TONES[-1][0])


def detail(frame: Frame, affine: Floats) -> float:
    """Root mean square of the two finest bands of an a-trous Laplacian pyramid, luma levels, inside the face's oval."""
    view = resample(np.ascontiguousarray(frame), affine, _VIEW, _VIEW).astype(np.float64)
    luma = np.tensordot([0.299, 0.587, 0.114], view, 1) * 127.5
    fine = luma - binomial(binomial(luma, 1), 2)
    return float(np.sqrt(np.mean(fine[oval(_VIEW)] ** 2)))


def oval(side: int) -> Mask:
    """The pixels of a canonical view [side, side] that lie inside the face's oval."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    return np.asarray(((x - 0.5) / 0.25) ** 2 + ((y - 0.58) / 0.33) ** 2 < 1)


def rim_edges(frame: Frame, affine: Floats) -> Floats:
    """Gradients of the luma where rims, bridge and hinges of glasses run, [H, W, 2] (y, x) in levels a view pixel.

    That is a band about the eyes, but 0 in the eyes themselves, whose lashes and irises would outweigh thin rims.
    """
    height, width = 4 * _TILE, 12 * _TILE
    view = resample(np.ascontiguousarray(frame), geometry.view_affine(affine, RIMS), height, width)
    luma = binomial(np.tensordot([0.299, 0.587, 0.114], view.astype(np.float64), 1) * 127.5, 1)
    x0, y0, x1, y1 = RIMS
    y, x = np.mgrid[:height, :width] + 0.5
    at = np.stack([x0 + x / width * (x1 - x0), y0 + y / height * (y1 - y0)], -1)
    eyes = [(((at - eye - (0, 0.005)) / (0.075, 0.042)) ** 2).sum(-1) < 1 for eye in geometry.TEMPLATE[:2]]
    edges: Floats = np.stack(np.gradient(luma), -1)
    edges[eyes[0] | eyes[1]] = 0
    return edges


def edges_kept(before: Floats, after: Floats) -> float:
    """Fraction of a picture's edges that is left in another, 0 to 1: gradients ``after`` [H, W, 2] projected on those before.

    Contrast, blur and shift count alike: half the contrast is 0.5. New edges elsewhere, wrinkles or noise, hardly count.
    A tile whose edges grew counts as kept, so that darker brows do not make up for rims that fade. (The correlation of
    gradient magnitudes is blind to contrast: rims that fade evenly keep a correlation of 1.) 1 where there were no edges.
    """

    def tiles(x: Floats) -> Floats:
        height, width = x.shape[:2]
        return x.reshape(height // _TILE, _TILE, width // _TILE, _TILE, 2).sum((1, 3, 4))

    energy = tiles(before**2)
    return float(np.clip(tiles(before * after), 0, energy).sum() / energy.sum()) if energy.any() else 1.0


def binomial(x: Floats, step: int) -> Floats:
    """Binomial blur (1 4 6 4 1) / 16 of [H, W, ...] with holes of ``step`` pixels, reflected at the border."""
    kernel = np.zeros(4 * step + 1)
    kernel[::step] = np.array([1, 4, 6, 4, 1]) / 16
    return correlate1d(correlate1d(x, kernel, 0, mode="mirror"), kernel, 1, mode="mirror")
