"""Subjects with other hair and beards and before other walls, so that a network learns what hair is and not whose.

Some 1,200 faces are few: a network knows them by heart, and on others errs four times as far in where hair greys. So a subject is
seen several times more: before another wall, with another person's hair over the own (lower than it grew: fringes, and hair over
cheeks, of which the packs have few), dyed, and men in another's beard. Its edits are then made as any subject's; matte and beard are known,
because they were put there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from . import beard, masks
from .grey import GREY
from .subject import LUMA, SIDE, Floats, Subject
from .walls import wall

#: How often each thing is done.
_WALL, _WIG, _DYE = 0.75, 0.6, 0.7
#: How often a man without a beard gets another's (``build``); a dyed beard's light, in units of the dyed hair's.
BEARD, _BEARD_LIGHT = 0.45, 0.8
#: How many of those that are dyed are dyed grey, which few of the packs' women are, and how light that is.
_GREY, _GREY_LIGHT = 0.25, (0.3, 0.72)
#: Below this age grey hair is bleached or dyed, in years: it does not get dark again on a younger face. How many of those that are dyed are so:
#: as many as older ones, and networks left old people's temples grey.
_GREYED_BY_AGE, _YOUNG_GREY = 40, 0.06
#: A wig has at least this fraction of the square, and its light spans no more than this: else its matte has the wall between curls in it.
_LEAST_HAIR, _WIDEST_LIGHT = 0.08, 0.45
#: With less hair than this, a fraction of the square, a head is bald on top and wears no wig: the network has to see that such heads exist.
#: Where every other one wore hair, it drew white patches on bald crowns.
_BALD = 0.035
#: Colours of hair: black, three browns, red, fair, ash. What is between two neighbours is hair's colour too.
_COLOURS = np.array(
    ((0.05, 0.045, 0.045), (0.13, 0.09, 0.07), (0.24, 0.16, 0.11), (0.36, 0.25, 0.17), (0.46, 0.25, 0.14), (0.62, 0.48, 0.33), (0.72, 0.64, 0.52)),
    np.float32,
)  # fmt: skip


@dataclass(frozen=True)
class Wig:
    """A head's hair. ``image`` [SIDE, SIDE, 3], beyond its edge as it is inside; ``matte`` [SIDE, SIDE]; ``tags``: of ``grey.GREY``."""

    image: Floats
    matte: Floats
    tags: frozenset[str] = frozenset()


def wig_of(subject: Subject, matte: Floats) -> Wig | None:
    """The hair of a head, where there is enough of it and nothing else seems to be in it."""
    if matte.mean() < _LEAST_HAIR:
        return None
    dark, bright = np.percentile((subject.image @ LUMA)[matte > 0.9], (5, 95))
    return (
        Wig(_alone(subject.image, matte), matte, GREY & subject.photo.tags) if bright - dark < _WIDEST_LIGHT else None
    )


def dressed(
    subject: Subject,
    matte: Floats,
    wig: Wig | None,
    walls: Sequence[Floats],
    random: np.random.Generator,
    bearded: tuple[Subject, Floats] | None = None,
) -> tuple[Subject, Floats]:
    """A subject as it might have been photographed otherwise, and its hair's matte.

    Args:
        matte: of the subject's own hair, [SIDE, SIDE]. wig: None if there is none that it could wear. walls: pictures [SIDE, SIDE, 3] whose colours a wall may have.
        bearded: whose beard it wears, and the matte of that one's hair.
    """
    image, person, tags, bald = subject.image, subject.person, subject.photo.tags, matte.mean() < _BALD
    by_age = subject.photo.age >= _GREYED_BY_AGE
    colour, turns_grey = None, False
    if random.random() < _DYE:
        turns_grey = bool(random.random() < (_GREY if by_age else _YOUNG_GREY))
        colour = _grey(random) if turns_grey else _colour(random)
    if random.random() < _WALL:
        # The person's mask is coarse: hair's matte is the outline wherever there is hair.
        person = np.maximum(((masks.blur(person, 1.0) - 0.55) / 0.35).clip(0, 1), matte)
        image = _over(wall(walls, random), _alone(image, person), person)
    if colour is not None:
        wide = cv2.dilate(matte, np.ones((3, 3)))  # what is half hair would keep its colour
        image = _over(image, _dyed(_alone(image, matte), matte, colour), wide)
        tags = tags - GREY | ({"grey"} if turns_grey and by_age else set())
    bristles = None
    if bearded is not None:
        made = _bearded(subject.showing(image), matte, *bearded, None if turns_grey and not by_age else colour)
        if made is not None:
            image, bristles = made
            person, tags = np.maximum(person, bristles), tags | {"beard", "moustache"} & bearded[0].photo.tags
    if random.random() < _WIG and wig is not None and not bald:
        worn = wig.image if colour is None else _dyed(wig.image, wig.matte, colour)
        if colour is None and wig.tags != GREY & tags:  # grey hair beside hair that is not
            tags = tags - GREY | ({"greying"} if by_age else set())
        worn, over = _moved(Wig(worn, wig.matte), random)
        below = cv2.warpAffine(over, np.array([[1, 0, 0], [0, 1, 5]], np.float32), (SIDE, SIDE))
        image = image * (1 - random.uniform(0.1, 0.4) * masks.blur(below, 4.0))[..., None]  # hair's shadow on the skin
        image = _over(image, worn, over)
        person, matte = np.maximum(person, over), 1 - (1 - matte) * (1 - over)
        bristles = None if bristles is None else bristles * (1 - over)
    photo = replace(subject.photo, tags=tags)
    seen = replace(subject, photo=photo, person=person.astype(np.float32), beard=bristles)
    return seen.showing(image), matte.astype(np.float32)


