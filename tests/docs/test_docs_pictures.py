"""docs/pictures: few bytes, and what the bundled model makes of the astronaut today."""

from __future__ import annotations

import io

import numpy as np
from doc_blocks import ROOT, needs_checkout
from example_runs import load
from PIL import Image

SCRIPT = ROOT / "docs" / "pictures.py"

pytestmark = needs_checkout


def test_the_pictures_are_of_the_bundled_model() -> None:
    """If this fails after a change of the weights: ``python docs/pictures.py``."""
    script = load(SCRIPT)
    made = script.files()
    shown = {path for path in made if path.parent == script.FOLDER} | {script.FOLDER / script.MOVING}
    assert set(script.FOLDER.iterdir()) == shown
    assert sum(path.stat().st_size for path in script.FOLDER.iterdir()) < 1_000_000
    for path, image in made.items():
        file = io.BytesIO()
        image.save(file, **script.WEBP)
        new, kept = (np.asarray(Image.open(one).convert("RGB"), np.float64) for one in (file, path))
        assert kept.shape == new.shape, path
        assert np.abs(kept - new).mean() < 0.5, path  # another version of the encoder, or of the processor's arithmetic


def test_the_moving_picture_shows_the_ages_of_the_bundled_model_and_comes_back() -> None:
    """If this fails after a change of the weights: ``python docs/pictures.py``."""
    script = load(SCRIPT)
    clip = script.ageing()
    made = clip.frames
    with Image.open(script.FOLDER / script.MOVING) as kept:
        assert kept.n_frames == len(made) == len(clip.times_ms)
        for i in (0, len(made) // 4, len(made) // 2):
            kept.seek(i)
            found, new = (np.asarray(one.convert("RGB"), np.float64) for one in (kept, made[i]))
            assert np.abs(found - new).mean() < 3, i  # of quality 70
    youngest, oldest = made[0], made[len(made) // 2]
    assert np.abs(np.asarray(youngest, np.float64) - np.asarray(oldest)).mean() > 3
    assert made[1] is made[-1]


def test_the_interaction_is_switched_off_and_does_something() -> None:
    script = load(SCRIPT)
    subject = script.Subject()
    models = script.without_interaction(), script.open_model(script.WEIGHTS, providers=script.PROVIDERS, threads=2)
    without, with_it = (subject.paste(subject.edits(model)).astype(int) for model in models)
    assert np.abs(without - with_it).mean() > 0.1
