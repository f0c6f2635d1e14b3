"""The TensorRT back end on a stand-in for TensorRT: what it is asked, in which order, and what its refusals become."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cuda_stand_in
import models
import numpy as np
import pytest

from lgin_edge import BackendError, ModelError
from lgin_edge.inference.cuda import Cuda
from lgin_edge.inference.tensorrt import TensorRTEngine
from lgin_edge.models import engine_file
from lgin_edge.models.description import EngineFacts
from lgin_edge.models.tensorrt_variants import RTX_TARGETS

ABOUT = models.describe(precision="fp16", engine=EngineFacts("tensorrt-rtx", "1.7.0", ("sm86",), 4))
NAMES = ("patch_delta", "age", "face", "boxes", "face_delta", "patches")  # in whatever order the engine lists them


class Context:
    def __init__(self, trt: SimpleNamespace) -> None:
        self.trt, self.asked = trt, []

    def set_device_memory(self, address: int, size: int) -> None:
        self.asked.append(("memory", size, address % 256))

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.asked.append(("shape", name, shape))
        return shape[0] <= 20

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.asked.append(("address", name, address))
        return address % 256 == 0

    def execute_async_v3(self, stream: int) -> bool:
        self.asked.append(("run", stream))
        if self.trt.broken == "run":
            self.trt.logger.log(0, "out of memory\nsomewhere")
        return self.trt.broken != "run"

    def is_stream_capturable(self, stream: int) -> bool:
        return self.trt.broken != "capture"


def stand_in(broken: str = "", version: str = "1.7.0") -> Any:
    """A module like ``tensorrt_rtx``, in which one thing may be broken."""

    class ILogger:
        Severity = SimpleNamespace(ERROR=0, INTERNAL_ERROR=1, WARNING=2)

        def __init__(self) -> None:
            trt.logger = self

    def shape(name: str) -> tuple[int, ...]:
        tail = (ABOUT.inputs | ABOUT.outputs)[name]
        return (-1, *tail[:-1], tail[-1] + (broken == "shape" and name == "face"))

    class Cache:
        def deserialize(self, data: bytes) -> bool:
            trt.loaded.append(data)
            return True

        def serialize(self) -> bytes:
            return b"kernels"

    class RuntimeConfig(SimpleNamespace):
        dynamic_shapes_kernel_specialization_strategy = "lazy"
        strategy = cache = None

        def set_execution_context_allocation_strategy(self, strategy: str) -> None:
            self.strategy = strategy

        def create_runtime_cache(self) -> Cache:
            return Cache()

        def set_runtime_cache(self, cache: Cache) -> bool:
            self.cache = cache
            return True

    def create_context(how: Any) -> Any:
        trt.made_with.append(how)
        if broken == "context":
            return None
        trt.contexts.append(Context(trt))
        return trt.contexts[-1]

    engine = SimpleNamespace(
        num_io_tensors=len(NAMES),
        device_memory_size_v2=1 << 20,
        get_tensor_name=lambda i: NAMES[i],
        get_tensor_shape=shape,
        get_tensor_dtype=lambda name: (
            "f4" if name in ("boxes", "age") or (broken == "dtype" and name == "face") else "f2"
        ),
        create_execution_context=create_context,
        create_runtime_config=RuntimeConfig,
    )

    def deserialize(data: bytes) -> Any:
        trt.seen.append(len(data))
        if broken == "load":
            trt.logger.log(0, "Serialization assertion failed\nwith much more")
            trt.logger.log(0, "and then this")
        return None if broken == "load" else engine

    def make_runtime(logger: Any) -> Any:
        if broken == "driver":
            logger.log(0, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        return SimpleNamespace(deserialize_cuda_engine=deserialize)

    trt = SimpleNamespace(
        __version__=version,
        broken=broken,
        seen=[],
        ILogger=ILogger,
        Runtime=make_runtime,
        contexts=[],
        made_with=[],
        loaded=[],
        DynamicShapesKernelSpecializationStrategy=SimpleNamespace(EAGER="eager"),
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="user"),
        nptype=np.dtype,
    )
    return trt


def load(path: Path, monkeypatch: pytest.MonkeyPatch, trt: Any, capability: int = 86) -> tuple[TensorRTEngine, Any]:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", trt)
    runtime = cuda_stand_in.Runtime(capability=capability)
    return TensorRTEngine(path, Cuda(0, runtime)), runtime


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "engine.plan"
    engine_file.write(path, b"vtrt", ABOUT)
    return path


def test_a_call(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trt = stand_in()
    engine, runtime = load(path, monkeypatch, trt)
    assert engine.description == ABOUT
    assert engine.max_faces == 4
    assert engine.capturable
    assert {name: dtype.itemsize for name, dtype in engine.dtypes.items()} == {
        "face": 2, "patches": 2, "boxes": 4, "age": 4, "face_delta": 2, "patch_delta": 2,
    }  # fmt: skip
    assert engine.max_ages == len(ABOUT.groups)
    call = engine.bind({name: 1024 + 256 * i for i, name in enumerate(NAMES)}, 2, 5)
    call.enqueue(5)
    assert call.capturable(5)
    asked = trt.contexts[0].asked
    assert asked[0] == ("memory", 1 << 20, 0)
    assert asked[-1] == ("run", 5)
    assert ("shape", "age", (10, 5)) in asked
    assert ("shape", "face", (2, 3, models.S, models.S)) in asked
    assert [one for one in asked if one[0] == "address"] == [
        ("address", name, 1024 + 256 * i) for i, name in enumerate(NAMES)
    ]
    call.enqueue(5)
    assert asked[-2:] == [("run", 5)] * 2  # all else is asked once
    engine.bind(dict.fromkeys(NAMES, 256), 1, 1)
    assert len(trt.contexts) == 2  # a recorded graph has one of its own, on the same memory
    assert trt.contexts[1].asked[0] == asked[0]
    call.close()
    engine.close()
    engine.close()
    assert runtime.live == {}


def test_kernels_are_compiled_for_the_shape_and_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = path.with_name("engine.plan.cache")
    for loaded in ([], [b"kernels"]):
        trt = stand_in()
        engine, _ = load(path, monkeypatch, trt)
        engine.bind(dict.fromkeys(NAMES, 256), 1, 1)
        (how,) = trt.made_with
        assert (how.strategy, how.dynamic_shapes_kernel_specialization_strategy) == ("user", "eager")
        assert trt.loaded == loaded
        engine.close()
        assert cache.read_bytes() == b"kernels"
    cache.write_bytes(b"of somebody else")
    trt = stand_in()
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", trt)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    engine = TensorRTEngine(path, Cuda(0, cuda_stand_in.Runtime()), digest)
    engine.bind(dict.fromkeys(NAMES, 256), 1, 1)
    engine.close()
    assert (trt.loaded, cache.read_bytes()) == ([], b"of somebody else")


@pytest.mark.parametrize(
    ("broken", "error", "message"),
    [
        ("load", ModelError, r"tensorrt-rtx cannot load it: Serialization assertion failed; build it again"),
        ("shape", ModelError, "its description asks for"),
        ("dtype", ModelError, "different types"),
        (
            "driver",
            BackendError,
            "made no runtime: CUDA initialization failure .*needs an NVIDIA driver: see nvidia-smi",
        ),
        ("context", BackendError, "made no context"),
    ],
)
def test_what_cannot_be_loaded(
    path: Path, broken: str, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(error, match=message):
        load(path, monkeypatch, stand_in(broken))[0].bind(dict.fromkeys(NAMES, 256), 1, 1)


def test_checks_come_before_tensorrt_sees_a_byte(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for trt, capability, message in (
        (stand_in(version="1.8.0"), 86, "built by tensorrt-rtx 1.7.0, and 1.8.0 is installed"),
        (stand_in(), 89, "built for sm86, and this GPU is sm89"),
    ):
        with pytest.raises(ModelError, match=message):
            load(path, monkeypatch, trt, capability)
        assert trt.seen == []
    path.write_bytes(path.read_bytes() + b"x")
    trt = stand_in()
    with pytest.raises(ModelError, match="SHA-256"):
        load(path, monkeypatch, trt)
    assert trt.seen == []


def test_failed_calls(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, _ = load(path, monkeypatch, stand_in("run"))
    addresses = dict.fromkeys(NAMES, 256)
    with pytest.raises(BackendError, match=r"engine\.plan: the engine failed on 1 faces at 1 ages: out of memory$"):
        engine.bind(addresses, 1, 1).enqueue(5)
    # What failed before is no reason of it.
    with pytest.raises(BackendError, match="does not take 1 faces at 21 ages: TensorRT does not say why"):
        engine.bind(addresses, 1, 21)
    with pytest.raises(BackendError, match="does not take age at address 0x110: TensorRT does not say why"):
        engine.bind(addresses | {"age": 272}, 1, 1)
    engine.close()


def test_a_stream_that_cannot_be_recorded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not load(path, monkeypatch, stand_in("capture"))[0].bind(dict.fromkeys(NAMES, 256), 1, 1).capturable(5)


def test_the_real_bindings_have_what_is_asked() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="needs TensorRT-RTX: ./bootstrap.sh test,tensorrt-rtx")
    config = {"set_execution_context_allocation_strategy", "dynamic_shapes_kernel_specialization_strategy"}
    for kind, names in (
        (trt.ICudaEngine, {"create_runtime_config", "create_execution_context", "device_memory_size_v2"}),
        (trt.IRuntimeConfig, config | {"create_runtime_cache", "set_runtime_cache"}),
        (trt.IRuntimeCache, {"serialize", "deserialize"}),
        (trt.IExecutionContext, {name for name in vars(Context) if not name.startswith("_")}),
        (trt.DynamicShapesKernelSpecializationStrategy, {"EAGER"}),
    ):
        assert names <= set(dir(kind))
    assert {f"SM{target}" for target in RTX_TARGETS} <= set(trt.ComputeCapability.__members__)
