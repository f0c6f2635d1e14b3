"""Every exception that lgin-edge raises on purpose.

A message says what was given, what was expected and what to do. The subclasses also derive from the built-in
exception that a caller would guess, so ``except ValueError`` works as well as ``except lgin_edge.LginError``.
"""

from __future__ import annotations

import sys


class LginError(Exception):
    """Base of all errors of this package."""


class InputError(LginError, ValueError):
    """An argument has the wrong type, shape, dtype or value (a frame, landmarks, a box, an age)."""


class ImageError(LginError, OSError):
    """An image file cannot be read or written."""


class StreamError(LginError, OSError):
    """A source cannot be opened or read, or stopped; a video cannot be read or written."""


class ModelError(LginError, RuntimeError):
    """A model file is missing, damaged, or not one that this version can run."""


class BackendError(LginError, RuntimeError):
    """A run time or device that was asked for is not there, or failed while running."""


class ClosedError(LginError, RuntimeError):
    """The object was closed and can no longer be used."""


class AgeRangeWarning(UserWarning):
    """An age was asked for that lies outside the centres of the model's groups: the nearest centre was used."""


def not_copied(what: str) -> InputError:
    """That ``what`` was to be pickled or copied, for its ``__reduce_ex__``."""
    return InputError(
        f"{what} holds native memory and threads, and cannot be pickled or copied: threads share one; a worker process "
        "makes its own, once, as in Pool(initializer=...)"
    )


def shown(value: object) -> str:
    """What was given, for a message: its ``repr``, which Python refuses for a number of more than 4300 digits."""
    try:
        return repr(value)
    except ValueError:
        return "a number of thousands of digits"


def raised_by_caller(error: BaseException, *libraries: str) -> bool:
    """Whether an exception came from a signal handler of the caller's, in the midst of a library's work.

    A time limit is such a one. It belongs to the caller, and is not turned into an error of ours.

    Args:
        libraries: packages beside ours that may have raised it on their own.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return False  # the system's
    trace = error.__traceback__
    while trace is not None:
        names = trace.tb_frame.f_globals
        package = str(names.get("__name__", "")).partition(".")[0]
        is_python = "__builtins__" in names  # what Cython compiled, as in PyAV, has no names to go by
        if is_python and package not in (*_LIBRARIES, *libraries) and package not in sys.stdlib_module_names:
            return True
        trace = trace.tb_next
    return False


#: Whose frames may be on the way to an exception that we explain.
_LIBRARIES = (
    "lgin_edge",
    "PIL",
    "numpy",
    "onnxruntime",
    "cv2",
    "av",
    "cuda",
    "tensorrt",
    "tensorrt_rtx",
    "pillow_heif",
)
