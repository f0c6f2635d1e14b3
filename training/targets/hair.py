"""Hair mattes: a small network, and the picture's own edges.

The network's teachers are mattes that a person looked at and found right (``hair_checked.json``; the first network, which made
them, learnt from a colour model of each picture). In training heads are dyed, from black to white, and clothes take the hair's
colour, so that the network sees shape and texture; and heads wear the hair of others, lower and askew, so that it knows hair over
foreheads and cheeks, where its teachers have hardly any. Its answer is sharpened along the picture's edges (guided filter, He et al. 2010).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from training.precision import fast_dtype

from . import masks
from .subject import CHIN, EYES, JAWS, LIPS, SIDE, Floats, Mask, Subject

#: A network that ``build --fit-hair`` trained on the faces of ``CHECKED``; float16.
NET = Path(__file__).with_name("hair_net.safetensors")
#: What was seen of the sharp faces for training: keys of those whose mattes were right, or wrong, of those who have no hair on top, and, among the
#: right ones, of those whose hair beside the neck the network did not see (``hanging``).
CHECKED = Path(__file__).with_name("hair_checked.json")
#: Fringes that the network took for skin, as they were seen: polygons [[x, y], ...] in pixels of the canonical square, by key.
FRINGES = Path(__file__).with_name("fringes.json")
#: Side at which the network works.
NET_SIDE = 128
#: Fewest pixels of sure hair, of SIDE^2, by whose colour a fringe is found.
_MIN_SEED = 250
#: Of training.
_EPOCHS, _BATCH, _SEED = 22, 16, 1
Bytes = npt.NDArray[np.uint8]


def refine(subject: Subject, matte: Floats) -> Floats:
    """A matte [SIDE, SIDE] along the edges of the picture, off the person's background, face and features."""
    guide = masks.blur(subject.lab[..., 0] / 100, 0.6)
    fine = np.clip((_guided(guide, matte, 4, 2e-4) - 0.12) / 0.7, 0, 1)
    fine *= np.clip(masks.blur(subject.person, 1.5) / 0.6, 0, 1)
    # A fair fringe has the skin's colour: where the network is sure, it is right.
    fine *= 1 - masks.soft(masks.shrink(masks.skin(subject) & (matte < 0.9), 1), 0.8)
    return (fine * (1 - masks.soft(masks.features(subject, 0, brows=False), 1.0))).astype(np.float32)


def _distance(colour: Floats, sample: npt.NDArray[np.bool_], floor: tuple[float, float, float]) -> Floats:
    """Distance of every pixel from the colours of a sample, in robust standard deviations; lightness counts less."""
    center = np.median(colour[sample], 0)
    spread = (1.48 * np.median(abs(colour[sample] - center), 0) + floor) * (1.5, 1.0, 1.0)
    return np.linalg.norm((colour - center) / spread, axis=-1).astype(np.float32)


def _guided(guide: Floats, value: Floats, radius: int, epsilon: float) -> Floats:
    def mean(image: Floats) -> Floats:
        return cv2.blur(image, (2 * radius + 1, 2 * radius + 1))

    g, v = mean(guide), mean(value)
    slope = (mean(guide * value) - g * v) / (mean(guide * guide) - g * g + epsilon)
    return mean(slope) * guide + mean(v - slope * g)


class HairNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) of 0.3 M parameters: picture, person, oval and height -> logit of hair."""

    WIDTHS = (16, 32, 64, 96)

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        inputs = 6
        for width in self.WIDTHS:
            self.down.append(self._block(inputs, width))
            inputs = width
        for width in reversed(self.WIDTHS[:-1]):
            self.up.append(self._block(inputs + width, width))
            inputs = width
        self.head = nn.Conv2d(inputs, 1, 1)

    @staticmethod
    def _block(inputs: int, outputs: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for width in (inputs, outputs):
            layers += [nn.Conv2d(width, outputs, 3, padding=1), nn.GroupNorm(4, outputs), nn.LeakyReLU(0.1)]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 6, H, W] -> [N, 1, H, W]."""
        kept = []
        for i, block in enumerate(self.down):
            x = block(x if i == 0 else F.avg_pool2d(x, 2))
            kept.append(x)
        for block, skip in zip(self.up, reversed(kept[:-1]), strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0), skip], 1))
        return self.head(x)


def load(path: Path = NET) -> HairNet:
    """A kept network, ready to predict."""
    net = HairNet()
    net.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return net.eval()


