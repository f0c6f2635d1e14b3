"""How much of one face can be seen: what the picture suggests, and what the detector says to that.

A part of a face is thought to be covered where it looks unlike before *and* lost the points by which it was followed: a face
that speaks or turns changes its looks and keeps most of its points. That is a guess, and the detector overrules it. While a
moderate guess waits for an answer nothing fades; a detection as good as usual takes what is seen now for the face's looks;
a poorer one confirms the guess. What hides a large part at once is believed without an answer.

What creeps over a face is learnt bit by bit, and takes few points at a time. So the looks at the last detection as good as ever are
kept: while detections are poorer than usual, what differs from them is covered, whatever the points say; and if the face does not
look like itself in detections that are a little poorer, something covers it. It then stays covered until a detection is nearly as
good as ever and the face looks like itself again: a head that moves behind a hand does so now and then.
"""

from __future__ import annotations

from ..geometry import Float64
from .face_points import FacePoints
from .head_pose import falling
from .occlusion import Looks, changed_cells, features_kept, lie_near

#: Limits of ``falling`` for the fractions of changed cells and of hidden points; both must pass them. The first pair is of a guess
#: that the detector did not contradict, the second of one that it contradicts or was not asked about yet.
_OCCLUDED = (0.15, 0.35)
_CHANGED_CONTRADICTED, _HIDDEN_CONTRADICTED = (0.10, 0.20), (0.32, 0.45)
#: Limits of ``falling`` for the fraction of lost points, from which on the face's place is unknown.
_POINTS_LOST = (0.6, 0.85)
#: Doubts that call the detector: occluded fraction, and fraction of lost points.
_DOUBTED_OCCLUDED, _DOUBTED_POINTS = 0.1, 0.4
#: A guess waits for the detector's answer for this long, seconds.
_ANSWER_WITHIN_S = 0.3
#: A detection is as good as usual if its score is at most this much below the face's best, and its landmarks are this near to
#: the followed ones, eye distances. Scores fall by 0.08 to 0.4 under hands, and by up to 0.12 on faces that turn and speak: a fall in
#: between tells nothing, and what is hidden decides.
_SCORE_DROP, _MAX_APART = 0.12, 0.25
#: A detection is as good as ever if its score is at most the first below the best, nearly so if it is at most the second.
_BEST_DROP, _NEARLY_BEST_DROP = 0.03, 0.06
#: A face does not look like itself if ``features_kept`` is below one of these (of detections of living faces that are not as good as
#: ever one in seventy, of covered eyes and mouths nearly all), or if more than this fraction of its cells changed in a poor one.
_FEATURES_FOUND, _UNLIKE_CELLS = (0.5, 0.55), 0.25
#: It is covered after this many such detections.
_UNLIKE_DETECTIONS = 2
#: So it is after this many in a row that are not nearly as good as ever and keep less of the features than this: a cup before a head that
#: moves hides a little for long, a head that turns a lot for a moment. (Of 57 films of living faces none fades more by it; of 72 of
#: covers before heads that move, 9 keep the age where 13 did.)
_UNSURE_DETECTIONS, _FEATURES_SURE = 3, 0.8
#: A covered face is seen again in a detection that is nearly as good as ever only if it keeps this much of the features: behind a cup,
#: detections of a head that moves kept 0.58 and 0.66; those of a head that turned back 0.71 and more.
_FEATURES_BACK = 0.7
#: Points are chosen anew when more of them than this fraction were lost.
_WORN_POINTS = 0.15
#: The looks are learnt anew at most once in this time, seconds: a hand that comes would be learnt bit by bit.
_LEARN_EVERY_S = 0.5
#: The best score is forgotten at this rate, a second: light and distance change.
_SCORE_DECAY_PER_S = 0.002
#: The remembered looks follow a face that is seen well with this time constant, seconds.
_LOOKS_TIME_S = 1.0
#: A face that looks occluded is believed to be none the less seen when the detector went on finding it for this time, seconds,
#: as well as usual, or at all (new glasses, another light).
_USUAL_ACCEPTED_S, _FOUND_ACCEPTED_S = 1.5, 4.0


