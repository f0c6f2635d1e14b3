"""Models in ONNX files on a GPU: ONNX Runtime's CUDA provider, bound to our buffers; ``interfaces.Engine``."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BackendError, ModelError
from ..limits import LIMITS, Limits
from .onnxruntime import OnnxBackend, Provider

#: Most faces of one call, and most ages of each; ONNX Runtime's own memory grows with them.
MAX_FACES, MAX_AGES = 8, 8
PROVIDER = "CUDAExecutionProvider"


class OnnxGpuEngine:
    """A model file, loaded by ONNX Runtime for buffers on a GPU.

    Args:
        stream: that ONNX Runtime queues its work on: the one that is given to ``enqueue``.
        provider: what runs it, and ``memory``, where the buffers lie: tests put the CPU there.

    Raises BackendError: this ONNX Runtime has no CUDA, or it does not work here; or as ``OnnxBackend``.
    """

    max_faces, max_ages = MAX_FACES, MAX_AGES
    #: ONNX Runtime allocates while it runs, which a recorded graph must not.
    capturable = False

    def __init__(
        self,
        path: Path,
        device: int,
        stream: int,
        *,
        sha256: str | None = None,
        limits: Limits = LIMITS,
        provider: Provider | None = None,
        memory: str = "cuda",
    ) -> None:
        import onnxruntime

        if provider is None:
            # CUDA and cuDNN of pip's packages, where ONNX Runtime does not look by itself. It prints what it does not find;
            # what is needed, and missing, is in our error.
            with redirect_stdout(StringIO()):
                onnxruntime.preload_dlls()
            options = {"device_id": str(device), "user_compute_stream": str(stream)}
            # By default every algorithm of every convolution is timed at each new number of faces: seconds, in a live picture.
            provider = (PROVIDER, options | {"cudnn_conv_algo_search": "HEURISTIC"})
        self._backend = OnnxBackend(path, providers=(provider,), threads=1, sha256=sha256, limits=limits)
        self.description = self._backend.description
        self._device, self._memory, self._path = device, memory, path
        session = self._backend.session.raw
        name = provider if isinstance(provider, str) else provider[0]
        if session.get_providers()[0] != name:  # ONNX Runtime goes on without a provider that does not load
            raise BackendError(
                f"{path}: ONNX Runtime's {name} does not work here, though it is installed: {_missing_library()}; "
                "pip install 'onnxruntime-gpu[cuda,cudnn]' brings the CUDA and cuDNN libraries that it was built for"
            )
        self.dtypes: dict[str, np.dtype[Any]] = {k: np.dtype(v) for k, v in self._backend.dtypes.items()}
        about = self.description
        if len({self.dtypes[name] for name in ("face", "patches", *about.outputs)}) != 1:
            raise ModelError(f"{path}: faces and residuals have different types, {self.dtypes}; export it again")
        self._options = onnxruntime.RunOptions()
        # What follows is queued on the same stream: nothing has to be waited for.
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def bind(self, addresses: Mapping[str, int], faces: int, ages: int) -> OnnxCall:
        """A call, queued on the stream that the engine was made with. Raises BackendError."""
        session, about = self._backend.session, self.description
        binding = session.raw.io_binding()
        for names, bind in ((about.inputs, binding.bind_input), (about.outputs, binding.bind_output)):
            for name in names:
                kind, shape = self.dtypes[name].type, about.shape(name, faces, ages)
                bind(name, self._memory, self._device, kind, shape, addresses[name])
        return OnnxCall(self, binding, f"{faces} faces at {ages} ages each")

    def run(self, binding: Any, what: str) -> None:
        """Raises BackendError."""
        session = self._backend.session
        session.call(what, lambda: session.raw.run_with_iobinding(binding, self._options))

    def close(self) -> None:
        """Free the session."""
        self._backend.close()


def _missing_library() -> str:
    """Why the CUDA provider was not loaded: ONNX Runtime says it to its log alone, and the loader's own words are clearer."""
    import onnxruntime

    try:
        ctypes.CDLL(str(Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"))
    except OSError as error:
        return str(error)
    return "all its libraries are found, so see nvidia-smi for the driver"


class OnnxCall:
    """``interfaces.EngineCall``: a binding of ONNX Runtime."""

    def __init__(self, engine: OnnxGpuEngine, binding: Any, what: str) -> None:
        self._engine, self._binding, self._what = engine, binding, what

    def capturable(self, stream: int) -> bool:
        return self._engine.capturable

    def enqueue(self, stream: int) -> None:
        self._engine.run(self._binding, self._what)

    def close(self) -> None:
        self._binding = None
