"""``Transformer.estimate_age`` and the age model behind it."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import loose
import models
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from lgin_edge import (
    AgeEstimate,
    BackendError,
    ClosedError,
    Face,
    ImageError,
    InputError,
    ModelError,
    Transformer,
    geometry,
)
from lgin_edge import age_estimator as module
from lgin_edge.age_estimator import AgeModel
from lgin_edge.inference import onnxruntime as backend
from lgin_edge.models.onnx_file import OnnxFile

Image8 = npt.NDArray[np.uint8]

#: A face square of 100 px whose top left corner is (20, 30).
LANDMARKS = geometry.TEMPLATE * 100 + (20, 30)
CENTERS = np.array([group.center for group in models.GROUPS])


def expected(level: float) -> npt.NDArray[np.float64]:
    """Probabilities of the test model for a face of one grey level."""
    weights = np.exp(models.SLOPES.astype(np.float64) * (level / 127.5 - 1))
    return weights / weights.sum()


def plain(level: int, shape: tuple[int, ...] = (160, 200, 3)) -> Image8:
    return np.full(shape, level, np.uint8)


@pytest.mark.parametrize(
    ("level", "group", "label"),
    [(0, 0, "under 35"), (60, 0, "under 35"), (200, 4, "65 and over"), (255, 4, "65 and over")],
)
def test_known_answers(tiny: Transformer, level: int, group: int, label: str) -> None:
    (one,) = tiny.estimate_age(plain(level), landmarks=LANDMARKS)
    assert isinstance(one, AgeEstimate)
    np.testing.assert_allclose(one.probability, expected(level), atol=1e-5)
    assert sum(one.probability) == pytest.approx(1, abs=1e-9)
    assert one.years == pytest.approx(expected(level) @ CENTERS, abs=1e-3)
    assert 30 <= one.years <= 70
    assert (one.group, one.label) == (group, label)


def test_only_the_square_of_the_face_counts(tiny: Transformer) -> None:
    image = plain(255)
    image[29:131, 19:121] = 0  # and a pixel around it, for the bilinear samples at its edge
    (dark,) = tiny.estimate_age(image, landmarks=LANDMARKS)
    assert dark.probability == pytest.approx(expected(0), abs=1e-5)


def test_the_model_sees_the_face_view_of_the_kernels(tiny: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pixels as the transformer's face view, at this model's size."""

    seen = []
    run = AgeModel.run
    monkeypatch.setattr(AgeModel, "run", lambda self, face: (seen.append(face.copy()), run(self, face))[1])
    image = np.random.default_rng(2).integers(0, 256, (160, 200, 3), dtype=np.uint8)
    tiny.estimate_age(image, landmarks=[LANDMARKS + i for i in range(6)])
    assert [len(views) for views in seen] == [4, 2]  # a crowd goes through the model in pieces
    affines = np.array([geometry.fit_similarity(LANDMARKS + i) for i in range(6)])
    boxes = np.tile(np.array(geometry.REGION_BOXES), (6, 1, 1))
    face, _ = loose.reference_crop(image, affines, boxes, face_size=models.AGE_S)
    from tolerances import assert_close

    assert_close(np.concatenate(seen), face, kind="view")


