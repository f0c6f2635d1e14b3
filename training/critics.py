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


class Judge(nn.Module):
    """Logits of pictures of one kind, conditioned by projection (Miyato & Koyama 2018) on a code of ``codes`` numbers."""

    def __init__(self, codes: int, spectral: bool) -> None:
        super().__init__()
        self.trunk = Critic(spectral)
        self.real = nn.Conv2d(self.trunk.width, 1, 1)
        self.embed = nn.Linear(codes, self.trunk.width, bias=False)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Pictures [N, 3, side, side] in [-1, 1], codes [N, codes] -> logits [N, h, w]."""
        h = self.trunk(x)
        return (self.real(h) + (self.embed(code)[..., None, None] * h).sum(1, keepdim=True) / self.trunk.width**0.5)[
            :, 0
        ]


class Discriminator(nn.Module):
    """``D(x, l)``: is this a photograph of somebody of that age?

    One judge looks at the whole face, at a side at which small photographs are as sharp as large ones: what it sees is shape,
    hair, shade. The other one looks at crops of the five regions at the canvas' own resolution: patches make many examples out
    of few faces. Both know what a face's age cannot change, sex and where the picture is from: what differs between sources
    is not taken for age. The codes add up, so that a source without old people is judged by what it has and by what age is
    elsewhere.
    """

    def __init__(self, codes: int, spectral: bool = True) -> None:
        super().__init__()
        self.face = Judge(codes, spectral)
        self.regions = Judge(codes + len(geometry.REGION_NAMES), spectral)

    def forward(self, faces: Tensor, face_codes: Tensor, crops: Tensor, crop_codes: Tensor) -> tuple[Tensor, Tensor]:
        """Faces [N, 3, side, side], crops [M, 5, 3, side, side], codes of each -> logits [N, h, w] and [M, 5, h, w]."""
        m, r = crops.shape[:2]
        region = torch.eye(r, device=crops.device, dtype=crop_codes.dtype).expand(m, r, r)
        codes = torch.cat([crop_codes[:, None].expand(m, r, -1), region], -1)
        logits = self.regions(crops.flatten(0, 1), codes.flatten(0, 1))
        return self.face(faces, face_codes), logits.unflatten(0, (m, r))


class AgeClassifier(nn.Module):
    """``C``: log-probabilities of the K age groups, [N, 3, side, side] -> [N, K]."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.trunk = Critic(spectral=False)
        self.head = nn.Sequential(nn.Dropout(0.4), nn.Linear(self.trunk.width, groups))

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.head(self.trunk(x).mean((2, 3))), dim=-1)
