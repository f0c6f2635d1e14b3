"""Where things are in a face, for judging alone: a mesh, the person, visible skin, hair. Cached for each input.

The mesh file (``training/targets/mesh.py`` writes it, with MediaPipe in an environment of its own) is an ``.npz`` with ``name``
[N] (``Photo.key``), ``landmarks`` [N, 478, 3] canonical and ``person`` [N, 256, 256] uint8. *Mesh space* is the mean face of
that file: what is drawn there lies at the same place on every face.

The matte of hair is made here and not taken from the training's targets: a judge that shares the masks of what it judges
does not see where they are wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from scipy.spatial import Delaunay

from lgin_edge.frames import Frame

from ..dataset.labels import Photo
from ..evaluation.measures import Floats, Mask, to_lab

#: Side of the canonical view and of mesh space, pixels.
SIDE = 384
#: Vertices of MediaPipe's mesh without the irises; outlines of its parts.
VERTICES = 468
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
        148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
EYES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
BROWS = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276))
BROW_TOPS, EYE_CORNERS, MOUTH_CORNERS = (105, 334), (33, 263), (61, 291)
#: Height of the region of eyes and crow's feet below the eyes' corners, canonical.
BELOW_EYES = 0.09
REGIONS = ("forehead", "eyes", "cheeks")


class Meshes:
    """The mesh file: meshes and persons by ``Photo.key``, and mesh space.

    Raises FileNotFoundError: no such file. ValueError: not a file of meshes.
    """

    def __init__(self, path: Path) -> None:
        with np.load(path) as stored:
            if missing := {"name", "landmarks", "person"} - set(stored.files):
                raise ValueError(f"{path}: no mesh file: {', '.join(sorted(missing))} is missing")
            self._index = {str(name): i for i, name in enumerate(stored["name"])}
            self._points = stored["landmarks"][:, :VERTICES, :2].astype(np.float64)
            self._person = stored["person"]
        self.mean: Floats = self._points.mean(0)  # [468, 2]
        self._anatomies: dict[str, Anatomy] = {}

    def __contains__(self, photo: Photo) -> bool:
        return photo.key in self._index

    def of(self, photo: Photo) -> Anatomy:
        """The anatomy of an input, made once. Raises KeyError for a photo without a mesh."""
        if photo.key not in self._anatomies:
            i = self._index[photo.key]
            person = Image.fromarray(self._person[i]).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            self._anatomies[photo.key] = Anatomy(self._points[i], np.asarray(person, np.float64) / 255, photo)
        return self._anatomies[photo.key]

    def forget(self, photo: Photo) -> None:
        """Give a photo's anatomy up: some 10 MB."""
        self._anatomies.pop(photo.key, None)

    @cached_property
    def _corners(self) -> tuple[npt.NDArray[np.int64], Floats]:
        """Vertices [T, 3] round each texel of mesh space, and their weights [T, 3]; all 0 outside the face."""
        triangulation = Delaunay(self.mean)
        y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
        texels = np.stack([x, y], -1).reshape(-1, 2)
        triangle = triangulation.find_simplex(texels)
        transform = triangulation.transform[triangle]
        first = np.einsum("tij,tj->ti", transform[:, :2], texels - transform[:, 2])
        weights = np.concatenate([first, 1 - first.sum(-1, keepdims=True)], -1)
        weights[triangle < 0] = 0
        return triangulation.simplices[triangle].astype(np.int64), weights

    def unfold(self, picture: Floats, anatomy: Anatomy) -> Floats:
        """A canonical picture [SIDE, SIDE] in mesh space, [SIDE, SIDE]; 0 outside the face."""
        vertices, weights = self._corners
        at = np.einsum("tk,tkd->td", weights, anatomy.points[vertices]) * SIDE - 0.5
        values: Floats = ndimage.map_coordinates(picture, at[:, ::-1].T, order=1, mode="nearest")
        return (values * (weights.sum(-1) > 0)).reshape(SIDE, SIDE)

    @cached_property
    def regions(self) -> dict[str, Mask]:
        """Forehead, eyes (with brows and crow's feet) and cheeks (with mouth and chin) in mesh space, [SIDE, SIDE] each."""
        brow, eye = self.mean[BROW_TOPS, 1].mean(), self.mean[EYE_CORNERS, 1].mean() + BELOW_EYES
        y = ((np.arange(SIDE) + 0.5) / SIDE)[:, None]
        inside = self._corners[1].sum(-1).reshape(SIDE, SIDE) > 0
        bounds = ((0.0, brow), (brow, eye), (eye, 1.0))
        return {name: inside & (y >= low) & (y < high) for name, (low, high) in zip(REGIONS, bounds, strict=True)}


