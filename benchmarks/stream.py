"""How steady, how quick and how frugal streams are: ``python benchmarks/stream.py [steady|live|soak] [-o FILE.json]``.

**steady**: a still (scikit-image's astronaut) panned, zoomed and turned, so that it is known where every point of the face is.
Each frame's face is brought back along that motion into one canonical view, in which a face that only moves stands still, and

    flicker = RMS over pixels, channels and time of  v[t-1] - 2 v[t] + v[t+1]

in the oval of the face, levels of a byte. The second difference in time is blind to what stays and to what drifts evenly (a
fade, a lamp), and weighs most what jumps to and fro between frames, which is what an eye takes for flicker. The input has some
of it too, by sampling and by camera noise; a stream may have 1.5 times as much. Beside it stands what a plain loop gives that
finds the faces of every frame afresh. Not measured: a moving head, speech, real light; there is no film of a person here.

**live**: a camera of 1280x720 at 30 frames a second, made up of the same film; frame rate, latency, dropped frames, and the cost
of the stages, with a consumer that takes frames as they come and with one that needs 100 ms for each. The candidates take turns.

**soak**: memory, threads and file descriptors over ``--frames`` frames with a tiny model, which leaves everything else as it is: faces that come
and go, and cuts.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from footprint import machine
from PIL import Image, ImageDraw, ImageFont
from rich.progress import track
from rich.table import Table
from stream_film import FPS, Film, Frame, Json, console
from stream_soak import soak

import lgin_edge
from lgin_edge import geometry
from lgin_edge.frames import PixelFormat
from lgin_edge.kernels import resample
from lgin_edge.stream import Pipeline, Stream
from lgin_edge.stream.latest_slot import Ended, LatestSlot
from lgin_edge.tracking import tracker as tracking
from lgin_edge.tracking.one_euro import OneEuro
from lgin_edge.tracking.optical_flow import OVAL_AXES, OVAL_CENTER

#: The allowed ratio of the stream's flicker to the input's.
LIMIT = 1.5
#: Side of the canonical view in which frames are compared.
VIEW = 192
#: How much the change is enlarged in the picture.
GAIN = 3.0
AGES = (0.0, 4.0)
NOISE = (0.0, 2.0)


def oval() -> npt.NDArray[np.bool_]:
    """Pixels of the canonical view that show the face, [VIEW, VIEW]."""
    centers = (np.arange(VIEW) + 0.5) / VIEW
    x, y = (centers - OVAL_CENTER[0]) / OVAL_AXES[0], (centers - OVAL_CENTER[1]) / OVAL_AXES[1]
    result: npt.NDArray[np.bool_] = x[None, :] ** 2 + y[:, None] ** 2 <= 1
    return result


def brought_back(frames: Iterable[Frame], film: Film) -> npt.NDArray[np.float32]:
    """The faces in canonical space, [T, 3, VIEW, VIEW] levels."""
    views = [
        resample(np.ascontiguousarray(frame), geometry.fit_similarity(points), VIEW, VIEW)
        for frame, points in zip(frames, film.landmarks, strict=True)
    ]
    return np.stack(views).astype(np.float32) * 127.5 + 127.5


def flicker(views: npt.NDArray[np.float32]) -> float:
    """See the head of this file."""
    second = np.diff(views[:, :, oval()].astype(np.float64), 2, axis=0)
    return float(np.sqrt(np.mean(second**2)))


def plain(transformer: lgin_edge.Transformer, film: Film, group: float) -> list[Frame]:
    """What a loop gives that knows nothing of films."""
    return [transformer.age(frame, group=group) for frame in film.frames]


def exact(transformer: lgin_edge.Transformer, film: Film, group: float) -> list[Frame]:
    """What there would be if it were known where the face is: how much the model itself flickers."""
    pairs = zip(film.frames, film.landmarks, strict=True)
    return [transformer.age(frame, group=group, landmarks=points) for frame, points in pairs]


def streamed(transformer: lgin_edge.Transformer, film: Film, group: float) -> list[Frame]:
    with Stream(film.frames, transformer, group=group, fps=FPS) as stream:
        return list(stream)


WAYS: dict[str, Callable[[lgin_edge.Transformer, Film, float], list[Frame]]] = {
    "stream": streamed,
    "every frame afresh": plain,
    "exact landmarks": exact,
}


def steady(frames: int, picture: Path | None) -> list[Json]:
    """Flicker of each way to age each film, beside that of the film itself."""
    rows: list[Json] = []
    table = Table("film", "group", "way", "flicker", "of the input", "ratio", "change")
    with lgin_edge.Transformer() as transformer:
        for noise in NOISE:
            film = Film(480, 640, 60.0, frames, noise)
            source = brought_back(film.frames, film)
            own = flicker(source)
            for group in AGES:
                aged = {
                    name: way(transformer, film, group)
                    for name, way in track(WAYS.items(), description="ageing", transient=True)
                }
                for name, result in aged.items():
                    views = brought_back(result, film)
                    value = flicker(views)
                    change = float(np.abs(views - source)[:, :, oval()].mean())
                    about = f"noise {noise:g}" if noise else "clean"
                    row = {
                        "film": about,
                        "group": group,
                        "way": name,
                        "flicker": round(value, 4),
                        "input": round(own, 4),
                    }
                    rows.append(row | {"ratio": round(value / own, 3), "change": round(change, 3)})
                    table.add_row(
                        about, f"{group:g}", name, f"{value:.3f}", f"{own:.3f}", f"{value / own:.2f}", f"{change:.2f}"
                    )
                if picture is not None and not noise and group == AGES[-1]:
                    draw(picture, film, aged, source)
    console.print(table)
    return rows


def draw(path: Path, film: Film, aged: dict[str, list[Frame]], source: npt.NDArray[np.float32]) -> None:
    """A strip of the film, and one column of the face over time, brought back along the motion."""
    count, gap, head = 8, 6, 26
    height, width = film.frames[0].shape[:2]
    cell = 200
    crop = (width - height) // 2
    sheet = Image.new("RGB", (count * (cell + gap) + gap, 2 * (cell + gap) + 3 * head + VIEW + gap), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    y = 0
    for label, frames in (("the film", film.frames), ("the stream, 65 and over", aged["stream"])):
        pen.text((gap, y + head / 2), label, fill=(40, 40, 40), font=font, anchor="lm")
        y += head
        for i in range(count):
            frame = frames[i * (len(frames) - 1) // (count - 1)]
            one = Image.fromarray(frame[:, crop : crop + height]).resize((cell, cell), Image.Resampling.LANCZOS)
            sheet.paste(one, (gap + i * (cell + gap), y))
        y += cell + gap
    column = round(0.41 * VIEW)  # through an eye, a cheek and the corner of the mouth
    room = (sheet.width - 4 * gap) // 3
    panels = {"the film": source} | {
        f"what is added, {name}": 128 + GAIN * (brought_back(aged[name], film) - source)
        for name in ("every frame afresh", "stream")
    }
    for i, (name, view) in enumerate(panels.items()):
        x = gap + i * (room + gap)
        text = f"{name}: a column of the face over {len(view) / FPS:.0f} s"
        pen.text((x, y + head / 2), text, fill=(40, 40, 40), font=font, anchor="lm")
        panel = np.clip(np.rint(view[:, :, :, column].transpose(2, 0, 1)), 0, 255).astype(np.uint8)
        sheet.paste(Image.fromarray(panel).resize((room, VIEW), Image.Resampling.NEAREST), (x, y + head))
    sheet.save(path, quality=88)


def camera(film: Film, seconds: float) -> Iterator[Frame]:
    """The film as a camera gives it: a frame when its time has come."""
    start = time.monotonic()
    for i in range(round(seconds * FPS)):
        wait = start + i / FPS - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        at = i % (2 * len(film.frames))  # there and back
        yield film.frames[at if at < len(film.frames) else 2 * len(film.frames) - 1 - at].copy()


def filters(frames: int) -> list[Json]:
    """What the One-Euro filter's cutoff costs and gives: how much the landmarks jump about on the face (RMS of their second
    difference, thousandths of the eye distance), and how long a tenth of an eye distance of error takes to fall to a half."""
    film = Film(480, 640, 60.0, frames, NOISE[-1])
    detector = lgin_edge.CenterFace()
    found = {i: detector(film.frames[i]) for i in range(0, frames, 9)}
    eyes = float(np.linalg.norm(geometry.TEMPLATE[1] - geometry.TEMPLATE[0]))
    rows = []
    chosen = tracking.MIN_CUTOFF
    try:
        for cutoff in (0.125, 0.25, 0.5, 1.0, 2.0, 1e6):
            tracking.MIN_CUTOFF = cutoff
            tracker = tracking.Tracker(PixelFormat.RGB)
            places = []
            for i, (frame, truth) in enumerate(zip(film.frames, film.landmarks, strict=True)):
                tracker.move(frame, 1 / FPS)
                if i in found:
                    tracker.ask()
                    tracker.correct(found[i], None, frame)
                (face,) = tracker.fade(1 / FPS)
                back = geometry.invert(geometry.fit_similarity(truth))
                places.append(geometry.apply(back, face.face.landmarks))
            jump = float(np.sqrt((np.diff(places, 2, axis=0) ** 2).sum(-1).mean())) / eyes
            one = OneEuro(min_cutoff=cutoff, beta=tracking.BETA)
            one(np.zeros((1, 2)), 0.0)
            steps = 0
            while one(np.array([[0.1, 0.0]]), 1 / FPS)[0, 0] < 0.05:
                steps += 1
            rows.append(
                {"min_cutoff": cutoff, "jumps": round(1e3 * jump, 3), "half_after_s": round((steps + 1) / FPS, 3)}
            )
    finally:
        tracking.MIN_CUTOFF = chosen
    console.print(f"One-Euro filter (chosen: {chosen} Hz): " + json.dumps(rows))
    return rows


def live_stream(transformer: lgin_edge.Transformer, film: Film, seconds: float, pause: float) -> Json:
    """A stream of the camera, and a consumer that needs ``pause`` seconds for each frame."""
    latencies: list[float] = []
    with Stream(camera(film, seconds), transformer, group=4, live=True) as stream:
        start = time.monotonic()
        for _ in stream:
            latencies.append(stream.stats.latency)
            if pause:
                time.sleep(pause)
        spent = time.monotonic() - start
        stats = stream.stats
    late = latencies[FPS:] or latencies  # after the first second, where there is more
    return {
        "fps": round(stats.frames_out / spent, 2),
        "latency_median_ms": round(1e3 * statistics.median(late), 1),
        "latency_p95_ms": round(1e3 * float(np.percentile(late, 95)), 1),
        "frames_in": stats.frames_in,
        "frames_out": stats.frames_out,
        "dropped": stats.dropped,
        "detections": stats.detections,
    }


def live_plain(transformer: lgin_edge.Transformer, film: Film, seconds: float, pause: float) -> Json:
    """The loop that one writes first: read, age, show. A driver keeps the newest frame for it, as Stream does for itself."""
    latencies: list[float] = []
    newest: LatestSlot[tuple[Frame, float]] = LatestSlot()

    def capture() -> None:
        for frame in camera(film, seconds):
            newest.put((frame, time.monotonic()))
        newest.end()

    thread = threading.Thread(target=capture)
    thread.start()
    start = time.monotonic()
    with suppress(Ended):
        while True:
            frame, captured = newest.take()
            transformer.age(frame, group=4)
            latencies.append(time.monotonic() - captured)
            if pause:
                time.sleep(pause)
    spent = time.monotonic() - start
    thread.join()
    return {
        "fps": round(len(latencies) / spent, 2),
        "latency_median_ms": round(1e3 * statistics.median(latencies), 1),
        "latency_p95_ms": round(1e3 * float(np.percentile(latencies, 95)), 1),
        "frames_out": len(latencies),
    }


def stages(transformer: lgin_edge.Transformer, film: Film) -> dict[str, float]:
    """Medians of what a frame costs when nothing else runs, milliseconds."""
    spent: dict[str, list[float]] = {"follow": [], "detect": [], "age": [], "copy": []}
    face: list[lgin_edge.Face] = []

    def detector(frame: Frame, color: str) -> list[lgin_edge.Face]:
        start = time.perf_counter()
        found = transformer.detect(frame)
        spent["detect"].append(time.perf_counter() - start)
        return found

    with Pipeline(transformer, group=4, detector=detector, inline=True, ordered=True) as pipeline:
        for i, frame in enumerate(film.frames):
            before = len(spent["detect"])
            start = time.perf_counter()
            processed = pipeline(frame, i / FPS)
            whole = time.perf_counter() - start
            details = transformer.last_call.times
            if before == len(spent["detect"]):
                spent["age"].append(details["total"] / 1e3)
                spent["follow"].append(whole - details["total"] / 1e3)
            start = time.perf_counter()
            frame.copy()
            spent["copy"].append(time.perf_counter() - start)
            face = [one.face for one in processed.faces]
    assert len(face) == 1
    return {name: round(1e3 * statistics.median(values), 2) for name, values in spent.items() if values}


def live(seconds: float, rounds: int) -> Json:
    film = Film(720, 1280, 90.0, 120)
    rows: list[Json] = []
    with lgin_edge.Transformer() as transformer:
        for way in (live_stream, live_plain):
            way(transformer, film, 2.0, 0.0)  # warm
        costs = stages(transformer, film)
        for turn in track(range(rounds), description="live", transient=True):
            for pause in (0.0, 0.1):
                for name, way in (("stream", live_stream), ("plain loop", live_plain)):
                    rows.append(
                        {
                            "round": turn,
                            "consumer_ms": 1e3 * pause,
                            "way": name,
                            **way(transformer, film, seconds, pause),
                        }
                    )
    table = Table("consumer", "way", "frames a second", "latency median", "p95", "dropped")
    for pause in (0.0, 100.0):
        for name in ("stream", "plain loop"):
            chosen = [row for row in rows if row["way"] == name and row["consumer_ms"] == pause]
            middle = {
                key: statistics.median(row[key] for row in chosen)
                for key in ("fps", "latency_median_ms", "latency_p95_ms")
            }
            table.add_row(
                f"{pause:g} ms",
                name,
                f"{middle['fps']:.1f}",
                f"{middle['latency_median_ms']:.0f} ms",
                f"{middle['latency_p95_ms']:.0f} ms",
                str(chosen[-1].get("dropped", "")),
            )
    console.print(table)
    console.print("a frame alone, ms: " + ", ".join(f"{name} {value:g}" for name, value in costs.items()))
    return {"camera": "1280x720, 30 frames a second", "seconds": seconds, "stages_ms": costs, "rows": rows}


def main(
    what: Annotated[
        list[str] | None, typer.Argument(help="steady, live, soak; all of them when none is named.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the figures as JSON; others in it stay.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Write the strip of `steady` here, .jpg.")] = None,
    length: Annotated[int, typer.Option(min=30, help="Frames of the film of `steady`.")] = 120,
    seconds: Annotated[float, typer.Option(min=2, help="Length of each run of `live`.")] = 15.0,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each candidate of `live`.")] = 3,
    frames: Annotated[int, typer.Option(min=100, help="Frames of `soak`.")] = 3000,
) -> None:
    chosen = what or ["steady", "live", "soak"]
    if unknown := set(chosen) - {"steady", "live", "soak"}:
        raise typer.BadParameter(f"there is no {', '.join(sorted(unknown))}")
    about = machine()
    report: Json = {}
    if "steady" in chosen:
        rows = steady(length, picture)
        report["steady"] = {"limit": LIMIT, "frames": length, "rows": rows, "filter": filters(length), "machine": about}
    if "live" in chosen:
        report["live"] = live(seconds, rounds) | {"machine": about}
    if "soak" in chosen:
        report["soak"] = soak(frames) | {"machine": about}
    if out:
        others = json.loads(out.read_text()) if out.exists() else {}
        out.write_text(json.dumps(others | report, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
