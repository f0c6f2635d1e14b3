"""The film of ``stream.py``: a still that moves as is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

import lgin_edge
from lgin_edge import geometry
from lgin_edge.kernels import resample

Frame = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Json = dict[str, Any]

FPS = 30
console = Console()


class Film:
    """The astronaut before a camera that pans, zooms and turns.

    Args:
        height, width: of the frames.
        eyes: distance of the eyes in a frame, pixels, on average.
        frames: how many.
        noise: standard deviation of a camera's noise, levels.
    """

    def __init__(self, height: int, width: int, eyes: float, frames: int, noise: float = 0.0) -> None:
        from skimage import data

        still: Frame = data.astronaut()
        (face,) = lgin_edge.CenterFace()(still)
        scale = eyes / float(np.linalg.norm(face.landmarks[1] - face.landmarks[0]))
        middle = face.landmarks.mean(axis=0)
        random = np.random.default_rng(1)
        self.frames: list[Frame] = []
        self.landmarks: list[Floats] = []
        for t in np.arange(frames) / FPS:
            turn = np.radians(8) * np.sin(2 * np.pi * t / 3.1)
            zoom = scale * (1 + 0.12 * np.sin(2 * np.pi * t / 4.3 + 1))
            x = width * (0.5 + 0.10 * np.sin(2 * np.pi * t / 2.7))
            y = height * (0.38 + 0.06 * np.sin(2 * np.pi * t / 1.9 + 2))
            linear = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
            affine = np.column_stack([linear, np.array([x, y]) - linear @ middle])
            back = geometry.invert(affine)
            view = resample(still, np.column_stack([back[:, :2] * (width, height), back[:, 2]]), height, width)
            picture = (view.transpose(1, 2, 0).astype(np.float64) + 1) * 127.5
            if noise:
                picture += random.normal(0, noise, picture.shape)
            self.frames.append(np.clip(np.rint(picture), 0, 255).astype(np.uint8))
            self.landmarks.append(geometry.apply(affine, face.landmarks))
