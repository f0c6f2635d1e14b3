"""``region_crop``, ``resample`` and ``region_paste`` once more, in NumPy and in double: to be read, and to test against.

Same names and arguments as ``kernels`` (less ``threads`` and ``device``); arguments are taken as they are.
Positions are in frame pixels, where pixel (i, j) covers [j, j+1] x [i, i+1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .frames import Floats, Frame, PixelFormat
from .geometry import Float64, apply, invert, view_affine, window

if TYPE_CHECKING:
    from .edits import Edits
    from .kernels import FacePlan

#: Most samples along one axis of a footprint.
MAX_SAMPLES = 64

#: BT.601 limited range, as OpenCV converts NV12: [R G B] = 1.164 (Y - 16) + [U - 128, V - 128] @ _FROM_UV.
_FROM_UV = np.array([(0.0, -0.391, 2.018), (1.596, -0.813, 0.0)])
_LUMA = np.array([0.299, 0.587, 0.114])
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
    """The frame with the edits of each face under its square, faces in order; all other bytes as they were."""
    result: Frame = frame.copy("C")
    for n in range(len(plan.faces)):
        if edits.residuals_alone:
            _paste_residuals(plan, n, edits, result)
        else:
            _paste_edits(plan, n, edits, result)
    if out is None:
        return result
    out[...] = result
    return out


def _paste_residuals(plan: FacePlan, n: int, edits: Edits, result: Frame) -> None:
    """Format 1, in place: ``127.5 t d(u)`` is added."""
    height, width, views = plan.height, plan.width, _views(plan, n, edits)
    scale = 127.5 * plan.faces.strengths[n]

    def change(position: Float64) -> Float64:
        values, inside = _sum_views(plan.faces.affines[n], views, position)
        changed: Float64 = scale * np.where(inside[..., None] & ~np.isnan(values), values, 0.0)
        return changed

    if plan.pixel_format.is_nv12:
        luma, chroma = result[:height], result[height:].reshape(height // 2, width // 2, 2)
        luma[...] = _rounded(luma + (change(_centers(height, width, 1)) @ _TO_YUV[:, :1])[..., 0])
        chroma[...] = _rounded(chroma + change(_centers(height // 2, width // 2, 2)) @ _TO_YUV[:, 1:])
    else:
        channels = list(plan.pixel_format.rgb)
        result[..., channels] = _rounded(result[..., channels] + change(_centers(height, width, 1)))


def _paste_edits(plan: FacePlan, n: int, edits: Edits, result: Frame) -> None:
    """From format 2 on, in place; ``kernels.region_paste`` has the definition."""

    def at(position: Float64) -> _EditsAt:
        return _edits_at(plan, n, edits, position)

    if plan.spec.edit_format >= 3:
        _paste_step(plan, result.copy(), lambda position: at(position).still(), result)
        _paste_step(plan, result.copy(), lambda position: at(position).moves_alone(), result)
    else:
        _paste_step(plan, result.copy(), at, result)


def _paste_step(plan: FacePlan, source: Frame, at: Callable[[Float64], _EditsAt], result: Frame) -> None:
    """What edits ``at`` positions make of a frame, into another."""
    height, width = plan.height, plan.width
    pixels = _centers(height, width, 1)
    if not plan.pixel_format.is_nv12:
        channels = list(plan.pixel_format.rgb)
        rgb = source[..., channels].astype(np.float64)
        here = at(pixels)
        v = np.where(here.moved, _bicubic(rgb, pixels + here.move), rgb)
        grey = bool((rgb[here.inside] == rgb[here.inside][:, :1]).all())
        result[..., channels] = np.where(here.inside[..., None], _rounded(here.apply(v, grey)), source[..., channels])
        return
    uv = source[height:].reshape(height // 2, width // 2, 2)
    blocks = _centers(height // 2, width // 2, 2)
    at_blocks = at(blocks)
    grey = bool((uv[at_blocks.inside] == 128).all())
    for here, position, part, target in (
        (at(pixels), pixels, slice(0, 1), result[:height, :, None]),
        (at_blocks, blocks, slice(1, 3), result[height:].reshape(height // 2, width // 2, 2)),
    ):
        there = position + here.move
        luma = source[:height, :, None].astype(np.float64)
        y = np.where(here.moved, _bicubic(luma, there), _bilinear(luma, there))
        yuv = np.concatenate([y, _bilinear(uv, there / 2)], axis=-1)
        v = _rgb_of(yuv)
        changed = yuv + (here.apply(v, grey) - v) @ _TO_YUV
        target[...] = np.where(here.inside[..., None], _rounded(changed[..., part]), target)


@dataclass(frozen=True)
class _EditsAt:
    """Edits at positions [...]: ``residual`` [..., 3] in levels, ``light`` and ``grey`` [...], ``move`` [..., 2] in pixels."""

    inside: npt.NDArray[np.bool_]
    residual: Float64
    light: Float64
    grey: Float64
    move: Float64

    def still(self) -> _EditsAt:
        return replace(self, move=np.zeros_like(self.move))

    def moves_alone(self) -> _EditsAt:
        nothing = np.zeros_like(self.grey)
        return replace(self, residual=np.zeros_like(self.residual), light=nothing + 1.0, grey=nothing)

    @property
    def moved(self) -> npt.NDArray[np.bool_]:
        result: npt.NDArray[np.bool_] = (self.move != 0.0).any(axis=-1, keepdims=True)
        return result

    def apply(self, v: Float64, without_colour: bool) -> Float64:
        """v2 of v, levels [..., 3]."""
        residual = (self.residual @ _LUMA)[..., None] if without_colour else self.residual
        v = v + self.grey[..., None] * ((v @ _LUMA)[..., None] - v)
        result: Float64 = np.clip(self.light[..., None] * v + residual, 0.0, 255.0)
        return result


def _edits_at(plan: FacePlan, n: int, edits: Edits, position: Float64) -> _EditsAt:
    """The edits of face ``n`` at frame positions [..., 2]; nothing outside its square."""
    affine, strength, box = plan.faces.affines[n], plan.faces.strengths[n], np.array(plan.spec.face_box)
    detail, inside = _sum_views(affine, _views(plan, n, edits), position)
    t = np.clip(apply(invert(view_affine(affine, box)), position), 0.0, 1.0)
    weight = window(t[..., 0], plan.spec.face_taper) * window(t[..., 1], plan.spec.face_taper)

    def at(planes: Floats, t: Float64) -> Float64:  # [C, side, side] at t [..., 2]
        return _bilinear(planes.transpose(1, 2, 0).astype(np.float64), t * planes.shape[-1])

    with np.errstate(invalid="ignore", over="ignore"):
        grey, skin = np.moveaxis(weight[..., None] * at(edits.face_edit[n, 4:], t), -1, 0)
        exponent = np.zeros(weight.shape)
        if edits.lines is not None and edits.place is not None:
            place = np.clip(np.nan_to_num(at(edits.place[n], t), nan=0.0), 0.0, 1.0)
            exponent = _number(strength * skin * at(edits.lines[n], place)[..., 0])
        gain = np.clip(1.0 + _number(strength * detail[..., 3]), 0.0, 65504.0)
        of_lines = np.exp(np.clip(exponent, -8.0, 8.0))
        light = gain * of_lines
        move = np.zeros(position.shape)
        if edits.flow is not None:
            flow = _number(strength * weight[..., None] * at(edits.flow[n], t))
            extent = box[2:] - box[:2]
            flow = np.clip(flow, -t * extent, (1.0 - t) * extent)
            move = flow @ affine[:, :2].T
        greyed = np.clip(np.nan_to_num(strength * grey, nan=0.0), 0.0, 1.0)
        if plan.spec.edit_format >= 4:
            greyed = 1.0 - (1.0 - greyed) / of_lines
        residual = _number(127.5 * strength * detail[..., :3])
    return _EditsAt(
        inside,
        np.where(inside[..., None], residual, 0.0),
        np.where(inside, light, 1.0),
        np.where(inside, greyed, 0.0),
        np.where(inside[..., None], move, 0.0),
    )


def _number(x: Float64) -> Float64:
    result: Float64 = np.where(np.isnan(x), 0.0, x)
    return result


def _views(plan: FacePlan, n: int, edits: Edits) -> list[tuple[Floats, Float64, float]]:
    """What adds up over the views of face ``n``: residual, and from format 2 on gain, [3 or 4, side, side]; its box and its taper."""
    channels = 3 if edits.residuals_alone else 4
    views = [(edits.face_edit[n, :channels], np.array(plan.spec.face_box), plan.spec.face_taper)]
    for patch, box in zip(edits.patch_edit[n], plan.faces.boxes[n], strict=True):
        views.append((patch, box, plan.spec.region_taper))
    return views


def psnr(expected: npt.NDArray[Any], actual: npt.NDArray[Any], peak: float) -> float:
    """Peak signal-to-noise ratio, dB: infinite where nothing differs, minus infinity where a value is not finite."""
    error = float(np.square(actual.astype(np.float64) - expected).mean())
    if not np.isfinite(error):
        return -np.inf
    return float(10 * np.log10(peak**2 / error)) if error else np.inf


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
    return _rgb_of(np.concatenate([luma, uv], axis=-1))


def _rgb_of(yuv: Float64) -> Float64:
    """BT.601 limited range [..., 3] to R, G and B, 0 to 255."""
    luma, uv = yuv[..., :1], yuv[..., 1:]
    rgb: Float64 = np.clip(1.164 * np.maximum(luma - 16.0, 0.0) + (uv - 128.0) @ _FROM_UV, 0.0, 255.0)
    return rgb


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


def _sum_views(
    affine: Float64, views: list[tuple[Floats, Float64, float]], position: Float64
) -> tuple[Float64, npt.NDArray[np.bool_]]:
    """``w_0 d_0 + sum_r w_r d_r`` at frame positions [..., 2], [..., C]; and whether they are inside the face's square."""
    total = np.zeros((*position.shape[:-1], views[0][0].shape[0]))
    in_face = _inside(apply(invert(view_affine(affine, views[0][1])), position))
    with np.errstate(invalid="ignore", over="ignore"):
        for planes, box, taper in views:
            t = apply(invert(view_affine(affine, box)), position)
            weight = window(t[..., 0], taper) * window(t[..., 1], taper)
            value = _bilinear(planes.transpose(1, 2, 0), np.clip(t, 0.0, 1.0) * planes.shape[-1])
            total += np.where((in_face & _inside(t))[..., None], weight[..., None] * value, 0.0)
    return total, in_face


