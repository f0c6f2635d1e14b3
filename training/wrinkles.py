"""Where age draws lines on a face: one map in canonical space, for the prototypes.

The mean face of any age has no wrinkles, because nobody's lie where another's do; regression therefore finds their shade
and not their lines. This map puts the lines where anatomy does (nasolabial folds, crow's feet, bags under the eyes, brow and
forehead), as grooves with a lit ridge beside them. Each line belongs to a local region and moves with that region's box, so
that a local generator always finds it at the same place of its patch: a line that wanders by more than its width is one that
no network learns to draw. Points are canonical; the left half is mirrored.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from lgin_edge import geometry

Point = tuple[float, float]

#: region, points of a quadratic curve that passes through the middle one, width, depth. Left half, mirrored.
PAIRS: tuple[tuple[str, tuple[Point, ...], float, float], ...] = (
    ("cheeks_chin", ((0.438, 0.598), (0.392, 0.650), (0.362, 0.738)), 0.0075, 1.0),  # nasolabial fold
    ("cheeks_chin", ((0.374, 0.748), (0.366, 0.780), (0.376, 0.815)), 0.0060, 0.6),  # marionette line
    ("eyes", ((0.330, 0.503), (0.378, 0.532), (0.432, 0.508)), 0.0055, 0.75),  # bag under the eye
    ("eyes", ((0.437, 0.500), (0.405, 0.548), (0.352, 0.566)), 0.0090, 0.45),  # tear trough
    ("eyes", ((0.303, 0.455), (0.285, 0.443), (0.262, 0.437)), 0.0030, 0.7),  # crow's foot, upper
    ("eyes", ((0.300, 0.470), (0.280, 0.471), (0.252, 0.474)), 0.0030, 0.8),  # crow's foot, middle
    ("eyes", ((0.304, 0.485), (0.287, 0.496), (0.266, 0.512)), 0.0030, 0.7),  # crow's foot, lower
    ("forehead", ((0.482, 0.392), (0.480, 0.415), (0.486, 0.440)), 0.0035, 0.5),  # frown line
    ("cheeks_chin", ((0.315, 0.640), (0.300, 0.690), (0.312, 0.745)), 0.0050, 0.3),  # cheek line
)
#: The same for lines across the middle.
CENTRAL: tuple[tuple[str, tuple[Point, ...], float, float], ...] = (
    ("forehead", ((0.360, 0.345), (0.5, 0.335), (0.640, 0.345)), 0.0038, 0.40),  # forehead, lower
    ("forehead", ((0.345, 0.312), (0.5, 0.300), (0.655, 0.312)), 0.0038, 0.50),  # forehead, middle
    ("forehead", ((0.365, 0.277), (0.5, 0.266), (0.635, 0.277)), 0.0038, 0.32),  # forehead, upper
)
#: How marked the lines are at an age in years, 0 to about 1.
AGES, DEPTHS = (30.0, 40.0, 50.0, 60.0, 70.0), (0.0, 0.05, 0.3, 0.7, 1.2)


def curve(points: tuple[Point, ...], n: int = 48) -> npt.NDArray[np.float64]:
    """[n, 2] points of the quadratic Bezier curve through ``points``."""
    start, middle, end = (np.array(p) for p in points)
    t = np.linspace(0, 1, n)[:, None]
    return start * (1 - t) ** 2 + 2 * (2 * middle - (start + end) / 2) * t * (1 - t) + end * t**2


@lru_cache
def wrinkle_map(side: int, region: str) -> npt.NDArray[np.float32]:
    """[side, side] of one region's lines: about -1 in the deepest groove, up to 0.45 on its ridges, 0 away from lines."""
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side
    total = np.zeros((side, side))
    mirrored = tuple((name, tuple((1 - px, py) for px, py in points), w, d) for name, points, w, d in PAIRS)
    for name, points, width, depth in (*PAIRS, *mirrored, *CENTRAL):
        if name != region:
            continue
        line = curve(points)
        squared = (x[..., None] - line[:, 0]) ** 2 + (y[..., None] - line[:, 1]) ** 2
        distance = np.sqrt(squared.min(-1))
        along = squared.argmin(-1) / (len(line) - 1)
        fade = np.sin(np.pi * (0.08 + 0.84 * along)) ** 0.7
        groove = -np.exp(-0.5 * (distance / width) ** 2)
        ridge = 0.45 * np.exp(-0.5 * ((distance - 2.2 * width) / (1.3 * width)) ** 2)
        total += depth * fade * (groove + ridge)
    return total.astype(np.float32)


def fitted_map(landmarks: Tensor, side: int) -> Tensor:
    """All lines where a face's regions are, [N, 1, side, side].

    Args:
        landmarks: [N, 5, 2] canonical; each region's lines move with its box (``geometry.region_boxes``).
    """
    drawn = landmarks.new_zeros(len(landmarks), 1, side, side)
    t = (torch.arange(side, device=landmarks.device) + 0.5) / side
    points = torch.stack(torch.meshgrid(t, t, indexing="xy"), -1)
    shift = landmarks - torch.from_numpy(geometry.TEMPLATE).to(landmarks)
    for region, anchor in zip(geometry.REGION_NAMES, geometry.REGION_ANCHORS, strict=True):
        if any(name == region for name, *_ in (*PAIRS, *CENTRAL)):
            lines = torch.from_numpy(wrinkle_map(side, region)).to(landmarks).expand(len(landmarks), 1, -1, -1)
            move = shift[:, list(anchor)].mean(1)[:, None, None]
            drawn += F.grid_sample(lines, (points - move) * 2 - 1, padding_mode="border", align_corners=False)
    return drawn
