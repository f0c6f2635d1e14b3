"""The age lines: which textures of the set a face gets, and how deep they are drawn at an age."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lgin_edge import geometry

#: Skin this bright (light in [0, 1]) begins to show its lines less, and from there on shows least, by so much: cameras clip it.
_BRIGHT, _BRIGHTEST, _FADES = 0.82, 0.98, 0.65


class Lines(nn.Module):
    """How deep the local generators draw each age layer, ``a_rk``, and what comes of it in mesh space (design section 2).

    Which layers follows from the face alone: a softmax over the K layers and their mirror images, of length 1 as a vector, so that
    mixed layers are as deep as pure ones. How deep follows from the face and the age.
    """

    HIDDEN = 64
    #: Choices are drawn sharper than they are sure, because many faces' lines on one face are nobody's.
    SHARPNESS = 5.0
    #: Slope of the softplus that keeps depths above zero. A rectifier shuts: the first weights 1.0 had no lines in four regions of five.
    SLOPE = 4.0
    #: Groups for which lines are read of every face, whatever is asked for: what is still to come for them says how old it is.
    READ = (-3, -1)

    def __init__(self, inputs: int, ages: int, layers: int, side: int) -> None:
        """``inputs``: channels of a region and of the whole face together. ``ages``: length of the age code."""
        super().__init__()
        regions = len(geometry.REGION_NAMES)
        self.features = nn.Parameter(torch.randn(regions, inputs, self.HIDDEN) / inputs**0.5)
        self.features_bias = nn.Parameter(torch.zeros(regions, 1, self.HIDDEN))
        self.which = nn.Parameter(torch.zeros(regions, self.HIDDEN, 2 * layers))
        self.modulation = nn.Linear(ages, regions * self.HIDDEN, bias=False)
        nn.init.normal_(self.modulation.weight, std=0.3)
        # Depth at an age on any face, deeper with every group; what the face adds begins at zero, where no slope is lost.
        self.usual = nn.Linear(ages, regions, bias=False)
        with torch.no_grad():
            self.usual.weight.copy_(torch.linspace(0, 1, ages).expand(regions, -1))
        self.depth = nn.Parameter(torch.zeros(regions, self.HIDDEN, 1))
        self.depth_bias = nn.Parameter(torch.full((regions, 1), -0.2))
        self.register_buffer("read", torch.eye(ages)[None, list(self.READ)], persistent=False)
        self.register_buffer("layers", torch.zeros(layers, side, side))
        self.register_buffer("windows", torch.full((regions, side, side), 1 / regions))

    def forward(self, local: Tensor, whole: Tensor, l: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the layers [N, 5, 2 K], depths [N, G, 5, 1] and those of ``READ`` [N, 2, 5], not negative.

        Args:
            local: features of the regions [N, 5, c, p, p]. whole: of the face [N, C, H, W]. l: [N, G, K].
        """
        seen = whole.mean((2, 3))[:, None].expand(-1, local.shape[1], -1)
        h = torch.cat([local.mean((3, 4)), seen], -1).transpose(0, 1)  # [5, N, inputs]
        h = F.leaky_relu(h @ self.features + self.features_bias, 0.1)
        logits = (h @ self.which).transpose(0, 1)
        return logits, self.deep(h, l), self.deep(h, self.read.to(l))[..., 0]

    def deep(self, h: Tensor, l: Tensor) -> Tensor:
        """Depths [N, G, 5, 1] of faces' hidden features h [5, N, HIDDEN] at ages l [N or 1, G, K]."""
        age = 1 + self.modulation(l).unflatten(-1, (len(geometry.REGION_NAMES), -1))  # [N, G, 5, HIDDEN]
        depth = (h.transpose(0, 1)[:, None, :, None] * age[:, :, :, None]) @ self.depth
        depth = depth[..., 0] + self.usual(l)[..., None] + self.depth_bias
        # A softplus of few plain operators, which FP16 keeps.
        steep = self.SLOPE * depth
        return (F.relu(steep) + torch.log(1 + torch.exp(-steep.abs()))) / self.SLOPE

    def chosen(self, logits: Tensor) -> Tensor:
        """Shares [N, 5, 2 K] in which layers are drawn."""
        return torch.softmax(self.SHARPNESS * logits, -1)

    def texture(self, shares: Tensor, depth: Tensor) -> Tensor:
        """``L = sum_r W_r sum_k a_rk L_k``: [N, G, 1, A, A] of shares [N, 5, 2 K] and depths [N, G, 5, 1]."""
        depth = depth * torch.rsqrt((shares * shares).sum(-1))[:, None, :, None]
        side = self.layers.shape[-1]
        drawn = shares.unflatten(-1, (2, -1)).flatten(1, 2) @ self.layers.flatten(1)  # [N, 5 * 2, A * A]
        own, mirrored = drawn.unflatten(-1, (side, side)).unflatten(1, (-1, 2)).unbind(2)
        drawn = (own + mirrored.flip(-1)) * self.windows  # [N, 5, A, A]
        return (depth.transpose(2, 3) @ drawn.flatten(2)[:, None]).unflatten(-1, (side, side))


def shown(light: Tensor, skin: Tensor) -> Tensor:
    """Skin that shows lines, [N, G, S, S], of visible skin and of light [N, 1, S, S] in [0, 1]: less of it where it is nearly white."""
    return skin * (1 - _FADES * ((light - _BRIGHT) / (_BRIGHTEST - _BRIGHT)).clamp(0, 1))
