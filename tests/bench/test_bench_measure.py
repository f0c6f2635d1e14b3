"""Timing of ``python -m benchmarks.stages``: whose turn it is, what is refused, and what is said about samples. No test looks at times."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks.stages import measure, report
from benchmarks.stages.measure import Candidate, WrongAnswer, measure_interleaved
from lgin_edge.errors import BackendError

INPUT = np.arange(4.0)


class Clock:
    """Time that passes only when a candidate says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def right(answer: Any) -> str:
    return "right"


def candidate(name: str = "a", run: Callable[[], object] = lambda: None, **options: Any) -> Candidate:
    return Candidate(**({"stage": "work", "name": name, "run": run, "check": right, "inputs": [INPUT]} | options))


def taking(clock: Clock, name: str, seconds: float, log: list[str]) -> Candidate:
    def run() -> None:
        clock.now += seconds
        log.append(name)

    return candidate(name, run)


def test_one_sample_each_in_every_round() -> None:
    clock, log = Clock(), list[str]()
    found = [taking(clock, name, 0.01, log) for name in "abc"]
    measured, skipped = measure_interleaved(found, 2.0, clock=clock)
    assert skipped == []
    assert [one.candidate.name for one in measured] == list("abc")
    n = len(measured[0].samples_ms)
    assert n > 20
    samples = log[-3 * n - 3 : -3]  # before them checks and warm-up, after them the last check
    rounds = [samples[i : i + 3] for i in range(0, 3 * n, 3)]
    assert all(sorted(one) == list("abc") for one in rounds)
    # The order is drawn anew, so that nobody always follows the same neighbour.
    assert set(Counter(map(tuple, rounds))) >= {tuple("abc"), tuple("cba"), tuple("bac")}
    for one in measured:
        assert one.samples_ms == pytest.approx([10.0] * n)


def test_order_depends_on_the_seed_alone() -> None:
    def order(seed: int) -> list[str]:
        clock, log = Clock(), list[str]()
        measure_interleaved([taking(clock, name, 0.01, log) for name in "abcd"], 1.0, clock=clock, seed=seed)
        return log

    assert order(1) == order(1) != order(2)


def test_warm_up_by_calls_and_by_time() -> None:
    clock = Clock()
    quick, slow = taking(clock, "quick", 0.001, []), taking(clock, "slow", 0.1, [])
    measured, _ = measure_interleaved([quick, slow], 20.0, clock=clock)
    assert measured[0].warm_up_ms >= measure.WARM_UP_MS
    assert measured[0].warm_up_calls >= 200
    assert measured[1].warm_up_calls == measure.WARM_UP_CALLS
    assert all(one.warm for one in measured)


def test_slow_machine_warms_up_as_long_as_the_time_allows() -> None:
    clock = Clock()
    measured, _ = measure_interleaved([taking(clock, "slow", 5.0, [])], 10.0, clock=clock)
    assert measured[0].warm_up_calls == 2
    assert not measured[0].warm
    assert len(measured[0].samples_ms) == measure.LEAST_ROUNDS
    (row,) = report.rows(measured, "stages")
    assert row["remark"] == "few samples, short warm-up"


def test_stops_by_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "MOST_ROUNDS", 30)
    clock = Clock()
    measured, _ = measure_interleaved([taking(clock, "a", 1e-3, [])], 1000.0, clock=clock)
    assert len(measured[0].samples_ms) == 30


def test_synchronize_is_in_the_sample_and_setup_is_not() -> None:
    clock = Clock()

    def later(seconds: float) -> Callable[[], None]:
        def work() -> None:
            clock.now += seconds

        return work

    queued = [0.0]

    def run() -> None:
        queued[0] = 0.05  # what a GPU does after the call came back

    def synchronize() -> None:
        clock.now, queued[0] = clock.now + queued[0], 0.0

    found = candidate("gpu", run, setup=later(0.3), synchronize=synchronize)
    measured, _ = measure_interleaved([found], 10.0, clock=clock)
    assert measured[0].samples_ms == pytest.approx([50.0] * len(measured[0].samples_ms))


def test_wrong_answer_is_refused_before_it_is_timed() -> None:
    calls = []

    def check(answer: Any) -> str:
        raise WrongAnswer("off by 7")

    bad = candidate("bad", lambda: calls.append(1), check=check)
    measured, skipped = measure_interleaved([bad, candidate("good")], 0.05)
    assert calls == [1]
    assert [one.candidate.name for one in measured] == ["good"]
    assert skipped == [measure.Skipped("work", "bad", "wrong answer: off by 7", failed=True)]


def test_answer_that_goes_wrong_later_is_refused() -> None:
    calls = []

    def check(answer: Any) -> str:
        if len(calls) > 5:
            raise WrongAnswer("no more")
        return "right"

    measured, skipped = measure_interleaved([candidate("bad", lambda: calls.append(1), check=check)], 0.05)
    assert measured == []
    assert skipped[0].reason == "wrong answer: no more"