class Visibility:
    """What is known of how much of one face can be seen.

    Args:
        score: the detector's, of the face's first detection.
    """

    def __init__(self, score: float) -> None:
        self._best_score = score
        self._looks: Float64 | None = None
        self._best_looks: Looks | None = None  # at the last detection as good as ever
        self._looks_now: Looks | None = None
        self._unlike_detections = 0  # not as good as ever, in which the face did not look like itself
        self._unsure_detections = 0  # in a row, that kept too little of the features
        self._unlike_s = 0.0  # for how long it has not
        self._poor = False  # whether the last detection was poorer than usual
        self._unlike_best = 0.0  # fraction of the cells that look unlike then, while detections are poor
        self._changed = self._hidden = 0.0  # fractions: of the cells that look unlike before, of the points lost there
        self._changed_s = 0.0  # for how long it has looked occluded
        self._usual_s = 0.0  # for how long the detector has found it as well as usual
        self._learned_s = 0.0  # for how long the looks have been known
        self._points_lost = 0.0
        self._doubted_s = 0.0  # for how long there has been a doubt that the detector did not clear up

    @property
    def occluded(self) -> float:
        """Fraction of the face that seems to be covered, 0 to 1."""
        return max(min(self._changed, self._hidden), self._unlike_best)

    @property
    def doubtful(self) -> bool:
        """Whether the detector should say what it sees."""
        return self._seems_covered or self._unsure_detections > 1

    @property
    def _seems_covered(self) -> bool:
        unsure = self.occluded > _DOUBTED_OCCLUDED or self._points_lost > _DOUBTED_POINTS
        return unsure or self._unlike_detections > 0

    @property
    def clear(self) -> bool:
        """Whether nothing seems to be before the face."""
        return self.occluded < _OCCLUDED[0] and not self._unlike_detections

    @property
    def strength(self) -> float:
        """Fraction of the change that the face should get for what can be seen of it, 0 to 1."""
        if self._unlike_detections >= _UNLIKE_DETECTIONS:
            return 0.0
        if self._doubted_s < _ANSWER_WITHIN_S:
            seen = max(falling(self._changed, *_CHANGED_CONTRADICTED), falling(self._hidden, *_HIDDEN_CONTRADICTED))
        else:
            seen = falling(self.occluded, *_OCCLUDED)
        return seen * falling(self._points_lost, *_POINTS_LOST)

    def observe(self, looks: Looks, points: FacePoints, dt: float) -> None:
        """Take in a frame.

        Args:
            looks: the face's (``occlusion.appearance``).
            points: by which it is followed.
            dt: seconds since the frame before.
        """
        if self._looks is None:
            self._looks = looks.cells
        if self._best_looks is None:
            self._best_looks = looks
        self._looks_now = looks
        self._unlike_best = float(changed_cells(self._best_looks.cells, looks.cells).mean()) if self._poor else 0.0
        changed = changed_cells(self._looks, looks.cells)
        self._changed = float(changed.mean())
        lost = ~points.followed & lie_near(changed, points.homes)
        hidden = float(lost.mean()) if len(lost) else 0.0
        # What was lost stays lost until the face looks as before: points are also chosen on what covers it.
        self._hidden = max(hidden, self._hidden if self._changed >= _OCCLUDED[0] else 0.0)
        self._points_lost = points.lost_fraction
        self._best_score -= _SCORE_DECAY_PER_S * dt
        if self.clear:
            self._looks = self._looks + min(1.0, dt / _LOOKS_TIME_S) * (looks.cells - self._looks)
            self._changed_s = 0.0
        else:
            self._changed_s += dt
        self._usual_s += dt
        self._unlike_s += dt
        self._learned_s += dt
        self._doubted_s = self._doubted_s + dt if self.doubtful else 0.0

    def lose(self) -> None:
        """The face went out of sight; behind something, if it was partly covered."""
        if not self.clear:
            self._hidden = 1.0

    def answer(self, score: float, apart: float) -> bool:
        """The detector found the face. Whether its points may be chosen anew.

        Args:
            apart: distance of the detection's landmarks from those that were followed, eye distances.
        """
        drop = self._best_score - score
        self._poor = drop > _SCORE_DROP
        (like, kept), best, nearly = self._likeness(), drop <= _BEST_DROP, drop <= _NEARLY_BEST_DROP
        if self._changed_s > _FOUND_ACCEPTED_S or (best and (like or self._unlike_s > _USUAL_ACCEPTED_S)):
            self._best_looks, self._unlike_detections = None, 0  # those of the next frame
        elif like and (self._unlike_detections < _UNLIKE_DETECTIONS or (nearly and kept >= _FEATURES_BACK)):
            self._unlike_detections = 0
        elif not (like or best):
            self._unlike_detections += 1
        sure = nearly or kept >= _FEATURES_SURE
        self._unsure_detections = 0 if sure else self._unsure_detections + 1
        if self._unsure_detections >= _UNSURE_DETECTIONS:
            self._unlike_detections = max(self._unlike_detections, _UNLIKE_DETECTIONS)
        self._unlike_s = 0.0 if like else self._unlike_s
        usual = not self._poor and not self._unlike_detections and apart <= _MAX_APART
        self._best_score = max(self._best_score, score)
        self._usual_s = self._usual_s if usual else 0.0
        evident = self._hidden >= _HIDDEN_CONTRADICTED[0] and self._changed >= _CHANGED_CONTRADICTED[0]
        worn = self._seems_covered or self._points_lost > _WORN_POINTS
        cleared_up = worn and usual and not evident and self._learned_s >= _LEARN_EVERY_S
        accepted = self._changed_s > (_USUAL_ACCEPTED_S if self._usual_s > _USUAL_ACCEPTED_S else _FOUND_ACCEPTED_S)
        if cleared_up or accepted:
            self._looks, self._changed, self._hidden = None, 0.0, 0.0
            self._changed_s = self._learned_s = 0.0
        self._doubted_s = 0.0 if usual else max(self._doubted_s, _ANSWER_WITHIN_S)
        return cleared_up or accepted

    def miss(self) -> None:
        """The detector did not find the face."""
        self._usual_s = 0.0
        self._doubted_s = max(self._doubted_s, _ANSWER_WITHIN_S)

    def _likeness(self) -> tuple[bool, float]:
        """Whether the face looks as at the last detection as good as ever, with eyes, nose and mouth in their places; and how much of them
        is kept at least."""
        if self._best_looks is None or self._looks_now is None:
            return True, 1.0
        kept = features_kept(self._best_looks, self._looks_now)
        found = all(one >= least for one, least in zip(kept, _FEATURES_FOUND, strict=True))
        if self._poor and changed_cells(self._best_looks.cells, self._looks_now.cells).mean() > _UNLIKE_CELLS:
            found = False
        return found, min(kept)
