"""Timing: candidates in turn, each one's answer checked before its first sample and after its last.

In a round every candidate that is left takes one sample, in an order drawn anew: what the machine does to one it does to all, and
none always follows the same neighbour. So every sample starts with caches that another has used, as between two frames of a
camera.

``exact`` candidates compute in float32 on the CPU, as the reference does: they differ by rounding. The others (float16, TF32,
another library's sampling) must keep a peak signal-to-noise ratio. All tolerances of the bench stand here.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lgin_edge.errors import LginError
from lgin_edge.frames import Floats, Frame
from lgin_edge.reference import psnr

from .scene import digest

#: A candidate is warm after these calls and these milliseconds, whichever comes last.
WARM_UP_CALLS, WARM_UP_MS = 10, 200.0
#: Rounds that are measured whatever the time, and at most; fraction of the time that warming up may take.
LEAST_ROUNDS, MOST_ROUNDS = 5, 1000
_WARM_UP_FRACTION = 0.4
#: Coefficient of variation above which a row is marked as noisy, and samples below which it is marked as few.
NOISY, FEW = 0.10, 10
#: Crop against the NumPy reference in double: rounding of positions and of float16 views; see tests/tolerances.py.
VIEW = {np.dtype(np.float32): 4e-5, np.dtype(np.float16): 6e-4}
#: Residuals of float32 against one thread of ONNX Runtime: sums in another order. A level of 8 bits is 7.8e-3.
RESIDUAL = 1e-3
#: ResNet-18's logits, which are of the order of 1, against one thread.
LOGIT = 1e-3
#: Frames: levels by which a byte may differ, and fraction of the bytes round the face that may.
LEVELS, FRACTION = 1, 0.01
#: Of lossy candidates, decibels: over residuals (peak 2) and over the bytes round the face (peak 255).
PSNR = 40.0
#: The largest that any edit of a model may be.
MOST_EDIT = 8.0
#: Detection: the drawn face's landmarks, as a fraction of the distance of its eyes.
DETECTED = 0.15


class WrongAnswer(Exception):
    """A candidate computes something else than the reference. The message says by how much."""


def in_a_line(error: Exception) -> str:
    """The kind of an error and the first line of what it says."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


@dataclass(eq=False)
class Candidate:
    """One way of doing one piece of work.

    ``run`` does it once, and its result is the answer; ``check`` says how near that is to the reference, or raises WrongAnswer.
    Candidates for the same work must have the same ``inputs``.
    """

    stage: str  # the piece of work: "crop", "model" and so on
    name: str  # for the column "back end"
    run: Callable[[], object]
    check: Callable[[Any], str]
    inputs: Sequence[npt.NDArray[Any]]
    setup: Callable[[], None] = lambda: None  # before each call, not timed: puts a frame back that the call will change
    synchronize: Callable[[], None] = lambda: None  # waits for queued work; before the clock starts and before it stops
    dtype: str = "fp32"
    size: str = ""
    batch: int = 1  # faces of one call
    ages: int = 1
    threads: int = 1
    device: str = "cpu"
    third_party: bool = False  # its failure is reported, and is no error of this package

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
    """A candidate and its samples."""

    candidate: Candidate
    answer: str  # how near it is to the reference
    inputs: str  # SHA-256
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
        progress: called between rounds, outside the samples, with the fraction that is done.
        clock: seconds.

    Returns: Those that were measured, in the order given, and those whose answer was wrong or that failed.
    """
    begin = clock()
    ready, skipped = _checked(candidates)
    _warm_up(ready, (begin + seconds - clock()) * _WARM_UP_FRACTION, clock)
    rng = np.random.default_rng(seed)
    start, rounds = clock(), 0
    collecting = gc.isenabled()
    gc.disable()  # a collection would be charged to the candidate that runs
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
        if isinstance(outcome, Skipped):
            skipped.append(outcome)
        elif digest(one.candidate.inputs) != one.inputs:
            skipped.append(_skip(one.candidate, "it changed its own input"))
        else:
            kept.append(one)
    return kept, skipped


def _checked(candidates: Sequence[Candidate]) -> tuple[list[Measured], list[Skipped]]:
    """Those whose inputs are the same as the first one's for the same work, and whose answer is right."""
    ready: list[Measured] = []
    skipped: list[Skipped] = []
    hashes: dict[tuple[str, str, int, int], str] = {}
    for one in candidates:
        inputs, other = digest(one.inputs), "its input is another than that of the candidates before it"
        same = hashes.setdefault(one.work, inputs) == inputs
        outcome = _try(one) if same else _skip(one, other)
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
        if not one.third_party:
            raise
        return _skip(one, in_a_line(error))


def _skip(one: Candidate, reason: str) -> Skipped:
    return Skipped(one.stage, one.name, reason, failed=not one.third_party)


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


