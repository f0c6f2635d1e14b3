"""The five losses of LGIN, each beside the formula of the paper (Song, Wei, Li, Zhang, Zheng), and what we add.

The symbols are the paper's: ``x`` a face, ``l`` the wanted age group, ``T(x, l)`` the transformed face, ``x_r`` and
``G_r`` patch and generator of region r, ``G_g`` the global generator, ``C(a, z)`` the probability that classifier C gives
age group ``a`` for face ``z``. Every function takes a batch and returns a scalar; the loss is what its player minimises.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

#: What changes by this is not still, in [0, 1].
_STILL = 4 / 255


def adversarial_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """``-L_d = -E[log D(x, l)] - E[log(1 - D(T(x, l), l))]``, what D minimises; D is the sigmoid of the logits.

    (The paper prints the second term as ``1 - log D``; the standard form of Goodfellow et al. 2014 is meant.)
    """
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def adversarial_g(fake_logits: Tensor) -> Tensor:
    """``-E[log D(T(x, l), l)]``: the generators' side of L_d in its non-saturating form (Goodfellow et al. 2014, sec. 3)."""
    return F.softplus(-fake_logits).mean()


def classification(log_probabilities: Tensor, a: Tensor) -> Tensor:
    """``L_c = E[-log C(a, z)]``; for a soft code ``a`` [N, K] the cross-entropy ``-sum_k a_k log C_k(z)``.

    C minimises it on real faces with their own ages, the generators on ``z = T(x, l)`` with ``a = l``.
    """
    return -(a * log_probabilities).sum(-1).mean()


def local(patch_change: Tensor) -> Tensor:
    """``L_local = sum_r ||x_r - G_r(x_r, l)||_1``, the mean over pixels of each region, [N, 5, 3, P, P].

    ``patch_change`` is ``G_r(x_r, l) - x_r``: residual, and gain times patch.
    """
    return patch_change.abs().mean((0, 2, 3, 4)).sum()


def variation(transformed: Tensor) -> Tensor:
    """``L_V = TV(T(x, l))``: mean absolute difference of neighbouring pixels, [N, 3, H, W]."""
    return transformed.diff(dim=-1).abs().mean() + transformed.diff(dim=-2).abs().mean()


def identity(scale_deltas: Sequence[Tensor], composed_delta: Tensor, lam: float) -> Tensor:
    """``L_I = sum_s 1/(W_s H_s C_s) |G_g(x^s, l) - x^s|  +  lambda |T(x, l) - x|``.

    Args:
        scale_deltas: the residual ``G_g(x^s, l) - x^s`` at each decoder scale s, [N, 3, H_s, W_s].
        composed_delta: ``T(x, l) - x`` on the canvas, [N, 3, H, W], normalised by its size like the first term.
    """
    return sum((delta.abs().mean() for delta in scale_deltas), lam * composed_delta.abs().mean())


# --- Added for better results; each is a weight in ``training.config``, zero where the paper's own losses are wanted. ---


def picture(made: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """``to_mean`` of the edited picture and its target, and L1 between their gradients, where the target is known.

    The gradient term keeps lines and strands, which are small in the first, from being smoothed away.

    Args:
        made, target: [N, 3, H, W] in [0, 1]. weight: [N, 1, H, W], 0 to 1.
    """
    error = (made - target) * weight
    return to_mean(error, 0.05).mean() + error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


def still(made: Tensor, target: Tensor, before: Tensor, weight: Tensor) -> Tensor:
    """L1 of what is to stay: walls beside hair and clothes, whose target is the picture before.

    ``picture`` gives means where it is not sure, and a mean of hair that greys and of a wall that does not is a halo. L1 beside it leaves
    a pixel as it is unless it is hair more likely than not.

    Args:
        made, target, before: [N, 3, H, W] in [0, 1]. weight: [N, 1, H, W], 0 to 1.
    """
    change = F.avg_pool2d((target - before).abs().amax(1, keepdim=True), 3, 1, 1)
    stays = (1 - change / _STILL).clamp(min=0)  # a camera's noise and JPEG differ a little between the two
    return ((made - target).abs() * stays * weight).mean()


def to_mean(error: Tensor, unit: float) -> Tensor:
    """Huber's loss: ``e^2 / 2u`` up to 3 units, then its tangent. Its slope is that of L1 at one unit.

    What minimises it is a mean, of errors up to 3 units, and beyond that lies between mean and median. L1's is a median, which
    changes nothing where a network is not sure of a large change: grey hair that was to get dark got a third as dark as its targets.
    """
    return F.huber_loss(error, torch.zeros_like(error), reduction="none", delta=3 * unit) / unit


def supervised(made: Tensor, target: Tensor, weight: Tensor | None = None, unit: float | None = None) -> Tensor:
    """L1 between a map of the edit and its target's, where it counts; with a ``unit``, ``to_mean``."""
    error = (made - target).abs() if unit is None else to_mean(made - target, unit)
    return error.mean() if weight is None else (error * weight).mean() / weight.mean().clamp(min=1e-3)


def share(made: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy of a map of shares in [0, 1] with its target's, less the target's own entropy, where it counts.

    L1 makes a map that is zero nearly everywhere zero everywhere, where a sigmoid has no gradient left.
    """
    p = made.clamp(1e-4, 1 - 1e-4)
    t = target.clamp(1e-4, 1 - 1e-4)
    error = t * (t / p).log() + (1 - t) * ((1 - t) / (1 - p)).log()
    return (error * weight).mean() / weight.mean().clamp(min=1e-3)


def choice(logits: Tensor, fractions: Tensor) -> Tensor:
    """Cross-entropy of the age layers' softmax with the fractions that suit a face, [N, 5, 2 K]."""
    return -(fractions * F.log_softmax(logits, -1)).sum(-1).mean()


def embedding(aged: Tensor, original: Tensor) -> Tensor:
    """``1 - cos(e(T(x, l)), e(x))`` of face embeddings [N, E]: the person stays who they are."""
    return (1 - F.cosine_similarity(aged, original, dim=-1)).mean()
