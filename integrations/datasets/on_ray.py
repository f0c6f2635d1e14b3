"""Tasks spread over the workers of Ray Data: the cores of this machine, or a cluster by its address.

Ray carries the names of tasks to the workers and what came of them back; its object store never holds a picture.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import parquet_shards
import webdataset_shards

from lgin_edge._process import usable_cores
from lgin_edge.batch.tasks import Outcome, Task
from lgin_edge.batch.worker import Settings, Worker
from lgin_edge.errors import BackendError, LginError

#: Pictures that a worker takes at a time: what is done again when it dies. More where there would be too many blocks for Ray.
BLOCK, MOST_BLOCKS = 4, 10_000
#: How many workers may die of a task before it is given up.
DEATHS = 3
#: Bytes of the object store of a Ray that is started here, which holds names; Ray's least is 75 MiB.
_STORE = 100 << 20
#: What the folders of its files are called, and for how many seconds one may lie there before its owner has locked it.
_FOLDER, _FOLDER_AGE_S = "lgin-ray-", 60.0
#: For Ray in this process, and in those that it starts. It would report its use to Anyscale, warn of changes to come, and log what
#: we tell ourselves; and what it forks would now and then die inside gRPC's fork handlers, which nobody needs.
_ENVIRONMENT = {
    "GRPC_ENABLE_FORK_SUPPORT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}


#: What other machines have not got, unlike lgin-edge, and are sent.
_SENT = (__name__, parquet_shards.__name__, webdataset_shards.__name__)


class Attempts:
    """How often each task was begun and not ended, as a Ray actor: Ray itself tries the tasks of dead workers for ever."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()

    def begin(self, name: str) -> int:
        self._begun[name] += 1
        return self._begun[name]

    def end(self, name: str) -> None:
        self._begun.pop(name, None)


class RayWorker:
    """A ``Worker`` as Ray Data calls it, row by row. Errors travel as rows: Ray would wrap an exception, and try again."""

    def __init__(self, settings: Settings, attempts: Any) -> None:
        self._attempts = attempts
        self._worker: Worker | None = None
        self._error = ""
        try:
            self._worker = Worker(settings)
        except Exception as error:  # noqa: BLE001 - it is raised where the batch was started
            self._error = _told(error)

    def __call__(self, row: dict[str, Any]) -> dict[str, str]:
        import ray

        if self._worker is not None:
            task = Task(**json.loads(row["task"]))
            try:
                if ray.get(self._attempts.begin.remote(task.name)) > DEATHS:
                    why = f"{DEATHS} workers died of it (out of memory?)"
                    outcome = Outcome(task.name, 0, 0, ((task.name, why),), False, task.size, task.mtime_ns)
                else:
                    outcome = self._worker(task)
                self._attempts.end.remote(task.name)
                return {"outcome": json.dumps(asdict(outcome)), "error": ""}
            except Exception as error:  # noqa: BLE001 - as above
                self._error = _told(error)
        return {"outcome": "", "error": self._error}


