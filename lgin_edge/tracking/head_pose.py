"""Where a head points, roughly, from its five landmarks; and how much of a change it should then get.

The five points of the canonical face are given depths, and the scaled orthographic projection that maps them to the five
points seen is solved for (POS; DeMenthon and Davis: Model-Based Object Pose in 25 Lines of Code, IJCV 1995).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..geometry import TEMPLATE, Float64

#: How far the tip of the nose stands out of the plane of the eyes and the corners of the mouth, as a fraction of the canonical
#: square: 23 mm where the eyes are 63 mm apart.
_NOSE = 0.09
#: The canonical face in space, [5, 3]: x to the right, y down, z away from the viewer. It looks at the viewer.
_MODEL: Float64 = np.column_stack([TEMPLATE, [0.0, 0.0, -_NOSE, 0.0, 0.0]])
_CENTERED: Float64 = _MODEL - _MODEL.mean(axis=0)
_SOLVE = np.linalg.pinv(_CENTERED)  # [3, 5]

#: Up to the first angle a face is changed in full, beyond the second not at all, degrees. The model learnt from faces that
#: look at the camera, and a cheek that is seen from the side is not where the canonical face has it.
YAW_LIMITS = (35.0, 55.0)
PITCH_LIMITS = (25.0, 45.0)


class Pose(NamedTuple):
    """Angles in degrees, 0 for a face that looks at the viewer. Roll turns it clockwise in the picture; in its own upright
    axes yaw turns it to the right of the picture, and pitch down."""

    yaw: float
    pitch: float
    roll: float


def head_pose(landmarks: Float64) -> Pose:
    """Pose of a face from its landmarks [5, 2], pixels. Rough: landmarks that are off by 3 % of the eye distance turn it by
    about 4 degrees, and people's noses differ by as much."""
    points = landmarks - landmarks.mean(axis=0)
    projection = (_SOLVE @ points).T  # [2, 3], the least-squares s R
    left, sizes, right = np.linalg.svd(projection, full_matrices=False)
    if sizes[1] <= 1e-9 * max(float(sizes[0]), 1e-9):
        return Pose(90.0, 0.0, 0.0)  # the points lie on a line: seen from the very side
    across, down = left @ right  # the nearest two rows of a rotation
    # Where the face's -z points, in the viewer's axes.
    gaze = -np.array([across[2], down[2], np.cross(across, down)[2]])
    eyes = landmarks[1] - landmarks[0]
    roll = math.atan2(eyes[1], eyes[0])
    cos, sin = math.cos(roll), math.sin(roll)
    aside, below = gaze[0] * cos + gaze[1] * sin, gaze[1] * cos - gaze[0] * sin  # ... and without the roll
    yaw = math.degrees(math.atan2(aside, -gaze[2]))
    pitch = math.degrees(math.asin(min(1.0, max(-1.0, below))))
    return Pose(yaw, pitch, math.degrees(roll))


def pose_strength(pose: Pose) -> float:
    """Fraction of the change that a face in this pose gets, 0 to 1 (``YAW_LIMITS``, ``PITCH_LIMITS``; roll is undone by the
    fit and costs nothing)."""
    return falling(abs(pose.yaw), *YAW_LIMITS) * falling(abs(pose.pitch), *PITCH_LIMITS)


def falling(value: float, full: float, none: float) -> float:
    """1 up to ``full``, 0 from ``none`` on, smooth between (smoothstep); ``full`` may also be the larger of the two."""
    t = min(1.0, max(0.0, (value - none) / (full - none)))
    return t * t * (3.0 - 2.0 * t)
