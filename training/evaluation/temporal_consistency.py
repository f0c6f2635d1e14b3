"""Temporal consistency: how much an ager's change flickers on a face that does nothing but move in front of the camera.

There are no films of the portraits, so a still is panned and zoomed (``sequence``). What an ager adds to each frame is brought
back to the face: it should stand still there. ``flicker`` is what does not. Measured twice, with the face's exact landmarks
(what crop, network and paste do) and with those that the detector finds in each frame (what the user of a camera sees); the
difference is the price of the landmarks' jitter. Neither knows a moving head, another light or a camera's noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lgin_edge import geometry
from lgin_edge.detectors import Detector
from lgin_edge.detectors.centerface import CenterFace
from lgin_edge.frames import Frame
from lgin_edge.kernels import resample

from ..templating import Json
from . import measures
from .measures import Floats, binomial
from .summary import number, rounded

if TYPE_CHECKING:
    from ..dataset.labels import Photo
    from ..evaluate import Ager

#: Frames of a sequence.
FRAMES = 12
#: Pixels of the still for one of the frames, which makes a face's square of 384 px one of 256; size of the frames against
#: the whole still.
_REDUCTION, _MARGIN = 1.5, 1.25
#: Amplitude of the pan as a fraction of the frame's sides, and of the zoom.
_PAN, _ZOOM = 0.02, 0.03
#: Side of the canonical view in which residuals are compared.
_VIEW = 192
#: A found face whose landmarks lie further off than this, in eye distances, is another one.
_SAME_FACE = 0.5
_EYES = float(np.linalg.norm(geometry.TEMPLATE[1] - geometry.TEMPLATE[0]))


class Moved(NamedTuple):
    """A frame [H, W, 3] uint8 and its landmarks [5, 2], px."""

    frame: Frame
    landmarks: Floats


def sequence(still: Frame, landmarks: Floats, frames: int = FRAMES) -> list[Moved]:
    """A still panned by up to 2 % of the frame's sides and zoomed by up to 3 %, smoothly and by fractions of a pixel.

    A still sampled at its own resolution would itself shimmer, since its finest detail is blurred or not as the samples
    fall. So the frames have 1 / 1.5 of the still's resolution, each pixel the mean over its footprint, and the still is
    blurred first (binomial, sigma 1 px): 4 % of the contrast at the frames' limit is left to alias, and the frames' own
    flicker in the face is reported beside the ager's. Beside the still its border goes on.

    Args:
        still: [H, W, 3] uint8 RGB, the face as sharp as can be had.
        landmarks: [5, 2] px in it.
    """
    soft = np.rint(binomial(still.astype(np.float64), 1)).astype(np.uint8)
    size = np.array(still.shape[1::-1])  # width, height
    width, height = (round(_MARGIN * side / _REDUCTION) for side in size)
    result = []
    for phase in 2 * np.pi * np.arange(frames) / frames:
        scale = (1 + _ZOOM * np.sin(phase + 1)) / _REDUCTION
        shift = _PAN * np.array([np.sin(phase), np.sin(2 * phase + 1)])
        center = (0.5 + shift) * (width, height)
        to_frame = np.column_stack([scale * np.eye(2), center - scale * size / 2])
        back = geometry.invert(to_frame)
        view = resample(soft, np.column_stack([back[:, :2] * (width, height), back[:, 2]]), height, width)
        frame = np.rint((view.transpose(1, 2, 0).astype(np.float64) + 1) * 127.5).astype(np.uint8)
        result.append(Moved(frame, geometry.apply(to_frame, landmarks)))
    return result


def flicker(pictures: Floats) -> tuple[float, float]:
    """RMS over time of pictures [T, N] about their mean over time, and RMS of that mean."""
    mean = pictures.mean(0)
    return float(np.sqrt(np.mean((pictures - mean) ** 2))), float(np.sqrt(np.mean(mean**2)))


def in_face(frame: Frame, landmarks: Floats) -> Floats:
    """The pixels of a frame inside the face's oval, brought back to canonical space: [N] levels of a byte."""
    view = resample(np.ascontiguousarray(frame), geometry.fit_similarity(landmarks), _VIEW, _VIEW)
    return (view[:, measures.oval(_VIEW)].astype(np.float64) * 127.5).ravel()


