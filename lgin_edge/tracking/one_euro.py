"""The One-Euro filter: still points are smoothed much, moving ones little.

Casiez, Roussel, Vogel: 1 € Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive Systems, CHI 2012,
algorithm 1. With the time ``dt`` since the last value and a cutoff ``f``, first-order smoothing is

    x̂ += a (x - x̂),    a = 1 / (1 + tau / dt),    tau = 1 / (2 pi f)

and the cutoff rises with the speed: ``f = min_cutoff + beta |v̂|``, where ``v = (x - x̂) / dt`` is smoothed in the same way
with the cutoff ``derivative_cutoff``.
"""

from __future__ import annotations

import math

import numpy as np

from ..geometry import Float64, apply


class OneEuro:
    """Smooths points that come one set a frame, each point by its own speed.

    Args:
        min_cutoff: cutoff for points at rest, Hz, above 0: less is steadier and slower.
        beta: rise of the cutoff with the speed, Hz for each unit a second: more follows movements more closely.
        derivative_cutoff: cutoff for the speed, Hz, above 0.
    """

    def __init__(self, *, min_cutoff: float = 1.0, beta: float = 1.0, derivative_cutoff: float = 1.0) -> None:
        self._min_cutoff, self._beta, self._derivative_cutoff = min_cutoff, beta, derivative_cutoff
        self._value: Float64 | None = None
        self._speed: Float64 = np.zeros(2)

    def __call__(self, points: Float64, dt: float, unit: float = 1.0) -> Float64:
        """The smoothed points.

        Args:
            points: [N, 2], the same points every time; the first ones come back as they are.
            dt: time since the last call, seconds; at 0 or below nothing moves.
            unit: length in which speeds are measured (of a face: the distance of its eyes), in units of ``points``.
        """
        if self._value is None:
            self._value, self._speed = points.copy(), np.zeros_like(points)
        elif dt > 0:
            step = points - self._value
            self._speed = self._speed + _fraction(self._derivative_cutoff, dt) * (step / dt - self._speed)
            cutoff = self._min_cutoff + self._beta * np.linalg.norm(self._speed, axis=-1, keepdims=True) / unit
            self._value = self._value + _fraction(cutoff, dt) * step
        smoothed: Float64 = self._value.copy()
        return smoothed

    def carry(self, affine: Float64) -> None:
        """Move what was smoothed so far with a similarity [2, 3]: of a known movement nothing is then smoothed away, and
        what is smoothed does not lag behind it."""
        if self._value is not None:
            self._value = apply(affine, self._value)
            self._speed = self._speed @ affine[:, :2].T


def _fraction(cutoff: float | Float64, dt: float) -> float | Float64:
    """``a`` of the formula: how much of a step is taken."""
    return 1.0 / (1.0 + 1.0 / (2.0 * math.pi * cutoff * dt))
