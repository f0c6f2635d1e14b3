"""The rectangle of a frame that is uploaded: all that is needed, and no more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from device_scenes import PLACES, crop, one_face, parts, paste, rectangle_of
from frames import COLORS
from hypothesis import given
from kernel_scenes import Scene, properties, scenes
from tolerances import assert_identical

from lgin_edge import geometry
from lgin_edge.faces import FaceBatch
from lgin_edge.frames import Color, PixelFormat, Rectangle
from lgin_edge.kernels import FacePlan


def rectangle(color: Color, height: int, width: int, affines: Any, boxes: Any, *sizes: int) -> Rectangle:
    faces, spec = FaceBatch(affines, boxes), geometry.ViewSpec(*sizes)
    return FacePlan(faces, spec, height, width, PixelFormat(color)).rectangle


def check_nothing_else_is_touched(scene: Scene) -> None:
    """Other bytes outside the rectangle change no bit of the crop, and paste changes none of them."""
    frame, other = scene.frame(), scene.frame() ^ 0xFF
    there = rectangle_of(scene)
    for target, source in zip(parts(other, scene.color, there), parts(frame, scene.color, there), strict=True):
        target[...] = source
    for a, b in zip(crop(scene, other), crop(scene, frame), strict=True):
        assert_identical(a, b)
    pasted = paste(scene, frame, scene.residuals())
    for target in parts(pasted, scene.color, there):
        target[...] = 0
    expected = frame.copy()
    for target in parts(expected, scene.color, there):
        target[...] = 0
    assert_identical(pasted, expected)


def needed(scene: Scene) -> Rectangle:
    """``FacePlan.rectangle`` once more, in double and from the definitions: samples of the corner pixels and their taps."""
    height, width = PixelFormat(scene.color).size(scene.frame())
    columns, rows = [], []
    for affine, boxes in zip(scene.affines(), scene.boxes(), strict=True):
        square = geometry.apply(affine, np.array([(0, 0), (0, 1), (1, 0), (1, 1)], np.float64))
        (x0, y0), (x1, y1) = np.floor(square.min(axis=0)), np.ceil(square.max(axis=0))
        x0, x1, y0, y1 = max(x0, 0), min(x1, width), max(y0, 0), min(y1, height)
        if x0 < x1 and y0 < y1:
            # What moves is read from anywhere in the square and four pixels around.
            columns += [x0 - 4, x1 + 3]
            rows += [y0 - 4, y1 + 3]
        sides = [scene.face_size] + 5 * [scene.patch_size]
        for box, side in zip([geometry.FULL_BOX, *boxes], sides, strict=True):
            view = geometry.view_affine(affine, box)
            a, b = (np.clip(np.ceil(np.hypot(*view[:, axis]) / side - 1e-3), 1, 64) for axis in (0, 1))
            u, v = 0.5 / (a * side), 0.5 / (b * side)  # the outermost samples, as a share of the view
            corners = np.array([(s, t) for s in (u, 1 - u) for t in (v, 1 - v)])
            for pixels, position in zip((columns, rows), (geometry.apply(view, corners) - 0.5).T, strict=True):
                for low, size in ((np.floor(position), 1), (2 * np.floor(position / 2 - 0.25), 2)):
                    if size == 1 or scene.color == "nv12":
                        pixels += [low.min(), low.max() + 2 * size - 1]
    low = [int(np.clip(min(pixels), 0, size - 1)) // 2 * 2 for pixels, size in ((columns, width), (rows, height))]
    high = [
        min(int(np.clip(max(pixels), 0, size - 1)) // 2 * 2 + 2, size)
        for pixels, size in ((columns, width), (rows, height))
    ]
    return low[0], low[1], high[0], high[1]


def check_no_more_than_needed(scene: Scene) -> None:
    """A position near a whole pixel may round to either side of it, which is worth two columns; else it is exact."""
    assert np.abs(np.subtract(rectangle_of(scene), needed(scene))).max() <= 2


@properties
@given(scene=scenes())
def test_nothing_outside_the_rectangle_is_touched(scene: Scene) -> None:
    check_nothing_else_is_touched(scene)


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("place", PLACES)
def test_nothing_outside_the_rectangle_of_one_face_is_touched(place: str, color: Color) -> None:
    check_nothing_else_is_touched(one_face(place, color))


@properties
@given(scene=scenes(max_faces=2).filter(lambda scene: scene.faces))
def test_the_rectangle_is_what_is_needed(scene: Scene) -> None:
    check_no_more_than_needed(scene)


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("place", [place for place in PLACES if "huge" not in place])
def test_the_rectangle_of_one_face_is_what_it_needs(place: str, color: Color) -> None:
    check_no_more_than_needed(one_face(place, color))


@properties
@given(scene=scenes())
def test_a_rectangle_is_even_not_empty_and_in_the_frame(scene: Scene) -> None:
    x0, y0, x1, y1 = rectangle_of(scene)
    height, width = PixelFormat(scene.color).size(scene.frame())
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert x0 % 2 == y0 % 2 == 0
    assert x1 % 2 == 0 or x1 == width
    assert y1 % 2 == 0 or y1 == height


def test_rectangles_worked_out_by_hand() -> None:
    # A face of 8 px at (4, 4): its paste reads four pixels around the pixels 4 to 11. Boxes inside the square add nothing.
    boxes = np.broadcast_to([0.25, 0.25, 0.75, 0.75], (1, 5, 4))
    affine = np.array([[[8.0, 0.0, 4.0], [0.0, 8.0, 4.0]]])
    assert rectangle("rgb", 40, 50, affine, boxes, 8, 1) == (0, 0, 16, 16)
    assert rectangle("rgb", 9, 11, affine, boxes, 8, 1) == (0, 0, 11, 9)
    large = np.array([[[200.0, 0.0, 5.0], [0.0, 200.0, 5.0]]])  # the pixels 5 to 204
    assert rectangle("rgb", 300, 300, large, boxes, 1, 1) == (0, 0, 210, 210)
    # Outside the frame there is nothing to paste, and the border is replicated. The samples of views of 8 px are the centres
    # of the rows 4 to 11, whose lower neighbour 12 is read too (with weight 0).
    moved = affine + np.array([[0, 0, 90], [0, 0, 0]])
    assert rectangle("rgb", 40, 51, moved, boxes, 8, 1) == (50, 4, 51, 14)
    # Chroma samples lie at 0.5, 2.5, 4.5, ...: that before row 4 belongs to the rows 2 and 3.
    assert rectangle("nv12", 40, 52, moved, boxes, 8, 1) == (50, 2, 52, 14)
    # Enlarged twice, the first sample lies at 3.75 and the last at 11.25: the rows 3 to 12.
    assert rectangle("rgb", 40, 51, moved, boxes, 16, 1) == (50, 2, 51, 14)
    # Reduced to one pixel, it is the mean of 8 x 8 samples, the same ones as in the first case.
    assert rectangle("rgb", 40, 51, moved, boxes, 1, 1) == (50, 4, 51, 14)
    assert rectangle("rgb", 40, 51, np.zeros((0, 2, 3)), np.zeros((0, 5, 4))) == (0, 0, 2, 2)
    assert rectangle("rgb", 1, 1, affine, boxes) == (0, 0, 1, 1)
