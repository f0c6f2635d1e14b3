"""How a face moved from one frame to the next, by optical flow (Lucas and Kanade, in OpenCV's pyramids).

All of it happens in a small grey ``Patch`` round the face, in which the eyes are always about as far apart: so the cost, and
what a pixel of error means to the face, depend neither on the frame's size nor on the face's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..frames import Frame, PixelFormat
from ..geometry import Float64, apply
from .opencv import opencv

#: Distance of the eyes in a patch, pixels; a smaller face is enlarged by this much at the most.
_EYES = 48.0
_MAX_ENLARGE = 2.0
#: How far a patch reaches from the middle of the face, eye distances: the face and the way that it can go between two frames.
_REACH = 2.6
#: A patch is kept while it reaches at least this share of that.
_STILL_FITS = 0.85
_MIN_SIDE = 16
#: Points to follow in a face, and their distance, patch pixels.
MAX_POINTS = 60
_POINT_DISTANCE = 5
#: The face without what lies round it: an ellipse in canonical coordinates, centre and half axes.
OVAL_CENTER, OVAL_AXES = (0.5, 0.62), (0.26, 0.32)
#: Lucas-Kanade window and pyramid levels; a point that does not come back to where it started is lost; patch pixels.
_WINDOW, _LEVELS = (15, 15), 3
_RETURN = 0.5
#: Light on a face that changed by less than this is left alone.
_SAME_LIGHT = 0.02
#: A point this far from where the others went does not belong to the face (a hand, the background), patch pixels.
_TOLERANCE = 1.0
#: More than this is not a head between two frames but a mistake: factor of size, radians.
_MAX_SCALE, _MAX_TURN = 1.3, 0.6
_LEAST_POINTS = 6


@dataclass(frozen=True, eq=False)
class Patch:
    """A grey part of a frame."""

    gray: Frame  # [h, w]
    corner: tuple[int, int, int, int]  # (x0, y0, x1, y1) of the part, whole frame pixels

    @property
    def scale(self) -> Float64:
        """Patch pixels for one frame pixel, [2] (x, y)."""
        x0, y0, x1, y1 = self.corner
        return np.array([self.gray.shape[1] / (x1 - x0), self.gray.shape[0] / (y1 - y0)])

    def to_patch(self, points: Float64) -> npt.NDArray[np.float32]:
        """Frame pixels [N, 2], whose centres lie at half-integers, to OpenCV's coordinates, where they are integers."""
        inside = (points - self.corner[:2]) * self.scale - 0.5
        return inside.astype(np.float32)

    def to_frame(self, points: npt.NDArray[np.float32]) -> Float64:
        """The inverse of ``to_patch``."""
        result: Float64 = (points.astype(np.float64) + 0.5) / self.scale + self.corner[:2]
        return result


def eye_distance(landmarks: Float64) -> float:
    """Size of a face [5, 2] that a turned head keeps better than the distance of the eyes alone: RMS distance of the
    landmarks from their middle, in units in which a frontal face gives the distance of its eyes."""
    return 1.588 * float(np.sqrt(((landmarks - landmarks.mean(axis=0)) ** 2).sum(axis=1).mean()))


def face_patch(frame: Frame, pixel_format: PixelFormat, landmarks: Float64) -> Patch | None:
    """The patch round a face; None if hardly anything of it is in the frame."""
    height, width = pixel_format.size(frame)
    unit = eye_distance(landmarks)
    middle = landmarks.mean(axis=0)
    low = np.clip(np.floor((middle - _REACH * unit) / 2) * 2, 0, (width, height)).astype(int)
    high = np.clip(np.ceil((middle + _REACH * unit) / 2) * 2, 0, (width, height)).astype(int)
    size = np.rint((high - low) * min(_MAX_ENLARGE, _EYES / unit)).astype(int)
    if size.min() < _MIN_SIDE or (high - low).min() < 2:
        return None
    corner = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    return Patch(_gray(frame, pixel_format, corner, (int(size[0]), int(size[1]))), corner)


def still_fits(patch: Patch, frame: Frame, pixel_format: PixelFormat, landmarks: Float64) -> bool:
    """Whether a patch that was cut for an earlier place of a face will do for this one: it saves cutting another."""
    height, width = pixel_format.size(frame)
    unit = eye_distance(landmarks)
    middle = landmarks.mean(axis=0)
    reach = _STILL_FITS * _REACH * unit
    x0, y0, x1, y1 = patch.corner
    wide = (x0 <= max(0.0, middle[0] - reach)) & (y0 <= max(0.0, middle[1] - reach))
    high = (x1 >= min(width, middle[0] + reach)) & (y1 >= min(height, middle[1] + reach))
    wanted = min(_MAX_ENLARGE, _EYES / unit)
    return bool(wide and high and 0.9 < float(patch.scale.mean()) / wanted < 1.1)


