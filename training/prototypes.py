"""What age does to a face: the prototype residual that the generators are warmed up on.

Prototype-based ageing in five parts. Four are fitted on the training faces in canonical space:

- *shape*: where the features move in ten years (``training.shape``; Rowland & Perrett 1995);
- *colour*: how the mean picture changes in ten years (Burt & Perrett 1995), per band of a Laplacian pyramid;
- *texture*: how the local contrast of each band changes in ten years (Tiddeman, Burt & Perrett 2001), which scales the
  person's own lines instead of painting the average ones;
- *hair*: the share of grey at each age, from the brightness of hair.

The fifth, ``training.wrinkles``, draws the lines that no average has.

Age is one regressor of several: sex, tier, source resolution and cheek brightness are the others, so that what differs
between eras, cameras or people is not taken for age. Slopes that the data does not support shrink towards zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import data, masks, shape, wrinkles
from .config import PrototypeGains
from .data import Faces, to_float

LEVELS = 6
#: Bands that only sharp pictures (tier A) have: the two finest at CANVAS pixels.
SHARP_LEVELS = 2
#: Bands of lines and pores, whose contrast is scaled; coarser contrast is light and hair, not skin.
FINE_LEVELS = 4
REFERENCE_AGE = 50.0


def blur(x: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian with a reflected border, [N, C, H, W]; a wide one at half the size, which looks the same."""
    if sigma >= 3 and x.shape[-2] % 2 == x.shape[-1] % 2 == 0:
        return enlarge(blur(F.avg_pool2d(x, 2), sigma / 2))
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


def slope(values: Tensor, design: Tensor, smooth: float, mirror: Tensor | float = 1.0) -> Tensor:
    """Least-squares coefficient of the first column of ``design`` [N, R] for every pixel of ``values`` [N, C, H, W].

    Smoothed, mirrored and averaged (a face has no preferred side), and shrunk by ``max(0, 1 - 1/t^2)`` with its own t
    value (positive-part James-Stein), [1, C, H, W]. ``mirror`` [C, 1, 1]: -1 for channels that a mirror turns round.
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
    value = (value + mirror * value.flip(-1)) / 2
    return value * (1 - variance / value.square().clamp(min=1e-12)).clamp(min=0)


#: Limits of a band's log gain, finest first, when younger and when older: the finest holds noise and JPEG blocks too.
GAIN_LIMITS = ((-0.7, 0.1), (-0.9, 0.35), (-0.9, 0.7), (-0.9, 0.9))
#: Brightness of hair that is all grey, in [-1, 1].
GREY_LUMA = 0.05


def interpolate(years: Tensor, ages: list[float], values: list[float]) -> Tensor:
    """Piecewise linear function of age, [N] -> [N, 1, 1, 1]."""
    at = np.interp(years.cpu().numpy(), ages, values)
    return torch.as_tensor(at, dtype=torch.float32).to(years.device).view(-1, 1, 1, 1)


def mouth(x: Tensor) -> Tensor:
    """Soft mask of lips and teeth, [H, W]: smiles differ, and the mean of all would darken everybody's teeth."""
    h, w = x.shape[-2:]
    v = ((torch.arange(h, device=x.device) + 0.5) / h)[:, None]
    u = (torch.arange(w, device=x.device) + 0.5) / w
    return torch.sigmoid((1 - torch.hypot((u - 0.502) / 0.12, (v - 0.735) / 0.045)) / 0.15)


def glasses_band(x: Tensor) -> Tensor:
    """Soft mask of where glasses are worn, from temple to temple, [H, W]."""
    h, w = x.shape[-2:]
    v = ((torch.arange(h, device=x.device) + 0.5) / h)[:, None]
    u = (torch.arange(w, device=x.device) + 0.5) / w
    return torch.sigmoid((0.3 - (u - 0.5).abs()) / 0.015) * torch.sigmoid((0.105 - (v - 0.495).abs()) / 0.012)


def inside(x: Tensor) -> Tensor:
    """Falls from 1 at the features to 0 at the border of the square, where nothing may move, [H, W]."""
    h, w = x.shape[-2:]
    v = ((torch.arange(h, device=x.device) + 0.5) / h)[:, None]
    u = (torch.arange(w, device=x.device) + 0.5) / w
    return torch.sigmoid((1 - torch.hypot((u - 0.5) / 0.40, (v - 0.57) / 0.40)) / 0.07)


def long_hair(soft_masks: Tensor) -> Tensor:
    """How much hair hangs beside the mouth, 0 to 1, [N, 1, 1, 1]. Half of it is out of the square and would stay dark."""
    h = soft_masks.shape[-2]
    beside = soft_masks[:, 1:, round(0.58 * h) : round(0.74 * h)]
    return (beside.mean((2, 3), keepdim=True) / 0.12).clamp(0, 1)


