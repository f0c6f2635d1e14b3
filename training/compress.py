"""Make T narrower and keep what it does: ``python -m training.compress runs/big runs/small --set hidden=0.5``.

The first of two steps: of the channels inside each residual block, and before the last convolution, those that matter most
are kept, and everything else as it is (structured pruning by the size of what a channel adds, after Molchanov et al. 2017).
The second is to learn again what was
lost, from the wider network (knowledge distillation, Hinton et al. 2015):

    python -m training.fit runs/learnt --init runs/small --teacher runs/big --set network.hidden=0.5

What it does not learn it leaves out, as every least-squares fit does: its residuals are a little weak, and so is the ageing. A
last step gives each generator's residuals the strength of the wider network's:

    python -m training.compress runs/learnt runs/done --match runs/big
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from . import checkpoint, data, export
from .config import TrainConfig, override
from .networks import LGIN, GlobalGenerator, LocalGenerator, NetworkConfig, ResidualBlock

#: What can be made narrower.
WIDTHS = ("hidden", "detail_width")


def narrow(wide: LGIN, config: NetworkConfig, faces: data.Faces) -> LGIN:
    """T with the ``WIDTHS`` of ``config``, and of ``wide`` the channels that matter most on these faces.

    Raises:
        ValueError: the two differ in something else, or the new one is wider.
    """
    same = dict.fromkeys(WIDTHS, 0)
    wider = any(getattr(config, name) > getattr(wide.config, name) for name in WIDTHS)
    if wider or asdict(config) | same != asdict(wide.config) | same:
        raise ValueError(
            f"only {' and '.join(WIDTHS)} can be made smaller: the run has {asdict(wide.config)}, asked for was "
            f"{asdict(config)}"
        )
    small = LGIN(config)
    state, old = small.state_dict(), wide.state_dict()
    pairs = channel_pairs(wide)
    kept = {
        pair: matter.topk(len(state[f"{pair[0]}.bias"])).indices.sort().values
        for pair, matter in zip(pairs, importance(wide, pairs, faces), strict=True)
    }
    for (before, _, after), channels in kept.items():
        for name in (f"{before}.weight", f"{before}.bias"):
            old[name] = old[name][channels]
        old[f"{after}.weight"] = old[f"{after}.weight"][:, channels]
    small.load_state_dict(old)
    return small.eval()


def channel_pairs(net: LGIN) -> list[tuple[str, str, str]]:
    """Names of the convolution that makes channels, of its activation, and of the only convolution that reads them."""
    blocks = [name for name, module in net.named_modules() if isinstance(module, ResidualBlock)]
    inside = [(f"{name}.body.0", f"{name}.body.1", f"{name}.body.2") for name in blocks]
    return [*inside, ("whole.decode1.1", "whole.decode1.2", "whole.head")]


@torch.no_grad()
def importance(net: LGIN, pairs: list[tuple[str, str, str]], faces: data.Faces) -> list[Tensor]:
    """``|W_c|_2 rms(a_c)`` of every channel c of every pair: how much ``W_c * a_c`` adds, over ages and faces."""
    squares: list[list[Tensor]] = [[] for _ in pairs]

    def watch(into: list[Tensor]) -> Any:
        return lambda module, inputs, output: into.append(output.square().mean((0, 2, 3)))

    hooks = [
        net.get_submodule(name).register_forward_hook(watch(into))
        for (_, name, _), into in zip(pairs, squares, strict=True)
    ]
    try:
        for inputs in batches(faces):
            net(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return [
        torch.stack(into).mean(0).sqrt() * net.get_submodule(after).weight.square().sum((0, 2, 3)).sqrt()
        for (_, _, after), into in zip(pairs, squares, strict=True)
    ]


@torch.no_grad()
def match(net: LGIN, wide: LGIN, faces: data.Faces) -> dict[str, float]:
    """Scale what each generator of ``net`` predicts until its energy on these faces is that of ``wide``.

    ``head <- g head`` with ``g = sqrt(sum |d_wide|^2 / sum |d_net|^2)`` for the colours; the masks stay. ``net`` is changed.

    Returns:
        ``g`` by the generator's name.

    Raises:
        ValueError: a generator predicts nothing at all, or ``wide`` has others.
    """
    energy: list[dict[str, float]] = []
    for network in (net, wide):
        sums: dict[str, float] = {}
        for inputs in batches(faces):
            face_delta, patch_delta, _ = network(*inputs)
            for name, delta in zip(generators(network), (face_delta, *patch_delta.unbind(1)), strict=False):
                sums[name] = sums.get(name, 0.0) + float(delta.square().sum())
        energy.append(sums)
    if energy[0].keys() != energy[1].keys() or not all(e > 0 for sums in energy for e in sums.values()):
        raise ValueError(
            f"generators can only be matched where both networks have them and they do something: {energy}"
        )
    gains = {name: (energy[1][name] / energy[0][name]) ** 0.5 for name in energy[0]}
    for name, generator in generators(net).items():
        for p in (generator.head.weight, generator.head.bias):
            p[:12] *= gains[name]  # the last four channels are the mask's
    return gains


def generators(net: LGIN) -> dict[str, GlobalGenerator | LocalGenerator]:
    """The global generator and the local ones, by name."""
    return {"whole": net.whole, **net.regions}


def batches(faces: data.Faces) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """What T takes, of these faces, each at one age from the youngest group's to the oldest's."""
    low, high = data.GROUPS[0].center, data.GROUPS[-1].center
    for some in torch.arange(len(faces)).split(8):
        views = data.cut_views(
            data.to_float(faces.pixels[some]), data.plain_affines(len(some)), faces.landmarks[some] * data.CANVAS
        )
        code = data.age_codes(torch.linspace(low, high, len(some)))
        yield views.face, views.patches, views.boxes, code[:, None]


def main(
    run: Annotated[Path, typer.Argument(help="Folder of a run of training.fit.")],
    output: Annotated[Path, typer.Argument(help="Folder to make, for training.fit --init.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE of the network's config, e.g. hidden=0.5")
    ] = None,
    portraits: Annotated[
        Path | None, typer.Option("--data", help="Folder with labels.csv (default: ../shared/portraits)")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Training faces to look at.")] = 64,
    matched: Annotated[
        Path | None, typer.Option("--match", help="Run whose residuals' strength T gets; after training.fit --teacher.")
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="The last weights instead of the averaged ones.")] = False,
) -> None:
    """Keep the hidden channels of T's residual blocks that matter most; D and C come along as they are.

    Example:

        python -m training.compress runs/big runs/small --set hidden=0.5
        python -m training.fit runs/learnt --init runs/small --teacher runs/big --set network.hidden=0.5
        python -m training.compress runs/learnt runs/done --match runs/big
    """
    try:
        wide = export.load(run, average=not last)
        config = override(wide.config, set_ or [])
        faces = data.load_portraits(portraits or data.default_portraits(), "train", limit)
        small = narrow(wide, config, faces)
        gains = match(small, export.load(matched), faces) if matched else {}
        tensors, _ = checkpoint.load(run / checkpoint.FILE)
    except (ValueError, FileNotFoundError) as error:
        typer.echo(f"training.compress: {error}", err=True)
        raise typer.Exit(2) from None
    kept = {name: t for name, t in tensors.items() if name.split(".")[0] in ("d", "c", "fine")}
    for network in ("net", "average"):
        kept |= {f"{network}.{name}": t for name, t in small.state_dict().items()}
    output.mkdir(parents=True, exist_ok=True)
    whole = asdict(TrainConfig(network=config))
    (output / export.CONFIG).write_text(json.dumps(whole, indent=2))
    checkpoint.save(output / checkpoint.FILE, kept, {"steps": {}, "groups": {}, "config": whole})
    count = [sum(p.numel() for p in net.parameters()) / 1e6 for net in (wide, small)]
    typer.echo(f"{output}: {count[1]:.2f} M of {count[0]:.2f} M parameters")
    if matched:
        typer.echo("residuals times " + ", ".join(f"{gain:.3f} ({name})" for name, gain in gains.items()))
    else:
        typer.echo(f"now training.fit --init {output} --teacher {run}")


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
