"""What visitors read, in their language: one JSON file a language, ``static/strings.*.json``.

A text is a string with placeholders, ``{name}``; or, where it counts, one string for each plural form of the language, by the names
of Unicode's CLDR ("one", "few", "other", ...), among which the page chooses by the browser's ``Intl.PluralRules``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from .. import provenance
from ..errors import InputError
from ..fonts import can_draw
from ..models.description import AgeGroup

if TYPE_CHECKING:
    from PIL import Image

Text: TypeAlias = str | dict[str, str]
Texts: TypeAlias = dict[str, Text]

STATIC = Path(__file__).parent / "static"
#: All languages that there are, in the order in which they are offered.
LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "zh", "ja", "ar")
_FORMS = {"zero", "one", "two", "few", "many", "other"}
_OLDEST = 130.0


@cache
def texts_of(language: str) -> Texts:
    """The texts of a language that there is."""
    return _read(STATIC / f"strings.{language}.json")


def offered(languages: Sequence[str] = (), own: Path | None = None) -> dict[str, Texts]:
    """The texts of these languages, or of all.

    Args:
        languages: their codes, in the order in which visitors see them; by default the one of ``own`` is the first.
        own: a JSON file like ``strings.en.json`` of the operator's. It replaces texts of the language that it names, English if
            none, and may bring another language, whose other texts are English.

    Raises:
        InputError: there is no such language; the file cannot be read, is no such JSON, or has a text or a placeholder that the
            page does not know.
    """
    mine = _read(own) if own else {}
    code = str(mine.get("language", "en"))
    known = list(dict.fromkeys((*LANGUAGES, code) if own else LANGUAGES))
    for language in languages:
        if language not in known:
            raise InputError(f"languages: expected some of {', '.join(known)}, got {language!r}")
    english = texts_of("en")
    for name, text in mine.items():
        where = f"{own}: {name}"
        if name not in english:
            raise InputError(f"{where}: the page has no such text; {STATIC / 'strings.en.json'} has all that there are")
        strange = placeholders(text) - placeholders(english[name])
        if strange:
            raise InputError(f"{where}: the page has nothing to put in place of {', '.join(sorted(strange))}")
    if own and not languages:
        known.sort(key=lambda one: one != code)
    found = {one: texts_of(one) if one in LANGUAGES else english for one in (languages or known)}
    if code in found:
        found[code] = found[code] | mine
    return found


def placeholders(text: Text) -> set[str]:
    """The placeholders of a text, of all its forms."""
    forms = text.values() if isinstance(text, dict) else (text,)
    return {name for form in forms for name in re.findall(r"{(\w+)}", form)}


def plain(texts: Texts, name: str) -> str:
    """A text that has one form."""
    text = texts[name]
    return text if isinstance(text, str) else text["other"]


def marked(image: Image.Image, texts: Texts) -> Image.Image:
    """A copy of the picture with the text ``mark`` in its corner."""
    return provenance.marked(image, plain(texts, "mark"), plain(texts, "language"))


def drawable(texts: Texts) -> Texts:
    """Texts for words in pictures: these, or English ones where this machine has no font with their letters."""
    words = "".join(plain(texts, name) for name in ("mark", "original", "group_under", "group_over"))
    return texts if can_draw(words, plain(texts, "language")) else texts_of("en")


def group_label(texts: Texts, group: AgeGroup) -> str:
    """The ages of a group."""
    if group.low <= 0:
        return plain(texts, "group_under").format(years=f"{group.high:g}")
    if group.high >= _OLDEST:
        return plain(texts, "group_over").format(years=f"{group.low:g}")
    return f"{group.low:g}-{group.high - 1:g}"


def _read(path: Path) -> Texts:
    try:
        texts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a JSON file of texts like strings.en.json: {error}") from error
    if not isinstance(texts, dict) or not all(map(_is_text, texts.values())):
        raise InputError(f"{path}: expected one JSON object of texts, like strings.en.json")
    return texts


def _is_text(value: object) -> bool:
    if isinstance(value, dict):
        return "other" in value and value.keys() <= _FORMS and all(isinstance(one, str) for one in value.values())
    return isinstance(value, str)
