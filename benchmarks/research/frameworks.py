"""The same network in other run times: PyTorch eager and compiled, and OpenVINO; each only where it is installed."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import lgin_edge
from benchmarks.stages.measure import in_a_line
from benchmarks.stages.stages import Model
from lgin_edge.frames import Floats

# By importlib: the base install has none of these packages, and type checking must not need them either.

#: Edits of one call, as ``inference.interfaces.Backend.run``.
Run = Callable[[Floats, Floats, Floats, Floats], tuple[Floats, ...]]


class Unavailable(Exception):
    """Why a baseline is not there, in one line."""


def imported(module: str, get: str = "") -> Any:
    """A module that may not be there. Raises Unavailable, saying how to get it."""
    try:
        return importlib.import_module(module)
    except Exception as error:  # not there, or there without a library that it loads
        raise Unavailable(f"{module} cannot be imported ({error}): {get or f'pip install {module}'}") from error


def torch_module(model: Model) -> Any:
    """T in PyTorch with the weights of the model file, on the CPU.

    Raises:
        Unavailable: something that it needs is not there, or the file is no plain export of ``training.exported``.
    """
    torch, onnx = imported("torch"), imported("onnx")
    checkout = str(Path(lgin_edge.__file__).parent.parent)
    if checkout not in sys.path:
        sys.path.append(checkout)  # training/ is in no wheel
    exported = imported("training.exported", "run this in a checkout of lgin-edge")
    networks = imported("training.networks")
    about = model.description
    if about.format not in (3, 4):  # of one graph
        raise Unavailable(
            f"{model.path.name} is no plain export of training.exported: it is of format {about.format}, not 3 or 4"
        )
    config = networks.NetworkConfig(groups=len(about.groups), face_size=about.face_size, patch_size=about.patch_size)
    net: Any = networks.LGIN(config)
    wanted = net.state_dict()
    graph = onnx.load(str(model.path)).graph
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    folded = [stored[name] for name in _factors(graph) if name in stored and not name.startswith("net.")]
    weights = {}
    for name, tensor in wanted.items():
        if (found := _weight(f"net.{name}", tuple(tensor.shape), stored, folded, networks.Position.SCALE)) is not None:
            weights[name] = found
    weights |= _depths(stored, {name: tuple(tensor.shape) for name, tensor in wanted.items()})
    unknown = [name for name in wanted if name not in weights and ".coarse_heads." not in name]
    wrong = [name for name, array in weights.items() if array.shape != tuple(wanted[name].shape)]
    if unknown or wrong:
        raise Unavailable(f"{model.path.name} is no plain export of training.exported: {(unknown + wrong)[0]} differs")
    net.load_state_dict({name: torch.tensor(array) for name, array in weights.items()}, strict=False)
    if "net.ages.old" in stored:
        centers = [group.center for group in about.groups]
        net.ages = networks.Ages(centers, centers)
        for name in ("old", "younger"):
            net.ages.get_buffer(name).copy_(torch.tensor(stored[f"net.ages.{name}"]))
    return exported.Exported(net).eval()


def eager(net: Any, threads: int) -> Run:
    """PyTorch as it is written; ``net`` takes ages as [N, G, K]."""
    torch = imported("torch")

    def run(face: Floats, patches: Floats, boxes: Floats, age: Floats) -> tuple[Floats, ...]:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        with torch.inference_mode():
            arrays = (face, patches, boxes, age.reshape(len(face), -1, age.shape[-1]))
            face_edit, patch_edit, flow, place, lines = net(*(torch.from_numpy(array) for array in arrays))
        rows = (face_edit, patch_edit, flow, lines)
        face_edit, patch_edit, flow, lines = (part.flatten(0, 1).numpy() for part in rows)
        return face_edit, patch_edit, flow, place.numpy(), lines

    return run


def compiled(net: Any, threads: int, model: Model, stack: ExitStack) -> Run:
    """PyTorch by torch.compile; takes a minute or more, and a C++ compiler.

    Raises:
        Unavailable: it does not compile here.
    """
    torch = imported("torch")
    stack.enter_context(_inductor_cache())
    try:
        # Precompiled headers alone would go elsewhere, and stay.
        headers = {"cpp_cache_precompile_headers": False}
        known = imported("torch._inductor").list_options()
        options = {name: value for name, value in headers.items() if name in known}
        run = eager(torch.compile(net, dynamic=False, options=options), threads)
        run(*model.scene.engine_inputs())
    except Exception as error:  # whatever a compiler says
        raise Unavailable(f"torch.compile failed: {in_a_line(error)}") from error
    return run


def openvino(model: Model, threads: int) -> Run:
    """OpenVINO on the CPU in float32.

    Raises:
        Unavailable: it is not installed, or does not read the model.
    """
    ov = imported("openvino")
    options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    try:
        core = ov.Core()
        request = core.compile_model(core.read_model(str(model.path)), "CPU", options).create_infer_request()
    except Exception as error:  # OpenVINO's exceptions share no base but this one
        raise Unavailable(f"OpenVINO does not read {model.path.name}: {in_a_line(error)}") from error

    def run(face: Floats, patches: Floats, boxes: Floats, age: Floats) -> tuple[Floats, ...]:
        about, n = model.description, len(face)
        ages = age.reshape(about.shape("age", n, len(age) // n))
        request.infer({"face": face, "patches": patches, "boxes": boxes, "age": ages})
        return tuple(about.rows(name, np.array(request.get_tensor(name).data)) for name in about.outputs)

    return run


def _weight(
    name: str, shape: tuple[int, ...], stored: dict[str, Floats], folded: list[Floats], scale: float
) -> Floats | None:
    """A weight of this name and shape, as it is stored or was folded; None where it is not there. Takes it from ``folded``."""
    if name in stored:
        return stored[name]
    if f"{name}_int8" in stored:
        step = stored[f"{name}_step"]
        return stored[f"{name}_int8"] * step.reshape(-1, *[1] * (len(shape) - 1))
    # The exporter folds linear layers' transposes and maps' scales into constants without a name, in the order of use.
    maps = name.endswith(".maps")
    wanted = (*shape[:2], int(np.prod(shape[2:]))) if maps else shape[::-1]
    for i, array in enumerate(folded):
        if array.shape == wanted:
            del folded[i]
            return array.reshape(shape) / np.float32(scale) if maps else array.T
    return None


def _depths(stored: dict[str, Floats], shapes: dict[str, tuple[int, ...]]) -> dict[str, Floats]:
    """Weights of the lines' depths, of which the exporter folds products and sums (``Lines.told``); none where they are as they were."""
    named = [f"lines.{name}" for name in ("modulation.weight", "usual.weight", "depth_bias")]
    regions, hidden, _ = shapes["lines.depth"]
    groups = shapes["lines.usual.weight"][1]
    folded = {array.shape: array for name, array in stored.items() if not name.startswith("net.")}
    product, usual = folded.get((regions, hidden, groups)), folded.get((regions, groups + 1))
    if f"net.{named[2]}" in stored or "net.lines.depth" not in stored or product is None or usual is None:
        return {}
    modulation = (product / stored["net.lines.depth"]).reshape(regions * hidden, groups)
    return dict(zip(named, (modulation, usual[:, :groups], usual[:, groups:]), strict=True))


def _factors(graph: Any) -> Iterator[str]:
    """Second inputs of the graph's matrix products, in order."""
    return (node.input[1] for node in graph.node if node.op_type == "MatMul")


@contextmanager
def _inductor_cache() -> Iterator[None]:
    """What torch.compile writes goes into a folder that is removed; one thread compiles, and none is left behind."""
    with TemporaryDirectory(prefix="lgin-edge-bench-") as folder:
        settings = {"TORCHINDUCTOR_CACHE_DIR": folder, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        before = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
