"""Where a subject's visible skin and features are, from its mesh and its own colours."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from .subject import (
    BELOW_NOSE,
    BROWS,
    CHIN,
    FOREHEAD_EDGE,
    LEFT_BROW,
    LEFT_EYE,
    LIPS,
    NOSTRILS,
    OVAL,
    RIGHT_BROW,
    RIGHT_EYE,
    SIDE,
    Floats,
    Mask,
    Subject,
)

#: How far the forehead goes on above the mesh, of its height below (textures end there).
FOREHEAD_ABOVE = 0.55


def lab(image: Floats) -> Floats:
    """CIE L*a*b* of RGB in [0, 1]: L in [0, 100]."""
    return cv2.cvtColor(np.clip(image, 0, 1).astype(np.float32), cv2.COLOR_RGB2LAB)


def rgb(image: Floats) -> Floats:
    """RGB in [0, 1] of L*a*b*."""
    return np.clip(cv2.cvtColor(image.astype(np.float32), cv2.COLOR_LAB2RGB), 0, 1)


def blur(image: npt.NDArray[np.generic], sigma: float) -> Floats:
    return cv2.GaussianBlur(np.asarray(image, np.float32), (0, 0), sigma)


def masked_blur(image: Floats, mask: npt.NDArray[np.generic], sigma: float) -> Floats:
    """Gaussian mean over the pixels of a mask alone (normalised convolution, Knutsson & Westin 1993)."""
    weight = np.asarray(mask, np.float32)
    spread = blur(weight, sigma) + 1e-4
    if image.ndim == 2:
        return blur(image * weight, sigma) / spread
    return blur(image * weight[..., None], sigma) / spread[..., None]


def polygon(points: npt.NDArray[np.float64], hull: bool = True) -> Mask:
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    corners = np.round(points).astype(np.int32)
    cv2.fillPoly(canvas, [cv2.convexHull(corners) if hull else corners], 1)
    return canvas > 0


def grow(mask: Mask, radius: int) -> Mask:
    return cv2.dilate(mask.astype(np.uint8), _disk(radius)) > 0


def shrink(mask: Mask, radius: int) -> Mask:
    return cv2.erode(mask.astype(np.uint8), _disk(radius)) > 0


def _disk(radius: int) -> npt.NDArray[np.uint8]:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def soft(mask: Mask, sigma: float) -> Floats:
    return blur(mask.astype(np.float32), sigma)


def feature(subject: Subject, points: Sequence[int], radius: int = 0) -> Mask:
    found = polygon(subject.mesh[list(points)])
    return grow(found, radius) if radius else found


def features(subject: Subject, radius: int = 2, brows: bool = True) -> Mask:
    """Eyes, brows, lips and nostrils."""
    found = feature(subject, LIPS, radius + 1)
    for points, extra in ((LEFT_EYE, 0), (RIGHT_EYE, 0)) + (((LEFT_BROW, 2), (RIGHT_BROW, 2)) if brows else ()):
        found |= feature(subject, points, radius + extra)
    holes = np.zeros((SIDE, SIDE), np.uint8)
    for point in NOSTRILS:
        x, y = subject.mesh[point] + 0.25 * (subject.mesh[BELOW_NOSE] - subject.mesh[point])
        cv2.circle(holes, (round(x), round(y)), 4, 1, -1)
    return found | (holes > 0)


def oval(subject: Subject) -> Mask:
    return polygon(subject.mesh[list(OVAL)], hull=False)


def above_mesh(mesh: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Outline [n, 2] of the forehead above the mesh, which ends halfway up: its upper edge, a little lower, and the same moved up."""
    edge = mesh[list(FOREHEAD_EDGE)]
    up = mesh[FOREHEAD_EDGE[len(FOREHEAD_EDGE) // 2]] - mesh[list(BROWS)].mean(0)
    return np.concatenate([edge - 0.1 * up, edge[::-1] + FOREHEAD_ABOVE * up])


def forehead(subject: Subject, hair: Floats) -> Mask:
    """Visible skin of the forehead above the mesh: of the face's colour, no hair, and joined to the skin below."""
    face = skin(subject)
    if not face.any():
        return face
    colour = blur(subject.lab, 1.5)
    near = face & (np.arange(SIDE)[:, None] < subject.height_of(BROWS))
    off = colour - np.median(colour[near if near.any() else face], 0)
    like = (np.hypot(off[..., 1], off[..., 2]) < 8) & (off[..., 0] > -14) & (off[..., 0] < 18)
    found = polygon(above_mesh(subject.mesh), hull=False) & (subject.person > 0.6) & (hair < 0.1) & like
    found = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_OPEN, _disk(2)) > 0
    _, label = cv2.connectedComponents((found | grow(face, 2)).astype(np.uint8))
    return found & np.isin(label, np.unique(label[face]))


def neck(subject: Subject, hair: Floats) -> Mask:
    """Visible skin below the jaw: of the face's colour, or darker, as in the chin's shadow."""
    face = skin(subject)
    if not face.any():
        return face
    y = np.arange(SIDE)[:, None]
    below = (
        ~grow(oval(subject), 2) & (y > subject.height_of(LIPS)) & (y < subject.mesh[CHIN, 1] + 1.3 * subject.half_width)
    )
    colour = blur(subject.lab, 1.5)
    center = np.median(colour[face], 0)
    off = colour - center
    chroma = np.hypot(off[..., 1], off[..., 2]) < 9
    found = below & (subject.person > 0.6) & (hair < 0.2) & chroma & (off[..., 0] > -32) & (off[..., 0] < 10)
    return cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_OPEN, _disk(3)) > 0


def strands(subject: Subject) -> Mask:
    """Thin dark lines down the forehead, far darker than what is left and right of them: strands that hang over it, no creases."""
    light = subject.lab[..., 0]
    above = np.arange(SIDE)[:, None] < subject.height_of(BROWS) - 3
    beside = cv2.GaussianBlur(light, (0, 0), sigmaX=7.0, sigmaY=0.7)
    found = oval(subject) & above & (blur(light, 0.7) < beside - 14)
    return grow(found, 1)


@lru_cache(maxsize=4)
def skin(subject: Subject) -> Mask:
    """Visible skin of the face: inside the oval, off the features, and of the face's own colour.

    Light may fall off, so lightness may differ further from the median than the two chromatic axes.
    """
    inside = shrink(oval(subject), 3) & ~features(subject)
    colour = blur(subject.lab, 2.0)
    center = np.median(colour[inside], 0)
    # Hard light spreads lightness so far that a black fringe would pass for a shadow.
    spread = np.minimum(1.48 * np.median(abs(colour[inside] - center), 0) + (5.0, 2.5, 3.0), (9.0, 6.0, 7.0))
    distance = (colour - center) / spread
    like = (distance[..., 0] > -4.0) & (abs(distance[..., 1]) < 4.5) & (abs(distance[..., 2]) < 4.5) & ~strands(subject)
    return inside & (cv2.morphologyEx(like.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3))) > 0)
