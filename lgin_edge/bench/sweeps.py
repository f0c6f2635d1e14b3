"""Throughput against batch size and against threads."""

from __future__ import annotations

from contextlib import ExitStack

from ..inference.loader import open_model
from . import stages
from .measure import Candidate
from .stages import Model, Way
from .yardstick import Sessions

#: Faces of one call of the engine.
BATCHES = (1, 2, 4, 8)
#: Stages whose speed is measured against threads.
THREADED = ("crop", "engine", "paste", "tracked frame")


def thread_counts(cores: int) -> list[int]:
    """1 to ``cores``: each up to 4, then powers of two, and all of them."""
    return sorted({count for count in (1, 2, 3, 4, *(1 << i for i in range(3, 11))) if count < cores} | {cores})


def batches(model: Model, way: Way, yardstick: Sessions, most: int = max(BATCHES)) -> list[Candidate]:
    """The engine on 1, 2, 4 and 8 faces a call, as far as ``most``, beside the yardstick."""
    backend = open_model(model.path, providers=(way.provider,), threads=way.threads)
    way.stack.callback(backend.close)
    calls = [stages.engine_call(model, way, backend, faces, 1) for faces in BATCHES if faces <= most]
    return [yardstick.candidate(way.threads), *calls]


def threads(
    model: Model, counts: list[int], wanted: tuple[str, ...], yardstick: Sessions, stack: ExitStack
) -> list[Candidate]:
    """Stages on 1 thread, 2 and so on, each count beside the yardstick on as many."""
    found = []
    for count in counts:
        way = Way("onnxruntime", count, stack)
        found.append(yardstick.candidate(count))
        found += [stages.build(stage, model, way)[0] for stage in wanted if stage in THREADED]
    return found
