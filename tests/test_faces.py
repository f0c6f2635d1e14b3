"""A face cannot exist without its similarity and its region boxes."""

from __future__ import annotations

import numpy as np
import pytest

from lgin_edge import Face, InputError, geometry
from lgin_edge.faces import FaceBatch, face_or_none

LANDMARKS = geometry.TEMPLATE * 80 + (22, 9)
BAD = {
    "collapsed": np.full((5, 2), 50.0),
    "mirrored": LANDMARKS[[1, 0, 2, 4, 3]],
    "not finite": LANDMARKS * np.nan,
    "of four": LANDMARKS[:4],
    "under a pixel": geometry.TEMPLATE * 0.5,
    "wider than the kernels cut": geometry.TEMPLATE * 70_000,
    "text": "face",
}


def test_a_face_is_fitted_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    fit = geometry.fit_similarity
    monkeypatch.setattr(geometry, "fit_similarity", lambda points: calls.append(1) or fit(points))
    face = Face(LANDMARKS, 0.7)
    np.testing.assert_array_equal(face.affine, fit(LANDMARKS))
    np.testing.assert_array_equal(face.boxes, geometry.region_boxes(LANDMARKS, face.affine))
    other = face.scored(0.4)
    assert (face.score, other.score) == (0.7, 0.4)
    FaceBatch.of([face, other])
    assert len(calls) == 1


def test_the_box_spans_brows_to_chin() -> None:
    np.testing.assert_allclose(Face(LANDMARKS).box, (22 + 16, 9 + 24, 22 + 64, 9 + 72), atol=0.1)
    np.testing.assert_array_equal(Face(LANDMARKS, box=(1, 2, 3, 4)).box, (1, 2, 3, 4))


def test_the_landmarks_are_the_faces_own() -> None:
    points = LANDMARKS.copy()
    face = Face(points)
    points += 1
    np.testing.assert_array_equal(face.landmarks, LANDMARKS)


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_face_cannot_be_one(name: str) -> None:
    with pytest.raises(InputError, match="landmarks"):
        Face(BAD[name])  # type: ignore[arg-type]
    assert face_or_none(BAD[name]) is None  # type: ignore[arg-type]


def test_batches() -> None:
    faces = [Face(LANDMARKS + 10 * i) for i in range(3)]
    batch = FaceBatch.of(faces, [0.0, 0.5, 1.0])
    assert len(batch) == 3
    np.testing.assert_array_equal(batch.affines[1], faces[1].affine)
    np.testing.assert_array_equal(batch[1:].strengths, [0.5, 1.0])
    np.testing.assert_array_equal(batch[batch.strengths > 0].boxes, batch.boxes[1:])
    assert FaceBatch.of([]).affines.shape == (0, 2, 3)
    np.testing.assert_array_equal(FaceBatch.of(faces).strengths, np.ones(3))
    with pytest.raises(InputError, match=r"strengths: expected shape \(3,\), got \(2,\)"):
        FaceBatch.of(faces, [1.0, 1.0])


def test_a_face_says_where_it_is() -> None:
    face = Face(geometry.TEMPLATE * 100, 0.75, (10, 20, 60, 90))
    assert repr(face) == "<lgin_edge.Face 50x70 px at (10, 20), score 0.75>"
