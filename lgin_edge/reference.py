"""``region_crop``, ``resample`` and ``region_paste`` once more, in NumPy and in double: to be read, and to test against.

Same names and arguments as ``kernels`` (less ``threads`` and ``device``); arguments are taken as they are.
Positions are in frame pixels, where pixel (i, j) covers [j, j+1] x [i, i+1].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .frames import Floats, Frame, PixelFormat
from .geometry import Float64, apply, invert, view_affine, window

if TYPE_CHECKING:
    from .kernels import Edits, FacePlan

#: Most samples along one axis of a footprint.
MAX_SAMPLES = 64

#: BT.601 limited range, as OpenCV converts NV12: [R G B] = 1.164 (Y - 16) + [U - 128, V - 128] @ _FROM_UV.
_FROM_UV = np.array([(0.0, -0.391, 2.018), (1.596, -0.813, 0.0)])
#: A change of [R G B] to the change of [Y U V].
_TO_YUV = np.array([(0.257, -0.148, 0.439), (0.504, -0.291, -0.368), (0.098, 0.439, -0.071)])


def region_crop(
    plan: FacePlan,
    frame: Frame,  # [H, W, C] or [H * 3/2, W] uint8
    *,
    dtype: npt.DTypeLike = np.float32,
) -> tuple[Floats, Floats]:
    """Face views [N, 3, S, S] and local views [N, 5, 3, P, P], planar RGB in [-1, 1]."""
    n, s, p = len(plan.faces), plan.spec.face_size, plan.spec.patch_size
    face: Floats = np.empty((n, 3, s, s), np.dtype(dtype))
    patches: Floats = np.empty((n, 5, 3, p, p), np.dtype(dtype))

    def cut(affine: Float64, box: npt.ArrayLike, side: int) -> Floats:
        return resample(frame, view_affine(affine, box), side, side, pixel_format=plan.pixel_format, dtype=dtype)

    for i, (affine, boxes) in enumerate(zip(plan.faces.affines, plan.faces.boxes, strict=True)):
        face[i] = cut(affine, plan.spec.face_box, s)
        for r, box in enumerate(boxes):
            patches[i, r] = cut(affine, box, p)
    return face, patches


def resample(
    frame: Frame,  # [H, W, C] or [H * 3/2, W] uint8
    affine: npt.ArrayLike,  # [2, 3]
    height: int,
    width: int,
    *,
    pixel_format: PixelFormat = PixelFormat.RGB,
    dtype: npt.DTypeLike = np.float32,
) -> Floats:
    """The view whose unit square ``affine`` maps to the frame, [3, height, width] planar RGB in [-1, 1].

    With the steps ``a`` and ``b`` to the next view pixel of a row and to the next row, in frame pixels, a view pixel is
    the mean of ``n_a x n_b`` bilinear samples, ``n = ceil(step)``, spread evenly over its footprint.
    """
    view = np.asarray(affine, np.float64)
    a, b = view[:, 0] / width, view[:, 1] / height
    n_a, n_b = sample_count(a), sample_count(b)
    v, u = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
    centers = apply(view, np.stack([u, v], axis=-1))  # [height, width, 2]
    total = np.zeros((height, width, 3))
    for k in range(n_a):
        for m in range(n_b):
            position = centers + ((k + 0.5) / n_a - 0.5) * a + ((m + 0.5) / n_b - 0.5) * b
            total += _sample(frame, position, pixel_format)
    mean = total / (n_a * n_b)
    result: Floats = (mean / 127.5 - 1.0).transpose(2, 0, 1).astype(np.dtype(dtype), order="C")
    return result


def region_paste(
    plan: FacePlan,
    frame: Frame,  # [H, W, C] or [H * 3/2, W] uint8
    edits: Edits,
    *,
    out: Frame | None = None,
) -> Frame:
    """The frame with ``127.5 s d(u)`` added under each face's square, faces in order; all other bytes as they were."""
    result: Frame = frame.copy("C")
    height, width, spec = plan.height, plan.width, plan.spec
    faces = plan.faces
    for affine, boxes, strength, face, patches in zip(
        faces.affines, faces.boxes, faces.strengths, edits.face_edit, edits.patch_edit, strict=True
    ):
        scale = 127.5 * strength
        views = [(face, np.array(spec.face_box), spec.face_taper)]
        views += [(patch, box, spec.region_taper) for patch, box in zip(patches, boxes, strict=True)]
        if plan.pixel_format.is_nv12:
            luma, chroma = result[:height], result[height:].reshape(height // 2, width // 2, 2)
            _add(luma[..., None], scale * _residual(affine, views, _centers(height, width, 1)) @ _TO_YUV[:, :1])
            _add(chroma, scale * _residual(affine, views, _centers(height // 2, width // 2, 2)) @ _TO_YUV[:, 1:])
        else:
            change = scale * _residual(affine, views, _centers(height, width, 1))
            channels = list(plan.pixel_format.rgb)
            rgb = result[..., channels]
            _add(rgb, change)
            result[..., channels] = rgb
    if out is None:
        return result
    out[...] = result
    return out


def sample_count(step: Float64) -> int:
    """Samples along a step [2] of a view, in frame pixels: one a pixel. A step that is 1 but for rounding takes one."""
    length = np.sqrt(step[0] * step[0] + step[1] * step[1])
    return int(min(MAX_SAMPLES, max(1, np.ceil(length - 1e-3))))


def _sample(frame: Frame, position: Float64, pixel_format: PixelFormat) -> Float64:
    """RGB at positions [..., 2] of the frame, 0 to 255, [..., 3]."""
    if not pixel_format.is_nv12:
        rgb: Float64 = _bilinear(frame, position)[..., list(pixel_format.rgb)]
        return rgb
    height, width = pixel_format.size(frame)
    luma = _bilinear(frame[:height, :, None], position)
    # A block of 2x2 pixels has one U and one V, at its centre.
    uv = _bilinear(frame[height:].reshape(height // 2, width // 2, 2), position / 2)
    converted: Float64 = np.clip(1.164 * np.maximum(luma - 16.0, 0.0) + (uv - 128.0) @ _FROM_UV, 0.0, 255.0)
    return converted


def _bilinear(image: npt.NDArray[Any], position: Float64) -> Float64:
    """Bilinear samples of ``image`` [H, W, C] at positions [..., 2], the border replicated, [..., C]."""
    index = position - 0.5
    low = np.floor(index).astype(np.int64)
    fx, fy = np.moveaxis(index - low, -1, 0)[..., None]
    last = (image.shape[1] - 1, image.shape[0] - 1)
    x0, y0 = np.moveaxis(np.clip(low, 0, last), -1, 0)
    x1, y1 = np.moveaxis(np.clip(low + 1, 0, last), -1, 0)

    def lerp(a: Float64, b: Float64, t: Float64) -> Float64:
        return a + t * (b - a)

    def pixels(y: npt.NDArray[np.int64], x: npt.NDArray[np.int64]) -> Float64:
        return image[y, x].astype(np.float64)

    return lerp(lerp(pixels(y0, x0), pixels(y1, x0), fy), lerp(pixels(y0, x1), pixels(y1, x1), fy), fx)


def _centers(height: int, width: int, pitch: int) -> Float64:
    """Centres of a grid of cells of ``pitch`` frame pixels, [height, width, 2]."""
    y, x = np.meshgrid((np.arange(height) + 0.5) * pitch, (np.arange(width) + 0.5) * pitch, indexing="ij")
    return np.stack([x, y], axis=-1)


def _residual(affine: Float64, views: list[tuple[Floats, Float64, float]], position: Float64) -> Float64:
    """``d(u)`` at frame positions [..., 2], [..., 3]; 0 outside the face's square and where it is not a number."""
    d = np.zeros((*position.shape[:-1], 3))
    in_face = _inside(apply(invert(view_affine(affine, views[0][1])), position))
    with np.errstate(invalid="ignore", over="ignore"):
        for delta, box, taper in views:
            t = apply(invert(view_affine(affine, box)), position)
            weight = window(t[..., 0], taper) * window(t[..., 1], taper)
            value = _bilinear(delta.transpose(1, 2, 0), np.clip(t, 0.0, 1.0) * delta.shape[-1])
            d += np.where((in_face & _inside(t))[..., None], weight[..., None] * value, 0.0)
    return np.where(np.isnan(d), 0.0, d)


def _inside(t: Float64) -> npt.NDArray[np.bool_]:
    result: npt.NDArray[np.bool_] = np.logical_and.reduce((t > 0.0) & (t < 1.0), axis=-1)
    return result


def _add(target: npt.NDArray[np.uint8], change: Float64) -> None:
    """Add to 8-bit levels in place: clamped, then rounded half up."""
    target[...] = np.floor(np.clip(target + change, 0.0, 255.0) + 0.5)
