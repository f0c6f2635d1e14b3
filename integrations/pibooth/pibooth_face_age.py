"""A plugin for pibooth that makes everyone in its pictures younger or older. README.md in the folder above says how to use it."""

from __future__ import annotations

from functools import cache
from typing import Any

import pibooth
from PIL import Image

from lgin_edge import Transformer, provenance

__version__ = "0.1.0"
_SECTION = "FACE_AGE"

_transformer = cache(Transformer)  # made with the first picture


@pibooth.hookimpl
def pibooth_configure(cfg: Any) -> None:
    """Declare the options."""
    cfg.add_option(_SECTION, "years", 70, "Age in years; or one for each capture: (20, 40, 60, 80)")
    cfg.add_option(_SECTION, "mark", provenance.MARK, "Words in the corner of a changed capture; empty: none")


@pibooth.hookimpl
def pibooth_setup_picture_factory(cfg: Any, factory: Any) -> Any:
    """A factory like the given one, of changed captures. pibooth stores the captures themselves as they are."""
    captures = factory._images
    years = cfg.gettuple(_SECTION, "years", int, extend=len(captures))
    mark = cfg.get(_SECTION, "mark").strip('"')
    changed = [_aged(image, age, mark) for image, age in zip(captures, years, strict=False)]
    return type(factory)(factory.width, factory.height, *changed)


@pibooth.hookimpl
def pibooth_cleanup() -> None:
    """With pibooth."""
    if _transformer.cache_info().currsize:
        _transformer().close()
        _transformer.cache_clear()


def _aged(image: Image.Image, years: int, mark: str) -> Image.Image:
    faces = _transformer().detect(image)
    older = _transformer().age(image, years=years, faces=faces)
    return provenance.marked(older, mark) if faces else older
