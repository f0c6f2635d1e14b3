"""What is said about samples of time, and when two sets of them differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Coefficient of variation above which a row is marked as noisy, and samples below which it is marked as few.
NOISY, FEW = 0.10, 10
_RESAMPLES = 2000
#: Confidence of an interval: of the fifty rows of a run, hardly one strays out of its own by chance.
CONFIDENCE = 0.99


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
    """Quantiles by linear interpolation. Raises ValueError without samples."""
    if not len(samples):
        raise ValueError("no samples")
    values = np.asarray(samples, np.float64)
    median, p95, p99 = np.percentile(values, (50, 95, 99))
    mean = float(values.mean())
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return Summary(len(values), float(median), float(p95), float(p99), mean, deviation / mean if mean else 0.0)


def medians(samples: Sequence[float], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Medians of resampled samples, [2000].

    A moving-block bootstrap (Künsch 1989): blocks of about ``n^(1/3)`` samples in a row are drawn, because a machine's slow
    spells last longer than one sample.
    """
    values = np.asarray(samples, np.float64)
    n = len(values)
    block = max(1, round(n ** (1 / 3)))
    starts = rng.integers(0, n, (_RESAMPLES, -(-n // block)))
    index = (starts[..., None] + np.arange(block)).reshape(_RESAMPLES, -1)[:, :n] % n
    return np.median(values[index], axis=1)


def interval(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The middle 99 % of bootstrapped values."""
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(values, (tail, 100 - tail))
    return float(low), float(high)
