"""Disk full, and killed, while a picture, a film or an engine is written: the old file or the new one, whole, and nothing
under its name in between; the next run works."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from faults import limit, run
from PIL import Image
from support.engines import ABOUT, bytes_of
from support.films import Image8, wandering
from support.films import film as walk
from support.movies import Seen, make

from lgin_edge import ImageError, ModelError, StreamError, Transformer, images
from lgin_edge.models import engine_file
from lgin_edge.video.transcode import age_video

#: Bytes of the small disk.
DISK = 256 << 10

#: A folder, and what fills it up for a while so that so many bytes of a file still fit.
Disk = tuple[Path, Callable[[int], AbstractContextManager[None]]]


@pytest.fixture(params=["limit", "tmpfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "limit":  # EFBIG, which any user can have
        yield tmp_path, lambda size: limit(resource.RLIMIT_FSIZE, size)
        return
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    if mount is None or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs (root)")

    def fill(size: int) -> AbstractContextManager[None]:
        (folder / "filler").unlink(missing_ok=True)
        space = os.statvfs(folder)
        (folder / "filler").write_bytes(bytes(max(0, space.f_bavail * space.f_bsize - size)))
        return nullcontext()

    try:
        yield folder, fill
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "filler")


@pytest.mark.parametrize("suffix", sorted(set(images.WRITABLE)))
def test_a_picture_on_a_full_disk(disk: Disk, suffix: str) -> None:
    folder, only = disk
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8))
    path = folder / f"picture{suffix}"
    images.write(path, image)
    whole = path.read_bytes()
    assert len(whole) > 8192
    for size in (0, 4096, (len(whole) - 1) // 4096 * 4096):  # the last: all but the end fits
        with only(size), pytest.raises(ImageError, match=f"{path.name}: .*(No space left|too large|encoder error)"):
            images.write(path, image, overwrite=True)
        assert path.read_bytes() == whole
        assert files(folder) == [path.name]
    (folder / "filler").unlink(missing_ok=True)
    images.write(path, image, overwrite=True)
    assert path.read_bytes() == whole


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, astronaut: Image8) -> Path:
    """Ten noisy frames with a face: some ten thousand bytes."""
    rng = np.random.default_rng(0)
    shots = [
        shot.frame // 2 + rng.integers(0, 24, shot.frame.shape, dtype=np.uint8)
        for shot in walk(astronaut, wandering(10))
    ]
    return make(tmp_path_factory.mktemp("film") / "film.mp4", shots)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_film_on_a_full_disk(tiny: Transformer, film: Path, disk: Disk, suffix: str) -> None:
    folder, only = disk
    target = folder / f"older{suffix}"
    outcome = age_video(film, target, tiny, group=4)
    assert outcome.with_faces == 10
    size = target.stat().st_size
    assert 16384 < size < DISK // 2
    target.write_bytes(b"old")
    for room in (0, 4096, size // 2, size * 3 // 4):
        with only(room), pytest.raises(StreamError, match=f"{target.name}: cannot be written"):
            age_video(film, target, tiny, group=4, overwrite=True)
        assert target.read_bytes() == b"old", room
        assert files(folder) == [target.name], room
    (folder / "filler").unlink(missing_ok=True)
    age_video(film, target, tiny, group=4, overwrite=True)
    assert len(Seen(target).frames) == 10


def test_an_engine_on_a_full_disk(disk: Disk) -> None:
    folder, only = disk
    old, new = bytes_of(), bytes_of() + bytes(50_000)
    path = folder / "engine.plan"
    engine_file.write(path, old, ABOUT)
    for size in (0, 4096, 49152):
        with only(size), pytest.raises(OSError, match=r"No space left|too large"):
            engine_file.write(path, new, ABOUT)
        assert engine_file.read(path)[0] == old
        assert files(folder) == ["engine.plan", "engine.plan.json"]
    (folder / "filler").unlink(missing_ok=True)
    engine_file.write(path, new, ABOUT)
    assert engine_file.read(path)[0] == new


# The process kills itself where that hurts most: in the middle of the data, and before each file takes its name.
KILLED = """
import io, os, pathlib, signal, sys

