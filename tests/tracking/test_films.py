"""The films of the tests are what they say."""

from __future__ import annotations

import numpy as np
import pytest
from support.films import ASTRONAUT, Image8, error, film, move, placed, wandering

from lgin_edge import geometry


def test_the_face_is_where_the_film_says(astronaut: Image8) -> None:
    from lgin_edge import CenterFace

    detector = CenterFace()
    for shot in film(astronaut, wandering(60)[::20]):
        faces = detector(shot.frame)
        assert len(faces) == 1
        assert error(faces[0].landmarks, shot.faces[0]) < 0.06


def test_a_still_stays_itself(astronaut: Image8) -> None:
    same = placed(astronaut, np.eye(2, 3), *astronaut.shape[:2])
    assert np.abs(same.astype(int) - astronaut).max() == 0


@pytest.mark.parametrize("turn", [0.0, 0.4])
def test_a_move_brings_the_face_to_its_place(turn: float) -> None:
    landmarks = geometry.apply(move((50, 60), 20, turn), ASTRONAUT)
    assert np.allclose(landmarks.mean(axis=0), (50, 60))
    assert np.linalg.norm(landmarks[1] - landmarks[0]) == pytest.approx(20)
