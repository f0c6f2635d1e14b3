"""Every exception that lgin-edge raises on purpose.

A message says what was given, what was expected and what to do. The subclasses also derive from the built-in
exception that a caller would guess, so ``except ValueError`` works as well as ``except lgin_edge.LginError``.
"""


class LginError(Exception):
    """Base of all errors of this package."""


class InputError(LginError, ValueError):
    """An argument has the wrong type, shape, dtype or value (a frame, landmarks, a box, an age)."""


class ImageError(LginError, OSError):
    """An image file cannot be read or written."""


class ModelError(LginError, RuntimeError):
    """A model file is missing, damaged, or not one that this version can run."""


class BackendError(LginError, RuntimeError):
    """A run time or device that was asked for is not there, or failed while running."""


class ClosedError(LginError, RuntimeError):
    """The object was closed and can no longer be used."""
