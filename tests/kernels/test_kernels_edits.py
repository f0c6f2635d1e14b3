"""Edits of formats 2 to 4: against the reference, and what must hold exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from frames import DEVICES, in_layout
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_scenes import EXAMPLES, Scene, properties, scenes
from tolerances import assert_close, assert_identical

from lgin_edge import kernels, reference
from lgin_edge.errors import InputError
from lgin_edge.faces import FaceBatch
from lgin_edge.frames import PixelFormat
from lgin_edge.geometry import REGION_BOXES, ViewSpec, apply, invert, view_affine
from lgin_edge.kernels import Edits, FacePlan

BOXES = [(0.0, 0.0, 1.0, 1.0), (-0.25, -0.5, 1.25, 1.1), (0.1, 0.0, 0.9, 0.8)]


@dataclass(frozen=True)
class EditScene:
    """A scene with edits for its faces."""

    scene: Scene
    coarse: int
    texture: int
    parts: frozenset[str]  # of the edits that are not 0
    face_box: tuple[float, float, float, float]
    edit_format: int

    def plan(self, frame: np.ndarray) -> FacePlan:
        scene = self.scene
        spec = ViewSpec(scene.face_size, scene.patch_size, 0.12, 0.3, self.face_box, self.edit_format)
        strengths = np.linspace(1.0, 0.3, len(scene.faces))
        faces = FaceBatch(scene.affines(), scene.boxes(), strengths)
        return FacePlan.of(frame, faces, spec, PixelFormat(scene.color))

    def edits(self) -> Edits:
        scene, rng = self.scene, np.random.default_rng(self.scene.seed + 5)
        n, s, p, f, a = len(scene.faces), scene.face_size, scene.patch_size, self.coarse, self.texture
        on = {name: float(name in self.parts) for name in ("residual", "gain", "grey", "lines", "flow")}
        face = np.concatenate(
            [
                on["residual"] * rng.uniform(-0.5, 0.5, (n, 3, s, s)),
                on["gain"] * rng.uniform(-0.6, 0.6, (n, 1, s, s)),
                on["grey"] * rng.uniform(0.0, 1.0, (n, 1, s, s)),
                rng.uniform(0.0, 1.0, (n, 1, s, s)),
            ],
            axis=1,
        )
        patches = np.concatenate(
            [
                on["residual"] * rng.uniform(-0.5, 0.5, (n, 5, 3, p, p)),
                on["gain"] * rng.uniform(-0.3, 0.3, (n, 5, 1, p, p)),
            ],
            axis=2,
        )
        flow = on["flow"] * rng.uniform(-0.2, 0.2, (n, 2, f, f))
        place = rng.uniform(-0.1, 1.1, (n, 2, f, f))
        lines = on["lines"] * rng.uniform(-0.5, 0.3, (n, 1, a, a))
        return Edits(*(array.astype(scene.dtype) for array in (face, patches, flow, place, lines)))


#: Each of these runs on every device and format.
fewer = settings(properties, max_examples=max(1, EXAMPLES // 3))
PARTS = ("residual", "gain", "grey", "lines", "flow")


def edit_scenes(max_faces: int = 2, max_side: float = 90.0) -> st.SearchStrategy[EditScene]:
    return st.builds(
        EditScene,
        scene=scenes(max_faces, max_side),
        coarse=st.integers(1, 6),
        texture=st.integers(1, 12),
        parts=st.frozensets(st.sampled_from(PARTS)),
        face_box=st.sampled_from(BOXES),
        edit_format=st.sampled_from((2, 3, 4)),
    )


@pytest.mark.parametrize("device", DEVICES)
@properties
@given(one=edit_scenes())
def test_paste_equals_the_reference(device: str, one: EditScene) -> None:
    frame = in_layout(one.scene.frame(), one.scene.layout)
    plan, edits = one.plan(frame), one.edits()
    result = kernels.region_paste(plan, frame, edits, threads=one.scene.threads, device=device)
    assert_close(result, reference.region_paste(plan, frame, edits), kind="frame")


@pytest.mark.cuda
@properties
@given(one=edit_scenes(max_faces=3))
def test_a_device_gives_the_cpus_bytes(one: EditScene) -> None:
    frame = one.scene.frame()
    plan, edits = one.plan(frame), one.edits()
    cpu, cuda = (kernels.region_paste(plan, frame, edits, device=device) for device in ("cpu", "cuda"))
    if kernels.cuda_is_host():
        assert_identical(cuda, cpu)
    else:
        assert_close(cuda, cpu, kind="frame", device_pair=True)


# ---- what holds exactly ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@fewer
@given(one=edit_scenes(), strength=st.sampled_from([0.0, 1.0]), value=st.sampled_from([0.0, -0.0, float("nan")]))
def test_no_edits_change_no_byte(device: str, one: EditScene, strength: float, value: float) -> None:
    """Strength 0 is the identity, whatever the edits; so are edits of 0, and what is not a number."""
    frame, edits = one.scene.frame(), one.edits()
    plan = one.plan(frame)
    faces = FaceBatch(plan.faces.affines, plan.faces.boxes, np.full(len(plan.faces), strength))
    plan = FacePlan(faces, plan.spec, plan.height, plan.width, plan.pixel_format)
    if strength:
        edits = Edits(*(np.full_like(array, value) for array in arrays(edits)))
    assert_identical(kernels.region_paste(plan, frame, edits, device=device), frame)


@pytest.mark.parametrize("device", DEVICES)
@fewer
@given(one=edit_scenes())
def test_bytes_outside_the_square_stay(device: str, one: EditScene) -> None:
    frame = one.scene.frame()
    plan, edits = one.plan(frame), one.edits()
    result = kernels.region_paste(plan, frame, edits, device=device)
    for at, now, before in pixels_of(plan, result, frame):
        assert_identical(now[~inside(plan, at)], before[~inside(plan, at)])
    if plan.pixel_format.channels == 4:
        assert_identical(result[..., 3].copy(), frame[..., 3].copy())


@pytest.mark.parametrize("device", DEVICES)
@fewer
@given(one=edit_scenes())
def test_a_picture_without_colour_stays_without(device: str, one: EditScene) -> None:
    frame = one.scene.frame()
    if one.scene.color == "nv12":
        frame[len(frame) // 3 * 2 :] = 128
    else:
        frame[..., :3] = frame[..., :1]
    plan, edits = one.plan(frame), one.edits()
    result = kernels.region_paste(plan, frame, edits, device=device)
    if one.scene.color == "nv12":
        assert (result[len(frame) // 3 * 2 :] == 128).all()
    else:
        assert (result[..., :3] == result[..., :1]).all()


def test_one_pixel_of_colour_lets_a_residual_colour() -> None:
    frame = np.full((40, 40, 3), 100, np.uint8)
    face = np.zeros((1, 6, 8, 8), np.float32)
    face[:, 0] = 0.5  # red
    edits = Edits(face, np.zeros((1, 5, 4, 4, 4), np.float32))
    grey = paste_one(frame, edits)
    assert (grey == grey[..., :1]).all()
    assert grey[20, 20, 0] == 100 + round(0.299 * 0.5 * 127.5)
    frame[30, 30, 2] = 101
    assert paste_one(frame, edits)[20, 20].tolist() == [100 + 64, 100, 100]


@fewer
@given(one=edit_scenes())
def test_layouts_threads_and_places_change_no_bit(one: EditScene) -> None:
    plain, other = one.scene.frame(), in_layout(one.scene.frame(), one.scene.layout)
    plan, edits = one.plan(plain), one.edits()
    copy = kernels.region_paste(plan, plain, edits)
    assert_identical(kernels.region_paste(plan, other, edits, threads=one.scene.threads), copy)
    assert_identical(kernels.region_paste(plan, other, edits, out=other, threads=one.scene.threads).copy(), copy)
    separate = np.zeros_like(plain)
    assert_identical(kernels.region_paste(plan, plain, edits, out=separate), copy)


@fewer
@given(one=edit_scenes().filter(lambda one: one.scene.color != "nv12"))
def test_channel_orders_are_the_same_picture(one: EditScene) -> None:
    rgb = np.random.default_rng(one.scene.seed).integers(0, 256, (one.scene.height, one.scene.width, 3), np.uint8)
    first = one.plan(np.zeros(PixelFormat(one.scene.color).shape(one.scene.height, one.scene.width), np.uint8))
    results = {}
    for order in (PixelFormat.RGB, PixelFormat.BGR, PixelFormat.RGBA, PixelFormat.BGRA):
        frame = np.full(order.shape(one.scene.height, one.scene.width), 9, np.uint8)
        frame[..., list(order.rgb)] = rgb
        plan = FacePlan(first.faces, first.spec, first.height, first.width, order)
        results[order] = kernels.region_paste(plan, frame, one.edits())[..., list(order.rgb)].copy()
    for result in results.values():
        assert_identical(result, results[PixelFormat.RGB])


def test_residuals_alone_are_format_1() -> None:
    """But for the clamp between the views, which neither has: the same bytes."""
    rng = np.random.default_rng(3)
    frame = rng.integers(0, 256, (80, 90, 3), np.uint8)
    face, patches = rng.uniform(-0.5, 0.5, (1, 3, 16, 16)), rng.uniform(-0.5, 0.5, (1, 5, 3, 8, 8))
    one = Edits(face.astype(np.float32), patches.astype(np.float32))
    two = Edits(*(np.concatenate([a, np.zeros_like(b)], axis=c).astype(np.float32) for a, b, c in (
        (face, face, 1), (patches, patches[:, :, :1], 2))))  # fmt: skip
    assert_identical(paste_one(frame, two), paste_one(frame, one))


# ---- what the edits mean --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edit_format", [2, 3, 4])
def test_every_number_by_hand(edit_format: int) -> None:
    """At the middle of a large square w_0 is 1, and only the nose's box reaches it, with its window at 1."""
    frame = np.zeros((101, 101, 3), np.uint8)
    frame[...] = (200, 100, 40)
    face = np.zeros((1, 6, 8, 8), np.float32)
    face[:, :6] = np.array([0.1, -0.2, 0.04, -0.2, 0.25, 0.5])[:, None, None]
    patches = np.zeros((1, 5, 4, 4, 4), np.float32)
    patches[:, 2] = np.array([0.02, 0.0, -0.1, 0.1])[:, None, None]
    place = np.full((1, 2, 2, 2), 0.5, np.float32)
    lines = np.full((1, 1, 4, 4), -0.6, np.float32)
    boxes = REGION_BOXES.copy()
    boxes[[0, 1, 3, 4]] = (0.01, 0.01, 0.1, 0.1)
    boxes[2] = (0.3, 0.3, 0.7, 0.7)
    strength = 0.8
    edits = Edits(face, patches, None, place, lines)
    result = paste_one(frame, edits, boxes=boxes, strength=strength, spec=ViewSpec(8, 4, edit_format=edit_format))
    v = np.array([200.0, 100.0, 40.0])
    light, of_lines = v @ (0.299, 0.587, 0.114), np.exp(strength * 0.5 * -0.6)
    v = v + strength * 0.25 * (light - v)
    v = (1 + strength * (-0.2 + 0.1)) * (v + (of_lines - 1) * light if edit_format == 4 else of_lines * v)
    v += 127.5 * strength * np.array([0.1 + 0.02, -0.2, 0.04 - 0.1])
    assert result[50, 50].tolist() == np.floor(v + 0.5).astype(int).tolist()


