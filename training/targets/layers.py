"""Age layers: what the skin of an old face has that young faces have not, as log light in mesh space.

The *fine* band (lines, folds' edges) is kept as it is; the *coarse* band (bags, furrows' shade) is made symmetrical, which
takes the donor's light out. Both are less the mean of young faces, where every face has its nose and its eyes' corners.
Only brightness: another skin's colours make stains. Donors are synthetic faces alone: nobody's real wrinkles are handed on.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from . import masks, mean_face
from .subject import BELOW_NOSE, NOSE_TIP, OVAL, SIDE, Floats, Mask, Subject

#: Side of a texture: 410 texels over a canonical unit, a little finer than the donors' pictures at 384.
TEXTURE_SIDE = 320
#: Width of the widest detail of a layer, of the coarse and of the fine band, and of pores and noise, texels.
_DETAIL, _COARSE, _PORES = 28.0, 3.6, 0.8
#: How much of each band a layer has at full depth: an age of 80 on a smooth face. More of the coarse band looks like bruises under
#: the eyes, and shiny beside them.
FINE_GAIN, COARSE_GAIN, PORES_GAIN = 1.0, 0.15, 0.40
#: And of the ridges of the fine band: as bright as furrows are dark they look embossed, and like veins on a shiny cheek.
BRIGHT_GAIN = 0.32
#: Before that no line is deeper than this, log light; and every layer's fine band has this RMS where the donor's skin is seen: a donor with
#: folds like a relief gives lines as deep as one with few.
_DEEPEST, _FINE_RMS = 0.30, 0.046
#: In the end: how much fainter layers are drawn where donors' creases look drawn on a smooth face, of 1: on the chin (worms) and between
#: the brows (dashes); and what is left of ridges.
CALM_CHIN, CALM_BROWS = 0.7, 0.6
RIDGES = 0.85
#: The donors, chosen by looking at all 73 synthetic faces of 55 and more: even light, no glasses, no hat over the brows, lines that differ.
DONORS = (
    "sync3184cbf", "syndeffd33d", "syn6525c721", "syn191659e4", "syne0513f44", "synfb1cd470", "syn6dc0e62a", "syn047a6cbb",
    "syn39dd9d64", "syna6e0cc96", "syn23f6d982", "syn66e94748", "syn9f692b76", "synf346dfd5", "syn4ace262f", "syn735e7fff",
    "synb0640d6e", "synd376e4f9", "syn6feedd17", "syndf17cd08",
)  # fmt: skip

#: Donors whose skin looked well and whose layers do not: scribbles on the forehead, a shadow beside the nose, webs and stains on the
#: cheeks. Who has chosen them gets another of the same sex, seen in a mirror and bent; numbers are those of ``DONORS``, which trained
#: networks know.
INSTEAD = {9: 6, 11: 7, 14: 12, 17: 16, 18: 15}
#: The same of foreheads alone: lines that run in all directions look like scribbles on another face.
FOREHEAD_INSTEAD = {2: 6, 9: 8}
#: How far a bent layer's lines lie from where they lay, at most about twice this, across and down, texels: each on its own way, so that two
#: people with the lines of one donor do not share them. A forehead's lines may lie anywhere on it, a fold may not.
_BENT = (4.0, 2.0)
_BENT_FOREHEAD = (6.0, 6.0)


@dataclass(frozen=True)
class Detail:
    """Log-light detail of a subject's visible skin in mesh space. ``value`` [side, side], ``seen`` [side, side] bool."""

    value: Floats
    seen: Mask


def log_light(image: Floats) -> Floats:
    return np.log(image @ np.array((0.299, 0.587, 0.114), np.float32) + 0.04)


def detail(subject: Subject, mean: mean_face.Float64, hair: Floats, hidden: Mask | None = None) -> Detail:
    """Detail of a face in mesh space. ``hair``: its matte [SIDE, SIDE]. ``hidden`` [SIDE, SIDE]: beards and the like, beside what is not skin."""
    skin = masks.skin(subject) | masks.forehead(subject, hair)
    if hidden is not None:
        skin &= ~hidden
    grid = mean_face.texture_grid(mean, subject, TEXTURE_SIDE)
    light = mean_face.look_up(log_light(subject.image), grid, cv2.INTER_CUBIC)
    # Off the face a warp may fold back onto it.
    seen = (mean_face.look_up(skin.astype(np.float32), grid) > 0.95) & face_in_texture(mean)
    return Detail((light - masks.masked_blur(light, seen, _DETAIL)) * seen, seen)


def face_in_texture(mean: mean_face.Float64) -> Mask:
    """The mean face's oval and forehead in the texture."""
    x0, y0, x1, y1 = mean_face.TEXTURE_BOX
    canvas = np.zeros((TEXTURE_SIDE, TEXTURE_SIDE), np.uint8)
    for outline in (mean[list(OVAL)], masks.above_mesh(mean)):
        corners = (outline - (x0, y0)) / (x1 - x0, y1 - y0) * TEXTURE_SIDE
        cv2.fillPoly(canvas, [corners.round().astype(np.int32)], 1)
    return canvas > 0


