"""The points by which a face is followed, each with its place on the face."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .. import geometry
from ..geometry import Float64
from .optical_flow import Patch, choose_points, follow, similarity

#: A point may move this far on the face, with lips and brows or because the head turns; canonical units, in which the eyes are
#: 0.246 apart. A point that goes further was carried off by something that passes before the face.
_MAX_STRAY = 0.06


class FacePoints:
    """Points of one face. Points that are lost keep their places: they tell where the face can no longer be seen.

    A point need not move as the whole face does (only the face's movement is fitted to those that agree on one): a mouth that
    speaks and a nose that turns before its cheeks keep their points.

    Attributes:
        positions: of the points that are still followed, [P, 2] frame pixels.
        homes: places of all chosen points on the face, [N, 2] canonical.
        followed: which of these are still followed, [N].
    """

    def __init__(self) -> None:
        self.clear()

    @property
    def lost_fraction(self) -> float:
        """Fraction of the chosen points that were lost, 0 to 1."""
        return 1.0 - float(self.followed.mean()) if len(self.followed) else 0.0

    def clear(self) -> None:
        """Follow no points."""
        self.positions: Float64 = np.empty((0, 2))
        self.homes: Float64 = np.empty((0, 2))
        self.followed: npt.NDArray[np.bool_] = np.zeros(0, bool)

    def choose(self, patch: Patch, affine: Float64) -> None:
        """Begin anew in a patch of the face, whose ``A`` is ``affine`` [2, 3]."""
        self.positions = choose_points(patch, affine)
        self.homes = geometry.apply(geometry.invert(affine), self.positions)
        self.followed = np.ones(len(self.homes), bool)

    def follow(self, old: Patch, new: Patch) -> Float64 | None:
        """Follow the points from one frame to the next; the similarity [2, 3] that the face moved by, None if there is none."""
        positions, sure = follow(old, new, self.positions)
        fit = similarity(self.positions[sure], positions[sure], new)
        if fit is None:
            return None
        self._keep(sure, positions)
        return fit[0]

    def drop_strays(self, affine: Float64) -> None:
        """Lose the points that left their places on the face."""
        places = geometry.apply(geometry.invert(affine), self.positions)
        self._keep(np.linalg.norm(places - self.homes[self.followed], axis=1) < _MAX_STRAY, self.positions)

    def move_homes(self, affine: Float64) -> None:
        """The face turned out to lie elsewhere: the points stay, and are elsewhere on it."""
        self.homes[self.followed] = geometry.apply(geometry.invert(affine), self.positions)

    def _keep(self, which: npt.NDArray[np.bool_], positions: Float64) -> None:
        self.positions = positions[which]
        self.followed[self.followed] = which
