"""Train LGIN on aligned portraits: ``python -m training.fit --run runs/first --max-minutes 60``.

Progress, checkpoints and sample sheets go to the run's folder; the same command again resumes where it stopped.
"""

from __future__ import annotations

import copy
import json
import math
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from . import data, losses, prototypes, sheets
from .canonical import compose
from .config import TrainConfig, override
from .networks import LGIN, AgeClassifier, Discriminator

PHASES = ("classifier", "warm", "adversarial")


class Trainer:
    """The networks, their optimisers and one step of each phase."""

    def __init__(
        self, config: TrainConfig, faces: data.Faces, fitted: prototypes.Prototypes, device: torch.device
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device = config, device
        self.faces, self.fitted = faces.to(device), fitted.to(device)
        self.generator = torch.Generator().manual_seed(config.seed)
        k = config.network.groups
        self.net = LGIN(config.network).to(device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.net).eval().requires_grad_(False)
        self.d = Discriminator(k).to(device, memory_format=torch.channels_last)
        self.c = AgeClassifier(k).to(device, memory_format=torch.channels_last)
        self.optimisers = {
            "net": torch.optim.AdamW(self.net.parameters(), config.lr, betas=(0.9, 0.99), weight_decay=1e-4),
            "d": torch.optim.Adam(self.d.parameters(), config.critic_lr, betas=(0.0, 0.99)),
            "c": torch.optim.AdamW(self.c.parameters(), 1e-3, weight_decay=0.02),
        }
        self.steps = dict.fromkeys(PHASES, 0)
        # bfloat16 keeps float32's range, so no loss scaling. On CPUs it pays only with AVX512-BF16 or AMX instructions.
        fast = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
        self.autocast = (lambda: torch.autocast(device.type, torch.bfloat16)) if fast else nullcontext

    def batch(self) -> tuple[Tensor, Tensor, data.Views, Tensor]:
        """One augmented batch: present age [N], wanted age [N], views of the frames, and the prototype residual on the canvas."""
        g, n = self.generator, self.config.batch
        index = torch.randint(len(self.faces), (n,), generator=g).to(self.device)
        x = data.to_float(self.faces.pixels[index])
        landmarks = self.faces.landmarks[index] * data.CANVAS
        low, high = data.GROUPS[0].center, data.GROUPS[-1].center
        present = self.faces.age[index]
        wanted = low + (high - low) * torch.rand(n, generator=g).to(self.device)
        if torch.rand((), generator=g) < 0.5:
            x, landmarks = data.mirror(x, landmarks)
        with torch.no_grad():
            c = self.config
            change = self.fitted.residual(x, wanted - present.clamp(low, high), c.colour, c.lines, c.texture)
            pair = data.photometric(torch.cat([x, x + change], 1), g)
            x, change = pair[:, :3], pair[:, 3:] - pair[:, :3]
            frames = torch.cat([data.degrade(x, g), change], 1)
            affines = data.jittered_affines(n, g).to(self.device)
            return present, wanted, data.cut_views(frames, affines, landmarks), affines

    def critic_view(self, canvas: Tensor) -> Tensor:
        """What D and C look at: the canvas at half its side."""
        return nn.functional.avg_pool2d(canvas, 2)

    def classifier_step(self) -> dict[str, float]:
        present, _, views, _ = self.batch()
        self._rate("c", 1e-3, "classifier", self.config.classifier_steps)
        self.c.train()
        with self.autocast():
            loss = losses.classification(self.c(self.critic_view(views.canvas[:, :3])), data.age_codes(present))
        self._update("c", loss)
        return {"L_c(real)": loss.item()}

    def transform(self, views: data.Views, wanted: Tensor) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
        """``T``: composed residual on the canvas, the residuals it was made of, and the age code."""
        code = data.age_codes(wanted)
        with self.autocast():
            face = views.face.contiguous(memory_format=torch.channels_last)
            face_delta, patch_delta, coarse = self.net(face, views.patches, views.boxes, code[:, None])
            composed = compose(face_delta, patch_delta, views.boxes, data.CANVAS).float()
        face_delta, patch_delta = face_delta.float(), patch_delta.float()
        return composed, patch_delta, [face_delta, *(c.float() for c in coarse)], code

    def generator_losses(
        self, views: data.Views, composed: Tensor, patch_delta: Tensor, scales: list[Tensor]
    ) -> dict[str, Tensor]:
        w = self.config.weights
        canvas, target = views.canvas[:, :3], views.canvas[:, 3:]
        return {
            "local": losses.local(patch_delta),
            "variation": losses.variation((canvas + composed).clamp(-1, 1)),
            "identity": losses.identity(scales, composed, w.identity_lambda),
            "prototype": losses.prototype(composed, target),
        }

    def warm_step(self) -> dict[str, float]:
        _, wanted, views, _ = self.batch()
        self._rate("net", self.config.lr, "warm", self.config.warm_steps)
        composed, patch_delta, scales, _ = self.transform(views, wanted)
        parts = self.generator_losses(views, composed, patch_delta, scales)
        self._update("net", self._weigh(parts))
        self._average()
        return {name: value.item() for name, value in parts.items()}

    def adversarial_step(self) -> dict[str, float]:
        present, wanted, views, _ = self.batch()
        self._rate("net", self.config.lr * 0.8, "adversarial", self.config.adversarial_steps)
        real = self.critic_view(views.canvas[:, :3])
        composed, patch_delta, scales, code = self.transform(views, wanted)
        fake = self.critic_view((views.canvas[:, :3] + composed).clamp(-1, 1))
        report = {"L_d": self._discriminator_step(real, data.age_codes(present), fake.detach(), code)}
        self.d.requires_grad_(False)
        self.c.eval().requires_grad_(False)
        parts = self.generator_losses(views, composed, patch_delta, scales)
        with self.autocast():
            parts["adversarial"] = losses.adversarial_g(self.d(fake, code).float())
            parts["classification"] = losses.classification(self.c(fake).float(), code)
        self._update("net", self._weigh(parts))
        self.d.requires_grad_(True)
        self.c.requires_grad_(True)
        self._average()
        return report | {name: value.item() for name, value in parts.items()}

    def _discriminator_step(self, real: Tensor, real_code: Tensor, fake: Tensor, code: Tensor) -> float:
        with self.autocast():
            loss = losses.adversarial_d(self.d(real, real_code).float(), self.d(fake, code).float())
        total = loss
        if self.config.r1 and self.steps["adversarial"] % self.config.r1_every == 0:
            picture = real.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(self.d(picture, real_code).mean((1, 2, 3)).sum(), picture, create_graph=True)
            total = total + self.config.r1 * self.config.r1_every / 2 * slope.square().sum((1, 2, 3)).mean()
        self._update("d", total)
        return loss.item()

    def _weigh(self, parts: dict[str, Tensor]) -> Tensor:
        return sum(
            (getattr(self.config.weights, name) * value for name, value in parts.items()),
            torch.zeros(()).to(self.device),
        )

    def _update(self, name: str, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss of {name!r} is {loss.item()} after {self.steps} steps; resume with a smaller lr"
            )
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(getattr(self, name).parameters(), 1.0)
        optimiser.step()

    def _rate(self, name: str, peak: float, phase: str, total: int) -> None:
        """Linear warm-up over 100 steps, then half a cosine to a tenth of the peak."""
        step = self.steps[phase]
        rate = peak * min(1.0, (step + 1) / 100) * (0.55 + 0.45 * math.cos(math.pi * min(1.0, step / max(1, total))))
        for group in self.optimisers[name].param_groups:
            group["lr"] = rate

    def _average(self) -> None:
        done = self.steps["warm"] + self.steps["adversarial"]
        decay = min(self.config.ema, (1 + done) / (10 + done))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.net.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)

    def state(self) -> dict[str, Any]:
        return {
            "config": json.dumps(asdict(self.config)),
            "steps": self.steps,
            "generator": self.generator.get_state(),
            "torch_rng": torch.get_rng_state(),
            **{name: getattr(self, name).state_dict() for name in ("net", "average", "d", "c")},
            **{f"optimiser_{name}": optimiser.state_dict() for name, optimiser in self.optimisers.items()},
        }

    def load(self, state: dict[str, Any]) -> None:
        self.steps = dict(state["steps"])
        self.generator.set_state(state["generator"].cpu())
        torch.set_rng_state(state["torch_rng"].cpu())
        for name in ("net", "average", "d", "c"):
            getattr(self, name).load_state_dict(state[name])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state[f"optimiser_{name}"])


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint under its final name only when it is whole."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def evaluate_classifier(classifier: AgeClassifier, faces: data.Faces) -> dict[str, float]:
    """Accuracy of C on real faces: share of exact groups, and mean absolute error of its expected age in years."""
    classifier.eval()
    centers = torch.tensor([group.center for group in data.GROUPS])
    expected, exact = [], []
    with torch.no_grad():
        for pixels, age in zip(faces.pixels.split(32), faces.age.split(32), strict=True):
            canvas = nn.functional.avg_pool2d(data.to_float(pixels), 2)
            p = classifier(canvas.to(next(classifier.parameters()).device)).exp().cpu()
            expected.append((p @ centers - age).abs())
            exact.append(p.argmax(-1) == data.age_codes(age).argmax(-1))
    return {"mae_years": torch.cat(expected).mean().item(), "exact_group": torch.cat(exact).float().mean().item()}


