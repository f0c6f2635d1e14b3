"""Hair mattes: a colour model of each picture, and a small network that learns what most of them agree on.

The colour model (``by_colour``) starts from the band of hair above the forehead and separates it from skin and background by
GrabCut (Rother et al. 2004, OpenCV's). It is right on two thirds of the pictures and finds nothing where hair is as light as
the skin, or the skin as dark as the hair. What it finds teaches a network, which sees shape and texture beside colour; the
network's answer is the matte, sharpened along the picture's own edges (guided filter, He et al. 2010).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from . import masks
from .subject import BROWS, CHIN, EYES, NOSE_TIP, SIDE, Floats, Subject

#: A network that ``build --fit-hair`` trained on the train and val faces of both packs; float16.
NET = Path(__file__).with_name("hair_net.safetensors")
#: Side at which the network works.
NET_SIDE = 128
#: Fewest pixels of hair, of SIDE^2, that the colour model starts from.
_MIN_SEED = 250
Bytes = npt.NDArray[np.uint8]


def by_colour(subject: Subject) -> Floats | None:
    """Matte [SIDE, SIDE] in [0, 1] by the picture's own colours; None where no band of hair is seen above the forehead."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    person = masks.blur(subject.person, 1.5)
    head, face, features = masks.oval(subject), masks.skin(subject), masks.features(subject, 1)
    brow, eye, chin = subject.height_of(BROWS), subject.height_of(EYES), subject.height_of([CHIN])
    middle, half = float(subject.mesh[NOSE_TIP, 0]), subject.half_width
    colour = subject.lab
    smooth = masks.blur(colour, 1.2)
    from_skin = _distance(smooth, face, (9.6, 2.5, 3.0))
    reach = cv2.distanceTransform((~head).astype(np.uint8), cv2.DIST_L2, 5)
    band = masks.shrink(person > 0.6, 4) & ~masks.grow(head, 3) & (y < brow) & (abs(x - middle) < 1.15 * half)
    seed = band & (from_skin > 2.6) & (reach < 0.55 * half)
    if seed.sum() < _MIN_SEED:
        return None
    from_hair = _distance(smooth, seed, (10.5, 3.0, 4.0))
    seed &= from_hair < 3
    like_hair = (from_hair < 3.2) & (from_hair < 1.1 * from_skin)
    guess = np.full((SIDE, SIDE), cv2.GC_BGD, np.uint8)
    outside = (person > 0.35) & ~head
    guess[outside] = cv2.GC_PR_BGD
    guess[outside & like_hair & ((y < chin + 0.9 * half) | (from_hair < 2.2))] = cv2.GC_PR_FGD
    # Fringes hang over the forehead, sideburns over the rim of the oval.
    fringe = head & ~features & ~face & (y < eye + 4)
    guess[fringe] = cv2.GC_PR_BGD
    guess[fringe & like_hair & (from_skin > 2.4)] = cv2.GC_PR_FGD
    rim = head & ~masks.shrink(head, 9) & ~face & (y >= eye + 4) & (y < chin - 0.2 * half)
    guess[rim] = np.where(like_hair[rim], cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    guess[masks.shrink(face, 2)] = cv2.GC_BGD
    guess[seed] = cv2.GC_FGD
    guess[(y > chin) & (abs(x - middle) < 0.35 * half)] = cv2.GC_BGD
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    pixels = np.ascontiguousarray((subject.image[..., ::-1] * 255).astype(np.uint8))
    cv2.grabCut(pixels, guess, None, *models, 4, cv2.GC_INIT_WITH_MASK)
    found = ((guess == cv2.GC_FGD) | (guess == cv2.GC_PR_FGD)).astype(np.uint8)
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((3, 3)))
    count, label, stats, _ = cv2.connectedComponentsWithStats(found)
    kept = np.zeros_like(found)
    for i in range(1, count):
        part = label == i
        if stats[i, cv2.CC_STAT_AREA] > 150 and (seed & part).sum() > 0.03 * stats[i, cv2.CC_STAT_AREA]:
            kept |= part.astype(np.uint8)
    return refine(subject, kept.astype(np.float32))


