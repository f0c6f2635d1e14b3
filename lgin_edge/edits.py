"""Edits: what a model says is to be changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import InputError
from .frames import Floats


@dataclass(frozen=True, eq=False)
class Edits:
    """What a model says is to be changed, for N faces at one age. All arrays are float32 or float16.

    Format 1 has residuals alone: ``face_edit`` and ``patch_edit`` of three channels. From format 2 on they have six and four, and
    the others may be there (``lines`` only with ``place``); a face's strength scales all of it but ``skin`` and ``place``.
    What is not a number counts as 0.
    """

    #: [N, 3 or 6, S, S] of the face view: residual R, G, B in [-2, 2] (1 is 127.5 levels); then gain (more than -1), grey (0 to 1)
    #: and skin (0 to 1: where lines are drawn).
    face_edit: Floats
    patch_edit: Floats  #: [N, 5, 3 or 4, P, P] of the local views: residual, then gain.
    flow: Floats | None = None  #: [N, 2, F, F] (x, y), canonical units: how far from here the frame is read.
    #: [N, 2, F, F] (x, y) in [0, 1]: where a position of the face lies in the lines' texture.
    place: Floats | None = None
    lines: Floats | None = None  #: [N, 1, A, A], log light.

    @property
    def residuals_alone(self) -> bool:
        """Whether these are edits of format 1."""
        face = self.face_edit
        return isinstance(face, np.ndarray) and face.ndim == 4 and face.shape[1] == 3

    def checked(self, n: int, s: int, p: int) -> list[Floats | None]:
        """The arrays as the kernels take them, C-contiguous, aligned, of one dtype, for N faces with views of S and P pixels.

        Raises InputError: an array has another shape or dtype, or is there without another that it needs.
        """
        alone = self.residuals_alone
        coarse = _side(self.place if self.flow is None else self.flow)
        expected = {
            "face_edit": (self.face_edit, (n, 3 if alone else 6, s, s)),
            "patch_edit": (self.patch_edit, (n, 5, 3 if alone else 4, p, p)),
            "flow": (self.flow, (n, 2, coarse, coarse)),
            "place": (self.place, (n, 2, coarse, coarse)),
            "lines": (self.lines, (n, 1, _side(self.lines), _side(self.lines))),
        }
        if self.lines is not None and self.place is None:
            raise InputError("lines: expected place too, which says where they are drawn")
        given: list[Floats | None] = []
        for name, (array, shape) in expected.items():
            needed = name in ("face_edit", "patch_edit")
            if array is None and not needed:
                given.append(None)
                continue
            if not isinstance(array, np.ndarray) or array.dtype.newbyteorder("=") not in (np.float32, np.float16):
                got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
                raise InputError(f"{name}: expected a float32 or float16 array, got {got}")
            if alone and not needed:
                raise InputError(f"{name}: edits of format 1 have residuals alone; give face_edit six channels")
            if array.shape != shape:
                raise InputError(f"{name}: expected the plan's shape {shape}, got {array.shape}")
            given.append(array)
        kinds = {array.dtype for array in given if array is not None}
        kind = (kinds.pop() if len(kinds) == 1 else np.dtype(np.float32)).newbyteorder("=")
        arrays = [None if array is None else np.require(array, kind, ["C", "A"]) for array in given]
        return arrays[:2] if alone else arrays


def all_finite(array: Floats) -> bool:
    """Whether every value of a float32 or float16 array is a number, and none is infinite."""
    if array.dtype == np.float16:  # by its bits: NumPy's ``isfinite`` takes ten times as long
        return int((array.view(np.uint16) & 0x7FFF).max(initial=0)) < 0x7C00
    return bool(np.isfinite(array).all())


def _side(array: Floats | None) -> int:
    return int(array.shape[-1]) if isinstance(array, np.ndarray) and array.ndim else 1
