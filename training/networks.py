"""The networks of LGIN: five local generators, one global generator, their interaction, and the two critics.

Sizes are chosen so that the whole ``T`` at S = 256, P = 128 costs less than a ResNet-18 at 256x256 (2.37 GMAC):
``python -m training.networks`` counts and prints it. What keeps it cheap on every device:

- pictures enter by a convolution of stride 2 and leave by depth-to-space, so no convolution runs at full resolution;
- residual blocks are narrower inside (He et al. 2015 call them bottlenecks), where most of the multiplications are;
- there is no normalisation layer at all: residual branches start at zero (SkipInit, De & Smith 2020), so nothing has to
  be folded and training equals inference;
- widths are multiples of 16, and enlarging is a resize before a convolution, not a transposed one;
- the age code enters after the encoders and the interaction, so a timeline of K ages encodes each face once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from lgin_edge import geometry

from . import canonical


@dataclass(frozen=True)
class NetworkConfig:
    """Widths and depths of T. ``groups`` is K, the length of the age code; ``hidden`` the inner width of residual blocks, a
    share of their width; ``detail_width`` that of the whole face's last features, at half its side.

    ``local`` and ``interaction`` switch the five local generators and the interactive structure off, for ablations;
    ``position`` the maps of place, which are ours and not the paper's.
    """

    groups: int = 5
    face_size: int = geometry.FACE_SIZE
    patch_size: int = geometry.PATCH_SIZE
    global_widths: tuple[int, int, int] = (32, 64, 96)
    hidden: float = 0.5
    global_blocks: int = 4
    decoder_width: int = 48
    detail_width: int = 16
    local_widths: tuple[int, int] = (16, 32)
    local_blocks: int = 2
    local: bool = True
    interaction: bool = True
    position: bool = True


def activation() -> nn.Module:
    return nn.LeakyReLU(0.1)


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2)
    nn.init.kaiming_normal_(layer.weight, a=0.1)
    nn.init.zeros_(layer.bias)
    return layer


def zero(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    return layer


def stem(width: int) -> nn.Sequential:
    """Picture [N, 3, H, W] to features [N, width, H/2, W/2]."""
    return nn.Sequential(conv(3, width, kernel=6, stride=2), activation())


class ResidualBlock(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(width, hidden), activation(), zero(conv(hidden, width)))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Modulation(nn.Module):
    """Feature-wise affine modulation by the age code (FiLM, Perez et al. 2018): ``(1 + gamma(l)) h + beta(l)``.

    ``h`` is [N, 1, C, H, W] (encoded once for all ages) or [N, G, C, H, W]; ``l`` is [N, G, K]; the result is
    [N * G, C, H, W]: every face at each of its G ages, faces together.
    """

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.gamma = nn.Linear(groups, width, bias=False)
        self.beta = nn.Linear(groups, width, bias=False)
        nn.init.normal_(self.gamma.weight, std=0.1)
        nn.init.normal_(self.beta.weight, std=0.1)

    def forward(self, h: Tensor, l: Tensor) -> Tensor:
        gamma, beta = self.gamma(l)[..., None, None], self.beta(l)[..., None, None]
        return (h * (1 + gamma) + beta).flatten(0, 1)


def masked_residual(raw: Tensor) -> Tensor:
    """Residual with a learnt mask: 16 channels at half size -> ``sigmoid(mask) * rgb`` [N, 3, 2H, 2W].

    Four channels for each of R, G, B and the mask, the pixels of a 2x2 block; multiplied before they are spread, which moves
    fewer bytes.
    """
    rgb, mask = raw.unflatten(1, (4, 4)).split((3, 1), dim=1)
    return F.pixel_shuffle((torch.sigmoid(mask) * rgb).flatten(1, 2), 2)


def per_age(skip: Tensor, l: Tensor) -> Tensor:
    """Repeat the encoder's features [N, ...] for the G ages of each face: [N * G, ...], faces together."""
    return skip[:, None].expand(-1, l.shape[1], -1, -1, -1).flatten(0, 1)


