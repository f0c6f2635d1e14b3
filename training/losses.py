"""The five losses of LGIN, each beside the formula of the paper (Song, Wei, Li, Zhang, Zheng), and what we add.

The symbols are the paper's: ``x`` a face, ``l`` the wanted age group, ``T(x, l)`` the transformed face, ``x_r`` and
``G_r`` patch and generator of region r, ``G_g`` the global generator, ``C(a, z)`` the probability that classifier C gives
age group ``a`` for face ``z``. Every function takes a batch and returns a scalar; the loss is what its player minimises.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


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


def local(patch_delta: Tensor) -> Tensor:
    """``L_local = sum_r ||x_r - G_r(x_r, l)||_1``, the mean over pixels of each region, [N, 5, 3, P, P].

    ``G_r(x_r, l) - x_r`` is the residual ``d_r`` itself.
    """
    return patch_delta.abs().mean((0, 2, 3, 4)).sum()


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


def prototype(delta: Tensor, target: Tensor, chroma: float = 0.0) -> Tensor:
    """L1 between the composed residual and the prototype residual (``training.prototypes``), and between their gradients.

    The gradient term keeps fine lines, which are small in L1, from being smoothed away. ``chroma`` weighs what is left of
    the error without its brightness, ``|e - mean_c e|``: paint (blue lids, white lips) is the cheapest way to fool C.
    """
    error = delta - target
    colour = error - error.mean(1, keepdim=True)
    lines = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + lines + chroma * colour.abs().mean()


def distillation(residuals: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """How far residuals are from a wider network's: L1 of each and of its gradients, as for the prototypes.

    Hinton et al. 2015 match probabilities; ours are regressions, whose own values are matched.
    """
    return sum(
        (prototype(own, wanted) for own, wanted in zip(residuals, teacher, strict=True)), residuals[0].new_zeros(())
    )


def embedding(aged: Tensor, original: Tensor) -> Tensor:
    """``1 - cos(e(T(x, l)), e(x))`` of face embeddings [N, E]: the person stays who they are."""
    return (1 - F.cosine_similarity(aged, original, dim=-1)).mean()
