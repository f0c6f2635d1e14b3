"""What a caller gives to ``Transformer``, as the frame path takes it: pictures, faces, strengths, ages."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import geometry
from .arguments import floats
from .errors import AgeRangeWarning, ImageError, InputError, raised_by_caller, shown
from .faces import Face, FaceBatch
from .frames import Color, Frame, PixelFormat, check_result
from .limits import Limits
from .models.description import Description


def picture_of(image: Any, limits: Limits) -> Any:
    """The picture in a file, where the caller gives a path."""
    if not isinstance(image, (str, os.PathLike)):
        return image
    from .images import read

    return read(image, limits=limits).image


def placed(faces: Sequence[Face], strength: float | Sequence[float]) -> FaceBatch:
    """The faces that change at all. Raises InputError."""
    try:
        strengths = np.broadcast_to(floats(strength), len(faces))
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"strength: expected a number, or one for each of the {len(faces)} faces, got {shown(strength)}"
        ) from error
    if not ((strengths >= 0) & (strengths <= 1)).all():
        raise InputError(f"strength: expected 0 to 1, got {strength!r}")
    return FaceBatch.of(faces, strengths)[strengths > 0]


def given_faces(faces: Sequence[Face] | None, landmarks: npt.ArrayLike | None) -> list[Face] | None:
    """The faces that the caller chose; None if they are to be found."""
    if faces is not None and landmarks is not None:
        raise InputError("give faces= or landmarks=, not both")
    if landmarks is not None:
        try:
            points = floats(landmarks)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"landmarks: expected numbers of shape (5, 2) or (N, 5, 2): {error}") from error
        if points.shape[-2:] != (5, 2) or points.ndim not in (2, 3):
            raise InputError(
                f"landmarks: expected shape (5, 2) or (N, 5, 2), {geometry.LANDMARK_NAMES} as (x, y) pixels, got {points.shape}"
            )
        return [Face(one) for one in points.reshape(-1, 5, 2)]
    if faces is None:
        return None
    if not isinstance(faces, Sequence) or not all(isinstance(face, Face) for face in faces):
        raise InputError(f"faces: expected a list of Face, as detect() gives, got {type(faces).__name__}")
    return list(faces)


def to_frame(image: Any, color: Color | None) -> tuple[Frame, PixelFormat, Callable[[Frame], Any]]:
    """An array for the kernels, its pixel format, and the way back to what the caller gave."""
    if isinstance(image, np.ndarray):
        order = PixelFormat.of(color, image.shape)
        order.check("image", image)
        return image, order, lambda result: result
    pillow = sys.modules.get("PIL.Image")  # a caller with a Pillow image has imported it
    if pillow is None or not isinstance(image, pillow.Image):
        raise InputError(f"image: expected a NumPy array [H, W, 3] uint8 or a Pillow image, got {type(image).__name__}")
    if color is not None:
        raise InputError(f"color: a Pillow image knows its own; leave color out, got {color!r}")
    from .images import to_plain

    try:
        image.load()
        plain = to_plain(image)
    except ImageError as error:
        raise InputError(f"image: {error}") from error
    except (MemoryError, ImportError):
        raise
    # Pillow reads a file when its pixels are first needed: it may be damaged, or closed by then.
    except Exception as error:
        if raised_by_caller(error):
            raise
        why = str(error) or "was its file closed before they were needed?"
        raise InputError(f"image: its pixels cannot be read: {why}") from error
    order = PixelFormat.RGBA if plain.mode in ("RGBA", "LA") else PixelFormat.RGB

    def restore(result: Frame) -> Any:
        back = pillow.fromarray(result)
        if back.mode != plain.mode:
            back = back.convert(plain.mode)
        back.info = dict(image.info)
        if plain.mode != image.mode:
            back.info.pop("transparency", None)
            if image.mode in ("CMYK", "LAB"):
                back.info.pop("icc_profile", None)  # it describes the old colours
        return back

    return np.asarray(plain.convert(order.name)), order, restore


def targets(image: Any, frame: Frame, out: Frame | None, count: int) -> tuple[Frame, list[Frame]]:
    """The frame to read, and ``count`` arrays with its bytes to change: new ones, or ``out``. Raises InputError."""
    if out is None:
        return frame, [np.array(frame, order="C") for _ in range(count)]
    if not isinstance(image, np.ndarray):
        raise InputError("out: only for arrays; a Pillow image comes back as a new one")
    if not isinstance(out, np.ndarray) or out.shape != frame.shape or out.dtype != frame.dtype:
        got = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise InputError(f"out: expected an array like the image, {frame.dtype} {frame.shape}, got {got}")
    check_result(out)
    if out is not frame:
        frame = frame.copy() if np.may_share_memory(out, frame) else frame
        np.copyto(out, frame)
    return frame, [out]


def code_of(about: Description, group: float | None, years: Any, stacklevel: int = 3) -> npt.NDArray[np.float32]:
    """The code of an age, [K]. Warns of one that the model does not reach, by default whoever called our caller. Raises InputError."""
    years = years.item() if isinstance(years, np.ndarray) and not years.ndim else years
    code = about.age_code(group=group, years=years)
    if years is not None and (used := about.used_years(years)) != years:
        warnings.warn(
            f"years: {years:g} was asked for, and {about.model} reaches from {about.groups[0].center:g} to "
            f"{about.groups[-1].center:g}: {used:g} is used",
            AgeRangeWarning,
            stacklevel=stacklevel,
        )
    return code
