"""Where age draws lines on a face: one map in canonical space, for the prototypes.

The mean face of any age has no wrinkles, because nobody's lie where another's do; regression therefore finds their shade
and not their lines. This map puts the lines where anatomy does (nasolabial folds, crow's feet, bags under the eyes, brow and
forehead), as grooves with a lit ridge beside them. Points are canonical; the left half is mirrored.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Point = tuple[float, float]

#: name, points of a line or of a quadratic curve that passes through the middle one, width, depth. Left half, mirrored.
PAIRS: tuple[tuple[str, tuple[Point, ...], float, float], ...] = (
    ("nasolabial fold", ((0.438, 0.598), (0.392, 0.650), (0.362, 0.738)), 0.0075, 1.0),
    ("marionette line", ((0.374, 0.748), (0.366, 0.780), (0.376, 0.815)), 0.0060, 0.6),
    ("bag under the eye", ((0.330, 0.503), (0.378, 0.532), (0.432, 0.508)), 0.0055, 0.75),
    ("tear trough", ((0.437, 0.500), (0.405, 0.548), (0.352, 0.566)), 0.0090, 0.45),
    ("crow's foot, upper", ((0.303, 0.455), (0.285, 0.443), (0.262, 0.437)), 0.0030, 0.7),
    ("crow's foot, middle", ((0.300, 0.470), (0.280, 0.471), (0.252, 0.474)), 0.0030, 0.8),
    ("crow's foot, lower", ((0.304, 0.485), (0.287, 0.496), (0.266, 0.512)), 0.0030, 0.7),
    ("frown line", ((0.482, 0.392), (0.480, 0.415), (0.486, 0.440)), 0.0035, 0.7),
    ("cheek line", ((0.315, 0.640), (0.300, 0.690), (0.312, 0.745)), 0.0050, 0.3),
)
#: The same for lines across the middle.
CENTRAL: tuple[tuple[str, tuple[Point, ...], float, float], ...] = (
    ("forehead, lower", ((0.360, 0.345), (0.5, 0.335), (0.640, 0.345)), 0.0038, 0.65),
    ("forehead, middle", ((0.345, 0.312), (0.5, 0.300), (0.655, 0.312)), 0.0038, 0.75),
    ("forehead, upper", ((0.365, 0.277), (0.5, 0.266), (0.635, 0.277)), 0.0038, 0.55),
)
#: How marked the lines are at an age in years, 0 to about 1.
AGES, DEPTHS = (30.0, 40.0, 50.0, 60.0, 70.0), (0.0, 0.05, 0.3, 0.7, 1.2)


def curve(points: tuple[Point, ...], n: int = 48) -> npt.NDArray[np.float64]:
    """[n, 2] points of the quadratic Bezier curve through ``points``."""
    start, middle, end = (np.array(p) for p in points)
    t = np.linspace(0, 1, n)[:, None]
    return start * (1 - t) ** 2 + 2 * (2 * middle - (start + end) / 2) * t * (1 - t) + end * t**2


@lru_cache
def wrinkle_map(side: int) -> npt.NDArray[np.float32]:
    """[side, side]: about -1 in the deepest groove, up to 0.45 on its ridges, 0 away from lines."""
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side
    total = np.zeros((side, side))
    mirrored = tuple((name, tuple((1 - px, py) for px, py in pts), w, d) for name, pts, w, d in PAIRS)
    for _, points, width, depth in (*PAIRS, *mirrored, *CENTRAL):
        line = curve(points)
        squared = (x[..., None] - line[:, 0]) ** 2 + (y[..., None] - line[:, 1]) ** 2
        distance = np.sqrt(squared.min(-1))
        along = squared.argmin(-1) / (len(line) - 1)
        fade = np.sin(np.pi * (0.08 + 0.84 * along)) ** 0.7
        groove = -np.exp(-0.5 * (distance / width) ** 2)
        ridge = 0.45 * np.exp(-0.5 * ((distance - 2.2 * width) / (1.3 * width)) ** 2)
        total += depth * fade * (groove + ridge)
    return total.astype(np.float32)
