"""Steadiness: films whose motion is known, agers whose flicker is known, detectors whose error is known."""

import loose
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install -e .[train]")
pytest.importorskip("skimage", reason='the evaluation needs its extra: pip install -e ".[evaluate]"')

from lgin_edge import geometry
from lgin_edge.detectors.centerface import CenterFace
from lgin_edge.faces import Face
from training import evaluate
from training.dataset import labels
from training.evaluation import measures, report, temporal_consistency

SEED = 20240613
YEARS = (30.0, 70.0)
FRAMES = 6
#: A change that stands still on the face is found to flicker by this much at most, levels: bytes are rounded.
ROUNDING = 0.3


def still(side=192):
    """A made-up face without edges finer than some pixels, [side, side, 3], and its landmarks [5, 2]."""
    noise = np.random.default_rng(SEED).normal(140, 60, (side, side, 3))
    for step in (1, 2, 4):
        noise = measures.binomial(noise, step)
    return np.rint(noise).clip(0, 255).astype(np.uint8), geometry.TEMPLATE * side


@pytest.fixture(scope="module")
def film():
    return temporal_consistency.sequence(*still(), FRAMES)


def painted(strength=lambda call, year: 1.0):
    """An ager that pastes one pattern onto the face, fixed to the landmarks: 16 levels RMS; ``strength`` by call and year."""
    pattern = np.random.default_rng(SEED).normal(size=(64, 64, 3))
    for step in (1, 2):
        pattern = measures.binomial(pattern, step)
    pattern *= 16 / 127.5 / pattern.std()
    face = pattern.transpose(2, 0, 1)[None].astype(np.float32)
    nothing = np.zeros((1, 5, 3, 8, 8), np.float32)
    calls = iter(range(10**6))

    def age(frame, landmarks, years):
        face_here, call = Face(landmarks), next(calls)
        where = face_here.affine[None], face_here.boxes[None]
        deltas = [np.float32(strength(call, year)) * face for year in years]
        return [loose.region_paste(frame, *where, delta, nothing) for delta in deltas]

    return age


def seeing(film, shift):
    """A detector that finds each frame of a film, in turn, ``shift(i)`` px beside where the face is; None: not at all."""
    order = iter(range(10**6))

    def find(frame, color):
        i = next(order) % len(film)
        far = Face(film[i].landmarks + 500)
        moved = shift(i)
        return [far] if moved is None else [far, Face(film[i].landmarks + moved)]

    return find


def test_flicker_of_known_pictures():
    x = np.array([[3.0, 4.0], [5.0, 4.0], [3.0, 4.0], [5.0, 4.0]])
    assert temporal_consistency.flicker(x) == pytest.approx((np.sqrt(0.5), 4))
    assert temporal_consistency.flicker(x[:1]) == (0, pytest.approx(np.sqrt(12.5)))


def test_the_film_shows_the_still_where_its_landmarks_say_and_moves_by_fractions(film):
    frame, landmarks = still()
    first = temporal_consistency.in_face(frame, landmarks)
    places = np.array([moved.landmarks for moved in film])
    assert {moved.frame.shape for moved in film} == {(160, 160, 3)}
    for moved in film:
        again = temporal_consistency.in_face(moved.frame, moved.landmarks)
        assert np.corrcoef(first, again)[0, 1] > 0.995
        assert 0 < moved.landmarks.min() < moved.landmarks.max() < 160
    sizes = np.linalg.norm(places[:, 1] - places[:, 0], axis=1)
    assert 1.03 < sizes.max() / sizes.min() < 1.07
    assert 3 < np.ptp(places[:, 2], axis=0).max() < 10
    assert len({round(x % 1, 1) for x in places[:, 2].ravel()}) > 3


def test_frames_at_a_stills_own_resolution_would_shimmer(monkeypatch):
    """Why the still is blurred and reduced: the finest detail that it can hold, made to move."""
    landmarks = geometry.TEMPLATE * 192
    frame = np.random.default_rng(SEED).integers(60, 196, (192, 192, 3), np.uint8)

    def shimmer():
        return temporal_consistency.flicker(
            np.array(
                [
                    temporal_consistency.in_face(*moved)
                    for moved in temporal_consistency.sequence(frame, landmarks, FRAMES)
                ]
            )
        )[0]

    soft = shimmer()
    monkeypatch.setattr(temporal_consistency, "_REDUCTION", 1.0)
    monkeypatch.setattr(temporal_consistency, "binomial", lambda x, step: x)
    assert soft < 0.25 * shimmer()


def test_doing_nothing_is_steady(film):
    result = temporal_consistency.person(evaluate.do_nothing, seeing(film, lambda i: (2, 0)), film, YEARS)
    for kind in ("exact", "detected"):
        assert result[kind] == {"flicker": [0, 0], "signal": [0, 0]}


