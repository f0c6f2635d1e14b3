"""What a picture to keep is made of: a frame, the changed frame, and the faces in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from .. import animation
from ..faces import Face
from ..frames import Frame
from ..stream.pipeline import Pipeline
from ..tracking.tracker import TrackedFace
from ..transformer import Transformer

#: A picture is taken only where the largest face got this much of its change.
FULL_STRENGTH = 0.9


@dataclass(frozen=True, eq=False)
class Shot:
    """A frame that was changed."""

    original: Frame  #: [H, W, 3] uint8 RGB.
    result: Frame  #: The same, changed.
    faces: Sequence[TrackedFace]  #: The largest first.

    @property
    def is_full(self) -> bool:
        """Whether the largest face got its change."""
        return bool(self.faces) and self.faces[0].strength >= FULL_STRENGTH


def largest_first(faces: Sequence[TrackedFace]) -> list[TrackedFace]:
    """The faces by their size."""
    return sorted(faces, key=lambda one: -one.face.size)


def take(transformer: Transformer, pipeline: Pipeline, picture: Frame, side: int, time: float) -> Shot:
    """A picture [H, W, 3] with more pixels than the live frames, changed as they are.

    Its faces are those that are followed in the live picture, of which it becomes a frame: none is searched among all the pixels.

    Args:
        side: longer side of the live frames, pixels.
        time: of the picture, as for ``pipeline``.
    """
    small, _ = animation.reduced(Image.fromarray(picture), side)
    processed = pipeline(np.asarray(small), time)
    scale = picture.shape[1] / small.width
    faces = [
        replace(one, face=Face(scale * one.face.landmarks, one.face.score)) for one in largest_first(processed.faces)
    ]
    result = transformer.age(
        picture, years=pipeline.years, faces=[one.face for one in faces], strength=[one.strength for one in faces]
    )
    return Shot(picture, result, faces)