def find(detector: Detector, moved: Moved) -> Floats | None:
    """Landmarks [5, 2] of the face that is there, as the detector sees them; None where it does not."""
    apart = [
        (float(np.linalg.norm(face.landmarks - moved.landmarks, axis=1).mean()), face.landmarks)
        for face in detector(moved.frame, "rgb")
    ]
    distance, landmarks = min(apart, key=lambda one: one[0], default=(np.inf, None))
    eyes = float(np.linalg.norm(moved.landmarks[1] - moved.landmarks[0]))
    return landmarks if distance < _SAME_FACE * eyes else None


def person(ager: Ager, detector: Detector, film: Sequence[Moved], years: Sequence[float]) -> Json:
    """How steadily one film is aged.

    The residual is brought back by the exact landmarks in both cases: what is found a pixel off is pasted a pixel off.
    A frame in which the face is not found stays as it is, as in the product, and counts as that.

    Returns:
        "exact" and "detected": "flicker" and "signal", one value for each of ``years``; "missed" frames; "jitter" of the
        found landmarks about their mean, RMS in per cent of the eye distance, None if all were missed; "source": flicker
        of the frames themselves.
    """
    found = [find(detector, moved) for moved in film]
    seen = [in_face(*moved) for moved in film]

    def residuals(landmarks: Sequence[Floats | None]) -> Iterator[Floats]:  # [years, N] for each frame
        for moved, before, points in zip(film, seen, landmarks, strict=True):
            aged = [moved.frame for _ in years] if points is None else ager(moved.frame, points, years)
            yield np.array([in_face(one, moved.landmarks) - before for one in aged])

    result: Json = {}
    for kind, landmarks in (("exact", [moved.landmarks for moved in film]), ("detected", found)):
        values = [flicker(one) for one in np.stack(list(residuals(landmarks)), 1)]
        result[kind] = {"flicker": [value for value, _ in values], "signal": [value for _, value in values]}
    places = [
        geometry.apply(geometry.invert(geometry.fit_similarity(moved.landmarks)), points)
        for moved, points in zip(film, found, strict=True)
        if points is not None
    ]
    result["missed"] = sum(points is None for points in found)
    result["jitter"] = None
    if places:
        result["jitter"] = float(100 / _EYES * np.sqrt(np.var(places, axis=0).sum(-1).mean()))
    return result | {"source": flicker(np.array(seen))[0]}


def measure(
    ager: Ager,
    rows: Iterable[Photo],
    years: Sequence[float],
    groups: Sequence[int],
    detector: Detector | None = None,
    frames: int = FRAMES,
) -> Json | None:
    """Temporal consistency over some people, who must be sharp; None without any.

    Args:
        years: ages asked for; ``groups`` are their indices among the target groups.
        detector: the bundled one when not given.

    Returns:
        "exact" and "detected", means over the people, one value for each of ``years``: "flicker", "signal" and "ratio", of
        the two; "n", "frames", "groups", "missed", "jitter" and "source" as in ``person``; "people": each one's flicker.
    """
    everyone: list[Json] = []
    for row in rows:
        detector = detector or CenterFace()
        one = person(ager, detector, sequence(row.frame(), row.landmarks, frames), years)
        everyone.append({"file": row.file, **one})
    if not everyone:
        return None
    result: Json = {"n": len(everyone), "frames": frames, "groups": list(groups)}
    for kind in ("exact", "detected"):
        value, signal = (np.mean([one[kind][name] for one in everyone], axis=0) for name in ("flicker", "signal"))
        ratio = [round(float(v / s), 4) if s > 0 else None for v, s in zip(value, signal, strict=True)]
        result[kind] = {"flicker": rounded(value, 3), "signal": rounded(signal, 3), "ratio": ratio}
    jitter = [one["jitter"] for one in everyone if one["jitter"] is not None]
    return result | {
        "missed": sum(one["missed"] for one in everyone),
        "jitter": number(np.mean(jitter)) if jitter else None,
        "source": number(np.mean([one["source"] for one in everyone]), 3),
        "people": [
            {key: one[key] for key in ("file", "missed")}
            | {kind: rounded(one[kind]["flicker"], 3) for kind in ("exact", "detected")}
            for one in everyone
        ],
    }
