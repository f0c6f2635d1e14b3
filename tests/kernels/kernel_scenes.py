"""Frames with faces and residuals, for properties that hold for all of them."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from frames import COLORS, LAYOUTS, Layout, face_affine, random_frame, template_boxes
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from lgin_edge.frames import Color

#: Fewer under the sanitizers (tests/sanitizers.sh).
EXAMPLES = int(os.environ.get("LGIN_TEST_EXAMPLES", "50"))
properties = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@dataclass(frozen=True)
class Scene:
    """A frame, faces in it and residuals to paste."""

    seed: int
    height: int
    width: int
    color: Color
    layout: Layout
    faces: tuple[tuple[float, float, float, float], ...]  # centre (of the frame's size), side in px, angle
    face_size: int
    patch_size: int
    dtype: str
    threads: int

    def frame(self) -> np.ndarray:
        return random_frame(np.random.default_rng(self.seed), self.height, self.width, self.color)

    def affines(self) -> np.ndarray:
        # The reference loops over the samples of a footprint: at most 16 along an axis keep it quick.
        longest = 16.0 * min(self.face_size, self.patch_size)
        affines = [
            face_affine((x * self.width, y * self.height), min(side, longest), angle)
            for x, y, side, angle in self.faces
        ]
        return np.array(affines).reshape(-1, 2, 3)

    def boxes(self) -> np.ndarray:
        """Template boxes, moved and resized; some leave the unit square."""
        boxes = template_boxes(len(self.faces))
        return boxes + np.random.default_rng(self.seed + 1).uniform(-0.06, 0.06, boxes.shape)

    def residuals(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(self.seed + 2)
        n, s, p = len(self.faces), self.face_size, self.patch_size
        face = rng.uniform(-1.0, 1.0, (n, 3, s, s)).astype(self.dtype)
        return face, rng.uniform(-1.0, 1.0, (n, 5, 3, p, p)).astype(self.dtype)


def scenes(max_faces: int = 3, max_side: float = 200.0) -> st.SearchStrategy[Scene]:
    position = st.floats(-0.5, 1.5)
    face = st.tuples(position, position, st.floats(1.0, max_side), st.floats(-3.2, 3.2))
    return st.builds(
        Scene,
        seed=st.integers(0, 2**32 - 1),
        height=st.integers(1, 80),
        width=st.integers(1, 80),
        color=st.sampled_from(COLORS),
        layout=st.sampled_from(LAYOUTS),
        faces=st.lists(face, max_size=max_faces).map(tuple),
        face_size=st.integers(1, 24),
        patch_size=st.integers(1, 12),
        dtype=st.sampled_from(["float32", "float16"]),
        threads=st.integers(1, 4),
    )