def run(
    folder: Path,
    config: TrainConfig,
    portraits: Path,
    device: torch.device,
    max_minutes: float,
    limit: int | None,
    sample_every: int,
) -> bool:
    """Train until all phases are done (True) or the time is up (False)."""
    start = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(asdict(config), indent=2))
    faces, held_out = (data.load_portraits(portraits, split, limit) for split in ("train", "val"))
    fitted_path, checkpoint = folder / "prototypes.pt", folder / "checkpoint.pt"
    if fitted_path.is_file():
        fitted = prototypes.Prototypes(**torch.load(fitted_path, weights_only=True))
    else:
        print("fitting the prototypes ...", file=sys.stderr)
        fitted = prototypes.fit(faces)
        save(fitted_path, vars(fitted))
    trainer = Trainer(config, faces, fitted, device)
    if checkpoint.is_file():
        trainer.load(torch.load(checkpoint, weights_only=True, map_location=device))
        print(f"resuming after {trainer.steps}", file=sys.stderr)
    totals = {phase: getattr(config, f"{phase}_steps") for phase in PHASES}
    columns = (TextColumn("{task.description:11}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[report]}")) as progress,
        (folder / "metrics.jsonl").open("a") as metrics,
    ):
        saved = time.monotonic()
        for phase in PHASES:
            task = progress.add_task(phase, total=totals[phase], completed=trainer.steps[phase], report="")
            sums: dict[str, float] = {}
            window, counted = time.monotonic(), 0
            while trainer.steps[phase] < totals[phase]:
                for name, value in getattr(trainer, f"{phase}_step")().items():
                    sums[name] = sums.get(name, 0.0) + value
                trainer.steps[phase] += 1
                counted += 1
                progress.advance(task)
                step, now = trainer.steps[phase], time.monotonic()
                last = step == totals[phase]
                if counted == 50 or last:
                    row = {"phase": phase, "step": step, "images_per_s": config.batch * counted / (now - window)}
                    row |= {name: round(value / counted, 5) for name, value in sums.items()}
                    metrics.write(json.dumps(row) + "\n")
                    metrics.flush()
                    progress.update(task, report=" ".join(f"{k} {v:.4g}" for k, v in list(row.items())[2:]))
                    sums, window, counted = {}, now, 0
                if phase == "classifier" and last:
                    metrics.write(
                        json.dumps({"phase": "classifier", **evaluate_classifier(trainer.c, held_out)}) + "\n"
                    )
                if phase != "classifier" and (step % sample_every == 0 or last):
                    sheets.write(trainer.average, held_out, folder / f"{phase}-{step:06d}.jpg")
                out_of_time = now - start > max_minutes * 60
                if last or out_of_time or now - saved > 120:
                    save(checkpoint, trainer.state())
                    saved = time.monotonic()
                if out_of_time:
                    return all(trainer.steps[p] >= totals[p] for p in PHASES)
    return True


