"""A window with a stream in it, and keys to change the age."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ..errors import BackendError
from ..frames import Frame
from ..tracking.opencv import opencv

if TYPE_CHECKING:
    from ..stream.stream import Stream

KEYS = "+ and - change the age by five years, 0 to 9 choose a group, o shows the original, q or Esc ends"
#: Years of one press.
_STEP = 5.0
_NAME = "lgin-edge"


class Window:
    """A window of OpenCV's, which shows the picture as a ``mirror`` does, or as it is.

    Raises BackendError: there is no screen, or this OpenCV has no windows.
    """

    def __init__(self, *, mirror: bool = True) -> None:
        self._cv2 = opencv()
        self._mirror = mirror
        self._original = False
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise BackendError("there is no screen (neither DISPLAY nor WAYLAND_DISPLAY is set)")
        try:
            self._cv2.namedWindow(_NAME, self._cv2.WINDOW_NORMAL)
        except self._cv2.error as error:
            raise BackendError(
                f"this OpenCV ({self._cv2.__version__}) was built without windows: pip install opencv-python in place of "
                "opencv-python-headless"
            ) from error

    def show(self, frame: Frame, stream: Stream) -> bool:
        """Show a frame and obey the keys.

        Args:
            frame: [H, W, 3] uint8 BGR; it is drawn on.
            stream: where it comes from, in the same colours.

        Returns: False when the user wants to end.
        """
        shown = stream.original if self._original and stream.original is not None else frame
        shown = self._cv2.flip(shown, 1) if self._mirror else shown.copy()
        self._label(shown, stream)
        self._cv2.imshow(_NAME, shown)
        key = self._cv2.waitKey(1) & 0xFF
        return self._obey(key, stream) and self._cv2.getWindowProperty(_NAME, self._cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        self._cv2.destroyWindow(_NAME)

    def _obey(self, key: int, stream: Stream) -> bool:
        if key in (ord("q"), 27):
            return False
        if key in (ord("+"), ord("="), ord("-")):
            step = -_STEP if key == ord("-") else _STEP
            first, *_, last = stream.groups
            stream.years = min(last.center, max(first.center, stream.years + step))
        elif key == ord("o"):
            self._original = not self._original
        elif ord("0") <= key <= ord("9"):
            stream.group = min(key - ord("0"), len(stream.groups) - 1)
        return True

    def _label(self, frame: Frame, stream: Stream) -> None:
        stats = stream.stats
        what = "original" if self._original else f"{stream.years:.0f} years"
        text = f"{what}   {stats.fps:.0f} fps   {1e3 * stats.latency_median:.0f} ms"
        size = max(0.5, frame.shape[0] / 900)
        at = (round(12 * size * 2), frame.shape[0] - round(14 * size * 2))
        font, smooth = self._cv2.FONT_HERSHEY_SIMPLEX, self._cv2.LINE_AA
        for color, thickness in (((0, 0, 0), 4), ((255, 255, 255), 1)):  # readable on any picture
            self._cv2.putText(frame, text, at, font, size, color, round(thickness * max(1.0, size)), smooth)
