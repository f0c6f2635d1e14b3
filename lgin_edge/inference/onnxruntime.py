"""Models in ONNX files, run by ONNX Runtime: on the CPU by default, on anything else by the provider's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from .._process import ForkGuard, keep_in_children, native_call
from ..edits import all_finite
from ..errors import BackendError, ClosedError, ModelError, not_copied, raised_by_caller
from ..frames import Floats
from ..limits import LIMITS, Limits
from ..models import onnx_file
from ..models.description import Description
from ..models.onnx_file import OnnxFile, check_interface, read_description
from .interfaces import not_finite

DEFAULT_PROVIDERS = ("CPUExecutionProvider",)
#: A provider by its name, or with its options.
Provider: TypeAlias = str | tuple[str, dict[str, str]]
#: The first ONNX Runtime in which ``spin_duration_us`` was seen to work; earlier ones spin always or never.
_SPINS_BRIEFLY = (1, 30)
_SPIN_US = "20"


def _release(version: str) -> tuple[int, ...]:
    """1.30.0 -> (1, 30)."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())


def session_options(threads: int) -> Any:
    """The ``onnxruntime.SessionOptions`` of every session here."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # fatal only: an error comes back as an exception, which becomes ours
    # Detector, model and caller share the cores: a thread that waits must not spin on one. (With every core busy, spinning
    # made a 640 x 480 frame three times slower. The memory arena stays on: 35 MB more at the peak, a third less time.) For as
    # long as between two layers it may: waking it takes as long, and an engine call has two hundred of them.
    if _release(onnxruntime.__version__) >= _SPINS_BRIEFLY:
        options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_US)
    else:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


class Session:
    """A loaded ONNX file, ``raw`` its ``onnxruntime.InferenceSession``. ``run`` may be called by several threads at once."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self._origin = ForkGuard("this model")
        keep_in_children(raw)

    def __reduce_ex__(self, protocol: object) -> Any:
        raise not_copied("a loaded model (a detector's, too)")

    def run(self, what: str, outputs: Sequence[str] | None, feed: Mapping[str, Any]) -> list[Any]:
        """Outputs by their names, all when None. ``what`` is in it, for the message. Raises BackendError."""
        results: list[Any] = []
        self.call(what, lambda: results.extend(self.raw.run(outputs, feed)))
        return results

    def call(self, what: str, function: Callable[[], object]) -> None:
        """Call something that runs ``raw``. Raises BackendError."""
        self._origin.check()
        try:
            with native_call():
                function()
        except Exception as error:  # ONNX Runtime's exceptions share no base but this one
            if raised_by_caller(error):
                raise
            raise BackendError(f"ONNX Runtime failed on {what}: {error}") from error


def open_session(
    file: OnnxFile, *, providers: Sequence[Provider] = DEFAULT_PROVIDERS, threads: int = 1, quantized: bool = False
) -> Session:
    """Load a file that was looked at; ``quantized``: it computes with int8, and does not only store it.

    Raises:
        ModelError: ONNX Runtime cannot load it.
        BackendError: ONNX Runtime is not installed, or lacks a provider that was asked for.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(f"ONNX Runtime cannot be imported ({error}): pip install onnxruntime") from error
    available = onnxruntime.get_available_providers()
    names = [one if isinstance(one, str) else one[0] for one in providers]
    if not names or any(name not in available for name in names):
        raise BackendError(
            f"ONNX Runtime providers {names} were asked for; this installation has {available}. Choose among "
            "those, or install the onnxruntime package that contains the other (onnxruntime-gpu for CUDA)"
        )
    options = session_options(threads)
    # The bytes could be read as its own format, too.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # What is stored as int8 becomes float now, and not at every call: 1 to 2 % of the bundled model's time.
    if not quantized:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if file.external:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(file.path.parent))
    try:
        return Session(onnxruntime.InferenceSession(file.data, options, providers=list(providers)))
    except Exception as error:  # ONNX Runtime's exceptions share no base but this one
        if raised_by_caller(error):
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{file.path}: not an ONNX file that ONNX Runtime can run: {reason}") from error


class OnnxBackend:
    """A model of lgin-edge in an ONNX file, which carries its description (``training.export`` writes it).

    Attributes:
        dtypes: of every input and output, by name.

    Raises:
        ModelError: as ``onnx_file.read``, without a description, or its inputs and outputs contradict the description.
        BackendError: a provider is not there.
    """

    def __init__(
        self,
        path: Path,
        *,
        providers: Sequence[Provider] = DEFAULT_PROVIDERS,
        threads: int = 1,
        sha256: str | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        file = onnx_file.read(path, sha256=sha256, limits=limits)
        self.description = about = read_description(file, Description.from_json, limits)
        self.dtypes = check_interface(file, about.inputs, about.outputs)
        self._session: Session | None = open_session(
            file, providers=providers, threads=threads, quantized=about.precision == "int8"
        )

    @property
    def session(self) -> Session:
        """The loaded file. Raises ClosedError after ``close``."""
        session = self._session
        if session is None:
            raise ClosedError("this model was closed")
        return session

    def run(self, face: Floats, patches: Floats, boxes: Floats, age: Floats) -> tuple[Floats, ...]:
        """As ``interfaces.Backend``.

        Raises:
            BackendError, ClosedError: ONNX Runtime failed; after ``close``.
            ModelError: the outputs have other shapes than the description says, or values that are not finite.
        """
        session = self.session  # held here, so that a close() in another thread waits for this call's end
        about, n = self.description, len(face)
        g = len(age) // n if n else 1
        age = age.reshape(about.shape("age", n, g))
        arrays = {"face": face, "patches": patches, "boxes": boxes, "age": age}
        feed: dict[str, Any] = {name: np.ascontiguousarray(array, self.dtypes[name]) for name, array in arrays.items()}
        found = session.run(f"{n} faces at {g} ages each", list(about.outputs), feed)
        for name, array in zip(about.outputs, found, strict=True):
            if array.shape != about.shape(name, n, g):
                raise ModelError(
                    f"{about.model}: gave {name} of shape {array.shape} for {n} faces at {g} ages each, expected "
                    f"{about.shape(name, n, g)}; export it again"
                )
            if not all_finite(array):
                raise not_finite(about.model, name)
        return tuple(about.rows(name, array) for name, array in zip(about.outputs, found, strict=True))

    def close(self) -> None:
        """Free the session's memory, once no call is running."""
        self._session = None
