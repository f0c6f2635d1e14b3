"""Train LGIN on targets from examples: ``python -m training.fit runs/first --max-minutes 60``.

Progress, checkpoints, TensorBoard scalars and sample sheets go to the run's folder; the same command again resumes where it
stopped, with the same batches that an uninterrupted run would have seen. Several GPUs or machines: put
``torchrun --nproc-per-node N`` in front (docs/training-cluster.md).
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import sys
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from . import checkpoint, data, examples, sheets
from .command import PacksOption, run_command
from .config import PRESETS, TrainConfig, override, restored
from .critics import classifier_view
from .dataset.labels import default_packs, read_packs
from .networks import LGIN
from .precision import fast_dtype
from .trainer import PHASES, Trainer, some_of

#: How often a run is saved. It takes a tenth of a second, and a GPU that is taken away has learnt much in two minutes.
SAVE_SECONDS = 30.0


def evaluate_classifier(classifier: nn.Module, faces: examples.Faces) -> dict[str, float]:
    """Accuracy of C on real faces: shares of exact groups and within one group, mean absolute error of its expected age."""
    classifier.eval()
    device = next(classifier.parameters()).device
    centers = torch.tensor([group.center for group in data.GROUPS])
    errors, distance = [], []
    with torch.no_grad():
        for start in range(0, len(faces), 32):
            age = torch.from_numpy(faces.age[start : start + 32])
            canvas = sheets.plain_batch(faces, range(start, min(start + 32, len(faces)))).canvas
            p = classifier(classifier_view(canvas.to(device))).float().exp().cpu()
            errors.append((p @ centers - age).abs())
            distance.append((p.argmax(-1) - data.age_codes(age).argmax(-1)).abs())
    off = torch.cat(distance)
    return {
        "mae_years": torch.cat(errors).mean().item(),
        "exact_group": (off == 0).float().mean().item(),
        "within_one_group": (off <= 1).float().mean().item(),
    }


def classifier_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of C from a run's folder, as ``Trainer.adopt`` takes them. Raises ValueError if it has none."""
    weights, _ = checkpoint.load(folder / checkpoint.FILE, "c.")
    if not weights:
        raise ValueError(f"{folder / checkpoint.FILE} holds no C")
    return {f"c.{key}": value for key, value in weights.items()}


class Log:
    """What a run reports: lines of ``metrics.jsonl``, TensorBoard scalars and sheets. Only the first process writes."""

    def __init__(self, folder: Path, active: bool) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.file = (folder / "metrics.jsonl").open("a") if active else None
        self.board = SummaryWriter(str(folder / "tensorboard")) if active else None

    def row(self, phase: str, step: int, values: dict[str, float]) -> None:
        if self.file is None or self.board is None:
            return
        rounded = {name: round(value, 5) for name, value in values.items()}
        self.file.write(json.dumps({"phase": phase, "step": step, **rounded}) + "\n")
        self.file.flush()
        for name, value in values.items():
            self.board.add_scalar(f"{phase}/{name}", value, step)

    def sheet(self, phase: str, step: int, net: LGIN, faces: examples.Faces, folder: Path) -> None:
        if self.board is None:
            return
        picture = sheets.write(net, faces, folder / f"{phase}-{step:06d}.jpg")
        self.board.add_image(f"{phase}/held out", picture, step, dataformats="HWC")

    def close(self) -> None:
        if self.file is not None and self.board is not None:
            self.file.close()
            self.board.close()


def keep_memory() -> None:
    """Have glibc keep freed memory: a step frees and takes back gigabytes in pieces of many megabytes, and on two cores half
    of its time went into the pages that the kernel then clears anew."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, top_pad, mmap_max = -1, -2, -4  # malloc.h
        for option, value in ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 2**28)):
            mallopt(option, value)


def settings(folder: Path, preset: str) -> TrainConfig:
    """What a run goes by: the settings of its checkpoint, or a preset's where it is new. Raises ValueError: as ``restored``."""
    saved = folder / checkpoint.FILE
    if not saved.is_file():
        return PRESETS[preset]()
    _, counters = checkpoint.load(saved, "settings alone: no tensor is called so")
    try:
        return restored(counters["config"])
    except (KeyError, ValueError) as error:
        raise ValueError(f"{saved}: {error}") from None


