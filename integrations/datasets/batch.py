"""``lgin-edge batch`` for data sets: Parquet files and WebDataset shards too, on this process or on the workers of Ray (docs/batch.md).

python integrations/datasets/batch.py shards/ older/ --years 70
python integrations/datasets/batch.py shards/ older/ --years 70 --executor ray
python integrations/datasets/batch.py /shared/photos /shared/older --years 70 --executor ray --address ray://head:10001
"""

from __future__ import annotations

import sys
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lgin_edge.cli import options
from lgin_edge.cli.batch import OutArgument, OverwriteOption, run_and_tell
from lgin_edge.cli.options import EXIT_CODES, Command

sys.path.append(str(Path(__file__).parent))

import on_ray
import parquet_shards
import webdataset_shards

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)


class ExecutorName(str, Enum):
    """Who does the work."""

    local = "local"
    ray = "ray"


@app.command(cls=Command, epilog=EXIT_CODES)
def main(
    source: Annotated[
        Path,
        typer.Argument(metavar="SRC", help="A folder of pictures, Parquet files and WebDataset shards (.tar), or one."),
    ],
    out: OutArgument,
    group: options.GroupOption = None,
    years: options.YearsOption = None,
    executor: Annotated[
        ExecutorName,
        typer.Option(help="local: this process; ray: the cores of this machine, or a cluster.", metavar="local|ray"),
    ] = ExecutorName.local,
    address: Annotated[
        str | None,
        typer.Option(
            help="For ray: a cluster, like ray://HOST:10001 or HOST:6379. Default: RAY_ADDRESS, or this machine.",
            metavar="ADDRESS",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="For ray: processes. Default: one for each core.", metavar="N")
    ] = None,
    column: Annotated[
        str, typer.Option(help="Of Parquet files: the column of the pictures.", metavar="NAME")
    ] = "image",
    mark: options.MarkOption = False,
    model: options.ModelOption = None,
    device: options.DeviceOption = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="CPU threads of a worker. Default: all cores; for ray 1.", metavar="N"),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Make the faces of many pictures younger or older; the same command again does what is missing.

    DST has a result for each picture with a face; DST/failures.csv lists the others, with the reason. Shards keep their other
    columns and files. Ray and Parquet files need: pip install 'lgin-edge\\[ray]'
    """
    local = executor is ExecutorName.local
    if local and (address or workers):
        raise typer.BadParameter("--address and --workers belong to --executor ray")
    run_and_tell(
        source,
        out,
        group,
        years,
        mark,
        model,
        device,
        threads,
        overwrite,
        shards={
            ".parquet": partial(parquet_shards.age_shard, column=column),
            ".tar": webdataset_shards.age_shard,
        },
        executor=None if local else partial(on_ray.run, workers=workers, address=address),
        question={"column": column},
    )


if __name__ == "__main__":
    app()