def refine(subject: Subject, matte: Floats) -> Floats:
    """A matte [SIDE, SIDE] along the edges of the picture, off the person's background, face and features."""
    guide = masks.blur(subject.lab[..., 0] / 100, 0.6)
    fine = np.clip((_guided(guide, matte, 4, 2e-4) - 0.12) / 0.7, 0, 1)
    fine *= np.clip(masks.blur(subject.person, 1.5) / 0.6, 0, 1)
    fine *= 1 - masks.soft(masks.shrink(masks.skin(subject), 1), 0.8)
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


def fit(inputs: Bytes, mattes: Bytes, epochs: int = 24, batch: int = 16, seed: int = 1) -> HairNet:
    """Train a network on the colour model's mattes.

    Colours are shuffled, scaled and turned about, so that the network cannot say "dark is hair". A fifth of each batch's
    pixels, those that it contradicts most, do not count after the first epochs: there the colour model is mostly wrong.

    Args:
        inputs: [N, 5, NET_SIDE, NET_SIDE] (``net_input``). mattes: [N, NET_SIDE, NET_SIDE] uint8.
    """
    torch.manual_seed(seed)
    x, y = torch.from_numpy(inputs), torch.from_numpy(mattes)[:, None].float() / 255
    net = HairNet().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-3)
    steps = max(1, len(x) // batch) * epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for step in range(steps):
        index = torch.randint(len(x), (batch,))
        seen, wanted = _jittered(_tensor(x[index])), y[index]
        if torch.rand(()) < 0.5:
            seen, wanted = seen.flip(-1), wanted.flip(-1)
        with torch.autocast("cpu", torch.bfloat16):
            logit = net(seen.contiguous(memory_format=torch.channels_last)).float()
        loss = F.binary_cross_entropy_with_logits(logit, wanted, reduction="none").mean((1, 2, 3))
        if step > steps // 4:
            loss = loss.sort().values[: batch - batch // 5]
        optimiser.zero_grad()
        loss.mean().backward()
        optimiser.step()
        schedule.step()
        if step % 50 == 0:
            print(f"\rhair network: step {step} of {steps}, loss {loss.mean():.4f}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return net.eval()


def _jittered(x: Tensor) -> Tensor:
    n = len(x)
    picture = (x[:, :3] + 1) / 2
    picture = picture.clamp(1e-3, 1) ** torch.exp(torch.empty(n, 1, 1, 1).uniform_(-0.9, 0.9))
    picture = picture * torch.exp(torch.empty(n, 3, 1, 1).uniform_(-0.35, 0.35))
    grey = picture.mean(1, keepdim=True)
    picture = grey + (picture - grey) * torch.empty(n, 1, 1, 1).uniform_(-0.3, 1.4)
    person = x[:, 3:4] * torch.empty(n, 1, 1, 1).uniform_(0.8, 1.0)
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
        fringe = cv2.morphologyEx(fringe.astype(np.uint8), cv2.MORPH_OPEN, np.ones((4, 4))) > 0
        _, label = cv2.connectedComponents((fringe | (large > 0.5)).astype(np.uint8))
        large = np.maximum(large, fringe & np.isin(label, np.unique(label[core])))
    return refine(subject, large.astype(np.float32))


def agreement(a: Floats, b: Floats) -> float:
    """Intersection over union of two mattes; 1 where both are empty."""
    union = np.maximum(a, b).sum()
    return float(np.minimum(a, b).sum() / union) if union > 0.002 * a.size else 1.0


def uncertainty(probability: Floats) -> float:
    """Mean of ``4 p (1 - p)`` over what may be hair: near 0 where the network is sure, above 0.5 where it guesses."""
    maybe = probability > 0.1
    return float((4 * probability * (1 - probability))[maybe].mean()) if maybe.any() else 0.0


def train_on(subjects: Sequence[Subject], mattes: Sequence[Floats | None]) -> HairNet:
    """A network from the subjects that the colour model has an answer for."""
    pairs = [(s, m) for s, m in zip(subjects, mattes, strict=True) if m is not None]
    inputs = np.stack([net_input(s) for s, _ in pairs])
    wanted = [cv2.resize(m, (NET_SIDE, NET_SIDE), interpolation=cv2.INTER_AREA) for _, m in pairs]
    return fit(inputs, (np.stack(wanted) * 255).astype(np.uint8))
