"""Eight threads on one Transformer, bit for bit as one after the other. ``tests/sanitizers.sh`` runs these under ThreadSanitizer
too, and ``benchmarks/endurance.py threads`` for long."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import loose
import models
import numpy as np
import pytest
from frames import COLORS, face_affine, frame_shape, template_boxes
from tolerances import assert_identical

from lgin_edge import Transformer, geometry

THREADS = 8
#: How often each thread does each of its jobs.
ROUNDS = int(os.environ.get("LGIN_TEST_EXAMPLES", "6"))

Job = Callable[[Transformer], list[np.ndarray]]


def jobs(count: int) -> list[Job]:
    """Calls with frames of every format, one or two faces, and every kind of result; some share their frame."""
    rng = np.random.default_rng(0)
    frames = {color: rng.integers(0, 256, frame_shape(180, 240, color), dtype=np.uint8) for color in COLORS}

    def job(i: int) -> Job:
        color = COLORS[i % len(COLORS)]
        frame = frames[color]
        where = [face_affine((70.0 + 9 * i, 90.0), 60.0 + 6 * i, 0.1 * i), face_affine((160.0, 80.0), 50.0)]
        landmarks = np.array([geometry.apply(affine, geometry.TEMPLATE) for affine in where[: 1 + i % 2]])
        arguments: dict[str, Any] = {"landmarks": landmarks, "color": color}

        def run(t: Transformer) -> list[np.ndarray]:
            ages = [one.years for one in t.estimate_age(frame, **arguments)]
            aged = t.age(frame, group=i % 9 / 2, **arguments)
            assert len(t.last_call.faces) == len(landmarks)  # this thread's, whatever the others did
            return [aged, *t.timeline(frame, **arguments), np.array(ages)]

        return run

    return [job(i) for i in range(count)]


@pytest.mark.parametrize("threads", [1, 2])
def test_eight_threads_agree_bit_for_bit(tmp_path: Path, threads: int) -> None:
    model = models.save(tmp_path / "gain.onnx", face_gain=-0.3, patch_gain=0.2)
    work = jobs(THREADS)
    with Transformer(model, age_model=models.save_age(tmp_path / "age.onnx"), threads=threads) as t:
        alone = [job(t) for job in work]
        start = threading.Barrier(THREADS)

        def together(i: int) -> None:
            start.wait()
            for turn in range(ROUNDS):
                n = (i + turn) % THREADS
                for now, before in zip(work[n](t), alone[n], strict=True):
                    assert_identical(now, before)

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(together, range(THREADS)))


@pytest.mark.skipif(
    "LGIN_TSAN_CONTROL" not in os.environ, reason="a race, for ThreadSanitizer to find (tests/sanitizers.sh)"
)
def test_control_a_race() -> None:
    frame = np.zeros((200, 200, 3), np.uint8)
    where = face_affine((100.0, 100.0), 150.0)[None], template_boxes(1)
    deltas = [np.ones(shape, np.float32) for shape in ((1, 3, 64, 64), (1, 5, 3, 32, 32))]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: loose.region_paste(frame, *where, *deltas, out=frame), range(200)))