@pytest.mark.parametrize("edit_format", [2, 3, 4])
@pytest.mark.parametrize("color", ["rgb", "nv12"])
@pytest.mark.parametrize("device", DEVICES)
def test_what_is_edited_first_moves(device: str, color: str, edit_format: int) -> None:
    """Light on the left half. The frame is read 6 pixels further to the right: so its edge lies 6 pixels further to the left."""
    order = PixelFormat(color)
    frame = np.full(order.shape(160, 160), 90, np.uint8)
    face = np.zeros((1, 6, 160, 160), np.float32)
    face[:, :3, :, :80] = 0.4
    flow = np.zeros((1, 2, 4, 4), np.float32)
    flow[:, 0] = 6 / 160
    edits = Edits(face, np.zeros((1, 5, 4, 4, 4), np.float32), flow)
    affine = np.array([[160.0, 0.0, 0.0], [0.0, 160.0, 0.0]])
    spec = ViewSpec(160, 4, edit_format=edit_format)
    plan = FacePlan.of(frame, FaceBatch(affine[None], REGION_BOXES[None]), spec, order)
    row = kernels.region_paste(plan, frame, edits, device=device)[80].reshape(160, -1)[:, 0].astype(int)
    edge = 80 - 6 * (edit_format >= 3)
    assert (row[edge - 10 : edge - 3] > 120).all()
    assert (row[edge + 3 : edge + 10] == 90).all()


