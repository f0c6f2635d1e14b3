"""Ages that the generators work for where others are asked for.

Viewers read young people who are made old as younger than they are drawn, and old people who are made young as older. So
what is asked for and what is drawn differ, by the age that a face's lines tell.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from . import data
from .targets import curves

#: Lines that a face has, in units of ``curves``, up to which it is young, and from which on it is old: at 43 and 55 years.
YOUNG, OLD = 0.20, 0.45
#: Lines to be gained or lost by which an age differs in full. At a face's own age nothing does, up to some 68 years (``lines_now`` tells
#: no more): its picture would change.
FAR = 0.25


class Ages(nn.Module):
    """Codes of the ages that the generators work for, of the codes of those asked for."""

    old: Tensor
    younger: Tensor
    curve: Tensor

    def __init__(self, old: Sequence[float], young: Sequence[float]) -> None:
        """Years for each age group, rising, for old faces and for young ones.

        Raises ValueError: not as many years as groups, or years that do not rise.
        """
        super().__init__()
        for years in (old, young):
            if len(years) != len(data.GROUPS) or list(years) != sorted(set(years)):
                raise ValueError(f"years: expected {len(data.GROUPS)} rising ages in years, got {list(years)}")
        codes = [data.age_codes(torch.tensor(years, dtype=torch.float32)) for years in (old, young)]  # [K, K]
        self.register_buffer("old", codes[0] - torch.eye(len(data.GROUPS)), persistent=False)
        self.register_buffer("younger", codes[1] - codes[0], persistent=False)
        self.register_buffer("curve", lines_of_groups()[:, None], persistent=False)

    def forward(self, age: Tensor, now: Tensor) -> Tensor:
        """Codes [N, G, K] of codes of the same shape, and of the lines that faces have, [N, 1]."""
        young = ((OLD - now) / (OLD - YOUNG)).clamp(0, 1)[..., None]
        far = ((age @ self.curve - now[..., None]).abs() / FAR).clamp(max=1.0)
        return age + far * (age @ self.old + young * (age @ self.younger))


def lines_of_groups() -> Tensor:
    """Lines of the mean person of each age group's centre, in units of ``curves``: [K]."""
    return torch.tensor([curves.at("lines", group.center) for group in data.GROUPS])
