"""Pictures on paper, by a command of this machine. On its way to the command a picture is in memory only."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import InputError

_log = logging.getLogger(__name__)

#: What stands for the picture's file in a command; without it the picture is the command's input.
FILE = "{file}"
#: The command only hands the picture on.
_TIMEOUT_S = 20.0
_HOUR_S = 3600.0


class PrintError(Exception):
    """A picture was not printed; ``code`` says why to programs, as one of those that ``protocol`` has for a print."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def checked(command: Sequence[str]) -> tuple[str, ...]:
    """The command. Raises InputError: there is no such program."""
    if command and shutil.which(command[0]) is None:
        raise InputError(
            f"print command: {command[0]!r} is no program of this machine; lp comes with the package cups-client"
        )
    return tuple(command)


def cups(printer: str) -> tuple[str, ...]:
    """The command that prints by CUPS."""
    return ("lp", "-d", printer, "-t", "lgin-edge", "-o", "fit-to-page")


class Printer:
    """A printer that some pictures an hour can be sent to.

    Args:
        command: program and arguments, none of them read by a shell; ``FILE`` in them stands for the picture's file.
        per_hour: pictures, in any hour.
        clock: seconds.
    """

    def __init__(self, command: Sequence[str], per_hour: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._command, self._per_hour, self._clock = tuple(command), per_hour, clock
        self._times: deque[float] = deque()

    def print(self, data: bytes) -> None:
        """Hand a picture's file to the command, and wait for that. For one thread at a time. Raises PrintError."""
        now = self._clock()
        while self._times and self._times[0] <= now - _HOUR_S:
            self._times.popleft()
        if len(self._times) >= self._per_hour:
            raise PrintError("print_hour", f"{self._per_hour} pictures were printed in an hour")
        try:
            _check_printer(self._command)
            _run(self._command, data)
        except subprocess.CalledProcessError as error:
            why = error.stderr.decode(errors="replace").strip()[-500:] or f"it ended with {error.returncode}"
        except (OSError, subprocess.TimeoutExpired) as error:
            why = str(error)
        else:
            self._times.append(now)
            return
        _log.error("the print command %s failed: %s", self._command[0], why)
        raise PrintError("print_failed", "the printer did not take the picture")


def _check_printer(command: Sequence[str]) -> None:
    """Raises OSError: CUPS has stopped the printer of an ``lp``, which takes pictures all the same. They would lie in its spool,
    and come out one after the other when somebody resumes the printer."""
    if Path(command[0]).name != "lp" or "-d" not in command[:-1]:
        return
    name = command[command.index("-d") + 1]
    english = os.environ | {"LC_ALL": "C"}
    told = subprocess.run(("lpstat", "-p", name), env=english, timeout=_TIMEOUT_S, capture_output=True, check=False)
    if f"printer {name} disabled".encode() in told.stdout:
        raise OSError(f"CUPS has stopped the printer {name}; see to it, then: cupsenable {name}")


def _run(command: Sequence[str], data: bytes) -> None:
    if not any(FILE in word for word in command):
        subprocess.run(command, input=data, timeout=_TIMEOUT_S, capture_output=True, check=True)
        return
    with os.fdopen(os.memfd_create("picture"), "wb") as file:  # has no name on any disk, and goes when it is closed
        file.write(data)
        file.flush()
        path = f"/proc/self/fd/{file.fileno()}"
        subprocess.run(
            [word.replace(FILE, path) for word in command],
            stdin=subprocess.DEVNULL,
            pass_fds=(file.fileno(),),
            timeout=_TIMEOUT_S,
            capture_output=True,
            check=True,
        )
