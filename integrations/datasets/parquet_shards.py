"""Parquet files with a column of picture files: their bytes, or a struct with a field ``bytes`` as Hugging Face writes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgin_edge.batch.tasks import NO_FACE, Outcome
from lgin_edge.errors import BackendError, ImageError, InputError
from lgin_edge.files import atomic_write

if TYPE_CHECKING:
    from lgin_edge.batch.worker import Age

#: Rows that are in memory at once, and bytes of their pictures.
ROWS, _BATCH_BYTES = 64, 256_000_000
#: Rows of a file: a few bytes can say that there are billions of rows without a picture.
_MAX_ROWS = 1_000_000


def age_shard(name: str, source: Path, target: Path, age: Age, column: str = "image") -> Outcome:
    """A file with the rows whose picture has a face, that picture changed, all other columns and the schema as they were.

    Args:
        name: of the task.
        target: is replaced; without any such row nothing is written.

    Raises:
        ImageError: no Parquet file, damaged, or without such a column.
        BackendError: pyarrow is not installed.
        OSError: the target cannot be written.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise BackendError(
            "Parquet files need pyarrow, which is not installed: pip install 'lgin-edge[ray]'"
        ) from error
    aged = faces = row = 0
    left_out: list[tuple[str, str]] = []
    try:
        with parquet.ParquetFile(source) as old, atomic_write(target) as partial:
            if old.metadata.num_rows > _MAX_ROWS:
                raise ImageError(f"{source}: {old.metadata.num_rows:,} rows; a file has at most {_MAX_ROWS:,}")
            schema = old.schema_arrow
            where = _column(source, schema, column)
            with parquet.ParquetWriter(partial, schema) as new:
                for batch in old.iter_batches(batch_size=_rows_at_once(old.metadata)):
                    kept, results = [], []
                    for i, data in enumerate(_bytes(batch.column(where))):
                        try:
                            result = None if data is None else age(data, f"{name}#{row + i}")
                            reason = "no picture in this row" if data is None else NO_FACE
                        except (ImageError, InputError) as error:
                            result, reason = None, str(error)
                        if result is None:
                            left_out.append((f"{name}#{row + i}", reason))
                        else:
                            kept.append(i)
                            results.append(result.data)
                            faces += result.faces
                    row, aged = row + batch.num_rows, aged + len(kept)
                    if kept:
                        rows = batch.take(pyarrow.array(kept))
                        new.write_batch(
                            rows.set_column(where, schema.field(where), _replaced(rows.column(where), results))
                        )
            if not aged:
                partial.unlink()
    except pyarrow.ArrowException as error:
        raise ImageError(f"{source}: not a whole Parquet file: {str(error).splitlines()[0]}") from error
    return Outcome(name, aged, faces, tuple(left_out), complete=True)


def _rows_at_once(metadata: Any) -> int:
    """Rows that fit into memory together, by the sizes that the file tells."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    largest = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=0.0)
    return max(1, min(ROWS, int(_BATCH_BYTES / max(1.0, largest))))


def _column(source: Path, schema: Any, column: str) -> int:
    """Index of the pictures' column. Raises ImageError."""
    from pyarrow import types

    where: int = schema.get_field_index(column)
    if (count := schema.names.count(column)) > 1:
        raise ImageError(f"{source}: {count} columns are called {column!r}: rename all but one")
    if where < 0:
        raise ImageError(
            f"{source}: no column {column!r}; there are {', '.join(schema.names)}: choose one with --column"
        )
    kind = schema.field(where).type
    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not (types.is_binary(kind) or types.is_large_binary(kind)):
        raise ImageError(
            f"{source}: column {column!r} is {kind}; expected binary, or a struct with a binary field 'bytes'"
        )
    return where


def _bytes(array: Any) -> list[bytes | None]:
    from pyarrow import types

    values = [value.as_py() for value in array]
    if types.is_struct(array.type):
        return [None if value is None else value["bytes"] for value in values]
    return values


def _replaced(array: Any, data: list[bytes]) -> Any:
    """A column with other picture files in it."""
    import pyarrow

    if not pyarrow.types.is_struct(array.type):
        return pyarrow.array(data, type=array.type)
    rows = [value.as_py() | {"bytes": one} for value, one in zip(array, data, strict=True)]
    return pyarrow.array(rows, type=array.type)
