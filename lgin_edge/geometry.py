"""The canonical face: template, similarity fit, region boxes and blending windows.

One definition, shared by training, export, kernels and tests (it is what ``face`` and ``boxes`` mean in the model file).

*Canonical space* is the unit square with the face where FFHQ puts it. A similarity ``A`` (2x3) maps canonical points to
frame pixels. Pixel centres lie at half-integers: pixel ``(i, j)`` of a ``P x P`` view of the box ``(x0, y0, x1, y1)`` is
the canonical point ``(x0 + (j + 1/2)/P (x1 - x0),  y0 + (i + 1/2)/P (y1 - y0))``, and the frame's pixel ``(i, j)``
covers ``[j, j+1] x [i, i+1]``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .arguments import check_integer, check_real
from .errors import InputError

Float64 = npt.NDArray[np.float64]

#: Five landmarks of the canonical face, named as seen in the picture, [5, 2] (x, y).
LANDMARK_NAMES = ("left eye", "right eye", "nose tip", "left mouth corner", "right mouth corner")
TEMPLATE: Float64 = np.array([(0.3769, 0.4687), (0.6229, 0.4691), (0.5012, 0.6133), (0.3931, 0.7254), (0.6115, 0.7249)])

#: The five local regions and their boxes (x0, y0, x1, y1) on the template, [5, 4].
REGION_NAMES = ("forehead", "eyes", "nose", "mouth", "cheeks_chin")
REGION_BOXES: Float64 = np.array(
    [
        (0.22, 0.17, 0.78, 0.43),
        (0.20, 0.38, 0.80, 0.56),
        (0.36, 0.42, 0.64, 0.68),
        (0.32, 0.62, 0.68, 0.82),
        (0.15, 0.52, 0.85, 0.98),
    ]
)
#: Which landmarks each region's box follows (their mean shift against the template).
REGION_ANCHORS = ((0, 1), (0, 1), (2,), (3, 4), (2, 3, 4))

FULL_BOX: Float64 = np.array((0.0, 0.0, 1.0, 1.0))
#: Side of the face view and of the local patches, pixels.
FACE_SIZE = 256
PATCH_SIZE = 128
#: Fraction of a view's side over which its blending window rises from 0 to 1: ``w_0`` and ``w_r`` of the paste.
FACE_TAPER = 0.12
REGION_TAPER = 0.30
MAX_VIEW_SIDE = 4096
#: The first and the last format of a model's edits.
EDIT_FORMATS = (1, 4)


@dataclass(frozen=True)
class ViewSpec:
    """How a model is fed and pasted.

    Raises InputError: a size out of range, or no number. (``kernels.FacePlan`` checks the values of the others.)
    """

    face_size: int = FACE_SIZE  #: S, side of the face view in pixels, 1 to 4096.
    patch_size: int = PATCH_SIZE  #: P, side of the five local views in pixels, 1 to 4096.
    face_taper: float = FACE_TAPER  #: Rise of the blending window w_0 as a fraction of a view's side, 0.001 to 0.5.
    region_taper: float = REGION_TAPER  #: The same of w_r.
    #: (x0, y0, x1, y1) of the face view in canonical coordinates, each from -1 to 2.
    face_box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    #: The model's format, which says what its edits mean (``kernels.region_paste``): 2 moves first, 3 edits first, in 4 lines leave colour
    #: as it is. Format 1 has residuals alone.
    edit_format: int = 4

    def __post_init__(self) -> None:
        for name in ("face_size", "patch_size"):
            side = check_integer(name, getattr(self, name), 1, MAX_VIEW_SIDE, "of pixels ")
            object.__setattr__(self, name, side)
        for name in ("face_taper", "region_taper"):
            object.__setattr__(self, name, check_real(name, getattr(self, name)))
        if not isinstance(self.face_box, tuple) or len(self.face_box) != 4:
            raise InputError(f"face_box: expected (x0, y0, x1, y1), got {self.face_box!r}")
        if isinstance(self.edit_format, bool):
            raise InputError(f"edit_format: expected a whole number, got {self.edit_format}")
        object.__setattr__(self, "edit_format", check_integer("edit_format", self.edit_format, *EDIT_FORMATS))
        object.__setattr__(self, "face_box", tuple(check_real("face_box", one) for one in self.face_box))


def fit_similarity(landmarks: npt.ArrayLike) -> Float64:
    """Least-squares similarity from the canonical template to five landmarks in a frame.

    Args:
        landmarks: [5, 2] (x, y) in frame pixels, in the order of ``LANDMARK_NAMES``.

    Returns:
        ``A`` [2, 3] float64, canonical (x, y, 1) to frame pixels; rotation, one scale, shift (Umeyama 1991, without
        reflection: with ``z = x + iy`` the fit is the complex regression ``z_frame = s z_template + t``).

    Raises InputError: wrong shape, not finite, or the landmarks coincide or are mirrored so that no similarity fits.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != (5, 2):
        raise InputError(f"landmarks: expected shape (5, 2), {LANDMARK_NAMES} as (x, y), got {points.shape}")
    if not np.isfinite(points).all():
        raise InputError(f"landmarks: expected finite pixel coordinates, got {points.tolist()}")
    template = TEMPLATE @ (1, 1j)
    frame = points @ (1, 1j)
    z = template - template.mean()
    w = frame - frame.mean()
    s = np.vdot(z, w) / np.vdot(z, z).real
    spread = np.vdot(w, w).real
    # A similarity explains a face (even in profile); it does not explain mirrored, swapped or collapsed points.
    explained = abs(s) ** 2 * np.vdot(z, z).real / spread if spread > 0 else 0.0
    if explained < 0.5 or spread < 1e-6:
        raise InputError(
            "landmarks: no similarity fits these five points (they coincide, or left and right are swapped); expected "
            f"{LANDMARK_NAMES} as seen in the picture, got {points.tolist()}"
        )
    t = frame.mean() - s * template.mean()
    return np.array([[s.real, -s.imag, t.real], [s.imag, s.real, t.imag]])


