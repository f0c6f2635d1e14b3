"""What cameras, networks and detectors do to faces: faults on a picture and its target alike.

The right answer for a blurred picture is a blurred target. What is no linear change (JPEG, noise) is found on the picture, and
the same difference is added to its target.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def jittered_affine(random: np.random.Generator, strength: float) -> npt.NDArray[np.float64]:
    """The affine [2, 3] of a face that a detector would align a little differently: turned, scaled and moved."""
    # No more than a detector errs by: what is drawn at a place has to be at that place.
    angle, scale = random.uniform(-0.025, 0.025) * strength, np.exp(random.uniform(-0.025, 0.025) * strength)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = 0.5 + random.uniform(-0.012, 0.012, 2) * strength
    return np.column_stack([linear, middle - linear @ (0.5, 0.5)])


def both(
    picture: Bytes, target: Bytes, random: np.random.Generator, strength: float
) -> tuple[list[Bytes], Floats, float]:
    """A picture [H, H, 3] and its target with the same faults.

    Returns: The two [H, H, 3]; what is hidden [H, H], 1 behind something before the face; the sharpness that is left, 0 to 1.
    """
    pair = [picture, target]
    hidden = np.zeros(picture.shape[:2], np.float32)
    if strength <= 0:
        return pair, hidden, 1.0
    pair = _photometric(pair, random, strength)
    chance, amount = random.random(6), random.random(6) * strength
    side, sharpness = picture.shape[0], 1.0
    if chance[0] < 0.12:
        pair = _hide(pair, hidden, random, amount[0])
    if chance[1] < 0.35:
        factor = 1 + 3.5 * amount[1] ** 1.5
        low = (max(40, round(side / factor)),) * 2
        how = cv2.INTER_CUBIC if chance[1] < 0.2 else cv2.INTER_LINEAR
        pair = [
            cv2.resize(cv2.resize(p, low, interpolation=cv2.INTER_AREA), (side, side), interpolation=how) for p in pair
        ]
        sharpness /= factor**0.7
    if chance[2] < 0.2:
        length = 2 + int(5 * amount[2])
        kernel = np.full((1, length) if chance[2] < 0.14 else (length, 1), 1 / length, np.float32)
        pair = [cv2.filter2D(p, -1, kernel) for p in pair]
        sharpness /= 1 + 0.15 * length
    before = after = pair[0]
    if chance[3] < 0.35:
        noise = random.standard_normal(before.shape, np.float32)
        if chance[3] < 0.15:
            noise = cv2.GaussianBlur(noise, (0, 0), 0.9) * 2
        after = np.clip(after + np.float32(14 * amount[3]) * noise, 0, 255).astype(np.uint8)
    if chance[4] < 0.4:
        quality = int(92 - 62 * amount[4])
        coded = cv2.imencode(".jpg", after[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        after = cv2.imdecode(coded, cv2.IMREAD_COLOR_RGB)
    if after is not before:
        change = after.astype(np.int16) - before
        pair = [after, np.clip(pair[1] + change, 0, 255).astype(np.uint8)]
    return pair, hidden, float(sharpness)


def _photometric(pair: list[Bytes], random: np.random.Generator, strength: float) -> list[Bytes]:
    """Exposure, contrast, colour cast and saturation; black-and-white now and then."""
    gamma = np.exp(random.uniform(-0.30, 0.30) * strength)
    cast = np.exp(random.uniform(-0.10, 0.10, 3) * strength)
    contrast = np.exp(random.uniform(-0.22, 0.22) * strength)
    levels = np.linspace(0, 1, 256)[:, None] ** gamma * cast
    table = (np.clip(0.5 + (levels - 0.5) * contrast, 0, 1) * 255 + 0.5).astype(np.uint8)[None]  # [1, 256, 3]
    saturation = np.exp(random.uniform(-0.35, 0.35) * strength)
    if random.random() < 0.05 * strength:
        saturation = 0.0
    luma = np.array((0.299, 0.587, 0.114))
    mix = saturation * np.eye(3) + (1 - saturation) * luma[None, :]
    return [cv2.transform(cv2.LUT(p, table), mix) for p in pair]


def _hide(pair: list[Bytes], hidden: Floats, random: np.random.Generator, amount: float) -> list[Bytes]:
    """A flat ellipse or bar of a random colour before the face: a hand, a cup, a microphone. Nothing changes behind it."""
    side = hidden.shape[0]
    colour = random.integers(0, 256, 3)
    center = random.integers(0, side, 2)
    axes = (side * (0.05 + 0.18 * amount * random.random(2))).astype(int)
    cv2.ellipse(hidden, center.tolist(), axes.tolist(), float(random.uniform(0, 180)), 0, 360, 1.0, -1)
    hidden[...] = cv2.GaussianBlur(hidden, (0, 0), 1.0)
    soft = hidden[..., None]
    return [(p * (1 - soft) + colour * soft).astype(np.uint8) for p in pair]