def beard(subject: Subject) -> Mask | None:
    """What of a bearded donor is no skin, however alike in colour: from the nose down, round the mouth."""
    if "beard" not in subject.photo.tags:
        return None
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    near = abs(x - subject.mesh[NOSE_TIP, 0]) < 0.75 * subject.half_width
    return near & (y > subject.mesh[BELOW_NOSE, 1] - 2)


def mean_of(details: list[Detail]) -> Floats:
    """Mean of details and their mirror images, where somebody's skin is seen."""
    total = sum(d.value for d in details)
    count = sum(d.seen.astype(np.float32) for d in details)
    mean = total / (count + 1e-3)
    return ((mean + mean[:, ::-1]) / 2).astype(np.float32)


def layer(own: Detail, young: Floats) -> Floats:
    """An age layer at full depth, log light [side, side], 0 where the donor's skin is not seen."""
    value = (own.value - young) * own.seen
    low = masks.masked_blur(value, own.seen, _COARSE)
    pores = value - masks.masked_blur(value, own.seen, _PORES)
    fine = (value - low - (1 - PORES_GAIN) * pores) * own.seen
    fine = _DEEPEST * np.tanh(fine / _DEEPEST)
    weight = own.seen.astype(np.float32)
    both = weight + weight[:, ::-1]
    coarse = (low * weight + (low * weight)[:, ::-1]) / np.maximum(both, 1e-3)
    coarse = coarse.clip(-0.22, 0.10) * _faded(own.seen | own.seen[:, ::-1])
    edge = _faded(own.seen)
    fine *= np.where(fine > 0, BRIGHT_GAIN, 1.0)
    fine -= masks.masked_blur(fine, own.seen, _COARSE)  # rough skin is no stain: it gets no darker on the whole
    fine *= _FINE_RMS / max(1e-3, float(fine[own.seen].std()))
    return (FINE_GAIN * fine * edge + COARSE_GAIN * coarse).astype(np.float32)


def replaced(bank: Floats, forehead: Floats) -> Floats:
    """The bank [K, side, side] with what serves in place of layers, and of foreheads (a window [side, side]), that do not look well."""

    def serving(layers: Floats, instead: dict[int, int], bent: tuple[float, float]) -> Floats:
        return np.stack(
            [_bent(layers[instead[k]][:, ::-1], bent, k) if k in instead else layers[k] for k in range(len(layers))]
        )

    whole = serving(bank, INSTEAD, _BENT)
    brows_up = serving(serving(bank, INSTEAD, _BENT_FOREHEAD), FOREHEAD_INSTEAD, _BENT_FOREHEAD)
    return whole + forehead * (brows_up - whole)


def calmed(bank: Floats, mean: mean_face.Float64) -> Floats:
    """The bank [K, side, side] with fainter lines where they look drawn on smooth faces, and fainter ridges; ``mean``: the mean mesh."""
    side = bank.shape[-1]
    x0, y0, x1, y1 = mean_face.TEXTURE_BOX
    points = (mean - (x0, y0)) / (x1 - x0, y1 - y0) * side
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)

    def spot(middle: mean_face.Float64, across: float, down: float) -> Floats:
        """1 in its middle, falling steeply about as far off as said, texels."""
        return np.exp(-0.5 * (((x - middle[0]) / across) ** 2 + ((y - middle[1]) / down) ** 2) ** 2).astype(np.float32)

    chin, brows = (points[list(of)].mean(0) for of in ((17, 152), (9, 168)))
    kept = 1 - CALM_CHIN * spot(chin, 42.0, 26.0) - CALM_BROWS * spot(brows, 26.0, 26.0)
    return (bank * kept * np.where(bank > 0, np.float32(RIDGES), np.float32(1.0))).astype(np.float32)


def _bent(layer: Floats, distance: tuple[float, float], seed: int) -> Floats:
    """A layer whose lines lie about ``distance`` (across, down; texels) from where they lay, neighbours alike."""
    side = len(layer)
    random = np.random.default_rng(seed)
    across, down = (
        size
        * cv2.resize(random.standard_normal((4, 4)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
        for size in distance
    )
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    return cv2.remap(np.ascontiguousarray(layer), x + across, y + down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)


def _faded(seen: Mask) -> Floats:
    """1 well inside what is seen, falling to 0 at its edge."""
    return masks.soft(cv2.erode(seen.astype(np.uint8), np.ones((11, 11), np.uint8)) > 0, 5.0)


def texture(layers: Floats, shares: Floats, windows: Floats) -> Floats:
    """``L = sum_r W_r sum_k a_rk L_k``: one subject's lines [side, side] at full depth.

    Args:
        layers: [K, side, side]. shares: [5, 2 K], of the layers and of their mirror images. windows: [5, side, side].
    """
    k = len(layers)
    # Layers that differ wash each other out where they are mixed: the depth stays.
    shares = shares / np.maximum(np.linalg.norm(shares, axis=1, keepdims=True), 1e-6) * shares.sum(1, keepdims=True)
    own = np.einsum("rk,kyx->ryx", shares[:, :k], layers) + np.einsum("rk,kyx->ryx", shares[:, k:], layers)[..., ::-1]
    return (windows * own).sum(0).astype(np.float32)
