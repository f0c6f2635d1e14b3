"""The same work by what else is installed, against ours and beside ResNet-18."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from benchmarks.stages import measure, stages
from benchmarks.stages.measure import Candidate, Skipped
from benchmarks.stages.resnet18 import Sessions
from benchmarks.stages.stages import Model, Target
from lgin_edge import geometry

from . import frameworks, opencv
from .frameworks import Run, Unavailable
from .opencv import Composition

#: Seconds of rest before each sample: OpenMP's threads (PyTorch) spin for some milliseconds after a call.
PAUSE = 0.02
Gathered = tuple[list[Candidate], list[Skipped]]


def kernels(model: Model, r18: Sessions, stack: ExitStack) -> Gathered:
    """Crop, paste and both of one face on one thread: our kernels and the composition of OpenCV and NumPy."""
    target, scene = Target("kernels", 1, stack), model.scene
    (crop,), (paste,) = stages.build("crop", model, target), stages.build("paste", model, target)
    ours = [r18.candidate(1), crop, paste, _both("kernels", crop, paste)]
    try:
        composition = Composition(model.description, 1)
    except ImportError as error:
        return ours, [Skipped("crop, paste", "opencv", f"OpenCV cannot be imported: {error}")]
    frame, restore = stages.working_copy(scene)
    deltas = scene.edits()

    def setup() -> None:
        composition.use_threads()
        restore()

    def view_check(answer: Any) -> str:
        face, patches = (opencv.check(a, e, 127.5) for a, e in zip(answer, model.expected.views, strict=True))
        return f"face {face}; patches {patches}"

    def frame_check(answer: Any) -> str:
        return opencv.check(answer, model.expected.pasted, 1.0)

    theirs = [
        _like(
            crop,
            "opencv",
            lambda: composition.crop(scene.frame, scene.face.affine, scene.face.boxes),
            view_check,
            setup,
        ),
        _like(
            paste,
            "opencv",
            lambda: composition.paste(frame, scene.face.affine, scene.face.boxes, deltas),
            frame_check,
            setup,
        ),
    ]
    return [*ours, *theirs, _both("opencv", *theirs)], []


def models(model: Model, threads: int, r18: Sessions, stack: ExitStack) -> Gathered:
    """The engine alone, and the whole tracked frame by PyTorch with OpenCV, on as many threads as ours."""
    target = Target("onnxruntime", threads, stack)
    ours, tracked = stages.build("model", model, target)[0], stages.build("tracked frame", model, target)[0]
    found, skipped = [r18.candidate(threads), ours, tracked], []

    def offer(name: str, make: Callable[[], Run]) -> Run | None:
        try:
            run = make()
        except Unavailable as error:
            skipped.append(Skipped("model", name, str(error)))
            return None
        inputs = model.scene.engine_inputs()

        def check(answer: Any) -> str:
            return measure.check_edits(answer, model.expected.edits(1, 1), exact=False)

        found.append(_like(ours, name, lambda: run(*inputs), check))
        return run

    net: Any = None
    try:
        net = frameworks.torch_module(model)
    except Unavailable as error:
        skipped += [Skipped("model", name, str(error)) for name in ("pytorch eager", "torch.compile")]
    if net is not None:
        run = offer("pytorch eager", lambda: frameworks.eager(net, threads))
        if run is not None:
            found += _whole(model, threads, tracked, run, skipped)
        offer("torch.compile", lambda: frameworks.compiled(net, threads, model, stack))
    offer("openvino", lambda: frameworks.openvino(model, threads))
    return found, skipped


def _whole(model: Model, threads: int, ours: Candidate, run: Run, skipped: list[Skipped]) -> list[Candidate]:
    """A tracked frame by PyTorch eager between OpenCV's crop and paste."""
    name, scene = "pytorch eager + opencv", model.scene
    try:
        composition = Composition(model.description, threads)
    except ImportError as error:
        skipped.append(Skipped("tracked frame", name, f"OpenCV cannot be imported: {error}"))
        return []
    frame, restore = stages.working_copy(scene)
    code = scene.engine_inputs()[3]

    def setup() -> None:
        composition.use_threads()
        restore()

    def change() -> object:
        affine = geometry.fit_similarity(scene.landmarks)
        boxes = geometry.region_boxes(scene.landmarks, affine)
        views = composition.crop(frame, affine, boxes)
        return composition.paste(frame, affine, boxes, run(*views, boxes[None].astype("float32"), code))

    def check(answer: Any) -> str:
        expected = model.expected.aged(scene.landmarks, [scene.groups - 1])
        assert expected is not None  # it is an .onnx file
        return opencv.check(answer, expected[0], 1.0)

    return [_like(ours, name, change, check, setup)]


def _like(
    ours: Candidate,
    name: str,
    run: Callable[[], object],
    check: Callable[[Any], str],
    setup: Callable[[], None] | None = None,
) -> Candidate:
    """Somebody else's candidate for the same work on the same input."""
    return Candidate(
        ours.stage,
        name,
        run,
        check,
        ours.inputs,
        setup or ours.setup,
        dtype=ours.dtype,
        size=ours.size,
        batch=ours.batch,
        ages=ours.ages,
        threads=ours.threads,
        third_party=True,
    )


def _both(name: str, crop: Candidate, paste: Candidate) -> Candidate:
    """Crop, then paste."""

    def check(answer: Any) -> str:
        return f"{crop.check(answer[0])}; {paste.check(answer[1])}"

    def setup() -> None:
        crop.setup()
        paste.setup()

    return Candidate(
        "crop + paste",
        name,
        lambda: (crop.run(), paste.run()),
        check,
        paste.inputs,
        setup,
        dtype=crop.dtype,
        size=crop.size,
        threads=crop.threads,
        third_party=crop.third_party,
    )
