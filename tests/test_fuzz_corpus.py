"""The fuzz targets (``tests/fuzz``) without a fuzzer: the kept corpus, and what hypothesis makes of them.

``tests/fuzz/campaign.py`` makes the corpus; targets in C++ are compiled here with the sanitizers of the compiler at hand.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import models
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parent / "fuzz"))
import campaign
import seeds
import targets

EXAMPLES = int(os.environ.get("LGIN_TEST_EXAMPLES", "25"))
few = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
#: A whole model and a whole description, for hypothesis to spoil.
MODEL = models.build().SerializeToString()
ABOUT = json.loads(models.describe().to_json())


def test_all_targets_have_a_corpus() -> None:
    assert campaign.python_targets() == list(targets.TARGETS)
    for name in (*campaign.NATIVE, *targets.TARGETS):
        assert len(campaign.committed(name)) >= 5, f"python tests/fuzz/campaign.py {name} --minimise"
    assert sum(path.stat().st_size for path in campaign.CORPUS.iterdir()) < 1_000_000


@pytest.mark.parametrize("name", targets.TARGETS)
def test_the_corpus_finds_nothing(name: str) -> None:
    for file, data in campaign.committed(name):
        finds_nothing(name, file, data)
    assert targets.REACHED["native"] or name != "native", "no plan was made: are the arguments those of the binding?"


def finds_nothing(name: str, file: str, data: bytes) -> None:
    try:
        targets.TARGETS[name](data)
    except BaseException as error:
        raise AssertionError(f"{name}: {file} in the corpus: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("name", targets.TARGETS)
def test_seeds_find_nothing(name: str) -> None:
    for seed in seeds.seeds(name):
        targets.TARGETS[name](seed)


@pytest.mark.parametrize("name", targets.TARGETS)
@few
@given(data=st.binary(max_size=600))
def test_any_bytes(name: str, data: bytes) -> None:
    targets.TARGETS[name](data)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.just(10**400)
    | st.just("\x1b[2J"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(few, max_examples=8 * EXAMPLES)
@given(changes=st.dictionaries(st.sampled_from([*ABOUT, "engine", "surprise"]), JSON, min_size=1, max_size=2))
def test_spoilt_descriptions(changes: dict[str, Any]) -> None:
    targets.TARGETS["description"](json.dumps(ABOUT | changes).encode("utf-8", "surrogatepass"))


@settings(few, max_examples=8 * EXAMPLES)
@given(field=st.sampled_from(["label", "low", "high", "center"]), value=JSON, which=st.integers(0, 4))
def test_spoilt_groups(field: str, value: Any, which: int) -> None:
    groups = [group | {field: value} if i == which else group for i, group in enumerate(ABOUT["groups"])]
    targets.TARGETS["description"](json.dumps(ABOUT | {"groups": groups}).encode("utf-8", "surrogatepass"))


@settings(few, max_examples=8 * EXAMPLES)
@given(st.data())
def test_spoilt_models(data: st.DataObject) -> None:
    spoilt = bytearray(MODEL)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(spoilt) - 1))
        spoilt[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    targets.TARGETS["model"](bytes(spoilt))


def test_counts_add_up(tmp_path: Path) -> None:
    path = tmp_path / "fuzz.json"
    counted = {
        "executions": 10,
        "seconds": 1.5,
        "cpu_seconds": 1.0,
        "finds": 1,
        "edges": 7,
        "features": 9,
        "corpus_files": 3,
    }
    campaign.write_down(path, "image", counted, "clang++")
    campaign.write_down(path, "image", counted | {"finds": 0, "edges": 8}, "clang++")
    campaign.write_down(path, "plan", counted, "clang++")
    found = json.loads(path.read_text())
    image, plan = found["targets"]
    assert (image["name"], image["executions"], image["seconds"], image["finds"], image["edges"]) == (
        "image",
        20,
        3.0,
        1,
        8,
    )
    assert (plan["name"], found["total"]["executions"], found["total"]["finds"]) == ("plan", 30, 2)


def test_the_replay_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets.images, "decode", lambda *_, **__: 1 / 0)
    with pytest.raises(AssertionError, match=r"image: .* in the corpus: ZeroDivisionError"):
        test_the_corpus_finds_nothing("image")


@pytest.mark.skipif(
    shutil.which("c++") is None or not (campaign.ROOT / "csrc").is_dir(), reason="needs a checkout and a C++ compiler"
)
def test_the_corpus_of_the_kernels(tmp_path: Path) -> None:
    programs = campaign.build_native(
        ["c++", "-O0"], campaign.NATIVE, str(campaign.HERE / "native_replay.cpp"), tmp_path
    )
    for name, program in zip(campaign.NATIVE, programs, strict=True):
        inputs = campaign.committed(name)
        for file, data in inputs:
            (tmp_path / f"{name}-{file}").write_bytes(data)
        done = subprocess.run(
            [str(program), *(str(tmp_path / f"{name}-{file}") for file, _ in inputs)],
            env=os.environ | {"ASAN_OPTIONS": "detect_leaks=0"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        counted = re.fullmatch(r"(\d+) inputs, (\d+) plans\n", done.stdout)
        assert counted is not None
        assert int(counted[1]) == len(inputs)
        assert int(counted[2]) >= 10, "inputs are refused before they reach a kernel"