def same_patch(frame: Frame, pixel_format: PixelFormat, patch: Patch) -> Patch:
    """The same part of another frame of the same size."""
    return Patch(_gray(frame, pixel_format, patch.corner, (patch.gray.shape[1], patch.gray.shape[0])), patch.corner)


def choose_points(patch: Patch, affine: Float64) -> Float64:
    """Points of a face that can be followed in its patch, [P, 2] frame pixels; none where it shows nothing. ``affine`` is its ``A``
    [2, 3]."""
    cv2 = opencv()
    turns = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    edge = np.column_stack([np.cos(turns), np.sin(turns)]) * OVAL_AXES + OVAL_CENTER
    mask = np.zeros(patch.gray.shape, np.uint8)
    cv2.fillConvexPoly(mask, np.rint(patch.to_patch(apply(affine, edge))).astype(np.int32), 255)
    found = cv2.goodFeaturesToTrack(patch.gray, MAX_POINTS, 0.005, _POINT_DISTANCE, mask=mask, blockSize=5)
    return np.empty((0, 2)) if found is None else patch.to_frame(found.reshape(-1, 2))


def follow(old: Patch, new: Patch, points: Float64) -> tuple[Float64, npt.NDArray[np.bool_]]:
    """Where points went.

    Args:
        old, new: the same part of two frames.
        points: [P, 2] frame pixels in the old one.

    Returns: Points [P, 2] in the new one, and which of them [P] can be believed: followed back, they arrive where they started.
    """
    if not len(points):
        return points, np.zeros(0, bool)
    cv2 = opencv()
    start = old.to_patch(points)
    # Lucas and Kanade take every change for movement: a lamp's is taken out first.
    low, high = start.min(axis=0).astype(int).clip(0), start.max(axis=0).astype(int) + 2
    face = slice(low[1], high[1]), slice(low[0], high[0])
    light = float(old.gray[face].mean()) / max(1.0, float(new.gray[face].mean()))
    gray = new.gray if abs(light - 1.0) < _SAME_LIGHT else cv2.convertScaleAbs(new.gray, alpha=light)
    options = {"winSize": _WINDOW, "maxLevel": _LEVELS, "criteria": (3, 20, 0.01)}
    there, good, _ = cv2.calcOpticalFlowPyrLK(old.gray, gray, start, None, **options)
    back, good_back, _ = cv2.calcOpticalFlowPyrLK(gray, old.gray, there, None, **options)
    size = (new.gray.shape[1], new.gray.shape[0])
    inside = ((there >= 0) & (there <= np.subtract(size, 1))).all(axis=1)
    returned = np.linalg.norm(back - start, axis=1) < _RETURN
    sure = (good.ravel() == 1) & (good_back.ravel() == 1) & inside & returned
    return new.to_frame(there), sure


def similarity(before: Float64, after: Float64, patch: Patch) -> tuple[Float64, npt.NDArray[np.bool_]] | None:
    """The similarity [2, 3] that most of the points follow, and which [P] do; None if there is none, or not one of a head.

    Args:
        before, after: [P, 2] frame pixels.
        patch: tells how much of an error a frame pixel is.
    """
    if len(before) < _LEAST_POINTS:
        return None
    # Round the middle: far from it a turn and a shift look alike, and rounding counts.
    middle = before.mean(axis=0)
    linear, followed = opencv().estimateAffinePartial2D(
        before - middle, after - middle, ransacReprojThreshold=_TOLERANCE / float(patch.scale.mean()), refineIters=10
    )
    if linear is None or not np.isfinite(linear).all():
        return None
    scale, turn = np.hypot(linear[0, 0], linear[1, 0]), np.arctan2(linear[1, 0], linear[0, 0])
    belongs = followed.ravel() == 1
    if not 1 / _MAX_SCALE < scale < _MAX_SCALE or abs(turn) > _MAX_TURN or belongs.sum() < _LEAST_POINTS:
        return None
    shift = linear[:, 2] + middle - linear[:, :2] @ middle
    return np.column_stack([linear[:, :2], shift]), belongs


def _gray(frame: Frame, pixel_format: PixelFormat, corner: tuple[int, int, int, int], size: tuple[int, int]) -> Frame:
    cv2 = opencv()
    x0, y0, x1, y1 = corner
    part = frame[y0:y1, x0:x1]
    if not pixel_format.is_nv12:  # whose upper rows are the luma
        # OpenCV takes rows with gaps between them, but no other strides.
        plain = part.strides[2] == 1 and part.strides[1] == part.shape[2] and part.strides[0] > 0
        code = getattr(cv2, f"COLOR_{pixel_format.name}2GRAY")
        part = cv2.cvtColor(part if plain else np.ascontiguousarray(part), code)
    reducing = size[0] < x1 - x0
    gray: Frame = cv2.resize(part, size, interpolation=cv2.INTER_AREA if reducing else cv2.INTER_LINEAR)
    return gray