@pytest.mark.parametrize("turn", [0.0, 0.5])
@pytest.mark.parametrize("color", ["rgb", "bgra", "nv12"])
def test_a_pure_flow_moves_a_picture_by_what_it_says(color: str, turn: float) -> None:
    """Where w_0 is 1, by whole pixels: the bytes themselves, without blur. Outside, nothing; no flow on a half: its bytes."""
    rng, order, side = np.random.default_rng(1), PixelFormat(color), 160.0
    frame = rng.integers(0, 256, order.shape(200, 200), np.uint8)
    if order.is_nv12:
        frame[200:] = 128  # one colour: chroma moves by bilinear samples
        frame[:200] = np.clip(frame[:200], 16, 235)
    affine = np.array([[side, 0.0, 20.0], [0.0, side, 20.0]])
    cos, sin = np.cos(turn), np.sin(turn)
    affine[:, :2] = side * np.array([[cos, -sin], [sin, cos]])
    affine[:, 2] = 100.0 - affine[:, :2] @ (0.5, 0.5)
    shift = np.array([6.0, -4.0])  # frame pixels
    flow = np.linalg.solve(affine[:, :2], shift)
    edits = Edits(
        np.zeros((1, 6, 8, 8), np.float32),
        np.zeros((1, 5, 4, 4, 4), np.float32),
        np.broadcast_to(flow[:, None, None], (2, 4, 4))[None].astype(np.float32),
    )
    plan = FacePlan.of(frame, FaceBatch(affine[None], REGION_BOXES[None]), ViewSpec(8, 4), order)
    result = kernels.region_paste(plan, frame, edits)
    moved, there = result[75:125, 75:125], frame[71:121, 81:131]
    if not order.is_nv12:  # alpha stays
        moved, there = moved[..., :3], there[..., :3]
    assert_close(moved.copy(), there.copy(), kind="frame")
    still = kernels.region_paste(plan, frame, half_flow(edits))
    for at, now, before in pixels_of(plan, still, frame):
        t = apply(invert(affine), at)
        right = (t[..., 0] > 0.5 + 1 / 32) & (t[..., 0] < 1)  # half a texel of the flow beyond the middle
        assert_identical(now[right], before[right])
    assert (still != frame).any()


