"""Judging of pairs: measures with known answers on made-up faces, and a report of a source whose faults are known."""

import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install -e .[train]")
pytest.importorskip("scipy", reason='judging needs the extra of the evaluation: pip install -e ".[evaluate]"')
pytest.importorskip("jinja2", reason='judging needs the extra of the evaluation: pip install -e ".[evaluate]"')

from training import judge
from training.dataset import labels
from training.judging import anatomy, measures, report, two_sample
from training.judging.anatomy import SIDE, Anatomy, Meshes

SEED = 20261126


def made_up_points():
    """468 vertices: outlines of oval, eyes, brows and lips where faces have them, the others spread over the face."""
    rng = np.random.default_rng(SEED)
    radius, angle = np.sqrt(rng.random(anatomy.VERTICES)), 2 * np.pi * rng.random(anatomy.VERTICES)
    points = np.stack([0.5 + 0.2 * radius * np.sin(angle), 0.56 - 0.28 * radius * np.cos(angle)], -1)

    def ring(indices, x, y, rx, ry):
        turn = 2 * np.pi * np.arange(len(indices)) / len(indices)
        points[list(indices)] = np.stack([x + rx * np.sin(turn), y - ry * np.cos(turn)], -1)

    ring(anatomy.OVAL, 0.5, 0.56, 0.21, 0.3)
    ring(anatomy.LIPS, 0.5, 0.73, 0.08, 0.03)
    for eye, brow, x in zip(anatomy.EYES, anatomy.BROWS, (0.38, 0.62), strict=True):
        ring(eye, x, 0.47, 0.05, 0.02)
        ring(brow, x, 0.41, 0.06, 0.01)
    return points


