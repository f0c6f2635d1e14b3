"""Pictures in, pictures out: what changes and what does not, chosen faces, threads, files, and the bundled weights."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import models
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms
from support.pictures import LANDMARKS, inside

from lgin_edge import AgeRangeWarning, ClosedError, Face, ImageError, InputError, Limits, Transformer, geometry
from lgin_edge.inference.cpu import CpuFramePath
from lgin_edge.inference.onnxruntime import OnnxBackend

Image8 = npt.NDArray[np.uint8]


def test_the_model_decides_what_changes(tiny: Transformer, noise: Image8) -> None:
    """Where both windows are 1 the picture shifts by exactly the model's residual, and outside the square by nothing."""
    mask = inside(noise.shape, [Face(LANDMARKS)])
    for group, shift in enumerate(models.SHIFTS):
        out = tiny.age(noise, group=group, landmarks=LANDMARKS)
        change = out.astype(int) - noise
        assert (change[~mask] == 0).all()
        middle = change[30 + 15 : 30 + 85, 20 + 15 : 20 + 85]
        assert (np.abs(middle - 127.5 * shift) <= 1).all()


def test_years_and_fractions_are_between(tiny: Transformer, noise: Image8) -> None:
    out = {age: tiny.age(noise, landmarks=LANDMARKS, **{key: age}) for key, age in (("group", 3.5), ("years", 62))}
    for age, shift in ((3.5, -0.3), (62, -0.24)):
        change = out[age][80, 70].astype(int) - noise[80, 70]
        assert (np.abs(change - 127.5 * shift) <= 1).all()


@pytest.mark.parametrize("options", [{"face_gain": -0.5}, {"patch_gain": -0.5}], ids=str)
def test_the_views_reach_the_model(tmp_path: Path, options: dict[str, float]) -> None:
    """With d = -x / 2 the contrast halves around 127.5, through the face's residual as through a region's."""
    y, x = np.mgrid[:160, :200]
    waves = 127.5 + 60 * np.sin(x / 9) * np.cos(y / 7)
    image = np.stack([waves, 255 - waves, waves], axis=-1).astype(np.uint8)
    with Transformer(models.save(tmp_path / "gain.onnx", **options)) as t:
        out = t.age(image, group=2, landmarks=LANDMARKS)
    # The middle of the forehead's box: no other region reaches there, and both windows are 1.
    part = np.s_[30 + 26 : 30 + 34, 20 + 41 : 20 + 59]
    before, after = image[part].astype(float) - 127.5, out[part].astype(float) - 127.5
    assert np.abs(before).max() > 30
    assert np.abs(after - before / 2).max() < 3


def test_timeline_is_every_group(tiny: Transformer, astronaut: Image8) -> None:
    pictures = tiny.timeline(astronaut)
    assert len(pictures) == len(tiny.groups) == 5
    for group, picture in enumerate(pictures):
        np.testing.assert_array_equal(picture, tiny.age(astronaut, group=group))