def _bicubic(image: npt.NDArray[Any], position: Float64) -> Float64:
    """Catmull-Rom samples (Keys 1981, a = -1/2) of ``image`` [H, W, C] at [..., 2], clamped to levels, the border replicated."""
    index = position - 0.5
    low = np.floor(index).astype(np.int64)
    t = index - low
    weights = np.stack(
        [
            ((-0.5 * t + 1) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1,
            ((-1.5 * t + 2) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        ]
    )  # [4, ..., 2]
    total = np.zeros((*position.shape[:-1], image.shape[2]))
    for i in range(4):
        for j in range(4):
            y = np.clip(low[..., 1] + i - 1, 0, image.shape[0] - 1)
            x = np.clip(low[..., 0] + j - 1, 0, image.shape[1] - 1)
            total += (weights[i, ..., 1] * weights[j, ..., 0])[..., None] * image[y, x]
    return np.clip(total, 0.0, 255.0)


def _inside(t: Float64) -> npt.NDArray[np.bool_]:
    result: npt.NDArray[np.bool_] = np.logical_and.reduce((t > 0.0) & (t < 1.0), axis=-1)
    return result


def _rounded(level: Float64) -> npt.NDArray[np.uint8]:
    """Levels as bytes: clamped, then rounded half up."""
    result: npt.NDArray[np.uint8] = np.floor(np.clip(level, 0.0, 255.0) + 0.5).astype(np.uint8)
    return result
