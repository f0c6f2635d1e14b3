"""What age does to the average face: the prototype residual that the generators are warmed up on.

Prototype-based ageing in two parts, both fitted by least squares on the training faces in canonical space:

- *colour and shape*: how the mean picture changes in ten years (Burt & Perrett 1995), per band of a Laplacian pyramid;
- *texture*: how the local contrast of each band changes in ten years (Tiddeman, Burt & Perrett 2001), which scales the
  person's own lines instead of painting the average ones.

Age is one regressor of several: sex, tier, source resolution and cheek brightness are the others, so that what differs
between eras, cameras or people is not taken for age. Slopes that the data does not support shrink towards zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .data import Faces, to_float

LEVELS = 6
#: Bands that only sharp pictures (tier A) have: the two finest at CANVAS pixels.
SHARP_LEVELS = 2
#: Bands of lines and pores, whose contrast is scaled; coarser contrast is light and hair, not skin.
FINE_LEVELS = 4
REFERENCE_AGE = 50.0


def blur(x: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian with a reflected border, [N, C, H, W]."""
    radius = max(1, round(3 * sigma))
    t = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (t / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, -1)
    radius = min(radius, min(x.shape[-2:]) - 1)
    kernel = kernel[..., kernel.shape[-1] // 2 - radius : kernel.shape[-1] // 2 + radius + 1]
    padded = F.pad(x, (radius,) * 4, mode="reflect")
    padded = F.conv2d(padded, kernel[:, :, None, :], groups=x.shape[1])
    return F.conv2d(padded, kernel[:, :, :, None], groups=x.shape[1])


def enlarge(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def pyramid(x: Tensor) -> list[Tensor]:
    """Laplacian pyramid (Burt & Adelson 1983): LEVELS bands from fine to coarse, then the low-pass rest."""
    bands = []
    for _ in range(LEVELS):
        low = F.avg_pool2d(x, 2)  # a binomial blur first looks the same and costs more than the rest of a batch
        bands.append(x - enlarge(low))
        x = low
    return [*bands, x]


def collapse(bands: list[Tensor]) -> Tensor:
    x = bands[-1]
    for band in reversed(bands[:-1]):
        x = band + enlarge(x)
    return x


def luma(x: Tensor) -> Tensor:
    return (x * x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


def energy(band: Tensor) -> Tensor:
    """Log of a band's local contrast, [N, 3, h, w] -> [N, 1, h, w]."""
    return 0.5 * torch.log(blur(luma(band) ** 2, max(1.0, band.shape[-1] / 48)) + 1e-5)


def slope(values: Tensor, design: Tensor, smooth: float) -> Tensor:
    """Least-squares coefficient of the first column of ``design`` [N, R] for every pixel of ``values`` [N, C, H, W].

    Smoothed, mirrored and averaged (a face has no preferred side), and shrunk by ``max(0, 1 - 1/t^2)`` with its own t
    value (positive-part James-Stein), [1, C, H, W].
    """
    flat = values.flatten(1)
    ridge = 1e-3 * torch.eye(
        design.shape[1]
    )  # of no weight with hundreds of faces; keeps a smoke run on a dozen solvable
    inverse = torch.linalg.inv(design.T @ design + ridge)
    coefficients = inverse @ design.T @ flat
    residual = flat - design @ coefficients
    variance = residual.square().sum(0) / max(1, len(design) - design.shape[1]) * inverse[0, 0]
    shape = (1, *values.shape[1:])
    value, variance = blur(coefficients[0].reshape(shape), smooth), blur(variance.reshape(shape), smooth)
    value = (value + value.flip(-1)) / 2
    return value * (1 - variance / value.square().clamp(min=1e-12)).clamp(min=0)


@dataclass
class Prototypes:
    """Change of each band in ten years: ``colour`` [1, 3, h, w] added, ``texture`` [1, 1, h, w] log gain."""

    colour: list[Tensor]
    texture: list[Tensor]

    def to(self, device: torch.device | str) -> Prototypes:
        return Prototypes([t.to(device) for t in self.colour], [t.to(device) for t in self.texture])

    def residual(
        self, x: Tensor, years: Tensor, colour: float = 1.0, lines: float = 1.0, texture: float = 1.0
    ) -> Tensor:
        """Residual that makes faces ``x`` [N, 3, H, W] in [-1, 1] older by ``years`` [N] (younger where negative).

        The gains exaggerate (or soften) the fitted change of coarse ``colour``, of the mean ``lines`` and of the person's
        own ``texture``: labels with errors, faces that are not quite aligned and pictures chosen to flatter make every
        regression slope too flat.
        """
        decades = (years / 10).view(-1, 1, 1, 1)
        changed, colours = [], []
        for level, band in enumerate(pyramid(x)):
            gain = torch.exp((self.texture[level] * decades * texture).clamp(-1.0, 1.0)) if level < FINE_LEVELS else 1.0
            changed.append(band * gain)
            colours.append(self.colour[level] * decades * (lines if level < FINE_LEVELS else colour))
        return (collapse(changed) + skin_or_hair(x) * collapse(colours)).clamp(-1, 1) - x


def skin_or_hair(x: Tensor) -> Tensor:
    """Where the mean colour change may be applied, [N, 1, H, W] in [0, 1].

    All of the face's oval; around it only what can be hair (dark, or grey), so that the greying of hair, which the mean
    face shows as a pale halo, does not light up the wall behind. Nothing below the chin.
    """
    h, w = x.shape[-2:]
    v = ((torch.arange(h, device=x.device) + 0.5) / h)[:, None]
    u = ((torch.arange(w, device=x.device) + 0.5) / w)[None]
    radius = torch.sqrt(((u - 0.5) / 0.27) ** 2 + ((v - 0.58) / 0.38) ** 2)
    oval = torch.sigmoid((1 - radius) / 0.06)
    smooth = F.interpolate(blur(F.avg_pool2d(x, 4), h / 512), size=(h, w), mode="bilinear", align_corners=False)
    dark = torch.sigmoid((-0.35 - luma(smooth)) / 0.08)
    chroma = smooth.amax(1, keepdim=True) - smooth.amin(1, keepdim=True)
    grey = torch.sigmoid((0.16 - chroma) / 0.04) * torch.sigmoid((0.5 - luma(smooth)) / 0.08)
    above_chin = torch.sigmoid((0.80 - v) / 0.04) * torch.sigmoid((1.9 - radius) / 0.12)
    hair = torch.maximum(dark, grey) * above_chin
    return oval + (1 - oval) * hair


def fit(faces: Faces) -> Prototypes:
    """Fit the prototypes on training faces (a minute on two cores)."""
    cheek = luma(to_float(faces.pixels[:, :, 210:270, 96:288])).mean((1, 2, 3))
    columns = [(faces.age - REFERENCE_AGE) / 10, torch.ones_like(faces.age), faces.sex, cheek - cheek.mean()]
    design = torch.stack([*columns, faces.detail - faces.detail.mean(), faces.sharp.float() - 0.5], 1)
    sharp = faces.sharp
    bands: list[list[Tensor]] = [[] for _ in range(LEVELS + 1)]
    for chunk in faces.pixels.split(32):
        for level, band in enumerate(pyramid(to_float(chunk))):
            bands[level].append(band.half())
    colour, texture = [], []
    for level in range(LEVELS + 1):
        values = torch.cat(bands[level]).float()
        rows = design
        if level < SHARP_LEVELS:
            values, rows = values[sharp], design[sharp][:, :-1]
        smooth = max(0.8, 3.0 / 2**level)
        # The mean brightness of a whole picture says how it was lit, not how old the face is.
        colour.append(slope(values, rows, smooth) if level < LEVELS else torch.zeros_like(values[:1]))
        if level < FINE_LEVELS:
            texture.append(slope(energy(values), rows, max(1.0, values.shape[-1] / 64)))
    return Prototypes(colour, texture)