def run(
    tasks: Sequence[Task], settings: Settings, *, workers: int | None = None, address: str | None = None
) -> Generator[Outcome, None, None]:
    """Do the tasks, in the order in which they are ready. Workers that die are replaced, and their tasks done again.

    Args:
        settings: ``threads`` are those of a worker, 1 when not given.
        workers: when not given, as many as there are cores for them.
        address: of a cluster ("ray://HOST:10001", "HOST:6379", "auto"); ``RAY_ADDRESS`` when not given, and without that a Ray of
            our own on this machine, which ends with the batch.

    Raises:
        BackendError: Ray is not installed, the cluster cannot be reached or lacks this lgin-edge, or a run time failed.
        ModelError, InputError: as ``Worker``.
    """
    if not tasks:
        return
    threads = settings.threads or 1
    with _session(address, (workers or max(1, usable_cores() // threads)) * threads) as (ray, by_client):
        count = min(len(tasks), workers or max(1, int(ray.cluster_resources().get("CPU", 1)) // threads))
        work = (tasks, replace(settings, threads=threads), count)
        try:
            for row in _fetched(ray, work) if by_client else _rows(*work):
                yield _outcome(row)
        except ray.exceptions.RayError as error:
            raise BackendError(
                f"Ray's workers failed (has every machine this lgin-edge and the folders?): {str(error).strip().splitlines()[-1]}"
            ) from error


def _rows(tasks: Sequence[Task], settings: Settings, workers: int) -> Iterator[dict[str, str]]:
    """What the workers send, as they end. In a process of the cluster."""
    import ray
    from ray import data

    context = data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    attempts = ray.remote(Attempts).options(num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()
    # A shard is a block of its own, and pictures are dealt so that nobody waits long for the last.
    shards = any(task.suffix in settings.shards for task in tasks)
    size = 1 if shards else max(1, min(BLOCK, len(tasks) // (4 * workers)), len(tasks) // MOST_BLOCKS)
    rows = [{"task": json.dumps(asdict(task))} for task in tasks]
    done = data.from_items(rows, override_num_blocks=-(-len(rows) // size)).map(
        RayWorker,
        fn_constructor_args=(settings, attempts),
        compute=data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1 if shards else 2),
        num_cpus=settings.threads,
        num_gpus=None if settings.device in (None, "cpu") else 1,
    )
    yield from done.iter_rows()


class Rows:
    """``_rows`` as an actor of the cluster, for Ray's client, through which Ray Data does not run (tried with 2.60)."""

    def __init__(self, *work: Any) -> None:
        self._rows = _rows(*work)

    def take(self) -> dict[str, str] | None:
        return next(self._rows, None)


def _fetched(ray: Any, work: tuple[Any, ...]) -> Iterator[dict[str, str]]:
    rows = ray.remote(Rows).options(num_cpus=0).remote(*work)
    while (row := ray.get(rows.take.remote())) is not None:
        yield row


def _outcome(row: dict[str, Any]) -> Outcome:
    """What a worker sent. Raises what it met."""
    if row["error"]:
        kind, message = json.loads(row["error"])
        raise {one.__name__: one for one in LginError.__subclasses__()}.get(kind, BackendError)(message)
    return Outcome.from_json(json.loads(row["outcome"]))


def _told(error: Exception) -> str:
    """An error as JSON: the name of its type, and what it says."""
    return json.dumps([type(error).__name__, str(error) if isinstance(error, LginError) else repr(error)])


@contextmanager
def _session(address: str | None, cpus: int) -> Iterator[tuple[Any, bool]]:
    """Ray, connected, and whether by its client; a Ray of our own has its files in a folder that goes with it.

    Raises BackendError.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    environment = dict(_ENVIRONMENT)
    if address == "local":  # nobody else's: whoever reaches a Ray without a token runs code on it
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        # Ray's switch for Windows and macOS, on every system: it listens at 127.0.0.1 alone.
        environment |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    for name, value in environment.items():
        os.environ.setdefault(name, value)  # read when Ray is imported
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise BackendError(
            f"--executor ray needs Ray, and {error.name or 'a part of it'} is not installed: pip install 'lgin-edge[ray]'"
        ) from error
    with _folder() as folder:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address == "local":
            options |= {
                "num_cpus": cpus,
                "include_dashboard": False,
                "object_store_memory": _STORE,
                "_temp_dir": folder,
            }
        try:
            ray.init(address=address, **options)
        except Exception as error:
            raise BackendError(f"Ray at {address} cannot be reached: {error}") from error
        for name in _SENT:
            ray.cloudpickle.register_pickle_by_value(sys.modules[name])
        try:
            yield ray, address.startswith("ray://")
        finally:
            ray.shutdown()


@contextmanager
def _folder() -> Iterator[str]:
    """A folder for Ray's files, which goes in the end; those of batches that were killed go now."""
    # Sockets lie in the folder, and the name of one has at most 107 bytes, 62 of them Ray's.
    near = tempfile.gettempdir() if len(os.fsencode(tempfile.gettempdir())) < 25 else "/tmp"
    for left in Path(near).glob(f"{_FOLDER}*"):
        with suppress(OSError):
            status = left.lstat()
            if status.st_uid == os.getuid() and time.time() - status.st_mtime > _FOLDER_AGE_S:
                with _locked(left):
                    shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_FOLDER, dir=near, ignore_cleanup_errors=True) as folder, _locked(folder):
        yield folder


@contextmanager
def _locked(folder: str | Path) -> Iterator[None]:
    """Hold a folder, until this process ends at the latest. Raises OSError if it is none, or held by another process."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