def test_changed_input_is_refused() -> None:
    mine = np.zeros(3)

    def run() -> None:
        mine[0] += 1

    measured, skipped = measure_interleaved([candidate("bad", run, inputs=[mine])], 0.05)
    assert measured == []
    assert "changed its own input" in skipped[0].reason


def test_other_input_for_the_same_work_is_refused() -> None:
    other = candidate("other", inputs=[INPUT + 1])
    elsewhere = candidate("elsewhere", inputs=[INPUT + 1], stage="other work")
    measured, skipped = measure_interleaved([candidate(), other, elsewhere], 0.05)
    assert [one.candidate.name for one in measured] == ["a", "elsewhere"]
    assert [one.name for one in skipped] == ["other"]


@pytest.mark.parametrize("third_party", [False, True])
def test_failures(third_party: bool) -> None:
    def ours() -> None:
        raise BackendError("no memory")

    def theirs() -> None:
        raise RuntimeError("first line\nsecond line")

    measured, skipped = measure_interleaved([candidate("a", ours, third_party=third_party), candidate("b")], 0.05)
    assert [one.candidate.name for one in measured] == ["b"]
    assert skipped == [measure.Skipped("work", "a", "no memory", failed=not third_party)]
    if third_party:
        _, skipped = measure_interleaved([candidate("a", theirs, third_party=True)], 0.05)
        assert skipped[0].reason == "RuntimeError: first line"
    else:
        with pytest.raises(RuntimeError):  # a bug of ours is not to be hidden
            measure_interleaved([candidate("a", theirs)], 0.05)


def test_no_collection_while_it_is_timed() -> None:
    seen = []
    assert gc.isenabled()
    measure_interleaved([candidate("a", lambda: seen.append(gc.isenabled()))], 0.05)
    assert not all(seen)
    assert gc.isenabled()


def test_progress_only_rises() -> None:
    done: list[float] = []
    clock = Clock()
    measure_interleaved([taking(clock, "a", 0.1, [])], 5.0, clock=clock, progress=done.append)
    assert done == sorted(done)
    assert done[-1] == 1.0


def test_statistics_of_known_samples() -> None:
    summary = measure.summarize([*range(1, 101)])
    assert (summary.n, summary.median, summary.mean) == (100, 50.5, 50.5)
    assert (summary.p95, summary.p99) == (pytest.approx(95.05), pytest.approx(99.01))
    assert summary.cv == pytest.approx(np.std(range(1, 101), ddof=1) / 50.5)
    assert measure.summarize([3.0]).cv == 0


def test_noisy_and_few_are_marked() -> None:
    assert measure.summarize([100.0, 101.0] * 10).remark == ""
    assert measure.summarize([100.0, 130.0] * 10).remark == "noisy"
    assert measure.summarize([100.0, 101.0]).remark == "few samples"
    assert measure.summarize([100.0, 200.0]).remark == "noisy, few samples"


def test_rows_are_multiples_of_the_yardstick_on_as_many_threads() -> None:
    measured = [
        measure.Measured(candidate(name, threads=threads, batch=batch), "right", "hash", 10, 300.0, [ms] * 12)
        for name, threads, batch, ms in (
            ("resnet18", 1, 1, 80.0),
            ("resnet18", 2, 1, 40.0),
            ("a", 2, 4, 20.0),
            ("b", 7, 1, 20.0),
        )
    ]
    found = {(row["candidate"], row["threads"]): row for row in report.rows(measured, "threads")}
    assert found["a", 2]["times_resnet18"] == 0.5
    assert found["b", 7]["times_resnet18"] == 0.25  # none on seven threads: the first
    assert found["a", 2]["per_second"] == 200
    assert found["a", 2]["remark"] == ""


def test_checks() -> None:
    frame = np.full((10, 10, 3), 100, np.uint8)
    around = slice(2, 8), slice(2, 8)
    assert measure.check_frame(frame, frame, around, exact=True) == "0 of 108 bytes by one level"
    for place, level in (((5, 5), 102), ((0, 0), 101)):  # two levels off; a byte away from the face
        bad = frame.copy()
        bad[place] = level
        with pytest.raises(WrongAnswer):
            measure.check_frame(bad, frame, around, exact=True)
    noisy = frame.copy()
    noisy[around] += np.random.default_rng(0).integers(0, 3, (6, 6, 3), dtype=np.uint8)
    assert measure.check_frame(noisy, frame, around, exact=False).startswith("PSNR")
    noisy[around] += 20
    with pytest.raises(WrongAnswer, match="PSNR"):
        measure.check_frame(noisy, frame, around, exact=False)
    deltas = [np.full((1, 3, 4, 4), 0.1, np.float32)]
    for wrong in (np.nan, 9.0, 0.0):
        with pytest.raises(WrongAnswer):
            measure.check_plausible([np.full_like(deltas[0], wrong)])
    assert measure.check_edits(deltas, None, exact=True) == "plausible; there is no reference"
    with pytest.raises(WrongAnswer, match="off by nan"):
        measure.check_edits([deltas[0] * np.nan], deltas, exact=True)
