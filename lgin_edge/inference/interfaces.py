"""What the frame paths ask of a loaded model, on the host and on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..errors import ModelError
from ..frames import Floats
from ..models.description import Description

#: Times a stage by its name: ``with stage("crop"): ...``
Stage: TypeAlias = Callable[[str], AbstractContextManager[None]]


def not_finite(model: str, output: str) -> ModelError:
    """The error of a model that gave NaN or an infinity. The kernels would take NaN for no change, and paint an infinity."""
    return ModelError(
        f"{model}: gave {output} with NaN or infinite values: its weights are damaged, or its "
        "precision is too low for this picture; export it again, in fp32"
    )


class Backend(Protocol):
    """A loaded model. ``run`` may be called by several threads at once.

    Whatever the format of the model, its ages are rows: M = N G, rows i G .. (i + 1) G - 1 are the G ages of face i.
    """

    @property
    def description(self) -> Description: ...

    def run(
        self,
        face: Floats,  # [N, 3, S, S], planar RGB in [-1, 1]
        patches: Floats,  # [N, 5, 3, P, P]
        boxes: Floats,  # [N, 5, 4]
        age: Floats,  # [M, K]
    ) -> tuple[Floats, ...]:
        """The outputs in the description's order, each with M rows; ``place``, the same at every age, with N.

        Format 1: face_delta [M, 3, S, S], patch_delta [M, 5, 3, P, P]. Format 2: face_edit [M, 6, S, S], patch_edit
        [M, 5, 4, P, P], flow [M, 2, S/8, S/8], place [N, 2, S/8, S/8], lines [M, 1, A, A].
        """

    def close(self) -> None: ...


class EngineCall(Protocol):
    """One call of an engine, on memory that stays: queued again and again, and what a recorded graph holds."""

    def capturable(self, stream: int) -> bool:
        """Whether it can be recorded, once it was queued."""

    def enqueue(self, stream: int) -> None:
        """Queue it. Raises BackendError."""

    def close(self) -> None: ...


class Engine(Protocol):
    """A model on a GPU. Its calls are queued on one stream, and closed before it.

    Attributes:
        dtypes: of each input and output by its name; ``face``, ``patches`` and the outputs share one.
        max_faces, max_ages: most faces, and most ages of each, of one call.
        capturable: whether calls may be recorded in a CUDA graph; each call knows in the end.
    """

    @property
    def description(self) -> Description: ...
    @property
    def dtypes(self) -> Mapping[str, np.dtype[Any]]: ...
    @property
    def max_faces(self) -> int: ...
    @property
    def max_ages(self) -> int: ...
    @property
    def capturable(self) -> bool: ...

    def bind(
        self,
        addresses: Mapping[str, int],  # of every input and output, by its name, C-contiguous on the device
        faces: int,  # N
        ages: int,  # G
    ) -> EngineCall:
        """A call on this memory. Raises BackendError."""

    def close(self) -> None: ...