def die():
    os.kill(os.getpid(), signal.SIGKILL)

what, where, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
replace, left = pathlib.Path.replace, [int(where) if where.isdigit() else -1]

def replacing(self, target):
    if not left[0]:
        die()
    left[0] -= 1
    return replace(self, target)

pathlib.Path.replace = replacing
if what == "picture":
    from PIL import Image
    from lgin_edge import images

    class Half(io.FileIO):
        def write(self, data):
            super().write(data[: len(data) // 2])
            die()

    if where == "middle":
        pathlib.Path.open = lambda self, mode: Half(self, mode)
    images.write(folder / "picture.png", Image.new("RGB", (40, 30), "red"), overwrite=True)
elif what == "film":
    import lgin_edge
    from lgin_edge.video.transcode import age_video
    count = 0

    def progress(done, total):
        global count
        count += 1
        if where == "middle" and count == 5:
            die()

    with lgin_edge.Transformer(sys.argv[5], threads=1) as t:
        age_video(sys.argv[4], folder / "older.mp4", t, group=4, overwrite=True, progress=progress)
else:
    from support.engines import ABOUT, bytes_of
    from lgin_edge.models import engine_file as plan
    write = pathlib.Path.write_bytes

    def half(self, data):
        write(self, data[: len(data) // 2])
        die()

    if where == "middle":
        pathlib.Path.write_bytes = half
    plan.write(folder / "engine.plan", bytes_of() + b"new", ABOUT)
"""


def kill(env: dict[str, str], *arguments: object) -> None:
    done = run(KILLED, env, *arguments)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("where", ["middle", "0"])
def test_killed_while_a_picture_is_written(subprocess_env: dict[str, str], tmp_path: Path, where: str) -> None:
    path = tmp_path / "picture.png"
    images.write(path, Image.new("RGB", (40, 30), "blue"))
    whole = path.read_bytes()
    kill(subprocess_env, "picture", where, tmp_path)
    assert path.read_bytes() == whole
    others = [name for name in files(tmp_path) if name != path.name]
    assert all(
        name.startswith(".") and name.endswith(".tmp") for name in others
    )  # hidden; a folder's pictures leave it out
    images.write(path, Image.new("RGB", (40, 30), "green"), overwrite=True)
    assert images.read(path).image.getpixel((3, 3)) == (0, 128, 0)


@pytest.mark.parametrize("where", ["middle", "0"])
def test_killed_while_a_film_is_written(
    subprocess_env: dict[str, str], tiny: Transformer, tiny_model: Path, film: Path, tmp_path: Path, where: str
) -> None:
    target = tmp_path / "older.mp4"
    target.write_bytes(b"old")
    kill(subprocess_env, "film", where, tmp_path, film, tiny_model)
    assert target.read_bytes() == b"old"
    assert all(name.startswith(".") for name in files(tmp_path) if name != target.name)
    age_video(film, target, tiny, group=4, overwrite=True)
    assert len(Seen(target).frames) == 10


@pytest.mark.parametrize("where", ["middle", "0", "1"])
def test_killed_while_an_engine_is_written(subprocess_env: dict[str, str], tmp_path: Path, where: str) -> None:
    """At worst the old engine is refused, for its hash is the new one's already; never is half an engine run."""
    path = tmp_path / "engine.plan"
    engine_file.write(path, bytes_of(), ABOUT)
    kill(subprocess_env, "engine", where, tmp_path)
    if where == "1":
        with pytest.raises(ModelError, match="build it again"):
            engine_file.read(path)
    else:
        assert engine_file.read(path)[0] == bytes_of()
    engine_file.write(path, bytes_of() + b"newer", ABOUT)
    assert engine_file.read(path)[0] == bytes_of() + b"newer"
    assert files(tmp_path) == ["engine.plan", "engine.plan.json"]
