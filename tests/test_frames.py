"""Pixel formats."""

from __future__ import annotations

import numpy as np
import pytest

from lgin_edge import InputError
from lgin_edge.frames import PixelFormat


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_a_shape_and_its_size_belong_together(pixel_format: PixelFormat) -> None:
    frame = np.zeros(pixel_format.shape(20, 30), np.uint8)
    pixel_format.check("frame", frame)
    assert pixel_format.size(frame) == (20, 30)
    assert frame.size == 30 * pixel_format.channels * pixel_format.rows(20)
    planes = pixel_format.planes(frame, (4, 6, 10, 16))
    assert sum(plane.size for plane in planes) == 6 * pixel_format.channels * pixel_format.rows(10)
    for plane in planes:
        plane[...] = 1
    assert frame.sum() == sum(plane.size for plane in planes)


def test_nv12_has_its_colour_below() -> None:
    frame = np.arange(6 * 4, dtype=np.uint8).reshape(6, 4)
    y, uv = PixelFormat.NV12.planes(frame, (2, 2, 4, 4))
    assert y.tolist() == [[10, 11], [14, 15]]
    assert uv.tolist() == [[22, 23]]


def test_channels_are_where_the_name_says() -> None:
    assert PixelFormat.BGRA.rgb == (2, 1, 0)
    assert PixelFormat.RGBA.rgb == (0, 1, 2)


@pytest.mark.parametrize("color", ["yuv", "RGB", "", 3, None])
def test_other_colours_are_refused(color: object) -> None:
    with pytest.raises(InputError, match="color: expected one of rgb, bgr, rgba, bgra, nv12"):
        PixelFormat.parse(color)  # type: ignore[arg-type]
