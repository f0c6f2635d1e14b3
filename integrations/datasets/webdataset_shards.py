"""WebDataset shards: tar files in which the files of a sample stand together, NAME.jpg beside NAME.json.

https://github.com/webdataset/webdataset: the key of a file is its path up to the first dot of its name.
"""

from __future__ import annotations

import copy
import io
import tarfile
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING

from lgin_edge.batch.tasks import NO_FACE, Outcome
from lgin_edge.errors import ImageError, InputError
from lgin_edge.files import atomic_write
from lgin_edge.images import SUFFIXES, WRITABLE
from lgin_edge.limits import LIMITS

if TYPE_CHECKING:
    from lgin_edge.batch.worker import Age


def split(name: str) -> tuple[str, str]:
    """Key and ending of a file: ``a/b.c.jpg`` is ``a/b`` and ``.c.jpg``."""
    folder, slash, base = name.rpartition("/")
    stem, dot, ending = base.partition(".")
    return folder + slash + stem, dot + ending


def age_shard(name: str, source: Path, target: Path, age: Age) -> Outcome:
    """A shard with the samples whose pictures have a face, these pictures changed, all other files as they were.

    Args:
        name: of the task.
        target: is replaced; without any such sample nothing is written.

    Raises ImageError: no tar file, damaged or cut off; OSError: the target cannot be written.
    """
    aged = faces = 0
    left_out: list[tuple[str, str]] = []
    try:
        with tarfile.open(source, "r:") as old, atomic_write(target) as partial:
            with tarfile.open(partial, "w") as new:
                members = (member for member in old if not member.isdir())
                for key, group in groupby(members, lambda member: split(member.name)[0]):
                    sample = list(group)
                    try:
                        _check(sample)
                        changed = _age_sample(old, sample, f"{name}/{key}", age)
                    except (ImageError, InputError) as error:
                        left_out.append((f"{name}/{key}", str(error)))
                        continue
                    if changed is None:
                        left_out.append((f"{name}/{key}", NO_FACE))
                        continue
                    pictures, found = changed
                    aged, faces = aged + len(pictures), faces + found
                    for member in sample:
                        info, data = pictures.get(member.name, (member, old.extractfile(member)))
                        new.addfile(info, data)
            _check_end(old)
            if not aged:
                partial.unlink()
    except (tarfile.TarError, EOFError) as error:
        raise ImageError(f"{source}: not a whole tar file: {error}") from error
    return Outcome(name, aged, faces, tuple(left_out), complete=True)


def _check(sample: list[tarfile.TarInfo]) -> None:
    """Raises ImageError for a sample whose files cannot be told apart, are none, or would fill the disk."""
    for file, count in Counter(member.name for member in sample).items():
        if count > 1:
            raise ImageError(f"{file}: this name stands {count} times in the sample")
    for member in sample:
        if not member.isfile() or member.issparse():
            raise ImageError(f"{member.name}: a link, a sparse file or a device; only plain files are read")
        if member.size > LIMITS.image_bytes:
            raise ImageError(f"{member.name}: {member.size:,} bytes; a file has at most {LIMITS.image_bytes:,}")


def _check_end(old: tarfile.TarFile) -> None:
    """Raises ReadError if the shard is cut off or damaged: ``tarfile`` takes whatever is no header for the end."""
    assert old.fileobj is not None
    old.fileobj.seek(old.offset)
    rest = 0
    while block := old.fileobj.read(1 << 20):
        if block.strip(b"\0"):
            raise tarfile.ReadError(
                f"something that is no file stands at byte {old.offset:,}: damaged, or several files in one"
            )
        rest += len(block)
    if rest < tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"it has no end after {old.offset:,} bytes: cut off")


def _age_sample(
    old: tarfile.TarFile, sample: list[tarfile.TarInfo], name: str, age: Age
) -> tuple[dict[str, tuple[tarfile.TarInfo, IO[bytes]]], int] | None:
    """The pictures of a sample, changed, by their names, and the faces in them; None without a face. Raises ImageError, InputError."""
    pictures: dict[str, tuple[tarfile.TarInfo, IO[bytes]]] = {}
    names = {member.name for member in sample}
    faces = 0
    for member in sample:
        key, ending = split(member.name)
        if ending.lower() not in SUFFIXES:
            continue
        file = old.extractfile(member)
        assert file is not None  # it is a file
        result = age(file.read(), name + ending)
        if result is None:
            return None
        info = copy.copy(member)
        info.size = len(result.data)
        info.pax_headers = {}  # of the old name and size
        if ending.lower() not in WRITABLE:
            info.name = key + ".png" if key + ".png" not in names else f"{member.name}.png"
        pictures[member.name] = info, io.BytesIO(result.data)
        faces += result.faces
    if not pictures:
        raise ImageError(f"{name}: no picture in this sample (looked for {' '.join(SUFFIXES)})")
    return pictures, faces
