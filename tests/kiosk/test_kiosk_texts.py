"""The page's files and its texts in every language."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from lgin_edge import InputError, fonts
from lgin_edge.kiosk.protocol import Close
from lgin_edge.kiosk.settings import Settings
from lgin_edge.kiosk.texts import (
    LANGUAGES,
    STATIC,
    drawable,
    group_label,
    marked,
    offered,
    placeholders,
    plain,
    texts_of,
)
from lgin_edge.models.description import AgeGroup

ENGLISH = texts_of("en")
#: Texts that are the same in every language.
_SAME = {"brand"}


def test_the_page_needs_nothing_from_elsewhere() -> None:
    for path in STATIC.iterdir():
        if path.suffix in (".html", ".css", ".js", ".svg"):
            addresses = set(re.findall(r"https?://[^\s\"'`)]+", path.read_text("utf-8")))
            assert addresses <= {"http://www.w3.org/2000/svg"}, path
    for path in STATIC.glob("*.html"):
        assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?![^>]*src=)", path.read_text("utf-8"))


def test_all_texts_are_used_and_there() -> None:
    sources = "\n".join(path.read_text("utf-8") for path in STATIC.iterdir() if path.suffix in (".html", ".js"))
    named = set(re.findall(r'data-(?:text|label|alt)="(\w+)"|\btext\("(\w+)"|setStatus\("(\w+)"', sources))
    assert {name for group in named for name in group if name} <= ENGLISH.keys()
    made = re.compile(
        "trouble_|problem_|(still|strip|clip)_title|(mark|original|group_under|group_over)$|full|reconnecting"
    )
    assert [name for name in ENGLISH if not re.search(rf'["`.]{name}\b', sources) and not made.match(name)] == []


def test_the_page_knows_why_it_has_no_place() -> None:
    codes = re.findall(r'(\d{4}): "(\w+)"', (STATIC / "connection.js").read_text("utf-8"))
    assert codes == [(str(Close.FULL.value), "full"), (str(Close.ADDRESS_FULL.value), "full_address")]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_every_text(language: str) -> None:
    texts = texts_of(language)
    assert plain(texts, "language") == language
    assert list(texts) == list(ENGLISH)
    for name, text in texts.items():
        assert plain(texts, name).strip() == plain(texts, name) != "", name
        assert placeholders(plain(texts, name)) == placeholders(plain(ENGLISH, name)), name
        assert placeholders(text) == placeholders(ENGLISH[name]), name
        assert not re.search(r" [:;?!»]|« ", plain(texts, name)), f"{name}: a line could end there"
    if language != "en":
        same = {name for name, text in texts.items() if text == ENGLISH[name]} - _SAME - {"direction"}
        assert len(same) <= 1, same  # a word may be the same by chance


def test_texts_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text('{"language": "nl", "begin": "Raak aan"}', "utf-8")
    own = offered((), path)
    assert list(own) == ["nl", *LANGUAGES]
    assert (own["nl"]["begin"], own["nl"]["finish"]) == ("Raak aan", "Finish")
    path.write_text('{"language": "de", "begin": "Los!"}', "utf-8")
    own = offered(("fr", "de"), path)
    assert [(one, own[one]["begin"]) for one in own] == [("fr", "Touchez pour commencer"), ("de", "Los!")]
    assert own["de"]["finish"] == "Beenden"
    for wrong, message in (
        ('{"begun": "x"}', "begun: the page has no such text"),
        ('{"after": "{years} {name}"}', "after: the page has nothing to put in place of name"),
        ('{"years": {"one": "year"}}', "one JSON object of texts"),
        ("[", "expected a JSON file"),
        ("[]", "one JSON obj"),
    ):
        path.write_text(wrong)
        with pytest.raises(InputError, match=message):
            offered((), path)
    with pytest.raises(InputError, match="No such file"):
        offered((), tmp_path / "none.json")
    with pytest.raises(InputError, match=r"expected some of en, de.*got 'xx'"):
        offered(("de", "xx"))


def test_a_language_that_is_not_offered() -> None:
    assert plain(Settings().texts("xx"), "language") == "en"
    settings = Settings(languages=offered(("fr", "de")))
    assert plain(settings.texts("en"), "language") == "fr"
    assert plain(settings.texts("de"), "language") == "de"


def test_ages_of_a_group() -> None:
    groups = AgeGroup("young", 0, 25, 20), AgeGroup("", 25, 35, 30), AgeGroup("old", 75, 130, 80)
    assert [group_label(ENGLISH, one) for one in groups] == ["under 25", "25-34", "75 and over"]
    assert [group_label(texts_of("ja"), one) for one in groups] == ["25歳未満", "25-34", "75歳以上"]


def test_words_in_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.new("RGB", (640, 480))
    english = marked(picture, ENGLISH)
    assert english.getbbox() is not None
    assert marked(picture, ENGLISH | {"mark": ""}) is picture
    for language in LANGUAGES:
        texts = texts_of(language)
        shown = drawable(texts)
        assert shown in (texts, ENGLISH)
        assert (marked(picture, shown) == english) == (shown is ENGLISH)
    # A machine without other fonts than Pillow's, which has no letter with an accent.
    fonts._file_with.cache_clear()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError("fc-match")))
    try:
        assert drawable(texts_of("de")) is ENGLISH
        assert drawable(texts_of("ja")) is ENGLISH
        assert drawable(ENGLISH) is ENGLISH
    finally:
        fonts._file_with.cache_clear()


def test_every_file_is_offered() -> None:
    files = {path.name for path in STATIC.glob("strings.*.json")}
    assert files == {f"strings.{language}.json" for language in LANGUAGES}
    assert all(json.loads((STATIC / file).read_text("utf-8")) for file in files)
