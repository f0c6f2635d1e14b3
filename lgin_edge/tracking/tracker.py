"""The faces of a stream from frame to frame: who is who, where, and how much each may be changed.

The flow carries the landmarks from one frame to the next, and a detection, which may be some frames old by the time it is
there, is carried after them. Flow is steady and drifts, detections are right and jitter: the landmarks that are shown move
with the flow and go to the detected ones through a One-Euro filter whose state moves with the face, so that a movement
costs no delay and jitter is smoothed as on a face that keeps still. Nothing here knows of threads or clocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .. import geometry
from ..faces import Face, face_or_none
from ..frames import Frame, PixelFormat
from ..geometry import Float64
from .face_points import FacePoints
from .head_pose import Pose, falling, head_pose, pose_strength
from .occlusion import appearance, in_frame_fraction
from .one_euro import OneEuro
from .optical_flow import Patch, choose_points, eye_distance, face_patch, follow, same_patch, similarity, still_fits
from .visibility import Visibility

#: Seconds from nothing to the whole change, and back.
FADE_IN, FADE_OUT = 0.4, 0.15
#: A detection and a track are one face if their landmarks are no further apart, on average, in eye distances; a lost track is
#: only roughly where it is thought to be.
_SAME, _SAME_LOST = 0.8, 1.2
#: Two tracks that are this near follow the same face.
_DOUBLE = 0.4
#: Detections that must have missed a face before it goes.
_MISSES = 2
#: Seconds for which a face that is out of sight, or that the detector does not see, keeps its identity.
_KEEP = 1.0
#: Limits of ``falling``: the detector's score; fraction of the face that is in the frame.
_SCORE, _IN_FRAME = (0.65, 0.5), (0.6, 0.25)
#: A track is lost when more of its face is occluded.
_MAX_OCCLUDED = 0.6
#: The One-Euro filter, in eye distances (``OneEuro``): chosen with ``benchmarks/stream.py``.
MIN_CUTOFF, BETA = 0.5, 2.0


@dataclass(frozen=True, eq=False)
class TrackedFace:
    """A face in a frame of a stream."""

    id: int  #: The same for the same face as long as it is followed; from 1 on, never used again.
    face: Face  #: Box, landmarks and the score of the last detection.
    strength: float  #: Fraction of the change that it gets, 0 to 1.
    pose: Pose  #: Roughly where the head points, degrees.


@dataclass(eq=False)
class _Track:
    id: int
    anchor: Float64  # [5, 2], the last detection, carried on by the flow
    score: float
    face: Face  # the same, smoothed: what is shown
    visibility: Visibility
    smoother: OneEuro = field(default_factory=lambda: OneEuro(min_cutoff=MIN_CUTOFF, beta=BETA))
    blend: float = 0.0
    patch: Patch | None = None
    points: FacePoints = field(default_factory=FacePoints)
    in_frame: float = 1.0
    drift: Float64 = field(default_factory=lambda: np.zeros(2))  # frame pixels per second
    lost_for: float | None = None
    misses: int = 0
    unseen_for: float = 0.0  # seconds since a detector saw it
    requested_anchor: Float64 | None = None  # [5, 2], the anchor when a detection was asked for ...
    motion_since_request: Float64 = field(default_factory=lambda: np.eye(2, 3))  # ... how the face moved since, [2, 3]

    def goal(self, pose: Pose) -> float:
        """The strength that it should have in this pose."""
        if self.lost_for is not None or self.misses >= _MISSES:
            return 0.0
        seen = self.visibility.strength * falling(self.in_frame, *_IN_FRAME)
        return pose_strength(pose) * falling(self.score, *_SCORE) * seen


class Tracker:
    """Follows the faces of one stream.

    For each frame ``move``; then, when there is a detection, ``correct``; then ``fade``. ``ask`` marks the frame that a
    detection is asked for.
    """

    def __init__(self, pixel_format: PixelFormat) -> None:
        self._format = pixel_format
        self._tracks: list[_Track] = []
        self._next_id = 1

    def __len__(self) -> int:
        return len(self._tracks)

    @property
    def lost(self) -> int:
        """How many faces have just gone out of sight."""
        return sum(track.lost_for is not None for track in self._tracks)

    @property
    def doubtful(self) -> bool:
        """Whether a detector should look soon: a face is lost, covered, followed by few points, or was missed by it."""
        return any(one.lost_for is not None or one.misses > 0 or one.visibility.doubtful for one in self._tracks)

    def reset(self) -> None:
        """Forget every face at once: another scene begins."""
        self._tracks.clear()

    def ask(self) -> None:
        """A detection of the frame that was just moved to is asked for."""
        for track in self._tracks:
            track.requested_anchor, track.motion_since_request = track.anchor.copy(), np.eye(2, 3)

    def move(self, frame: Frame, dt: float) -> None:
        """Follow the faces into the next frame, of the size of the one before and ``dt`` seconds after it."""
        for track in self._tracks:
            track.unseen_for += dt
            self._move(track, frame, dt)
            self._look(track, frame, dt)
        self._drop_doubles()

    def correct(self, found: Sequence[Face], asked: Frame | None, frame: Frame, *, at_once: bool = False) -> None:
        """Take in a detection.

        Args:
            found: its faces.
            asked: the frame that it looked at, the one of the last ``ask``; None if that is ``frame`` itself.
            frame: the frame that was last moved to.
            at_once: new faces begin with the whole change, as those of a film's first frame, instead of fading in.
        """
        free = [(track, track.requested_anchor) for track in self._tracks if track.requested_anchor is not None]
        pairs = sorted(
            (distance, i, j)
            for i, (track, anchor) in enumerate(free)
            for j, face in enumerate(found)
            if (distance := _apart(anchor, face.landmarks)) <= (_SAME if track.lost_for is None else _SAME_LOST)
        )
        matched: dict[int, int] = {}
        for _, i, j in pairs:
            if i not in matched and j not in matched.values():
                matched[i] = j
        for i, (track, _) in enumerate(free):
            if i in matched:
                self._confirm(track, found[matched[i]], asked, frame)
            else:
                track.misses += 1
                track.visibility.miss()
        for j, face in enumerate(found):
            if j not in matched.values():
                self._add(face, asked, frame, at_once)
        for track in self._tracks:
            track.requested_anchor = None

    def fade(self, dt: float) -> list[TrackedFace]:
        """The faces with the strength that each has now, ``dt`` seconds after the frame before, the first found first; those that are
        gone are forgotten."""
        poses = {track.id: head_pose(track.face.landmarks) for track in self._tracks}
        for track in self._tracks:
            step = track.goal(poses[track.id]) - track.blend
            track.blend += min(step, dt / FADE_IN) if step > 0 else max(step, -dt / FADE_OUT)
        self._tracks = [track for track in self._tracks if not _is_gone(track)]
        return [
            TrackedFace(track.id, track.face.scored(track.score), track.blend, poses[track.id])
            for track in self._tracks
            if track.lost_for is None or track.blend > 0
        ]

    def _move(self, track: _Track, frame: Frame, dt: float) -> None:
        moved = patch = None
        if track.lost_for is None and track.patch is not None:
            patch = same_patch(frame, self._format, track.patch)
            moved = track.points.follow(track.patch, patch)
        if moved is None:
            track.lost_for = (track.lost_for or 0.0) + dt
            moved = np.column_stack([np.eye(2), track.drift * dt])
            track.points.clear()
        elif dt > 0:
            shift = geometry.apply(moved, track.anchor).mean(axis=0) - track.anchor.mean(axis=0)
            track.drift = 0.5 * track.drift + 0.5 * shift / dt
        track.anchor = geometry.apply(moved, track.anchor)
        track.motion_since_request = _after(moved, track.motion_since_request)
        track.smoother.carry(moved)
        face = face_or_none(track.smoother(track.anchor, dt, eye_distance(track.anchor)), track.score)
        if face is None:  # half way between two poses that have nothing in common
            track.smoother = OneEuro(min_cutoff=MIN_CUTOFF, beta=BETA)
            face = Face(track.smoother(track.anchor, dt), track.score)
        track.face = face
        track.points.drop_strays(face.affine)
        track.patch = patch if patch and still_fits(patch, frame, self._format, face.landmarks) else None

    def _look(self, track: _Track, frame: Frame, dt: float) -> None:
        """How much of the face is to be seen in the frame."""
        affine = track.face.affine
        height, width = self._format.size(frame)
        track.in_frame = in_frame_fraction(affine, width, height)
        if track.patch is None and track.lost_for is None:
            track.patch = face_patch(frame, self._format, track.face.landmarks)
        if track.patch is None and track.lost_for is None:
            track.lost_for = 0.0
        if track.patch is None or track.lost_for is not None:
            track.visibility.lose()
            return
        track.visibility.observe(appearance(track.patch, affine), track.points, dt)
        if track.visibility.occluded > _MAX_OCCLUDED:
            track.lost_for = 0.0

    def _confirm(self, track: _Track, face: Face, asked: Frame | None, frame: Frame) -> None:
        """The detector sees a track's face."""
        if track.lost_for is None:
            anchor: Float64 | None = geometry.apply(track.motion_since_request, face.landmarks)
        else:
            anchor = self._brought_forward(face, asked, frame)
        if anchor is None or face_or_none(anchor) is None:
            return
        lost, apart = track.lost_for is not None, _apart(track.anchor, anchor)
        track.anchor, track.score, track.misses, track.unseen_for = anchor, face.score, 0, 0.0
        if lost:
            self._start(track, frame)
        else:
            track.points.move_homes(track.face.affine)
        renew = track.visibility.answer(face.score, 0.0 if lost else apart)
        if renew and track.patch is not None:
            track.points.choose(track.patch, track.face.affine)

    def _add(self, face: Face, asked: Frame | None, frame: Frame, at_once: bool) -> None:
        """A face that no track had."""
        landmarks = self._brought_forward(face, asked, frame)
        here = None if landmarks is None else face_or_none(landmarks, face.score)
        if landmarks is None or here is None:
            return
        if any(_apart(track.anchor, landmarks) < _SAME for track in self._tracks if track.lost_for is None):
            return
        track = _Track(self._next_id, landmarks, face.score, here, Visibility(face.score))
        self._start(track, frame)
        if track.lost_for is not None:
            return  # not in the frame
        self._next_id += 1
        if at_once:
            track.blend = track.goal(head_pose(track.face.landmarks))
        self._tracks.append(track)

    def _start(self, track: _Track, frame: Frame) -> None:
        """Follow a track from its anchor on, which is where the detector sees it now."""
        track.lost_for, track.drift = None, np.zeros(2)
        track.smoother = OneEuro(min_cutoff=MIN_CUTOFF, beta=BETA)
        track.face = Face(track.smoother(track.anchor, 0.0), track.score)
        track.patch = face_patch(frame, self._format, track.face.landmarks)
        self._look(track, frame, 0.0)
        if track.patch is not None:
            track.points.choose(track.patch, track.face.affine)

    def _brought_forward(self, face: Face, asked: Frame | None, frame: Frame) -> Float64 | None:
        """Where the landmarks [5, 2] of a face of the frame ``asked`` are now; None if the flow does not tell."""
        if asked is None:
            return face.landmarks
        old = face_patch(asked, self._format, face.landmarks)
        if old is None:
            return None
        new = same_patch(frame, self._format, old)
        before = choose_points(old, face.affine)
        after, sure = follow(old, new, before)
        fit = similarity(before[sure], after[sure], new)
        return None if fit is None else geometry.apply(fit[0], face.landmarks)

    def _drop_doubles(self) -> None:
        """Of two tracks on one face the one that sees less of it is lost: its own face is behind the other."""
        seen = [track for track in self._tracks if track.lost_for is None]
        for i, one in enumerate(seen):
            for other in seen[i + 1 :]:
                if one.lost_for is None and other.lost_for is None and _apart(one.anchor, other.anchor) < _DOUBLE:
                    worse = max((other, one), key=lambda track: track.points.lost_fraction + track.visibility.occluded)
                    worse.lost_for = 0.0


def _is_gone(track: _Track) -> bool:
    out_of_sight = track.lost_for is not None and track.lost_for > _KEEP
    return track.blend <= 0 and (out_of_sight or (track.misses >= _MISSES and track.unseen_for > _KEEP))


def _apart(one: Float64, other: Float64) -> float:
    """Mean distance of the landmarks of two faces [5, 2], in eye distances of the smaller."""
    unit = max(1e-9, min(eye_distance(one), eye_distance(other)))
    return float(np.linalg.norm(one - other, axis=1).mean()) / unit


def _after(second: Float64, first: Float64) -> Float64:
    """The map [2, 3] that does ``first`` and then ``second``."""
    return np.column_stack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]])