@dataclass(frozen=True)
class Summary:
    """Of n samples in milliseconds; never the best one. ``cv`` is the coefficient of variation, deviation over mean."""

    n: int
    median: float
    p95: float
    p99: float
    mean: float
    cv: float

    @property
    def remark(self) -> str:
        """ "noisy", "few samples", both or nothing."""
        return ", ".join(["noisy"] * (self.cv > NOISY) + ["few samples"] * (self.n < FEW))


def summarize(samples: Sequence[float]) -> Summary:
    """Quantiles by linear interpolation."""
    values = np.asarray(samples, np.float64)
    median, p95, p99 = np.percentile(values, (50, 95, 99))
    mean = float(values.mean())
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return Summary(len(values), float(median), float(p95), float(p99), mean, deviation / mean if mean else 0.0)


def check_views(answer: Sequence[Floats], expected: Sequence[Floats]) -> str:
    """Crop: face and patches in [-1, 1]."""
    worst = max(_worst(a, e) for a, e in zip(answer, expected, strict=True))
    return _within(worst, VIEW[answer[0].dtype], "{:.1e}")


def check_edits(answer: Sequence[Floats], expected: Sequence[Floats] | None, *, exact: bool) -> str:
    """Engine: its outputs. Without a reference they must be plausible."""
    if expected is None:
        return check_plausible(answer)
    if exact:
        return _within(max(_worst(a, e) for a, e in zip(answer, expected, strict=True)), RESIDUAL, "{:.1e}")
    return _signal(answer, expected, 2.0)


def check_logits(answer: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> str:
    """ResNet-18."""
    return _within(_worst(answer, expected), LOGIT, "{:.1e}")


def check_plausible(answer: Sequence[Floats]) -> str:
    """Engine without a reference: finite edits, none beyond what any of them may be, that are not all nothing."""
    if not all(np.isfinite(array).all() and np.abs(array).max() <= MOST_EDIT for array in answer):
        raise WrongAnswer(f"edits that are no numbers, or beyond {MOST_EDIT:g}")
    if not any(np.any(array) for array in answer):
        raise WrongAnswer("edits that are all 0")
    return "plausible; there is no reference"


def check_changed(answer: Frame, before: Frame, around: tuple[slice, slice]) -> str:
    """A whole frame without a reference: it changed near the face, and nowhere else."""
    _unchanged(answer, before, around)
    if not np.any(answer != before):
        raise WrongAnswer("nothing changed")
    return "plausible; there is no reference"


def check_frame(answer: Frame, expected: Frame, around: tuple[slice, slice], *, exact: bool) -> str:
    """Paste and whole frame: near the face as expected, and elsewhere not one byte changed."""
    _unchanged(answer, expected, around)
    here, there = answer[around], expected[around]
    if not exact:
        return _signal([here], [there], 255.0)
    off = np.abs(here.astype(np.int16) - there)
    if off.max() > LEVELS or np.count_nonzero(off) > FRACTION * off.size:
        raise WrongAnswer(f"{np.count_nonzero(off)} of {off.size} bytes differ, by up to {off.max()} levels")
    return f"{np.count_nonzero(off)} of {off.size} bytes by one level"


def check_landmarks(answer: npt.NDArray[np.float64], expected: npt.NDArray[np.float64], fraction: float) -> str:
    """Detection: five points [5, 2], off by at most a fraction of the distance of the eyes."""
    off = float(np.abs(answer - expected).max() / np.linalg.norm(expected[1] - expected[0]))
    return _within(off, fraction, "{:.1e} of the eyes' distance")


def _unchanged(answer: Frame, expected: Frame, around: tuple[slice, slice]) -> None:
    if answer.shape != expected.shape or answer.dtype != expected.dtype:
        raise WrongAnswer(f"{answer.dtype} {answer.shape} instead of {expected.dtype} {expected.shape}")
    different = answer != expected
    different[around] = False
    if different.any():
        raise WrongAnswer(f"{np.count_nonzero(different)} bytes away from the face changed")


def _worst(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> float:
    if a.shape != b.shape:
        raise WrongAnswer(f"shape {a.shape} instead of {b.shape}")
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0))


def _within(worst: float, limit: float, form: str) -> str:
    if not worst <= limit:  # so that NaN is refused
        raise WrongAnswer(f"off by {form.format(worst)}, allowed are {form.format(limit)}")
    return f"within {form.format(worst)}"


def _signal(answer: Sequence[npt.NDArray[Any]], expected: Sequence[npt.NDArray[Any]], peak: float) -> str:
    for a, e in zip(answer, expected, strict=True):
        if a.shape != e.shape:
            raise WrongAnswer(f"shape {a.shape} instead of {e.shape}")
    decibels = min(psnr(e, a, peak) for a, e in zip(answer, expected, strict=True))
    if not decibels >= PSNR:
        raise WrongAnswer(f"PSNR {decibels:.1f} dB, at least {PSNR:.0f} are asked")
    return f"PSNR {decibels:.0f} dB"
