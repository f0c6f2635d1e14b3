"""Which age layers suit whom, and how deep: what shows on the face decides, so that a network can learn the choice.

Two people of one sex get different lines because their faces differ: distances in a few shapes of the region and in the skin's
tone, balanced so that every layer serves as many people (Sinkhorn-Knopp; Cuturi 2013). A face that leans to its left gets
the layers mirrored. A layer of the other sex never serves: stubble on a woman is worse than no lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import masks
from .subject import Float64, Subject

#: Of ``geometry.REGION_NAMES``; below, what is measured of each: (from, to) mesh points, lengths as multiples of the eyes' distance.
_LENGTHS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((10, 9), (103, 332), (105, 159), (107, 336)),  # forehead: height, width, brows over the eyes, between the brows
    ((159, 145), (33, 133), (105, 159), (133, 362)),  # eyes: opening, width, brows over them, between them
    ((129, 358), (6, 4), (4, 2), (0, 2)),  # nose: width, length, tip, lip below it
    ((61, 291), (0, 17), (13, 14), (17, 152)),  # mouth: width, lips, opening, chin below it
    ((172, 397), (234, 454), (2, 152), (205, 425)),  # cheeks and chin: jaw, cheekbones, length, between the cheeks
)
#: Sharpness of the choice: the best layer gets most, a second one some of it.
_TEMPERATURE = 0.22
#: How deep a man's and a woman's lines are, by region. Of a nose's detail most is the donor's light on the donor's nose.
_DEPTH = {"M": np.array([1.0, 1.0, 0.5, 1.0, 1.0]), "F": np.array([0.85, 0.9, 0.5, 0.85, 0.75])}
#: And a young woman's forehead, up to the first age; from the second on it is a woman's. Viewers chose pictures with it so
#: in 20 of 24 answers on women of 19 to 33, and in none of 16 on women of 46 and 58 (``docs/training.md``).
_YOUNG_FOREHEAD, _YOUNG, _MIDDLE = 0.65, 36.0, 46.0


def measures(subject: Subject) -> Float64:
    """What the choice goes by, [5, 5]: four lengths of each region and the skin's tone."""
    eyes = np.linalg.norm(subject.mesh[263] - subject.mesh[33])
    lengths = [[np.linalg.norm(subject.mesh[a] - subject.mesh[b]) / eyes for a, b in region] for region in _LENGTHS]
    skin = masks.skin(subject)
    tone = np.median(subject.lab[..., 0][skin]) / 100 if skin.any() else 0.6
    return np.column_stack([np.array(lengths), np.full(5, 2.0 * tone)])


def leans_left(subject: Subject) -> bool:
    """The nose's tip lies left of the middle between the cheekbones."""
    left, right, tip = (subject.mesh[i, 0] for i in (234, 454, 4))
    return bool(tip - left < right - tip)


@dataclass(frozen=True)
class Choice:
    """Shares [N, 5, 2 K] of each layer and its mirror image for each subject and region (rows sum to 1), depth [N, 5]."""

    shares: npt.NDArray[np.float32]
    depth: npt.NDArray[np.float32]


def choose(subjects: Sequence[Subject], donors: Sequence[Subject]) -> Choice:
    """The layers of ``donors``, in their order, for ``subjects``."""
    own, theirs = np.stack([measures(s) for s in subjects]), np.stack([measures(d) for d in donors])
    spread = own.std(0) + 1e-6
    # Donors are older and other faces than the subjects: both are compared within their own kind.
    own, theirs = (own - own.mean(0)) / spread, (theirs - theirs.mean(0)) / (theirs.std(0) + 1e-6)
    distance = np.linalg.norm(own[:, None] - theirs[None], axis=-1).swapaxes(1, 2)  # [N, 5, K]
    sexes = np.array([s.photo.gender for s in subjects])
    donor_sexes = np.array([d.photo.gender for d in donors])
    shares = np.zeros_like(distance)
    for sex in ("M", "F"):
        rows, columns = np.flatnonzero(sexes == sex), np.flatnonzero(donor_sexes == sex)
        if not len(rows) or not len(columns):
            continue
        for region in range(5):
            there = np.ix_(rows, [region], columns)
            shares[there] = _balanced(distance[there][:, 0])[:, None]
    left = np.array([leans_left(s) for s in subjects])
    both = np.concatenate([shares * ~left[:, None, None], shares * left[:, None, None]], -1)
    depth = np.stack([_DEPTH["F" if sex == "F" else "M"] for sex in sexes])
    ages = np.array([s.photo.age for s in subjects])
    women = sexes == "F"
    depth[women, 0] = np.interp(ages[women], (_YOUNG, _MIDDLE), (_YOUNG_FOREHEAD, _DEPTH["F"][0]))
    return Choice(both.astype(np.float32), depth.astype(np.float32))


def _balanced(distance: Float64, rounds: int = 200) -> Float64:
    """Soft assignment [n, k] whose rows sum to 1 and whose columns sum to n / k."""
    kernel = np.exp(-distance / (_TEMPERATURE * distance.std()))
    scale = np.ones(distance.shape[1])
    for _ in range(rounds):
        rows = 1 / (kernel @ scale)
        scale = (len(distance) / distance.shape[1]) / (kernel.T @ rows)
    shares = kernel * scale * rows[:, None]
    return shares / shares.sum(1, keepdims=True)


def region_windows(side: int, mean: Float64, box: Sequence[float]) -> npt.NDArray[np.float32]:
    """``W_r``: soft windows of the five regions over a texture, [5, side, side], that sum to 1.

    Brows, eye corners, nose and mouth of the mean face divide it; seams lie where skin is smooth.
    """
    x0, y0, x1, y1 = box
    t = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(x0 + t * (x1 - x0), y0 + t * (y1 - y0))
    brow, eye, nose = mean[[105, 334], 1].mean(), mean[[33, 263], 1].mean(), mean[2, 1]
    wing = abs(mean[358, 0] - mean[129, 0]) / 2

    def rise(value: Float64, width: float) -> Float64:
        return 1 / (1 + np.exp(-value / width))

    forehead = rise(brow - 0.008 - y, 0.010)
    eyes = (1 - forehead) * rise(eye + 0.085 - y, 0.016)
    rest = 1 - forehead - eyes
    middle = np.abs(x - mean[4, 0])
    nose_part = rest * rise(nose + 0.01 - y, 0.012) * rise(1.15 * wing - middle, 0.012)
    mouth = (rest - nose_part) * rise(y - nose - 0.01, 0.012) * rise(1.35 * wing - middle, 0.016)
    nose_eyes = eyes * rise(0.75 * wing - middle, 0.012) * rise(y - eye + 0.01, 0.012)
    result = np.stack([forehead, eyes - nose_eyes, nose_part + nose_eyes, mouth, rest - nose_part - mouth])
    return result.astype(np.float32)