def net_input(subject: Subject) -> Bytes:
    """[5, NET_SIDE, NET_SIDE] uint8: R, G, B, person, oval."""
    planes = np.dstack([subject.image, subject.person, masks.oval(subject)]).astype(np.float32)
    small = cv2.resize(planes, (NET_SIDE, NET_SIDE), interpolation=cv2.INTER_AREA)
    return (small * 255).round().astype(np.uint8).transpose(2, 0, 1)


def _tensor(inputs: Tensor) -> Tensor:
    """uint8 [N, 5, H, W] -> float [N, 6, H, W] with the height."""
    height = torch.linspace(-1, 1, inputs.shape[-2])[:, None].expand(len(inputs), 1, *inputs.shape[-2:])
    return torch.cat([inputs.float() / 127.5 - 1, height], 1)


def hair_alone(subject: Subject, matte: Floats) -> Bytes:
    """[3, NET_SIDE, NET_SIDE] uint8: R, G and B of the hair, at its edge as they are beside it, inside."""
    inside = matte > 0.95
    filled = np.where(inside[..., None], subject.image, masks.masked_blur(subject.image, inside, 3.0))
    small = cv2.resize(filled, (NET_SIDE, NET_SIDE), interpolation=cv2.INTER_AREA)
    return (small.clip(0, 1) * 255).round().astype(np.uint8).transpose(2, 0, 1)


