"""The description that travels inside a model file, and the age groups that it names.

The JSON stands in the ONNX ``metadata_props`` under the key ``lgin`` (and in a TensorRT engine's name), so that a model
file says for itself how faces are cut, pasted and aged.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from .. import geometry
from ..errors import InputError, ModelError, shown
from ..limits import LIMITS, Limits

#: Key of the description in ONNX ``metadata_props``.
METADATA_KEY = "lgin"
#: Formats of a transformer's description that are read: 1 predicts residuals, 2 edits of a face whose features have moved, 3 edits
#: that are made before they move, 4 lines that change light alone. An age model has format 1.
FORMATS = (1, 2, 3, 4)
FORMAT = 1
#: Stands for the G ages in a shape.
ANY = -1
#: Sides of the maps of flow and place are the face view's by this.
_MAP_STRIDE = 8
#: Greatest age in years, and least rise of a window that the kernels take.
_OLDEST, _MIN_TAPER = 130.0, 1e-3
#: The kinds of model and where each belongs. A description that names none is a transformer's: the first files had no kind.
KINDS = {
    "transformer": "it makes faces younger or older; it belongs in Transformer(model=FILE), on the command line --model FILE",
    "age": "it estimates ages; it belongs in Transformer(age_model=FILE), on the command line --age-model FILE",
}


@dataclass(frozen=True)
class AgeGroup:
    """One age group: a label, its bounds in years [low, high) and the age that its one-hot code stands for."""

    label: str
    low: float
    high: float
    center: float

    def __post_init__(self) -> None:
        """Raises ValueError."""
        _check_texts(self, "label")
        for name in ("low", "high", "center"):
            _check_number(f"{name} of a group", getattr(self, name), 0.0, _OLDEST)


@dataclass(frozen=True)
class EngineFacts:
    """What an engine can run on: engines run on the version that built them."""

    variant: str  # of TensorRT, as in ``tensorrt_variants``
    version: str
    #: Compute capabilities that it was built for ("sm87"); none: what the variant takes by default.
    targets: tuple[str, ...]
    max_faces: int  # of one call

    def __post_init__(self) -> None:
        """Raises ValueError."""
        _check_texts(self, "variant", "version")
        if not isinstance(self.targets, tuple) or not all(isinstance(text, str) for text in self.targets):
            raise ValueError("engine: targets must be a list of texts")
        if not isinstance(self.max_faces, int) or not 1 <= self.max_faces <= 1024:
            raise ValueError(f"engine: max_faces must be a whole number from 1 to 1024, got {self.max_faces!r}")


@dataclass(frozen=True)
class Description:
    """What a model file says of itself."""

    model: str  #: Name and version.
    groups: tuple[AgeGroup, ...]  #: The K age groups, by rising age.
    face_size: int  #: S, side of the face view in pixels.
    patch_size: int  #: P, side of the five local views in pixels.
    face_taper: float  #: Rise of the blending window w_0 (``geometry.window``).
    region_taper: float  #: The same of w_r.
    #: The five landmarks of the canonical face that the model was trained with.
    template: tuple[tuple[float, float], ...]
    precision: str  #: "fp32", "fp16" or "int8", the arithmetic of the graph (of int8: of most convolutions).
    training_data: str  #: Where the faces came from and under which rights.
    onnx_sha256: str = ""  #: For an engine, the hash of the ONNX file that it was built from; empty in the ONNX itself.
    fp32_islands: tuple[str, ...] = ()  #: Of an "fp16" model, the parts that stay float32 (``engine.fp16``).
    engine: EngineFacts | None = None  #: For an engine, what it can run on.
    format: int = FORMAT
    kind: str = "transformer"
    #: (x0, y0, x1, y1) of the face view in canonical coordinates; format 1 has the unit square.
    face_box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    lines_size: int = 0  #: A, side of the texture of lines in mesh space; format 1 has none.

    @property
    def views(self) -> geometry.ViewSpec:
        """How the model is fed and pasted."""
        sizes = (self.face_size, self.patch_size, self.face_taper, self.region_taper)
        return geometry.ViewSpec(*sizes, self.face_box, self.format)

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Shape of each input without its first axis, by name.

        The first axis is N faces; of ``age`` in format 1 it is M = N G, rows i G .. (i + 1) G - 1 being the ages of face i. In
        later ones ``ANY`` stands for G.
        """
        s, p, k = self.face_size, self.patch_size, len(self.groups)
        age = (k,) if self.format == 1 else (ANY, k)
        return {"face": (3, s, s), "patches": (5, 3, p, p), "boxes": (5, 4), "age": age}

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Shape of each output without its first axis (M in format 1, N in later ones), by name."""
        s, p, a = self.face_size, self.patch_size, self.lines_size
        if self.format == 1:
            return {"face_delta": (3, s, s), "patch_delta": (5, 3, p, p)}
        m = s // _MAP_STRIDE
        return {
            "face_edit": (ANY, 6, s, s),
            "patch_edit": (ANY, 5, 4, p, p),
            "flow": (ANY, 2, m, m),
            "place": (2, m, m),
            "lines": (ANY, 1, a, a),
        }

    def shape(self, name: str, faces: int, ages: int) -> tuple[int, ...]:
        """Shape of an input or output for N faces at G ages each."""
        tail = (self.inputs | self.outputs)[name]
        if self.format == 1:
            return (faces * ages if name == "age" or name in self.outputs else faces, *tail)
        return (faces, *(ages if side == ANY else side for side in tail))

    def rows(self, name: str, output: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """An output with its ages as rows: [N, G, ...] from format 2 on becomes [N G, ...], all else stays."""
        return output.reshape(-1, *output.shape[2:]) if ANY in self.outputs[name] else output

    def to_json(self) -> str:
        raw = asdict(self)
        if self.format == 1:
            del raw["face_box"], raw["lines_size"]
        return json.dumps(raw, separators=(",", ":"))

    @staticmethod
    def from_json(text: str, limits: Limits = LIMITS) -> Description:
        """Parse and check a description. Raises ModelError, naming what is wrong."""
        return cast(Description, parse(text, limits, "transformer"))

    def used_years(self, years: float) -> float:
        """The age that is used where this one is asked for: none beyond the first and the last centre."""
        return min(max(years, self.groups[0].center), self.groups[-1].center)

    def age_code(self, *, group: float | None = None, years: float | None = None) -> npt.NDArray[np.float32]:
        """The soft one-hot code of an age, [K] float32, not negative, sum 1: exactly one of ``group`` and ``years``.

        Args:
            group: index of a group, 0 to K - 1; 3.5 is half way between groups 3 and 4.
            years: an age in years; the convex combination of the two groups whose centres enclose it. Ages beyond the
                first or the last centre get that group.

        Raises InputError: neither or both given, not a finite number, or a group out of range.
        """
        last = len(self.groups) - 1
        if isinstance(years, np.timedelta64) or isinstance(group, np.timedelta64):  # np.numbers that compare with none
            raise InputError(f"expected a number, got {years!r}")
        if (group is None) == (years is None):
            raise InputError(
                f"give exactly one of group= and years=, got group={shown(group)} and years={shown(years)}"
            )
        if years is not None:
            if not isinstance(years, (int, float, np.number)) or not 0 <= years <= _OLDEST:
                raise InputError(f"years: expected an age from 0 to 130, got {shown(years)}")
            position = float(np.interp(years, [g.center for g in self.groups], np.arange(last + 1)))
        else:
            if not isinstance(group, (int, float, np.number)) or not 0 <= group <= last:
                labels = ", ".join(f"{i} = {g.label}" for i, g in enumerate(self.groups))
                raise InputError(f"group: expected a number from 0 to {last} ({labels}), got {shown(group)}")
            position = float(group)
        return soft_one_hot(position, last + 1)


@dataclass(frozen=True)
class AgeDescription:
    """What the file of an age model says of itself; what is not said here is as in ``Description``."""

    model: str
    groups: tuple[AgeGroup, ...]  # whose probabilities it gives
    face_size: int  # side of the face view in pixels (not the S of the transformer's face view)
    template: tuple[tuple[float, float], ...]
    precision: str
    training_data: str
    format: int = FORMAT
    kind: str = "age"

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Shape of each input without its first axis, N, by name."""
        return {"face": (3, self.face_size, self.face_size)}

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Shape of each output without its first axis, N, by name."""
        return {"probability": (len(self.groups),)}

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @staticmethod
    def from_json(text: str, limits: Limits = LIMITS) -> AgeDescription:
        """Parse and check a description. Raises ModelError, naming what is wrong."""
        return cast(AgeDescription, parse(text, limits, "age"))


def parse(text: str, limits: Limits = LIMITS, expected: str | None = None) -> Description | AgeDescription:
    """Parse and check a description of the ``expected`` kind, or of any. Raises ModelError, naming what is wrong."""
    try:
        limits.check_json(text)
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"the model's description cannot be read: {error}") from error
    if not isinstance(raw, dict):
        raise ModelError("the model's description is not a JSON object")
    kind = raw.get("kind", "transformer")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ModelError(f"the model's description is of kind {kind!r:.200}; this version knows {' and '.join(KINDS)}")
    into, known = (Description, FORMATS) if kind == "transformer" else (AgeDescription, (FORMAT,))
    if type(raw.get("format")) is not int or raw["format"] not in known:
        raise ModelError(
            f"the model's description has format {raw.get('format')!r:.200}; this version of lgin-edge reads formats "
            f"{', '.join(map(str, known))}: export the model again, or install the lgin-edge that it was made for"
        )
    if expected not in (None, kind):
        raise ModelError(f"a model of kind {kind!r}, expected {expected!r}: {KINDS[kind]}")
    unknown = sorted(raw.keys() - {field.name for field in fields(into)})
    if unknown:
        raise ModelError(
            f"the model's description has fields that this version does not know: {', '.join(unknown)[:200]}; a newer "
            "lgin-edge made it: pip install --upgrade lgin-edge"
        )
    try:
        raw["groups"] = tuple(AgeGroup(**group) for group in raw["groups"])
        raw["template"] = tuple((float(x), float(y)) for x, y in raw["template"])
        if "fp32_islands" in raw:
            raw["fp32_islands"] = _names("fp32_islands", raw["fp32_islands"])
        if raw.get("engine") is not None:
            raw["engine"] = EngineFacts(**raw["engine"] | {"targets": _names("targets", raw["engine"]["targets"])})
        if "face_box" in raw:
            raw["face_box"] = tuple(float(side) for side in raw["face_box"])
        description = into(**raw)
        _check(description)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ModelError(f"the model's description cannot be read: {error}") from error
    return description


def _check_format(description: Description) -> None:
    """Raises ValueError unless the fields of format 2 are there in it, and in format 1 are not."""
    box, a = description.face_box, description.lines_size
    if description.format == 1:
        if box != (0.0, 0.0, 1.0, 1.0) or a != 0:
            raise ValueError("format 1 has no face_box and no lines_size")
        return
    if len(box) != 4 or not all(-1.0 <= side <= 2.0 for side in box) or not (box[0] < box[2] and box[1] < box[3]):
        raise ValueError(f"face_box must be (x0, y0, x1, y1) from -1 to 2, got {box}")
    if isinstance(a, bool) or not isinstance(a, int) or not 16 <= a <= 1024:
        raise ValueError(f"lines_size must be a whole number from 16 to 1024, got {a!r}")
    if description.face_size % _MAP_STRIDE:
        raise ValueError(f"face_size must be a multiple of {_MAP_STRIDE}, got {description.face_size}")


def _names(name: str, value: Any) -> tuple[str, ...]:
    """Raises TypeError."""
    if not isinstance(value, list) or not all(isinstance(one, str) and one.isprintable() for one in value):
        raise TypeError(f"{name} must be a list of names, got {value!r:.200}")
    return tuple(value)


def _check(description: Description | AgeDescription) -> None:
    """Raises ValueError, or TypeError where a value is no number."""
    _check_texts(description, "model", "precision", "training_data")
    for name in ("face_size", "patch_size") if isinstance(description, Description) else ("face_size",):
        size = getattr(description, name)
        if not isinstance(size, int) or not 16 <= size <= 1024:
            raise ValueError(f"{name} must be a whole number from 16 to 1024, got {size!r}")
    centers = [group.center for group in description.groups]
    if not 2 <= len(centers) <= 64 or not all(a < b for a, b in pairwise(centers)):
        raise ValueError(f"groups must be 2 to 64 with rising centres, got centres {centers}")
    if len(description.template) != 5:
        raise ValueError(f"template must have 5 points, got {len(description.template)}")
    if not all(math.isfinite(one) for point in description.template for one in point):
        raise ValueError(f"template must have finite numbers, got {description.template}")
    if isinstance(description, Description):
        _check_format(description)
        _check_texts(description, "onnx_sha256")
        for name in ("face_taper", "region_taper"):
            _check_number(name, getattr(description, name), _MIN_TAPER, 0.5)


def _check_texts(owner: object, *names: str) -> None:
    """Raises ValueError for what is no text, or one that does things to a terminal (control characters, lone surrogates)."""
    for name in names:
        text = getattr(owner, name)
        if not isinstance(text, str) or not text.isprintable():
            raise ValueError(f"{name} must be a text in one line without control characters, got {text!r:.200}")


def _check_number(name: str, value: object, low: float, high: float) -> None:
    """Raises ValueError for what is no number or out of range."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} must be a number from {low:g} to {high:g}, got {value!r:.200}")