class Position(nn.Module):
    """What is drawn at a place whatever the picture shows there: ``sum_r (W_r l) E_r``, added to the decoder's features.

    Convolutions do not know where they are, but a fold, a beard or grey temples have their place. The maps ``E``
    [RANK, H, W] start as low cosines and are learnt; ``W`` starts at zero, so that a network begins without them.
    """

    RANK = 8
    #: Maps are stored divided by this: Adam moves every weight by about as much, and these have further to go.
    SCALE = 10.0

    def __init__(self, width: int, groups: int, side: int) -> None:
        super().__init__()
        t = (torch.arange(side) + 0.5) / side
        waves = [torch.cos(torch.pi * k * t) for k in range(3)]
        pairs = [(i, j) for i in range(3) for j in range(3)][1:]  # without the constant
        self.maps = nn.Parameter(torch.stack([torch.outer(waves[i], waves[j]) for i, j in pairs]) / self.SCALE)
        self.weight = nn.Parameter(torch.zeros(groups, width * self.RANK))

    def forward(self, l: Tensor) -> Tensor:
        """l [N, G, K] -> [N, G, width, H, W]."""
        weight = (l @ self.weight).unflatten(-1, (-1, self.RANK))
        return (weight @ (self.SCALE * self.maps.flatten(1))).unflatten(-1, self.maps.shape[1:])


def joined(h: Tensor, skip: Tensor, position: Position | None, l: Tensor) -> Tensor:
    """Features [N * G, ...], the encoder's [N, ...] and the place's added up: [N * G, ...].

    The last two first, where broadcasting repeats the encoder's for all ages without a copy of them.
    """
    return h + (per_age(skip, l) if position is None else (skip[:, None] + position(l)).flatten(0, 1))


