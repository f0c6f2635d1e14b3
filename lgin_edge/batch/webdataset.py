"""WebDataset shards: tar files in which the files of a sample stand together, NAME.jpg beside NAME.json.

https://github.com/webdataset/webdataset: the key of a file is its path up to the first dot of its name.
"""

from __future__ import annotations

import copy
import io
import tarfile
from itertools import groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ..errors import ImageError, InputError
from ..images import SUFFIXES, WRITABLE
from ..limits import LIMITS
from .tasks import NO_FACE, Outcome, whole

if TYPE_CHECKING:
    from .worker import Age


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

    Raises:
        ImageError: no tar file, damaged or cut off.
        OSError: the target cannot be written.
    """
    aged = faces = 0
    left_out: list[tuple[str, str]] = []
    try:
        with tarfile.open(source, "r:") as old, whole(target) as partial:
            with tarfile.open(partial, "w") as new:
                members = (member for member in old if member.isfile())
                for key, group in groupby(members, lambda member: split(member.name)[0]):
                    sample = list(group)
                    try:
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
            if not aged:
                partial.unlink()
    except (tarfile.TarError, EOFError) as error:
        raise ImageError(f"{source}: not a whole tar file: {error}") from error
    return Outcome(name, aged, faces, tuple(left_out), complete=True)


def _age_sample(
    old: tarfile.TarFile, sample: list[tarfile.TarInfo], name: str, age: Age
) -> tuple[dict[str, tuple[tarfile.TarInfo, IO[bytes]]], int] | None:
    """The pictures of a sample, changed, by their names, and the faces in them; None without a face. Raises ImageError, InputError."""
    pictures: dict[str, tuple[tarfile.TarInfo, IO[bytes]]] = {}
    faces = 0
    for member in sample:
        key, ending = split(member.name)
        if ending.lower() not in SUFFIXES:
            continue
        if member.size > LIMITS.image_bytes:
            raise ImageError(f"{name}{ending}: {member.size:,} bytes; a picture has at most {LIMITS.image_bytes:,}")
        file = old.extractfile(member)
        assert file is not None  # it is a file
        result = age(file.read(), name + ending)
        if result is None:
            return None
        info = copy.copy(member)
        info.size = len(result.data)
        info.pax_headers = {}  # of the old name and size
        if ending.lower() not in WRITABLE:
            info.name = key + ".png"
        pictures[member.name] = info, io.BytesIO(result.data)
        faces += result.faces
    if not pictures:
        raise ImageError(f"{name}: no picture in this sample (looked for {' '.join(SUFFIXES)})")
    return pictures, faces