@dataclass
class Anatomy:
    """One input's parts. Pictures and masks are canonical, [SIDE, SIDE]."""

    points: Floats  # [468, 2] canonical
    person: Floats  # 0 to 1
    photo: Photo

    @cached_property
    def view(self) -> Floats:
        """The input, [SIDE, SIDE, 3] in [0, 1]."""
        return canonical_view(self.photo.frame())

    @cached_property
    def lab(self) -> Floats:
        return to_lab(self.view)

    @cached_property
    def oval(self) -> Mask:
        return self._polygons([OVAL])

    @cached_property
    def skin(self) -> Mask:
        """Visible facial skin: the face without eyes, brows and lips, of a colour like most of it (no fringe, beard, lens)."""
        face = self.oval & ~ndimage.binary_dilation(self._polygons([LIPS, *EYES, *BROWS]), iterations=4)
        smooth = ndimage.gaussian_filter(self.lab, (2, 2, 0))
        center = np.median(smooth[face], 0)
        # At most so wide: a beard or a fringe must not widen what counts as skin.
        spread = np.minimum(1.48 * np.median(np.abs(smooth[face] - center), 0) + (5, 2.5, 3), (9, 5, 6))
        like = np.abs((smooth - center) / spread) < (4, 4.5, 4.5)
        # Shine is skin.
        like[..., 0] |= smooth[..., 0] > center[0]
        return np.asarray(face & ndimage.binary_opening(like.all(-1), np.ones((3, 3))))

    @cached_property
    def hair(self) -> Mask:
        """Hair of the head above the mouth, where no collar is: darker or less red than the face's skin, outside the face, and
        joined to the top of the head."""
        lightness, redness, yellowness = np.moveaxis(
            ndimage.gaussian_filter(self.lab, (1.5, 1.5, 0)) - np.median(self.lab[self.skin], 0), -1, 0
        )
        unlike = (lightness < -20) | ((lightness < -9) & ((redness < -4) | (yellowness < -6)))
        unlike |= (lightness < 8) & (redness < -6)
        y = ((np.arange(SIDE) + 0.5) / SIDE)[:, None]
        brow = self.points[BROW_TOPS, 1].mean()
        place = (self.person > 0.5) & ~(self.oval & (y > brow - 0.02)) & (y < self.points[MOUTH_CORNERS, 1].mean())
        parts, count = ndimage.label(ndimage.binary_opening(place & unlike, np.ones((3, 3))))
        top = parts[(y < brow - 0.04) & ~ndimage.binary_dilation(self.oval, iterations=2) & (parts > 0)]
        sizes = np.bincount(top, minlength=count + 1)
        return np.asarray(np.isin(parts, np.flatnonzero(sizes >= 100)) & (parts > 0))

    @cached_property
    def soft_hair(self) -> Floats:
        """The hair as a matte in [0, 1] to paint with: soft at its edge, fading towards the height where ``hair`` ends."""
        y = ((np.arange(SIDE) + 0.5) / SIDE)[:, None]
        fade = np.clip((self.points[MOUTH_CORNERS, 1].mean() - y) / 0.12, 0, 1)
        return np.asarray(ndimage.gaussian_filter(self.hair.astype(np.float64), 2.5) * fade)

    @cached_property
    def outside(self) -> Floats:
        """Distance of every pixel from the person, canonical; 0 inside."""
        return ndimage.distance_transform_edt(self.person < 0.3) / SIDE

    def _polygons(self, outlines: Iterable[Iterable[int]]) -> Mask:
        from skimage.draw import polygon2mask

        mask = np.zeros((SIDE, SIDE), bool)
        for outline in outlines:
            mask |= polygon2mask((SIDE, SIDE), self.points[list(outline), ::-1] * SIDE)
        return mask


def canonical_view(frame: Frame) -> Floats:
    """An aligned picture as [SIDE, SIDE, 3] in [0, 1]."""
    small = Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.asarray(small, np.float64) / 255
