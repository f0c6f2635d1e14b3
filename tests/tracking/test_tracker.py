"""Faces followed through films whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from support.films import (
    ASTRONAUT,
    SIZE,
    Floats,
    Image8,
    Oracle,
    Shot,
    background,
    crossing,
    error,
    film,
    move,
    passing_hand,
    paste_head,
    wandering,
)

from lgin_edge import Face, geometry
from lgin_edge.frames import PixelFormat
from lgin_edge.tracking import head_pose, occlusion, optical_flow
from lgin_edge.tracking.scene_cut import SceneCutDetector
from lgin_edge.tracking.tracker import FADE_IN, FADE_OUT, TrackedFace, Tracker

DT = 1 / 30


def run(
    shots: Sequence[Shot], detector: Oracle, *, every: int = 9, lag: int = 0, at_once: bool = True
) -> Iterator[list[TrackedFace]]:
    """The faces of each frame. A detection is asked for every so many frames, and is there ``lag`` frames later."""
    tracker = Tracker(PixelFormat.RGB)
    asked: tuple[int, Image8, list[Face]] | None = None
    for i, shot in enumerate(shots):
        tracker.move(shot.frame, DT)
        if asked is None and (i % every == 0 or (tracker.doubtful and i % 3 == 0)):
            tracker.ask()
            asked = i, shot.frame, detector(shot.frame)
        if asked is not None and i >= asked[0] + lag:
            tracker.correct(asked[2], asked[1] if i > asked[0] else None, shot.frame, at_once=at_once and i == 0)
            asked = None
        yield tracker.fade(DT)


def steps(faces: Sequence[Floats], truth: Sequence[Floats]) -> float:
    """How much landmarks jump about on the face, RMS of the second difference in eye distances."""
    on_face = [
        geometry.apply(geometry.invert(geometry.fit_similarity(true)), shown)
        for shown, true in zip(faces, truth, strict=True)
    ]
    return float(np.sqrt((np.diff(on_face, 2, axis=0) ** 2).sum(-1).mean()) / 0.246)


@pytest.fixture(scope="module")
def walk(astronaut: Image8) -> list[Shot]:
    return film(astronaut, wandering(60))


@pytest.mark.parametrize("lag", [0, 4])
def test_a_face_is_followed_without_another_look(walk: list[Shot], lag: int) -> None:
    oracle = Oracle(walk)
    faces = list(run(walk, oracle, every=1000, lag=lag))
    assert oracle.calls == 1
    assert [len(one) for one in faces[:lag]] == [0] * lag
    for one, shot in zip(faces[lag:], walk[lag:], strict=True):
        assert [face.id for face in one] == [1]
        assert error(one[0].face.landmarks, shot.faces[0]) < 0.02


@pytest.mark.parametrize("lag", [0, 4])
def test_jitter_of_the_detector_is_smoothed_away(walk: list[Shot], lag: int) -> None:
    noise = 0.03
    faces = list(run(walk, Oracle(walk, noise), every=5, lag=lag))[lag:]
    truth = [shot.faces[0] for shot in walk[lag:]]
    shown = [one[0].face.landmarks for one in faces]
    assert max(error(a, b) for a, b in zip(shown, truth, strict=True)) < 0.06
    assert steps(shown, truth) < 0.1 * noise * np.sqrt(12)  # sqrt(6) for the difference, sqrt(2) for x and y
    assert min(one[0].strength for one in faces[15:]) == 1


def test_a_detection_pulls_a_face_that_drifted_gently_back(astronaut: Image8) -> None:
    shots = film(astronaut, [move((96, 96), 30)] * 60)
    tracker = Tracker(PixelFormat.RGB)
    wrong, right = shots[0].faces[0] + (6.0, 0.0), shots[0].faces[0]
    errors = []
    for i, shot in enumerate(shots):
        tracker.move(shot.frame, DT)
        if i % 9 == 0:
            tracker.ask()
            tracker.correct([Face(right if i else wrong)], None, shot.frame)
        errors.append(error(tracker.fade(DT)[0].face.landmarks, right))
    assert errors[8] == pytest.approx(0.2, abs=0.01)
    assert errors[-1] < 0.02
    assert max(before - after for before, after in pairwise(errors)) < 0.08


@pytest.mark.parametrize("color", ["rgb", "bgr", "rgba", "bgra", "nv12"])
def test_every_colour_is_followed_alike(walk: list[Shot], color: str) -> None:
    import cv2

    def convert(frame: Image8) -> Image8:
        if color == "nv12":
            i420 = cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420)
            height, width = frame.shape[:2]
            chroma = i420[height:].reshape(2, -1).T.reshape(height // 2, width)
            return np.ascontiguousarray(np.concatenate([i420[:height], chroma]))
        if color == "rgb":
            return frame
        return np.ascontiguousarray(cv2.cvtColor(frame, getattr(cv2, f"COLOR_RGB2{color.upper()}")))

    tracker = Tracker(PixelFormat(color))
    for i, shot in enumerate(walk[:20]):
        frame = convert(shot.frame)
        tracker.move(frame, DT)
        if not i:
            tracker.ask()
            tracker.correct([Face(shot.faces[0])], None, frame)
        assert error(tracker.fade(DT)[0].face.landmarks, shot.faces[0]) < 0.02


def test_strides_do_not_matter(walk: list[Shot]) -> None:
    tracker = Tracker(PixelFormat.RGB)
    for i, shot in enumerate(walk[:10]):
        frame = np.ascontiguousarray(shot.frame[::-1, ::-1])[::-1, ::-1]
        tracker.move(frame, DT)
        if not i:
            tracker.ask()
            tracker.correct([Face(shot.faces[0])], None, frame)
        assert error(tracker.fade(DT)[0].face.landmarks, shot.faces[0]) < 0.02


def test_two_faces_that_cross_keep_who_they_are(astronaut: Image8) -> None:
    shots = crossing(astronaut)
    result = list(run(shots, Oracle(shots, 0.02)))
    front, behind = (
        next(face.id for face in result[0] if error(face.face.landmarks, shots[0].faces[i]) < 0.2) for i in (0, 1)
    )
    assert {front, behind} == {1, 2}
    for faces, shot in zip(result, shots, strict=True):
        by_id = {face.id: face for face in faces}
        assert set(by_id) <= {1, 2}
        assert by_id[front].strength == 1
        assert error(by_id[front].face.landmarks, shot.faces[0]) < 0.1
        if len(shot.faces) == 1:
            continue
        if behind in by_id and by_id[behind].strength > 0.1:
            assert error(by_id[behind].face.landmarks, shot.faces[1]) < 0.15
    hidden = [faces for faces, shot in zip(result, shots, strict=True) if len(shot.faces) == 1]
    assert min(sum(face.strength for face in faces if face.id == behind) for faces in hidden) == 0
    assert {face.id: face.strength for face in result[-1]}[behind] > 0.8


def test_a_hand_fades_the_face_out_and_it_comes_back(astronaut: Image8) -> None:
    """Also when the detector goes on seeing a face, which it does with half of one covered."""
    shots, covered = passing_hand(astronaut)
    result = list(run(shots, Oracle(shots, 0.01)))
    strengths = np.array([sum(face.strength for face in faces) for faces in result])
    assert {face.id for faces in result for face in faces} == {1}
    first, last = np.flatnonzero(covered)[[0, -1]]
    late = first + round(FADE_OUT / DT) + 1
    assert (strengths[late : last + 1] < 0.05).all()
    assert (strengths[: first - 4] == 1).all()
    back = last + round(FADE_IN / DT) + 6
    assert (strengths[back:] == 1).all()
    assert np.abs(np.diff(strengths)).max() <= DT / FADE_OUT + 1e-9


@pytest.mark.parametrize("gain", [0.5, 1.25])
def test_another_light_fades_nothing(astronaut: Image8, gain: float) -> None:
    shots = [
        Shot(np.clip(shot.frame * np.interp(i, [10, 25], [1, gain]), 0, 255).astype(np.uint8), shot.faces)
        for i, shot in enumerate(film(astronaut, wandering(40)))
    ]
    for faces in run(shots, Oracle(shots)):
        assert [face.strength for face in faces] == [1]


def test_half_the_light_gone_at_once_is_no_other_face(astronaut: Image8) -> None:
    """A shadow over one half is a change like that of a hand, but takes no points with it."""
    shots = film(astronaut, [move((96, 96), 30)] * 40)
    shade = np.where(np.arange(SIZE) < 96, 0.8, 1.0)[None, :, None]
    shots = [
        Shot((shot.frame * (1 - (1 - shade) * np.interp(i, [10, 20], [0, 1]))).astype(np.uint8), shot.faces)
        for i, shot in enumerate(shots)
    ]
    assert min(faces[0].strength for faces in run(shots, Oracle(shots))) > 0.9


def test_who_comes_fades_in_and_who_goes_fades_out(astronaut: Image8) -> None:
    """A head walks in from the left and out at the right."""
    shots = []
    for x in np.linspace(-30, SIZE + 30, 80):
        frame = background()
        face = paste_head(frame, astronaut, ASTRONAUT, move((x, 96), 28))
        shots.append(Shot(frame, face[None] if 20 < x < SIZE - 20 else np.empty((0, 5, 2))))
    result = list(run(shots, Oracle(shots, 0.01), at_once=False))
    strengths = np.array([sum(face.strength for face in faces) for faces in result])
    assert {face.id for faces in result for face in faces} == {1}
    rise = np.diff(strengths)
    assert rise.max() <= DT / FADE_IN + 1e-9
    assert rise.min() >= -DT / FADE_OUT - 1e-9
    assert strengths[0] == 0
    assert strengths.max() == 1
    assert strengths[-3:].max() == 0
    for faces, shot in zip(result, shots, strict=True):
        for face in faces:
            if len(shot.faces) and face.strength > 0.5:
                assert error(face.face.landmarks, shot.faces[0]) < 0.1


def test_a_face_that_the_detector_no_longer_sees_goes(astronaut: Image8) -> None:
    """It turned away, say: the flow would go on following it."""
    shots = film(astronaut, [move((96, 96), 30)] * 80)
    oracle = Oracle(shots)
    result = []
    for i, faces in enumerate(run(shots, oracle)):
        result.append(faces)
        if i == 20:
            oracle.blind = lambda _: True
    strengths = [sum(face.strength for face in faces) for faces in result]
    assert strengths[27] == 1  # one miss may happen
    assert strengths[45] == 0
    assert result[-1] == []


def test_one_detection_that_misses_it_does_not_dim_a_face(astronaut: Image8) -> None:
    shots = film(astronaut, [move((96, 96), 30)] * 30)
    oracle = Oracle(shots)
    for i, faces in enumerate(run(shots, oracle)):
        oracle.blind = lambda _, i=i: i == 17  # type: ignore[misc]
        assert [face.strength for face in faces] == [1]


def test_a_doubtful_detection_is_not_changed(astronaut: Image8) -> None:
    shots = film(astronaut, [move((96, 96), 30)] * 30)
    sure, unsure = (list(run(shots, Oracle(shots, score=score)))[-1][0].strength for score in (0.9, 0.5))
    assert (sure, unsure) == (1, 0)


def test_bad_landmarks_of_a_detector_do_no_harm(astronaut: Image8) -> None:
    shots = film(astronaut, [move((96, 96), 30)] * 10)
    tracker = Tracker(PixelFormat.RGB)
    far = Face(geometry.TEMPLATE * 30 + 5000)
    for i, shot in enumerate(shots):
        tracker.move(shot.frame, DT)
        tracker.ask()
        found = [far, Face(shot.faces[0])]
        tracker.correct(found, shots[i - 1].frame if i else None, shot.frame, at_once=not i)
        faces = tracker.fade(DT)
        assert [face.id for face in faces if face.strength] == [1]


def test_detections_of_nobody_and_frames_of_nothing(astronaut: Image8) -> None:
    tracker = Tracker(PixelFormat.RGB)
    for frame in (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)):
        tracker.move(frame, DT)
        tracker.ask()
        tracker.correct([], None, frame)
        assert tracker.fade(DT) == []
    flat = np.full((100, 100, 3), 128, np.uint8)
    tracker.ask()
    tracker.correct([Face(geometry.TEMPLATE * 60 + 20)], None, flat)
    tracker.move(flat, DT)  # nothing in it can be followed
    assert tracker.lost == 1
    assert tracker.fade(DT) == []


def test_points_are_followed_to_where_they_went(astronaut: Image8) -> None:
    a, b = film(astronaut, [move((96, 96), 30), move((101, 93), 31, 0.05)])
    old = optical_flow.face_patch(a.frame, PixelFormat.RGB, a.faces[0])
    assert old is not None
    new = optical_flow.same_patch(b.frame, PixelFormat.RGB, old)
    points = optical_flow.choose_points(old, geometry.fit_similarity(a.faces[0]))
    assert 20 < len(points) <= optical_flow.MAX_POINTS
    after, sure = optical_flow.follow(old, new, points)
    assert sure.mean() > 0.9
    found = optical_flow.similarity(points[sure], after[sure], new)
    assert found is not None
    affine, belongs = found
    assert belongs.mean() > 0.85
    assert error(geometry.apply(affine, a.faces[0]), b.faces[0]) < 0.01


def test_a_patch_maps_there_and_back(astronaut: Image8) -> None:
    patch = optical_flow.face_patch(astronaut, PixelFormat.RGB, ASTRONAUT)
    assert patch is not None
    assert np.abs(patch.to_frame(patch.to_patch(ASTRONAUT)) - ASTRONAUT).max() < 1e-4
    corners = np.array([patch.corner[:2], patch.corner[2:]], float)
    height, width = patch.gray.shape
    assert np.allclose(patch.to_patch(corners), [(-0.5, -0.5), (width - 0.5, height - 0.5)])


def test_no_similarity_of_scattered_points() -> None:
    random = np.random.default_rng(4)
    patch = optical_flow.Patch(np.zeros((100, 100), np.uint8), (0, 0, 100, 100))
    before = random.uniform(0, 100, (30, 2))
    assert optical_flow.similarity(before, random.uniform(0, 100, (30, 2)), patch) is None
    assert optical_flow.similarity(before, before * 2, patch) is None  # no head comes that near in one frame
    assert optical_flow.similarity(before[:3], before[:3], patch) is None


def test_looks_tell_a_change_from_light(astronaut: Image8) -> None:
    affine = geometry.fit_similarity(ASTRONAUT)

    def seen(frame: npt.NDArray[np.generic]) -> Floats:
        patch = optical_flow.face_patch(frame.astype(np.uint8), PixelFormat.RGB, ASTRONAUT)
        assert patch is not None
        return occlusion.appearance(patch, affine).cells

    before = seen(astronaut)
    assert occlusion.changed_cells(before, before).mean() == 0
    assert occlusion.changed_cells(before, seen(astronaut * 0.6 + 20)).mean() == 0
    half = astronaut.copy()
    half[:, :223] = 150
    assert 0.3 < occlusion.changed_cells(before, seen(half)).mean() < 0.7
    assert occlusion.changed_cells(before, seen(np.full_like(astronaut, 150))).mean() > 0.25


def test_how_much_of_a_face_is_in_the_frame() -> None:
    affine = np.array([[100.0, 0, 0], [0, 100.0, 0]])
    assert occlusion.in_frame_fraction(affine, 100, 100) == 1
    assert occlusion.in_frame_fraction(affine, 50, 100) == 0.5
    assert occlusion.in_frame_fraction(affine, 10, 100) == 0


def turned(yaw: float, pitch: float, roll: float) -> Floats:
    """Landmarks of the canonical face in this pose, seen from far away."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    points: Floats = (head_pose._MODEL @ (about_z @ about_x @ about_y).T)[:, :2] * 200 + 50
    return points


