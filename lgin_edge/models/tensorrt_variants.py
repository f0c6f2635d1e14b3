"""TensorRT and TensorRT-RTX: one API, and here all that differs between them (and between their versions)."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from ..errors import BackendError


@dataclass(frozen=True)
class Variant:
    """One of the two."""

    name: str  # as the command line and the description of an engine say it
    module: str  # the Python module
    magic: bytes  # the first four bytes of its engines (found by experiment; bytes 24 to 27 are the version)
    get: str  # how to get it
    network_flags: tuple[str, ...] = ()  # names of flags that are set where this version has them
    builder_flags: tuple[str, ...] = ()
    cross: bool = False  # it builds for GPUs that are not there (``--target``), and so on a machine without any

    @property
    def installed(self) -> bool:
        """Whether the module can be found; it is not imported."""
        return importlib.util.find_spec(self.module) is not None

    def load(self) -> Any:
        """The module. Raises BackendError, saying how to get it."""
        try:
            return importlib.import_module(self.module)
        except Exception as error:  # a missing driver library is an OSError, RuntimeError or ImportError, by version
            raise BackendError(
                f"{self.name} cannot be imported ({type(error).__name__}: {error}); {self.get}"
            ) from error

    def version(self) -> str:
        """The installed version, as in ``1.7.1.116``. Raises BackendError."""
        return str(self.load().__version__)

    def make(self, kind: str, logger: Any, log: Log) -> Any:
        """Its ``Builder`` or ``Runtime``. Raises BackendError: without a driver the bindings raise a TypeError, or give None."""
        try:
            made = getattr(self.load(), kind)(logger)
        except TypeError:
            made = None
        if made is None:
            raise BackendError(
                f"{self.name} made no {kind.lower()}: {log.last('it does not say why')}; it needs an NVIDIA driver: see nvidia-smi"
            )
        return made


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant(
            name="tensorrt",
            module="tensorrt",
            magic=b"ftrt",
            get="on a Jetson it comes with JetPack: make the virtual environment with --system-site-packages; elsewhere "
            "pip install lgin-edge[tensorrt]",
            network_flags=("STRONGLY_TYPED",),  # TensorRT 11 is nothing else, and has the flag no more or ignores it
        ),
        Variant(
            name="tensorrt-rtx",
            module="tensorrt_rtx",
            magic=b"vtrt",
            get="pip install lgin-edge[tensorrt-rtx]",
            builder_flags=("REQUIRE_USER_ALLOCATION",),  # no allocation while it runs: its stream can be captured
            cross=True,
        ),
    )
}

#: Compute capabilities that TensorRT-RTX 1.7 runs on, and the oldest that it builds for when no target is named.
RTX_TARGETS, RTX_OLDEST = (75, 80, 86, 89, 120, 121), 80


def choose(name: str) -> Variant:
    """The variant of a name, or for ``auto`` the one that is installed, TensorRT before TensorRT-RTX. Raises BackendError."""
    if name == "auto":
        for variant in VARIANTS.values():
            if variant.installed:
                return variant
        ways = "; ".join(f"{variant.name}: {variant.get}" for variant in VARIANTS.values())
        raise BackendError(f"neither TensorRT nor TensorRT-RTX is installed. {ways}")
    if name not in VARIANTS:
        raise BackendError(f"variant: expected auto, {' or '.join(VARIANTS)}, got {name!r}")
    return VARIANTS[name]


def flags(kind: Any, names: tuple[str, ...]) -> list[Any]:
    """The members of an enumeration of TensorRT that this version has."""
    members = kind.__members__
    return [members[name] for name in names if name in members]


class Log:
    """What TensorRT reports, kept for the message of an error; ``attach`` gives it to one of its loggers."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def attach(self, trt: Any) -> Any:
        """A logger of this variant that keeps errors and drops everything else."""
        bad = (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR)
        errors = self.errors

        class Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in bad:
                    errors.append(message.strip())

        return Logger()

    def clear(self) -> None:
        """Forget what was reported, before something else is done."""
        self.errors.clear()

    def last(self, otherwise: str) -> str:
        """The first line of the first error, which is the cause; later ones follow from it."""
        return self.errors[0].splitlines()[0] if self.errors else otherwise
