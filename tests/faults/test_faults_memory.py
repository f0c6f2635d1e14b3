"""Out of memory: an error that can be caught, nothing changed, and the next call works."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from faults import succeed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits the address space of a process (Linux)")

# One face in a big picture, or nine, which are several calls of the model; the limit lies 0 to 128 MB above what the process has.
TRANSFORMER = """
import sys
import loose
import numpy as np
from faults import memory_limit
from skimage import data
import lgin_edge

model, threads, faces = sys.argv[1], *map(int, sys.argv[2:])
small = data.astronaut()
big = np.tile(small, (3, 3, 1)) if faces == 9 else small.repeat(6, axis=0).repeat(6, axis=1)
t = lgin_edge.Transformer(model, threads=threads)
expected = t.age(small, group=4)
failures = set()
for megabytes in (0, 2, 4, 8, 16, 32, 64, 128):
    picture = big.copy()
    try:
        with memory_limit(megabytes << 20):
            t.age(picture, group=4, out=picture if faces == 9 else None)
    except (MemoryError, lgin_edge.BackendError) as error:
        failures.add(type(error).__name__)
        if faces == 1:
            assert (picture == big).all(), megabytes
    assert (t.age(small, group=4) == expected).all(), megabytes
assert (t.age(big, group=4) != big).any()
print(*sorted(failures))
"""


@pytest.mark.parametrize(("threads", "faces"), [(1, 1), (2, 9)])
def test_out_of_memory(subprocess_env: dict[str, str], tiny_model: Path, threads: int, faces: int) -> None:
    assert succeed(TRANSFORMER, subprocess_env, tiny_model, threads, faces).strip(), "no limit was too small"


KERNELS = """
import numpy as np
from faults import memory_limit
from frames import face_affine, template_boxes
import loose

rng = np.random.default_rng(0)
frame = rng.integers(0, 256, (2000, 3000, 3), dtype=np.uint8)
where = face_affine((1500.0, 1000.0), 1900.0)[None], template_boxes(1)
deltas = [rng.normal(0, 0.3, shape).astype(np.float32) for shape in ((1, 3, 256, 256), (1, 5, 3, 128, 128))]
work = frame.copy()
calls = (
    lambda: loose.region_crop(frame, *where, threads=4),
    lambda: loose.region_paste(work, *where, *deltas, out=work, threads=4),
    lambda: loose.resample(frame, [[3000.0, 0.0, 0.0], [0.0, 2000.0, 0.0]], 640, 640, threads=4),
)
expected = [call() for call in calls]
expected[1] = expected[1].copy()
failures = 0
for kilobytes in (0, 8192):
    for hoarding in (False, True):  # what is free already is taken too, down to small pieces
        for call, result in zip(calls, expected):
            hoard, work[...] = [], frame
            with memory_limit(kilobytes << 10):
                for size in (1 << 20, 1 << 16, 1 << 12, 1 << 8) if hoarding and not kilobytes else ():
                    try:
                        while True:
                            hoard.append(bytes(size))
                    except MemoryError:
                        hoard[-8:] = []  # Python itself needs some
                try:
                    call()
                except MemoryError:
                    failures += 1
                    hoard = None
                    assert (work == frame).all()
                hoard = None
            work[...] = frame
            now = call()
            pairs = zip(now, result) if isinstance(now, tuple) else [(now, result)]
            assert all((a == b).all() for a, b in pairs)
print(failures)
"""


def test_kernels_out_of_memory(subprocess_env: dict[str, str]) -> None:
    """In threads of their own, where an exception would end the process."""
    assert int(succeed(KERNELS, subprocess_env)) > 0