def test_timeline_encodes_each_face_once(tiny: Transformer, noise: Image8, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    run = OnnxBackend.run

    def watched(self: OnnxBackend, face: Any, patches: Any, boxes: Any, age: Any) -> Any:
        calls.append((face.shape, patches.shape, boxes.shape, age.shape))
        return run(self, face, patches, boxes, age)

    monkeypatch.setattr(OnnxBackend, "run", watched)
    tiny.timeline(noise, landmarks=[LANDMARKS, LANDMARKS + 20])
    assert calls == [((1, 3, 64, 64), (1, 5, 3, 32, 32), (1, 5, 4), (5, 5))] * 2
    calls.clear()
    tiny.age(noise, group=1, landmarks=[LANDMARKS + i for i in range(10)])
    assert [age[0] for *_, age in calls] == [4, 4, 2]  # a crowd goes through the model in pieces


def test_pieces_change_nothing(tiny: Transformer, tiny_model: Path, noise: Image8) -> None:
    many = [LANDMARKS + np.array([3 * i, i]) for i in range(6)]
    whole = tiny.age(noise, group=0, landmarks=many)
    with Transformer(tiny_model, limits=Limits(batch=1)) as one_by_one:
        np.testing.assert_array_equal(one_by_one.age(noise, group=0, landmarks=many), whole)


def test_strength(tiny: Transformer, noise: Image8) -> None:
    """Half the strength is half the change, and each face has its own."""
    two = [LANDMARKS, LANDMARKS + 110]
    grey = np.full_like(noise, 128)
    whole, half, mixed = (tiny.age(grey, group=0, landmarks=two, strength=s) for s in (1, 0.5, [1, 0]))
    change = whole.astype(int) - grey
    assert change.max() > 20
    assert np.abs((half.astype(int) - grey) - change / 2).max() <= 1
    np.testing.assert_array_equal(mixed, tiny.age(grey, group=0, landmarks=two[:1]))
    np.testing.assert_array_equal(tiny.age(grey, group=0, landmarks=two, strength=0), grey)


def test_the_input_is_left_alone(tiny: Transformer, astronaut: Image8) -> None:
    image = astronaut.copy()
    out = tiny.age(image, group=4)
    np.testing.assert_array_equal(image, astronaut)
    assert not np.shares_memory(out, image)
    assert (out != image).any()


def test_out(tiny: Transformer, noise: Image8) -> None:
    many = [LANDMARKS + np.array([3 * i, i]) for i in range(6)]  # overlapping, and more than one piece
    wanted = tiny.age(noise, group=0, landmarks=many)
    other = np.zeros_like(noise)
    assert tiny.age(noise, group=0, landmarks=many, out=other) is other
    np.testing.assert_array_equal(other, wanted)
    same = noise.copy()
    assert tiny.age(same, group=0, landmarks=many, out=same) is same
    np.testing.assert_array_equal(same, wanted)
    overlapping = np.zeros((161, 200, 3), np.uint8)
    overlapping[:-1] = noise
    tiny.age(overlapping[:-1], group=0, landmarks=many, out=overlapping[1:])
    np.testing.assert_array_equal(overlapping[1:], wanted)


def test_faces_choose(tiny: Transformer, astronaut: Image8) -> None:
    two = np.concatenate([astronaut, astronaut[:, ::-1]], axis=1)
    faces = tiny.detect(two)
    assert len(faces) == 2
    assert tiny.last_call.faces == faces
    out = tiny.age(two, group=0, faces=faces[1:])
    changed = (out != two).any(axis=2)
    assert not (changed & ~inside(two.shape, faces[1:])).any()
    assert changed.any()
    assert tiny.last_call.faces == faces[1:]
    assert "detect" not in tiny.last_call.times
    np.testing.assert_array_equal(tiny.age(two, group=0, faces=[]), two)
    np.testing.assert_array_equal(tiny.age(two, group=0), tiny.age(two, group=0, faces=faces))


@pytest.mark.slow
def test_two_faces_in_a_jpeg_of_12_megapixels(tiny: Transformer, astronaut: Image8) -> None:
    canvas = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), dtype=np.uint8)
    for side, x, y in ((1500, 300, 700), (1100, 2500, 1200)):
        canvas[y : y + side, x : x + side] = np.asarray(Image.fromarray(astronaut).resize((side, side)))
    file = io.BytesIO()
    Image.fromarray(canvas).save(file, "JPEG", quality=90)
    photo = np.asarray(Image.open(file))
    out = tiny.age(photo, group=4)
    assert len(tiny.last_call.faces) == 2
    changed = (out != photo).any(axis=2)
    for face in tiny.last_call.faces:
        mask = inside(photo.shape, [face])
        assert changed[mask].mean() > 0.7
    assert not (changed & ~inside(photo.shape, tiny.last_call.faces)).any()


def test_no_face(tiny: Transformer, noise: Image8) -> None:
    out = tiny.age(noise, group=4)
    np.testing.assert_array_equal(out, noise)
    assert not np.shares_memory(out, noise)
    assert tiny.last_call.faces == []
    assert set(tiny.last_call.times) == {"detect", "total"}
    assert tiny.detect(noise) == []
    for picture in tiny.timeline(noise):
        np.testing.assert_array_equal(picture, noise)


def test_details(tiny: Transformer, astronaut: Image8) -> None:
    tiny.age(astronaut, group=1)
    (face,) = tiny.last_call.faces
    assert face.score > 0.5
    times = tiny.last_call.times
    assert set(times) == {"detect", "crop", "model", "paste", "total"}
    assert 0 < sum(times.values()) - times["total"] <= times["total"]


def test_details_belong_to_the_thread(tiny: Transformer, noise: Image8) -> None:
    tiny.age(noise, group=1, landmarks=LANDMARKS)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: tiny.last_call.times).result() == {}
    assert len(tiny.last_call.faces) == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3)])
