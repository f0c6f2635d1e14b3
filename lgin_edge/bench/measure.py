"""Timing: candidates in turn, each one's answer checked before its first sample and after its last.

In a round every candidate that is left takes one sample, in an order drawn anew: what the machine does to one it does to all, and
nobody always follows the same neighbour. So every sample starts with caches that somebody else has used, as between two
frames of a camera.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import LginError
from .scene import digest

#: A candidate is warm after so many calls and so many milliseconds, whichever comes last.
WARM_UP_CALLS, WARM_UP_MS = 10, 200.0
#: Rounds that are measured whatever the time, and at most; share of the time that warming up may take.
LEAST_ROUNDS, MOST_ROUNDS = 5, 1000
_WARM_UP_SHARE = 0.4


class WrongAnswer(Exception):
    """A candidate computes something else than the reference. The message says by how much."""


def in_a_line(error: Exception) -> str:
    """The kind of an error and the first line of what it says."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


def nothing() -> None:
    """The hook of a candidate that needs none."""


@dataclass(eq=False)
class Candidate:
    """One way of doing one piece of work.

    Attributes:
        stage: the piece of work: "crop", "engine" and so on.
        name: the target, for the column "back end".
        run: does it once; its result is the answer.
        check: says how near an answer is to the reference, or raises WrongAnswer.
        inputs: arrays that it works on, for the hash; candidates for the same work must have the same.
        setup: called before each call, not timed: puts a frame back that the call will change.
        synchronize: waits until queued work is done; called before the clock starts and before it stops.
        dtype, size, batch, ages, threads, device: what the row says. ``batch`` is faces a call.
        foreign: not ours: where it fails, that is told and no error of this package.
    """

    stage: str
    name: str
    run: Callable[[], object]
    check: Callable[[Any], str]
    inputs: Sequence[npt.NDArray[Any]]
    setup: Callable[[], None] = nothing
    synchronize: Callable[[], None] = nothing
    dtype: str = "fp32"
    size: str = ""
    batch: int = 1
    ages: int = 1
    threads: int = 1
    device: str = "cpu"
    foreign: bool = False

    @property
    def work(self) -> tuple[str, str, int, int]:
        """What must be the same input for all."""
        return self.stage, self.size, self.batch, self.ages

    def answer(self) -> Any:
        """One call, as it is timed."""
        self.setup()
        self.synchronize()
        result = self.run()
        self.synchronize()
        return result


@dataclass(eq=False)
class Measured:
    """A candidate and its samples.

    Attributes:
        answer: how near its answer is to the reference.
        inputs: SHA-256 of what it worked on.
        warm_up_calls, warm_up_ms: before the first sample.
    """

    candidate: Candidate
    answer: str
    inputs: str
    warm_up_calls: int = 0
    warm_up_ms: float = 0.0
    samples_ms: list[float] = field(default_factory=list)

    @property
    def warm(self) -> bool:
        return self.warm_up_calls >= WARM_UP_CALLS and self.warm_up_ms >= WARM_UP_MS


@dataclass(frozen=True)
class Skipped:
    """A candidate that was not measured, and why. ``failed``: it is ours, and should have worked."""

    stage: str
    name: str
    reason: str
    failed: bool = False


def measure_interleaved(
    candidates: Sequence[Candidate],
    seconds: float,
    *,
    pause: float = 0.0,
    progress: Callable[[float], None] = lambda done: None,
    clock: Callable[[], float] = time.perf_counter,
    seed: int = 0,
) -> tuple[list[Measured], list[Skipped]]:
    """Check, warm up and time candidates.

    Args:
        seconds: for all of them with their warm-up; every candidate gets ``LEAST_ROUNDS`` samples all the same.
        pause: seconds of rest before each sample: other packages' threads go on spinning after their call.
        progress: called between rounds, outside the samples, with the share that is done.
        clock: seconds.

    Returns:
        Those that were measured, in the order given, and those whose answer was wrong or that failed.
    """
    begin = clock()
    ready, skipped = _checked(candidates)
    _warm_up(ready, (begin + seconds - clock()) * _WARM_UP_SHARE, clock)
    rng = np.random.default_rng(seed)
    start, rounds = clock(), 0
    collecting = gc.isenabled()
    gc.disable()  # a collection would fall on whoever is running
    try:
        while ready and rounds < MOST_ROUNDS and (rounds < LEAST_ROUNDS or clock() < begin + seconds):
            for index in rng.permutation(len(ready)):
                if pause:
                    time.sleep(pause)
                ready[index].samples_ms.append(_sample(ready[index].candidate, clock))
            rounds += 1
            left = begin + seconds - start
            progress(min(1.0, max(rounds / MOST_ROUNDS, (clock() - start) / left if left > 0 else 1.0)))
    finally:
        if collecting:
            gc.enable()
    kept = []
    for one in ready:
        # Once more: a graph that is replayed or a buffer that is written again may have gone wrong meanwhile.
        outcome = _try(one.candidate)
        changed = digest(one.candidate.inputs) != one.inputs
        if isinstance(outcome, Skipped) or changed:
            late = outcome if isinstance(outcome, Skipped) else _skip(one.candidate, "it changed its own input")
            skipped.append(late)
        else:
            kept.append(one)
    return kept, skipped


def _checked(candidates: Sequence[Candidate]) -> tuple[list[Measured], list[Skipped]]:
    """Those whose inputs are the same as the first one's for the same work, and whose answer is right."""
    ready: list[Measured] = []
    skipped: list[Skipped] = []
    hashes: dict[tuple[str, str, int, int], str] = {}
    for one in candidates:
        inputs = digest(one.inputs)
        if hashes.setdefault(one.work, inputs) != inputs:
            skipped.append(_skip(one, "its input is another than that of the candidates before it"))
            continue
        outcome = _try(one)
        if isinstance(outcome, Skipped):
            skipped.append(outcome)
        else:
            ready.append(Measured(one, outcome, inputs))
    return ready, skipped


def _try(one: Candidate) -> str | Skipped:
    """How near the answer is, or why it does not count."""
    try:
        return one.check(one.answer())
    except WrongAnswer as error:
        return _skip(one, f"wrong answer: {error}")
    except LginError as error:
        return _skip(one, str(error))
    except Exception as error:
        if not one.foreign:
            raise
        return _skip(one, in_a_line(error))


def _skip(one: Candidate, reason: str) -> Skipped:
    return Skipped(one.stage, one.name, reason, failed=not one.foreign)


def _warm_up(ready: Sequence[Measured], most: float, clock: Callable[[], float]) -> None:
    """Calls in turn until all are warm, or ``most`` seconds are over; two each at least.

    A turn is as many calls as a tenth of the milliseconds asks for, so that the quick are warm when the slow are.
    """
    start, left, turn = clock(), list(ready), WARM_UP_MS / WARM_UP_CALLS
    while left and (min(one.warm_up_calls for one in left) < 2 or clock() - start < most):
        for one in left:
            until = one.warm_up_ms + turn
            while one.warm_up_ms < until:
                before = clock()
                one.candidate.answer()
                one.warm_up_calls += 1
                one.warm_up_ms += 1e3 * (clock() - before)
        left = [one for one in left if not one.warm]


def _sample(one: Candidate, clock: Callable[[], float]) -> float:
    """Milliseconds of one call."""
    one.setup()
    one.synchronize()
    start = clock()
    one.run()
    one.synchronize()
    return 1e3 * (clock() - start)
