"""The age groups, and the soft code ``l`` of an age in years."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lgin_edge.models.description import AgeGroup, groups_from_centers, soft_one_hot

#: Seven groups, with the age that each group's code stands for.
GROUPS: tuple[AgeGroup, ...] = groups_from_centers(
    bounds=(25, 35, 45, 55, 65, 75), centers=(20, 30, 40, 50, 60, 70, 80)
)


def age_codes(years: Tensor) -> Tensor:
    """Soft one-hot codes ``l`` [..., K] of ages in years: the same convex combination as at run time."""
    centers = [group.center for group in GROUPS]
    flat = np.interp(years.cpu().numpy().ravel(), centers, np.arange(len(centers)))
    codes = np.stack([soft_one_hot(position, len(centers)) for position in flat])
    return torch.from_numpy(codes).reshape(*years.shape, -1).to(years.device)
