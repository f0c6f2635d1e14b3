"""Age layers: what the skin of an old face has that young faces have not, as log light in mesh space.

The *fine* band (lines, folds' edges) is kept as it is; the *coarse* band (bags, furrows' shade) is made symmetrical, which
takes the donor's light out. Both are less the mean of young faces, where every face has its nose and its eyes' corners.
Foreheads are drawn by outlines of donors' foreheads, in a softer band of their own.
Only brightness: another skin's colours make stains. Donors are synthetic faces alone: nobody's real wrinkles are handed on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from . import masks, mean_face
from .subject import BELOW_NOSE, LUMA, NOSE_TIP, OVAL, SIDE, Floats, Mask, Subject

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
#: Of foreheads the width of the widest detail, texels, what is left of ridges, and the RMS: softer lines, a furrow with the swell beside it.
#: Viewers chose them so (62 % of 30 people); with an RMS of 0.055, wider and brighter they look embossed (30 %).
_FOREHEAD_WIDTH, _FOREHEAD_BRIGHT, _FOREHEAD_RMS = 6.0, 0.35, 0.033
#: How much fainter their lines are between the brows, of 1; an outline there, texels; and rows from the texture's upper border on
#: within which they fade.
_CALM_GLABELLA, _GLABELLA, _FADES = 0.5, ((140, 70), (180, 70), (174, 110), (146, 110)), 10.0
#: In the end: how much fainter layers are drawn where donors' creases look drawn on a smooth face, of 1: on the chin (worms), between
#: the brows (dashes) and at the corners of the mouth (scars); on the cheeks of those whose cheeks look hatched; and what is left of ridges.
CALM_CHIN, CALM_BROWS, CALM_CORNERS, CALM_CHEEKS = 0.7, 0.6, 0.2, 0.4
HATCHED = (6, 7, 13)  # numbers of ``DONORS``
RIDGES = 0.85
#: How much deeper layers are drawn round the eyes: viewers chose bags and crow's feet in 54 to 56 %
#: (three questions to 40 people, 1.35 to 1.6 times; each interval begins below 50).
EYES = 1.35
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
#: Outlines of donors' foreheads by eye, texels: name -> [n, 2]. Masks of colour and hair leave out furrows and half of most foreheads, and
#: lines that end where a mask does look drawn.
FOREHEADS = Path(__file__).with_name("foreheads.json")
#: Two donors' foreheads are others': theirs show the edge of a hat's shadow, and too many folds. Six more, by number, are those of another donor
#: of the same sex, seen in a mirror and bent: theirs have lights of two colours, one deep line, scribbles, webs or a hat.
FOREHEAD_OF = {8: "syn3097b0fb", 9: "syndbcd83b1"}
FOREHEAD_INSTEAD = {0: 11, 1: 5, 2: 6, 14: 15, 17: 13, 18: 16}
#: How far a bent layer's lines lie from where they lay, at most about twice this, across and down, texels: each on its own way, so that two
#: people with the lines of one donor do not share them. A forehead's lines may lie anywhere on it, a fold may not.
BENT = (4.0, 2.0)
BENT_FOREHEAD = (6.0, 6.0)


@dataclass(frozen=True)
class Detail:
    """Log-light detail of a subject's visible skin in mesh space. ``value`` [side, side], ``seen`` [side, side] bool."""

    value: Floats
    seen: Mask


def log_light(image: Floats) -> Floats:
    return np.log(image @ LUMA + 0.04)


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
    canvas = np.zeros((TEXTURE_SIDE, TEXTURE_SIDE), np.uint8)
    for outline in (mean[list(OVAL)], masks.above_mesh(mean)):
        cv2.fillPoly(canvas, [texels(outline).round().astype(np.int32)], 1)
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
    weight = own.seen.astype(np.float32)
    both = weight + weight[:, ::-1]
    coarse = (low * weight + (low * weight)[:, ::-1]) / np.maximum(both, 1e-3)
    coarse = coarse.clip(-0.22, 0.10) * _faded(own.seen | own.seen[:, ::-1])
    fine = _fine(value, own.seen, _COARSE, BRIGHT_GAIN, _FINE_RMS)
    return (FINE_GAIN * fine * _faded(own.seen) + COARSE_GAIN * coarse).astype(np.float32)


