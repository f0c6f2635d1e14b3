"""The networks of LGIN, their optimisers, and one step of each of the three phases of training."""

from __future__ import annotations

import collections
import copy
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from lgin_edge import geometry

from . import augment, checkpoint, data, edits, examples, losses
from .config import TrainConfig
from .critics import WHOLE_SIDE, AgeClassifier, Discriminator, classifier_view, crops_of
from .exported import Exported
from .networks import FACE_BOX, LGIN, Transformation
from .optimiser import Muon

PHASES = ("classifier", "supervised", "adversarial")
NETWORKS = ("net", "d", "c")
#: The optimisers of each network.
OPTIMISERS = {"net": ("net", "hidden"), "d": ("d",), "c": ("c",)}
#: Batches that are kept on the device to be used again.
KEPT_BATCHES = 48
#: Batches of held-out faces on which losses are compared.
COMPARED = 12
#: Losses that hold the GAN's phase to its targets; D may move what they hold.
HELD = ("picture", "gain", "residual", "flow")
#: Weights of D whose shapes say what it is told of a picture.
TOLD = ("face.embed.weight", "regions.embed.weight")
#: D's pull is never made stronger than this, however little it says.
MOST_PULL = 100.0


class Trainer:
    """The networks, their optimisers and one step of each phase."""

    def __init__(self, config: TrainConfig, faces: examples.Faces, fabric: Fabric, compiled: bool = False) -> None:
        torch.manual_seed(config.seed)
        self.config, self.fabric, self.device = config, fabric, fabric.device

        def drawn(dressed: float = 0.0, unchanged: float = examples.UNCHANGED) -> examples.Examples:
            likelihood = examples.likelihood(faces, config.balance, dressed)
            return examples.Examples(faces, likelihood, config.network, config.seed, config.augment, unchanged)

        # The critics look at faces as they are.
        self.examples = {
            "classifier": drawn(unchanged=1.0),
            "supervised": drawn(config.dressed),
            "adversarial": drawn(),
        }
        k = config.network.groups
        last = {"memory_format": torch.channels_last}
        net = LGIN(config.network)
        if net.lines is not None:  # the age layers that its targets are drawn with
            net.lines.layers.copy_(torch.from_numpy(faces.bank))
            net.lines.windows.copy_(torch.from_numpy(faces.windows))
        codes = k + len(examples.KINDS) + config.d_sees_hair  # as _views makes them
        modules: dict[str, nn.Module] = {
            "net": net.to(**last),
            "d": Discriminator(codes, config.spectral, config.d_sees_hair).to(**last),
            "c": AgeClassifier(k).to(**last),
        }
        hidden = hidden_layers(net)
        within = {id(layer.weight) for layer in hidden}
        others = [weight for weight in net.parameters() if id(weight) not in within]
        self.optimisers: dict[str, Any] = {
            "net": torch.optim.AdamW(others, config.lr, betas=(0.9, 0.99), weight_decay=1e-4),
            "hidden": Muon(hidden, config.lr),
            "d": torch.optim.Adam(modules["d"].parameters(), config.critic_lr, betas=(0.0, 0.99)),
            "c": torch.optim.AdamW(modules["c"].parameters(), 1e-3, weight_decay=0.02),
        }
        self.average = copy.deepcopy(modules["net"]).eval().requires_grad_(False).to(self.device)
        self.exported = Exported(net).to(self.device)
        self._compare, self._finish = self.compare, self.finish
        if compiled:
            modules["net"].compile()
            self._compare, self._finish = torch.compile(self.compare), torch.compile(self.finish)
        self.modules: dict[str, Any] = {}
        for name, module in modules.items():
            own = OPTIMISERS[name]
            self.modules[name], *made = fabric.setup(module, *(self.optimisers[o] for o in own))
            self.optimisers |= dict(zip(own, made, strict=True))
        self.net, self.d, self.c = (self.modules[name] for name in NETWORKS)
        self.embedder = torch.export.load(config.embedder).module().to(self.device) if config.embedder else None
        self.steps = dict.fromkeys(PHASES, 0)
        # Every process draws its own.
        torch.manual_seed(config.seed + fabric.global_rank)
        self.generator = torch.Generator().manual_seed(config.seed + fabric.global_rank)
        self._source: tuple[str, Iterator[examples.Batch]] | None = None
        self._kept: collections.deque[examples.Batch] = collections.deque(maxlen=KEPT_BATCHES)

    def batch(self, phase: str) -> examples.Batch:
        """The next batch of a phase: always the same one for a step of a seed, where none is used again."""
        if self._source is None or self._source[0] != phase:
            c, f = self.config, self.fabric
            size = c.classifier_batch if phase == "classifier" else c.batch
            # Phases see other examples: their numbers follow each other.
            start = self.steps[phase] // c.reuse + (PHASES.index(phase) << 26)
            self._kept.clear()
            loader = examples.batches(self.examples[phase], start, size, f.global_rank, f.world_size, c.workers)
            self._source = phase, iter(loader)
        if not self._kept or self.steps[phase] % self.config.reuse == 0:
            self._kept.append(next(self._source[1]).to(self.device))
            return self._kept[-1]
        return self._kept[int(torch.randint(len(self._kept), (), generator=self.generator))]

    def classifier_step(self) -> dict[str, float]:
        batch = self.batch("classifier")
        self._rate("c", 1e-3, "classifier", self.config.classifier_steps)
        self.c.train()
        loss = losses.classification(self.c(classifier_view(batch.canvas)).float(), data.age_codes(batch.present))
        self._update("c", loss)
        return {"L_c(real)": loss.item()}

    def transform(self, batch: examples.Batch, forced: bool = False, net: Any = None) -> Transformation:
        """``T`` of a batch at its wanted ages.

        Args:
            net: in place of the generators that learn, e.g. their average.
            forced: draw the target's lines, not the network's own. Lines a little beside the target's cost more L1 than none, so
                the picture's loss would teach to draw none.
        """
        code = data.age_codes(batch.wanted)
        face = batch.face.contiguous(memory_format=torch.channels_last)
        said = (net or self.net)(face, batch.patches, batch.boxes, code[:, None])
        if forced and self.average.lines is not None:
            lines = self.average.lines.texture(batch.which, batch.depth[:, None, :, None])
            said = replace(said, edits=replace(said.edits, lines=lines))
        return said

    def compare(self, batch: examples.Batch, said: Transformation) -> tuple[Tensor, dict[str, Tensor]]:
        """What the edits make of the canvas, and how far it and they are from what is wanted."""
        w, e = self.config.weights, said.edits.single()
        # All in single precision but the patches, whose products are most of the arithmetic.
        e = replace(e.map(torch.Tensor.float), patch_edit=e.patch_edit)
        there = edits.compose(e, batch.boxes, batch.canvas.shape[-1], FACE_BOX)
        made = edits.render(there, batch.canvas)
        change = 2 * (made - batch.canvas)  # in units of [-1, 1], as the paper's residuals
        parts = {
            "local": losses.local(patch_change(e.patch_edit, batch.patches)),
            "identity": losses.identity(
                [e.face_edit[:, :3], *(c.float() for c in said.coarse)], change, w.identity_lambda
            ),
        }
        if w.variation:
            parts["variation"] = losses.variation(2 * made - 1)
        if w.picture:
            parts["picture"] = losses.picture(made, batch.target, batch.weight)
        if w.still:
            # Not of faces that get younger: grey hair that is to get dark is rare among what stays, and only a mean finds it.
            older = (batch.wanted > batch.present)[:, None, None, None]
            parts["still"] = losses.still(made, batch.target, batch.canvas, batch.weight * older)
        side = examples.MAPS
        window = edits.square_window(side, geometry.FACE_TAPER, batch.canvas)
        known = nn.functional.interpolate(batch.weight, size=(side, side)) * window

        def small(map_: Tensor) -> Tensor:
            return nn.functional.avg_pool2d(map_, map_.shape[-1] // side)

        if w.grey:
            parts["grey"] = losses.share(small(e.face_edit[:, edits.GREY : edits.GREY + 1]), batch.grey, known)
        if w.skin:
            parts["skin"] = losses.share(small(e.face_edit[:, edits.SKIN :]), batch.skin, window)
        if w.gain:
            parts["gain"] = losses.supervised(small(there.gain), window * batch.gain, known, unit=0.15)
        if w.residual:
            parts["residual"] = losses.supervised(small(there.change), window * batch.residual, known, unit=0.05)
        if w.flow:
            parts["flow"] = losses.supervised(100 * e.flow, 100 * batch.flow)
        if w.place:
            parts["place"] = 10 * losses.supervised(e.place, batch.place, batch.on_face)
        if w.which:
            parts["which"] = losses.choice(said.which.float(), batch.which)
        if w.depth:
            parts["depth"] = losses.supervised(said.depth[:, 0].float(), batch.depth)
        if self.embedder is not None and w.embedding:
            aged = nn.functional.interpolate(2 * made - 1, size=batch.face.shape[-2:], mode="area").clamp(-1, 1)
            with torch.no_grad():
                original = self.embedder(batch.face)
            parts["embedding"] = losses.embedding(self.embedder(aged), original)
        return made, parts

    def finish(self, batch: examples.Batch, said: Transformation) -> Tensor:
        """The edited canvas in [0, 1] as an exported network edits it; gradients do not reach all of it (``edits.painting_no_colour``).

        How old a face is read to be is no matter of taste: none passes through ``read`` and ``now``. (Depth and lines share their weights.)
        """
        whole = replace(
            said,
            edits=edits.painting_no_colour(said.edits.map(torch.Tensor.float)),
            depth=said.depth.float(),
            read=said.read.detach().float(),
            now=said.now.detach().float(),
        )
        return edits.apply(self.exported.finished(whole, batch.face).single(), batch.boxes, batch.canvas, FACE_BOX)

    def supervised_step(self) -> dict[str, float]:
        batch = self.batch("supervised")
        self._rate("net", self.config.lr, "supervised", self.config.supervised_steps)
        _, parts = self._compare(batch, self.transform(batch, forced=True))
        self._update("net", self._weigh(parts))
        self._average()
        return {name: value.item() for name, value in parts.items()}

    @torch.no_grad()
    def losses_on(self, faces: examples.Faces) -> dict[str, float]:
        """The averaged generators' losses on other faces than those that are learnt, always the same ``COMPARED`` batches of examples.

        They say what the training's own losses do not: on its own faces a network knows by heart where hair is.
        """
        c = self.config
        drawn = examples.Examples(faces, examples.likelihood(faces, c.balance), c.network, c.seed, c.augment)
        sums: dict[str, float] = {}
        for start in range(0, COMPARED * c.batch, c.batch):
            batch = examples.collate([drawn[i] for i in range(start, start + c.batch)]).to(self.device)
            with self.fabric.autocast():
                _, parts = self._compare(batch, self.transform(batch, forced=True, net=self.average))
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value.item() / COMPARED
        return sums

    def adversarial_step(self) -> dict[str, float]:
        batch = self.batch("adversarial")
        self._rate("net", self.config.adversarial_lr, "adversarial", self.config.adversarial_steps)
        w, c = self.config.weights, self.config
        said = self.transform(batch)
        made, parts = self._compare(batch, said)
        seen = self._finish(batch, said) if c.d_sees_finished and c.network.local else made
        report: dict[str, float] = {}
        for name in HELD:
            if name in parts:
                parts[name] = c.hold * parts[name]
        pull = torch.zeros((), device=self.device)
        if w.adversarial:
            report["L_d"] = self._critic_step(batch, seen.detach())
            self.d.requires_grad_(False)
            says, slope = self._slope(batch, seen)
            ramp = min(1.0, (self.steps["adversarial"] + 1) / max(1, c.d_ramp))
            strength = w.adversarial * ramp
            if "picture" in parts:
                held = c.hold * w.picture * picture_slope(batch, made)
                strength *= (held.norm() / slope.norm().clamp(min=1e-12)).clamp(max=MOST_PULL).item()
            # D's gradient goes on as it is: no second pass through D.
            pull = strength * (slope * seen).sum()
            report |= {"adversarial": says, "pull": strength}
        if w.classification:
            self.c.requires_grad_(False).eval()
            with self.fabric.autocast():
                said_age = self.c.module(classifier_view(seen)).float()
            parts["classification"] = losses.classification(said_age, data.age_codes(batch.wanted))
        self._update("net", self._weigh(parts) + pull)
        for critic in (self.d, self.c):
            critic.requires_grad_(True)
        self._average()
        return report | {name: value.item() for name, value in parts.items()}

    def _slope(self, batch: examples.Batch, made: Tensor) -> tuple[float, Tensor]:
        """The generators' side of L_d, and its gradient at the pictures that were made."""
        picture = made.detach().requires_grad_(True)
        # Not by its wrapper, which would wait for the gradients of D.
        with self.fabric.autocast():
            logits = self.d.module(*self._views(batch, picture, batch.wanted, batch.grey_hair[:, 1:]))
        loss = sum((losses.adversarial_g(part.float()) for part in logits), picture.new_zeros(()))
        (slope,) = torch.autograd.grad(loss, picture)
        return loss.item(), slope

    def _views(
        self, batch: examples.Batch, canvas: Tensor, years: Tensor, grey_hair: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What D takes of canvases [N, 3, H, H] in [0, 1] of people of ``years`` [N], of whose hair ``grey_hair`` [N, 1] is grey."""
        codes = torch.cat([data.age_codes(years), batch.kind * self.config.d_knows_kind], -1)
        if self.config.d_sees_hair:
            codes = torch.cat([codes, grey_hair], -1)
        # Skin only where the source has the detail: what enlarging lost is never taught as skin.
        sharp = batch.sharp.nonzero()[:, 0] if batch.sharp.any() else torch.arange(len(codes), device=self.device)
        crops = crops_of(canvas[sharp], batch.boxes[sharp], self.config.d_sees_hair)
        whole = nn.functional.interpolate(2 * canvas - 1, size=(WHOLE_SIDE,) * 2, mode="area")
        crops = self._augmented(crops.flatten(0, 1)).unflatten(0, crops.shape[:2])
        return self._augmented(whole), codes, crops, codes[sharp]

    def _augmented(self, pictures: Tensor) -> Tensor:
        return augment.differentiable(pictures, self.generator) if self.config.d_augment else pictures

    def _critic_step(self, batch: examples.Batch, made: Tensor) -> float:
        c = self.config
        real = self._views(batch, batch.canvas, batch.present, batch.grey_hair[:, :1])
        false = self._views(batch, made, batch.wanted, batch.grey_hair[:, 1:])
        # One forward pass for both: distributed training synchronises once a pass.
        logits = self.d(*(torch.cat(pair) for pair in zip(real, false, strict=True)))
        loss = sum((losses.adversarial_d(*part.float().chunk(2)) for part in logits), made.new_zeros(()))
        total = loss
        if c.r1 and self.steps["adversarial"] % c.r1_every == 0:
            faces, crops = (view.detach().requires_grad_(True) for view in (real[0], real[2]))
            scores = self.d.module(faces, real[1], crops, real[3])
            # A crop's logits are judged by themselves, as a face's are.
            slopes = torch.autograd.grad(
                sum(part.float().mean((-2, -1)).sum() for part in scores), (faces, crops), create_graph=True
            )
            penalty = sum(slope.square().sum((-3, -2, -1)).mean() for slope in slopes)
            total = total + c.r1 * c.r1_every / 2 * penalty
        self._update("d", total)
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
        self.modules[name].zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        nn.utils.clip_grad_norm_(self.modules[name].parameters(), 1.0)
        for optimiser in OPTIMISERS[name]:
            self.optimisers[optimiser].step()

    def _rate(self, name: str, peak: float, phase: str, total: int) -> None:
        """Linear warm-up over 100 steps, then half a cosine to a tenth of the peak."""
        step = self.steps[phase]
        rate = peak * min(1.0, (step + 1) / 100) * (0.55 + 0.45 * math.cos(math.pi * min(1.0, step / max(1, total))))
        for optimiser in OPTIMISERS[name]:
            for group in self.optimisers[optimiser].param_groups:
                group["lr"] = rate * (self.config.hidden_rate if optimiser == "hidden" else 1.0)

    def _average(self) -> None:
        done = self.steps["supervised"] + self.steps["adversarial"]
        decay = min(self.config.ema, (1 + done) / (10 + done))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.net.module.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)

    def raw(self) -> dict[str, nn.Module]:
        """The networks by name, without what Fabric wraps around them."""
        return {"average": self.average} | {name: module.module for name, module in self.modules.items()}

    def save(self, path: Path) -> None:
        """Write everything that the next step depends on. Every process calls it, the first one writes."""
        own = torch.cat([self.generator.get_state(), torch.get_rng_state()]).to(self.device)
        everyone = self.fabric.all_gather(own).reshape(-1, len(own))
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
            Names of the weights that it did not have, or whose D is told other things.

        Raises:
            ValueError: it has weights that this configuration has not, or of other shapes, but for such a D.
        """
        new: list[str] = []
        for name, network in self.raw().items():
            own = {key[len(name) + 1 :]: t for key, t in tensors.items() if key.startswith(f"{name}.")}
            if not own and name == "net" and not whole:  # a file that holds the averaged weights alone
                own = {key[len("average.") :]: t for key, t in tensors.items() if key.startswith("average.")}
            state = network.state_dict()
            if name == "d" and not whole and any(own[k].shape != state[k].shape for k in TOLD if k in own):
                own = {key: t for key, t in own.items() if key not in state}
            missing = [f"{name}.{key}" for key in state if key not in own]
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


def hidden_layers(net: LGIN) -> list[nn.Conv2d]:
    """The convolutions between features: not those that say edits, which start at zero and are narrow."""
    heads = ("head", "flow.2", "place.3", "coarse_heads")
    return [
        layer
        for name, layer in net.named_modules()
        if isinstance(layer, nn.Conv2d) and not any(part in name for part in heads)
    ]


def patch_change(patch_edit: Tensor, patches: Tensor) -> Tensor:
    """``G_r(x_r, l) - x_r`` in units of [-1, 1], [N, 5, 3, P, P]: the patch multiplied by its gain, and the residual."""
    return patch_edit[:, :, 3:] * (patches + 1) + patch_edit[:, :, :3]


def picture_slope(batch: examples.Batch, made: Tensor) -> Tensor:
    """The gradient of the picture's loss at the pictures that were made; anew, for a compiled graph gives none at what it returns."""
    picture = made.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(losses.picture(picture, batch.target, batch.weight), picture)
    return slope
