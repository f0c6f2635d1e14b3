"""Which file is written for which picture, and the work on one: what ``lgin-edge age`` and ``batch`` share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import images
from .errors import ImageError, InputError
from .files import exists
from .limits import LIMITS, Limits
from .provenance import marked

if TYPE_CHECKING:
    from PIL import Image

    from .transformer import Transformer


#: Endings that are a picture's, whether it is read, written or neither; and those of films.
PICTURES = frozenset((*images.SUFFIXES, *images.UNREAD))
FILMS = frozenset((".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".3gp", ".mts", ".m2ts"))


#: What the name of a file ends with, rather than that of a folder.
_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,3}")


@dataclass(frozen=True)
class Job:
    """One file to read and the file to write."""

    source: Path
    target: Path


def plan(inputs: Sequence[Path], out: Path | None, label: str) -> list[Job]:
    """The jobs for pictures and folders of pictures.

    Args:
        inputs: pictures, and folders, which are mirrored in ``out``.
        out: a file for one picture, else a folder; when not given, results stand beside their pictures.
        label: goes into their names then; "timeline" into all.

    Raises InputError: places that contradict each other, no pictures, or as ``check``.
    """
    one_file = out is not None and out.suffix.lower() in images.WRITABLE and not out.is_dir()
    if out is not None and not one_file and not exists(out):
        one_picture = len(inputs) == 1 and not inputs[0].is_dir()
        if out.suffix.lower() in PICTURES or (one_picture and _ENDING.fullmatch(out.suffix)):
            raise InputError(
                f"-o {out}: the ending {out.suffix!r} is not one that is written: {', '.join(images.WRITABLE)}; "
                "a folder of such a name must be there"
            )
    if one_file and (len(inputs) > 1 or inputs[0].is_dir()):
        raise InputError(f"-o {out} is one picture, and IN is several; give a folder")
    jobs = []
    for path in inputs:
        if not path.is_dir():
            name = result_name(path, label, beside=out is None)
            target = path.parent / name if out is None else out if one_file else out / name
            jobs.append(Job(path, target))
            continue
        if out is None:
            raise InputError(f"{path} is a folder: say with -o where its pictures go")
        jobs += [
            Job(file, out / file.relative_to(path).with_name(result_name(file, label)))
            for file in files(path, images.SUFFIXES, without=out)
        ]
    if not jobs:
        raise no_pictures(inputs)
    check(jobs)
    return jobs


def result_name(path: Path, label: str = "", *, beside: bool = False) -> str:
    """The name of a picture's result: in a format that is written, and another than the picture's where it stands beside it."""
    if label == "timeline":
        return f"{path.stem}.timeline.png"
    suffix = ".jpg" if path.suffix.lower() in (".jfif", ".jpe") else path.suffix
    if suffix.lower() not in images.WRITABLE:
        suffix = ".png"
    return f"{path.stem}.{label}{suffix}" if beside else path.stem + suffix


def files(folder: Path, suffixes: Iterable[str], *, without: Path | None = None) -> list[Path]:
    """The files with these endings in a folder and the folders in it, in order, without hidden ones and what lies in hidden folders.

    Args:
        without: a folder of results; where it lies inside ``folder``, an earlier run wrote what is in it.
    """
    wanted = frozenset(suffixes)
    inside = without is not None and without.resolve() != folder.resolve()
    return [
        file
        for file in _walk(folder)
        if file.suffix.lower() in wanted
        and file.is_file()
        and not (inside and without is not None and file.resolve().is_relative_to(without.resolve()))
    ]


def left_out(folder: Path) -> list[Path]:
    """The films in a folder, the pictures that are of kinds that are not read, and folders that cannot be looked into."""
    return [*closed_folders(folder), *files(folder, (*images.UNREAD, *FILMS))]


def closed_folders(folder: Path) -> list[Path]:
    """The folders in a folder that cannot be looked into."""
    return [path for path in _walk(folder) if path.is_dir()]


def why_left_out(path: Path) -> str:
    """Of one of ``left_out``."""
    if path.is_dir():
        return "no permission to look into it"
    return "a film" if path.suffix.lower() in FILMS else f"{path.suffix} is not read"


def _walk(folder: Path) -> Iterator[Path]:
    """What is no folder in a folder and in those in it, in order, without what is hidden; and folders that cannot be looked into.

    Links to folders are followed, but each folder is looked into once: under its own name, or that of the first link.
    """
    seen: set[Path] = set()
    found, links = _below(folder, seen)
    for link in links:  # to which those are added that lie behind it
        more, further = _below(link, seen)
        found += more
        links += further
    return iter(sorted(found))


def _below(folder: Path, seen: set[Path]) -> tuple[list[Path], list[Path]]:
    """Of a folder and those in it what ``_walk`` finds, and the links to further folders.

    Args:
        seen: folders that were looked into; these are added to them.
    """
    found: list[Path] = []
    links: list[Path] = []
    folders = [folder]
    while folders:
        folder = folders.pop()
        place = folder.resolve()
        if place in seen:
            continue
        seen.add(place)
        try:
            paths = [(path, path.is_dir()) for path in folder.iterdir() if not path.name.startswith(".")]
        except PermissionError:  # its names may be read, and nothing of what they name
            found.append(folder)
            continue
        except (FileNotFoundError, NotADirectoryError):
            continue
        for path, is_folder in paths:
            (found if not is_folder else links if path.is_symlink() else folders).append(path)
    return found, sorted(links)


def check(jobs: Sequence[Job]) -> None:
    """Raises InputError if a result would replace one of the files given, or another result."""
    sources = {_place(job.source) for job in jobs}
    for target, count in Counter(_place(job.target) for job in jobs).items():
        if target in sources:
            raise InputError(f"{target} is one of the files given and would be replaced; write somewhere else")
        if count > 1:
            raise InputError(f"{count} pictures would be written to {target}; do them apart")


def _place(path: Path) -> Path:
    """Where a path leads; itself where it leads nowhere, as with a name that is too long."""
    try:
        return path.resolve()
    except OSError:
        return path.absolute()


def no_pictures(inputs: Iterable[Path], suffixes: Iterable[str] = images.SUFFIXES) -> InputError:
    return InputError(f"no pictures in {', '.join(map(str, inputs))} (looked for {' '.join(suffixes)})")


def age_file(
    transformer: Transformer,
    job: Job,
    *,
    group: float | None,
    years: float | None,
    overwrite: bool = False,
    mark: bool = False,
    limits: Limits = LIMITS,
    read: Callable[..., images.Picture] = images.read,
) -> int:
    """One picture, from file to file; without ``group`` and ``years`` a strip of all age groups.

    Args:
        mark: words in its corner say that it was changed.
        limits: of the picture.
        read: as ``images.read``.

    Returns: The number of its faces. Without a face nothing is written.
    Raises ImageError: it cannot be read or written, or the result exists.
    """
    if exists(job.target) and not overwrite:
        raise ImageError(f"{job.target}: exists already; --overwrite replaces it")
    picture = read(job.source, limits=limits)
    result, faces = age_picture(transformer, picture, group=group, years=years, mark=mark)
    if result is None:
        return 0
    # A strip is a drawing, not the photograph: it gets none of its metadata.
    source = None if group is None and years is None else picture
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"{job.target.parent}: cannot be made: {error.strerror}") from error
    images.write(job.target, result, source, overwrite=overwrite)
    return faces


def age_picture(
    transformer: Transformer, picture: images.Picture, *, group: float | None, years: float | None, mark: bool = False
) -> tuple[Image.Image | None, int]:
    """A picture at another age, or a strip of all age groups, and the number of its faces; None without a face."""
    faces = transformer.detect(picture.image)
    if not faces:
        return None, 0
    if group is None and years is None:
        from .contact_sheet import timeline_strip

        result = timeline_strip(transformer, picture.image, faces)
    else:
        result = transformer.age(picture.image, group=group, years=years, faces=faces)
    return marked(result) if mark else result, len(faces)
