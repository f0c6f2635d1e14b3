"""Augmentation: what cameras and detectors do to faces (inputs), and what keeps D from learning faces by heart.

Inputs are frames [N, C, H, W] in [-1, 1]; randomness comes from a CPU generator that is part of the checkpoint.
"""

from __future__ import annotations

import io

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .data import CANVAS


def jittered_affines(n: int, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Affines of faces that a detector would align a little differently: turned, scaled and moved, [n, 2, 3]."""

    def uniform(limit: float) -> Tensor:
        return (torch.rand(n, generator=generator) * 2 - 1) * limit * strength

    # No more than a detector errs by (and less than a line of skin is wide, mostly): what the networks are to draw at a
    # place has to be at that place.
    angle, scale = uniform(0.02), CANVAS * torch.exp(uniform(0.02))
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    linear = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    center = CANVAS * (0.5 + torch.stack([uniform(0.01), uniform(0.01)], -1))
    return torch.cat([linear, (center - (linear @ torch.full((2,), 0.5)))[..., None]], -1)


def mirror(frames: Tensor, landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """Left-right mirror of frames [N, C, H, W] and their landmarks [N, 5, 2] in pixels."""
    flipped = landmarks[:, [1, 0, 2, 4, 3]].clone()
    flipped[..., 0] = frames.shape[-1] - flipped[..., 0]
    return frames.flip(-1), flipped


def photometric(frames: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Random exposure, contrast, saturation and colour cast, alike for all RGB triples of a frame [N, 3 k, H, W] in [-1, 1]."""
    n = len(frames)

    def factor(limit: float, channels: int = 1) -> Tensor:
        values = torch.exp((torch.rand(n, channels, 1, 1, generator=generator) * 2 - 1) * limit * strength)
        return values.to(frames.device)[:, None]

    triples = (frames.unflatten(1, (-1, 3)) + 1) / 2  # [N, k, 3, H, W]
    gamma = factor(0.25)
    triples = triples.clamp(1e-4, 1) ** gamma * factor(0.10, 3)
    gray = triples.mean(2, keepdim=True)
    triples = gray + (triples - gray) * factor(0.30)
    triples = 0.5 + (triples - 0.5) * factor(0.20)
    return (triples * 2 - 1).clamp(-1, 1).flatten(1, 2)


def degrade(frames: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Camera faults, each on some of the frames [N, 3, H, W]: lost resolution, blur, sensor noise, JPEG, something before
    the face."""
    return torch.cat([_degrade(frame[None], generator, strength) for frame in frames]).clamp(-1, 1)


def _degrade(picture: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    chance = torch.rand(5, generator=generator).tolist()
    amount = (torch.rand(5, generator=generator) * strength).tolist()
    size = picture.shape[-2:]
    if chance[0] < 0.25:
        small = [max(8, int(side / (1 + 3 * amount[0]))) for side in size]
        picture = F.interpolate(picture, size=small, mode="area")
        picture = F.interpolate(picture, size=size, mode="bilinear", align_corners=False)
    if chance[1] < 0.15:
        picture = _motion_blur(picture, 1 + int(6 * amount[1]), vertical=chance[1] < 0.05)
    if chance[2] < 0.3:
        picture = picture + torch.randn(picture.shape, generator=generator).to(picture.device) * (0.06 * amount[2])
    if chance[3] < 0.25:
        picture = jpeg(picture, quality=int(90 - 60 * amount[3]))
    if chance[4] < 0.15:
        picture = _occlude(picture, generator, amount[4])
    return picture


def _motion_blur(picture: Tensor, length: int, vertical: bool) -> Tensor:
    kernel = (1, length) if not vertical else (length, 1)
    padding = (length // 2, length - 1 - length // 2)
    padded = F.pad(picture, (0, 0, *padding) if vertical else (*padding, 0, 0), mode="replicate")
    return F.avg_pool2d(padded, kernel, stride=1)


def jpeg(picture: Tensor, quality: int) -> Tensor:
    """One picture [1, 3, H, W] through a JPEG file in memory."""
    pixels = ((picture[0].permute(1, 2, 0) + 1) * 127.5).clamp(0, 255).round().byte().cpu().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    decoded = torch.from_numpy(np.array(Image.open(file)))
    return decoded.permute(2, 0, 1)[None].to(picture) / 127.5 - 1


def _occlude(picture: Tensor, generator: torch.Generator, amount: float) -> Tensor:
    """A flat rectangle of a random colour, up to a third of the side, anywhere: a hand, a cup, a microphone."""
    h, w = picture.shape[-2:]
    height, width = int(h * (0.08 + 0.25 * amount)), int(w * (0.08 + 0.25 * amount))
    top, left = (int(v) for v in (torch.rand(2, generator=generator) * torch.tensor([h - height, w - width])))
    colour = torch.rand(1, 3, 1, 1, generator=generator).to(picture) * 2 - 1
    picture = picture.clone()
    picture[..., top : top + height, left : left + width] = colour
    return picture


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


def detail_squares(pictures: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """One random square of ``side`` pixels from the middle three quarters of each picture, [N, C, side, side]."""
    n, _, h, w = pictures.shape
    free = torch.tensor([0.75 * h - side, 0.75 * w - side]).clamp(min=0)
    corners = (torch.rand(n, 2, generator=generator) * free + torch.tensor([h, w]) / 8).long().tolist()
    return torch.stack([p[:, y : y + side, x : x + side] for p, (y, x) in zip(pictures, corners, strict=True)])
