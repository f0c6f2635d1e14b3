"""The generators of LGIN: five local ones, a global one, and their interaction. (The two critics: ``training.critics``.)

Sizes are chosen so that the whole ``T`` at S = 256, P = 128 costs less than a ResNet-18 at 256x256 (2.37 GMAC), as
``training.export`` counts it. What keeps it cheap on every device:

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

from lgin_edge import geometry

from . import canonical
from .ages import Ages
from .edits import Edits
from .lines import Lines, lines_now

#: Box of view 0 of new models, canonical: a little more than the square, so that hair greys to a portrait's border.
FACE_BOX = (-0.08, -0.12, 1.08, 1.04)
#: Heads give residuals and gains in tenths: a step of Adam moves each of a head's some 200 weights alike, and would move an edit by
#: more than most edits are.
EDIT_UNIT = 0.1
#: The part of the mean face that textures of lines cover (``training.targets.mean_face``).
TEXTURE_BOX = (0.11, 0.20, 0.89, 0.98)


@dataclass(frozen=True)
class NetworkConfig:
    """Widths and depths of T. ``groups`` is K, the length of the age code; ``hidden`` the inner width of residual blocks, a
    share of their width; ``detail_width`` that of the whole face's last features, at half its side.

    ``local`` and ``interaction`` switch the five local generators and the interactive structure off, for ablations;
    ``position`` the maps of place, which are ours and not the paper's.
    """

    groups: int = 7
    face_size: int = geometry.FACE_SIZE
    patch_size: int = geometry.PATCH_SIZE
    global_widths: tuple[int, int, int] = (32, 64, 96)
    hidden: float = 0.5
    global_blocks: int = 4
    decoder_width: int = 48
    detail_width: int = 24
    local_widths: tuple[int, int] = (16, 32)
    local_blocks: int = 2
    layers: int = 20
    texture_size: int = 320
    local: bool = True
    interaction: bool = True
    position: bool = True


def activation() -> nn.Module:
    return nn.LeakyReLU(0.1)


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups)
    nn.init.kaiming_normal_(layer.weight, a=0.1)
    nn.init.zeros_(layer.bias)
    return layer


def zero(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    return layer


def stem(width: int, groups: int = 1) -> nn.Sequential:
    """Pictures [N, 3 groups, H, W] to features [N, width, H/2, W/2]."""
    return nn.Sequential(conv(3 * groups, width, kernel=6, stride=2, groups=groups), activation())


class ResidualBlock(nn.Module):
    def __init__(self, width: int, hidden: int, groups: int = 1) -> None:
        super().__init__()
        layers = (conv(width, hidden, groups=groups), activation(), zero(conv(hidden, width, groups=groups)))
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Modulation(nn.Module):
    """Feature-wise affine modulation by the age code (FiLM, Perez et al. 2018): ``(1 + gamma(l)) h + beta(l)``.

    ``h`` is [N, 1, C, H, W] (encoded once for all ages) or [N * G, C, H, W], every face at each of its G ages, faces together;
    ``l`` is [N, G, K]; the result is [N, G, C, H, W] or [N * G, C, H, W].
    """

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.gamma = nn.Linear(groups, width, bias=False)
        self.beta = nn.Linear(groups, width, bias=False)
        # Strong from the start: what is wanted is nearly all that tells one example of a face from another.
        nn.init.normal_(self.gamma.weight, std=0.3)
        nn.init.normal_(self.beta.weight, std=0.3)

    def forward(self, h: Tensor, l: Tensor) -> Tensor:
        gamma, beta = self.gamma(l)[..., None, None], self.beta(l)[..., None, None]
        if h.dim() == 4:
            gamma, beta = gamma.flatten(0, 1), beta.flatten(0, 1)
        return h * (1 + gamma) + beta


def edit_maps(raw: Tensor, skin: bool) -> Tensor:
    """What the channels of heads at half size mean: [N, 4 C, H, W] of one head or five -> edits [N, 6 or 5 * 4, 2H, 2W].

    Channels in fours, the pixels of a 2x2 block: the residual's R, G and B, a mask that it is multiplied with, the gain; of a
    whole face then grey and skin. They are worked out before they are spread, which moves fewer bytes.
    """
    sizes = [12, 4, 4, 8] if skin else [12, 4, 4]
    parts = []
    for head in raw.split(sum(sizes), 1):
        residual, mask, gain, *rest = head.split(sizes, 1)
        masked = residual.unflatten(1, (3, 4)) * (EDIT_UNIT * torch.sigmoid(mask))[:, None]
        parts += [masked.flatten(1, 2), (EDIT_UNIT * gain).clamp(min=-1.0)]
        parts += [torch.sigmoid(one) for one in rest]
    return F.pixel_shuffle(torch.cat(parts, 1), 2)


def doubled(x: Tensor) -> Tensor:
    """Twice the side by nearest neighbours: [N, C, H, W] -> [N, C, 2H, 2W].

    A resize where it is exported or run as it is; a broadcast where it is compiled for training, because the gradient of a resize
    is a scatter there and took a tenth of a step.
    """
    if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
        n, c, h, w = x.shape
        return x[:, :, :, None, :, None].expand(n, c, h, 2, w, 2).reshape(n, c, 2 * h, 2 * w)
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Position(nn.Module):
    """What is drawn at a place whatever the picture shows there: ``sum_r (W_r l) E_r``, added to the decoder's features.

    Convolutions do not know where they are, but a fold, a beard or grey temples have their place. The maps ``E``
    [RANK, H, W] start as low cosines and are learnt; ``W`` starts at zero, so that a network begins without them. Of
    ``groups`` generators each has maps and weights of its own.
    """

    RANK = 8
    #: Maps are stored divided by this: Adam moves every weight by about as much, and these have further to go.
    SCALE = 10.0

    def __init__(self, width: int, ages: int, side: int, groups: int = 1) -> None:
        super().__init__()
        t = (torch.arange(side) + 0.5) / side
        waves = [torch.cos(torch.pi * k * t) for k in range(3)]
        pairs = [(i, j) for i in range(3) for j in range(3)][1:]  # without the constant
        maps = torch.stack([torch.outer(waves[i], waves[j]) for i, j in pairs]) / self.SCALE
        self.maps = nn.Parameter(maps.expand(groups, -1, -1, -1).clone())
        self.weight = nn.Parameter(torch.zeros(ages, width * self.RANK))

    def forward(self, l: Tensor) -> Tensor:
        """l [N, G, K] -> [N, G, width, H, W]; widths of the generators follow each other."""
        groups, side = self.maps.shape[0], self.maps.shape[-1]
        weight = (l @ self.weight).unflatten(-1, (groups, -1, self.RANK))
        return (weight @ (self.SCALE * self.maps.flatten(2))).flatten(2, 3).unflatten(-1, (side, side))


def joined(h: Tensor, skip: Tensor, position: Position | None, l: Tensor) -> Tensor:
    """Features [N * G, ...], the encoder's [N, ...] and the place's added up: [N * G, ...].

    Broadcasting repeats the encoder's for all ages without a copy of them, so it is added to the place's first.
    """
    if position is None:
        return (h.unflatten(0, l.shape[:2]) + skip[:, None]).flatten(0, 1)
    return h + (skip[:, None] + position(l)).flatten(0, 1)


class LocalGenerators(nn.Module):
    """``G_f, G_e, G_n, G_m, G_c``: edits of the five regions' patches, in the order of ``geometry.REGION_NAMES``.

    Five networks of one shape that share no weight, computed as one: every convolution has five groups, one for each region.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        r = len(geometry.REGION_NAMES)
        narrow, wide = (r * width for width in config.local_widths)
        hidden = r * round(config.hidden * config.local_widths[1])
        blocks = (ResidualBlock(wide, hidden, groups=r) for _ in range(config.local_blocks))
        self.stem = stem(narrow, groups=r)
        self.body = nn.Sequential(conv(narrow, wide, stride=2, groups=r), activation(), *blocks)
        self.modulation = Modulation(wide, config.groups)
        self.reduce = nn.Sequential(activation(), conv(wide, narrow, 1, groups=r))
        self.position = Position(narrow, config.groups, config.patch_size // 2, r) if config.position else None
        self.decode = nn.Sequential(activation(), conv(narrow, narrow, groups=r), activation())
        self.head = zero(conv(narrow, r * 20, groups=r))

    def encode(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """[N, 5, 3, P, P] -> skips [N, 5 narrow, P/2, P/2], features [N, 5, wide, P/4, P/4]."""
        skip = self.stem(patches.flatten(1, 2))
        return skip, self.body(skip).unflatten(1, (len(geometry.REGION_NAMES), -1))

    def forward(self, skip: Tensor, features: Tensor, l: Tensor) -> Tensor:
        """-> patch edits [N * G, 5, 4, P, P]."""
        activate, reduce = self.reduce
        # Activated before the axes are put together: so an engine has it in one kernel with the modulation.
        h = doubled(reduce(activate(self.modulation(features.flatten(1, 2)[:, None], l)).flatten(0, 1)))
        raw = self.head(self.decode(joined(h, skip, self.position, l)))
        return edit_maps(raw, skin=False).unflatten(1, (len(geometry.REGION_NAMES), -1))


class GlobalGenerator(nn.Module):
    """``G_g``: edit of the whole face, the flow and the place, and for L_I one residual for each coarser decoder scale."""

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
        self.head = zero(conv(config.detail_width, 28))
        with torch.no_grad():
            self.head.bias[20:24] = -3.0  # nothing is grey to begin with
        self.flow = nn.Sequential(conv(w3, 24), activation(), zero(conv(24, 2)))
        self.drift = Position(2, config.groups, config.face_size // 8) if config.position else None
        self.place = nn.Sequential(activation(), conv(w3, 32), activation(), zero(conv(32, 2)))
        # Images at the coarser decoder scales (S/4, S/2), for L_I only; the export leaves them out.
        self.coarse_heads = nn.ModuleList([zero(conv(w3, 12, 1)), zero(conv(d, 12, 1))])

    #: For the same reason: of flow, canonical, and of the correction of place.
    FLOW_UNIT, PLACE_UNIT = 0.005, 0.02

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[N, 3, S, S] -> features at S/2, S/4 and S/8."""
        e1 = self.stem(x)
        e2 = self.down(e1)
        return e1, e2, self.body(e2)

    def forward(self, e1: Tensor, e2: Tensor, e3: Tensor, l: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """-> face edits [N * G, 6, S, S], flow [N * G, 2, S/8, S/8], residuals at S/4 and S/2."""
        h3 = self.mix(self.modulation(e3[:, None], l).flatten(0, 1))
        h2 = doubled(self.reduce3(h3))
        h2 = self.decode2(joined(h2, self.skip2(e2), None, l))
        h2 = self.modulation2(h2, l)
        h1 = doubled(self.reduce2(h2))
        h1 = self.decode1(joined(h1, e1, self.position, l))
        coarse = [F.pixel_shuffle(head(h), 2) for head, h in zip(self.coarse_heads, (h3, h2), strict=True)]
        flow = self.FLOW_UNIT * self.flow(h3)
        if self.drift is not None:
            flow = flow + (self.FLOW_UNIT * self.drift(l)).flatten(0, 1)
        return edit_maps(self.head(h1), skin=True), flow, coarse

    def locate(self, e3: Tensor) -> Tensor:
        """``q``, place in mesh space [N, 2, S/8, S/8]: where the alignment puts it, and a correction."""
        side = e3.shape[-1]
        t = (torch.arange(side, device=e3.device, dtype=torch.float32) + 0.5) / side
        x0, y0, x1, y1 = FACE_BOX
        u0, v0, u1, v1 = TEXTURE_BOX
        x = ((x0 + t * (x1 - x0)) - u0) / (u1 - u0)
        y = ((y0 + t * (y1 - y0)) - v0) / (v1 - v0)
        aligned = torch.stack([x.expand(side, side), y[:, None].expand(side, side)])
        return aligned + self.PLACE_UNIT * self.place(e3).float()


def in_face_box(boxes: Tensor) -> Tensor:
    """Canonical boxes [..., 4] in units of view 0's own square."""
    x0, y0, x1, y1 = FACE_BOX
    # Filled where the boxes are: ``new_tensor`` copies from the host, which a CUDA graph cannot record.
    corner, extent = (
        torch.stack([boxes.new_full((), value) for value in values])
        for values in ((x0, y0, x0, y0), (x1 - x0, y1 - y0) * 2)
    )
    return (boxes - corner) / extent


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
        """features [N, C, H, W], patches [N, 5, c, p, p], boxes [N, 5, 4] in the features' square -> the same two shapes."""
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


def mean_of_regions(depth: Tensor) -> Tensor:
    """[N, G, 5] -> [N, G]: added up one by one, which an engine does in the kernel that takes the sum."""
    total: Tensor = sum(depth.unbind(-1))  # type: ignore[assignment]
    return total / depth.shape[-1]


@dataclass
class Transformation:
    """What T gives for N faces at G ages.

    Attributes:
        edits: face_edit, patch_edit, flow and lines with axes [N, G] first, place with N.
        which: logits of the age layers [N, 5, 2 K]. depth: [N, G, 5]; read: its mean at the ages ``Lines.READ`` [N, 2].
        now: lines that faces have already, in units of ``curves``, [N, 1]. age: codes that the generators worked for [N, G, K].
        coarse: residuals of G_g at S/4 and S/2, [N * G, 3, ...].
    """

    edits: Edits
    which: Tensor
    depth: Tensor
    read: Tensor
    now: Tensor
    age: Tensor
    coarse: list[Tensor]


class LGIN(nn.Module):
    """``T = {G_g, G_f, G_e, G_n, G_m, G_c, l}``: all generators and their interaction."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or NetworkConfig()
        self.whole = GlobalGenerator(config)
        self.local = LocalGenerators(config) if config.local else None
        seen = config.local_widths[-1] + config.global_widths[-1]
        self.lines = Lines(seen, config.groups, config.layers, config.texture_size) if config.local else None
        self.interaction = Interaction(config) if config.local and config.interaction else None
        #: What the generators work for, where it is not what is asked for (``export.calibrate``).
        self.ages: Ages | None = None

    def forward(self, face: Tensor, patches: Tensor, boxes: Tensor, age: Tensor) -> Transformation:
        """All edits at G ages a face.

        Args:
            face: ``x`` [N, 3, S, S] in [-1, 1]; patches: ``x_r`` [N, 5, 3, P, P]; boxes: [N, 5, 4] canonical.
            age: ``l`` [N, G, K].
        """
        n, g = age.shape[:2]
        e1, e2, e3 = self.whole.encode(face)
        if self.local is None or self.lines is None:
            side, now = self.config.texture_size, face.new_zeros(n, 1)
            if self.ages is not None:
                age = self.ages(age, now)
            face_edit, flow, coarse = self.whole(e1, e2, e3, age)
            nothing = face.new_zeros(n, g, *patches.shape[1:2], 4, *patches.shape[3:])
            edits = Edits(
                face_edit.unflatten(0, (n, g)), nothing, flow.unflatten(0, (n, g)), self.whole.locate(e3),
                face.new_zeros(n, g, 1, side, side),
            )  # fmt: skip
            which, depth = face.new_zeros(n, 5, 2 * self.config.layers), face.new_zeros(n, g, 5)
            return Transformation(edits, which, depth, face.new_zeros(n, 2), now, age, coarse)
        skip, mixed = self.local.encode(patches)
        if self.interaction is not None:
            e3, mixed = self.interaction(e3, mixed, in_face_box(boxes))
        place = self.whole.locate(e3)
        hidden = self.lines.hidden(mixed.float(), e3.float())
        which, slopes = self.lines.told(hidden)
        read = mean_of_regions(self.lines.deep(slopes, self.lines.read)[..., 0])
        now = lines_now(read)
        if self.ages is not None:
            age = self.ages(age, now)
        depth = self.lines.deep(slopes, age)
        lines = self.lines.texture(self.lines.chosen(which), depth)
        face_edit, flow, coarse = self.whole(e1, e2, e3, age)
        patch_edit = self.local(skip, mixed, age)
        edits = Edits(
            face_edit.unflatten(0, (n, g)), patch_edit.unflatten(0, (n, g)), flow.unflatten(0, (n, g)), place, lines
        )
        return Transformation(edits, which, depth[..., 0], read, now, age, coarse)


def example_inputs(config: NetworkConfig, faces: int = 1, ages: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Zeros of the shapes that ``LGIN.forward`` takes, with template boxes."""
    boxes = torch.tensor(geometry.REGION_BOXES, dtype=torch.float32).expand(faces, -1, -1)
    s, p = config.face_size, config.patch_size
    age = torch.zeros(faces, ages, config.groups)
    return torch.zeros(faces, 3, s, s), torch.zeros(faces, 5, 3, p, p), boxes.contiguous(), age