def test_the_smallest_pictures(tiny: Transformer, size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 100, np.uint8)
    np.testing.assert_array_equal(tiny.age(image, group=0), image)
    # One whose pixels all lie in the middle of a face much larger than itself.
    out = tiny.age(image, group=0, landmarks=geometry.TEMPLATE * 4000 - 2000)
    assert (out == 151).all()


def test_tiny_faces(tiny: Transformer, noise: Image8) -> None:
    out = tiny.age(noise, group=0, landmarks=geometry.TEMPLATE * 12 + 50)  # eyes 3 px apart
    changed = np.argwhere((out != noise).any(axis=2))
    assert len(changed) > 50
    assert changed.min() >= 50
    assert changed.max() < 62


def test_threads_agree_bit_for_bit(tmp_path: Path, astronaut: Image8) -> None:
    path = models.save(tmp_path / "gain.onnx", face_gain=-0.3, patch_gain=0.2)
    jobs = [(np.ascontiguousarray(np.roll(astronaut, 16 * i, axis=1)), i % 9 / 2) for i in range(8)]
    with Transformer(path, threads=1) as t:
        alone = [t.age(image, group=group) for image, group in jobs]
        start = threading.Barrier(8)

        def work(job: tuple[Image8, float]) -> tuple[Image8, list[Face]]:
            start.wait()
            return t.age(job[0], group=job[1]), t.last_call.faces

        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(work, jobs))
    for one, (other, faces), (image, group) in zip(alone, together, jobs, strict=True):
        np.testing.assert_array_equal(other, one)
        assert len(faces) == 1
        assert group == 2 or (one != image).any()


def test_close_frees(tiny_model: Path, noise: Image8) -> None:
    t = Transformer(tiny_model)
    assert isinstance(t.frame_path(), CpuFramePath)
    backend = t.frame_path()._backend
    sessions = [weakref.ref(backend._session), weakref.ref(t._detector._session)]  # type: ignore[union-attr]
    t.age(noise, group=1)
    t.close()
    t.close()
    gc.collect()
    assert [session() for session in sessions] == [None, None]
    calls: list[Any] = [
        lambda: t.age(noise, group=1),
        lambda: t.timeline(noise),
        lambda: t.detect(noise),
        t.__enter__,
        lambda: backend.run(*[np.zeros(1, np.float32)] * 4),
    ]
    for call in calls:
        with pytest.raises(ClosedError):
            call()
    assert len(t.groups) == 5  # what the file said is still known


def test_a_detector_of_your_own(tiny_model: Path, noise: Image8) -> None:
    seen = []

    def detector(frame: Image8, color: str) -> list[Face]:
        seen.append((frame.shape, color))
        return [Face(LANDMARKS)]

    with Transformer(tiny_model, detector=detector) as t:
        out = t.age(noise, group=0, color="bgr")
        assert len(t.last_call.faces) == 1
    assert seen == [(noise.shape, "bgr")]
    assert (out != noise).any()


def test_bundled_weights_change_the_face_alone(bundled: Transformer, astronaut: Image8) -> None:
    younger, older = bundled.age(astronaut, group=0), bundled.age(astronaut, group=len(bundled.groups) - 1)
    mask = inside(astronaut.shape, bundled.last_call.faces, bundled.description.face_box)
    for out in (younger, older):
        np.testing.assert_array_equal(out[~mask], astronaut[~mask])
    assert np.abs(older.astype(int) - younger)[mask].mean() > 2


def test_bundled_timeline_agrees_with_single_ages(bundled: Transformer, astronaut: Image8) -> None:
    pictures = bundled.timeline(astronaut)
    for group in (0, len(pictures) - 1):
        change = np.abs(pictures[group].astype(int) - bundled.age(astronaut, group=group))
        assert change.max() <= 1  # the batch has another size, so sums may be ordered differently
        assert change.mean() < 0.01


def test_bundled_age_is_continuous(bundled: Transformer, astronaut: Image8) -> None:
    at = [bundled.age(astronaut, years=years).astype(int) for years in (50, 50.5, 60)]
    assert np.abs(at[1] - at[0]).max() < np.abs(at[2] - at[0]).max()
    assert np.abs(at[1] - at[0]).mean() < 0.2 * np.abs(at[2] - at[0]).mean()


def test_bundled_description(bundled: Transformer) -> None:
    assert [group.label for group in bundled.groups] == [
        "under 25", "25-34", "35-44", "45-54", "55-64", "65-74", "75 and over"
    ]  # fmt: skip
    assert bundled.description.training_data


