"""The generators' optimiser: Muon for the hidden convolutions, Adam for all other weights.

The generators have no normalisation layer, and Adam alone learns them either slowly or not at all: at three times the rate at
which it still learns, it diverges. Muon (Jordan et al. 2024) makes every singular value of a layer's update about 1, so that no
direction of a layer runs away and none is left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .precision import fast_dtype

#: Newton-Schulz coefficients of Jordan et al. 2024: five rounds take singular values from (0, 1] to about 0.7 to 1.2.
_A, _B, _C, _ROUNDS = 3.4445, -4.7750, 2.0315, 5


def orthogonal(update: Tensor) -> Tensor:
    """The nearest matrices with equal singular values, roughly: [..., rows, columns], same shape."""
    wide = update.shape[-2] <= update.shape[-1]
    x = (update if wide else update.mT).to(fast_dtype(update.device))
    x = x / (x.float().norm(dim=(-2, -1), keepdim=True) + 1e-7).to(x.dtype)
    for _ in range(_ROUNDS):
        gram = x @ x.mT
        x = _A * x + (_B * gram + _C * gram @ gram) @ x
    return (x if wide else x.mT).to(update.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum, then orthogonal updates as large as Adam's (Liu et al. 2025: 0.2 sqrt(max(rows, columns))).

    A convolution of ``groups`` groups is as many matrices [outputs / groups, inputs * kernel].
    """

    def __init__(self, layers: Iterable[nn.Conv2d], lr: float, momentum: float = 0.95, decay: float = 0.01) -> None:
        groups = [{"params": [layer.weight], "matrices": layer.groups} for layer in layers]
        super().__init__(groups, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, group)

    def _move(self, weight: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        mean = state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
        ahead = weight.grad.lerp(mean, group["momentum"])  # Nesterov's
        matrix = ahead.reshape(group["matrices"], weight.shape[0] // group["matrices"], -1)
        scale = 0.2 * max(matrix.shape[1:]) ** 0.5
        weight.mul_(1 - group["lr"] * group["decay"])
        weight.add_(orthogonal(matrix).reshape(weight.shape), alpha=-group["lr"] * scale)
