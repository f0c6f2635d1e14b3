"""Films of the astronaut who speaks, turns, nods and blinks, in changing light; of hands and people who pass before her.

The frames [300, 300, 3] are 25 a second. Movements are warps that move the middle of the face more than its rim.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from support.films import ASTRONAUT, Floats, Image8

FPS = 25
#: Where the frames lie in the still.
_X, _SIDE = 80, 300
_LEFT_EYE, _RIGHT_EYE, _NOSE, _LEFT_MOUTH, _RIGHT_MOUTH = ASTRONAUT - (_X, 0)
_MOUTH = (_LEFT_MOUTH + _RIGHT_MOUTH) / 2
_EYES = float(np.linalg.norm(_RIGHT_EYE - _LEFT_EYE))
_CHIN = np.add(_MOUTH, (0, 0.25 * _EYES))
_Y, _COLUMN = np.mgrid[:_SIDE, :_SIDE].astype(np.float64)
#: How far each pixel stands out of the plane of the head's rim, 0 to 1.
_DEPTH: Floats = np.exp(-(((((_COLUMN - _NOSE[0]) / 1.1) ** 2 + ((_Y - _NOSE[1]) / 1.5) ** 2) / _EYES**2) ** 2))


class Motions:
    """The films.

    Args:
        still: the astronaut, [512, 512, 3].
    """

    def __init__(self, still: Image8) -> None:
        self._still = np.ascontiguousarray(still[:_SIDE, _X : _X + _SIDE])
        waves = np.random.default_rng(0).normal(0, 1, (_SIDE, _SIDE))
        self._texture: Floats = cv2.GaussianBlur(waves, (0, 0), 3) * 30 + cv2.GaussianBlur(waves, (0, 0), 1) * 8

    def talk(self, time: float, size: float = 1.6) -> Image8:
        """The mouth opens three times a second, and is dark inside."""
        opened = size * (0.5 - 0.5 * np.cos(6 * np.pi * time)) * (0.6 + 0.4 * np.sin(1.4 * np.pi * time))
        frame = _warped(self._still, 0.0, 0.14 * _EYES * opened * _bump(_CHIN, 0.8, 0.5))
        middle = np.add(_MOUTH, (0, 0.06 * _EYES * opened))
        inside = _ellipse(middle, 0.3, 0.16 * max(opened, 1e-3), 4)
        return _over(frame, inside, np.array([60.0, 25, 25]))

    def turn(self, time: float, size: float = 1.6, talk: float = 1.5, rate: float = 0.5) -> Image8:
        """The head turns to and fro by about 20 degrees, and speaks."""
        opened = talk * (0.5 - 0.5 * np.cos(6 * np.pi * time))
        across = size * 0.38 * _EYES * np.sin(2 * np.pi * rate * time) * _DEPTH
        return _warped(self._still, across, 0.14 * _EYES * opened * _bump(_CHIN, 0.8, 0.5))

    def nod(self, time: float) -> Image8:
        """The head nods, more than once a second."""
        return _warped(self._still, 0.0, 0.3 * _EYES * np.sin(2.8 * np.pi * time) * _DEPTH)

    def blink(self, time: float) -> Image8:
        """The eyes close every second for a fifth of one."""
        frame = self._still
        closed = float(np.clip(1 - abs(time % 1.0 - 0.6) / 0.1, 0, 1))
        for eye in (_LEFT_EYE, _RIGHT_EYE):
            frame = _over(frame, closed * _ellipse(eye, 0.26, 0.13, 3), np.array([200.0, 160, 140]))
        return frame

    def live(self, time: float, size: float = 1.0) -> Image8:
        """All of it: the head turns, nods and leans, speaks, smiles and raises its brows."""
        phase = np.random.default_rng(3).uniform(0, 7, 8)

        def wave(rate: float, k: int) -> float:
            return float(np.sin(2 * np.pi * rate * time + phase[k]))

        across = size * 0.3 * _EYES * (wave(0.35, 0) + 0.5 * wave(0.9, 1)) * _DEPTH
        down = size * 0.18 * _EYES * (wave(0.5, 2) + 0.4 * wave(1.3, 3)) * _DEPTH
        opened = max(0.0, wave(2.6, 4)) * max(0.0, 0.6 + 0.6 * wave(0.4, 5))
        down = down + 0.14 * _EYES * opened * _bump(_CHIN, 0.8, 0.5)
        smile, brows = size * max(0.0, wave(0.3, 6)), size * max(0.0, wave(0.45, 7))
        left, right = _bump(_LEFT_MOUTH, 0.3, 0.3), _bump(_RIGHT_MOUTH, 0.3, 0.3)
        across = across - smile * 0.12 * _EYES * (left - right)
        up = smile * 0.08 * (left + right)
        for eye in (_LEFT_EYE, _RIGHT_EYE):
            up = up + brows * 0.1 * _bump(np.subtract(eye, (0, 0.4 * _EYES)), 0.4, 0.25)
        frame = _warped(self._still, across, down - _EYES * up)
        angle = 0.12 * size * np.sin(0.8 * np.pi * time)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shift = _NOSE - turn @ _NOSE + (0.2 * size * _EYES * np.sin(0.8 * np.pi * time + 1), 0)
        leaned: Image8 = cv2.warpAffine(
            frame, np.column_stack([turn, shift]), (_SIDE, _SIDE), borderMode=cv2.BORDER_REPLICATE
        )
        return leaned

    def lit(self, frame: Image8, time: float) -> Image8:
        """A frame in a light that goes round and changes its strength."""
        side = 0.5 + 0.5 * np.sin(np.pi * time)
        ramp = 1 - 0.5 * side * np.clip((_COLUMN - _NOSE[0]) / (1.5 * _EYES) + 0.5, 0, 1)
        gain = 1 - 0.3 * (0.5 - 0.5 * np.cos(0.6 * np.pi * time))
        return np.clip(frame * (ramp * gain)[..., None], 0, 255).astype(np.uint8)

    def jpeg(self, frame: Image8, quality: int) -> Image8:
        """A frame as a camera with little bandwidth sends it."""
        return cv2.imdecode(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)

    def hand(self, frame: Image8, time: float, kind: str, coming_s: float = 0.5) -> Image8:
        """A frame with a hand (or a cup) on its way."""
        way = hand_way(time, coming_s)
        x, y = _NOSE
        center, size = {
            "on one half": ((x + (2.1 * way - 2.6) * _EYES, y), (1.0, 1.4)),
            "on the mouth": ((x, y + (3.4 - 2.6 * way) * _EYES), (1.1, 1.1)),
            "on the eyes": ((x + (4 - 4 * way) * _EYES, y - 0.5 * _EYES), (1.5, 0.6)),
            "cup": ((x, y + (3.4 - 2.4 * way) * _EYES), (0.8, 1.0)),
        }[kind]
        color = (240.0, 240.0, 245.0) if kind == "cup" else (205.0, 150.0, 125.0)
        moved = np.array([[1, 0, center[0] - _SIDE / 2], [0, 1, center[1] - _SIDE / 2]])
        folds = cv2.warpAffine(self._texture, moved, (_SIDE, _SIDE), borderMode=cv2.BORDER_REFLECT)
        u, v = (_COLUMN - center[0]) / (size[0] * _EYES), (_Y - center[1]) / (size[1] * _EYES)
        folds = folds - 28 * np.exp(-(((np.mod(4 * u + 0.5, 1) - 0.5) / 0.06) ** 2)) * (v < 0.1) - 30 * u
        return _over(frame, _ellipse(center, *size, 8), np.array(color) + folds[..., None])

    def passer(self, frame: Image8, time: float) -> Image8:
        """A frame with someone else's head that passes before the face from 0.5 s to 3 s."""
        other = np.clip(frame[:, ::-1].astype(np.float64) * (0.75, 0.8, 0.95) + (0, 5, 20), 0, 255)
        shift = passer_shift(time)
        moved = np.array([[1, 0, _NOSE[0] + shift - (_SIDE - _NOSE[0])], [0, 1, 0.15 * _EYES]])
        other = cv2.warpAffine(other, moved, (_SIDE, _SIDE), borderMode=cv2.BORDER_REPLICATE)
        head = _ellipse((_NOSE[0] + shift, _NOSE[1] + 0.1 * _EYES), 1.3, 1.85, 10)
        return _over(frame, head, other)


