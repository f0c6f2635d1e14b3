"""The candidates: every stage of a frame's way, for one model on one back end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lgin_edge import kernels
from lgin_edge.detectors.centerface import CenterFace
from lgin_edge.edits import Edits
from lgin_edge.errors import ModelError
from lgin_edge.faces import Face, FaceBatch
from lgin_edge.frames import Frame
from lgin_edge.inference.loader import open_model
from lgin_edge.kernels import FacePlan
from lgin_edge.models.description import Description
from lgin_edge.models.model_file import read_description
from lgin_edge.transformer import Transformer

from . import measure
from .measure import Candidate, WrongAnswer
from .scene import HEIGHT, WIDTH, Expected, Scene

CPU = "CPUExecutionProvider"
#: Ages of the engine's second row: the timeline of the design's target.
TIMELINE = 6
FRAME_SIZE = f"{WIDTH}x{HEIGHT}"


@dataclass(frozen=True, eq=False)
class Model:
    """A model file to measure, on its scene, and the right answers."""

    path: Path
    label: str  # goes before the name of its candidates; empty where there is but one model
    description: Description
    scene: Scene
    expected: Expected

    @property
    def size(self) -> str:
        return f"{self.description.face_size}² + 5x{self.description.patch_size}²"


@dataclass(eq=False)
class Target:
    """A back end: how a model is run. ``provider`` is ONNX Runtime's, ``device`` as for ``Transformer``."""

    name: str
    threads: int
    stack: ExitStack
    provider: str = CPU
    device: str = "cpu"
    _transformers: dict[Path, Transformer] = field(default_factory=dict)

    def exact(self, model: Model) -> bool:
        """Whether it computes as the reference does, but for rounding. In int8, rounding can make a step of a whole bin."""
        return self.device == "cpu" and self.provider == CPU and model.description.precision == "fp32"

    def candidate(
        self, model: Model, stage: str, run: Callable[[], object], check: Callable[[Any], str], inputs: Any, **more: Any
    ) -> Candidate:
        """A candidate of a model on this back end; ``size`` is the frame's where ``more`` does not say."""
        about: dict[str, Any] = {"size": FRAME_SIZE, "dtype": model.description.precision}
        about |= {"threads": self.threads, "device": self.device, **more}
        return Candidate(stage, model.label + self.name, run, check, inputs, **about)

    def transformer(self, model: Model) -> Transformer:
        """One for each model; closed with the stack. Raises ModelError, BackendError."""
        if model.path not in self._transformers:
            made = Transformer(model.path, device=self.device, providers=(self.provider,), threads=self.threads)
            self._transformers[model.path] = self.stack.enter_context(made)
        return self._transformers[model.path]


def open_models(paths: Sequence[Path], stack: ExitStack) -> list[Model]:
    """Read what the files say of themselves. Raises ModelError: missing, damaged, or a model that does not make faces older."""
    scenes: dict[Scene, Scene] = {}
    models, names = [], [path.name for path in paths]
    for path in paths:
        about = read_description(path)
        if not isinstance(about, Description):
            raise ModelError(f"{path}: estimates ages; the bench is for models that make faces older")
        scene = Scene.of(about)
        scene = scenes.setdefault(scene, scene)  # drawn once for all
        label = f"{path.name if names.count(path.name) == 1 else path}: " if len(paths) > 1 else ""
        models.append(Model(path, label, about, scene, Expected(path, about, scene, stack)))
    return models


def build(stage: str, model: Model, target: Target) -> list[Candidate]:
    """The candidates of a stage; more than one where one call can do more than one thing of interest. Raises LginError."""
    return _BUILDERS[stage](model, target)


def _detect(model: Model, target: Target) -> list[Candidate]:
    detector, scene = CenterFace(threads=target.threads), model.scene

    def check(faces: list[Face]) -> str:
        if len(faces) != 1:
            raise WrongAnswer(f"{len(faces)} faces instead of one")
        return measure.check_landmarks(faces[0].landmarks, scene.landmarks, measure.DETECTED)

    options: dict[str, Any] = {"size": FRAME_SIZE, "threads": target.threads}
    return [Candidate("detect", "centerface", lambda: detector(scene.frame, "rgb"), check, [scene.frame], **options)]


def _crop(model: Model, target: Target) -> list[Candidate]:
    scene, about = model.scene, model.description
    faces = FaceBatch.of([scene.face])

    def run() -> object:
        plan = FacePlan.of(scene.frame, faces, about.views)
        return kernels.region_crop(plan, scene.frame, threads=target.threads)

    def check(views: Any) -> str:
        return measure.check_views(views, model.expected.views)

    return [Candidate("crop", "kernels", run, check, scene.inputs, size=model.size, threads=target.threads)]