def test_a_change_that_stands_still_on_the_face_is_steady_and_one_that_comes_and_goes_is_not(film):
    exact = seeing(film, lambda i: (0, 0))
    result = temporal_consistency.person(
        painted(lambda call, year: 1.0 if year < 50 else 1 + 0.25 * (-1) ** call), exact, film, YEARS
    )
    assert result["exact"]["signal"] == pytest.approx([16, 16], rel=0.15)
    assert result["exact"]["flicker"][0] < ROUNDING
    assert result["exact"]["flicker"][1] == pytest.approx(result["exact"]["signal"][1] / 4, rel=0.05)
    assert result["detected"] == result["exact"]
    assert (result["missed"], result["jitter"]) == (0, pytest.approx(0, abs=1e-9))


def test_jitter_of_the_landmarks_costs_flicker_but_their_bias_does_not(film):
    eyes = np.mean([np.linalg.norm(moved.landmarks[1] - moved.landmarks[0]) for moved in film])

    def measured(shift):
        return temporal_consistency.person(painted(), seeing(film, shift), film, YEARS)

    beside = measured(lambda i: (1.0, 0))
    little, much = (measured(lambda i, by=by: (by * (-1) ** i, 0)) for by in (0.25, 0.75))
    assert beside["detected"]["flicker"][0] < ROUNDING
    assert beside["jitter"] < 0.2
    assert little["jitter"] == pytest.approx(100 * 0.25 / eyes, rel=0.05)
    assert much["jitter"] == pytest.approx(100 * 0.75 / eyes, rel=0.05)
    assert little["exact"] == much["exact"] == beside["exact"]
    assert much["detected"]["flicker"][0] > 2 * little["detected"]["flicker"][0] > 2 * ROUNDING


def test_a_frame_in_which_no_face_is_found_stays_as_it_is_and_counts(film):
    result = temporal_consistency.person(painted(), seeing(film, lambda i: None if i == 2 else (0, 0)), film, YEARS)
    assert result["missed"] == 1
    signal = 16 * (FRAMES - 1) / FRAMES  # gone in one of the frames: the RMS about the mean follows from that
    assert result["detected"]["signal"] == pytest.approx([signal] * 2, rel=0.15)
    assert result["detected"]["flicker"] == pytest.approx([signal / np.sqrt(FRAMES - 1)] * 2, rel=0.15)
    nobody = temporal_consistency.person(painted(), lambda frame, color: [], film, YEARS)
    assert (nobody["missed"], nobody["jitter"]) == (FRAMES, None)
    assert nobody["detected"]["signal"] == [0, 0]


def test_a_real_face_is_found_in_its_film(astronaut):
    (face,) = CenterFace()(astronaut)[:1]
    film = temporal_consistency.sequence(astronaut, face.landmarks, 4)
    result = temporal_consistency.person(evaluate.do_nothing, CenterFace(), film, YEARS)
    assert result["missed"] == 0
    assert 0 < result["jitter"] < 3
    assert 0 < result["source"] < 2


def test_measure_sums_up_and_the_report_says_it(tmp_path):
    from PIL import Image

    frame, landmarks = still()
    rows = []
    for name in ("a", "b"):
        Image.fromarray(frame).save(tmp_path / f"{name}.png")
        rows.append(
            labels.Photo(
                tmp_path / f"{name}.png", name, 384, "test", name, "F", 40.0, "dated", "us", landmarks=landmarks
            )
        )
    film = temporal_consistency.sequence(frame, landmarks, FRAMES)
    detector = seeing(film, lambda i: None if i == 2 else (0.5 * (-1) ** i, 0))
    found = temporal_consistency.measure(painted(), rows, YEARS, (0, 4), detector, FRAMES)
    assert (found["n"], found["frames"], found["missed"]) == (2, FRAMES, 2)
    assert found["detected"]["flicker"][0] > 10 * found["exact"]["flicker"][0]
    assert found["exact"]["ratio"][0] == pytest.approx(found["exact"]["flicker"][0] / 16, rel=0.15)
    assert [person["file"] for person in found["people"]] == ["a", "b"]
    idle = temporal_consistency.measure(evaluate.do_nothing, rows[:1], YEARS, (0, 4), detector, FRAMES)
    assert idle["exact"] == idle["detected"] == {"flicker": [0, 0], "signal": [0, 0], "ratio": [None, None]}
    assert temporal_consistency.measure(evaluate.do_nothing, [], YEARS, (0, 4)) is None
    groups = [{"label": label, "center": 0} for label in "pqrst"]
    for one, missed in ((found, "2 of 12"), (idle, "1 of 6")):
        text = report.temporal_consistency({"groups": groups, "temporal_consistency": one})
        assert f"stay as they are: {missed}." in text
        assert "| aged to | p | t |" in text
        assert f"| detected: flicker | {one['detected']['flicker'][0]} |" in text
    assert report.temporal_consistency({"groups": groups}) == ""  # a report from before it was measured
