"""Letters to draw words with: Pillow's own font has the English ones, this machine's fonts may have others."""

from __future__ import annotations

import subprocess
import unicodedata
from functools import cache

from PIL import ImageFont, features

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_NO_LETTER = "\uffff"  # is in no font
_TIMEOUT_S = 10.0


def can_draw(words: str, language: str = "en") -> bool:
    """Whether this machine has all letters of these words."""
    return _file_with(words, language) is not None


def font_for(words: str, size: float, language: str = "en") -> Font:
    """A font for these words: Pillow's own if it has their letters, else one that fontconfig finds, else Pillow's all the same.

    Args:
        words: what is to be drawn.
        size: pixels.
        language: of the words, as in HTML: Chinese and Japanese draw some letters differently.
    """
    return _font(_file_with(words, language) or "", size)


@cache
def _file_with(words: str, language: str) -> str | None:
    """The file of a font, "" for Pillow's own; None if there is none here."""
    if any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in words) and not features.check("raqm"):
        return None  # letters would stand unjoined, and in the wrong direction
    letters = {letter for letter in words if not letter.isspace()}
    if _has("", letters):
        return ""
    pattern = f":lang={language}:scalable=true:charset={' '.join(f'{ord(letter):x}' for letter in sorted(letters))}"
    try:
        found = subprocess.run(
            ["fc-match", "-f", "%{file}", pattern], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None  # a machine without fontconfig
    return found.stdout if _has(found.stdout, letters) else None


def _has(file: str, letters: set[str]) -> bool:
    try:
        font = _font(file, 20)
    except OSError:
        return False
    nothing = _drawn(font, _NO_LETTER)
    return all(_drawn(font, letter) != nothing for letter in letters)


def _drawn(font: Font, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)


def _font(file: str, size: float) -> Font:
    return ImageFont.truetype(file, size) if file else ImageFont.load_default(size)