class LocalGenerator(nn.Module):
    """``G_r``: residual of one region's patch, ``G_r(x_r, l) = x_r + d_r`` with ``d_r`` the ``masked_residual`` of ``forward``."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        narrow, wide = config.local_widths
        hidden = round(config.hidden * wide)
        blocks = (ResidualBlock(wide, hidden) for _ in range(config.local_blocks))
        self.stem = stem(narrow)
        self.body = nn.Sequential(conv(narrow, wide, stride=2), activation(), *blocks)
        self.modulation = Modulation(wide, config.groups)
        self.reduce = nn.Sequential(activation(), conv(wide, narrow, 1))
        self.position = Position(narrow, config.groups, config.patch_size // 2) if config.position else None
        self.decode = nn.Sequential(activation(), conv(narrow, narrow), activation())
        self.head = zero(conv(narrow, 16))

    def encode(self, x_r: Tensor) -> tuple[Tensor, Tensor]:
        """[N, 3, P, P] -> skip [N, narrow, P/2, P/2], features [N, wide, P/4, P/4]."""
        skip = self.stem(x_r)
        return skip, self.body(skip)

    def forward(self, skip: Tensor, features: Tensor, l: Tensor) -> Tensor:
        h = self.reduce(self.modulation(features[:, None], l))
        h = F.interpolate(h, scale_factor=2.0, mode="nearest")
        return self.head(self.decode(joined(h, skip, self.position, l)))


class GlobalGenerator(nn.Module):
    """``G_g``: residual of the whole face, ``G_g(x, l) = x + d_g``, and one residual for each coarser decoder scale."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        w1, w2, w3 = config.global_widths
        d = config.decoder_width
        hidden = round(config.hidden * w3)
        blocks = (ResidualBlock(w3, hidden) for _ in range(config.global_blocks))
        self.stem = stem(w1)
        self.down = nn.Sequential(conv(w1, w2, stride=2), activation())
        self.body = nn.Sequential(conv(w2, w3, stride=2), activation(), *blocks)
        self.modulation = Modulation(w3, config.groups)
        self.mix = nn.Sequential(ResidualBlock(w3, hidden), activation())
        self.reduce3 = conv(w3, d, 1)
        self.skip2 = conv(w2, d, 1)
        self.decode2 = nn.Sequential(activation(), conv(d, d))
        self.modulation2 = Modulation(d, config.groups)
        self.reduce2 = nn.Sequential(activation(), conv(d, w1, 1))
        self.position = Position(w1, config.groups, config.face_size // 2) if config.position else None
        self.decode1 = nn.Sequential(activation(), conv(w1, config.detail_width), activation())
        self.head = zero(conv(config.detail_width, 16))
        # Images at the coarser decoder scales (S/4, S/2), for L_I only; the export leaves them out.
        self.coarse_heads = nn.ModuleList([zero(conv(w3, 16, 1)), zero(conv(d, 16, 1))])

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[N, 3, S, S] -> features at S/2, S/4 and S/8."""
        e1 = self.stem(x)
        e2 = self.down(e1)
        return e1, e2, self.body(e2)

    def forward(self, e1: Tensor, e2: Tensor, e3: Tensor, l: Tensor) -> tuple[Tensor, list[Tensor]]:
        h3 = self.mix(self.modulation(e3[:, None], l))
        h2 = F.interpolate(self.reduce3(h3), scale_factor=2.0, mode="nearest")
        h2 = self.decode2(h2 + per_age(self.skip2(e2), l))
        h2 = self.modulation2(h2.unflatten(0, l.shape[:2]), l)
        h1 = F.interpolate(self.reduce2(h2), scale_factor=2.0, mode="nearest")
        h1 = self.decode1(joined(h1, e1, self.position, l))
        coarse = [masked_residual(head(h)) for head, h in zip(self.coarse_heads, (h3, h2), strict=True)]
        return masked_residual(self.head(h1)), coarse


class Interaction(nn.Module):
    """The interactive structure: each local branch reads its box of the global features, and writes its own back.

    ``q_r <- q_r + read(crop_r(F))`` and ``F <- F + write(sum_r paste_r(w_r q_r))`` with the same boxes (design section 2).
    ``paste`` is the adjoint of ``crop``, so it adds up all samples that fall on one global pixel; the density of the
    samples is divided out first.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        wide, local = config.global_widths[-1], config.local_widths[-1]
        self.read = conv(wide, local, 1)
        self.write = zero(conv(local, wide, 1))

    def forward(self, features: Tensor, patches: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """features [N, C, H, W], patches [N, 5, c, p, p], boxes [N, 5, 4] -> the same two shapes."""
        side, patch = features.shape[-1], patches.shape[-1]
        ay, ax = canonical.crop_matrices(boxes, patch, side)
        t = (torch.arange(patch, device=boxes.device, dtype=boxes.dtype) + 0.5) / patch
        w = canonical.window(t, geometry.REGION_TAPER)
        extent = (boxes[..., 2:] - boxes[..., :2]) * (side / patch)
        wy, wx = (ay * w[:, None] * extent[..., 1, None, None], ax * w[:, None] * extent[..., 0, None, None])
        dtype = features.dtype
        read = canonical.crop(self.read(features), ay.to(dtype), ax.to(dtype))
        written = canonical.paste(patches, wy.to(dtype), wx.to(dtype))
        return features + self.write(written), patches + read


class LGIN(nn.Module):
    """``T = {G_g, G_f, G_e, G_n, G_m, G_c, l}``: all generators and their interaction."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or NetworkConfig()
        self.whole = GlobalGenerator(config)
        names = geometry.REGION_NAMES if config.local else ()
        self.regions = nn.ModuleDict({name: LocalGenerator(config) for name in names})
        self.interaction = Interaction(config) if config.local and config.interaction else None

    def forward(self, face: Tensor, patches: Tensor, boxes: Tensor, age: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """All residuals at G ages a face.

        Args:
            face: ``x`` [N, 3, S, S] in [-1, 1]; patches: ``x_r`` [N, 5, 3, P, P]; boxes: [N, 5, 4] canonical.
            age: ``l`` [N, G, K].

        Returns:
            face_delta ``d_g`` [N * G, 3, S, S], patch_delta ``d_r`` [N * G, 5, 3, P, P], and ``d_g`` at S/4 and S/2.
        """
        e1, e2, e3 = self.whole.encode(face)
        if not self.config.local:
            face_delta, coarse = self.whole(e1, e2, e3, age)
            return face_delta, patches.new_zeros(patches.shape).repeat_interleave(age.shape[1], 0), coarse
        local = [g.encode(x_r) for g, x_r in zip(self.regions.values(), patches.unbind(1), strict=True)]
        mixed = torch.stack([features for _, features in local], 1)
        if self.interaction is not None:
            e3, mixed = self.interaction(e3, mixed, boxes)
        face_delta, coarse = self.whole(e1, e2, e3, age)
        raw = [
            g(skip, features, age)
            for g, (skip, _), features in zip(self.regions.values(), local, mixed.unbind(1), strict=True)
        ]
        patch_delta = masked_residual(torch.stack(raw, 1).flatten(0, 1)).unflatten(0, (-1, len(raw)))
        return face_delta, patch_delta, coarse


class Critic(nn.Module):
    """Convolutional trunk of D and of C: [N, 3, side, side] -> [N, 256, side/32, side/32]."""

    def __init__(self, spectral: bool) -> None:
        super().__init__()
        widths = (32, 64, 128, 192, 256)
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)]
        inputs = 12
        for i, width in enumerate(widths):
            layer = conv(inputs, width, stride=1 if i == 0 else 2)
            layers += [spectral_norm(layer) if spectral else layer, nn.LeakyReLU(0.2)]
            inputs = width
        self.body = nn.Sequential(*layers)
        self.width = inputs

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Discriminator(nn.Module):
    """``D(x, l)``: a map of logits, conditioned on the age group by projection (Miyato & Koyama 2018)."""

    def __init__(self, groups: int, spectral: bool = True) -> None:
        super().__init__()
        self.trunk = Critic(spectral)
        self.real = nn.Conv2d(self.trunk.width, 1, 1)
        self.embed = nn.Linear(groups, self.trunk.width, bias=False)

    def forward(self, x: Tensor, l: Tensor) -> Tensor:
        """[N, 3, side, side] in [-1, 1] and [N, K] -> logits [N, 1, side/32, side/32]."""
        h = self.trunk(x)
        return self.real(h) + (self.embed(l)[..., None, None] * h).sum(1, keepdim=True) / self.trunk.width**0.5


class AgeClassifier(nn.Module):
    """``C``: log-probabilities of the K age groups, [N, 3, side, side] -> [N, K]."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.trunk = Critic(spectral=False)
        self.head = nn.Sequential(nn.Dropout(0.4), nn.Linear(self.trunk.width, groups))

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.head(self.trunk(x).mean((2, 3))), dim=-1)


def count_macs(module: nn.Module, *inputs: Tensor) -> int:
    """Multiply-accumulates of one forward pass: convolutions, linear layers and matrix products."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return counter.get_total_flops() // 2


def example_inputs(config: NetworkConfig, faces: int = 1, ages: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Zeros of the shapes that ``LGIN.forward`` takes, with template boxes."""
    boxes = torch.tensor(geometry.REGION_BOXES, dtype=torch.float32).expand(faces, -1, -1)
    s, p = config.face_size, config.patch_size
    age = torch.zeros(faces, ages, config.groups)
    return torch.zeros(faces, 3, s, s), torch.zeros(faces, 5, 3, p, p), boxes.contiguous(), age


def main() -> None:
    config = NetworkConfig()
    model = LGIN(config)
    parameters = sum(p.numel() for p in model.parameters())
    one, six = (count_macs(model, *example_inputs(config, 1, ages)) for ages in (1, 6))
    print(f"T at S = {config.face_size}, P = {config.patch_size}: {parameters / 1e6:.2f} M parameters")
    print(f"  one age:                {one / 1e9:.2f} GMAC (ResNet-18 at 256x256: 2.37)")
    print(f"  timeline of six ages:   {six / 1e9:.2f} GMAC, {six / one:.2f} times one age")


if __name__ == "__main__":
    main()
