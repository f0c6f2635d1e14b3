"""What is taken: every kind of array and picture; and what is refused, before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from support.pictures import LANDMARKS, inside

from lgin_edge import CenterFace, ImageError, InputError, ModelError, Stream, Transformer, geometry
from lgin_edge.stream import StreamError

Image8 = npt.NDArray[np.uint8]


@pytest.mark.parametrize("color", ["bgr", "rgba", "bgra"])
def test_colors(tiny: Transformer, noise: Image8, color: Any) -> None:
    wanted = tiny.age(noise, group=0, landmarks=LANDMARKS)
    alpha = np.random.default_rng(0).integers(0, 256, (160, 200, 1), dtype=np.uint8)
    order = slice(None, None, -1) if color.startswith("bgr") else slice(None)
    frame = noise[..., order]
    if color.endswith("a"):
        frame = np.concatenate([frame, alpha], axis=2)
    out = tiny.age(frame, group=0, landmarks=LANDMARKS, color=color)
    np.testing.assert_array_equal(out[..., :3][..., order], wanted)
    if color.endswith("a"):
        np.testing.assert_array_equal(out[..., 3:], alpha)


def test_four_channels_are_rgba_unless_said_otherwise(tiny: Transformer, noise: Image8) -> None:
    frame = np.concatenate([noise, noise[..., :1]], axis=2)
    out = tiny.age(frame, group=0, landmarks=LANDMARKS)
    np.testing.assert_array_equal(out, tiny.age(frame, group=0, landmarks=LANDMARKS, color="rgba"))


def test_nv12(tiny: Transformer) -> None:
    frame = np.full((240, 200), 128, np.uint8)
    out = tiny.age(frame, group=4, landmarks=LANDMARKS, color="nv12")
    assert out.shape == frame.shape
    assert out[80, 70] < 100  # luma falls
    assert (out[160:] == 128).all()  # grey stays grey
    assert (out[:30] == 128).all()


def test_strided_views(tiny: Transformer, noise: Image8) -> None:
    wide = np.zeros((160, 400, 4), np.uint8)
    wide[:, ::2, :3] = noise
    view = wide[:, ::2, :3]
    wanted = tiny.age(noise, group=0, landmarks=LANDMARKS)
    np.testing.assert_array_equal(tiny.age(view, group=0, landmarks=LANDMARKS), wanted)
    tiny.age(view, group=0, landmarks=LANDMARKS, out=view)
    np.testing.assert_array_equal(view, wanted)
    assert (wide[:, 1::2] == 0).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_pillow_modes_come_back(tiny: Transformer, noise: Image8, mode: str) -> None:
    image = Image.fromarray(noise).convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.fromarray(noise[..., 0]))
    image.info["dpi"] = (300, 300)
    before = np.asarray(image).copy()
    out = tiny.age(image, group=0, landmarks=LANDMARKS)
    assert isinstance(out, Image.Image)
    assert out.mode == mode
    assert out.info["dpi"] == (300, 300)
    np.testing.assert_array_equal(np.asarray(image), before)
    mask = inside(noise.shape, tiny.last_call.faces)
    np.testing.assert_array_equal(np.asarray(out)[~mask], before[~mask])
    assert np.asarray(out)[mask].mean() > before[mask].mean() + 10
    if mode.endswith("A"):
        np.testing.assert_array_equal(np.asarray(out)[..., -1], before[..., -1])


@pytest.mark.parametrize(("mode", "back"), [("P", "RGB"), ("1", "L"), ("CMYK", "RGB"), ("YCbCr", "RGB"), ("I;16", "L")])
def test_other_pillow_modes_become_plain_ones(tiny: Transformer, noise: Image8, mode: str, back: str) -> None:
    image = (
        Image.fromarray(noise[..., 0].astype(np.uint16) << 8)
        if mode == "I;16"
        else Image.fromarray(noise).convert(mode)
    )
    out = tiny.age(image, group=0, landmarks=LANDMARKS)
    assert out.mode == back
    if mode != "I;16":
        still = np.asarray(image.convert(back))[:, 130:]
        np.testing.assert_array_equal(np.asarray(out)[:, 130:], still)


def test_pillow_timeline(tiny: Transformer, noise: Image8) -> None:
    pictures = tiny.timeline(Image.fromarray(noise), landmarks=LANDMARKS)
    assert [picture.mode for picture in pictures] == ["RGB"] * 5
    np.testing.assert_array_equal(np.asarray(pictures[2]), noise)


def test_a_path_and_a_list_of_pictures(tiny: Transformer, astronaut: Image8, tmp_path: Path) -> None:
    path = tmp_path / "in.png"
    Image.fromarray(astronaut).save(path)
    result = tiny.age(path, group=4)
    assert isinstance(result, Image.Image)
    np.testing.assert_array_equal(np.asarray(result), tiny.age(astronaut, group=4))
    assert len(tiny.detect(str(path))) == 1
    np.testing.assert_array_equal(np.asarray(tiny.timeline(path)[4]), np.asarray(result))
    both = tiny.age([astronaut, astronaut[:, ::-1]], group=4)
    np.testing.assert_array_equal(both[0], np.asarray(result))
    with pytest.raises(ImageError, match="no such file"):
        tiny.age(str(tmp_path / "none.jpg"), group=4)
    with pytest.raises(InputError, match="one picture"):
        tiny.age([astronaut], group=4, landmarks=LANDMARKS)


SWAPPED = LANDMARKS[[1, 0, 2, 4, 3]]


@pytest.mark.parametrize(
    ("image", "arguments", "message"),
    [
        (np.zeros((8, 8), np.uint8), {}, "np.stack"),
        (np.zeros((8, 8, 1), np.uint8), {}, "np.stack"),
        (np.zeros((8, 8, 2), np.uint8), {}, r"\[H, W, 3\]"),
        (np.zeros((8, 8, 3), np.float32), {}, "uint8"),
        (np.zeros((8, 8, 3), np.float32), {"landmarks": np.zeros((0, 5, 2))}, "uint8"),
        (np.zeros((0, 8, 3), np.uint8), {}, "at least one pixel"),
        (np.zeros(8, np.uint8), {"color": "rgb"}, "image: color"),
        (np.zeros((8, 8, 4), np.uint8), {"color": "rgb"}, "rgb"),
        (np.zeros((8, 8, 3), np.uint8), {"color": "cmyk"}, "cmyk"),
        (np.zeros((8, 8), np.uint8), {"color": "nv12"}, "nv12"),
        (5, {}, "Pillow image, got int"),
        (None, {}, "got NoneType"),
        (Image.new("RGB", (8, 8)), {"color": "bgr"}, "leave color out"),
        (Image.new("F", (8, 8)), {}, "floating-point"),
        (Image.new("RGB", (8, 8)), {"out": np.zeros((8, 8, 3), np.uint8)}, "only for arrays"),
        (np.zeros((8, 8, 3), np.uint8), {"out": np.zeros((8, 9, 3), np.uint8)}, "expected an array like"),
        (np.zeros((8, 8, 3), np.uint8), {"out": [1]}, "got list"),
        (np.zeros((8, 8, 3), np.uint8), {"landmarks": np.zeros((4, 2))}, r"\(5, 2\)"),
        (np.zeros((8, 8, 3), np.uint8), {"landmarks": "here"}, "numbers"),
        (np.zeros((8, 8, 3), np.uint8), {"landmarks": [[1, 2], [3]]}, "numbers"),
        (np.zeros((8, 8, 3), np.uint8), {"landmarks": np.full((5, 2), np.nan)}, "finite"),
        (np.zeros((8, 8, 3), np.uint8), {"landmarks": SWAPPED}, "swapped"),
        (np.zeros((8, 8, 3), np.uint8), {"landmarks": LANDMARKS * 1e7}, "landmarks"),
        (np.zeros((8, 8, 3), np.uint8), {"landmarks": LANDMARKS, "faces": []}, "not both"),
        (np.zeros((8, 8, 3), np.uint8), {"faces": LANDMARKS}, "list of Face"),
        (np.zeros((8, 8, 3), np.uint8), {"faces": [LANDMARKS]}, "list of Face"),
        (np.zeros((8, 8, 3), np.uint8), {"group": 5}, "65 and over"),
        (np.zeros((8, 8, 3), np.uint8), {"group": None, "years": -3}, "0 to 130"),
        (np.zeros((8, 8, 3), np.uint8), {"years": 30}, "exactly one"),
    ],
)
def test_wrong_input(tiny: Transformer, image: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny.age(image, **({"group": 1} | arguments))


@pytest.mark.parametrize("strength", [2, -1, float("nan"), [1, 1, 1], "half", "1", np.timedelta64(1, "s"), None])
def test_no_such_strength(tiny: Transformer, noise: Image8, strength: Any) -> None:
    with pytest.raises(InputError, match="strength: expected"):
        tiny.age(noise, group=0, landmarks=[LANDMARKS, LANDMARKS + 110], strength=strength)


@pytest.mark.parametrize("threads", [0, -1, 1.5, 10**6])
def test_wrong_threads(tiny_model: Path, threads: Any) -> None:
    with pytest.raises(InputError, match="threads"):
        Transformer(tiny_model, threads=threads)


@pytest.mark.parametrize(
    "arguments",
    [
        {"years": 10**400},
        {"group": 10**400},
        {"years": np.timedelta64(30)},
        {"group": np.timedelta64(1)},
        {"years": 50, "strength": 10**400},
        {"years": 10**5000},  # which Python makes no text of
        {"years": 50, "strength": 10**5000},
        {"years": 50, "landmarks": [[10**400, 1]] * 5},
    ],
)
def test_numbers_that_are_none(tiny: Transformer, noise: Image8, arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        tiny.age(noise, **({"landmarks": LANDMARKS} | arguments))


@pytest.mark.parametrize(
    "value", [10**5000, np.timedelta64(5, "D"), 1j, "x", np.array([1, 2])], ids=lambda v: str(type(v))
)
def test_settings_that_are_none(tiny_model: Path, value: Any) -> None:
    for make in (
        lambda: Transformer(tiny_model, threads=value),
        lambda: Transformer(tiny_model, device=value),
        lambda: Transformer(tiny_model, sha256=value),
        lambda: CenterFace(max_side=value),
        lambda: CenterFace(threshold=value),
        lambda: geometry.ViewSpec(value, 8),
        lambda: geometry.ViewSpec(8, 8, value),
    ):
        with pytest.raises((InputError, ModelError)):
            make()


def test_a_path_that_no_file_can_have(tiny: Transformer) -> None:
    for model in ("x" * 5000 + ".onnx", "x" * 5000 + ".plan", "a\0b.onnx"):
        with pytest.raises(ModelError, match="no such"):
            Transformer(model, device="cpu" if model.endswith("onnx") else 0)
    with pytest.raises(ImageError):
        tiny.age("x" * 5000 + ".jpg", group=1)
    with pytest.raises(StreamError, match="no such file"):
        Stream("x" * 5000, tiny, years=50)


def test_results_that_cannot_be_written_are_refused(tiny: Transformer, noise: Image8) -> None:
    with pytest.raises(InputError, match="read-only"):
        tiny.age(noise, group=1, landmarks=LANDMARKS, out=noise)
    height, width = noise.shape[:2]
    memory = np.full((width, 3), 7, np.uint8)
    out = np.lib.stride_tricks.as_strided(memory, (height, width, 3), (0, 3, 1))
    with pytest.raises(InputError, match="share one byte"):
        tiny.age(noise, group=4, landmarks=LANDMARKS, out=out)
    assert (memory == 7).all()


def test_pillow_images_whose_file_is_closed_or_damaged(tiny: Transformer, astronaut: Image8, tmp_path: Path) -> None:
    """Pillow reads the pixels when they are first needed."""
    path, cut = tmp_path / "in.jpg", tmp_path / "cut.jpg"
    Image.fromarray(astronaut).save(path)
    cut.write_bytes(path.read_bytes()[:9000])
    with Image.open(path) as closed:
        pass
    with Image.open(cut) as damaged:
        for image, why in ((closed, "closed"), (damaged, "truncated")):
            for call in (tiny.detect, tiny.timeline):
                with pytest.raises(InputError, match=f"pixels cannot be read: .*{why}"):
                    call(image)


def test_a_path_is_no_address_and_no_picture(tiny: Transformer) -> None:
    base64 = "/9j/" * 4000
    for address in ("https://example.com/a.jpg", "S3://bucket/a.jpg", "data:image/jpeg;base64," + base64):
        with pytest.raises(ImageError, match="an address, and only files are read: fetch it") as caught:
            tiny.detect(address)
        assert str(caught.value).startswith(address[:40])
        assert len(str(caught.value)) < 200
    with pytest.raises(ImageError) as caught:
        tiny.detect(base64)
    assert len(str(caught.value)) < 200


def test_an_age_that_numpy_made(tiny: Transformer, noise: Image8) -> None:
    wanted = tiny.age(noise, years=70, landmarks=LANDMARKS)
    np.testing.assert_array_equal(tiny.age(noise, years=np.array(70.0), landmarks=LANDMARKS), wanted)


def test_premultiplied_grey_comes_back_as_grey(tiny: Transformer, noise: Image8) -> None:
    grey = Image.fromarray(noise).convert("L").convert("LA")
    out = tiny.age(grey.convert("La"), years=70, landmarks=LANDMARKS)
    assert np.array_equal(np.asarray(out), np.asarray(tiny.age(grey, years=70, landmarks=LANDMARKS)))
