"""The right command for what people give to another one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from ..files import exists

_ADDRESS = re.compile(r"\w\w+:/")
#: The age of a command that is suggested where none was asked for.
_SOME_AGE = "--years 70"


def check_pictures(inputs: Sequence[Path], group: float | None, years: float | None) -> None:
    """Look at what ``lgin-edge age`` was given before anything else of it is. Raises InputError."""
    from ..images import WRITABLE
    from ..jobs import PICTURES

    age = _age(group, years)
    for path in inputs:
        _check_picture(path, age, f": {_command('video', path)} {age}")
    *sources, last = inputs
    if not sources or exists(last) or not all(map(exists, sources)):
        return
    is_file = last.suffix.lower() in WRITABLE
    if len(sources) == 1 if is_file else last.suffix.lower() not in PICTURES:
        raise InputError(
            f"{last}: no such file or folder. To write there: {_command('age', *sources)} -o {shlex.quote(str(last))} {age}"
        )


def check_estimated(inputs: Sequence[Path]) -> None:
    """As ``check_pictures``, for ``lgin-edge estimate``."""
    for path in inputs:
        _check_picture(path, _SOME_AGE, ", and ages are estimated of pictures: save some of its frames first")


def check_animated(source: Path) -> None:
    """As ``check_pictures``, for ``lgin-edge animate``."""
    if not source.name:
        raise InputError(f"expected a picture, got the folder {str(source)!r}")
    advice = f"save a frame first. The film at an age: {_command('video', source)} {_SOME_AGE}"
    _check_picture(source, _SOME_AGE, f", and clips are made of one picture: {advice}")


def check_batch(source: Path, group: float | None, years: float | None) -> None:
    """As ``check_pictures``, for ``lgin-edge batch``."""
    from ..jobs import FILMS

    if source.suffix.lower() in FILMS and not source.is_dir():
        raise InputError(f"{source} is a film: {_command('video', source)} {_age(group, years)}")


def check_film(films: Sequence[Path], group: float | None, years: str | None) -> None:
    """As ``check_pictures``, for ``lgin-edge video``."""
    from ..jobs import PICTURES

    age = _age(group, years)
    film = films[0]
    if not film.name:
        raise InputError(f"expected a film, got the folder {str(film)!r}")
    if _ADDRESS.match(str(film)) and not exists(film):
        raise InputError(
            f"{_address(film)}: an address. To record it: lgin-edge camera {shlex.quote(_address(film))} -o FILE.mp4 {age.partition(':')[0]}"
        )
    # A GIF may be a film, and so may others; without an age nothing of it is looked at.
    if group is None and years is None and film.suffix.lower() in PICTURES - {".gif"}:
        raise InputError(f"{film} is a picture, not a film: {_command('age', film)} {age}")
    if len(films) == 2 and not exists(films[1]):
        raise InputError(
            f"{films[1]}: no such file. To write there: {_command('video', film)} -o {shlex.quote(str(films[1]))} {age}"
        )
    if len(films) > 1:
        raise InputError(f"expected one film, got {len(films)}: do them one after the other")


def _check_picture(path: Path, age: str, film: str) -> None:
    """Raises InputError for an address, and for a film, with what to say of it."""
    from ..jobs import FILMS

    if _ADDRESS.match(str(path)) and not exists(path):
        address = _address(path)
        quoted = shlex.quote(address)
        raise InputError(
            f"{address}: an address. Fetch a picture first: curl -O {quoted}; a stream is shown by: lgin-edge camera {quoted} {age}"
        )
    if path.suffix.lower() in FILMS:
        raise InputError(f"{path} is a film{film}")


def _address(path: Path) -> str:
    """An address as it was typed: a path has lost a slash of it."""
    return str(path).replace(":/", "://", 1)


def _command(name: str, *paths: Path) -> str:
    return shlex.join(["lgin-edge", name, *map(str, paths)])


def _age(group: float | None, years: float | str | None) -> str:
    return (
        f"--years {years if isinstance(years, str) else f'{years:g}'}"
        if years is not None
        else f"--group {group:g}"
        if group is not None
        else _SOME_AGE
    )
