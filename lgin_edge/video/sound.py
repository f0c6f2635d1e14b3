"""Sound that the new file does not take as it is, encoded anew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

#: Sample rates, Hz, that the encoders take; sound of another rate is brought to 48,000 Hz.
_RATES = {
    "aac": (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350),
    "libopus": (48000, 24000, 16000, 12000, 8000),
}
_RATE = 48_000
#: Bits per second for each channel, at which neither encoder's sound can be told from the original.
_BITS_PER_CHANNEL = 96_000
_MOST_CHANNELS = 8


def encoder(container: str) -> str:
    """The encoder for a container that does not take the sound as it is, by FFmpeg's names."""
    return "libopus" if container == "webm" else "aac"


class SoundEncoder:
    """A film's stream of sound, decoded and encoded again by the encoder ``name`` into a new stream of ``container``.

    Raises av.error.FFmpegError, ValueError: the encoder does not take it.
    """

    def __init__(self, av: Any, source: Any, container: Any, name: str) -> None:
        self._av, self._source = av, source
        context = source.codec_context
        rate = context.sample_rate if context.sample_rate in _RATES[name] else _RATE
        channels = context.layout.nb_channels
        named = 1 <= channels <= _MOST_CHANNELS and "channels" not in context.layout.name
        layout = context.layout.name if named else "stereo"
        self.stream = container.add_stream(name, rate=rate, layout=layout)
        self.stream.bit_rate = _BITS_PER_CHANNEL * min(max(1, channels), _MOST_CHANNELS)
        self.stream.metadata.update(source.metadata)
        self.stream.codec_context.open()
        encoding = self.stream.codec_context
        self._next = 0  # time of the next frame, samples
        form = {"format": encoding.format, "layout": encoding.layout, "rate": encoding.sample_rate}
        self._resampler = av.AudioResampler(**form, frame_size=encoding.frame_size or None)

    def packets(self, packet: Any | None) -> Iterator[Any]:
        """What is to be written for a packet of the source; for None the end. Damaged sound is left out."""
        try:
            frames = self._source.codec_context.decode(packet)
        except self._av.error.EOFError:
            frames = []
        except self._av.error.FFmpegError:
            return
        for frame in [*frames, None] if packet is None else frames:
            for part in self._resampler.resample(frame):
                if part.pts is None:  # the rest, at the end
                    part.pts = self._next
                self._next = part.pts + part.samples
                yield from self.stream.encode(part)
        if packet is None:
            yield from self.stream.encode(None)
