"""A face that lives keeps its age, and one that is covered loses it: films with the bundled detector."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from support.films import Floats, Image8
from support.motions import FPS, Motions

from lgin_edge import CenterFace
from lgin_edge.frames import PixelFormat
from lgin_edge.tracking import TrackedFace, Tracker

FRAMES = 75
#: A detection is there this many frames after it was asked for, as in ``Pipeline`` where every frame counts.
LAG = 3


@pytest.fixture(scope="module")
def motions(astronaut: Image8) -> Motions:
    return Motions(astronaut)


@pytest.fixture(scope="module")
def detector() -> CenterFace:
    return CenterFace(max_side=320)


def follow(film: Callable[[float], Image8], detector: CenterFace, frames: int = FRAMES) -> list[list[TrackedFace]]:
    """The faces of a film, looked for twice a second and in doubt."""
    tracker = Tracker(PixelFormat.RGB)
    asked: tuple[int, Image8] | None = None
    last = 0
    result = []
    for i in range(frames):
        frame = film(i / FPS)
        tracker.move(frame, 1 / FPS)
        if asked is not None and i >= asked[0] + LAG:
            tracker.correct(detector(asked[1]), asked[1], frame)
            asked = None
        if asked is None and (i == 0 or i - last >= FPS / 2 or (tracker.doubtful and i - last >= 3)):
            tracker.ask()
            asked, last = (i, frame), i
            if i == 0:
                tracker.correct(detector(frame), None, frame, at_once=True)
                asked = None
        result.append(tracker.fade(1 / FPS))
    return result


def strengths(faces: list[list[TrackedFace]]) -> Floats:
    return np.array([max((face.strength for face in frame if face.id == 1), default=0.0) for frame in faces])


LIVING: dict[str, Callable[[Motions, float], Image8]] = {
    "talks": lambda m, t: m.talk(t),
    "turns and talks": lambda m, t: m.turn(t),
    "turns quickly": lambda m, t: m.turn(t, 1.2, 0.0, rate=1.0),
    "nods": lambda m, t: m.nod(t),
    "blinks": lambda m, t: m.blink(t),
    "lives": lambda m, t: m.live(t, 1.5),
    "lives in changing light": lambda m, t: m.lit(m.live(t), t),
    "turns and talks in JPEG": lambda m, t: m.jpeg(m.turn(t), 30),
}


@pytest.mark.parametrize("name", LIVING)
def test_a_face_that_lives_keeps_its_age(motions: Motions, detector: CenterFace, name: str) -> None:
    faces = follow(lambda time: LIVING[name](motions, time), detector)
    assert {face.id for frame in faces for face in frame} == {1}
    assert (strengths(faces) > 0.9).mean() >= 0.95


@pytest.mark.parametrize(
    ("kind", "lives"),
    [*((kind, True) for kind in ("on one half", "on the mouth", "on the eyes", "cup")), ("on the eyes", False)],
)
def test_a_hand_takes_the_age_within_half_a_second(
    motions: Motions, detector: CenterFace, kind: str, lives: bool
) -> None:
    way = np.array([motions.hand(motions.talk(0), i / FPS, kind)[1] for i in range(FRAMES)])

    def film(time: float) -> Image8:
        return motions.hand(motions.live(time, 0.5) if lives else motions.talk(0), time, kind)[0]

    seen = strengths(follow(film, detector))
    covered = np.flatnonzero(way == 1)
    assert seen[: round(0.6 * FPS)].min() > 0.9
    assert seen[covered[0] + FPS // 2 : covered[-1]].max() < 0.1


def test_a_hand_that_creeps_over_the_mouth_takes_the_age(motions: Motions, detector: CenterFace) -> None:
    """It is learnt bit by bit, and takes few points at a time; the detector's score tells."""
    still = motions.talk(0)
    seen = strengths(follow(lambda time: motions.hand(still, time, "on the mouth", 4.0)[0], detector, 130))
    assert seen[: round(0.6 * FPS)].min() > 0.9
    assert seen[round(5.1 * FPS) :].max() < 0.1


def test_a_passer_before_a_face_does_not_get_its_age(motions: Motions, detector: CenterFace) -> None:
    seen = strengths(follow(lambda time: motions.passer(motions.live(time, 0.5), time)[0], detector, 100))
    hidden = np.array([motions.passer(motions.talk(0), i / FPS)[1] for i in range(100)])
    covered = np.flatnonzero(hidden)
    assert seen[: round(0.6 * FPS)].min() > 0.9
    assert seen[covered[0] + 3 : covered[-1]].max() < 0.1
    assert seen[-1] > 0.9