def main(
    folder: Annotated[
        Path, typer.Option("--run", help="Folder of this run; made if missing, resumed if it has a checkpoint.")
    ],
    portraits: Annotated[
        Path | None, typer.Option("--data", help="Folder with labels.csv [default: ../shared/portraits]")
    ] = None,
    max_minutes: Annotated[float, typer.Option(help="Stop (and save) after this long.")] = 1e9,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE of training.config, e.g. weights.local=0.1")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Use only this many faces of each split (for a smoke run).")] = None,
    sample_every: Annotated[int, typer.Option(help="Steps between sample sheets of held-out faces.")] = 500,
) -> None:
    """Train LGIN: C on real faces, then the generators on the prototypes, then the whole GAN.

    Writes config.json, metrics.jsonl, checkpoint.pt and sample sheets (held-out faces: input and every group) into the
    run's folder. Ctrl-C loses at most two minutes. Then: python -m training.export RUN/checkpoint.pt
    """
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        config = override(TrainConfig(), set_ or [])
        done = run(
            folder,
            config,
            portraits or data.default_portraits(),
            torch.device(chosen),
            max_minutes,
            limit,
            sample_every,
        )
    except (ValueError, FileNotFoundError, FloatingPointError) as error:
        print(f"training.fit: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    print("finished" if done else f"time is up; the same command goes on from {folder / 'checkpoint.pt'}")


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
