"""The kernels by loose arrays: a plan made for each call, as the kernels' tests like it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lgin_edge import kernels, reference
from lgin_edge.faces import FaceBatch
from lgin_edge.frames import PixelFormat
from lgin_edge.geometry import ViewSpec
from lgin_edge.kernels import Edits, FacePlan

SPEC = ("face_size", "patch_size", "face_taper", "region_taper", "face_box")


def plan_of(
    frame: Any,
    affines: npt.ArrayLike,
    boxes: npt.ArrayLike,
    *,
    strengths: npt.ArrayLike | None = None,
    color: str = "rgb",
    **spec: Any,
) -> FacePlan:
    return FacePlan.of(frame, FaceBatch(affines, boxes, strengths), ViewSpec(**spec), PixelFormat.parse(color))


def region_crop(frame: Any, affines: npt.ArrayLike, boxes: npt.ArrayLike, *, color: str = "rgb", **options: Any) -> Any:
    spec = {name: options.pop(name) for name in SPEC if name in options}
    return kernels.region_crop(plan_of(frame, affines, boxes, color=color, **spec), frame, **options)


def region_paste(
    frame: Any,
    affines: npt.ArrayLike,
    boxes: npt.ArrayLike,
    face: Any,
    patches: Any,
    *,
    strengths: npt.ArrayLike | None = None,
    color: str = "rgb",
    using: Any = kernels,
    **options: Any,
) -> np.ndarray:
    """``using`` is ``kernels`` or ``reference``. The sizes of the views are those of the edits."""
    spec = {name: options.pop(name) for name in SPEC if name in options}
    sizes = {"face_size": side_of(face), "patch_size": side_of(patches)}
    plan = plan_of(frame, affines, boxes, strengths=strengths, color=color, **sizes, **spec)
    result: np.ndarray = using.region_paste(plan, frame, Edits(face, patches), **options)
    return result


def resample(frame: Any, affine: npt.ArrayLike, height: int, width: int, *, color: str = "rgb", **options: Any) -> Any:
    return kernels.resample(frame, affine, height, width, pixel_format=PixelFormat.parse(color), **options)


def side_of(view: Any) -> int:
    return max(1, np.shape(view)[-1]) if np.ndim(view) else 1


def reference_crop(
    frame: Any, affines: npt.ArrayLike, boxes: npt.ArrayLike, *, color: str = "rgb", **options: Any
) -> Any:
    spec = {name: options.pop(name) for name in SPEC if name in options}
    return reference.region_crop(plan_of(frame, affines, boxes, color=color, **spec), frame, **options)


def reference_paste(*arguments: Any, **options: Any) -> np.ndarray:
    return region_paste(*arguments, using=reference, **options)


def reference_resample(*arguments: Any, color: str = "rgb", **options: Any) -> Any:
    return reference.resample(*arguments, pixel_format=PixelFormat.parse(color), **options)