@pytest.mark.parametrize(
    ("yaw", "pitch", "roll"),
    [(0, 0, 0), (30, 0, 0), (-30, 0, 0), (0, 20, 0), (0, -20, 0), (0, 0, 25), (50, 0, 90), (70, 0, -40)],
)
def test_a_pose_is_read_from_five_points(yaw: float, pitch: float, roll: float) -> None:
    assert np.allclose(head_pose.head_pose(turned(yaw, pitch, roll)), (yaw, pitch, roll), atol=0.5)


def test_the_astronaut_looks_at_us() -> None:
    yaw, pitch, roll = head_pose.head_pose(ASTRONAUT)
    assert abs(yaw) < 10
    assert abs(pitch) < 15
    assert roll == pytest.approx(3.5, abs=0.5)


def test_strength_falls_with_the_pose_and_not_with_roll() -> None:
    strengths = [head_pose.pose_strength(head_pose.head_pose(turned(yaw, 0, 30))) for yaw in (0, 30, 45, 60, -60)]
    assert strengths[:2] == [1, 1]
    assert 0.2 < strengths[2] < 0.8
    assert strengths[3:] == [0, 0]
    assert head_pose.pose_strength(head_pose.head_pose(turned(0, 50, 0))) == 0


def test_points_on_a_line_are_a_profile() -> None:
    assert head_pose.pose_strength(head_pose.head_pose(np.column_stack([np.zeros(5), np.arange(5.0)]))) == 0


def test_a_cut_is_seen_and_a_pan_or_a_lamp_is_not(astronaut: Image8) -> None:
    from skimage import data

    height, width = 160, 240
    pan = [astronaut[100 : 100 + height, x : x + width] for x in (0, 30, 60, 90)]
    dark = [(pan[-1] * share).astype(np.uint8) for share in (0.9, 0.5, 0.45)]
    other = np.ascontiguousarray(data.coffee()[100 : 100 + height, 100 : 100 + width])
    cuts = SceneCutDetector(PixelFormat.RGB)
    assert [cuts(frame) for frame in [*pan, *dark, other, other]] == [True, *[False] * 6, True, False]


@pytest.mark.parametrize("color", ["rgb", "nv12"])
def test_another_size_is_another_scene(color: str) -> None:
    cuts = SceneCutDetector(PixelFormat(color))
    shapes = [(48, 32), (48, 32), (24, 16)] if color == "nv12" else [(48, 32, 3), (48, 32, 3), (24, 16, 3)]
    assert [cuts(np.zeros(shape, np.uint8)) for shape in shapes] == [True, False, True]