def forehead(subject: Subject, mean: mean_face.Float64) -> Floats:
    """Lines of a donor's forehead at full depth, log light [side, side], 0 off it; 0 everywhere without an outline."""
    outline = json.loads(FOREHEADS.read_text()).get(subject.photo.name)
    if outline is None:
        return np.zeros((TEXTURE_SIDE, TEXTURE_SIDE), np.float32)
    grid = mean_face.texture_grid(mean, subject, TEXTURE_SIDE)
    light = mean_face.look_up(log_light(subject.image), grid, cv2.INTER_CUBIC)
    features = mean_face.look_up(masks.features(subject, 3).astype(np.float32), grid) > 0.3
    canvas = np.zeros((TEXTURE_SIDE, TEXTURE_SIDE), np.uint8)
    for corners in (outline, _GLABELLA):
        cv2.fillPoly(canvas, [np.array(corners, np.int32)], 1)
    seen = (canvas > 0) & ~features
    fine = _fine(light, seen, _FOREHEAD_WIDTH, _FOREHEAD_BRIGHT, _FOREHEAD_RMS)
    ends = (np.arange(TEXTURE_SIDE)[:, None] / _FADES).clip(0, 1)
    edge = (1.5 * masks.soft(masks.shrink(seen, 3), 7.0) - 0.5).clip(0, 1)
    calm = 1 - _CALM_GLABELLA * _spot(texels(mean)[[9, 168]].mean(0), 26.0, 26.0)
    return (fine * seen * edge * ends * calm).astype(np.float32)


def _fine(light: Floats, seen: Mask, width: float, bright: float, rms: float) -> Floats:
    """The detail of log light that is finer than ``width``, with fainter pores and ridges (``bright``, of 1), and this RMS."""
    pores = light - masks.masked_blur(light, seen, _PORES)
    fine = (light - masks.masked_blur(light, seen, width) - (1 - PORES_GAIN) * pores) * seen
    fine = _DEEPEST * np.tanh(fine / _DEEPEST)
    fine *= np.where(fine > 0, bright, 1.0)
    fine -= masks.masked_blur(fine, seen, width)  # rough skin is no stain: it gets no darker on the whole
    return fine * (rms / max(1e-3, float(fine[seen].std())))


def replaced(bank: Floats, instead: dict[int, int], distance: tuple[float, float]) -> Floats:
    """The bank [K, side, side] in which others, mirrored and bent, stand in place of the numbers that ``instead`` has."""
    serving = {k: other for k, other in instead.items() if max(k, other) < len(bank)}
    return np.stack(
        [_bent(bank[serving[k]][:, ::-1], distance, k) if k in serving else one for k, one in enumerate(bank)]
    )


def bank_of(whole: Floats, foreheads: Floats, windows: Floats, mean: mean_face.Float64) -> Floats:
    """All layers as they are drawn [K, side, side], of donors' whole faces and their foreheads. ``windows``: of the regions [5, side, side]."""
    forehead, eyes, *_ = windows
    faces = calmed(replaced(whole, INSTEAD, BENT), mean) * (1 + (EYES - 1) * eyes)
    return faces + forehead * (replaced(foreheads, FOREHEAD_INSTEAD, BENT_FOREHEAD) - faces)


def calmed(bank: Floats, mean: mean_face.Float64) -> Floats:
    """The bank [K, side, side] with fainter lines where they look drawn on smooth faces, and fainter ridges; ``mean``: the mean mesh."""
    points = texels(mean)
    chin, brows = (points[list(of)].mean(0) for of in ((17, 152), (9, 168)))
    kept = 1 - CALM_CHIN * _spot(chin, 42.0, 26.0) - CALM_BROWS * _spot(brows, 26.0, 26.0)
    for corner, outwards in ((61, -7), (291, 7)):
        kept = kept * (1 - CALM_CORNERS * _spot(points[corner] + (outwards, 8), 20.0, 28.0))
    made = bank * kept * np.where(bank > 0, np.float32(RIDGES), np.float32(1.0))
    hatched = [k for k in range(len(bank)) if INSTEAD.get(k, k) in HATCHED]
    for cheek in (205, 425):
        made[hatched] *= 1 - CALM_CHEEKS * _spot(points[cheek], 34.0, 26.0)
    return made.astype(np.float32)


def texels(mesh: mean_face.Float64) -> mean_face.Float64:
    """Canonical points [n, 2] in texels."""
    x0, y0, x1, y1 = mean_face.TEXTURE_BOX
    return (mesh - (x0, y0)) / (x1 - x0, y1 - y0) * TEXTURE_SIDE


def _spot(middle: mean_face.Float64, across: float, down: float) -> Floats:
    """1 in its middle, falling steeply about as far off as said, texels: [side, side]."""
    y, x = np.mgrid[0:TEXTURE_SIDE, 0:TEXTURE_SIDE].astype(np.float32)
    return np.exp(-0.5 * (((x - middle[0]) / across) ** 2 + ((y - middle[1]) / down) ** 2) ** 2).astype(np.float32)


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
