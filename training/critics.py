"""The critics of LGIN, which train its generators and go nowhere else: discriminator D and age classifier C."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from lgin_edge import geometry

from .networks import conv


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

    def features(self, x: Tensor) -> list[Tensor]:
        """What each stage sees, the last one last."""
        found = []
        for layer in self.body:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                found.append(x)
        return found


class Discriminator(nn.Module):
    """``D(x, l)``: a map of logits, conditioned on the age group by projection (Miyato & Koyama 2018), and on a region.

    It looks at crops of the five regions at the canvas' own resolution: patches make many examples out of few faces.
    """

    def __init__(self, groups: int, spectral: bool = True) -> None:
        super().__init__()
        self.trunk = Critic(spectral)
        self.real = nn.Conv2d(self.trunk.width, 1, 1)
        self.embed = nn.Linear(groups + len(geometry.REGION_NAMES), self.trunk.width, bias=False)

    def forward(self, x: Tensor, l: Tensor) -> Tensor:
        """Crops [N, R, 3, side, side] in [-1, 1] of all five regions (R = 5), ages [N, K] -> logits [N, R, h, w]."""
        return self.judge(x, l)[0]

    def judge(self, x: Tensor, l: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits, and the features that led to them."""
        n, r = x.shape[:2]
        region = torch.eye(r, device=x.device, dtype=l.dtype).expand(n, r, r)
        code = torch.cat([l[:, None].expand(n, r, -1), region], -1).flatten(0, 1)
        seen = self.trunk.features(x.flatten(0, 1))
        h = seen[-1]
        logits = self.real(h) + (self.embed(code)[..., None, None] * h).sum(1, keepdim=True) / self.trunk.width**0.5
        return logits[:, 0].unflatten(0, (n, r)), seen


class AgeClassifier(nn.Module):
    """``C``: log-probabilities of the K age groups, [N, 3, side, side] -> [N, K]."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.trunk = Critic(spectral=False)
        self.head = nn.Sequential(nn.Dropout(0.4), nn.Linear(self.trunk.width, groups))

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.head(self.trunk(x).mean((2, 3))), dim=-1)
