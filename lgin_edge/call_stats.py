"""What a call did and how long each of its stages took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .faces import Face


@dataclass
class CallStats:
    """What the last call of this thread did."""

    #: The faces that were found, or given; empty means that the picture came back unchanged.
    faces: list[Face] = field(default_factory=list)
    #: Milliseconds by stage, of those that the call had: "detect", "crop", "model", "paste" and "total"; on a GPU "gpu" for the
    #: three in the middle, with the copies there and back.
    times: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.times[name] = self.times.get(name, 0.0) + 1e3 * (time.perf_counter() - start)