def _bearded(
    subject: Subject, matte: Floats, of: Subject, matte_of: Floats, colour: Floats | None
) -> tuple[Floats, Floats] | None:
    """A picture [SIDE, SIDE, 3] of the subject in the beard of another, and its mask; None where it cannot be carried over.

    Args:
        matte, matte_of: of both heads' hair. colour: of its dyed hair; None, or lighter than the skin: the beard keeps its own.
    """
    skin = masks.skin(subject) & (matte < 0.5)
    worn = beard.put_on(subject, of, skin, masks.skin(of) & (matte_of < 0.5))
    if worn is None:
        return None
    hair = worn.hair
    if colour is not None and _BEARD_LIGHT * float(colour @ LUMA) < float(np.median((subject.image @ LUMA)[skin])):
        hair = _dyed(hair, worn.mask * worn.dense, _BEARD_LIGHT * colour)
    return _over(subject.image, _over(worn.thin, hair, worn.dense), worn.mask), worn.bristles


def _alone(image: Floats, matte: Floats) -> Floats:
    """An image whose colours beyond a matte's edge are those inside."""
    inside = matte > 0.95
    near, far = (masks.masked_blur(image, inside, sigma) for sigma in (3.0, 12.0))
    beyond = np.where((masks.blur(inside, 3.0) > 0.02)[..., None], near, far)
    return np.where(inside[..., None], image, beyond)


def _over(under: Floats, image: Floats, matte: Floats) -> Floats:
    return under + matte[..., None] * (image - under)


def _moved(wig: Wig, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Picture and matte of a wig mirrored, turned, larger or smaller, and lower; its ends are ragged, and no two alike."""
    turn, scale = random.uniform(-0.12, 0.12), np.exp(random.uniform(-0.12, 0.15))
    mirror = random.choice((-1.0, 1.0))
    linear = np.array([[mirror * np.cos(turn), -np.sin(turn)], [mirror * np.sin(turn), np.cos(turn)]]) / scale
    shift = np.array((0.5 + random.uniform(-0.04, 0.04), 0.5 - random.uniform(-0.03, 0.11))) * SIDE
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) - np.float32(SIDE / 2)
    there_x, there_y = (linear[i, 0] * x + linear[i, 1] * y + shift[i] for i in (0, 1))

    def seen(plane: Floats, waves: int, most: float, beyond: int) -> Floats:
        ends = random.normal(0, random.uniform(0, most) * SIDE, (1, waves)).astype(np.float32)
        there_y[...] += cv2.resize(ends, (SIDE, 1), interpolation=cv2.INTER_CUBIC)
        there = there_x.astype(np.float32), there_y.astype(np.float32)
        return cv2.remap(plane, *there, cv2.INTER_LINEAR, borderMode=beyond)

    # Wide waves move strands; narrow ones would fold them, and move where they end alone.
    # A head cut by the square's edge: hair goes on beyond it, mirrored, since one row repeated is streaks.
    image = seen(wig.image, 4, 0.04, cv2.BORDER_REFLECT_101)
    return image, seen(wig.matte, 40, 0.02, cv2.BORDER_REPLICATE)


def _colour(random: np.random.Generator) -> Floats:
    """A colour of hair, RGB in [0, 1]."""
    at = random.uniform(0, len(_COLOURS) - 1)
    before, part = int(at), at - int(at)
    colour = _COLOURS[before] + part * (_COLOURS[min(before + 1, len(_COLOURS) - 1)] - _COLOURS[before])
    return (colour * np.exp(random.normal(0, 0.15) + random.normal(0, 0.04, 3))).astype(np.float32)


def _grey(random: np.random.Generator) -> Floats:
    """A grey of hair, RGB in [0, 1]."""
    tint = np.array((1.03, 0.99, 0.95)) * np.exp(random.normal(0, 0.02, 3))
    return (random.uniform(*_GREY_LIGHT) * tint).astype(np.float32)


def _dyed(image: Floats, matte: Floats, colour: Floats) -> Floats:
    """Hair of another colour, with its own shading and strands."""
    light = image @ LUMA
    core = matte > 0.8
    middle = float(np.median(light[core])) if core.any() else 0.5
    # Black hair's lights are many times as bright as its darks, fair hair's are not.
    shade = ((light + 0.02) / (middle + 0.02)).clip(0, 8) ** np.clip(0.35 + 1.3 * middle, 0.4, 1.0)
    return (shade[..., None] * colour).clip(0, 1).astype(np.float32)
