"""Films made of a still, with the faces' exact places (``tests/tracking/test_films.py`` tests that they are what they say)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from lgin_edge import Face, geometry
from lgin_edge.kernels import resample

Image8 = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

#: Landmarks of scikit-image's astronaut, px, by the bundled detector.
ASTRONAUT: Floats = np.array([(204.2, 102.2), (246.8, 104.8), (223.7, 125.9), (203.1, 142.0), (243.0, 144.3)])
SIZE = 192


@dataclass(frozen=True)
class Shot:
    """A frame [H, W, 3] uint8 and its faces' landmarks [F, 5, 2] px; of those that are in it."""

    frame: Image8
    faces: Floats


def placed(still: Image8, to_frame: Floats, height: int, width: int) -> Image8:
    """A still under a similarity [2, 3] from its pixels to those of a frame; beside it its border goes on."""
    back = geometry.invert(to_frame)
    view = resample(still, np.column_stack([back[:, :2] * (width, height), back[:, 2]]), height, width)
    return np.rint((view.transpose(1, 2, 0).astype(np.float64) + 1) * 127.5).astype(np.uint8)


def move(center: Sequence[float], eyes: float, turn: float = 0.0, landmarks: Floats = ASTRONAUT) -> Floats:
    """The similarity that brings the face in a still to ``center``, its eyes ``eyes`` px apart, turned by ``turn`` radians."""
    scale = eyes / float(np.linalg.norm(landmarks[1] - landmarks[0]))
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.column_stack([linear, np.asarray(center, float) - linear @ landmarks.mean(axis=0)])


def film(still: Image8, moves: Sequence[Floats], size: int = SIZE) -> list[Shot]:
    """The astronaut under each of the similarities."""
    return [Shot(placed(still, one, size, size), geometry.apply(one, ASTRONAUT)[None]) for one in moves]


def wandering(frames: int, size: int = SIZE, *, eyes: float = 32.0) -> list[Floats]:
    """A head that pans, zooms and turns."""
    phases = 2 * np.pi * np.arange(frames) / 60
    return [
        move(
            (size * (0.5 + 0.08 * np.sin(p)), size * (0.5 + 0.05 * np.sin(2 * p + 1))),
            eyes * (1 + 0.1 * np.sin(p + 2)),
            0.15 * np.sin(p + 0.5),
        )
        for p in phases
    ]


def mirrored(still: Image8) -> tuple[Image8, Floats]:
    """Someone else: the astronaut in a mirror, in another light; and the landmarks."""
    other = np.clip(still[:, ::-1].astype(np.float64) * (0.75, 0.8, 0.95) + (0, 5, 20), 0, 255).astype(np.uint8)
    landmarks = ASTRONAUT[[1, 0, 2, 4, 3]] * (-1, 1) + (still.shape[1], 0)
    return other, landmarks


def background(size: int = SIZE) -> Image8:
    """Something smooth with nothing in it, [size, size, 3]."""
    return _background(size).copy()


@cache
def _background(size: int) -> Image8:
    y, x = np.mgrid[:size, :size] / size
    waves = [np.sin(9 * x + 4 * y + k) + np.sin(13 * y - 6 * x + 2 * k) for k in range(3)]
    return np.clip(110 + 25 * np.stack(waves, axis=-1), 0, 255).astype(np.uint8)


def paste_head(frame: Image8, still: Image8, landmarks: Floats, to_frame: Floats) -> Floats:
    """Put the head of a still into a frame, under a similarity; its landmarks [5, 2] in the frame."""
    height, width = frame.shape[:2]
    there = geometry.apply(to_frame, landmarks)
    y, x = np.mgrid[:height, :width] + 0.5
    u = geometry.apply(geometry.invert(geometry.fit_similarity(there)), np.stack([x, y], axis=-1))
    radius = np.sqrt(((u[..., 0] - 0.5) / 0.38) ** 2 + ((u[..., 1] - 0.55) / 0.5) ** 2)
    alpha = np.clip((1.05 - radius) / 0.1, 0, 1)[..., None]
    frame[:] = np.rint(alpha * placed(still, to_frame, height, width) + (1 - alpha) * frame)
    return there


def crossing(still: Image8, frames: int = 45, size: int = SIZE) -> list[Shot]:
    """Two heads that pass each other, the first one, which goes to the right, in front; it hides the other."""
    other, landmarks = mirrored(still)
    shots = []
    for t in np.linspace(0, 1, frames):
        frame = background(size)
        left, right = size * (0.25 + 0.5 * t), size * (0.75 - 0.5 * t)
        behind = paste_head(frame, other, landmarks, move((right, 0.5 * size), 24, landmarks=landmarks))
        front = paste_head(frame, still, ASTRONAUT, move((left, 0.52 * size), 26))
        hidden = abs(left - right) < 0.2 * size
        shots.append(Shot(frame, np.array([front] if hidden else [front, behind])))
    return shots


def hand(frame: Image8, center: tuple[float, float], width: float, height: float) -> None:
    """Put something like the back of a hand into a frame: of the colour of skin, with folds."""
    y, x = np.mgrid[: frame.shape[0], : frame.shape[1]] + 0.5
    u, v = (x - center[0]) / width, (y - center[1]) / height
    alpha = np.clip((1 - np.sqrt(u**2 + v**2)) * 8, 0, 1)[..., None]
    folds = 14 * np.sin(25 * u) * np.sin(9 * v + 1) - 30 * u
    skin = np.array([205.0, 150.0, 125.0]) + folds[..., None]
    frame[:] = np.clip(np.rint(alpha * skin + (1 - alpha) * frame), 0, 255)


def passing_hand(still: Image8, frames: int = 60, size: int = SIZE) -> tuple[list[Shot], npt.NDArray[np.bool_]]:
    """A hand that comes from the left, covers the face for the middle third, and goes back; and when it covers it."""
    shots = film(still, [move((size / 2, size / 2), 30)] * frames, size)
    t = np.linspace(0, 1, frames)
    way = np.interp(t, [0.15, 0.35, 0.65, 0.85], [0, 1, 1, 0])
    for shot, step in zip(shots, way, strict=True):
        hand(shot.frame, (size * (0.5 * step - 0.2), size * 0.55), 0.2 * size, 0.3 * size)
    return shots, way > 0.95


class Oracle:
    """A detector that knows a film: whatever frame it gets, it finds that frame's faces, with noise.

    Args:
        shots: the film; frames are recognised by their bytes.
        noise: standard deviation of a landmark, eye distances.
        score: of what it finds.
    """

    def __init__(self, shots: Sequence[Shot], noise: float = 0.0, score: float = 0.9) -> None:
        self.known = {shot.frame.tobytes(): shot.faces for shot in shots}
        self.noise, self.score = noise, score
        self.calls = 0
        self.blind: Callable[[Floats], bool] = lambda _: False
        self._random = np.random.default_rng(5)

    def __call__(self, frame: Image8, color: str = "rgb") -> list[Face]:
        self.calls += 1
        found = []
        for landmarks in self.known[frame.tobytes()]:
            if self.blind(landmarks):
                continue
            unit = np.linalg.norm(landmarks[1] - landmarks[0])
            seen = landmarks + self._random.normal(0, self.noise * unit, (5, 2))
            found.append(Face(seen, self.score))
        return found


def error(shown: Floats, truth: Floats) -> float:
    """Mean distance of landmarks, eye distances."""
    return float(np.linalg.norm(shown - truth, axis=1).mean() / np.linalg.norm(truth[1] - truth[0]))
