"""What stands behind people who are photographed, made up: so that a network tells hair from what only looks like it.

A mottled canvas, brick, leaves, folds of a curtain and grain of wood have colours, contrasts and fineness of hair. Before such walls
networks that had seen smooth ones alone took up to 62 % of what is behind a head for hair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from . import masks
from .subject import SIDE, Floats

#: How often a wall is the blurred colours of another picture, or plain, or one of ``PATTERNS``.
_BLURRED, _PLAIN = 0.25, 0.2
#: Colours of studios' canvases, bricks, mortar, leaves, cloth and wood; others come from pictures.
_COLOURS = np.array(
    ((0.35, 0.32, 0.28), (0.22, 0.19, 0.16), (0.5, 0.27, 0.2), (0.62, 0.58, 0.52), (0.2, 0.28, 0.12), (0.35, 0.42, 0.2),
     (0.4, 0.27, 0.17), (0.25, 0.3, 0.38), (0.08, 0.08, 0.09), (0.75, 0.73, 0.7)),
    np.float32,
)  # fmt: skip


def wall(pictures: Sequence[Floats], random: np.random.Generator) -> Floats:
    """A wall [SIDE, SIDE, 3] in [0, 1], with light that falls off and a camera's noise.

    Args:
        pictures: of other people, [SIDE, SIDE, 3], whose colours it may have.
    """
    other = pictures[int(random.integers(len(pictures)))]
    kind = random.random()
    if kind < _BLURRED:
        turned = other[:: random.choice((-1, 1)), :: random.choice((-1, 1))]
        made = masks.blur(turned, random.uniform(8, 30))
    elif kind < _BLURRED + _PLAIN:
        made = np.full_like(other, _of(other, random))
    else:
        first, second = (_of(other, random) if random.random() < 0.5 else _any(random) for _ in range(2))
        pattern = PATTERNS[int(random.integers(len(PATTERNS)))](random)
        # Two colours of one wall are seldom as far apart as any two colours are.
        second = first + random.uniform(0.25, 1.0) * (second - first)
        made = first + pattern[..., None] * (second - first)
        made = masks.blur(made, random.uniform(0, 3) ** 2 / 3) if random.random() < 0.7 else made
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j].astype(np.float32)
    slope = random.normal(0, 0.12, 2)
    made = made * (1 + slope[0] * x + slope[1] * y)[..., None] * random.uniform(0.6, 1.3)
    return (made + random.normal(0, 0.008, made.shape)).clip(0, 1).astype(np.float32)


def canvas(random: np.random.Generator) -> Floats:
    """Clouds, coarse and fine, and creases where they cross their middle."""
    clouds = _clouds(random, (SIDE, SIDE), random.uniform(0.4, 0.9))
    creases = np.exp(-((_clouds(random, (SIDE, SIDE), 0.6) / 0.03) ** 2))
    return (0.5 + 0.3 * clouds + random.uniform(-0.4, 0.4) * creases).astype(np.float32)


def bricks(random: np.random.Generator) -> Floats:
    """Rows of bricks, each of its own light, with mortar between."""
    height = random.uniform(14, 60)
    width, gap = height * random.uniform(1.6, 3.5), height * random.uniform(0.06, 0.16)
    y, x = _turned(random, 0.15)
    row = np.floor(y / height)
    x = x + 0.5 * width * (row % 2)
    column = np.floor(x / width)
    own = random.normal(0, 0.18, (64, 64)).astype(np.float32)
    light = 0.4 + own[row.astype(int) % 64, column.astype(int) % 64]
    between = (y - row * height < gap) | (x - column * width < gap)
    rough = 0.06 * _clouds(random, (SIDE, SIDE), 1.0)
    return np.where(between, random.choice((0.0, 1.0)), light + rough).astype(np.float32)


def leaves(random: np.random.Generator) -> Floats:
    """Leaves over leaves, the last ones lightest."""
    made = np.zeros((SIDE, SIDE), np.float32)
    count, length = int(random.integers(150, 900)), random.uniform(6, 26)
    lights = np.sort(random.uniform(0, 1, count)) * random.uniform(0.5, 1, count)
    for light in lights:
        centre = [float(v) for v in random.uniform(0, SIDE, 2)]
        axes = float(length * random.uniform(0.6, 1.4)), float(length * random.uniform(0.15, 0.5))
        cv2.ellipse(made, (centre, axes, float(random.uniform(0, 180))), float(light), -1, cv2.LINE_AA)
    return made


def folds(random: np.random.Generator) -> Floats:
    """Folds of a curtain, boards, spines of books: light that changes across alone."""
    y, x = _turned(random, 0.3 if random.random() < 0.8 else 2.0)
    across = _clouds(random, (1, 4 * SIDE), random.uniform(0.2, 1.0))[0]
    x = x + random.uniform(0, 12) * np.sin(y / random.uniform(20, 90))
    made = across[(x + 1.5 * SIDE).clip(0, 4 * SIDE - 1).astype(int)]
    if random.random() < 0.3:
        made = np.sign(made)
    return (0.5 + 0.35 * made).astype(np.float32)


def grain(random: np.random.Generator) -> Floats:
    """Threads along one direction, as wood, grass and fur have them."""
    long = random.uniform(8, 40)
    small = _clouds(random, (SIDE, max(8, int(SIDE / long))), random.uniform(0.8, 1.3))
    made = cv2.resize(small, (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_CUBIC)
    y, x = _turned(random, np.pi)
    bend = 20 * _clouds(random, (SIDE, SIDE), 0.1)
    there = (x + SIDE / 2).astype(np.float32), (y + SIDE / 2 + bend).astype(np.float32)
    made = cv2.remap(made, *there, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return (0.5 + 0.3 * made).astype(np.float32)


#: Canvas twice: it is what studios have.
PATTERNS: tuple[Callable[[np.random.Generator], Floats], ...] = (canvas, canvas, bricks, leaves, folds, grain)


def _of(picture: Floats, random: np.random.Generator) -> Floats:
    """The colour of a picture somewhere."""
    colour: Floats = picture[tuple(random.integers(0, SIDE, 2))]
    return colour


def _any(random: np.random.Generator) -> Floats:
    colour = _COLOURS[int(random.integers(len(_COLOURS)))] * np.exp(random.normal(0, 0.25) + random.normal(0, 0.06, 3))
    return colour.astype(np.float32)


def _clouds(random: np.random.Generator, shape: tuple[int, int], roughness: float) -> Floats:
    """Noise of all scales with a standard deviation of 1; each octave is ``roughness`` times as strong as the one twice as coarse."""
    height, width = shape
    made = np.zeros(shape, np.float32)
    cells, strength = 3, 1.0
    while cells < max(shape):
        side = tuple(max(1, round(cells * n / max(shape))) for n in shape)
        octave = random.standard_normal(side, np.float32)
        made += strength * cv2.resize(octave, (width, height), interpolation=cv2.INTER_CUBIC)
        cells, strength = 2 * cells, roughness * strength
    return (made - made.mean()) / (made.std() + 1e-6)


def _turned(random: np.random.Generator, most: float) -> tuple[Floats, Floats]:
    """Rows and columns about the middle, turned by up to ``most`` radians."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) - np.float32(SIDE / 2)
    turn = random.uniform(-most, most)
    sine, cosine = np.float32(np.sin(turn)), np.float32(np.cos(turn))
    return cosine * y - sine * x, sine * y + cosine * x
