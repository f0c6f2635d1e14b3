"""How long films last: their last pictures, and films that begin late or have one frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.films import SIZE, Shot
from support.movies import TICKS, Seen, make

from lgin_edge import Transformer
from lgin_edge.video import transcode
from lgin_edge.video.transcode import age_video
from lgin_edge.video.writer import VideoWriter

av = pytest.importorskip("av", reason="films need PyAV: pip install 'lgin-edge[video]'")


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_last_picture_stands_as_long_as_it_did(
    tiny: Transformer, tmp_path: Path, shots: list[Shot], suffix: str
) -> None:
    frames = [Image.fromarray(shot.frame) for shot in shots[:3]]
    source, target = tmp_path / "film.gif", tmp_path / f"older{suffix}"
    frames[0].save(source, save_all=True, append_images=frames[1:], duration=[100, 100, 2000])
    outcome = age_video(source, target, tiny, years=70)
    assert (outcome.frames, outcome.seconds) == (3, pytest.approx(2.2))
    with av.open(str(target)) as container:
        assert container.duration / 1e6 == pytest.approx(2.2, abs=0.01)
        shown = [float(one.pts * one.time_base) for one in container.demux() if one.size]
    assert max(shown) > 1.4  # written twice


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("ticks", [None, 0, -5, 2**33, 2**60, 2**63 - 1])
def test_a_last_frame_that_states_no_length_or_a_wrong_one(
    tiny: Transformer,
    tmp_path: Path,
    shots: list[Shot],
    ticks: int | None,
    suffix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It lasts as long as the one before."""
    source = make(tmp_path / "film.mp4", [shot.frame for shot in shots[:4]], times=[0, 3000, 6000, 12_000], sound=None)
    original = transcode._Job._frame

    def stated(self: Any, frame: Any) -> None:
        frame.duration = ticks or 0
        original(self, frame)

    monkeypatch.setattr(transcode._Job, "_frame", stated)
    outcome = age_video(source, tmp_path / f"older{suffix}", tiny, years=70)
    assert (outcome.frames, outcome.seconds) == (4, pytest.approx(0.2))
    assert len(Seen(tmp_path / f"older{suffix}").times) == 4
    with av.open(str(tmp_path / f"older{suffix}")) as container:
        assert container.duration / 1e6 == pytest.approx(0.2, abs=0.04)


@pytest.mark.parametrize("late", [0, 90_000])
@pytest.mark.parametrize("delayed", [False, True])
def test_a_film_lasts_as_long_as_its_pictures_do(tmp_path: Path, shots: list[Shot], late: int, delayed: bool) -> None:
    """Also if they begin late, and with an encoder that gives each frame at once."""
    writer = VideoWriter(tmp_path / "film.mp4", codec="libx264")
    writer.add_video(Fraction(30))
    if not delayed:
        writer._video.codec_context.options |= {"tune": "zerolatency"}
    writer.begin(SIZE, SIZE, time_base=Fraction(1, TICKS))
    for i, shot in enumerate(shots[:8]):
        writer.write_array(shot.frame, late + 3000 * i)
    writer.end = late + 60_000
    writer.finish()
    with av.open(str(tmp_path / "film.mp4")) as container:
        video = container.streams.video[0]
        assert video.duration * video.time_base == pytest.approx(60_000 / TICKS, abs=1e-3)


def test_a_matroska_film_of_one_frame(tiny: Transformer, tmp_path: Path, shots: list[Shot]) -> None:
    """FFmpeg does not say where it begins."""
    source = make(tmp_path / "film.mkv", [shots[0].frame], sound=None)
    assert age_video(source, tmp_path / "older.mkv", tiny, years=70).frames == 1
