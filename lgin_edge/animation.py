"""A clip of faces through the ages: its pictures, and the file of them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import provenance
from .arguments import check_integer, check_real
from .errors import ImageError, InputError, shown
from .faces import Face
from .files import exists, write_files
from .frames import Frame, PixelFormat
from .images import over_white, to_plain

if TYPE_CHECKING:
    from PIL import Image

    from .transformer import Transformer

#: What is written, by the name's ending, and its media type.
WRITABLE = {".mp4": "video/mp4", ".webm": "video/webm", ".webp": "image/webp", ".gif": "image/gif"}
#: A file is at most this long: what messengers send on. A clip that would be longer is reduced.
MAX_BYTES = 5_000_000
#: Pixels, below which nothing is reduced.
_MIN_SIDE = 64
#: Ages in one call of the model, in which a face is encoded once: more take memory (61 ages a gigabyte) and gain no time.
_AGES_AT_ONCE = 8


@dataclass(frozen=True, eq=False)
class Animation:
    """A picture whose faces grow older, or younger."""

    frames: Sequence[Image.Image]  #: Pillow images in RGB, all of one size.
    years: Sequence[float]  #: The age in each.
    times_ms: Sequence[int]  #: For how long each is shown, milliseconds.

    @property
    def seconds(self) -> float:
        """The clip's length."""
        return sum(self.times_ms) / 1e3

    def boomerang(self) -> Animation:
        """There and back: it repeats without a jump."""
        return Animation(*([*one, *one[-2:0:-1]] for one in (self.frames, self.years, self.times_ms)))

    def encode(self, suffix: str = ".mp4", *, quality: int = 80) -> bytes:
        """The clip's file, at most ``MAX_BYTES`` long: one that would be longer is reduced. Its metadata says that it was changed by AI,
        but for WebM's, which have no place for it.

        Args:
            suffix: .mp4 (H.264) or .webm, which need PyAV, .webp or .gif; the last two repeat for ever.
            quality: of WebP, 0 to 100.

        Raises InputError: another ending; BackendError: PyAV is not installed.
        """
        if suffix not in WRITABLE:
            raise InputError(f"clips are written as {', '.join(WRITABLE)}, not as {suffix!r}")
        clip = self
        while True:
            data = _film(clip, suffix) if WRITABLE[suffix].startswith("video") else _picture(clip, suffix, quality)
            width, height = clip.frames[0].size
            if len(data) <= MAX_BYTES or min(width, height) <= _MIN_SIDE:
                return data
            scale = min(0.9, (MAX_BYTES / len(data)) ** 0.5)
            size = (max(_MIN_SIDE, round(scale * width)), max(_MIN_SIDE, round(scale * height)))
            clip = replace(clip, frames=[frame.resize(size) for frame in clip.frames])

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the clip's file whole or not at all; its ending says which kind, as for ``encode``.

        Args:
            overwrite: False refuses a path that exists.

        Raises ImageError: the file exists or cannot be written; or as ``encode``.
        """
        path = Path(path)
        if exists(path) and not overwrite:
            raise ImageError(f"{path}: exists already; choose another name or allow overwriting")
        data = self.encode(path.suffix.lower())
        try:
            write_files({path: data})
        except OSError as error:
            raise ImageError(f"{path}: cannot be written: {error.strerror or error}") from error


def animate(
    transformer: Transformer,
    image: Image.Image | Frame,
    start: float,  # years, which the model reaches
    end: float,
    seconds: float,
    fps: float,
    side: int | None,
    faces: Sequence[Face] | None,
) -> Animation:
    """The clip that ``Transformer.animate`` makes. Raises InputError."""
    from PIL import Image

    seconds, fps = check_real("seconds", seconds), check_real("fps", fps)
    for name, value, least in (("seconds", seconds, 0.1), ("fps", fps, 1)):
        if not least <= value <= 60:
            raise InputError(f"{name}: expected {least:g} to 60, got {shown(value)}")
    side = None if side is None else check_integer("side", side, 1, 65536, "of pixels ")
    if isinstance(image, np.ndarray):
        PixelFormat.of(None, image.shape).check("image", image)
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    picture, chosen = reduced(picture, side or max(picture.size), faces)
    chosen = transformer.detect(picture) if chosen is None else chosen
    if not chosen:
        raise InputError("image: no face was found in it, and a clip shows faces")
    years = ages(start, end, seconds, fps)
    frames = [frame for part in parts(transformer, picture, chosen, years) for frame in part]
    return Animation(frames, years, times_ms(len(years), fps))


def parts(
    transformer: Transformer, image: Image.Image, faces: Sequence[Face], years: Sequence[float]
) -> Iterator[list[Image.Image]]:
    """The picture at each of these ages, in RGB, a few at a time."""
    picture = over_white(to_plain(image)).convert("RGB")
    for start in range(0, len(years), _AGES_AT_ONCE):
        yield transformer.age(picture, years=years[start : start + _AGES_AT_ONCE], faces=faces)


def times_ms(count: int, fps: float, stay_s: float = 0.5) -> list[int]:
    """For how long each of ``count`` frames is shown, of which the first and the last stay longer."""
    return [round(1000 * stay_s if i in (0, count - 1) else 1000 / fps) for i in range(count)]


def ages(start: float, end: float, seconds: float, fps: float) -> list[float]:
    """The ages of a clip's frames, from ``start`` to ``end``."""
    return [float(one) for one in np.linspace(start, end, round(seconds * fps) + 1)]


def reduced(
    image: Image.Image, side: int, faces: Sequence[Face] | None = None
) -> tuple[Image.Image, list[Face] | None]:
    """The picture with no side longer than ``side`` pixels, and where its faces are then."""
    scale = min(1.0, side / max(image.size))
    picture = image.resize((max(1, round(scale * image.width)), max(1, round(scale * image.height))))
    return picture, None if faces is None else [Face(scale * face.landmarks, face.score) for face in faces]


def _picture(clip: Animation, suffix: str, quality: int) -> bytes:
    from PIL import Image

    first, *others = clip.frames
    options: dict[str, Any] = {"quality": quality, "method": 4, "xmp": provenance.xmp()}
    if suffix == ".gif":
        # One palette and no dithering: what stands still has the same bytes in every frame, and is stored once.
        some = [np.asarray(frame) for frame in clip.frames[:: max(1, len(clip.frames) // 4)]]
        palette = Image.fromarray(np.concatenate(some)).quantize(256)
        first, *others = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in clip.frames]
        options = {}
    file = io.BytesIO()
    first.save(file, suffix[1:].upper(), save_all=True, append_images=others, duration=clip.times_ms, loop=0, **options)
    return provenance.gif_with(file.getvalue()) if suffix == ".gif" else file.getvalue()


def _film(clip: Animation, suffix: str) -> bytes:
    from .video.writer import VideoWriter

    file = io.BytesIO()
    with closing(VideoWriter(f"clip{suffix}", into=file)) as writer:
        writer.add_video(Fraction(1000, min(clip.times_ms)))
        width, height = clip.frames[0].size
        writer.begin(width, height, time_base=Fraction(1, 1000))
        starts = [0, *accumulate(clip.times_ms)]
        # The last frame comes once more at the end: a player has nothing else that tells how long it is shown.
        for frame, start in zip([*clip.frames, clip.frames[-1]], [*starts[:-1], starts[-1] - 1], strict=True):
            writer.write_array(np.asarray(frame), start)
        writer.finish()
    return file.getvalue()
