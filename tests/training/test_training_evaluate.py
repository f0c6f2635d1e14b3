"""The evaluation: agers whose effect is known, the report, and the third-party judges where they are."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="training needs torch: pip install -e .[train]")
pytest.importorskip("skimage")

from lgin_edge import geometry
from training import data, evaluate
from training.dataset import labels
from training.evaluation import estimators, measures, report

SEED = 20240613
YEARS = [group.center for group in data.GROUPS]
IDENTITY = np.array([[96.0, 0.0, 0.0], [0.0, 96.0, 0.0]])


def spectacled(side=384, glasses=1.0, light=0.0):
    """A made-up face that fills a picture [side, side, 3]: grain, two dark eyes, and rims with a bridge as dark as told."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    face = 150 + light + np.random.default_rng(SEED).normal(0, 1.5, (side, side))
    for eye_x, eye_y in geometry.TEMPLATE[:2]:
        face[((x - eye_x) / 0.04) ** 2 + ((y - eye_y) / 0.02) ** 2 < 1] -= 90
        rim = np.abs(np.hypot((x - eye_x) / 0.10, (y - eye_y - 0.02) / 0.065) - 1) < 0.06
        face[rim] -= 60 * glasses
    face[(np.abs(x - 0.5) < 0.03) & (np.abs(y - 0.47) < 0.006)] -= 60 * glasses
    return np.repeat(face.clip(0, 255).astype(np.uint8)[..., None], 3, 2)


def test_rims_that_fade_blur_or_move_lose_their_edges():
    affine = np.array([[384.0, 0, 0], [0, 384.0, 0]])
    frame = spectacled()

    def kept(after):
        return measures.edges_kept(*(measures.rim_edges(one, affine) for one in (frame, after)))

    assert kept(frame) == 1
    assert kept(spectacled(light=30)) == pytest.approx(1, abs=0.01)
    assert kept(spectacled(glasses=0.5)) == pytest.approx(0.5, abs=0.03)
    assert kept(spectacled(glasses=0)) < 0.05  # though the eyes are all there
    blurred = measures.binomial(measures.binomial(frame.astype(float), 1), 2).astype(np.uint8)
    assert kept(blurred) < 0.65
    assert kept(np.roll(frame, 6, axis=0)) < 0.5
    noisy = (frame + np.random.default_rng(SEED).normal(0, 6, frame.shape)).clip(0, 255).astype(np.uint8)
    assert kept(noisy) > 0.95
    half = frame.copy()  # the left rim gone, the right one darker: the one does not make up for the other
    half[:, :192] = spectacled(glasses=0)[:, :192]
    half[:, 192:] = spectacled(glasses=1.8)[:, 192:]
    assert kept(half) == pytest.approx(0.5, abs=0.06)
    flat = np.full((384, 384, 3), 90, np.uint8)
    assert measures.edges_kept(*[measures.rim_edges(flat, affine)] * 2) == 1


class Brightness:
    """An "estimator" for which brighter is older: half a year a level over the cheeks."""

    name, about = "brightness", "of the tests"

    def __call__(self, frames, landmarks):
        level = np.array([frame[50:66, 30:66].mean() for frame in frames], np.float64)
        return level / 2


class Colours:
    """An "embedder": how the colour of the upper rows differs from that of most pictures."""

    name, threshold = "colours", 30.0

    def __call__(self, frames, landmarks):
        return np.array([frame[:30].mean((0, 1)) for frame in frames]) - (161, 126, 106)


