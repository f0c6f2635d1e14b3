"""One photograph in, one aligned face out: found, fitted and cut as the run time does it.

Faces are found by the run time's own detector, fitted by ``geometry.fit_similarity`` and cut by the kernel that cuts them on
the device, so training sees them as the product does.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from lgin_edge import geometry, images
from lgin_edge.detectors import centerface
from lgin_edge.errors import ImageError, InputError
from lgin_edge.frames import Frame
from lgin_edge.kernels import resample

from ..templating import Json
from .labels import POINTS, SHARP_SIZE

#: Side of the stored picture by tier, pixels.
SIZES = {"A": SHARP_SIZE, "B": SHARP_SIZE // 2}
#: Source pixels per pixel of tier A that count as real detail there; the portraits' own bound.
SHARP = 0.7
#: A face is the picture's subject if it is this many times as large as every other, or the others are this many times as far from
#: the middle.
CLEARLY_LARGER = 1.5
CLEARLY_NEARER = 2.0
#: Why a photograph is not used.
NOT_AN_IMAGE, CORRUPT, UNSUITABLE, UNREADABLE = "not an image", "corrupt", "not one photograph", "unreadable"
NO_FACE, SEVERAL_FACES, TOO_SMALL = "no face", "several faces", "face too small"
TURNED, CUT_OFF = "head turned too far", "face cut off by the border"


class Limits(NamedTuple):
    """What a face must be: eye distance in source pixels, nose off the midline in eye distances, fraction out of the picture."""

    min_eye_px: float
    max_turn: float
    max_outside: float


class Job(NamedTuple):
    """One picture to look at: its name in the tables, its file, OUT."""

    name: str
    path: Path
    out: Path
    limits: Limits


class Rejected(Exception):
    """This picture is not used: (reason, detail)."""


def align(job: Job) -> Json:
    """Look at one picture and store its face: its line in the journal, with "row" (cells of labels.csv) or "reason".

    Raises ImageError: the aligned picture cannot be written (the disk is full).
    """
    entry: Json = {"name": job.name, "stamp": stamp(job.path)}
    try:
        content, frame = load(job.path)
        face, row = cut(frame, job.limits)
    except Rejected as rejected:
        reason, detail = rejected.args
        return entry | {"reason": reason, "detail": detail}
    except InputError as error:  # of a shape that no camera makes: the kernels go to 65536 px
        return entry | {"reason": UNSUITABLE, "detail": str(error)}
    file = f"images/{content[:20]}_{row['tier']}.jpg"
    images.write(job.out / file, Image.fromarray(face), overwrite=True)
    return entry | {"sha256": content, "row": {"file": file} | row}


def load(path: Path) -> tuple[str, Frame]:
    """SHA-256 of a file, and its picture upright as [H, W, 3] uint8 RGB. Raises Rejected."""
    try:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        # Colour profiles are not applied: the run time does not apply them either.
        return content, np.asarray(images.read(path).image.convert("RGB"))
    except ImageError as error:
        raise Rejected(_why(error), str(error).removeprefix(f"{path}: ")) from error
    except (OSError, MemoryError) as error:
        raise Rejected(UNREADABLE, str(error)) from error


def cut(frame: Frame, limits: Limits) -> tuple[Frame, Json]:
    """The aligned face of a photograph [H, W, 3], as [side, side, 3] uint8 RGB, and its cells. Raises Rejected."""
    height, width = frame.shape[:2]
    face = subject(detector()(frame), width, height)
    affine = geometry.fit_similarity(face.landmarks)
    canonical = geometry.apply(geometry.invert(affine), face.landmarks)
    eyes = canonical[1] - canonical[0]
    scale = float(np.linalg.norm(affine[:, 0]))
    eye_px = scale * float(np.linalg.norm(eyes))
    turn = float((canonical[2] - canonical[:2].mean(axis=0)) @ eyes / (eyes @ eyes))
    outside = outside_fraction(affine, width, height)
    if eye_px < limits.min_eye_px:
        raise Rejected(TOO_SMALL, f"{eye_px:.1f} px between the eyes")
    if abs(turn) > limits.max_turn:
        raise Rejected(TURNED, f"nose {abs(turn):.2f} eye distances off the midline")
    if outside > limits.max_outside:
        raise Rejected(CUT_OFF, f"{outside:.0%} of the square lies outside the picture")
    tier = "A" if scale >= SHARP * SIZES["A"] else "B"
    side = SIZES[tier]
    view = resample(frame, affine, side, side)
    residual = np.linalg.norm(canonical - geometry.TEMPLATE, axis=1).mean() / np.linalg.norm(eyes)
    row = {
        "tier": tier,
        "size": side,
        "src_eye_px": round(eye_px, 1),
        "src_px_per_px": round(scale / side, 3),
        "pad_frac": round(outside, 3),
        "src_w": width,
        "src_h": height,
        "fit_residual": round(float(residual), 3),
        "yaw_proxy": round(turn, 3),
    }
    row |= {
        f"{p}_{a}": round(float(canonical[i, k]) * side, 2) for i, p in enumerate(POINTS) for k, a in enumerate("xy")
    }
    return np.rint((view.transpose(1, 2, 0) + 1) * 127.5).astype(np.uint8), row


def subject(faces: Sequence[centerface.Face], width: int, height: int) -> centerface.Face:
    """The face that a picture is of: clearly the largest, else of the large ones the clearly most central. Raises Rejected."""
    if not faces:
        raise Rejected(NO_FACE, "")
    large = [face for face in faces if face.size * CLEARLY_LARGER > faces[0].size]
    middle = np.array((width, height)) / 2
    away = [float(np.linalg.norm((face.box[:2] + face.box[2:]) / 2 - middle)) for face in large]
    nearest = int(np.argmin(away))
    if any(CLEARLY_NEARER * away[nearest] > other for i, other in enumerate(away) if i != nearest):
        raise Rejected(SEVERAL_FACES, f"{len(faces)} faces, none of them clearly larger or more central")
    return large[nearest]


@functools.cache
def detector() -> centerface.CenterFace:
    """One a process; made when the first picture is looked at."""
    return centerface.CenterFace()


def stamp(path: Path) -> list[int] | None:
    """Size in bytes and time of change of a file; None if it is not there."""
    try:
        state = path.stat()
    except OSError:
        return None
    return [state.st_size, state.st_mtime_ns]


def outside_fraction(affine: geometry.Float64, width: int, height: int) -> float:
    """Fraction of the face's square that lies outside the picture, where its border is repeated."""
    steps = (np.arange(64) + 0.5) / 64
    points = geometry.apply(affine, np.stack(np.meshgrid(steps, steps), axis=-1))
    return 1.0 - float(((points >= 0) & (points <= (width, height))).all(axis=-1).mean())


def _why(error: ImageError) -> str:
    if isinstance(error.__cause__, UnidentifiedImageError):
        return NOT_AN_IMAGE
    if isinstance(error.__cause__, (FileNotFoundError, PermissionError, MemoryError)):
        return UNREADABLE
    return UNSUITABLE if error.__cause__ is None else CORRUPT  # an animation, or too large
