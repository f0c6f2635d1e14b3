"""The age lines: which textures of the set a face gets, and how deep they are drawn at an age."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lgin_edge import geometry

from . import data
from .targets import curves

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
    #: Ages in years at which lines are read of every face, whatever is asked for: what is still to come till then says how old it is.
    READ = (67.5, 76.5)

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
        self.register_buffer("read", data.age_codes(torch.tensor(self.READ))[None], persistent=False)  # [1, 2, K]
        self.register_buffer("layers", torch.zeros(layers, side, side))
        self.register_buffer("windows", torch.full((regions, side, side), 1 / regions))

    def hidden(self, local: Tensor, whole: Tensor) -> Tensor:
        """Hidden features [5, N, HIDDEN] of the regions' features [N, 5, c, p, p] and the face's [N, C, H, W]."""
        seen = whole.mean((2, 3))[:, None].expand(-1, local.shape[1], -1)
        h = torch.cat([local.mean((3, 4)), seen], -1).transpose(0, 1)  # [5, N, inputs]
        return F.leaky_relu(h @ self.features + self.features_bias, 0.1)

    def told(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """What hidden features [5, N, HIDDEN] tell, in one product.

        Returns: logits of the layers [N, 5, 2 K]; and slopes [N, 5, K + 1], what each age group adds to a depth before its softplus, and what
        there is at any age.
        """
        by_age = self.modulation.weight.unflatten(0, self.depth.shape[:2])  # [5, HIDDEN, K]
        weights = torch.cat([self.which, self.depth * by_age, self.depth], -1)
        logits, slopes = (h @ weights).transpose(0, 1).split((self.which.shape[-1], by_age.shape[-1] + 1), -1)
        return logits, slopes + torch.cat([self.usual.weight, self.depth_bias], -1)

    def deep(self, slopes: Tensor, l: Tensor) -> Tensor:
        """Depths [N, G, 5, 1], not negative, of faces' slopes [N, 5, K + 1] at ages l [N or 1, G, K]."""
        by_age, always = slopes.split((l.shape[-1], 1), -1)
        # A softplus of few plain operators, which FP16 keeps.
        steep = self.SLOPE * ((by_age @ l.mT + always).mT[..., None])
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


def lines_now(read: Tensor) -> Tensor:
    """Lines that faces have already [N, 1], up to those at the first age of ``Lines.READ``, in units of ``curves``, of mean depths at both [N, 2].

    A face's lines are drawn as deep as ``curves`` says, times a number of its own that says nothing of its age (``matching``). In the
    ratio of two depths that number is gone, and present lines are left: ``m / o = (c_m - now) / (c_o - now)``.
    """
    middle, oldest = (curves.at("lines", years) for years in Lines.READ)
    m, o = read.split(1, 1)
    # Where hardly any are to come a face is old, or too blurred to tell: then it gains no more than is drawn.
    return middle - (oldest - middle) * m / (o - m).clamp(min=0.1)


def shown(light: Tensor, skin: Tensor) -> Tensor:
    """Skin that shows lines, [N, G, S, S], of visible skin and of light [N, 1, S, S] in [0, 1]: less of it where it is nearly white."""
    return skin * (1 - _FADES * ((light - _BRIGHT) / (_BRIGHTEST - _BRIGHT)).clamp(0, 1))