def invert(affine: Float64) -> Float64:
    """Inverse of a 2x3 affine map, 2x3."""
    linear = np.linalg.inv(affine[:, :2])
    return np.column_stack([linear, -linear @ affine[:, 2]])


def apply(affine: Float64, points: npt.ArrayLike) -> Float64:
    """Map points [..., 2] through a 2x3 affine map."""
    result: Float64 = np.asarray(points, np.float64) @ affine[:, :2].T + affine[:, 2]
    return result


def region_boxes(landmarks: npt.ArrayLike, affine: Float64) -> Float64:
    """Boxes of the five local regions of one face: template boxes moved with the landmarks they belong to.

    Args:
        landmarks: [5, 2] frame pixels.
        affine: ``A`` [2, 3] of this face (``fit_similarity``).

    Returns: [5, 4] (x0, y0, x1, y1) in canonical coordinates; template sizes, kept inside the unit square.
    """
    shift = apply(invert(affine), landmarks) - TEMPLATE
    moves = np.array([shift[list(anchor)].mean(axis=0) for anchor in REGION_ANCHORS])
    moves = np.clip(moves, -REGION_BOXES[:, :2], 1.0 - REGION_BOXES[:, 2:])
    boxes: Float64 = REGION_BOXES + np.tile(moves, 2)
    return boxes


def view_affine(affine: Float64, box: npt.ArrayLike) -> Float64:
    """Map the unit square of a view (its own u, v in [0, 1]) to frame pixels: ``A`` after the box, [2, 3]."""
    x0, y0, x1, y1 = np.asarray(box, np.float64)
    linear = affine[:, :2] * (x1 - x0, y1 - y0)
    return np.column_stack([linear, affine[:, :2] @ (x0, y0) + affine[:, 2]])


def window(t: npt.ArrayLike, taper: float) -> Float64:
    """Raised-cosine window on [0, 1]: 0 at and beyond both ends, 1 inside, rising over ``taper`` of the side.

    ``w(t) = (1 - cos(pi min(1, max(0, min(t, 1 - t)) / taper))) / 2``; a view's window is ``w(u) w(v)``.
    """
    t = np.asarray(t, np.float64)
    rise = np.clip(np.minimum(t, 1.0 - t) / taper, 0.0, 1.0)
    result: Float64 = 0.5 - 0.5 * np.cos(np.pi * rise)
    return result
