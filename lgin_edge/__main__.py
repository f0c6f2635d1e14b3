"""``python -m lgin_edge``: a diagnosis of this installation, ending with a small self-test.

With arguments it is the command ``lgin-edge``, for where that is not on the path.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import lgin_edge

from .files import sha256


def main() -> int:
    """Print the diagnosis; 0 if the self-test passes, else 1."""
    _line("lgin-edge", lgin_edge.__version__)
    _line("python", f"{platform.python_version()} ({sys.executable})")
    _line("platform", f"{platform.platform()}, {platform.machine()}, {os.cpu_count()} CPUs")
    for package in ("numpy", "onnxruntime", "onnxruntime-gpu", "opencv-python-headless", "opencv-python", "pillow"):
        version = _version(package)
        if version or package not in ("onnxruntime-gpu", "opencv-python"):
            _line(package, version or "not installed")
    # Looked for, not imported: importing a TensorRT without its driver can be slow or fail.
    for module, package in (("tensorrt", "tensorrt"), ("tensorrt_rtx", "tensorrt-rtx")):
        found = importlib.util.find_spec(module) is not None
        _line(package, (_version(package) or "installed") if found else "not installed")
    _try("CUDA kernels", _cuda)
    _try("ORT providers", _providers)
    for weights in sorted((Path(lgin_edge.__file__).parent / "weights").glob("*.onnx")):
        _line(f"weights/{weights.name}", f"{weights.stat().st_size:,} bytes, SHA-256 {sha256(weights)}")
    works = _try("detector", _detector)
    return 0 if _try("self-test", _self_test) and works else 1


def _line(name: str, value: str) -> None:
    print(f"{name + ':':<26} {value}")


def _try(name: str, look: Callable[[], str]) -> bool:
    """Print what ``look`` finds; a diagnosis goes on whatever is broken."""
    try:
        _line(name, look())
    except Exception as error:  # noqa: BLE001 - whatever is broken is what the diagnosis is for
        _line(name, f"FAILED: {type(error).__name__}: {error}")
        return False
    return True


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cuda() -> str:
    from . import kernels

    if not kernels.cuda_built():
        return "not built (LGIN_CUDA=ON pip install . builds them)"
    return f"built; devices: {kernels.cuda_device_count()}"


def _providers() -> str:
    import onnxruntime

    return ", ".join(onnxruntime.get_available_providers())


def _detector() -> str:
    import numpy as np

    start = time.perf_counter()
    lgin_edge.CenterFace()(np.full((480, 640, 3), 128, np.uint8))
    return f"CenterFace, loaded and run on 640 x 480 in {1e3 * (time.perf_counter() - start):.0f} ms"


def _self_test() -> str:
    """Age a synthetic picture whose landmarks are known; only the face may change, and it must."""
    import numpy as np

    from . import geometry

    side = 512
    ramp = np.linspace(40, 215, side).astype(np.uint8)
    image = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(128)), axis=-1)
    landmarks = geometry.TEMPLATE * 256 + 128  # the face square is the picture's middle quarter
    start = time.perf_counter()
    with lgin_edge.Transformer() as transformer:
        loaded = time.perf_counter()
        older = transformer.age(image, group=len(transformer.groups) - 1, landmarks=landmarks)
        aged = time.perf_counter()
    changed = np.nonzero((older != image).any(axis=2))
    if not len(changed[0]):
        raise lgin_edge.BackendError("the model changed nothing")
    if min(axis.min() for axis in changed) < 128 or max(axis.max() for axis in changed) >= 384:
        raise lgin_edge.BackendError("pixels outside the face changed")
    return f"passed; model loaded in {1e3 * (loaded - start):.0f} ms, one face in {1e3 * (aged - loaded):.0f} ms"


if __name__ == "__main__":
    if sys.argv[1:]:
        from .cli import app as cli

        cli.main()
    sys.exit(main())