def fit(inputs: Bytes, mattes: Bytes, hair: Bytes, start: HairNet | None = None) -> HairNet:
    """Train a network on mattes.

    Colours are shuffled, scaled and turned about, so that the network cannot say "dark is hair", and half of the heads wear another's hair over
    their own. The fifth of each batch that it contradicts most does not count after the first epochs.

    Args:
        inputs: [N, 5, NET_SIDE, NET_SIDE] (``net_input``). mattes: [N, NET_SIDE, NET_SIDE] uint8. hair: [N, 3, NET_SIDE, NET_SIDE]
            (``hair_alone``).
        start: a network to go on from.
    """
    torch.manual_seed(_SEED)
    x, y = torch.from_numpy(inputs), torch.from_numpy(mattes)[:, None].float() / 255
    worn = torch.cat([torch.from_numpy(hair).float() / 127.5 - 1, y], 1)
    net = HairNet().to(memory_format=torch.channels_last)
    if start is not None:
        net.load_state_dict(start.state_dict())
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-3)
    steps = max(1, len(x) // _BATCH) * _EPOCHS
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for step in range(steps):
        index = torch.randint(len(x), (_BATCH,))
        seen, wanted = _wearing(_tensor(x[index]), y[index], worn[torch.randint(len(x), (_BATCH,))])
        seen = _jittered(seen, wanted)
        if torch.rand(()) < 0.5:
            seen, wanted = seen.flip(-1), wanted.flip(-1)
        with torch.autocast("cpu", torch.bfloat16, enabled=fast_dtype("cpu") is torch.bfloat16):
            logit = net(seen.contiguous(memory_format=torch.channels_last)).float()
        loss = F.binary_cross_entropy_with_logits(logit, wanted, reduction="none").mean((1, 2, 3))
        if step > steps // 4:
            loss = loss.sort().values[: _BATCH - _BATCH // 5]
        optimiser.zero_grad()
        loss.mean().backward()
        optimiser.step()
        schedule.step()
        if step % 50 == 0:
            print(f"\rhair network: step {step} of {steps}, loss {loss.mean():.4f}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return net.eval()


def _wearing(x: Tensor, matte: Tensor, worn: Tensor) -> tuple[Tensor, Tensor]:
    """Half of the heads [N, 6, H, W] with another's hair over their own, and the mattes [N, 1, H, W] of both.

    Args:
        worn: [N, 4, H, W], R, G and B in [-1, 1] and matte.
    """
    n, side = len(x), x.shape[-1]

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(n).uniform_(low, high)

    # Lower than it grew, so that it hangs over forehead and cheeks; turned, to either side, larger or smaller.
    turn, scale = uniform(-0.25, 0.25), torch.exp(uniform(-0.2, 0.25))
    mirror = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(turn) / scale, torch.sin(turn) / scale
    rows = [
        torch.stack([mirror * cos, mirror * sin, uniform(-0.3, 0.3)], 1),
        torch.stack([-sin, cos, uniform(-0.5, 0.1)], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), [n, 1, side, side], align_corners=False)
    # Ends that are no arc: columns hang as far down as smooth and rough noise says.
    for waves, high in ((5, 0.12), (24, 0.10)):
        ends = F.interpolate(torch.randn(n, 1, waves), size=side, mode="linear")[:, 0]
        grid[..., 1] += (ends * uniform(0, high)[:, None])[:, None]
    moved = F.grid_sample(worn, grid, align_corners=False, padding_mode="zeros")
    alpha = moved[:, 3:] * (torch.rand(n, 1, 1, 1) < 0.5)
    person = torch.maximum(x[:, 3:4], 2 * alpha - 1)
    picture = x[:, :3] + alpha * (moved[:, :3] - x[:, :3])
    return torch.cat([picture, person, x[:, 4:]], 1), 1 - (1 - matte) * (1 - alpha)


def _jittered(x: Tensor, matte: Tensor) -> Tensor:
    """Other light, other colours of hair and of clothes: [N, 6, H, W] in, the same out; ``matte`` [N, 1, H, W]."""
    n = len(x)

    def uniform(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.empty(n, channels, 1, 1).uniform_(low, high)

    picture = (x[:, :3] + 1) / 2
    light = picture.mean(1, keepdim=True)
    # Half of the heads get hair of another colour, from black to white, with its own strands.
    middle = (light * matte).sum((2, 3), keepdim=True) / matte.sum((2, 3), keepdim=True).clamp(min=1.0)
    colour = uniform(0.05, 0.85) * (1 + uniform(-0.12, 0.12, 3))
    dyed = (colour + uniform(0.8, 2.2) * (light - middle)).clamp(0, 1)
    wide = F.max_pool2d(matte, 3, 1, 1) * (torch.rand(n, 1, 1, 1) < 0.5)
    picture = picture + wide * (dyed - picture)
    # Some wear clothes of the hair's colour: below the chin, on the person, off the hair and off the face.
    y = torch.arange(x.shape[-2])[:, None] / x.shape[-2]
    clothes = (x[:, 3:4] > 0) & (x[:, 4:5] < 0) & (y > 0.88) & (wide < 0.05) & (matte < 0.05)
    worn = clothes * (torch.rand(n, 1, 1, 1) < 0.3)
    same = (picture * matte).sum((2, 3), keepdim=True) / matte.sum((2, 3), keepdim=True).clamp(min=1.0)
    picture = picture + worn * (same + 0.5 * (light - light.mean((2, 3), keepdim=True)) - picture)
    picture = picture.clamp(1e-3, 1) ** torch.exp(uniform(-0.9, 0.9))
    picture = picture * torch.exp(uniform(-0.35, 0.35, 3))
    grey = picture.mean(1, keepdim=True)
    picture = grey + (picture - grey) * uniform(-0.3, 1.4)
    person = x[:, 3:4] * uniform(0.8, 1.0)
    return torch.cat([picture.clamp(0, 1) * 2 - 1, person, x[:, 4:]], 1)


@torch.inference_mode()
def predict(net: HairNet, inputs: Bytes) -> Floats:
    """Probability of hair [N, NET_SIDE, NET_SIDE], the mean over the picture and its mirror image."""
    results = []
    for some in torch.from_numpy(inputs).split(32):
        x = _tensor(some)
        results.append((torch.sigmoid(net(x)) + torch.sigmoid(net(x.flip(-1))).flip(-1))[:, 0] / 2)
    return torch.cat(results).numpy()


def matte(subject: Subject, probability: Floats) -> Floats:
    """The network's answer [NET_SIDE, NET_SIDE] as a matte [SIDE, SIDE] of the picture."""
    large = np.clip((cv2.resize(probability, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) - 0.3) / 0.4, 0, 1)
    core = masks.shrink(large > 0.8, 2)
    if core.sum() > _MIN_SEED:
        # A fringe's lower end, where the network expects a forehead: what has the hair's colour there, not the skin's, and hangs on it.
        y = np.arange(SIDE)[:, None]
        skin, smooth = masks.skin(subject), masks.blur(subject.lab, 1.2)
        from_hair = _distance(smooth, core, (8.0, 3.0, 4.0))
        fringe = (subject.person > 0.6) & ~skin & ~masks.features(subject, 1) & (y < subject.height_of(EYES))
        fringe &= masks.grow(large > 0.5, round(0.5 * subject.half_width)) & (from_hair < 3)
        if skin.any():
            fringe &= from_hair < _distance(smooth, skin, (8.0, 3.0, 4.0))
        fringe |= masks.strands(subject)
        fringe = cv2.morphologyEx(fringe.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2))) > 0
        _, label = cv2.connectedComponents((fringe | (large > 0.5)).astype(np.uint8))
        large = np.maximum(large, fringe & np.isin(label, np.unique(label[core])))
        if subject.photo.key in checked()["tails"]:
            large = np.maximum(large, hanging(subject, core))
    for corners in fringes().get(subject.photo.key, ()):
        large = np.maximum(large, masks.soft(masks.polygon(np.array(corners), hull=False), 1.0))
    return refine(subject, large.astype(np.float32))


def hanging(subject: Subject, core: Mask) -> Mask:
    """Hair beside the neck, tails and what falls from behind the ears, [SIDE, SIDE]: of the colour of ``core``, sure hair, not skin's or the wall's.

    For people whom somebody looked at, in white before a plain wall: a dark collar would be hair, too.
    """
    skin, smooth = masks.skin(subject), masks.blur(subject.lab, 0.8)
    wall = masks.shrink(subject.person < 0.15, 4) & (np.arange(SIDE)[:, None] < subject.mesh[CHIN, 1])
    if not (skin.any() and wall.any()):
        return np.zeros((SIDE, SIDE), bool)
    floor = (8.0, 3.0, 4.0)
    from_hair, from_skin, from_wall = (_distance(smooth, sample, floor) for sample in (core, skin, wall))
    y, x = np.mgrid[:SIDE, :SIDE]
    width, lips, (left, right) = subject.half_width, subject.height_of(LIPS), subject.mesh[list(JAWS), 0]
    like = (from_wall > 1.5) & (from_hair < 3) & (from_hair < 0.8 * from_skin) & ~masks.grow(masks.oval(subject), 2)
    like &= y > subject.height_of(EYES) + 0.25 * width
    # Not before the neck: what is dark below a jaw is mostly shade or beard.
    beside = (like & ((x < left) | (x > right))).astype(np.uint8)
    count, label, box, _ = cv2.connectedComponentsWithStats(cv2.morphologyEx(beside, cv2.MORPH_OPEN, np.ones((2, 2))))
    found = np.zeros((SIDE, SIDE), bool)
    for i in range(1, count):
        _, top, _, down, area = box[i]
        # An ear's shade ends higher up, and a neck's is a thin line beside it.
        if top + down > lips and area > 0.055 * width * down:
            found |= label == i
    # Dark hair goes on behind the neck.
    behind = like & (from_hair < 0.4 * from_skin) & (y > lips)
    _, label = cv2.connectedComponents((found | behind).astype(np.uint8))
    return (found | behind) & np.isin(label, np.unique(label[found]))


def uncertainty(probability: Floats) -> float:
    """Mean of ``4 p (1 - p)`` over what may be hair: near 0 where the network is sure, above 0.5 where it guesses."""
    maybe = probability > 0.1
    return float((4 * probability * (1 - probability))[maybe].mean()) if maybe.any() else 0.0


@cache
def fringes() -> dict[str, list[list[list[int]]]]:
    """The polygons of ``FRINGES``."""
    return json.loads(FRINGES.read_text())


@cache
def checked() -> dict[str, frozenset[str]]:
    """Keys of photos by what was seen: "right", "wrong", "bald", "tails"."""
    return {verdict: frozenset(keys) for verdict, keys in json.loads(CHECKED.read_text()).items()}


def train(subjects: Sequence[Subject], probability: Mapping[str, Floats], start: HairNet | None = None) -> HairNet:
    """A network from the subjects that were checked or drawn, with what an earlier network said of them by their keys."""
    bald = checked()["bald"]
    teachers = [s for s in subjects if s.photo.key in checked()["right"] | bald | fringes().keys()]
    mattes = [
        np.zeros((SIDE, SIDE), np.float32) if s.photo.key in bald else matte(s, probability[s.photo.key])
        for s in teachers
    ]
    wanted = [cv2.resize(m, (NET_SIDE, NET_SIDE), interpolation=cv2.INTER_AREA) for m in mattes]
    hair = [hair_alone(s, m) for s, m in zip(teachers, mattes, strict=True)]
    return fit(
        np.stack([net_input(s) for s in teachers]), (np.stack(wanted) * 255).astype(np.uint8), np.stack(hair), start
    )
