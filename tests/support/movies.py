"""Films that are made for tests, and what is in a film."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from support.films import Image8

av = pytest.importorskip("av", reason="films need PyAV: pip install 'lgin-edge[video]'")


TICKS = 90_000


#: Times that no constant frame rate has, ticks.
TIMES = [0, *np.cumsum(np.random.default_rng(7).choice([1500, 3000, 4500, 9000], 29)).tolist()]


def make(
    path: Path,
    frames: Sequence[Image8],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: Sequence[int] = TIMES,
    sound: str | None = "aac",
    metadata: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    color: dict[str, int] | None = None,
) -> Path:
    """A film with a tone."""
    with av.open(str(path), "w", container_options=options or {}) as container:
        container.metadata.update(metadata or {"title": "A film", "comment": "of nobody"})
        video = container.add_stream(codec, rate=30)
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = pixels
        video.time_base = video.codec_context.time_base = Fraction(1, TICKS)
        for name, value in (color or {}).items():
            setattr(video.codec_context, name, value)
        audio = None
        if sound is not None:
            audio = container.add_stream(sound, rate=48000)
            audio.layout = "mono"
            audio.bit_rate = 128_000  # WMA has no default
            audio.metadata["language"] = "eng"
        for frame, pts in zip(frames, times, strict=False):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = int(pts), Fraction(1, TICKS)
            container.mux(video.encode(picture))
        container.mux(video.encode())
        if audio is not None:
            samples = int(48000 * times[min(len(frames), len(times)) - 1] / TICKS)
            tone = (0.2 * np.sin(np.arange(max(2000, samples)) * 0.05)).astype(np.float32)[None]
            block = av.AudioFrame.from_ndarray(tone, "fltp", "mono")
            block.rate, block.pts, block.time_base = 48000, 0, Fraction(1, 48000)
            resampler = av.AudioResampler(audio.format, audio.layout, audio.rate, frame_size=audio.frame_size or None)
            for part in resampler.resample(block) + resampler.resample(None):
                container.mux(audio.encode(part))
            container.mux(audio.encode())
    return path


class Seen:
    """What is in a file."""

    def __init__(self, path: Path) -> None:
        self.times: list[float] = []
        self.sound: list[bytes] = []
        sound_times: list[float] = []
        with av.open(str(path)) as container:
            self.metadata = dict(container.metadata)
            self.kinds = [stream.type for stream in container.streams]
            self.languages = [stream.metadata.get("language") for stream in container.streams]
            video = container.streams.video[0]
            context = video.codec_context
            self.codec, self.pixels = context.name, context.pix_fmt
            self.size = (context.width, context.height)
            self.color = (context.color_range, context.colorspace, context.color_primaries, context.color_trc)
            for packet in container.demux():
                if packet.size and packet.stream.type == "audio":
                    self.sound.append(bytes(packet))
                    sound_times.append(float(packet.pts * packet.time_base))
        with av.open(str(path)) as container:
            self.frames: list[Image8] = []
            self.rotations = set()
            for frame in container.decode(video=0):
                self.frames.append(frame.to_ndarray(format="rgb24"))
                self.times.append(float(frame.pts * frame.time_base))
                self.rotations.add(frame.rotation)
        self.sound_start = sound_times[0] - self.times[0] if sound_times else None


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
