"""Pictures decoded in processes of their own: the same pictures, and an end to those that take too long."""

from __future__ import annotations

import os
import re
import signal
import struct
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from support.bombs import progressive_jpeg

from lgin_edge import BackendError, ClosedError, ImageError, LginError, Limits, images
from lgin_edge import image_decoders as module
from lgin_edge.image_decoders import ImageDecoders

#: Within all limits, and minutes of work.
BOMB = progressive_jpeg(2000, 2000, scans=800)
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))
#: Seconds within which what should take a second has ended on any machine.
PATIENCE = 30.0


@pytest.fixture(scope="module")
def decoders() -> Iterator[ImageDecoders]:
    pool = ImageDecoders(1, timeout_s=PATIENCE)
    yield pool
    pool.close()


def saved(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    file = BytesIO()
    PICTURE.convert(mode).save(file, kind, **options)
    return file.getvalue()


def test_it_is_what_decode_makes(decoders: ImageDecoders) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for data in (
        saved("JPEG", exif=exif, icc_profile=profile, quality=60, subsampling=1, comment=b"\xff\0", dpi=(72, 72)),
        saved("PNG", "LA", exif=exif),
        saved("PNG", "RGBA", dpi=(300, 200)),
        saved("WEBP", "RGBA", icc_profile=profile, xmp=b"<x/>"),
        saved("TIFF", "L", description="grey", dpi=(300, 200)),
    ):
        here, there = images.decode(data), decoders.decode(data)
        assert there.image.mode == here.image.mode
        assert there.image.size == here.image.size
        assert there.image.tobytes() == here.image.tobytes()
        assert (there.jpeg, there.format) == (here.jpeg, here.format)
        assert set(there.metadata) == set(here.metadata)
        for kind in ("JPEG", "PNG"):
            assert images.encode(there.image, kind, there) == images.encode(here.image, kind, here)
        assert decoders.size(data) == images.size(data) == (64, 48)


def test_errors_are_those_of_decode(decoders: ImageDecoders) -> None:
    for data, options, message in (
        (b"no picture", {}, "the visitor's: not an image"),
        (saved("PNG"), {"limits": Limits(image_pixels=3000)}, "64 x 48 pixels"),
        (saved("PNG"), {"formats": ("JPEG",)}, "expected one of JPEG"),
        (saved("JPEG", quality=95)[:-900], {}, "truncated"),
    ):
        with pytest.raises(ImageError, match=message):
            decoders.decode(data, "the visitor's", **options)
    assert decoders.decode(saved("PNG")).image.size == (64, 48)


def test_what_takes_too_long_is_ended(decoders: ImageDecoders) -> None:
    decoders.start()
    before = decoders._all[0]._process
    with pytest.raises(ImageError, match=r"the picture: takes more than 0\.2 s"):
        decoders.decode(BOMB, timeout_s=0.2)
    assert before is not None
    assert before.poll() == -signal.SIGKILL
    assert decoders.decode(saved("PNG")).image.size == (64, 48)  # its place is free again


def test_memory_is_bounded(decoders: ImageDecoders) -> None:
    """A decoder gets what the largest picture needs, and no more."""
    bounds = []
    for pixels in (64 * 48, 4_000_000):
        decoders.decode(saved("WEBP"), limits=Limits(image_pixels=pixels))
        process = decoders._all[0]._process
        assert process is not None
        (bound,) = re.findall(r"Max data size +(\d+) ", Path(f"/proc/{process.pid}/limits").read_text())
        bounds.append(int(bound))
    assert module._MEMORY_BYTES < bounds[0] < 2 * module._MEMORY_BYTES
    assert bounds[1] - bounds[0] == 32 * (4_000_000 - 64 * 48)


def test_a_decoder_that_dies_is_replaced(decoders: ImageDecoders) -> None:
    decoders.decode(saved("PNG"))
    process = decoders._all[0]._process
    assert process is not None
    threading.Timer(0.2, os.kill, (process.pid, signal.SIGSEGV)).start()
    with pytest.raises(ImageError, match=r"its decoder died of it \(SIGSEGV\)"):
        decoders.decode(BOMB)
    process = decoders._all[0]._process
    assert process is not None
    os.kill(process.pid, signal.SIGTERM)  # between two pictures
    process.wait()
    assert decoders.decode(saved("PNG")).image.size == (64, 48)


def test_a_decoder_whose_own_alarm_came_first_took_too_long(decoders: ImageDecoders) -> None:
    decoders.decode(saved("PNG"))
    process = decoders._all[0]._process
    assert process is not None
    threading.Timer(0.2, os.kill, (process.pid, signal.SIGALRM)).start()
    with pytest.raises(ImageError, match="to decode; save it again first"):
        decoders.decode(BOMB)


@pytest.mark.parametrize("kind", [RuntimeError, TimeoutError, ValueError])
def test_an_answer_that_nobody_waited_for_is_nobodys(decoders: ImageDecoders, kind: type[Exception]) -> None:
    """A signal handler of the program's leaves a picture in the midst; the next one is the next one."""

    def leave(*_: object) -> None:
        raise kind("time is up")

    decoders.decode(saved("PNG"))
    slow = progressive_jpeg(2000, 2000, scans=60)
    before = signal.signal(signal.SIGALRM, leave)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(kind, match="time is up") as caught:
            decoders.decode(slow)
        assert not isinstance(caught.value, LginError)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert decoders.decode(saved("PNG")).image.size == (64, 48)


def assert_refused(program: str, monkeypatch: pytest.MonkeyPatch, match: str) -> None:
    """What a decoder that runs ``program`` answers is refused with this message."""
    monkeypatch.setattr(module, "_PROGRAM", program)
    pool = ImageDecoders(1, timeout_s=PATIENCE)
    with pytest.raises(ImageError, match=match):
        pool.decode(saved("PNG"))
    pool.close()


@pytest.mark.parametrize("answer", [b"{", b"[]", b"{}", b'{"mode": "RGB", "size": [9, 9], "format": "PNG"}'])
def test_a_decoder_is_not_trusted(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    """One that a file has taken over answers what it likes."""
    program = (
        "import os, socket, struct, sys; s = socket.socket(fileno=int(sys.argv[2])); m = int(sys.argv[3]); s.send(b'x'); s.recv(99);"
        f"os.pwrite(m, {answer!r}, 0); s.send(struct.pack('<QQ', 0, {len(answer)})); s.recv(99)"
    )
    assert_refused(program, monkeypatch, "its decoder died of it")


def test_lengths_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = struct.pack("<QQ", 1 << 60, 2)
    program = f"import socket, sys; s = socket.socket(fileno=int(sys.argv[2])); s.send(b'x'); s.recv(99); s.send({lengths!r}); s.recv(9)"
    assert_refused(program, monkeypatch, "more than was agreed")


def test_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ImageDecoders(1, timeout_s=PATIENCE)
    monkeypatch.setattr(module, "_PROGRAM", "raise SystemExit(3)")
    with pytest.raises(BackendError, match=r"does not start \(exit code 3\)"):
        pool.decode(saved("PNG"))
    pool.close()
    monkeypatch.setattr(module.sys, "executable", "/nowhere/python")
    pool = ImageDecoders(1, timeout_s=PATIENCE)
    with pytest.raises(BackendError, match=r"could be started: .*No such file"):
        pool.start()
    pool.close()


def test_closing_ends_what_goes_on() -> None:
    pool = ImageDecoders(1, timeout_s=PATIENCE)
    pool.decode(saved("PNG"))
    errors = []

    def decode() -> None:
        try:
            pool.decode(BOMB)
        except ClosedError as error:
            errors.append(error)

    waiting = [threading.Thread(target=decode) for _ in range(2)]  # one at work, one that waits for it
    for thread in waiting:
        thread.start()
    time.sleep(0.3)
    start = time.monotonic()
    pool.close()
    for thread in waiting:
        thread.join(PATIENCE)
    assert len(errors) == 2
    assert time.monotonic() - start < PATIENCE / 2
    assert pool._all[0]._process is None
