"""The plugins of ``integrations/`` in the plugin managers of the programs that they are for, where those are installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

INTEGRATIONS = Path(__file__).parents[2] / "integrations"

#: After photobooth-app's import: the picture through its own pipeline.
_PHOTOBOOTH = """
import numpy as np
from PIL import Image
from skimage import data
from photobooth.appconfig import appconfig  # first, as photobooth-app does
from photobooth.plugins import pm
from photobooth.services.pluginmanager import PluginManagerService
from photobooth.services.mediaprocessing.context import ImageContext
from photobooth.services.mediaprocessing.steps.image import PluginFilterStep, PluginFilters, get_plugin_userselectable_filters

service = PluginManagerService()
assert "face_age.face_age" in service.list_plugins() and "face_age.face_age" in service.list_configurable_plugins()
service.start()
names = [name for name, _ in get_plugin_userselectable_filters()]
assert {"FaceAge.30_years", "FaceAge.50_years", "FaceAge.70_years"} <= set(names), names
portrait = Image.fromarray(data.astronaut())
for image, changes in ((portrait, True), (portrait.convert("RGBA"), True), (Image.new("RGB", (320, 240)), False)):
    context = ImageContext(image.copy(), preview=False)
    PluginFilterStep(PluginFilters["FaceAge.70_years"])(context, lambda _: None)
    assert (context.image.mode, context.image.size) == (image.mode, image.size)
    difference = np.asarray(context.image).astype(int) - np.asarray(image)
    assert bool(difference[64:200, 170:280].any()) == changes  # her face
    assert bool(difference[-40:, -200:].any()) == changes  # the mark
    assert not difference[300:460].any()
assert pm.hook.mp_filter_pipeline_step(image=portrait, plugin_filter="FilterPilgram2.aden", preview=True) is not None
service.stop()
"""

#: pibooth as its ``main`` sets it up, up to the picture.
_PIBOOTH = """
import sys
from unittest.mock import Mock
import numpy as np
from PIL import Image
from skimage import data
from pibooth.config import PiConfigParser
from pibooth.pictures import get_picture_factory
from pibooth.plugins import create_plugin_manager

manager = create_plugin_manager()
config = PiConfigParser("pibooth.cfg", manager)
manager.load_all_plugins([sys.argv[1]])
manager.hook.pibooth_configure(cfg=config)
assert [manager.get_friendly_name(one) for one in manager.list_external_plugins()] == ["face_age-0.1.0"]
portrait = Image.fromarray(data.astronaut())
captures = [portrait, Image.new("RGB", (512, 512)), portrait]

def built():
    factory = manager.hook.pibooth_setup_picture_factory(
        cfg=config, opt_index=0, factory=get_picture_factory(captures, "portrait")
    )
    return factory, factory.build()

for years in ("70", "(30, 40, 70)"):
    config.set("FACE_AGE", "years", years)
    factory, picture = built()
    first, second, third = map(np.asarray, factory._images)
    assert (first[64:200, 170:280] != data.astronaut()[64:200, 170:280]).any()
    assert not second.any()
    assert (first != third).any() == (years != "70")
    assert picture.size == (2400, 3600)
manager.hook.pibooth_cleanup(app=Mock())
"""


def run(program: str, folder: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.skipif(find_spec("photobooth") is None, reason="needs photobooth-app: pip install photobooth-app")
def test_filters_of_photobooth_app(tmp_path: Path) -> None:
    (tmp_path / "plugins").symlink_to(INTEGRATIONS / "photobooth-app")
    run(_PHOTOBOOTH, tmp_path)


@pytest.mark.skipif(find_spec("pibooth") is None, reason="needs pibooth: pip install pibooth")
def test_plugin_of_pibooth(tmp_path: Path) -> None:
    run(_PIBOOTH, tmp_path, str(INTEGRATIONS / "pibooth" / "pibooth_face_age.py"))
