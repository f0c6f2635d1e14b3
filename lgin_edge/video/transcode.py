"""A video file with the faces in it at another age: everything else of the file is kept."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import StreamError, raised_by_caller
from ..frames import Frame
from ..images import SUFFIXES
from ..provenance import marked
from ..stream.pipeline import Pipeline
from ..transformer import Transformer
from .orientation import UPRIGHT, Orientation, display_orientation, is_transparent
from .sound import SoundEncoder
from .timeline import Timeline
from .writer import BT601, BT709, FULL, LIMITED, SWS, UNKNOWN, VideoWriter, plain_name, pyav

#: ``progress(done, total)`` in seconds of the film; the total is None where the file does not say.
Progress = Callable[[float, float | None], None]
_MADE_OPAQUE = "the film has transparent parts; they were written opaque"
#: Films this high have the colours of HD where they do not say which.
_HD = 720
#: Seconds by which a film may be shorter than its header says.
_SHORT = 0.25
#: Seconds from which on a last frame that is longer than the others is no mere jitter.
_STANDS_S = 0.5
#: Microseconds by which sound may begin before 0. What begins earlier, or with a picture, has a clock that ran over (MPEG-TS: each 26.5 h).
_MOST_LEAD_US = 500_000
#: A frame whose length is more than this, seconds and ticks, states a wrong one; in an MP4 none fits that has twice as many ticks.
_MOST_STANDS_S, _MOST_STANDS_TICKS = 3600, 2**30
#: Frames per second of a film that states no rate.
_FALLBACK_RATE = Fraction(25)
#: Metadata of a stream that describes how it was encoded or is turned, and is written anew.
_OLD_STREAM = re.compile("encoder|rotate|handler_name|vendor_id|BPS|DURATION|NUMBER_OF_(FRAMES|BYTES)")


@dataclass
class Outcome:
    """What became of a film."""

    frames: int = 0  #: That were written.
    with_faces: int = 0  #: Frames of them that were changed.
    seconds: float = 0.0  #: Length of what was written.
    codec: str = ""  #: The encoder.
    notes: list[str] = field(default_factory=list)  #: What is not as it was, a sentence each.
    damage: str = ""  #: What could not be read, a sentence; empty for a whole file.


def age_video(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    transformer: Transformer,
    *,
    group: float | None = None,
    years: float | tuple[float, float] | None = None,
    side_by_side: bool = False,
    mark: bool = False,
    codec: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Write a film anew with the faces in it at another age.

    Kept: the time of every frame, sound and all other streams (not encoded again; those that the new container does not
    take are left out, and ``Outcome.notes`` says so), metadata, chapters, colours. A rotation that the file asks players for is
    carried out. Written is 8 bits a channel. The file appears when it is whole, and not at all if no face was found in it.

    Args:
        source: the film, anything that FFmpeg reads.
        target: the new file, another one: .mp4, .m4v, .mov, .mkv or .webm.
        transformer: changes the faces.
        group, years: exactly one of the two, as for ``Transformer.age``. Two ages are the one at the film's beginning and the one at
            its end.
        side_by_side: the film as it was beside the new one, in one picture of twice the width.
        mark: words in its corner say that it was changed; its metadata says so anyhow.
        codec: name of an encoder of FFmpeg; H.264 or, in WebM, VP9 when not given.
        overwrite: False refuses a ``target`` that exists.
        progress: called with how far it is, once a frame.

    Raises:
        InputError: an argument out of range.
        StreamError: a file cannot be read or written, or has no video in it.
        BackendError: PyAV is not installed, or the run time failed.
    """
    source, target = Path(source), Path(target)
    if target.exists() and source.exists() and target.samefile(source):
        raise StreamError(f"{target}: is the film itself; choose another name")
    sweep = years if isinstance(years, tuple) else None
    first = years[0] if isinstance(years, tuple) else years
    with (
        Pipeline(transformer, group=group, years=first, ordered=True, ease=0.0) as pipeline,
        closing(_Film(source)) as film,
        closing(VideoWriter(target, overwrite=overwrite, codec=codec, metadata=film.metadata)) as writer,
    ):
        if sweep and not film.seconds:
            raise StreamError(f"{source}: does not tell its length, which years={sweep} needs: give one age")
        return _Job(film, writer, pipeline, progress, sweep, side_by_side, mark).run()


