"""The step of ``gpu_check`` that times each target a model can run on."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from lgin_edge import geometry
from lgin_edge.errors import LginError
from lgin_edge.frames import PixelFormat
from lgin_edge.models import tensorrt_variants
from lgin_edge.transformer import WEIGHTS, Transformer

from .gpu_scenes import SIZES, noise
from .gpu_steps import Step
from .gpu_times import FRAMES, WARM_UP


def target_times(step: Step) -> None:
    """A 720p frame with one face by each target that is here, candidates in turn, beside the CPU."""
    frame, landmarks = noise(PixelFormat.RGB, *SIZES[0]), geometry.TEMPLATE * 300 + (490, 210)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        candidates = {"CPU": stack.enter_context(Transformer())}
        for name, path in _targets(step, folder):
            try:
                recorded, called = (stack.enter_context(Transformer(path, device=0)) for _ in range(2))
            except LginError as error:  # noqa: PERF203
                step.row(name, failed=True, detail=str(error))
            else:
                called.frame_path().record = False  # type: ignore[union-attr]
                candidates |= {name: recorded, f"{name}, without graph": called}
        samples: dict[str, list[float]] = {name: [] for name in candidates}
        for i in range(WARM_UP + FRAMES):
            for name, transformer in candidates.items():
                start = time.perf_counter()
                transformer.age(frame, group=4, landmarks=landmarks, out=frame)
                if i >= WARM_UP:
                    samples[name].append(round(1e3 * (time.perf_counter() - start), 4))
    for name, times in samples.items():
        median, p95 = np.percentile(times, (50, 95))
        step.row(name, median_ms=float(median), p95_ms=float(p95), samples_ms=times)


def _targets(step: Step, folder: Path) -> Iterator[tuple[str, Path]]:
    """The models to time by the name of the target; a row for each that is not here."""
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        yield "ONNX Runtime CUDA", WEIGHTS
    else:
        step.row("ONNX Runtime CUDA", skipped="this onnxruntime has no CUDA provider")
    for variant in tensorrt_variants.VARIANTS.values():
        if not variant.installed or importlib.util.find_spec("onnx_graphsurgeon") is None:
            step.row(variant.name, skipped="not installed")
            continue
        from lgin_edge.engine import build

        path = folder / f"{variant.name}.plan"
        try:
            build.build(build.prepare(WEIGHTS), path, variant=variant)
        except LginError as error:
            step.row(variant.name, skipped=str(error))
        else:
            yield variant.name, path
