"""What keeps D from learning a few hundred faces by heart. (What cameras do to the inputs: ``training.cameras``.)"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def differentiable(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """DiffAugment (Zhao et al. 2020) of what D sees, [N, 3, H, W]: brightness, saturation, contrast, shift, cut-out.

    Differentiable in ``pictures``; applied alike to real and made faces, so that D never sees either as it is.
    """
    n, _, h, w = pictures.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (torch.rand(n, *shape, generator=generator) * (high - low) + low).to(pictures)

    x = pictures + uniform(-0.3, 0.3, 1, 1, 1)
    gray = x.mean(1, keepdim=True)
    x = gray + (x - gray) * uniform(0.5, 1.5, 1, 1, 1)
    middle = x.mean((1, 2, 3), keepdim=True)
    x = middle + (x - middle) * uniform(0.7, 1.3, 1, 1, 1)
    reach = max(h, w) // 8
    padded = F.pad(x, (reach,) * 4)
    shifts = torch.randint(0, 2 * reach + 1, (n, 2), generator=generator).tolist()
    x = torch.stack([p[:, dy : dy + h, dx : dx + w] for p, (dy, dx) in zip(padded, shifts, strict=True)])
    rows, columns = torch.arange(h, device=x.device)[:, None], torch.arange(w, device=x.device)
    corner = uniform(-0.15, 0.85, 2, 1, 1) * max(h, w)
    hole = 0.3 * max(h, w)
    inside = ((rows - corner[:, :1]).sub(hole / 2).abs() < hole / 2) & (
        (columns - corner[:, 1:]).sub(hole / 2).abs() < hole / 2
    )
    return x * ~inside