def half_flow(edits: Edits) -> Edits:
    """Without the flow on the right half of the face."""
    flow = np.repeat(np.repeat(edits.flow, 8, axis=2), 8, axis=3)  # type: ignore[arg-type]
    flow[..., flow.shape[-1] // 2 :] = 0.0
    return Edits(edits.face_edit, edits.patch_edit, flow)


@pytest.mark.parametrize("side", [64, 2000])
def test_gain_halves_the_contrast_at_any_size(side: int) -> None:
    rng = np.random.default_rng(2)
    frame = rng.integers(60, 200, (side + 20, side + 20, 3), np.uint8)
    face = np.zeros((1, 6, 16, 16), np.float32)
    face[:, 3] = -0.5
    edits = Edits(face, np.zeros((1, 5, 4, 8, 8), np.float32))
    affine = np.array([[float(side), 0.0, 10.0], [0.0, float(side), 10.0]])
    middle = slice(10 + side // 4, 10 + 3 * side // 4)
    before, after = (x[middle, middle].astype(np.float64) for x in (frame, paste_one(frame, edits, affine)))
    assert after.std() / before.std() == pytest.approx(0.5, rel=0.01)
    assert np.abs(after - before / 2).max() <= 0.5  # every pixel's own value, halved and rounded


def test_more_strength_changes_more() -> None:
    frame = np.full((60, 60, 3), (180, 120, 90), np.uint8)
    face = np.zeros((1, 6, 8, 8), np.float32)
    face[:, :6] = np.array([-0.2, -0.2, -0.2, -0.3, 0.5, 1.0])[:, None, None]
    edits = Edits(face, np.zeros((1, 5, 4, 4, 4), np.float32), None, *some_lines(-0.3))
    darker = [paste_one(frame, edits, strength=t)[30, 30].astype(int).sum() for t in np.linspace(0, 1, 11)]
    assert darker[0] == 180 + 120 + 90
    assert (np.diff(darker) < 0).all()


def test_lines_are_as_sharp_as_their_texture() -> None:
    """One texel of 64 on a face of 256 px: a line of a few pixels, where the maps of the face have a texel for 16."""
    frame = np.full((300, 300, 3), 128, np.uint8)
    face = np.zeros((1, 6, 16, 16), np.float32)
    face[:, 5] = 1.0
    y, x = (np.mgrid[0:8, 0:8] + 0.5) / 8  # as a position's own place is sampled
    lines = np.zeros((1, 1, 64, 64), np.float32)
    lines[..., 32] = -0.5
    place = np.stack([x, y])[None].astype(np.float32)
    affine = np.array([[256.0, 0.0, 22.0], [0.0, 256.0, 22.0]])
    edits = Edits(face, np.zeros((1, 5, 4, 4, 4), np.float32), None, place, lines)
    row = paste_one(frame, edits, affine)[150, :, 0].astype(int)
    drawn = np.flatnonzero(row < 128)
    assert drawn.min() >= 22 + 32 * 4 - 3
    assert drawn.max() <= 22 + 33 * 4 + 3
    assert row.min() == pytest.approx(128 * np.exp(-0.5), abs=6)
    face[:, 5] = 0.0  # no skin
    assert_identical(paste_one(frame, edits, affine), frame)


def test_faces_are_pasted_one_after_the_other() -> None:
    rng = np.random.default_rng(4)
    frame = rng.integers(0, 256, (80, 90, 3), np.uint8)
    affines = np.array([[[50.0, 0.0, 10.0], [0.0, 50.0, 10.0]], [[50.0, 0.0, 25.0], [0.0, 50.0, 20.0]]])
    arrays = (
        rng.uniform(-0.3, 0.3, (2, 6, 8, 8)).astype(np.float32),
        rng.uniform(-0.3, 0.3, (2, 5, 4, 4, 4)).astype(np.float32),
        rng.uniform(-0.1, 0.1, (2, 2, 4, 4)).astype(np.float32),
    )
    one, other = (Edits(*(array[i : i + 1] for array in arrays)) for i in range(2))
    both = FacePlan.of(frame, FaceBatch(affines, np.stack([REGION_BOXES] * 2)), ViewSpec(8, 4))
    first = paste_one(frame, one, affines[0])
    assert_identical(kernels.region_paste(both, frame, Edits(*arrays)), paste_one(first, other, affines[1]))


@pytest.mark.parametrize("value", [np.inf, -np.inf, 3e38, -3e38])
def test_huge_edits_clamp(value: float) -> None:
    rng = np.random.default_rng(6)
    frame = rng.integers(1, 255, (40, 40, 3), np.uint8)
    for channel in range(6):
        face = np.zeros((1, 6, 8, 8), np.float32)
        face[:, 5] = 1.0
        face[:, channel] = value
        edits = Edits(
            face, np.zeros((1, 5, 4, 4, 4), np.float32), np.full((1, 2, 2, 2), value, np.float32), *some_lines(value)
        )
        assert_close(paste_one(frame, edits), paste_one(frame, edits, using=reference), kind="frame")


# ---- what is refused ------------------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {
    "face_edit": np.zeros((1, 6, 8, 8), np.float32),
    "patch_edit": np.zeros((1, 5, 4, 4, 4), np.float32),
    "flow": np.zeros((1, 2, 3, 3), np.float32),
    "place": np.zeros((1, 2, 3, 3), np.float32),
    "lines": np.zeros((1, 1, 9, 9), np.float32),
}
BAD: dict[str, dict[str, Any]] = {
    "face_edit of five": {"face_edit": GOOD["face_edit"][:, :5]},
    "patch_edit of three": {"patch_edit": GOOD["patch_edit"][:, :, :3]},
    "patch_edit double": {"patch_edit": GOOD["patch_edit"].astype(np.float64)},
    "flow of one": {"flow": GOOD["flow"][:, :1]},
    "flow of another size": {"place": GOOD["place"][..., :2], "flow": GOOD["flow"][..., :2]},
    "place of another size": {"place": np.zeros((1, 2, 4, 4), np.float32)},
    "lines without": {"place": None},
    "lines flat": {"lines": GOOD["lines"][0]},
    "flow of": {"face_edit": np.zeros((1, 3, 8, 8), np.float32), "patch_edit": np.zeros((1, 5, 3, 4, 4), np.float32)},
    "lines of two faces": {"lines": np.zeros((2, 1, 9, 9), np.float32)},
}


@pytest.mark.parametrize("name", BAD)
def test_bad_edits_are_refused(name: str) -> None:
    frame = np.full((40, 40, 3), 7, np.uint8)
    with pytest.raises(InputError, match=name.split()[0]):
        paste_one(frame, Edits(**{**GOOD, **BAD[name]}), spec=ViewSpec(8, 4), out=frame)
    assert (frame == 7).all()


def test_edits_of_mixed_dtypes_are_read_as_they_are() -> None:
    rng = np.random.default_rng(8)
    frame = rng.integers(0, 256, (40, 40, 3), np.uint8)
    halves = {name: rng.uniform(-0.2, 0.2, array.shape).astype(np.float16) for name, array in GOOD.items()}
    mixed = {**halves, "flow": halves["flow"].astype(np.float32)}
    expected = paste_one(frame, Edits(**{name: array.astype(np.float32) for name, array in halves.items()}))
    assert_identical(paste_one(frame, Edits(**halves)), expected)
    assert_identical(paste_one(frame, Edits(**mixed)), expected)


# ---- helpers --------------------------------------------------------------------------------------------------------


def arrays(edits: Edits) -> list[np.ndarray]:
    given = (edits.face_edit, edits.patch_edit, edits.flow, edits.place, edits.lines)
    return [array for array in given if array is not None]


def some_lines(value: float) -> tuple[np.ndarray, np.ndarray]:
    """The same light everywhere: place and lines."""
    return np.full((1, 2, 2, 2), 0.5, np.float32), np.full((1, 1, 4, 4), value, np.float32)


def paste_one(
    frame: np.ndarray,
    edits: Edits,
    affine: np.ndarray | None = None,
    *,
    boxes: np.ndarray = REGION_BOXES,
    strength: float = 1.0,
    spec: ViewSpec | None = None,
    using: Any = kernels,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Into an RGB frame, which the face's square fills when no other is given."""
    side = float(frame.shape[0])
    place = np.array([[side, 0.0, 0.0], [0.0, side, 0.0]]) if affine is None else affine
    spec = spec or ViewSpec(edits.face_edit.shape[-1], edits.patch_edit.shape[-1])
    plan = FacePlan.of(frame, FaceBatch(place[None], boxes[None], [strength]), spec)
    result: np.ndarray = using.region_paste(plan, frame, edits, out=out)
    return result


def pixels_of(plan: FacePlan, *frames: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """Centres [..., 2] of what has a value of its own, and those values: pixels, or Y and then U and V."""

    def centres(height: int, width: int, pitch: float) -> np.ndarray:
        return np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1) * pitch

    h, w = plan.height, plan.width
    if not plan.pixel_format.is_nv12:
        return [(centres(h, w, 1.0), *frames)]
    chroma = [frame[h:].reshape(h // 2, w // 2, 2) for frame in frames]
    return [(centres(h, w, 1.0), *(frame[:h] for frame in frames)), (centres(h // 2, w // 2, 2.0), *chroma)]


def inside(plan: FacePlan, at: np.ndarray) -> np.ndarray:
    """Under any face's square, its border included."""
    result = np.zeros(at.shape[:2], bool)
    for affine in plan.faces.affines:
        t = apply(invert(view_affine(affine, plan.spec.face_box)), at)
        result |= ((t > -1e-6) & (t < 1 + 1e-6)).all(axis=-1)
    return result
