"""The frame path on a GPU: frames from the host and on the device, with and without the graph, and its parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.stages import measure, stages
from benchmarks.stages.measure import Candidate, Skipped
from benchmarks.stages.stages import FRAME_SIZE, Model, Target
from lgin_edge.inference.cuda import DeviceMemory
from lgin_edge.inference.device_array import LEGACY_STREAM
from lgin_edge.inference.gpu import GpuFramePath

from .gpu_parts import PARTS, Parts, path_of


class DeviceArray:
    """A frame on the device, as CuPy or PyTorch would give it: by ``__cuda_array_interface__``."""

    def __init__(self, memory: DeviceMemory, shape: tuple[int, ...]) -> None:
        self._memory = memory
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": "|u1",
            "data": (memory.address, False),
            "strides": None,
            "version": 3,
        }


def candidates(model: Model, target: Target, wanted: tuple[str, ...]) -> tuple[list[Candidate], list[Skipped]]:
    """All of a model on a GPU: frames from the host and on the device, with and without the graph, and the parts.

    Raises:
        BackendError: CUDA failed.
    """
    path = path_of(model, target)
    found: list[Candidate] = []
    skipped: list[Skipped] = []
    for stage in ("whole frame", "tracked frame", "timeline"):
        if stage in wanted:
            found += stages.build(stage, model, target)
    if "tracked frame" in wanted:
        found.append(on_device(model, target, path))
        if path.record:
            plain = Target(f"{target.name}, no graph", target.threads, target.stack, device=target.device)
            path_of(model, plain).record = False
            found += stages.build("tracked frame", model, plain)
        else:
            reason = "this engine allocates while it runs, and so is never recorded"
            skipped.append(Skipped("tracked frame", f"{model.label}{target.name}, graph", reason))
    parts = Parts(model, target)
    found += [parts.candidate(part) for part in PARTS if part in wanted or part in ("upload", "download")]
    return found, skipped


def on_device(model: Model, target: Target, path: GpuFramePath) -> Candidate:
    """A frame that is on the GPU already and stays there."""
    transformer, scene, cuda = target.transformer(model), model.scene, path.cuda
    memory = DeviceMemory(cuda, scene.frame.nbytes)
    target.stack.callback(memory.close)
    array, host = DeviceArray(memory, scene.frame.shape), scene.frame.copy()
    kinds = cuda.runtime.cudaMemcpyKind

    def copy(to: int, source: int, kind: Any) -> None:
        cuda.call("cudaMemcpyAsync", to, source, host.nbytes, kind, path.stream.handle)
        path.stream.synchronize()

    def run() -> object:
        return transformer.age(array, group=scene.groups - 1, landmarks=scene.landmarks)

    def check(_: Any) -> str:
        answer = np.empty_like(host)
        copy(answer.ctypes.data, memory.address, kinds.cudaMemcpyDeviceToHost)
        expected = model.expected.aged(scene.landmarks, [scene.groups - 1])
        if expected is None:
            return measure.check_changed(answer, scene.frame, scene.surroundings)
        return measure.check_frame(answer, expected[0], scene.surroundings, exact=False)

    return Candidate(
        "tracked frame",
        f"{model.label}{target.name}, frame on the GPU",
        run,
        check,
        scene.inputs,
        lambda: copy(memory.address, host.ctypes.data, kinds.cudaMemcpyHostToDevice),
        lambda: cuda.call("cudaStreamSynchronize", LEGACY_STREAM),  # the array's own: it waits for the path's
        dtype=model.description.precision,
        size=FRAME_SIZE,
        threads=target.threads,
        device=target.device,
    )


def batches(model: Model, target: Target, sizes: tuple[int, ...]) -> list[Candidate]:
    """The engine on so many faces a call, as far as it takes them."""
    most = path_of(model, target).engine.max_faces
    return [Parts(model, target, size).candidate("model") for size in sizes if size <= most]