@dataclass
class Prototypes:
    """Change of each band in ten years: ``colour`` [1, 3, h, w] added, ``texture`` [1, 1, h, w] log gain.

    ``shape`` [1, 2, h, w] is the displacement (x, y) in ten years, canonical units. ``grey`` [K] is the share of grey hair
    at the centre of each age group, in [0, 1].
    """

    colour: list[Tensor]
    texture: list[Tensor]
    shape: Tensor
    grey: Tensor

    def to(self, device: torch.device | str) -> Prototypes:
        colour, texture = ([t.to(device) for t in bands] for bands in (self.colour, self.texture))
        return Prototypes(colour, texture, self.shape.to(device), self.grey.to(device))

    def state(self) -> dict[str, Tensor]:
        """As a flat dictionary of tensors."""
        bands = {f"{name}.{i}": t for name in ("colour", "texture") for i, t in enumerate(getattr(self, name))}
        return bands | {"shape": self.shape, "grey": self.grey}

    @staticmethod
    def from_state(state: dict[str, Tensor]) -> Prototypes:
        return Prototypes(
            [state[f"colour.{i}"] for i in range(LEVELS + 1)],
            [state[f"texture.{i}"] for i in range(FINE_LEVELS)],
            state["shape"],
            state["grey"],
        )

    def residual(
        self,
        x: Tensor,
        soft_masks: Tensor,
        landmarks: Tensor,
        present: Tensor,
        wanted: Tensor,
        gains: PrototypeGains,
        glasses: Tensor | None = None,
    ) -> Tensor:
        """Residual that brings aligned faces from their present age to the wanted one.

        Args:
            x: [N, 3, H, W] in [-1, 1]. soft_masks: [N, 2, H, W] skin and hair, in [0, 1] (``training.masks``).
            landmarks: [N, 5, 2] canonical, where the lines are drawn after.
            present, wanted: [N] years; outside the groups' centres they count as the nearest centre.
            gains: the fitted slopes are too flat: labels have errors, faces are not quite aligned and pictures are
                chosen to flatter. These exaggerate them.
            glasses: [N] bool, who is known to wear some: rims are no wrinkles, and neither fade nor move.

        Returns:
            [N, 3, H, W]; 0 where neither skin nor hair is, and where ``present == wanted``.
        """
        low, high = data.GROUPS[0].center, data.GROUPS[-1].center
        present, wanted = present.clamp(low, high), wanted.clamp(low, high)
        decades = (wanted - present) / 10
        behind = glasses_band(x) * (x.new_zeros(len(x)) if glasses is None else glasses.to(x)).view(-1, 1, 1, 1)
        moved = self._move(torch.cat([x, soft_masks], 1), decades, gains, behind)
        base, skin, hair = moved.split((3, 1, 1), 1)
        rows = (torch.arange(x.shape[-2], device=x.device) + 0.5) / x.shape[-2]
        skin = skin * torch.sigmoid((0.97 - rows) / 0.015)[:, None]
        long = long_hair(soft_masks)
        lines = (1 - 0.7 * behind) * self._wrinkles(base, landmarks, present, wanted, gains)
        change = skin * (self._skin(base, decades, gains, behind) + lines)
        change = change + hair * (1 - skin) * (1 - 0.75 * long) * self._hair(base, present, wanted)
        return (base + change).clamp(-1, 1) - x

    def _move(self, x: Tensor, decades: Tensor, gains: PrototypeGains, behind: Tensor) -> Tensor:
        """Frames [N, 3 + 2, H, W] with the parts of the head moved, and their masks with them; the wall stays."""
        head = blur(F.interpolate(x[:, 3:].sum(1, keepdim=True), size=self.shape.shape[-2:], mode="area"), 3.0)
        freely = head.clamp(0, 1) * inside(head) * (1 - 0.7 * blur(mouth(head)[None, None], 4.0))  # smiles stay smiles
        freely = freely * (1 - F.interpolate(behind, size=head.shape[-2:], mode="area"))
        displacement = gains.shape * decades.view(-1, 1, 1, 1) * self.shape * freely
        return shape.warp(x, displacement).clamp(-1, 1)

    def _skin(self, x: Tensor, decades: Tensor, gains: PrototypeGains, behind: Tensor) -> Tensor:
        d = decades.view(-1, 1, 1, 1)
        # Younger by as much as older would be light and shade, and no longer skin.
        lines = torch.where(d > 0, 1.5 * gains.lines, 0.75 * gains.lines) * d
        colour = torch.where(d > 0, 1.3 * gains.colour, 0.5 * gains.colour) * d
        textured, shaded = [], []
        for level, band in enumerate(pyramid(x)):
            shade = self.colour[level] * (lines if level < FINE_LEVELS else colour)
            grey = luma(shade)
            shaded.append(grey + gains.chroma * (shade - grey))
            if level < FINE_LEVELS:
                gain = torch.exp((self.texture[level] * d * gains.texture).clamp(*GAIN_LIMITS[level])) - 1
                softer = 1 - F.interpolate(behind, size=band.shape[-2:], mode="area")
                gain = gain.clamp(min=0) + softer * gain.clamp(max=0)
                y = luma(band)
                # Lines are brightness: colour is only ever softened, and hard edges (glasses, teeth) keep their strength.
                band = band + gain * y.clamp(-0.16, 0.16) + gain.clamp(max=0) * (band - y)
            textured.append(band)
        shade = (1 - 0.8 * mouth(x)) * blur(collapse(shaded), 1.0).clamp(-0.35, 0.35)
        return collapse(textured) - x + shade

    def _wrinkles(self, x: Tensor, landmarks: Tensor, present: Tensor, wanted: Tensor, gains: PrototypeGains) -> Tensor:
        ages, depths = list(wrinkles.AGES), list(wrinkles.DEPTHS)
        deeper = interpolate(wanted, ages, depths) - interpolate(present, ages, depths)
        # What is drawn here is not what the person has: taking it away would draw pale lines on a smooth face.
        deeper = torch.where(deeper < 0, 0.25 * deeper, deeper)
        grooves = wrinkles.fitted_map(landmarks, x.shape[-1])
        return gains.wrinkles * deeper * grooves * (0.35 + 0.5 * (1 + blur(luma(x), x.shape[-1] / 96)))

    def _hair(self, x: Tensor, present: Tensor, wanted: Tensor) -> Tensor:
        """Hair that greys keeps its strands, around a brightness lifted to grey; grey hair that gets younger darkens."""
        ages = [group.center for group in data.GROUPS]
        now, then = (interpolate(years, ages, self.grey.tolist()) for years in (present, wanted))
        greying = ((then - now) / (1 - now).clamp(min=0.1)).clamp(min=0)
        darkening = ((now - then) / now.clamp(min=0.1)).clamp(min=0)
        y, scale = luma(x), x.shape[-1] / 96
        base = blur(y, scale)
        silver = 0.085 + 0.38 * base + 1.7 * (y - base) - x.new_tensor([0.0, 0.01, 0.03])[:, None, None]
        dark = -0.56 + 0.3 * base + 0.9 * (y - base) + x.new_tensor([0.06, 0.0, -0.06])[:, None, None]
        chroma = blur(x.amax(1, keepdim=True) - x.amin(1, keepdim=True), scale)
        is_grey = torch.sigmoid((0.34 - chroma) / 0.06) * torch.sigmoid((base + 0.45) / 0.12)
        return greying * (silver - x).clamp(min=-0.15) + darkening * is_grey * (dark - x)


