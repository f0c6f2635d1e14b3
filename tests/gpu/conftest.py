"""What the tests on a real GPU share: a face, and every way of running the bundled model that this machine has."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lgin_edge
from lgin_edge import geometry, transformer
from lgin_edge.models import tensorrt_variants

#: The face of the test picture: a square of 260 px, turned a little.
LANDMARKS = geometry.TEMPLATE @ np.array([[250.0, 40.0], [-40.0, 250.0]]) + (170, 90)
WAYS = ("onnx", *tensorrt_variants.VARIANTS)


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    """Light, shade and grain, [480, 640, 3]."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:480, :640] / 480.0
    light = np.stack([120 + 70 * np.sin(5 * x + 3 * y + k) + 20 * np.cos(31 * y - 9 * x) for k in range(3)], axis=-1)
    return (light + rng.normal(0, 8, light.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session", params=WAYS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that runs on GPU 0: the bundled model, or an engine that is built of it for this GPU."""
    if request.param == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            pytest.skip("this onnxruntime has no CUDA: pip uninstall onnxruntime, then pip install onnxruntime-gpu")
        return transformer.WEIGHTS
    variant = tensorrt_variants.VARIANTS[request.param]
    if not variant.installed:
        pytest.skip(f"{variant.name} is not installed: {variant.get}")
    for module in ("onnx_graphsurgeon", "cuda"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install lgin-edge[engine]")
    from lgin_edge.engine import build

    path = tmp_path_factory.mktemp(variant.name) / "engine.plan"
    build.build(build.prepare(transformer.WEIGHTS), path, variant=variant)
    return path


@pytest.fixture(scope="session")
def on_gpu(model: Path) -> Iterator[lgin_edge.Transformer]:
    with lgin_edge.Transformer(model, device=0) as t:
        yield t


@pytest.fixture(scope="session")
def on_cpu() -> Iterator[lgin_edge.Transformer]:
    with lgin_edge.Transformer() as t:
        yield t


@pytest.fixture(scope="session")
def cuda() -> Any:
    """GPU 0, for the tests' own memory."""
    from lgin_edge.inference.cuda import Cuda

    return Cuda(0)
