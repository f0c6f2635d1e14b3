"""The steps of ``gpu_check`` that run our kernels (``gpu_steps``)."""

from __future__ import annotations

from collections.abc import Callable

from lgin_edge import kernels
from lgin_edge.errors import BackendError

from . import gpu_answers, gpu_targets, gpu_times
from .gpu_steps import Step

STEPS: dict[str, Callable[[Step], None]] = {
    "path": gpu_answers.path_answers,
    "kernels": gpu_times.kernel_times,
    "paste-times": gpu_times.paste_times,
    "path-times": gpu_times.path_times,
    "frame": gpu_times.whole_frame,
    "arrays": gpu_answers.arrays,
    "target-times": gpu_targets.target_times,
}


def find(name: str) -> Callable[[Step], None]:
    """A step by its name. Raises BackendError in a build without CUDA kernels."""
    if not kernels.cuda_built() or kernels.cuda_is_host():
        raise BackendError("this build of lgin-edge has no CUDA kernels (LGIN_CUDA=ON ./bootstrap.sh test)")
    return STEPS[name]