def check_template(path: Path, description: Description | AgeDescription) -> None:
    """Raises ModelError if the model was made for faces that are cut out in another way than ours."""
    if not np.allclose(description.template, geometry.TEMPLATE, atol=1e-4):
        raise ModelError(
            f"{path}: made for another canonical face (template {description.template}); this version of lgin-edge cuts "
            "faces by lgin_edge.geometry.TEMPLATE"
        )


def soft_one_hot(position: float, size: int) -> npt.NDArray[np.float32]:
    """Code of a (fractional) group position in [0, size - 1]: linear weights on the two neighbours, [size] float32."""
    weights: npt.NDArray[np.float32] = np.maximum(0.0, 1.0 - np.abs(np.arange(size) - position)).astype(np.float32)
    return weights


def groups_from_centers(bounds: Sequence[float], centers: Sequence[float]) -> tuple[AgeGroup, ...]:
    """Age groups from their K - 1 inner bounds and K centres, labelled as people say them."""
    edges = [0.0, *bounds, _OLDEST]
    groups = []
    for i, center in enumerate(centers):
        low, high = edges[i], edges[i + 1]
        label = f"under {high:.0f}" if i == 0 else f"{low:.0f}-{high - 1:.0f}"
        if i == len(centers) - 1:
            label = f"{low:.0f} and over"
        groups.append(AgeGroup(label, float(low), float(high), float(center)))
    return tuple(groups)
