"""Throughput against batch size and against threads."""

from __future__ import annotations

from contextlib import ExitStack

from ..inference.loader import open_model
from . import stages
from .measure import Candidate
from .resnet18 import Sessions
from .stages import Model, Target

#: Faces of one call of the model.
BATCHES = (1, 2, 4, 8)
#: Stages whose speed is measured against threads.
THREADED = ("crop", "model", "paste", "tracked frame")


def thread_counts(cores: int) -> list[int]:
    """1 to ``cores``: each up to 4, then powers of two, and all of them."""
    return sorted({count for count in (1, 2, 3, 4, *(1 << i for i in range(3, 11))) if count < cores} | {cores})


def batches(model: Model, target: Target, r18: Sessions, most: int = max(BATCHES)) -> list[Candidate]:
    """The model on 1, 2, 4 and 8 faces a call, as far as ``most``, beside ResNet-18."""
    backend = open_model(model.path, providers=(target.provider,), threads=target.threads)
    target.stack.callback(backend.close)
    calls = [stages.model_call(model, target, backend, faces, 1) for faces in BATCHES if faces <= most]
    return [r18.candidate(target.threads), *calls]


def threads(
    model: Model, counts: list[int], wanted: tuple[str, ...], r18: Sessions, stack: ExitStack
) -> list[Candidate]:
    """Stages on 1 thread, 2 and so on, each count beside ResNet-18 on as many."""
    found = []
    for count in counts:
        target = Target("onnxruntime", count, stack)
        found.append(r18.candidate(count))
        found += [stages.build(stage, model, target)[0] for stage in wanted if stage in THREADED]
    return found
