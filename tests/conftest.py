"""What the tests share: real photographs, a tiny model, and the rules for tests that need a GPU."""

from __future__ import annotations

import csv
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
import numpy as np
import numpy.typing as npt
import pytest
from support import portraits as made_up_portraits

import lgin_edge
from lgin_edge import kernels, transformer

if TYPE_CHECKING:
    from support.films import Shot

# Tests run in parallel, a process a core: threads inside PyTorch would only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What is run from a checkout and is in no wheel; appended, so that the installed lgin_edge stays the one that is tested.
ROOT = Path(__file__).parent.parent
sys.path += [str(ROOT), str(ROOT / "integrations" / "datasets")]


def pytest_runtest_setup(item: pytest.Item) -> None:
    real = item.get_closest_marker("gpu") is not None
    if not real and item.get_closest_marker("cuda") is None:
        return
    if real and kernels.cuda_is_host():
        pytest.skip("needs a GPU, and the CUDA kernels of this build run on the host")
    if not kernels.cuda_device_count():
        reason = "needs a CUDA build of lgin-edge and a GPU"
        if os.environ.get("LGIN_REQUIRE_CUDA") == "1":
            pytest.fail(f"{reason}, and LGIN_REQUIRE_CUDA=1")
        pytest.skip(reason)


def pytest_collection_finish() -> None:
    """What was imported by now stays, and no later garbage collection looks through it again: that took a second each time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Neighbours run in one process, which makes what they share once; a process that is done takes over half of another's."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getvalue("dist") == "load" else None


@pytest.fixture(scope="session")
def astronaut() -> npt.NDArray[np.uint8]:
    """scikit-image's portrait of Eileen Collins, [512, 512, 3] RGB, read-only."""
    from skimage import data

    image: npt.NDArray[np.uint8] = data.astronaut()
    image.flags.writeable = False
    return image


@pytest.fixture(scope="session")
def noise() -> npt.NDArray[np.uint8]:
    """[160, 200, 3], without a face, read-only."""
    image = np.random.default_rng(1).integers(60, 190, (160, 200, 3), dtype=np.uint8)
    image.flags.writeable = False
    return image


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file that shifts the brightness of the face by group (``models.SHIFTS``)."""
    return models.save(tmp_path_factory.mktemp("models") / "tiny.onnx")


@pytest.fixture(scope="session")
def tiny_age_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An age model for which brighter is older (``models.SLOPES``)."""
    return models.save_age(tmp_path_factory.mktemp("models") / "tiny-age.onnx")


@pytest.fixture(scope="session")
def tiny(tiny_model: Path, tiny_age_model: Path) -> Iterator[lgin_edge.Transformer]:
    with lgin_edge.Transformer(tiny_model, age_model=tiny_age_model, threads=2) as t:
        yield t


@pytest.fixture(scope="session")
def bundled() -> Iterator[lgin_edge.Transformer]:
    """The transformer with the bundled weights."""
    if not transformer.WEIGHTS.is_file():
        pytest.skip(f"no bundled weights at {transformer.WEIGHTS}: python -m training.export writes them")
    with lgin_edge.Transformer(threads=2) as t:
        yield t


@pytest.fixture(scope="session")
def shot(astronaut: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """A frame for the examples, and the landmarks of its face."""
    from example_runs import grey_still

    return grey_still(astronaut)


@pytest.fixture(scope="session")
def movie(
    tmp_path_factory: pytest.TempPathFactory, shot: tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]
) -> Path:
    """A film of ten seconds in which nothing moves."""
    from example_runs import write_film

    return write_film(tmp_path_factory.mktemp("film") / "film.mkv", shot[0], 300)


@pytest.fixture(scope="module")
def walk(astronaut: npt.NDArray[np.uint8]) -> list[Shot]:
    """The astronaut, who moves about in 40 frames."""
    from support.streams import darkened

    return darkened(astronaut, 40)


@pytest.fixture(scope="module")
def shots(astronaut: npt.NDArray[np.uint8]) -> list[Shot]:
    """The same in 30 frames, as long as the films of ``movies``."""
    from support.streams import darkened

    return darkened(astronaut, 30)


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    """At the end of a test all threads of streams are gone."""
    from support.streams import our_threads, wait_for

    yield
    if our_threads():  # of a stream that only the garbage collector finds
        gc.collect()
    wait_for(lambda: not our_threads())


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of faces, made up."""
    return made_up_portraits.make_up(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="session")
def targets(made_up: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``training.targets.build`` makes of the made-up pack."""
    return made_up_portraits.make_targets(made_up, tmp_path_factory.mktemp("targets"))


@pytest.fixture(scope="session")
def portraits() -> list[tuple[Path, npt.NDArray[np.float64]]]:
    """Files and labelled landmarks [5, 2] of the aligned portraits' test split."""
    default = Path(__file__).parent.parent.parent / "shared" / "portraits"
    folder = Path(os.environ.get("LGIN_PORTRAITS", default))
    if not (folder / "labels.csv").is_file():
        pytest.skip(f"no aligned portraits at {folder}; LGIN_PORTRAITS names their folder")
    names = ("leye", "reye", "nose", "lmouth", "rmouth")
    with (folder / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    return [
        (folder / row["file"], np.array([[float(row[f"{name}_x"]), float(row[f"{name}_y"])] for name in names]))
        for row in rows
    ]


@pytest.fixture(scope="session")
def subprocess_env() -> dict[str, str]:
    """Environment in which a fresh interpreter imports the package that is being tested, wherever it is started."""
    package = str(Path(lgin_edge.__file__).parent.parent)
    return os.environ | {"PYTHONPATH": package, "PYTHONWARNINGS": "error", "COLUMNS": "120"}