def test_one_estimate_a_face_in_their_order(tiny: Transformer, astronaut: Image8) -> None:
    two = np.concatenate([astronaut // 3, 255 - astronaut[:, ::-1] // 3], axis=1)
    faces = tiny.detect(np.concatenate([astronaut, astronaut[:, ::-1]], axis=1))
    assert len(faces) == 2
    left = int(faces[0].box[0] > 512)  # which of the two is in the dark half
    estimates = tiny.estimate_age(two, faces=faces)
    assert estimates[left].years < 50 < estimates[1 - left].years
    assert tiny.estimate_age(two, faces=faces[::-1]) == estimates[::-1]
    assert tiny.last_call.faces == faces[::-1]
    assert tiny.estimate_age(two, faces=[]) == []


def test_faces_are_found(tiny: Transformer, astronaut: Image8) -> None:
    estimates = tiny.estimate_age(astronaut)
    assert len(estimates) == len(tiny.last_call.faces) == 1
    assert set(tiny.last_call.times) == {"detect", "crop", "model", "total"}
    assert tiny.estimate_age(Image.fromarray(astronaut)) == estimates
    assert tiny.estimate_age(astronaut[..., ::-1], faces=tiny.last_call.faces, color="bgr") == estimates


def test_no_face(tiny: Transformer) -> None:
    assert tiny.estimate_age(plain(128)) == []
    assert tiny.last_call.faces == []
    assert set(tiny.last_call.times) == {"detect", "total"}


def test_nv12(tiny: Transformer) -> None:
    frame = np.full((240, 200), 128, np.uint8)
    frame[:160] = 16  # black
    (one,) = tiny.estimate_age(frame, landmarks=LANDMARKS, color="nv12")
    assert one.probability == pytest.approx(expected(0), abs=1e-3)


@pytest.mark.parametrize(
    ("image", "arguments", "message"),
    [
        (plain(0, (8, 8)), {}, "np.stack"),
        ("portrait.jpg", {}, "portrait.jpg: no such file"),
        (plain(0), {"landmarks": LANDMARKS, "faces": []}, "not both"),
        (plain(0), {"faces": [LANDMARKS]}, "list of Face"),
        (plain(0), {"landmarks": LANDMARKS * 1e7}, "landmarks"),
    ],
)
def test_wrong_input(tiny: Transformer, image: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, ImageError), match=message):
        tiny.estimate_age(image, **arguments)


def test_the_model_is_loaded_once_and_only_when_it_is_used(
    tiny_model: Path, tiny_age_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    open_session = backend.open_session

    def watched(file: OnnxFile, **options: Any) -> Any:
        opened.append((file.path, options))
        return open_session(file, **options)

    monkeypatch.setattr(backend, "open_session", watched)
    with Transformer(tiny_model, age_model=tiny_age_model, detector=lambda frame, color: [], threads=3) as t:
        t.age(plain(100), group=1, landmarks=LANDMARKS)
        assert [path for path, _ in opened] == [tiny_model]
        start = threading.Barrier(8)

        def work(level: int) -> list[AgeEstimate]:
            start.wait()
            return t.estimate_age(plain(level), landmarks=LANDMARKS)

        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(work, range(0, 160, 20)))
        for (one,), level in zip(together, range(0, 160, 20), strict=True):
            assert one.probability == pytest.approx(expected(level), abs=1e-5)
    assert [path for path, _ in opened] == [tiny_model, tiny_age_model]
    assert opened[1][1] == {"providers": ("CPUExecutionProvider",), "threads": 3}


def test_close_frees_the_age_model(tiny_model: Path, tiny_age_model: Path) -> None:
    t = Transformer(tiny_model, age_model=tiny_age_model)
    t.estimate_age(plain(100), landmarks=LANDMARKS)
    model = t._age_model
    assert model is not None
    session = weakref.ref(model._session)
    t.close()
    t.close()
    gc.collect()
    assert session() is None
    with pytest.raises(ClosedError):
        t.estimate_age(plain(100), landmarks=LANDMARKS)
    with pytest.raises(ClosedError):
        model.run(np.zeros((1, 3, models.AGE_S, models.AGE_S), np.float32))


def test_a_model_of_another_kind_is_refused(tiny_model: Path, tiny_age_model: Path) -> None:
    with pytest.raises(
        ModelError, match=r"kind 'age', expected 'transformer': .*Transformer\(age_model=FILE\)"
    ) as caught:
        Transformer(tiny_age_model)
    assert str(tiny_age_model) in str(caught.value)
    with (
        Transformer(tiny_model, age_model=tiny_model) as t,
        pytest.raises(ModelError, match=r"kind 'transformer', expected 'age': .*Transformer\(model=FILE\)") as caught,
    ):
        t.estimate_age(plain(0))
    assert str(tiny_model) in str(caught.value)


def test_a_missing_model_is_explained(tiny_model: Path, tmp_path: Path) -> None:
    for name, message in (
        ("missing.onnx", r"age_model=FILE.*training\.export"),
        ("age.plan", "needs an .onnx age model"),
    ):
        with (
            Transformer(tiny_model, age_model=tmp_path / name) as t,
            pytest.raises(ModelError, match=message) as caught,
        ):
            t.estimate_age(plain(0), faces=[])  # whatever the picture holds
        assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"description": None}, "no description"),
        ({"description": "{"}, "description"),
        ({"description": models.describe_age(face_size=64).to_json()}, "64"),
        ({"description": models.describe_age(groups=models.GROUPS[:4]).to_json()}, "probability"),
        ({"description": models.describe_age(template=((0.0, 0.0),) * 5).to_json()}, "canonical face"),
        ({"batch": 1}, "dynamic N"),
        ({"output": "logits_of_age"}, "expected the outputs"),
    ],
    ids=str,
)
def test_bad_models(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    path = models.save_age(tmp_path / "bad.onnx", **options)
    with pytest.raises(ModelError, match=message) as caught:
        AgeModel(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("scale", [2.0, -1.0, float("nan")])
def test_what_is_no_probability_is_refused(tmp_path: Path, scale: float) -> None:
    model = AgeModel(models.save_age(tmp_path / "bad.onnx", scale=scale))
    with pytest.raises(ModelError, match="expected 5 probabilities"):
        model.run(np.zeros((2, 3, models.AGE_S, models.AGE_S), np.float32))


def test_a_run_that_fails(tiny_age_model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BackendError, match="failed on 2 faces"):
        AgeModel(tiny_age_model).run(np.zeros((2, 3, 8, 8), np.float32))
    assert capfd.readouterr() == ("", "")


def test_bundled_model(bundled: Transformer, astronaut: Image8) -> None:
    assert module.WEIGHTS.stat().st_size < 2.5e6
    (one,) = bundled.estimate_age(astronaut)
    groups = AgeModel().description.groups
    assert len(one.probability) == len(groups)
    assert one.label == groups[one.group].label
    assert groups[0].center <= one.years <= groups[-1].center
    # Of a picture and its smaller self it thinks the same.
    smaller = np.asarray(Image.fromarray(astronaut).resize((384, 384), Image.Resampling.BOX))
    face = Face(bundled.last_call.faces[0].landmarks * 0.75)
    assert bundled.estimate_age(smaller, faces=[face])[0].years == pytest.approx(one.years, abs=2)