def made_up_face(seed=SEED):
    """[SIDE, SIDE, 3] in [0, 1]: skin with grain, dark hair with strands, a plain background."""
    rng = np.random.default_rng(seed)
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    picture = np.full((SIDE, SIDE, 3), (0.5, 0.6, 0.7))
    head = ((x - 0.5) / 0.3) ** 2 + ((y - 0.5) / 0.42) ** 2 < 1
    picture[head] = np.array((0.12, 0.1, 0.09)) + 0.05 * np.sin(300 * x[head])[:, None]
    face = ((x - 0.5) / 0.21) ** 2 + ((y - 0.56) / 0.3) ** 2 < 1
    picture[face] = (0.75, 0.55, 0.45)
    return np.clip(picture + rng.normal(0, 0.012, (SIDE, SIDE, 1)) * face[..., None], 0, 1), head


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Four people, two of them old, in the test split and four in train; all with a made-up face."""
    from PIL import Image

    root = tmp_path_factory.mktemp("faces")
    found = []
    for i in range(8):
        picture, _ = made_up_face(i)
        path = root / f"{i}.png"
        Image.fromarray(np.rint(picture * 255).astype(np.uint8)).save(path)
        age = (30.0, 70.0)[i % 2]
        split = "test" if i < 4 else "train"
        found.append(
            labels.Photo(path, path.name, SIDE, split, f"p{i}", "MF"[i % 2], age, "stated", ("us", "vol")[i // 2 % 2])
        )
    return found


@pytest.fixture(scope="module")
def meshes(photos, tmp_path_factory):
    path = tmp_path_factory.mktemp("mesh") / "mesh.npz"
    points = np.zeros((len(photos), 478, 3), np.float32)
    points[:, : anatomy.VERTICES, :2] = made_up_points()
    person = np.zeros((256, 256), np.uint8)
    y, x = (np.mgrid[:256, :256] + 0.5) / 256
    person[((x - 0.5) / 0.3) ** 2 + ((y - 0.5) / 0.42) ** 2 < 1] = 255
    names = np.array([photo.key for photo in photos])
    np.savez(path, name=names, landmarks=points, person=np.repeat(person[None], len(photos), 0))
    return Meshes(path)


@pytest.fixture
def face(photos, meshes):
    return meshes.of(photos[0])


def test_a_file_that_is_no_mesh_file_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", name=np.array(["a"]))
    with pytest.raises(ValueError, match="landmarks, person is missing"):
        Meshes(tmp_path / "other.npz")


def test_skin_and_hair_are_where_they_were_drawn(face):
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    assert face.skin[int(0.6 * SIDE), int(0.42 * SIDE)]
    assert not face.skin[~face.oval].any()
    assert face.hair[int(0.15 * SIDE), SIDE // 2]
    assert not face.hair[y > 0.75].any()
    assert not face.hair[((x - 0.5) / 0.3) ** 2 + ((y - 0.5) / 0.42) ** 2 > 1.1].any()
    assert 0.08 < face.hair.mean() < 0.3


def test_mesh_space_undoes_where_a_face_lies(meshes, photos):
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    blob = np.exp(-((x - 0.45) ** 2 + (y - 0.6) ** 2) / 0.03**2)
    moved = Anatomy(made_up_points() + np.array((0.05, 0.02)), np.ones((SIDE, SIDE)), photos[0])
    unfolded = meshes.unfold(np.roll(blob, (round(0.02 * SIDE), round(0.05 * SIDE)), (0, 1)), moved)
    inside = meshes.regions["cheeks"]
    np.testing.assert_allclose(unfolded[inside], blob[inside], atol=0.03)
    assert not unfolded[0].any()


def test_the_same_lines_on_everybody_are_a_stencil_and_different_ones_are_not(meshes):
    rng = np.random.default_rng(SEED)
    mask = np.ones((SIDE, SIDE), bool)
    line = rng.normal(size=(SIDE, SIDE))
    own = [rng.normal(size=(SIDE, SIDE)) for _ in range(4)]
    assert measures.stencil(meshes, [line] * 3, [mask] * 3) == dict.fromkeys(anatomy.REGIONS, 1.0)
    assert max(abs(v) for v in measures.stencil(meshes, own, [mask] * 4).values()) < 0.03
    half = measures.stencil(meshes, [line + one for one in own], [mask] * 4)
    assert half["forehead"] == pytest.approx(0.5, abs=0.03)
    assert measures.stencil(meshes, own, [np.zeros_like(mask)] * 4) == dict.fromkeys(anatomy.REGIONS)


def test_texture_counts_octaves(meshes, face):
    picture = face.view
    soft = measures.Unfolded(meshes, face, picture)
    strong = measures.Unfolded(meshes, face, picture)
    mean = measures.blur_within(soft.values, soft.skin, 12)
    strong.values = mean + 2 * (soft.values - mean)
    before, after = measures.energies(meshes, soft)["cheeks"], measures.energies(meshes, strong)["cheeks"]
    np.testing.assert_allclose(np.array(after[:3]) - before[:3], 1, atol=0.05)


def test_hair_that_greys_keeps_or_loses_its_strands(face):
    assert measures.hair(face, face.view)["changed"] == 0
    assert measures.hair(face, face.view)["strands_kept"] == 1
    luma = (face.view @ measures.LUMA)[..., None]
    grey = np.where(face.hair[..., None], luma + 0.3, face.view)
    found = measures.hair(face, grey)
    assert found["dark"]
    assert judge.greyed(found)
    assert found["chroma_kept"] < 0.2
    assert found["strands_kept"] == pytest.approx(1, abs=0.25)
    fog = np.where(face.hair[..., None], 0.5, face.view)
    assert measures.hair(face, fog)["strands_kept"] < 0.5


def test_rims_are_seen_where_nothing_should_change(face):
    inside = np.where(face.skin[..., None], 1.0, face.view)
    assert measures.rims(face, inside) == {"beside": 0.0, "jaw": 0.0}
    ring = (face.outside > 0.01) & (face.outside < 0.02)
    halo = np.where(ring[..., None], face.view + 20 / 255, face.view)
    assert measures.rims(face, halo)["beside"] == pytest.approx(20, abs=0.1)


def test_paint_is_colour_and_what_is_finer_than_a_wrinkle(face):
    rng = np.random.default_rng(SEED)
    tint = face.view + np.array((0.114 / 2, 0.0, -0.299 / 2))  # of no luma
    np.testing.assert_allclose(measures.without_paint(face.view, np.clip(tint, 0, 1)), face.view, atol=0.02)
    noise = rng.normal(0, 0.05, (SIDE, SIDE, 1))
    left = measures.without_paint(np.full((SIDE, SIDE, 3), 0.5), 0.5 + np.repeat(noise, 3, 2)) - 0.5
    assert left.std() < 0.3 * noise.std()
    lit = measures.without_paint(np.full((SIDE, SIDE, 3), 0.5), np.full((SIDE, SIDE, 3), 0.6))
    np.testing.assert_allclose(lit, 0.6, atol=1e-9)


def test_two_samples_of_different_texture_are_told_apart_and_of_one_are_not():
    rng = np.random.default_rng(SEED)
    count = sum(map(len, two_sample.PLACES.values()))

    def people(n, sigma):
        return [rng.normal(0, sigma, (count, 3, two_sample.PATCH, two_sample.PATCH)) for _ in range(n)]

    assert min(two_sample.separability(people(8, 0.3), people(8, 0.1), steps=40).values()) > 0.9
    assert max(two_sample.separability(people(8, 0.2), people(8, 0.2), steps=40).values()) < 0.75


def test_area_under_roc_by_its_definition():
    scores, truth = np.array([3.0, 1.0, 2.0, 2.0]), np.array([1, 0, 1, 0])
    assert two_sample.area_under_roc(scores, truth) == (1 + 1 + 1 + 0.5) / 4


class Warmth:
    """An "estimator" that reads how bright the hair is."""

    name = "warmth"

    def __call__(self, frames, landmarks):
        return np.array([20 + frame[40:60, 150:230].mean() / 2 for frame in frames])


def test_a_source_is_judged_and_the_worst_come_first(photos, meshes, tmp_path):
    real = judge.RealFaces(meshes, photos, quiet=True)
    chosen = [photo for photo in photos if photo.split == "test"]

    def source(photo, years):
        """Greys the hair of all but the first, on whom it paints a rim; has no picture of the last at 30."""
        view, anatomy_ = meshes.of(photo).view, meshes.of(photo)
        if photo == chosen[-1] and years == 30:
            return None
        aged = view + np.where(anatomy_.hair[..., None], 0.3, 0.0) * (years > 50 and photo != chosen[0])
        if photo == chosen[0]:
            aged = np.where((anatomy_.outside > 0.004)[..., None], view + 0.1, view)
        return np.rint(np.clip(aged, 0, 1) * 255).astype(np.uint8)

    result = judge.judge(
        source, chosen, [30, 70], meshes, real, [Warmth()], images=tmp_path / "strips", two_samples=False, quiet=True
    )
    assert result["people"][0]["name"] == chosen[0].name
    assert any("rim beside" in fault["text"] for fault in result["people"][0]["faults"])
    at_70 = result["slices"]["all"]["ages"]["70"]
    assert (at_70["n"], at_70["dark_hair"], at_70["greyed"]) == (4, 4, 0.75)
    assert at_70["rim_beside_over_2"] == 0.25
    assert result["slices"]["all"]["ages"]["30"]["n"] == 3
    assert set(result["slices"]) >= {
        "source us",
        "source vol",
        "gender F",
        "gender M",
        "age under 35",
        "age 65 and over",
    }
    result |= {"source": "made-up", "split": "test"}
    report.write(result, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["ages"] == [30, 70]
    page = (tmp_path / "report.html").read_text()
    assert page.index(f"<b>{chosen[0].name}</b>") < page.index(f"<b>{chosen[1].name}</b>")
    assert page.count("<img") == 4 == len(list((tmp_path / "strips").iterdir()))
    assert "warmth: read over asked" in page