def make_fabric(device: str, devices: int, nodes: int) -> Fabric:
    """Fabric for ``device`` ("auto", "cpu", "cuda"); bfloat16 where the arithmetic is fast, which needs no loss scaling."""
    keep_memory()
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    fast = fast_dtype("cuda" if cuda else "cpu") is torch.bfloat16
    many = devices * nodes > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1
    # Ablations leave networks out of a step, and spectral norm writes its buffers in every forward pass.
    strategy: Any = DDPStrategy(find_unused_parameters=True, broadcast_buffers=False) if many else "auto"
    return Fabric(
        accelerator="cuda" if cuda else "cpu",
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", devices)),
        num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", nodes)),
        precision="bf16-mixed" if fast else "32-true",
        strategy=strategy,
    )


def run(
    folder: Path,
    config: TrainConfig,
    targets: Path,
    packs: list[Path],
    fabric: Fabric,
    max_minutes: float = math.inf,
    limit: int | None = None,
    sample_minutes: float = 30.0,
    init: Path | None = None,
    classifier: Path | None = None,
    compiled: bool = False,
) -> bool:
    """Train until all phases are done (True) or the time is up (False).

    Args:
        targets: what ``training.targets.build`` made of the packs.
        init: a run's folder; this one starts with the weights of all its networks.
        classifier: a run's folder; this one starts with its C alone, whatever the other networks are.
        compiled: ``torch.compile`` the generators and what their edits are compared with.
    """
    start = time.monotonic()
    if fabric.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(asdict(config), indent=2))
    fabric.barrier()
    photos = read_packs(packs)
    faces = examples.load(targets, examples.only(photos, "train"), limit, dressed=config.dressed > 0)
    if config.dressed and not faces.dressed.any() and fabric.is_global_zero:
        print(
            f"no face in {targets} is dressed; python -m training.targets.build {targets} dresses them", file=sys.stderr
        )
    held_out = examples.load(targets, examples.only(photos, "val"), limit)
    trainer = Trainer(config, faces, fabric, compiled)
    saved_at = folder / checkpoint.FILE
    if saved_at.is_file():
        trainer.resume(saved_at)
        print(f"resuming after {trainer.steps}", file=sys.stderr)
    elif init is not None:
        new = trainer.adopt(checkpoint.load(init / checkpoint.FILE)[0], init)
        if new and fabric.is_global_zero:
            print(f"{init} has no {some_of(new)} that fits: that starts anew", file=sys.stderr)
    if classifier is not None and not saved_at.is_file():
        trainer.adopt(classifier_weights(classifier), classifier)
    columns = (TextColumn("{task.description:11}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    columns += (TimeRemainingColumn(), TextColumn("{task.fields[report]}"))
    shown = Progress(*columns, disable=not fabric.is_global_zero)
    deadline = start + max_minutes * 60
    with closing(Log(folder, fabric.is_global_zero)) as log, shown as progress:
        return all(
            _run_phase(phase, trainer, held_out, folder, deadline, 60 * sample_minutes, log, progress)
            for phase in PHASES
        )


def _run_phase(
    phase: str,
    trainer: Trainer,
    held_out: examples.Faces,
    folder: Path,
    deadline: float,
    sample_seconds: float,
    log: Log,
    progress: Progress,
) -> bool:
    """One phase to its end (True) or until the time is up (False)."""
    fabric, total = trainer.fabric, getattr(trainer.config, f"{phase}_steps")
    task = progress.add_task(phase, total=total, completed=trainer.steps[phase], report="")
    config = trainer.config
    images = (config.classifier_batch if phase == "classifier" else config.batch) * fabric.world_size
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    window = saved = sampled = time.monotonic()
    since = 0
    while trainer.steps[phase] < total:
        for name, value in getattr(trainer, f"{phase}_step")().items():
            sums[name], counts[name] = sums.get(name, 0.0) + value, counts.get(name, 0) + 1
        trainer.steps[phase] += 1
        since += 1
        progress.advance(task)
        step, now = trainer.steps[phase], time.monotonic()
        last = step == total
        if since == 50 or last:
            row = {name: sums[name] / counts[name] for name in sums}
            log.row(phase, step, row | {"images_per_s": images * since / (now - window)})
            progress.update(task, report=" ".join(f"{k} {v:.4g}" for k, v in row.items()))
            sums, counts, window, since = {}, {}, now, 0
        if phase == "classifier" and last:
            log.row("C on held-out faces", step, evaluate_classifier(trainer.raw()["c"], held_out))
        if phase != "classifier" and (now - sampled > sample_seconds or last):
            log.sheet(phase, step, trainer.average, held_out, folder)
            if fabric.is_global_zero:
                log.row("held-out faces", step, trainer.losses_on(held_out))
            sampled = time.monotonic()
        # The clock of the first process decides, or the others would wait for it for ever.
        out_of_time, save_now = fabric.broadcast((now > deadline, last or now - saved > SAVE_SECONDS))
        if out_of_time or save_now:
            trainer.save(folder / checkpoint.FILE)
            saved = time.monotonic()
        if out_of_time:
            return all(trainer.steps[p] >= getattr(trainer.config, f"{p}_steps") for p in PHASES)
    return True


def main(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of this run; made if missing, resumed if it has a checkpoint.")
    ],
    preset: Annotated[
        str,
        typer.Option(
            help=f"Settings of a new run: {', '.join(PRESETS)} (training.config). A resumed one keeps its own."
        ),
    ] = "default",
    targets: Annotated[Path, typer.Option(help="What python -m training.targets.build made.")] = Path("runs/targets"),
    packs: PacksOption = None,
    max_minutes: Annotated[float, typer.Option(help="Stop (and save) after this long.")] = 1e9,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    devices: Annotated[int, typer.Option(help="Devices on this machine (torchrun sets it by itself).")] = 1,
    nodes: Annotated[int, typer.Option(help="Machines (torchrun sets it by itself).")] = 1,
    init: Annotated[
        Path | None, typer.Option(help="Start from the weights of another run's folder (not its optimisers).")
    ] = None,
    classifier: Annotated[
        Path | None,
        typer.Option(help="Start from C of another run's folder; with --set classifier_steps=0 it stays as it is."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE of training.config, e.g. weights.local=0.1")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Use only this many faces of each split (for a smoke run).")] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the steps first: two minutes, then 1.5 to 2 times as fast.")
    ] = False,
    sample_minutes: Annotated[
        float, typer.Option(help="Minutes between sheets of the same held-out faces, and their losses.")
    ] = 30.0,
) -> None:
    """Train LGIN: C on real faces where it is asked for, the generators on their targets, then the whole GAN.

    Writes config.json, metrics.jsonl, tensorboard/, checkpoint.safetensors and sample sheets (held-out faces: input and
    five ages) into the run's folder. Ctrl-C loses at most half a minute. Then: python -m training.export RUN MODEL.onnx

    Examples:

        python -m training.fit runs/smoke --preset smoke

        python -m training.fit runs/mine --data faces/ --targets runs/mine-targets --set weights.adversarial=0.1 --max-minutes 90

        torchrun --nproc-per-node 8 -m training.fit runs/mine
    """
    try:
        if preset not in PRESETS:
            raise ValueError(f"no preset {preset!r}; there are {', '.join(PRESETS)}")
        if device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"device is {device!r}; it can be auto, cpu or cuda")
        config = override(settings(folder, preset), set_ or [])
        if bool(config.weights.embedding) != bool(config.embedder):
            raise ValueError("weights.embedding and embedder (a file of torch.export.save) belong together: set both")
        if preset == "smoke" and limit is None:
            limit = 48
        fabric = make_fabric(device, devices, nodes)
        fabric.launch()
        where = packs or default_packs()
        times = (max_minutes, limit, sample_minutes)
        done = run(folder, config, targets, where, fabric, *times, init, classifier, compiled)
    except (ValueError, FileNotFoundError, FloatingPointError) as error:
        print(f"training.fit: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    if fabric.is_global_zero:
        print("finished" if done else f"time is up; the same command goes on from {folder / checkpoint.FILE}")


if __name__ == "__main__":
    run_command(main)
