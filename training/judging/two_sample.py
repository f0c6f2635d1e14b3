"""A two-sample test: can a small network, trained anew, tell patches of aged faces from patches of real old ones?

Lopez-Paz & Oquab 2017. People are in two folds; each fold is judged by a network that saw only the other one. An area under
the ROC curve of 0.5 says that it cannot tell them apart. Cameras, packs and ages differ too: read the value beside that of the
unaltered inputs, and beside that of real people against other real people.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .anatomy import SIDE, Anatomy, Floats

#: Side of a patch, pixels of the canonical view, and the mesh's vertices that patches are cut about, by region.
PATCH = 64
PLACES = {"forehead": (151, 105, 334), "eyes": (130, 359, 168), "cheeks": (205, 425, 61, 291)}
STEPS, BATCH, RATE = 300, 64, 2e-3


def patches(anatomy: Anatomy, picture: Floats) -> Floats:
    """The patches of one picture, [P, 3, PATCH, PATCH] in [-1, 1], in the order of ``PLACES``."""
    found = []
    for vertex in (vertex for places in PLACES.values() for vertex in places):
        x, y = np.clip(np.rint(anatomy.points[vertex] * SIDE).astype(int) - PATCH // 2, 0, SIDE - PATCH)
        found.append(picture[y : y + PATCH, x : x + PATCH].transpose(2, 0, 1) * 2 - 1)
    return np.array(found)


def area_under_roc(scores: Floats, labels: Floats) -> float:
    """Probability that a positive scores above a negative (Mann and Whitney), ties counted half."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    difference = np.sign(positive[:, None] - negative[None])
    return float((difference.mean() + 1) / 2)


def separability(
    first: Sequence[Floats], second: Sequence[Floats], seed: int = 0, steps: int = STEPS
) -> dict[str, float]:
    """How well people of two samples are told apart by patches of a region they were not trained on, 0.5 to 1.

    Args:
        first, second: each person's ``patches``.
    """
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(np.concatenate([*first, *second])).float()
    each = len(first[0])
    label = np.repeat([1.0] * len(first) + [0.0] * len(second), each)
    fold = np.repeat(np.concatenate([rng.permutation(len(one)) % 2 for one in (first, second)]), each)
    scores = np.zeros(len(label))
    for held_out in (0, 1):
        known = torch.from_numpy(np.flatnonzero(fold != held_out))
        net = _fit(x[known], torch.from_numpy(label).float()[known], seed + held_out, steps)
        with torch.no_grad():
            scores[fold == held_out] = net(x[torch.from_numpy(fold == held_out)])[:, 0].numpy()
    region = np.tile(np.repeat(list(PLACES), [len(places) for places in PLACES.values()]), len(label) // each)
    return {
        name: round(float(np.mean([area_under_roc(scores[(region == name) & (fold == k)], label[(region == name) & (fold == k)]) for k in (0, 1)])), 3)
        for name in PLACES
    }  # fmt: skip


def _fit(x: Tensor, label: Tensor, seed: int, steps: int) -> nn.Module:
    """A small classifier; brightness, contrast and side vary, so that it learns texture sooner than exposure."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for wide, narrow in ((3, 16), (16, 32), (32, 48)):
            layers += [nn.Conv2d(wide, narrow, 3, 2, 1), nn.BatchNorm2d(narrow), nn.LeakyReLU(0.2)]
        net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(48, 1))
        optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=1e-2)
        sides = [torch.where(label == value)[0] for value in (0.0, 1.0)]
        for _ in range(steps):
            # As many of one sample as of the other, however many there are.
            index = torch.cat([side[torch.randint(len(side), (BATCH // 2,), generator=generator)] for side in sides])
            gain = 0.8 + 0.4 * torch.rand(BATCH, 1, 1, 1, generator=generator)
            shift = 0.2 * torch.randn(BATCH, 1, 1, 1, generator=generator)
            batch = x[index] * gain + shift
            if torch.rand(1, generator=generator) < 0.5:
                batch = batch.flip(-1)
            loss = nn.functional.binary_cross_entropy_with_logits(net(batch)[:, 0], label[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval()
