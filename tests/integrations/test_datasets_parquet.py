"""Parquet files: the column of pictures changes, everything else stays."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import parquet_shards
import pytest
from support.batches import blank, encoded, is_older, settings, task

from lgin_edge import BackendError
from lgin_edge.batch.worker import Worker

pa: Any = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow: pip install 'lgin-edge[ray]'")
pq: Any = pytest.importorskip("pyarrow.parquet")


def age(model: Path, source: Path, target: Path, **changes: Any) -> Any:
    with Worker(settings(model, **changes)) as worker:
        return worker(task(source, target))


@pytest.mark.parametrize("kind", ["binary", "large binary", "struct"])
def test_a_file(
    tmp_path: Path, tiny_model: Path, astronaut: np.ndarray, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_shards, "ROWS", 2)  # so that there are several batches
    pictures: list[Any] = [encoded(astronaut), blank(), None, b"I am not a picture", encoded(astronaut)]
    types = {"binary": pa.binary(), "large binary": pa.large_binary()}
    if kind == "struct":
        pictures = [None if data is None else {"bytes": data, "path": f"{i}.png"} for i, data in enumerate(pictures)]
        types["struct"] = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema(
        [
            pa.field("id", pa.int32(), nullable=False),
            pa.field("image", types[kind], metadata={"a": "b"}),
            ("tags", pa.list_(pa.string())),
        ],
        metadata={"huggingface": "{}"},
    )
    source, target = tmp_path / "a.parquet", tmp_path / "out" / "a.parquet"
    tags = [["x"], [], None, ["y"], ["z", None]]
    pq.write_table(pa.table({"id": range(5), "image": pictures, "tags": tags}, schema=schema), source)
    outcome = age(tiny_model, source, target)
    assert (outcome.aged, outcome.faces, outcome.complete) == (2, 2, True)
    reasons = dict(outcome.left_out)
    assert list(reasons) == ["a.parquet#1", "a.parquet#2", "a.parquet#3"]
    assert reasons["a.parquet#1"] == "no face"
    assert reasons["a.parquet#2"] == "no picture in this row"
    assert "a.parquet#3: not an image" in reasons["a.parquet#3"]
    table = pq.read_table(target)
    assert table.schema.equals(pq.read_table(source).schema, check_metadata=True)
    assert table["id"].to_pylist() == [0, 4]
    assert table["tags"].to_pylist() == [["x"], ["z", None]]
    for i, value in zip((0, 4), table["image"].to_pylist(), strict=True):
        if kind == "struct":
            assert value["path"] == f"{i}.png"
            value = value["bytes"]
        assert is_older(value, astronaut)
    assert [one.name for one in target.parent.iterdir()] == ["a.parquet"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"photo": [b"x"]}, "no column 'image'; there are photo: choose one with --column"),
        ({"image": ["a.jpg"]}, "column 'image' is string; expected binary"),
        ({"image": [{"path": "a.jpg"}]}, "expected binary, or a struct with a binary field 'bytes'"),
        (pa.table([[b"x"], [b"y"]], ["image", "image"]), "2 columns are called 'image'"),
    ],
)
def test_columns_that_hold_no_pictures(tmp_path: Path, tiny_model: Path, columns: Any, message: str) -> None:
    source = tmp_path / "a.parquet"
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), source)
    outcome = age(tiny_model, source, tmp_path / "b.parquet")
    assert not outcome.complete
    assert message in outcome.left_out[0][1]
    assert not (tmp_path / "b.parquet").exists()


def test_another_column(tmp_path: Path, tiny_model: Path, astronaut: np.ndarray) -> None:
    source = tmp_path / "a.parquet"
    pq.write_table(pa.table({"photo": [encoded(astronaut)], "image": ["old"]}), source)
    assert age(tiny_model, source, tmp_path / "b.parquet", column="photo").aged == 1
    assert pq.read_table(tmp_path / "b.parquet")["image"].to_pylist() == ["old"]


@pytest.mark.parametrize("damage", ["text", "cut", "length", "empty"])
def test_damaged_files_are_to_be_tried_again(
    tmp_path: Path, tiny_model: Path, astronaut: np.ndarray, damage: str
) -> None:
    source = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": [encoded(astronaut)]}), source)
    whole = source.read_bytes()
    length = whole[:-8] + b"\xff\xff\xff\x7f" + whole[-4:]  # of the footer, which would begin before the file
    source.write_bytes({"text": b"not Parquet" * 9, "cut": whole[:-100], "length": length, "empty": b""}[damage])
    outcome = age(tiny_model, source, tmp_path / "b.parquet")
    assert not outcome.complete
    assert str(source) in outcome.left_out[0][1]
    assert [one.name for one in tmp_path.iterdir()] == ["a.parquet"]


def test_without_pyarrow(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BackendError, match=r"pip install 'lgin-edge\[ray\]'"):
        age(tiny_model, tmp_path / "a.parquet", tmp_path / "b.parquet")


def test_rows_beyond_number_are_refused(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kilobytes can hold millions of rows without a picture."""
    monkeypatch.setattr(parquet_shards, "_MAX_ROWS", 1000)
    source = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": pa.nulls(1001, pa.binary())}), source)
    outcome = age(tiny_model, source, tmp_path / "b.parquet")
    assert not outcome.complete
    assert "1,001 rows; a file has at most 1,000" in outcome.left_out[0][1]


def test_large_rows_are_read_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_shards, "_BATCH_BYTES", 110_000)
    source = tmp_path / "a.parquet"
    pictures = [bytes([i]) * 40_000 for i in range(8)]
    pq.write_table(pa.table({"image": pictures}), source, use_dictionary=False)
    with pq.ParquetFile(source) as file:
        assert parquet_shards._rows_at_once(file.metadata) == 2