def test_several_ages_are_encoded_once(tiny: Transformer, noise: Image8) -> None:
    one_by_one = [tiny.age(noise, years=years, landmarks=LANDMARKS) for years in (30, 50, 70)]
    together = tiny.age(noise, years=[30, 50, 70], landmarks=LANDMARKS)
    assert len(together) == 3
    for ours, theirs in zip(together, one_by_one, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(InputError, match="a list of one or more ages"):
        tiny.age(noise, years=[])
    with pytest.raises(InputError, match="from 0 to 130"):
        tiny.age(noise, years=[30, 500])


def test_a_strip_to_look_at(tiny: Transformer, astronaut: Image8, noise: Image8) -> None:
    strip = tiny.strip(astronaut)
    assert strip.width > 6 * 256
    assert strip._repr_png_().startswith(b"\x89PNG")  # type: ignore[union-attr]  # what a notebook shows
    np.testing.assert_array_equal(np.asarray(strip), np.asarray(tiny.strip(Image.fromarray(astronaut))))
    with pytest.raises(InputError, match="no face was found"):
        tiny.strip(noise)


def test_from_file_to_file(tiny: Transformer, astronaut: Image8, tmp_path: Path) -> None:
    source, target = tmp_path / "in.jpg", tmp_path / "out.jpg"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(astronaut).save(source, icc_profile=profile)
    assert tiny.age_file(source, str(target), group=4) == 1
    with Image.open(target) as written:
        assert written.info["icc_profile"] == profile
    with pytest.raises(ImageError, match="exists already"):
        tiny.age_file(source, target, group=4)
    with pytest.raises(InputError, match="would be replaced"):
        tiny.age_file(source, source, group=4, overwrite=True)
    with pytest.raises(InputError, match="exactly one"):
        tiny.age_file(source, target, overwrite=True)


def test_an_age_that_the_model_does_not_reach_is_said(tiny: Transformer, noise: Image8) -> None:
    with pytest.warns(
        AgeRangeWarning, match=r"years: 85 was asked for, and test model reaches from 30 to 70: 70 is used"
    ):
        older = tiny.age(noise, years=85, landmarks=LANDMARKS)
    np.testing.assert_array_equal(older, tiny.age(noise, years=70, landmarks=LANDMARKS))
    with pytest.warns(AgeRangeWarning, match="30 is used"):
        tiny.age(noise, years=[12, 50], landmarks=LANDMARKS)


@pytest.mark.parametrize("copying", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_is_not_pickled_or_copied(tiny: Transformer, copying: Callable[[object], object]) -> None:
    with pytest.raises(InputError, match="a worker process makes its own"):
        copying(tiny)


def test_it_says_what_it_is(tiny_model: Path) -> None:
    with Transformer(tiny_model) as t:
        assert repr(t) == "<lgin_edge.Transformer test model, cpu, 30 to 70 years>"
    assert "closed" in repr(t)


def test_warm_up(tiny: Transformer) -> None:
    tiny.warm_up()
    assert set(tiny.last_call.times) == {"crop", "model", "total"}  # the age model's


def test_bleached_hair_of_the_young_stays_light_when_younger(bundled: Transformer, astronaut: Image8) -> None:
    """It got dark in patches with edges, as if it had been grey: by weights 1.7 a fifth of it."""
    portrait = np.asarray(Image.fromarray(astronaut[:300, 80:380]).resize((600, 600), Image.Resampling.BICUBIC))
    (face,) = bundled.detect(portrait)
    left, right = face.landmarks[:2]
    x, y = (np.mgrid[:600, :600][::-1] - ((left + right) / 2)[:, None, None]) / np.linalg.norm(right - left)
    off_face = (8.3 * (np.hypot(x / 1.25, (y - 0.5) / 1.45) - 0.88)).clip(0, 1)
    head = (10 * (1.75 - np.hypot(x / 1.15, (y - 0.3) / 1.2))).clip(0, 1) * (y < 1)
    hair = head * np.maximum(off_face, (6.7 * (-0.62 - y)).clip(0, 1))
    light = 175 + 0.3 * portrait.mean(-1, keepdims=True)
    bleached = (portrait + hair[..., None] * (light - portrait)).clip(0, 255).astype(np.uint8)
    for years in (20, 30):
        younger = bundled.age(bleached, years=years)
        darker = bleached.mean(-1) - younger.mean(-1)
        assert (darker[hair > 0.9] > 30).mean() < 0.01
        assert darker[off_face == 0].std() > 1, "younger all the same"
