"""What native code needs where a process ends or forks."""

from __future__ import annotations

import atexit
import math
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import BackendError

#: Seconds that the end of the interpreter waits for calls of daemon threads.
_PATIENCE = 10.0

#: Where Linux tells a process its control group, and what each of them may take (version 2).
_MY_CGROUP, _CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")

_changed = threading.Condition()
_running = 0  # calls of daemon threads
_ending = False
_local = threading.local()
_kept: weakref.WeakSet[Any] = weakref.WeakSet()


@contextmanager
def native_call() -> Iterator[None]:
    """Round a call that lets go of the GIL, or several.

    Before version 3.14 Python ends a daemon thread when it asks for the GIL while the interpreter goes down: inside C++,
    which aborts the process. So the interpreter waits for such calls when it ends, and lets no new one begin. It waits for
    other threads anyway, and the main thread is the one that waits.
    """
    global _running
    if not threading.current_thread().daemon or getattr(_local, "inside", False):
        yield
        return
    with _changed:
        ending = _ending
        _running += not ending
    if ending:
        threading.Event().wait()  # until the process is gone
    _local.inside = True
    try:
        yield
    finally:
        _local.inside = False
        with _changed:
            _running -= 1
            _changed.notify_all()


def usable_cores() -> int:
    """Cores that this process may use: those that it is bound to, or fewer where a container has less time than they have."""
    cores = len(os.sched_getaffinity(0))
    try:
        (group,) = (line[3:] for line in _MY_CGROUP.read_text("utf-8").splitlines() if line.startswith("0::"))
    except (OSError, ValueError):
        return cores
    folder = _CGROUPS / group.lstrip("/")
    for one in (folder, *folder.parents):
        if one.is_relative_to(_CGROUPS):
            with suppress(OSError, ValueError):  # "max" is no limit
                quota, period = (one / "cpu.max").read_text("ascii").split()
                cores = min(cores, max(1, math.ceil(int(quota) / int(period))))
    return cores


class ForkGuard:
    """The process that something was made in, for what does not survive a fork; ``what`` is for the message: "this model"."""

    def __init__(self, what: str) -> None:
        self._what, self._process = what, os.getpid()

    @property
    def same_process(self) -> bool:
        """Whether it is this process."""
        return os.getpid() == self._process

    def check(self) -> None:
        """Raises BackendError in another process."""
        if not self.same_process:
            raise BackendError(
                f"{self._what} was made before this process was forked, and the threads that it needs are in the parent "
                "alone: make a new one here, or let multiprocessing start its processes by 'spawn'"
            )


def keep_in_children(thing: Any) -> None:
    """Never end something in a forked child, where what waits for its threads would wait for ever."""
    _kept.add(thing)


def _end() -> None:
    global _ending
    with _changed:
        _ending = True
        _changed.wait_for(lambda: not _running, _PATIENCE)


def _begin_child() -> None:
    """In a forked child, where no other thread runs: locks are free again, and what must not end has one owner more."""
    import ctypes

    global _changed, _running
    _changed, _running = threading.Condition(), 0
    for thing in _kept:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


atexit.register(_end)
os.register_at_fork(after_in_child=_begin_child)