def _model(model: Model, target: Target) -> list[Candidate]:
    backend = open_model(model.path, providers=(target.provider,), threads=target.threads)
    target.stack.callback(backend.close)
    return [model_call(model, target, backend, 1, ages) for ages in (1, TIMELINE)]


def model_call(model: Model, target: Target, backend: Any, faces: int, ages: int) -> Candidate:
    """The engine on N faces at G ages. ``backend`` is a ``inference.interfaces.Backend``."""
    inputs = model.scene.engine_inputs(faces, ages)

    def check(answer: Any) -> str:
        return measure.check_edits(answer, model.expected.edits(faces, ages), exact=target.exact(model))

    return target.candidate(
        model, "model", lambda: backend.run(*inputs), check, inputs, size=model.size, batch=faces, ages=ages
    )


def _paste(model: Model, target: Target) -> list[Candidate]:
    scene, about = model.scene, model.description
    plan = FacePlan.of(scene.frame, FaceBatch.of([scene.face]), about.views)
    outputs, (frame, setup) = scene.edits(), working_copy(scene)
    edits = Edits(*outputs)

    def run() -> object:
        return kernels.region_paste(plan, frame, edits, out=frame, threads=target.threads)

    def check(answer: Any) -> str:
        return measure.check_frame(answer, model.expected.pasted, scene.surroundings, exact=True)

    inputs = [*scene.inputs, *outputs]
    return [Candidate("paste", "kernels", run, check, inputs, setup, size=model.size, threads=target.threads)]


def _change(model: Model, target: Target, stage: str, landmarks: Any) -> Candidate:
    """A frame changed in place, as a camera's is."""
    transformer, scene = target.transformer(model), model.scene
    (frame, setup), oldest = working_copy(scene), scene.groups - 1

    def run() -> object:
        return transformer.age(frame, group=oldest, landmarks=landmarks, out=frame)

    def check(answer: Any) -> str:
        found = transformer.last_call.faces
        if len(found) != 1:
            raise WrongAnswer(f"{len(found)} faces instead of one")
        measure.check_landmarks(found[0].landmarks, scene.landmarks, measure.DETECTED)
        expected = model.expected.aged(found[0].landmarks, [oldest])
        if expected is None:
            return measure.check_changed(answer, scene.frame, scene.surroundings)
        return measure.check_frame(answer, expected[0], scene.surroundings, exact=target.exact(model))

    return target.candidate(model, stage, run, check, scene.inputs, setup=setup)


def _timeline(model: Model, target: Target) -> list[Candidate]:
    transformer, scene = target.transformer(model), model.scene

    def run() -> object:
        return transformer.timeline(scene.frame, landmarks=scene.landmarks)

    def check(frames: Any) -> str:
        if len(frames) != scene.groups:
            raise WrongAnswer(f"{len(frames)} pictures of {scene.groups} groups")
        ends = [0, scene.groups - 1]  # the youngest and the oldest: the reference takes its time
        expected = model.expected.aged(scene.landmarks, ends)
        if expected is None:
            return measure.check_changed(frames[-1], scene.frame, scene.surroundings)
        pairs = zip((frames[i] for i in ends), expected, strict=True)
        return [measure.check_frame(a, e, scene.surroundings, exact=target.exact(model)) for a, e in pairs][-1]

    return [target.candidate(model, "timeline", run, check, scene.inputs, ages=scene.groups)]


def working_copy(scene: Scene) -> tuple[Frame, Callable[[], None]]:
    """A frame to write to, and what puts it back as it was (round the face: nothing else may change)."""
    frame, around = scene.frame.copy(), scene.surroundings

    def restore() -> None:
        np.copyto(frame[around], scene.frame[around])

    return frame, restore


_BUILDERS: dict[str, Callable[[Model, Target], list[Candidate]]] = {
    "detect": _detect,
    "crop": _crop,
    "model": _model,
    "paste": _paste,
    "whole frame": lambda model, target: [_change(model, target, "whole frame", None)],
    "tracked frame": lambda model, target: [_change(model, target, "tracked frame", model.scene.landmarks)],
    "timeline": _timeline,
}
#: By name, in the order of a frame's way.
STAGES = tuple(_BUILDERS)
#: Those that are the same for all models and back ends: our kernels and the detector.
SHARED = ("detect", "crop", "paste")
#: Those that a GPU does with its own frame path.
ON_GPU = ("whole frame", "tracked frame", "timeline")