def brighter(frame, landmarks, years):
    """Adds a level for each year over 50 in the middle of the face, nowhere else."""
    affine = geometry.fit_similarity(landmarks)
    at = measures.canonical_positions(affine, *frame.shape[:2])
    middle = ((at > 0.2) & (at < 0.8)).all(-1)
    return [np.where(middle[..., None], (frame + (year - 50.0)).clip(0, 255), frame).astype(np.uint8) for year in years]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Two dozen made-up pictures of 96 px in three splits, a person twice in train."""
    root = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(SEED)
    result = []
    for i in range(24):
        path = root / f"{i:02}.png"
        picture = rng.normal((150, 115, 95), 4, (96, 96, 3)) + i
        picture[:30] += rng.normal(0, 12, 3)  # what the made-up embedder tells people by
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(path)
        split, size, kind = ("train", "val", "test")[i % 3], (384, 192)[i % 4 == 0], ("dated", "estimated")[i % 2]
        age = 30.0 + 2 * i
        result.append(
            labels.Photo(
                path,
                path.name,
                size,
                split,
                f"p{i}",
                "MF"[i % 2],
                age,
                kind,
                "made-up",
                landmarks=geometry.TEMPLATE * 96,
            )
        )
    return result


@pytest.fixture(scope="module")
def judges(rows):
    embedder = Colours()
    vectors = np.concatenate([embedder([row.frame()], row.landmarks) for row in rows])
    people = [f"p{i // 2}" for i in range(len(rows))]
    pairs = measures.pairs(vectors, people, [row.gender for row in rows])
    return evaluate.Judges([Brightness()], embedder, {"brightness": 0.0}, pairs)


@pytest.fixture(scope="module")
def brightened(rows, judges):
    return evaluate.evaluate(brighter, labels.of_split(rows, "test"), judges, quiet=True, moved=1)


def test_a_brightening_ager_is_measured_as_what_it_does(brightened):
    every = brightened["slices"]["all"]
    assert every["n"] == 8
    assert every["age"]["brightness"]["slope"] == pytest.approx(0.5, abs=0.02)
    assert every["age"]["brightness"]["rank"] == every["age"]["brightness"]["rising"] == 1
    assert every["skin"]["lab"][0][0] < -3
    assert every["skin"]["lab"][6][0] > 3
    assert abs(every["skin"]["lab"][3][0]) < 0.1
    assert every["sharpness"]["n"] == sum(person["sharp"] for person in brightened["people"]) < 8
    assert max(every["background"]) == 0
    assert brightened["worst"]["not_rising"] == {"brightness": []}
    assert sum(cut["n"] for name, cut in brightened["slices"].items() if name.startswith("gender")) == 8
    assert sum(cut["n"] for name, cut in brightened["slices"].items() if name.startswith("tone")) == 8


def test_doing_nothing_keeps_everything_and_reaches_no_age(rows, judges):
    result = evaluate.evaluate(evaluate.do_nothing, labels.of_split(rows, "test"), judges, quiet=True, moved=1)
    every = result["slices"]["all"]
    age = every["age"]["brightness"]
    assert age["slope"] == age["rank"] == age["rising"] == 0
    assert age["mae"] == age["nothing_mae"]
    assert every["identity"]["distance"] == [0] * 7
    assert every["identity"]["accepted"] == [1] * 7
    assert every["skin"]["de"] == [0] * 7
    assert every["sharpness"]["min"] == every["sharpness"]["max"] == [1] * 7
    assert len(result["worst"]["not_rising"]["brightness"]) == 8


def test_an_ager_that_dims_glasses_is_told_by_name(rows, judges, tmp_path):
    """Two of the people wear glasses; the ager dims those of one at 60 and takes them away at 70."""
    chosen = [replace(row, path=tmp_path / row.file, size=192) for row in labels.of_split(rows, "test")]
    bold, shy = chosen[1].file, chosen[2].file
    strength = {bold: 1.0, shy: 0.6}
    for row in chosen:
        Image.fromarray(spectacled(96, strength.get(row.file, 0))).save(row.path)
    chosen = [replace(row, tags=frozenset({"glasses"} if row.file in strength else ())) for row in chosen]

    def dimming(frame, landmarks, years):
        if frame.shape != (96, 96, 3) or (frame != spectacled(96)).any():
            return evaluate.do_nothing(frame, landmarks, years)
        return [spectacled(96, {60: 0.5, 70: 0.0}.get(year, 1.0)) for year in years]

    result = evaluate.evaluate(dimming, chosen, judges, quiet=True)
    assert [p["glasses"] for p in result["people"]] == [row.file in (bold, shy) for row in chosen]
    found = result["glasses"]
    assert (found["wearers"]["n"], found["others"]["n"]) == (2, 6)
    assert found["wearers"]["min"][:4] == found["others"]["median"][:4] == [1] * 4
    assert found["wearers"]["min"][4:6] == pytest.approx([0.5, 0.0], abs=0.1)
    assert found["least"] == {"file": bold, "group": 5, "value": found["wearers"]["min"][5]}
    assert [(e["file"], e["group"]) for e in result["worst"]["glasses, least edges kept"][:2]] == [(bold, 5), (bold, 4)]
    assert result["temporal_consistency"] is None  # nobody of them is sharp
    text = report.markdown(result)
    assert f"Least: {Path(bold).stem} to 65-74, {found['least']['value']}." in text
    assert "| with glasses, median | 2 |" in text
    assert "Not measured: none of these portraits is sharp" in text


def test_without_labels_nobody_is_said_to_wear_glasses(brightened):
    assert brightened["glasses"] is None
    assert not any("glasses" in person for person in brightened["people"])
    assert "glasses, least edges kept" not in brightened["worst"]
    assert "Glasses: not measured; none of these portraits" in report.markdown(brightened)


def test_an_ager_that_gives_too_few_pictures_is_refused(rows, judges):
    with pytest.raises(ValueError, match="7 pictures"):
        evaluate.evaluate(lambda frame, *_: [frame], rows[:1], judges, quiet=True)


def test_ages_come_out_alike_together_and_one_by_one(tiny, rows):
    ager, row = evaluate.ager_of(tiny), rows[0]
    centers = [group.center for group in tiny.groups]
    together = ager(row.frame(), row.landmarks, centers)
    apart = [ager(row.frame(), row.landmarks, [year])[0] for year in centers]
    assert len(together) == len(centers)
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_array_equal(one, other)
    assert any((one != row.frame()).any() for one in together)


def test_report_round_trip(brightened, tmp_path):
    pytest.importorskip("matplotlib", reason='its figures need the extra: pip install -e ".[evaluate]"')
    result = copy.deepcopy(brightened)
    result["model"] = {"file": "m.onnx", "name": "m", "split": "test", "limit": None}
    report.write(result, tmp_path)
    again = json.loads((tmp_path / "report.json").read_text())
    assert again == result
    text = (tmp_path / "report.md").read_text()
    assert report.markdown(again) == text
    for wanted in (
        "## Age",
        "## Identity",
        "## Temporal consistency",
        "## Failures",
        "gender F",
        "not a label",
    ):
        assert wanted in text
    assert "nan" not in text
    with Image.open(tmp_path / "age.png") as picture:
        assert picture.width > 300


def test_one_row_of_each_split_and_a_missing_folder(rows, tmp_path):
    assert len(labels.of_split(rows, "test", 3)) == 3
    with pytest.raises(ValueError, match="holdout"):
        labels.of_split(rows, "holdout")
    with pytest.raises(FileNotFoundError, match="--data"):
        labels.read(tmp_path)


@pytest.fixture(scope="module")
def real(portraits):
    rows = labels.read(portraits[0][0].parent.parent)
    assert len(labels.of_split(rows, "test")) == len(portraits)
    return labels.of_split(rows, "val", 16)


def turned(frame, landmarks, degrees=20):
    """The picture turned in a frame 1.7 times as wide; its landmarks there."""
    side, wide = len(frame), round(1.7 * len(frame))
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[c, -s], [s, c]])
    back = np.column_stack([turn.T, side / 2 - turn.T @ (wide / 2, wide / 2)])
    picture = Image.fromarray(frame).transform(
        (wide, wide), Image.Transform.AFFINE, back.ravel(), Image.Resampling.BICUBIC
    )
    return np.asarray(picture), (landmarks - side / 2) @ turn.T + wide / 2


def judge(make):
    try:
        return make()
    except estimators.MissingJudge as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("make", "worst"), [(estimators.AgeAndGender, 9.0), (estimators.FaceRes, 6.0)])
def test_estimators_know_real_ages(make, worst, real):
    estimator = judge(make)
    read = [estimator([row.frame()], row.landmarks)[0] for row in real]
    assert np.mean([abs(age - row.age) for age, row in zip(read, real, strict=True)]) < worst


def test_estimators_read_pictures_apart_and_wherever_the_face_is(real):
    row = real[0]
    frame = row.frame()
    wide, points = turned(frame, row.landmarks)
    for make in (estimators.AgeAndGender, estimators.FaceRes):
        estimator = judge(make)
        together = estimator([frame, frame[:, ::-1].copy()], row.landmarks)
        assert together[0] == pytest.approx(estimator([frame], row.landmarks)[0], abs=0.05)
        assert together[1] != pytest.approx(together[0], abs=0.01)
        assert estimator([wide], points)[0] == pytest.approx(together[0], abs=6)


def test_embedder_knows_a_turned_face_from_another(real):
    embedder = judge(estimators.Embedder)
    vectors = [embedder([row.frame()], row.landmarks)[0] for row in real[:3]]
    wide, points = turned(real[0].frame(), real[0].landmarks)
    assert np.linalg.norm(embedder([wide], points)[0] - vectors[0]) < 0.3
    assert np.linalg.norm(vectors[1] - vectors[0]) > 0.6