def none() -> Prototypes:
    """No prototypes, for what is trained without them."""
    return Prototypes([], [], torch.zeros(0), torch.zeros(0))


def grey_share(pixels: Tensor, soft_masks: Tensor, age: Tensor, sex: Tensor) -> Tensor:
    """Share of grey hair at the centre of each group, [K], from the mean brightness of hair by soft age code.

    Men only, where there are enough of them: dyed hair does not tell an age.
    """
    side = soft_masks.shape[-1]
    hair = soft_masks[:, 1]
    luma_of = torch.cat(
        [luma(F.interpolate(to_float(c), size=(side, side), mode="area"))[:, 0] for c in pixels.split(64)]
    )
    known = (hair.mean((1, 2)) > 0.02) & (
        (sex > 0) if (sex > 0).sum() > 100 else torch.ones_like(sex, dtype=torch.bool)
    )
    if known.sum() < len(data.GROUPS):
        return torch.zeros(len(data.GROUPS))
    brightness = ((luma_of * hair).sum((1, 2)) / hair.sum((1, 2)).clamp(min=1e-3))[known]
    code = data.age_codes(age[known])
    at_center = torch.linalg.solve(code.T @ code + 0.5 * torch.eye(code.shape[1]), code.T @ (brightness + 0.5)) - 0.5
    at_center = at_center.cummax(0).values  # nobody's hair gets darker
    return ((at_center - at_center[0]) / (GREY_LUMA - at_center[0]).clamp(min=0.1)).clamp(0, 0.85)


def fit(faces: Faces) -> Prototypes:
    """Fit the prototypes on training faces with masks (a minute on two cores)."""
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
    pictures = torch.cat([luma(to_float(chunk)) for chunk in faces.pixels.split(64)])
    displacement = shape.flows(shape.local_contrast(pictures))
    moves = slope(displacement, design, 3.0, mirror=torch.tensor([-1.0, 1.0])[:, None, None])
    grey = grey_share(faces.pixels, masks.to_float(faces.masks, masks.SIDE), faces.age, faces.sex)
    return Prototypes(colour, texture, moves, grey)
