"""What the tests of batches share: pictures in every kind of file, and a worker for the tiny model."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import parquet_shards
import webdataset_shards
from PIL import Image

from lgin_edge import images
from lgin_edge.batch import run
from lgin_edge.batch.tasks import Task
from lgin_edge.batch.worker import Settings


def settings(model: Path, *, column: str = "image", **changes: Any) -> Settings:
    """As integrations/datasets/batch.py makes them."""
    shards = {".parquet": partial(parquet_shards.age_shard, column=column), ".tar": webdataset_shards.age_shard}
    return run.settings(model, **({"group": 4, "threads": 1, "shards": shards} | changes))


def task(source: Path, target: Path) -> Task:
    stat = source.stat()
    return Task(source.name, str(source), str(target), stat.st_size, stat.st_mtime_ns)


def encoded(picture: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()


def blank() -> bytes:
    return encoded(np.full((64, 64, 3), 90, np.uint8))


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(images.decode(data).image)


def is_older(data: bytes, original: np.ndarray) -> bool:
    """Whether the tiny model darkened the astronaut's face, and nothing below it."""
    change = decoded(data).astype(int) - original
    return bool(change.min() < -40 and (change[300:] == 0).all())


def write_tar(path: Path, files: Sequence[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(data), 1_700_000_000, 0o640
            tar.addfile(info, io.BytesIO(data))
    return path


def read_tar(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        found = {}
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            found[member.name] = file.read()
        return found


def journal(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