def hand_way(time: float, coming_s: float = 0.5) -> float:
    """How much of its way a hand has come, 0 to 1: it comes from 0.6 s on, stays for 1.3 s, and goes within 0.5 s."""
    there = 0.6 + coming_s
    return float(np.interp(time, [0.6, there, there + 1.3, there + 1.8], [0, 1, 1, 0]))


def passer_shift(time: float) -> float:
    """How far the passer is from the face, pixels."""
    return float(np.interp(time, [0.5, 3.0], [-3.2, 3.2])) * _EYES


def passer_hides(time: float) -> bool:
    """Whether the passer is before the face."""
    return abs(passer_shift(time)) < _EYES


def _bump(center: Floats, width: float, height: float) -> Floats:
    """1 at a place, falling to 0 over so many eye distances."""
    return _bump_at(*center, width, height)


@cache
def _bump_at(x: float, y: float, width: float, height: float) -> Floats:
    bump: Floats = np.exp(-(((_COLUMN - x) / (width * _EYES)) ** 2) - ((_Y - y) / (height * _EYES)) ** 2)
    return bump


def _ellipse(center: Floats | tuple[float, float], width: float, height: float, sharp: float) -> Floats:
    """1 inside an ellipse with half axes in eye distances, 0 outside."""
    radius = np.sqrt(((_COLUMN - center[0]) / (width * _EYES)) ** 2 + ((_Y - center[1]) / (height * _EYES)) ** 2)
    inside: Floats = np.clip((1 - radius) * sharp, 0, 1)
    return inside


def _over(frame: Image8, alpha: Floats, color: Floats) -> Image8:
    alpha = alpha[..., None]
    return np.clip(np.rint(alpha * color + (1 - alpha) * frame), 0, 255).astype(np.uint8)


def _warped(frame: Image8, right: Floats | float, down: Floats | float) -> Image8:
    """A frame whose pixels moved by so many pixels."""
    x, y = (_COLUMN - right).astype(np.float32), (_Y - down).astype(np.float32)
    moved: Image8 = cv2.remap(frame, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return moved
