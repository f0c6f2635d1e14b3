"""Launches on device memory, and the block that they read.

Launches take addresses. Here they are those of NumPy arrays, which only the kernels built for the host can read
(LGIN_CUDA=HOST, tests/sanitizers.sh); tests/gpu does the same with a GPU's memory.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from device_scenes import PLACES, STRENGTHS, Device, Face, crop, one_face, paste, plan_of, rectangle_of
from frames import COLORS
from hypothesis import given
from hypothesis import strategies as st
from kernel_scenes import Scene, properties, scenes
from test_kernels_edits import EditScene, edit_scenes, fewer
from tolerances import assert_identical

from lgin_edge import kernels
from lgin_edge.frames import Color, PixelFormat, Rectangle
from lgin_edge.kernels import Edits, FacePlan

needs_host_memory = pytest.mark.skipif(
    kernels.cuda_built() and not kernels.cuda_is_host(), reason="gives the kernels addresses of host memory"
)


def check_equals_the_cpu(scene: Scene, device: Device) -> None:
    frame, residuals = scene.frame(), scene.residuals()
    device.upload(frame)
    device.write()
    device.crop()
    for view, expected in zip((device.face, device.patches), crop(scene, frame), strict=True):
        assert_identical(view, expected)
    device.paste(residuals)
    assert_identical(device.download(frame), paste(scene, frame, residuals))


@needs_host_memory
@pytest.mark.cuda
@properties
@given(scene=scenes(), pad=st.integers(0, 9))
def test_the_rectangle_alone_gives_the_whole_frames_result(scene: Scene, pad: int) -> None:
    check_equals_the_cpu(scene, Device(scene, rectangle_of(scene), pad))


@needs_host_memory
@pytest.mark.cuda
@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("place", PLACES)
def test_the_rectangle_of_one_face_gives_the_whole_frames_result(place: str, color: Color) -> None:
    scene = one_face(place, color)
    check_equals_the_cpu(scene, Device(scene, rectangle_of(scene)))


@needs_host_memory
@pytest.mark.cuda
@fewer
@given(
    one=edit_scenes(),
    pad=st.integers(0, 9),
    pixels=st.sampled_from([1, 300, 9000]),
    whole=st.booleans(),
    ages=st.integers(1, 3),
)
def test_edits_in_the_rectangle_alone_give_the_whole_frames_result(
    one: EditScene, pad: int, pixels: int, whole: bool, ages: int
) -> None:
    plan = plan_of(one.scene)
    check_edits_equal_the_cpus(one, (0, 0, plan.width, plan.height) if whole else plan.rectangle, pad, pixels, ages)


def check_edits_equal_the_cpus(one: EditScene, rectangle: Rectangle, pad: int, pixels: int, ages: int) -> None:
    scene, edits = one.scene, one.edits()
    frame, plan = scene.frame(), plan_of(scene, STRENGTHS[: len(scene.faces)])
    plan = FacePlan(
        plan.faces, replace(plan.spec, edit_format=one.edit_format), plan.height, plan.width, plan.pixel_format
    )

    def at(age: int) -> Edits:
        """Less at each further age; place is the same at all."""
        weaker = {name: (array * (1 - 0.3 * age)).astype(array.dtype) for name, array in vars(edits).items()}
        return Edits(**weaker | {"place": edits.place})

    several = {name: np.stack([vars(at(i))[name] for i in range(ages)], axis=1) for name in vars(edits)}
    device = Device(scene, rectangle, pad, copies=ages)
    device.upload(frame)
    device.write()
    device.paste_edits(Edits(**several | {"place": edits.place}), pixels, one.edit_format)
    for i in range(ages):
        assert_identical(device.download(frame, copy=i), kernels.region_paste(plan, frame, at(i)))


@needs_host_memory
@pytest.mark.cuda
@pytest.mark.parametrize("color", ["rgb", "nv12"])
def test_faces_that_are_apart_are_pasted_at_once(color: Color) -> None:
    """And those that move what another changes are not."""
    disjoint = []
    for gap in range(20):
        scene = Face(
            1, 40, 90, color, "plain", ((20.0, 20.0, 20.0, 0.0), (40.0 + gap, 21.0, 20.0, 0.0)), 12, 6, "float32", 1
        )
        disjoint.append(plan_of(scene).disjoint)
        one = EditScene(
            scene, 3, 8, frozenset(("residual", "gain", "grey", "lines", "flow")), (0.0, 0.0, 1.0, 1.0), 2 + gap % 3
        )
        check_edits_equal_the_cpus(one, plan_of(scene).rectangle, 0, 500, 2)
    assert disjoint == sorted(disjoint)
    assert set(disjoint) == {False, True}


@needs_host_memory
@pytest.mark.cuda
@properties
@given(scene=scenes(), pad=st.integers(0, 9))
def test_a_whole_frame_on_the_device(scene: Scene, pad: int) -> None:
    height, width = PixelFormat(scene.color).size(scene.frame())
    check_equals_the_cpu(scene, Device(scene, (0, 0, width, height), pad))


@needs_host_memory
@pytest.mark.cuda
@properties
@given(scene=scenes(max_faces=2), copies=st.integers(2, 4))
def test_copies_of_the_frame_are_changed_each_for_itself(scene: Scene, copies: int) -> None:
    frame = scene.frame()
    device = Device(scene, rectangle_of(scene), copies=copies)
    device.upload(frame)
    device.write()
    residuals = [tuple(residual * (0.5 - i) for residual in scene.residuals()) for i in range(copies)]
    face, patches = (np.stack(several, axis=1) for several in zip(*residuals, strict=True))
    device.paste((face, patches))
    for i in range(copies):
        assert_identical(device.download(frame, copy=i), paste(scene, frame, residuals[i]))


@needs_host_memory
@pytest.mark.cuda
@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("pixels", [1, 256, 257, 4096, 100_000])
def test_any_number_of_threads_pastes_the_whole_face(pixels: int, color: Color) -> None:
    scene = Face(3, 120, 150, color, "plain", ((70.0, 60.0, 90.0, 0.4),), 16, 8, "float32", 1)
    frame, residuals = scene.frame(), scene.residuals()
    device = Device(scene, rectangle_of(scene))
    device.upload(frame)
    device.write()
    device.paste(residuals, pixels=pixels)
    assert_identical(device.download(frame), paste(scene, frame, residuals))


@needs_host_memory
@pytest.mark.cuda
@pytest.mark.parametrize("color", COLORS)
def test_the_same_launches_with_another_block_work_on_another_frame(color: Color) -> None:
    """What a captured graph does when it is replayed: nothing but memory may have changed."""
    scenes = [
        Face(seed, height, width, color, "plain", faces, 16, 8, "float16", 1)
        for seed, height, width, faces in (
            (1, 60, 80, ((40.0, 30.0, 30.0, 0.4), (50.0, 35.0, 21.0, -0.3))),
            (2, 90, 50, ((-30.0, 30.0, 20.0, 0.4), (20.0, 50.0, 80.0, 3.0))),
            (3, 40, 200, ((190.0, 10.0, 60.0, 1.2), (12.0, 12.0, 4.0, 0.0))),
        )
    ]
    device = Device(scenes[0], (0, 0, 200, 90))
    pixels = np.zeros(200 * 90 * 4, np.uint8)
    deltas = scenes[0].residuals()
    for scene in scenes:
        now = Device(scene, rectangle_of(scene))
        now.upload(scene.frame())
        size = now.memory.size
        pixels[:size] = now.memory.reshape(-1)
        device.memory, device.pitch = pixels, now.pitch
        device.write(scene, now.rectangle)
        for delta, residual in zip(deltas, scene.residuals(), strict=True):
            delta[...] = residual
        # From here on every argument is the first scene's.
        device.crop()
        device.paste(deltas)
        for view, expected in zip((device.face, device.patches), crop(scene, scene.frame()), strict=True):
            assert_identical(view, expected)
        now.memory[...] = pixels[:size].reshape(now.memory.shape)
        assert_identical(now.download(scene.frame()), paste(scene, scene.frame(), deltas))


@needs_host_memory
@pytest.mark.cuda
def test_a_block_may_be_written_at_any_alignment_and_is_its_bytes_alone() -> None:
    scene = one_face("inside, turned", "bgra")
    device = Device(scene, rectangle_of(scene))
    device.write()
    expected = device.block.copy()
    memory = np.full(device.block.size + 3, 0x5A, np.uint8)
    device.block = memory[1:-2]
    device.write()
    assert_identical(memory[1:-2].copy(), expected)
    assert memory[[0, -2, -1]].tolist() == [0x5A] * 3
