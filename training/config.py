"""Everything that a training run can be told, as typed dataclasses saved with the run."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from .networks import NetworkConfig


@dataclass(frozen=True)
class LossWeights:
    """Weights of the generators' losses. The first five are the paper's, ``prototype`` is ours (0 switches it off)."""

    adversarial: float = 0.05
    classification: float = 0.05
    local: float = 0.02
    variation: float = 0.01
    identity: float = 0.02
    identity_lambda: float = 1.0
    prototype: float = 2.0


@dataclass(frozen=True)
class TrainConfig:
    """One run of ``training.fit``: three phases, each a number of steps.

    1. C alone learns the age groups of real faces.
    2. The generators are warmed up on the prototype residuals, with L_I, L_local and L_V.
    3. The whole GAN: D and the generators in turn, with all five losses.

    Attributes:
        colour, lines, texture: gains of the prototype's parts (``prototypes.Prototypes.residual``).
        ema: decay per step of the averaged weights, which are what is sampled and exported.
        r1: weight of the gradient penalty on real faces (Mescheder et al. 2018), every ``r1_every`` steps.
    """

    classifier_steps: int = 800
    warm_steps: int = 3500
    adversarial_steps: int = 1600
    batch: int = 8
    lr: float = 6e-4
    critic_lr: float = 2e-4
    ema: float = 0.998
    r1: float = 1.0
    r1_every: int = 8
    colour: float = 3.2
    lines: float = 8.0
    texture: float = 7.0
    seed: int = 20261123
    weights: LossWeights = field(default_factory=LossWeights)
    network: NetworkConfig = field(default_factory=NetworkConfig)


def override(config: Any, assignments: list[str]) -> Any:
    """Apply ``key=value`` (``weights.local=0.1``) to a config; values take the type of what they replace.

    Raises:
        ValueError: no ``=``, an unknown key (the known ones are named), or a value of the wrong type.
    """
    for assignment in assignments:
        key, found, value = assignment.partition("=")
        if not found:
            raise ValueError(f"expected KEY=VALUE, got {assignment!r}")
        config = _set(config, key.split("."), value, key)
    return config


def _set(config: Any, path: list[str], value: str, key: str) -> Any:
    names = [f.name for f in fields(config)]
    if path[0] not in names:
        raise ValueError(f"{key}: no setting {path[0]!r}; there are {', '.join(names)}")
    old = getattr(config, path[0])
    if path[1:]:
        return replace(config, **{path[0]: _set(old, path[1:], value, key)})
    if not isinstance(old, (int, float)):
        raise ValueError(f"{key}: only numbers can be set here, this is a {type(old).__name__}")
    try:
        return replace(config, **{path[0]: type(old)(value)})
    except ValueError:
        raise ValueError(f"{key}: expected {type(old).__name__}, got {value!r}") from None
