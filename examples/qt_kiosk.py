"""A kiosk: the live picture over the whole screen, one big slider for the age, and a button to compare.

    pip install "lgin-edge[qt]"
    python examples/qt_kiosk.py              # camera 0; or: qt_kiosk.py rtsp://192.168.1.20/stream --model engine.plan
    python examples/qt_kiosk.py --windowed   # F11 changes between window and full screen, Esc ends

The camera runs in a thread of its own and is waited for when it goes away. When nobody was there for a while the age goes back
to what it was, for the next visitor. Nothing is stored.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from PySide6.QtCore import QPointF, QRectF, Qt, QThread, QTimer, Signal
from PySide6.QtGui import (
    QBrush,
    QCloseEvent,
    QColor,
    QFont,
    QImage,
    QKeyEvent,
    QLinearGradient,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
)
from PySide6.QtWidgets import QApplication, QLabel, QPushButton, QSlider, QWidget

from lgin_edge import LginError, Stream, StreamError, Transformer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from lgin_edge.stream import Source

ACCENT, INK = QColor("#ffb454"), QColor("#ffffff")
#: Seconds without a face after which a visitor is invited, and after which the age is reset; between attempts to open a camera.
INVITE, RESET, RETRY = 2.0, 20.0, 3.0
STYLE = """
QPushButton { color: white; background: rgba(255, 255, 255, 60); border: none; }
QPushButton:pressed { color: #1b1b1f; background: #ffb454; }
#message { color: white; background: rgba(16, 16, 20, 190); }
"""


class Picture(NamedTuple):
    """A frame as it came and changed, [H, W, 3] uint8 BGR, and how many faces are in it."""

    original: npt.NDArray[np.uint8]
    changed: npt.NDArray[np.uint8]
    faces: int


class Camera(QThread):
    """Reads and changes frames. Of those that the window is too slow for only the newest is kept."""

    ready = Signal()  #: ``take`` has a new picture.
    failed = Signal(str)  #: The camera is not there, and why; it is tried again.
    broken = Signal(str)  #: It makes no sense to go on, and why.

    def __init__(self, source: Source, transformer: Transformer, years: float) -> None:
        super().__init__()
        self._source, self._transformer, self._years = source, transformer, years
        self._lock = threading.Lock()
        self._newest: Picture | None = None
        self._stream: Stream | None = None
        self._ended = threading.Event()

    def run(self) -> None:
        try:
            while not self._ended.is_set():
                self._read()
        except Exception as error:  # noqa: BLE001 - whatever it is, the window has to tell
            self.broken.emit(f"{type(error).__name__}: {error}")

    def _read(self) -> None:
        """The frames from where the source is opened to where it ends; a film then begins again."""
        try:
            with Stream(self._source, self._transformer, years=self._years, color="bgr") as stream:
                self._stream = stream
                stream.years = self._years  # it may have been set while the camera was opened
                for changed in stream:
                    if self._ended.is_set():
                        return
                    assert stream.original is not None
                    self._put(Picture(stream.original, changed, len(stream.stats.faces)))
        except StreamError as error:
            self.failed.emit(str(error))
            self._ended.wait(RETRY)

    def take(self) -> Picture | None:
        """The newest picture that was not taken yet."""
        with self._lock:
            picture, self._newest = self._newest, None
        return picture

    def set_years(self, years: float) -> None:
        """For the window's thread; the stream eases to the new age."""
        self._years = years
        if self._stream is not None:
            self._stream.years = years

    def stop(self) -> None:
        """Free the camera and wait for the thread."""
        self._ended.set()
        if self._stream is not None:
            self._stream.close()
        self.wait(10_000)

    def _put(self, picture: Picture) -> None:
        with self._lock:
            awaited, self._newest = self._newest is None, picture
        if awaited:  # otherwise a signal is on its way already: signals never queue up
            self.ready.emit()


class AgeSlider(QSlider):
    """A slider for fingers: a wide track with the ages of the model's groups under it, and a handle that comes to the touch."""

    def __init__(self, first: float, last: float, marks: list[float]) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setRange(round(first), round(last))
        self.setSingleStep(1)
        self.setPageStep(5)
        self.setAccessibleName("age in years")
        self._marks = marks

    def _x(self, value: float) -> float:
        """Where an age lies, pixels."""
        radius = self.height() * 0.3
        share = (value - self.minimum()) / max(1, self.maximum() - self.minimum())
        return float(radius + share * (self.width() - 2 * radius))

    def _go(self, event: QMouseEvent) -> None:
        left, right = self._x(self.minimum()), self._x(self.maximum())
        share = min(1.0, max(0.0, (event.position().x() - left) / (right - left)))
        self.setValue(round(self.minimum() + share * (self.maximum() - self.minimum())))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.setSliderDown(True)
        self._go(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._go(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.setSliderDown(False)

    def paintEvent(self, _: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        h = self.height()
        radius, middle, thick = h * (0.3 if self.isSliderDown() else 0.27), h * 0.32, h * 0.12
        left, right, at = self._x(self.minimum()), self._x(self.maximum()), self._x(self.value())
        for end, color in ((right, QColor(255, 255, 255, 80)), (at, ACCENT)):
            painter.setBrush(color)
            painter.drawRoundedRect(QRectF(left, middle - thick / 2, end - left, thick), thick / 2, thick / 2)
        painter.setBrush(INK)
        painter.drawEllipse(QPointF(at, middle), radius, radius)
        painter.setBrush(ACCENT)
        painter.drawEllipse(QPointF(at, middle), radius * 0.4, radius * 0.4)
        painter.setPen(QColor(255, 255, 255, 200))
        painter.setFont(sized(h * 0.2))
        for mark in self._marks:
            painter.drawText(
                QRectF(self._x(mark) - h, h * 0.72, 2 * h, h * 0.28), Qt.AlignmentFlag.AlignCenter, f"{mark:g}"
            )


class Kiosk(QWidget):
    """The window. It owns the camera's thread; the transformer stays the caller's."""

    def __init__(self, source: Source, transformer: Transformer, *, years: float = 70.0, mirror: bool = True) -> None:
        super().__init__()
        self.setWindowTitle("lgin-edge")
        self.setStyleSheet(STYLE)
        self.resize(1280, 720)
        self._mirror, self._years = mirror, years
        self._picture: Picture | None = None
        self._unit, self._age = 1.0, QRectF()
        self._seen = time.monotonic()  # when somebody was there
        self._problem = "Starting the camera…"
        self.broken = ""

        centers = [group.center for group in transformer.groups]
        self.slider = AgeSlider(centers[0], centers[-1], centers)
        self.slider.setParent(self)
        self.slider.setValue(round(years))
        self.compare = QPushButton("Hold to compare", self)
        self.compare.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.compare.pressed.connect(self.update)
        self.compare.released.connect(self.update)
        self.message = QLabel(self, alignment=Qt.AlignmentFlag.AlignCenter)
        self.message.setObjectName("message")
        self._tell()

        self.camera = Camera(source, transformer, self.slider.value())
        self.camera.ready.connect(self._show)
        self.camera.failed.connect(self._fail)
        self.camera.broken.connect(self._break)
        self.slider.valueChanged.connect(self._choose)
        self._clock = QTimer(self, interval=500)
        self._clock.timeout.connect(self._tell)
        self._clock.start()
        self.camera.start()

    def _choose(self, years: int) -> None:
        self.camera.set_years(years)
        self._seen = time.monotonic()  # somebody's finger is there
        self.update()

    def _show(self) -> None:
        picture = self.camera.take()
        if picture is None:
            return
        self._picture, self._problem = picture, ""
        if picture.faces:
            self._seen = time.monotonic()
        self._tell()
        self.update()

    def _fail(self, why: str) -> None:
        print(why, file=sys.stderr)
        self._picture, self._problem = None, "The camera is away. One moment, please…"
        self._tell()
        self.update()

    def _break(self, why: str) -> None:
        self.broken = why
        self.close()

    def _tell(self) -> None:
        """The message that there is now, if any; and the age of the next visitor."""
        alone = time.monotonic() - self._seen
        if alone > RESET:
            self.slider.setValue(round(self._years))
        text = self._problem or ("Step in front of the camera" if alone > INVITE else "")
        if text != self.message.text():
            self.message.setText(text)
            self.message.setVisible(bool(text))
            for control in (self.slider, self.compare):
                control.setVisible(self._picture is not None)
            self._place()

    def _place(self) -> None:
        """Everything in proportion to the window."""
        w, h = self.width(), self.height()
        upright = h > w  # a screen on end: the slider has the whole width, under the age and the button
        self._unit = unit = w / 60 if upright else min(w / 100, h / 56)
        low = h - 9 * unit  # the upper edge of the slider
        above = 8 * unit if upright else 0
        self._age = QRectF(3.5 * unit, low - 1.7 * unit - above, 21 * unit, 8.6 * unit)
        track = (3 * unit, w - 6 * unit) if upright else (24 * unit, w - 49.5 * unit)
        self.slider.setGeometry(QRectF(track[0], low, track[1], 8 * unit).toRect())
        self.compare.setFont(sized(1.5 * unit))
        self.compare.setGeometry(QRectF(w - 21.5 * unit, low - above, 18.5 * unit, 5.2 * unit).toRect())
        self.message.setFont(sized(2 * unit))
        wide, high = self.message.fontMetrics().horizontalAdvance(self.message.text()) + 6 * unit, 5 * unit
        top = 4 * unit if self._picture is not None else (h - high) / 2
        self.message.setGeometry(QRectF((w - wide) / 2, top, wide, high).toRect())
        for pill in (self.compare, self.message):
            pill.setStyleSheet(f"border-radius: {pill.height() // 2}px")

    def paintEvent(self, _: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        w, h, unit = self.width(), self.height(), self._unit
        painter.fillRect(self.rect(), QColor("#101014"))
        if self._picture is None:
            return
        frame = self._picture.original if self.compare.isDown() else self._picture.changed
        rows, columns = frame.shape[:2]
        image = QImage(frame.data, columns, rows, frame.strides[0], QImage.Format.Format_BGR888)
        scale = max(w / columns, h / rows)  # it covers the window; what is too wide or too high is cut off
        painter.save()
        painter.translate(w / 2, h / 2)
        painter.scale(-scale if self._mirror else scale, scale)
        painter.drawImage(QPointF(-columns / 2, -rows / 2), image)
        painter.restore()
        top = self._age.top() - 9 * unit
        shade = QLinearGradient(0, top, 0, h)
        for place, alpha in ((0.0, 0), (0.6, 170), (1.0, 230)):
            shade.setColorAt(place, QColor(16, 16, 20, alpha))
        painter.fillRect(QRectF(0, top, w, h - top), QBrush(shade))
        painter.setPen(INK)
        left = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        if self.compare.isDown():
            painter.setFont(sized(3 * unit, bold=True))
            painter.drawText(self._age, left, "As you are")
        else:
            years = str(self.slider.value())
            painter.setFont(sized(6.4 * unit, bold=True))
            painter.drawText(self._age, left, years)
            beside = painter.fontMetrics().horizontalAdvance(years) + 0.8 * unit
            painter.setFont(sized(2 * unit))
            painter.drawText(self._age.adjusted(beside, 1.9 * unit, 0, 0), left, "years")

    def resizeEvent(self, _: QResizeEvent) -> None:
        self._place()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.close()
        elif event.key() == Qt.Key.Key_F11:
            self.showNormal() if self.isFullScreen() else self.showFullScreen()

    def closeEvent(self, event: QCloseEvent) -> None:
        self.camera.stop()
        event.accept()


def sized(pixels: float, *, bold: bool = False) -> QFont:
    font = QFont(["Inter", "Noto Sans", "DejaVu Sans"])
    font.setPixelSize(max(1, round(pixels)))
    font.setWeight(QFont.Weight.DemiBold if bold else QFont.Weight.Medium)
    return font


def main() -> None:
    parser = argparse.ArgumentParser(description="A kiosk that shows people younger or older.")
    parser.add_argument("source", nargs="?", default="0", help="number of a camera, a file, or an address")
    parser.add_argument("--years", type=float, default=70.0, help="the age to begin with")
    parser.add_argument(
        "--model", help=".onnx, or an engine of lgin-edge build; default: the bundled model, on the CPU"
    )
    parser.add_argument("--windowed", action="store_true", help="in a window, not over the whole screen")
    parser.add_argument("--no-mirror", action="store_true", help="do not show the picture as a mirror does")
    args = parser.parse_args()
    app = QApplication(sys.argv[:1])
    try:
        with Transformer(args.model) as transformer:
            source = int(args.source) if args.source.isdecimal() else args.source
            window = Kiosk(source, transformer, years=args.years, mirror=not args.no_mirror)
            window.show() if args.windowed else window.showFullScreen()
            for number in (signal.SIGINT, signal.SIGTERM):  # Python sees them when the window's clock ticks
                signal.signal(number, lambda *_: window.close())
            app.exec()
            if window.broken:
                sys.exit(f"error: {window.broken}")
    except LginError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