class _Film:
    """An opened file and the stream of its frames."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._av = pyav()
        if path.is_dir():
            raise StreamError(f"{path}: expected a video file, got a folder")
        try:
            try:
                self.container = self._av.open(plain_name(path))
            except UnicodeDecodeError:
                self.container = self._av.open(plain_name(path), metadata_errors="replace")
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            if raised_by_caller(error):
                raise
            raise StreamError(f"{path}: {_why(self._av, error)}") from error
        if _is_picture(self.container, path):
            self.container.close()
            if _is_animated_webp(path):
                raise StreamError(f"{path}: an animated WebP, which FFmpeg does not read: save it as a GIF first")
            raise StreamError(f"{path}: is a picture, not a film: lgin-edge age {path}")
        videos = [one for one in self.container.streams.video if not _is_cover(one)]
        if not videos:
            found = ", ".join(sorted({one.type for one in self.container.streams})) or "nothing"
            self.container.close()
            raise StreamError(f"{path}: there is no video in it (found: {found})")
        self.video = videos[0]
        self.video.thread_type = "AUTO"
        # What the file itself calls its beginning is 0 in the new one, for all streams alike.
        self.start = self.container.start_time or 0  # microseconds
        if -_MOST_LEAD_US <= self.start < 0 <= (self.video.start_time or 0):
            self.start = 0  # sound alone begins earlier, with what its decoder needs
        self.metadata = {str(key): str(value) for key, value in self.container.metadata.items()}
        for key in ("major_brand", "minor_version", "compatible_brands", "encoder"):  # of the old container
            self.metadata.pop(key, None)

    def close(self) -> None:
        self.container.close()

    @property
    def seconds(self) -> float | None:
        """Length as the file states it, seconds."""
        if self.video.duration:
            return float(self.video.duration * self.video.time_base)
        return self.container.duration / 1e6 if self.container.duration else None

    @property
    def frame_ticks(self) -> int:
        """Length of a frame in ticks of the video, by the rate that the file states or FFmpeg guesses."""
        rate = self.video.average_rate or self.video.guessed_rate or _FALLBACK_RATE
        ticks: Fraction = 1 / (rate * self.video.time_base)
        return max(1, round(ticks))

    def shift(self, time_base: Fraction) -> int:
        """``start`` in ticks of a stream."""
        return round(Fraction(self.start, 1_000_000) / time_base)


class _Job:
    """One film on its way through."""

    def __init__(
        self,
        film: _Film,
        writer: VideoWriter,
        pipeline: Pipeline,
        progress: Progress | None,
        sweep: tuple[float, float] | None,
        side_by_side: bool,
        mark: bool,
    ) -> None:
        self._film, self._writer, self._pipeline, self._progress = film, writer, pipeline, progress
        self._sweep, self._side_by_side, self._mark = sweep, side_by_side, mark
        self._length = film.seconds or 0.0
        self._av = pyav()
        self._outcome = Outcome(codec=writer.codec)
        self._copies: dict[int, Any] = {}
        self._sounds: dict[int, SoundEncoder] = {}
        self._silent: list[str] = []  # codecs of sound that nothing here decodes
        self._packets = self._errors = 0
        self._end = 0.0  # of all that was read, seconds
        self._last = -1  # the last frame's time, ticks
        self._step = self._nominal_step = film.frame_ticks  # from the one before to it
        self._held = self._step  # its length
        self._write: Callable[[int], None]  # the last frame, at a time
        self._is_timed = False  # whether the film states times that rise
        self._shape: tuple[int, ...] = ()  # of the first frame

    def run(self) -> Outcome:
        self._choose_copies()
        for packet in self._demux():
            if packet is None or packet.stream.index == self._film.video.index:
                if packet is not None:
                    self._packets += 1
                for frame in self._decode(packet):
                    self._frame(frame)
            elif packet.stream.index in self._copies and packet.dts is not None:
                shift = self._film.shift(packet.time_base)
                packet.dts -= shift
                packet.pts = packet.pts - shift if packet.pts is not None else None
                self._writer.copy(packet, self._copies[packet.stream.index])
            elif packet.stream.index in self._sounds:
                self._encode_sound(packet.stream.index, packet)
        for index in self._sounds:
            self._encode_sound(index, None)
        outcome = self._outcome
        outcome.frames = self._writer.frames
        if not outcome.frames:
            raise StreamError(f"{self._film.path}: no frame of its video can be decoded")
        outcome.seconds = float((self._last + self._held) * self._film.video.time_base)
        outcome.damage = self._damage()
        self._hold()
        if outcome.with_faces:
            self._writer.end = self._last + self._held
            self._writer.finish()
        return outcome

    def _hold(self) -> None:
        """Show the last frame for as long as the film does: written once more, because encoders give it the length of the others."""
        held = self._held * self._film.video.time_base
        if held > _STANDS_S and self._held > 1.5 * self._step:
            self._write(max(self._last + 1, self._last + self._held - self._nominal_step))

    def _choose_copies(self) -> None:
        for stream in self._film.container.streams:
            if stream.index == self._film.video.index:
                self._writer.add_video(self._film.video.average_rate or None)
                continue
            name = _codec_name(stream)
            if stream.type == "video" and _is_cover(stream):
                self._note("the cover picture was left out: it would show the old face")
            elif stream.type == "audio":
                self._choose_sound(stream, name)
            elif stream.type not in ("subtitle", "video") or not self._writer.takes(name):
                self._note(
                    f"a stream was left out, which {self._writer.target.suffix} does not take: {stream.type} {name}"
                )
            else:
                if stream.type == "video":
                    self._note("there is a second video in the file, which was copied as it is")
                self._copies[stream.index] = self._writer.copy_stream(stream)
        self._writer.copy_chapters(self._film.container)
        if self._silent and not self._sounds and not any(one.type == "audio" for one in self._copies.values()):
            raise StreamError(
                f"{self._film.path}: its sound ({', '.join(self._silent)}) cannot be copied or decoded; the new film would be silent"
            )

    def _choose_sound(self, stream: Any, name: str) -> None:
        """Copy sound if the container takes it, else encode it anew."""
        if self._writer.takes(name):
            with suppress(ValueError):  # PyAV knows no tag of this codec for the container
                self._copies[stream.index] = self._writer.copy_stream(stream)
                return
        if getattr(stream, "codec_context", None) is None:  # FFmpeg has no decoder
            self._silent.append(name)
            self._note(f"sound was left out, which cannot be copied or decoded: {name}")
            return
        sound = self._sounds[stream.index] = self._writer.encode_sound(stream)
        self._note(
            f"the sound was encoded anew, {name} to {sound.stream.codec_context.name}: {self._writer.target.suffix} does not take it as it was"
        )

    def _encode_sound(self, index: int, packet: Any | None) -> None:
        sound = self._sounds[index]
        for encoded in sound.packets(packet):
            shift = self._film.shift(encoded.time_base)
            encoded.pts, encoded.dts = encoded.pts - shift, encoded.dts - shift
            self._writer.copy(encoded, sound.stream)

    def _demux(self) -> Iterator[Any]:
        """The packets as far as they can be read, and None, at which the decoder gives its last frames."""
        timeline = Timeline(self._film.container, self._film.video.index)
        try:
            for packet in self._film.container.demux():
                if not packet.size:
                    continue
                timeline.place(packet)
                start = packet.pts if packet.pts is not None else packet.dts
                if start is not None:
                    self._end = max(self._end, float((start + (packet.duration or 0)) * packet.time_base))
                yield packet
        except (self._av.error.FFmpegError, OSError) as error:
            if raised_by_caller(error):
                raise
            self._errors += 1
        self._errors += timeline.damaged
        yield None

    def _decode(self, packet: Any) -> list[Any]:
        try:
            frames: list[Any] = self._film.video.decode(packet)
        except self._av.error.EOFError:
            return []
        except (self._av.error.FFmpegError, OSError) as error:
            if raised_by_caller(error):
                raise
            self._errors += 1
            return []
        return frames

    def _frame(self, frame: Any) -> None:
        """Change a frame and write it."""
        orientation = display_orientation(frame)
        film, writer = self._film, self._writer
        time_base = film.video.time_base
        pts = frame.pts if frame.pts is not None else frame.dts
        if pts is None:
            pts = self._last + self._step if self._last >= 0 else 0
        else:
            pts -= film.shift(time_base)
        if pts <= self._last:  # a file may state times that do not rise, or none; one that is written must
            pts = self._last + (1 if self._is_timed else self._nominal_step)
        elif self._last >= 0:
            self._is_timed = self._is_timed or frame.pts is not None
        if self._last >= 0:
            self._step = pts - self._last
        self._held = self._length_of(frame)
        matrix = frame.colorspace if frame.colorspace in (1, 4, 5, 6, 7, 9) else BT709 if frame.height >= _HD else BT601
        full_range = frame.color_range == FULL or frame.format.name.startswith("yuvj")
        source = {"src_colorspace": SWS[matrix], "src_color_range": FULL if full_range else LIMITED}
        rgb: Frame = orientation.apply(frame.to_ndarray(format="rgb24", dst_color_range=FULL, **source))
        if not writer.frames:
            self._begin(frame, rgb, orientation, full_range)
            self._shape = rgb.shape
        elif rgb.shape != self._shape:
            self._note("the film changes its size; all of it was written at its first")
        if is_transparent(frame):
            self._note(_MADE_OPAQUE)
        seconds = float(pts * time_base)
        if self._sweep is not None:
            self._pipeline.years = float(np.interp(seconds, (0, self._length), self._sweep))
        processed = self._pipeline(rgb, seconds)
        fits = (frame.width, frame.height) == writer.size and frame.format.name == writer.pixels
        if processed.changed or self._mark or orientation != UPRIGHT or not fits:
            image = np.concatenate([rgb, processed.image], axis=1) if self._side_by_side else processed.image
            if self._mark:
                image = np.asarray(marked(Image.fromarray(image)))
            self._write = partial(writer.write_array, image, matrix=matrix, full_range=full_range)
        else:  # as it was decoded: not even rounded
            self._write = partial(_write_decoded, writer, frame)
        self._write(pts)
        self._outcome.with_faces += processed.changed
        self._last = pts
        if self._progress is not None:
            self._progress(seconds, film.seconds)

    def _length_of(self, frame: Any) -> int:
        """Length of a frame, ticks: as it states, or that of the one before, or by the film's rate."""
        for ticks in (getattr(frame, "duration", None) or 0, self._step):
            if 0 < ticks <= min(_MOST_STANDS_TICKS, _MOST_STANDS_S / self._film.video.time_base):
                return int(ticks)
        return self._nominal_step

    def _begin(self, frame: Any, rgb: Frame, orientation: Orientation, full_range: bool) -> None:
        video, context = self._film.video, self._film.video.codec_context
        aspect = video.sample_aspect_ratio
        if aspect and orientation.transposed:
            aspect = 1 / aspect
        color = {name: int(getattr(context, name)) for name in ("color_primaries", "color_trc")}
        rgb_source = frame.format.name.startswith(("rgb", "bgr", "gbr", "pal"))
        color["colorspace"] = UNKNOWN if rgb_source else int(frame.colorspace)
        color["color_range"] = FULL if full_range else LIMITED
        deep = max((part.bits for part in frame.format.components), default=8)
        if deep > 8:
            self._note(f"the film has {deep} bits a channel; 8 were written")
        if getattr(frame, "interlaced_frame", False):
            self._note("the film is interlaced; its pictures were written whole")
        if orientation != UPRIGHT:
            how = "as it is shown" if orientation.is_mirrored else "upright"
            self._note(f"the film is {orientation} when it is shown; it was written {how}")
        if video.metadata.get("alpha_mode") == "1":  # of WebM, whose decoder leaves it out
            self._note(_MADE_OPAQUE)
        self._writer.begin(
            rgb.shape[1] * (2 if self._side_by_side else 1),
            rgb.shape[0],
            time_base=video.time_base,
            pixels=frame.format.name,
            aspect=aspect,
            color=color,
            metadata={str(key): str(value) for key, value in video.metadata.items() if not _OLD_STREAM.fullmatch(key)},
        )

    def _note(self, text: str) -> None:
        if text not in self._outcome.notes:
            self._outcome.notes.append(text)

    def _damage(self) -> str:
        """What is missing of the film, as far as it can be known."""
        container, stated = self._film.container, self._film.video.frames  # 0 where the file does not say
        # A Matroska file that breaks off just ends, but its header says how long it was.
        exact = "matroska" in container.format.name and container.duration
        short = bool(exact) and self._end < ((container.start_time or 0) + container.duration) / 1e6 - _SHORT
        if not self._errors and self._packets >= stated and not short:
            return ""
        many = f" of {stated}" if stated > self._writer.frames else ""
        return f"{self._film.path} is cut off or damaged: {self._writer.frames}{many} frames could be read, which were written"


def _write_decoded(writer: VideoWriter, frame: Any, pts: int) -> None:
    frame.pts = pts
    writer.write(frame)


def _is_picture(container: Any, path: Path) -> bool:
    """Whether a file holds a single picture, which FFmpeg takes for a film of one frame."""
    if container.format.name == "image2" or container.format.name.endswith("_pipe"):
        return True
    videos = container.streams.video
    return path.suffix.lower() in SUFFIXES and len(videos) == 1 and videos[0].frames == 1


def _is_animated_webp(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(21)
    return head[8:16] == b"WEBPVP8X" and bool(head[20] & 2)


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition.value & 0x400)  # AV_DISPOSITION_ATTACHED_PIC


def _codec_name(stream: Any) -> str:
    context = getattr(stream, "codec_context", None)
    return str(getattr(context, "name", None) or getattr(stream, "name", None) or "unknown")


def _why(av: Any, error: Exception) -> str:
    """What is wrong with a file that cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, av.error.InvalidDataError):
        return "not a video that can be read: it is damaged, cut off, or something else"
    return f"cannot be read: {error}"
