"""The networks of LGIN, their optimisers, and one step of each of the three phases of training."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from lgin_edge import geometry

from . import augment, checkpoint, data, losses, masks, prototypes
from .canonical import compose, sample_views
from .config import TrainConfig
from .networks import LGIN, AgeClassifier, Discriminator

PHASES = ("classifier", "warm", "adversarial")
NETWORKS = ("net", "d", "c", "fine")
#: Side of the squares that the fine discriminator sees at the canvas' full resolution.
DETAIL_SIDE = 128


class Trainer:
    """The networks, their optimisers and one step of each phase.

    Args:
        teacher: a T whose residuals are what the warm-up learns, instead of the prototypes'.
    """

    def __init__(
        self,
        config: TrainConfig,
        faces: data.Faces,
        fitted: prototypes.Prototypes,
        fabric: Fabric,
        teacher: LGIN | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.fabric, self.device = config, fabric, fabric.device
        self.faces, self.fitted = faces.to(self.device), fitted.to(self.device)
        self.teacher = None if teacher is None else teacher.to(self.device).eval().requires_grad_(False)
        self.likelihood = sampling_weights(faces, config.balance)
        k = config.network.groups
        last = {"memory_format": torch.channels_last}
        modules: dict[str, nn.Module] = {
            "net": LGIN(config.network).to(**last),
            "d": Discriminator(k, config.spectral).to(**last),
            "c": AgeClassifier(k).to(**last),
            "fine": Discriminator(k, config.spectral).to(**last),
        }
        self.optimisers: dict[str, Any] = {
            "net": torch.optim.AdamW(modules["net"].parameters(), config.lr, betas=(0.9, 0.99), weight_decay=1e-4),
            "d": torch.optim.Adam(modules["d"].parameters(), config.critic_lr, betas=(0.0, 0.99)),
            "c": torch.optim.AdamW(modules["c"].parameters(), 1e-3, weight_decay=0.02),
            "fine": torch.optim.Adam(modules["fine"].parameters(), config.critic_lr, betas=(0.0, 0.99)),
        }
        self.modules: dict[str, Any] = {}
        for name, module in modules.items():
            self.modules[name], self.optimisers[name] = fabric.setup(module, self.optimisers[name])
        self.net, self.d, self.c, self.fine = (self.modules[name] for name in NETWORKS)
        self.average = copy.deepcopy(modules["net"]).eval().requires_grad_(False).to(self.device)
        self.embedder = torch.export.load(config.embedder).module().to(self.device) if config.embedder else None
        self.steps = dict.fromkeys(PHASES, 0)
        # Every process draws its own faces.
        torch.manual_seed(config.seed + fabric.global_rank)
        self.generator = torch.Generator().manual_seed(config.seed + fabric.global_rank)

    def batch(self, prototype: bool = True) -> tuple[Tensor, Tensor, data.Views, Tensor]:
        """One augmented batch.

        Args:
            prototype: whether the prototype residuals are asked for; otherwise they are 0.

        Returns:
            present and wanted age [N] in years, views of the frames (the canvas has six channels: the picture and its
            prototype residual), and whether each face has real detail at the canvas' resolution [N].
        """
        g, c = self.generator, self.config
        index = torch.multinomial(self.likelihood, c.batch, replacement=True, generator=g).to(self.device)
        x = data.to_float(self.faces.pixels[index])
        landmarks = self.faces.landmarks[index] * data.CANVAS
        low, high = data.GROUPS[0].center, data.GROUPS[-1].center
        present = self.faces.age[index]
        wanted = low + (high - low) * torch.rand(c.batch, generator=g).to(self.device)
        with torch.no_grad():
            change = torch.zeros_like(x)
            if prototype and c.weights.prototype:
                soft = masks.to_float(self.faces.masks[index], data.CANVAS)
                points, glasses = self.faces.landmarks[index], self.faces.glasses[index]
                change = self.fitted.residual(x, soft, points, present, wanted, c.prototype, glasses)
            frames = torch.cat([x, change], 1)
            if torch.rand((), generator=g) < 0.5:
                frames, landmarks = augment.mirror(frames, landmarks)
            if c.augment:
                x, change = frames[:, :3], frames[:, 3:]
                pair = augment.photometric(torch.cat([x, x + change], 1), g, c.augment)
                x, change = pair[:, :3], pair[:, 3:] - pair[:, :3]
                frames = torch.cat([augment.degrade(x, g, c.augment), change], 1)
            affines = augment.jittered_affines(c.batch, g, c.augment).to(self.device)
            return present, wanted, data.cut_views(frames, affines, landmarks), self.faces.sharp[index]

    def classifier_batch(self) -> tuple[Tensor, Tensor]:
        """Augmented real faces as C sees them [N, 3, CANVAS / 2, CANVAS / 2], and their ages [N]: cheaper than ``batch``."""
        g, c = self.generator, self.config
        index = torch.multinomial(self.likelihood, c.classifier_batch, replacement=True, generator=g).to(self.device)
        x = self.critic_view(data.to_float(self.faces.pixels[index]))
        if torch.rand((), generator=g) < 0.5:
            x = x.flip(-1)
        x = augment.degrade(augment.photometric(x, g, c.augment), g, c.augment)
        affines = augment.jittered_affines(len(x), g, c.augment).to(self.device) * (x.shape[-1] / data.CANVAS)
        full = torch.tensor(geometry.FULL_BOX, dtype=torch.float32, device=self.device).expand(len(x), 1, 4)
        return sample_views(x, affines, full, x.shape[-1])[:, 0], self.faces.age[index]

    def critic_view(self, canvas: Tensor) -> Tensor:
        """What D and C look at: the canvas at half its side."""
        return nn.functional.avg_pool2d(canvas, 2)

    def classifier_step(self) -> dict[str, float]:
        pictures, age = self.classifier_batch()
        self._rate("c", 1e-3, "classifier", self.config.classifier_steps)
        self.c.train()
        loss = losses.classification(self.c(pictures).float(), data.age_codes(age))
        self._update("c", loss)
        return {"L_c(real)": loss.item()}

    def transform(self, views: data.Views, wanted: Tensor) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
        """``T``: composed residual on the canvas, the residuals it was made of, and the age code."""
        code = data.age_codes(wanted)
        face = views.face.contiguous(memory_format=torch.channels_last)
        face_delta, patch_delta, coarse = self.net(face, views.patches, views.boxes, code[:, None])
        with self.fabric.autocast():
            composed = compose(face_delta, patch_delta, views.boxes, data.CANVAS).float()
        return composed, patch_delta.float(), [face_delta.float(), *(c.float() for c in coarse)], code

    def generator_losses(
        self, views: data.Views, composed: Tensor, patch_delta: Tensor, scales: list[Tensor], chroma: float
    ) -> dict[str, Tensor]:
        """All but what the critics say; ``chroma`` as in ``losses.prototype``."""
        w = self.config.weights
        canvas, target = views.canvas[:, :3], views.canvas[:, 3:]
        parts = {
            "local": losses.local(patch_delta),
            "variation": losses.variation((canvas + composed).clamp(-1, 1)),
            "identity": losses.identity(scales, composed, w.identity_lambda),
        }
        if w.prototype:
            parts["prototype"] = losses.prototype(composed, target, chroma)
        if self.embedder is not None and w.embedding:
            aged = nn.functional.interpolate(canvas + composed, size=views.face.shape[-2:], mode="area").clamp(-1, 1)
            with torch.no_grad():
                original = self.embedder(views.face)
            parts["embedding"] = losses.embedding(self.embedder(aged), original)
        return parts

    def warm_step(self) -> dict[str, float]:
        if self.teacher is not None:
            return self.distillation_step(self.teacher)
        _, wanted, views, _ = self.batch()
        self._rate("net", self.config.lr, "warm", self.config.warm_steps)
        composed, patch_delta, scales, _ = self.transform(views, wanted)
        # No weight on colour yet: there is no C to paint for, and from random weights it makes any change a loss at first
        # (after 250 steps 10 % of the targets' energy is explained without it, 3 % with it).
        parts = self.generator_losses(views, composed, patch_delta, scales, chroma=0.0)
        self._update("net", self._weigh(parts))
        self._average()
        return {name: value.item() for name, value in parts.items()}

    def distillation_step(self, teacher: LGIN) -> dict[str, float]:
        _, wanted, views, _ = self.batch(prototype=False)
        self._rate("net", self.config.lr, "warm", self.config.warm_steps)
        composed, patch_delta, scales, code = self.transform(views, wanted)
        own = [composed, scales[0], patch_delta]
        with torch.no_grad(), self.fabric.autocast():
            face_delta, patch_delta, _ = teacher(views.face, views.patches, views.boxes, code[:, None])
            composed = compose(face_delta, patch_delta, views.boxes, data.CANVAS)
            its = [residual.float() for residual in (composed, face_delta, patch_delta)]
        loss = losses.distillation(own, its)
        self._update("net", loss)
        self._average()
        error = (own[0] - its[0]).detach().square().mean()
        return {"distillation": loss.item(), "psnr_db": 10 * math.log10(4 / max(error.item(), 1e-12))}

    def adversarial_step(self) -> dict[str, float]:
        present, wanted, views, sharp = self.batch()
        self._rate("net", self.config.adversarial_lr, "adversarial", self.config.adversarial_steps)
        canvas, real_code = views.canvas[:, :3], data.age_codes(present)
        composed, patch_delta, scales, code = self.transform(views, wanted)
        made = (canvas + composed).clamp(-1, 1)
        report = self._discriminators_step(canvas, made.detach(), real_code, code, sharp)
        for critic in (self.d, self.c, self.fine):
            critic.requires_grad_(False)
        self.c.eval()
        parts = self.generator_losses(views, composed, patch_delta, scales, self.config.weights.prototype_chroma)
        if self.config.weights.adversarial:
            seen = self._augmented(self.critic_view(made))
            parts["adversarial"] = losses.adversarial_g(self._judge(self.d, seen, code))
            if self.config.d_detail:
                chosen, some = _detailed(sharp)
                seen = self._augmented(augment.detail_squares(made[chosen], DETAIL_SIDE, self.generator))
                fine = losses.adversarial_g(self._judge(self.fine, seen, code[chosen])) * some
                parts["adversarial"] = (parts["adversarial"] + fine) / (1 + some)
        if self.config.weights.classification:
            parts["classification"] = losses.classification(self._judge(self.c, self.critic_view(made)), code)
        self._update("net", self._weigh(parts))
        for critic in (self.d, self.c, self.fine):
            critic.requires_grad_(True)
        self._average()
        return report | {name: value.item() for name, value in parts.items()}

    def _judge(self, critic: Any, *inputs: Tensor) -> Tensor:
        """What a critic that does not learn in this step says. Not by its wrapper, which would wait for its gradients."""
        with self.fabric.autocast():
            return critic.module(*inputs).float()

    def _augmented(self, pictures: Tensor) -> Tensor:
        return augment.differentiable(pictures, self.generator) if self.config.d_augment else pictures

    def _discriminators_step(
        self, real: Tensor, made: Tensor, real_code: Tensor, code: Tensor, sharp: Tensor
    ) -> dict[str, float]:
        if not self.config.weights.adversarial:
            return {}
        report = {"L_d": self._critic_step("d", self.critic_view(real), self.critic_view(made), real_code, code)}
        if self.config.d_detail:
            # Only faces whose source has the detail: what enlarging lost is never taught as skin.
            chosen, some = _detailed(sharp)
            squares = (augment.detail_squares(p[chosen], DETAIL_SIDE, self.generator) for p in (real, made))
            loss = self._critic_step("fine", *squares, real_code[chosen], code[chosen], some)
            report |= {"L_d(fine)": loss} if some else {}
        return report

    def _critic_step(
        self, name: str, real: Tensor, made: Tensor, real_code: Tensor, code: Tensor, weight: float = 1.0
    ) -> float:
        critic, c = getattr(self, name), self.config
        real, made = self._augmented(real), self._augmented(made)
        # One forward pass for both: distributed training synchronises once a pass.
        logits = critic(torch.cat([real, made]), torch.cat([real_code, code])).float()
        loss = losses.adversarial_d(*logits.chunk(2))
        total = loss
        if c.r1 and self.steps["adversarial"] % c.r1_every == 0:
            picture = real.detach().requires_grad_(True)
            score = critic.module(picture, real_code).mean((1, 2, 3)).sum()
            (slope,) = torch.autograd.grad(score, picture, create_graph=True)
            total = total + c.r1 * c.r1_every / 2 * slope.square().sum((1, 2, 3)).mean()
        self._update(name, total * weight)
        return loss.item()

    def _weigh(self, parts: dict[str, Tensor]) -> Tensor:
        weights = self.config.weights
        zero = torch.zeros((), device=self.device)
        return sum((getattr(weights, name) * value for name, value in parts.items()), zero)

    def _update(self, name: str, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss of {name!r} is {loss.item()} after {self.steps} steps; resume with a smaller lr"
            )
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        nn.utils.clip_grad_norm_(self.modules[name].parameters(), 1.0)
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
            for mean, value in zip(self.average.parameters(), self.net.module.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)

    def raw(self) -> dict[str, nn.Module]:
        """The networks by name, without what Fabric wraps around them."""
        return {"average": self.average} | {name: module.module for name, module in self.modules.items()}

    def save(self, path: Path) -> None:
        """Write everything that the next step depends on. Every process calls it, the first one writes."""
        states = torch.stack([torch.cat([self.generator.get_state(), torch.get_rng_state()])]).to(self.device)
        everyone = (
            self.fabric.all_gather(states).reshape(-1, states.shape[-1]) if self.fabric.world_size > 1 else states
        )
        if not self.fabric.is_global_zero:
            return
        tensors = {f"{name}.{key}": t for name, net in self.raw().items() for key, t in net.state_dict().items()}
        tensors["rng.states"] = everyone
        groups = {}
        for name, optimiser in self.optimisers.items():
            flat, groups[name] = checkpoint.flatten_optimiser(name, getattr(optimiser, "optimizer", optimiser))
            tensors |= flat
        checkpoint.save(path, tensors, {"steps": self.steps, "groups": groups, "config": asdict(self.config)})

    def resume(self, path: Path) -> None:
        """Go on exactly where ``save`` was called.

        Raises:
            ValueError: the run had another number of processes, or networks of other sizes.
        """
        tensors, counters = checkpoint.load(path)
        states = tensors["rng.states"].cpu()
        if len(states) != self.fabric.world_size:
            raise ValueError(
                f"{path} is of a run with {len(states)} processes and this one has {self.fabric.world_size}; start as many,"
                " or begin a new run from its weights with --init"
            )
        self.adopt(tensors, path, whole=True)
        own = states[self.fabric.global_rank]
        split = len(self.generator.get_state())
        self.generator.set_state(own[:split].clone())
        torch.set_rng_state(own[split:].clone())
        for name, optimiser in self.optimisers.items():
            prefix = f"optimiser.{name}."
            entries = {key[len(prefix) :]: t for key, t in tensors.items() if key.startswith(prefix)}
            raw = getattr(optimiser, "optimizer", optimiser)
            checkpoint.restore_optimiser(raw, entries, counters["groups"][name])
        self.steps = dict(counters["steps"])

    def adopt(self, tensors: dict[str, Tensor], path: Path, whole: bool = False) -> list[str]:
        """Take the weights of another run.

        Args:
            whole: nothing may be missing. Otherwise what the other run did not have keeps its own weights.

        Returns:
            Names of the weights that it did not have.

        Raises:
            ValueError: it has weights that this configuration has not, or of other shapes.
        """
        new: list[str] = []
        for name, network in self.raw().items():
            own = {key[len(name) + 1 :]: t for key, t in tensors.items() if key.startswith(f"{name}.")}
            missing = [f"{name}.{key}" for key in network.state_dict() if key not in own]
            try:
                if missing and whole:
                    raise RuntimeError(f"it has no {some_of(missing)}")
                unexpected = network.load_state_dict(own, strict=False).unexpected_keys
                if unexpected:
                    raise RuntimeError(f"nothing here takes its {some_of([f'{name}.{key}' for key in unexpected])}")
            except RuntimeError as error:
                raise ValueError(f"{path} does not fit this configuration: {error}") from None
            new += missing if own else [name]
        return new


def some_of(names: list[str], most: int = 3) -> str:
    """The first few names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _detailed(sharp: Tensor) -> tuple[Tensor, float]:
    """Indices of the faces with real detail, and 1.0; where there is none, any face, and 0.0 as its loss's weight.

    Every process has to take part in a step whose gradients are averaged over them all.
    """
    chosen = sharp.nonzero()[:, 0]
    return (chosen, 1.0) if len(chosen) else (chosen.new_zeros(1), 0.0)


def sampling_weights(faces: data.Faces, balance: float) -> Tensor:
    """How likely each face is drawn, [N]: by age group and by sharpness, between as they come (0) and evenly (1)."""
    group = data.age_codes(faces.age).argmax(-1).cpu() * 2 + faces.sharp.long().cpu()
    counts = torch.bincount(group, minlength=2 * len(data.GROUPS)).float()
    return (1 / counts[group]) ** balance
