"""Recordings that were joined go on where they were."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.films import Image8, Shot
from support.movies import Seen, make

from lgin_edge import Transformer
from lgin_edge.video.transcode import age_video
from lgin_edge.video.writer import VideoWriter

pytest.importorskip("av", reason="films need PyAV: pip install 'lgin-edge[video]'")


def recording(path: Path, frames: Sequence[Image8], sound: str | None, start: float = 0) -> Path:
    """Of a camera whose clock stands at ``start`` seconds, 30 frames per second."""
    options = {"muxdelay": "0", "output_ts_offset": str(start)}
    return make(path, frames, times=[3000 * i for i in range(len(frames))], sound=sound, options=options)


def joined(path: Path, frames: Sequence[Image8], sound: str | None, start: float = 0) -> Path:
    """Two recordings of a camera, one behind the other, as cat joins them."""
    one = recording(path, frames, sound, start)
    one.write_bytes(2 * one.read_bytes())
    return one


@pytest.mark.parametrize("sound", [None, "aac"])
def test_recordings_that_were_joined_go_on(
    tiny: Transformer, tmp_path: Path, shots: list[Shot], sound: str | None
) -> None:
    source = joined(tmp_path / "joined.ts", [shot.frame for shot in shots[:15]], sound)
    outcome = age_video(source, tmp_path / "older.mp4", tiny, years=70)
    assert (outcome.frames, outcome.notes, outcome.damage) == (30, [], "")
    after = Seen(tmp_path / "older.mp4")
    assert np.allclose(np.delete(np.diff(after.times), 14), 1 / 30, atol=1e-3)
    assert np.diff(after.times)[14] == pytest.approx(1 / 30, abs=0.05)  # sound may be a little longer than what is seen
    if sound:
        assert len(after.sound) == len(Seen(source).sound)


#: Seconds after which the clock of an MPEG-TS, 33 bits of 1/90,000 s, begins anew.
CLOCK_S = 2**33 / 90_000


@pytest.mark.parametrize("before", [0.5, 2.0])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_clock_that_ran_over(
    tiny: Transformer, tmp_path: Path, shots: list[Shot], suffix: str, before: float
) -> None:
    """It runs over in the midst of the film, or after it; FFmpeg's times then begin before 0."""
    source = recording(tmp_path / "late.ts", [shot.frame for shot in shots], "aac", CLOCK_S - before)
    outcome = age_video(source, tmp_path / f"older{suffix}", tiny, years=70)
    assert (outcome.frames, outcome.notes, outcome.damage) == (30, [], "")
    before_it, after = Seen(source), Seen(tmp_path / f"older{suffix}")
    assert before_it.times[0] == pytest.approx(-before, abs=0.1)
    assert np.allclose(np.diff(after.times), 1 / 30, atol=2e-3)
    assert after.times[0] < 0.1
    assert len(after.sound) == len(before_it.sound)
    assert before_it.sound_start is not None
    assert after.sound_start == pytest.approx(before_it.sound_start, abs=0.03)


def test_joined_recordings_whose_clock_ran_over(tiny: Transformer, tmp_path: Path, shots: list[Shot]) -> None:
    source = joined(tmp_path / "joined.ts", [shot.frame for shot in shots[:15]], "aac", CLOCK_S - 5)
    outcome = age_video(source, tmp_path / "older.mp4", tiny, years=70)
    assert (outcome.frames, outcome.damage) == (30, "")
    assert np.diff(Seen(tmp_path / "older.mp4").times)[14] == pytest.approx(1 / 30, abs=0.05)


def test_copied_sound_moves_only_where_it_went_back(tmp_path: Path) -> None:
    """Packets that are shorter than a tick share one: each put a tick behind the other makes a film's sound longer."""
    written: list[tuple[int, int]] = []
    with closing(VideoWriter(tmp_path / "film.mp4")) as writer:
        writer._begun = True
        writer._container.close()
        writer._container = SimpleNamespace(
            mux=lambda packet: written.append((packet.dts, packet.pts)), close=lambda: None
        )
        stream = SimpleNamespace(type="audio", index=1)
        for dts in (0, 0, 1, 2, 2, 9, 7, 8, 10):
            writer.copy(SimpleNamespace(dts=dts, pts=dts), stream)
    assert written == [(time, time) for time in (0, 0, 1, 2, 2, 9, 10, 11, 12)]
