"""Which file is written for which picture, and the work on one: what ``lgin-edge age`` and ``batch`` share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import images
from .errors import ImageError, InputError
from .limits import LIMITS, Limits

if TYPE_CHECKING:
    from .transformer import Transformer


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

    Raises:
        InputError: places that contradict each other, no pictures, or as ``check``.
    """
    one_file = out is not None and out.suffix.lower() in images.WRITABLE and not out.is_dir()
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
    """The name of a picture's result: in a format that is written, and told from the picture where it stands beside it."""
    if label == "timeline":
        return f"{path.stem}.timeline.png"
    suffix = path.suffix if path.suffix.lower() in images.WRITABLE else ".png"
    return f"{path.stem}.{label}{suffix}" if beside else path.stem + suffix


def files(folder: Path, suffixes: Iterable[str], *, without: Path | None = None) -> list[Path]:
    """The files with these endings in a folder and the folders in it, in order, without hidden ones.

    Args:
        without: a folder of results; where it lies inside ``folder``, an earlier run wrote what is in it.
    """
    wanted = frozenset(suffixes)
    inside = without is not None and without.resolve() != folder.resolve()
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file()
        and file.suffix.lower() in wanted
        and not file.name.startswith(".")
        and not (inside and without is not None and file.resolve().is_relative_to(without.resolve()))
    ]


def check(jobs: Sequence[Job]) -> None:
    """Raises InputError if a result would replace one of the files given, or another result."""
    sources = {job.source.resolve() for job in jobs}
    for target, count in Counter(job.target.resolve() for job in jobs).items():
        if target in sources:
            raise InputError(f"{target} is one of the files given and would be replaced; write somewhere else")
        if count > 1:
            raise InputError(f"{count} pictures would be written to {target}; do them apart")


def no_pictures(inputs: Iterable[Path], suffixes: Iterable[str] = images.SUFFIXES) -> InputError:
    return InputError(f"no pictures in {', '.join(map(str, inputs))} (looked for {' '.join(suffixes)})")


def age_file(
    transformer: Transformer,
    job: Job,
    *,
    group: float | None,
    years: float | None,
    overwrite: bool = False,
    limits: Limits = LIMITS,
) -> int:
    """One picture, from file to file; without ``group`` and ``years`` a strip of all age groups.

    Args:
        limits: of the picture.

    Returns:
        The number of its faces. Without a face nothing is written.

    Raises:
        ImageError: it cannot be read or written, or the result exists.
    """
    if job.target.exists() and not overwrite:
        raise ImageError(f"{job.target}: exists already; --overwrite replaces it")
    picture = images.read(job.source, limits=limits)
    faces = transformer.detect(picture.image)
    if not faces:
        return 0
    source: images.Picture | None = picture
    if group is None and years is None:
        from .contact_sheet import timeline_strip

        result = timeline_strip(transformer, picture.image, faces)
        source = None  # a drawing, not the photograph: it gets none of its metadata
    else:
        result = transformer.age(picture.image, group=group, years=years, faces=faces)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    images.write(job.target, result, source, overwrite=overwrite)
    return len(faces)
