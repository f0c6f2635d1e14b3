"""The critics of LGIN, which train its generators and go nowhere else: discriminator D and age classifier C."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from lgin_edge import geometry

from .canonical import crop, crop_matrices
from .networks import conv, in_face_box

#: Side of the crops that D sees: the canvas' own resolution for an eye's box, a little less for the cheeks. And of the whole face: a
#: small photograph's.
CROP_SIDE, WHOLE_SIDE = 96, 128
#: Side of the canvas that C sees.
CLASSIFIER_SIDE = 192
#: Where hair is, boxes (x0, y0, x1, y1) in units of the canvas, which a crop shows at its own resolution: crown and sides, of the left and,
#: mirrored, of the right half.
_HAIR_BOXES = ((0.17, 0.03, 0.545, 0.405), (0.10, 0.27, 0.475, 0.645))
_MIRRORED_BOXES = tuple((1 - x0, y0, 1 - x1, y1) for x0, y0, x1, y1 in _HAIR_BOXES)
#: Numbers of what each crop shows, which its judge is told; hair on the left and on the right is of one kind.
_REGION_KINDS = tuple(range(len(geometry.REGION_NAMES)))
_HAIR_KINDS = tuple(len(_REGION_KINDS) + i for i in range(len(_HAIR_BOXES)))


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
    hair, shade. The other one looks at crops of the five regions, and of hair, at the canvas' own resolution: patches make many
    examples out of few faces. Both know what a face's age cannot change, sex and where the picture is from: what differs between
    sources is not taken for age. The codes add up, so that a source without old people is judged by what it has and by what age is
    elsewhere.

    Args:
        codes: numbers that say age, sex, source and, with ``hair``, how grey it is.
        hair: crops of hair follow those of the regions.
    """

    def __init__(self, codes: int, spectral: bool = True, hair: bool = False) -> None:
        super().__init__()
        self.kinds = (*_REGION_KINDS, *_HAIR_KINDS, *_HAIR_KINDS) if hair else _REGION_KINDS
        self.face = Judge(codes, spectral)
        self.regions = Judge(codes + max(self.kinds) + 1, spectral)

    def forward(self, faces: Tensor, face_codes: Tensor, crops: Tensor, crop_codes: Tensor) -> tuple[Tensor, Tensor]:
        """Faces [N, 3, side, side], crops [M, R, 3, side, side], codes of each -> logits [N, h, w] and [M, R, h, w]."""
        m, r = crops.shape[:2]
        kinds = torch.eye(max(self.kinds) + 1, device=crops.device, dtype=crop_codes.dtype)[list(self.kinds)]
        codes = torch.cat([crop_codes[:, None].expand(m, r, -1), kinds.expand(m, r, -1)], -1)
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


def crops_of(canvas: Tensor, boxes: Tensor, hair: bool) -> Tensor:
    """What D's judge of crops looks at: [N, 5, 3, CROP_SIDE, CROP_SIDE] in [-1, 1], and with ``hair`` four more, crown and side of the left and of
    the right half.

    Args:
        canvas: [N, 3, H, H] in [0, 1]. boxes: of the regions, [N, 5, 4].
    """
    places = in_face_box(boxes)
    if hair:
        left, right = boxes.new_tensor(_HAIR_BOXES), boxes.new_tensor(_MIRRORED_BOXES)
        places = torch.cat([places, torch.cat([left, right]).expand(len(places), -1, -1)], 1)
    return crop(2 * canvas - 1, *crop_matrices(places, CROP_SIDE, canvas.shape[-1]))


def classifier_view(canvas: Tensor) -> Tensor:
    """What C looks at: the canvas in [0, 1], smaller and in [-1, 1]."""
    return F.interpolate(2 * canvas - 1, size=(CLASSIFIER_SIDE,) * 2, mode="area")
