"""Every setting of a training run, as typed dataclasses saved with the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from .networks import NetworkConfig


@dataclass(frozen=True)
class LossWeights:
    """Weights of the generators' losses; 0 switches one off. The first five are the paper's, what follows is ours.

    ``identity_lambda`` weighs the second term inside L_I. ``picture`` and what follows it compare with the targets: the picture,
    then the maps of the edit. ``adversarial`` is what D pulls at the picture, as a fraction of what ``picture`` pulls (without
    that loss: as a weight).
    """

    adversarial: float = 0.5
    classification: float = 0.0
    local: float = 0.01
    variation: float = 0.0
    identity: float = 0.01
    identity_lambda: float = 1.0
    picture: float = 10.0
    still: float = 15.0  # only where a face gets older; in phase 3 too in full, for walls are none of D's business
    flow: float = 0.5
    grey: float = 1.0
    skin: float = 0.3
    gain: float = 0.3
    residual: float = 3.0
    place: float = 1.0
    which: float = 0.05
    depth: float = 0.5
    embedding: float = 0.0


@dataclass(frozen=True)
class TrainConfig:
    """One run of ``training.fit``: three phases, each a number of steps.

    1. C alone learns the age groups of real faces, and is frozen (none where nothing asks for C).
    2. The generators learn the targets (``training.targets``), picture and edits, at all ages, both ways.
    3. The GAN: a discriminator of whole faces and of crops of regions and hair, and the generators in turn, beside the targets.
    """

    classifier_steps: int = 0
    supervised_steps: int = 20000
    adversarial_steps: int = 10000
    batch: int = 8  # faces a step and device, of the generators
    classifier_batch: int = 32  # and of C
    lr: float = 8e-4  # peak learning rates: of the generators in phase 2
    adversarial_lr: float = 1e-4  # and in phase 3
    critic_lr: float = 2e-4  # and of D
    #: Of the hidden convolutions, whose optimiser is Muon, in units of the others' learning rate.
    hidden_rate: float = 2.5
    ema: float = 0.998  # decay per step of the averaged weights, which are what is sampled and exported
    r1: float = 1.0  # weight of the gradient penalty on real faces (Mescheder et al. 2018); 0: none
    r1_every: int = 8  # steps from one penalty to the next
    spectral: bool = False  # spectral normalisation of D (Miyato et al. 2018)
    #: Differentiable augmentation of all that D sees (Zhao et al. 2020), without which D learns a few hundred faces by heart.
    d_augment: bool = True
    d_knows_kind: bool = True  # D knows where a picture is from and the sex, beside the age; the paper's does not
    #: D sees, and C judges, pictures as an export finishes them, with hair's strands and skin's detail (``exported``), and paints
    #: no colour (``edits.painting_no_colour``); else the generators' alone, as where there are no local generators.
    d_sees_finished: bool = True
    #: D sees crops of hair beside those of the regions, and is told how grey the hair is: at an age some are grey, some are not, and some dye it.
    d_sees_hair: bool = True
    d_ramp: int = 500  # steps over which the adversarial weight rises to its full value
    #: What is left in phase 3 of the weights that hold picture, gain, residual and flow to their targets.
    hold: float = 0.3
    augment: float = 1.0  # strength of the augmentation of the inputs; 0 leaves pictures as they are
    #: 0 draws faces as they come, 1 all decades (women and men, sharp and soft faces) equally often.
    balance: float = 0.5
    #: Fraction of phase 2's faces that are drawn in other hair and beards and before other walls (``targets.dressed``).
    dressed: float = 0.3
    #: Steps an example is used for, at about as many different times: where making examples takes longer than learning from them,
    #: as on a GPU. A resumed run starts with new ones.
    reuse: int = 1
    workers: int = 1  # processes that make examples; 0 makes them between the steps
    #: File of ``torch.export.save``: [N, 3, 256, 256] in [-1, 1] -> [N, E]; for ``weights.embedding``.
    embedder: str = ""
    seed: int = 20261123
    weights: LossWeights = field(default_factory=LossWeights)
    network: NetworkConfig = field(default_factory=NetworkConfig)


def paper() -> TrainConfig:
    """Only what the paper states: five losses, C pre-trained on real faces, the GAN from random weights."""
    ours = ("picture", "still", "flow", "grey", "skin", "gain", "residual", "place", "which", "depth")
    off = dict.fromkeys(ours, 0.0)
    weights = LossWeights(adversarial=1.0, classification=1.0, local=0.5, variation=0.1, identity=1.0, **off)
    return TrainConfig(
        classifier_steps=2500,
        supervised_steps=0,
        adversarial_steps=5000,
        adversarial_lr=2e-4,
        r1=0.0,
        spectral=False,
        d_augment=False,
        d_knows_kind=False,
        d_sees_finished=False,
        d_sees_hair=False,
        d_ramp=0,
        augment=0.0,
        balance=0.0,
        dressed=0.0,
        weights=weights,
        network=NetworkConfig(position=False),
    )


def smoke() -> TrainConfig:
    """Every phase in a minute on two cores; the result is of no use."""
    network = NetworkConfig(global_widths=(16, 16, 32), global_blocks=1, decoder_width=16, local_blocks=1)
    return TrainConfig(
        classifier_steps=4,
        supervised_steps=6,
        adversarial_steps=6,
        batch=4,
        classifier_batch=8,
        r1_every=2,
        workers=0,
        weights=LossWeights(classification=0.01),
        network=network,
    )


PRESETS: dict[str, Callable[[], TrainConfig]] = {"default": TrainConfig, "paper": paper, "smoke": smoke}


def restored(values: dict[str, Any]) -> TrainConfig:
    """The settings that a checkpoint keeps; what an older one does not know has its default, but ``d_sees_finished`` and ``d_sees_hair``, which are off as they were then.

    Raises ValueError: it has settings that this version does not know.
    """
    try:
        network = {key: tuple(value) if isinstance(value, list) else value for key, value in values["network"].items()}
        values = {"d_sees_finished": False, "d_sees_hair": False} | values  # before they were settings
        parts = {"weights": LossWeights(**values["weights"]), "network": NetworkConfig(**network)}
        return TrainConfig(**values | parts)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its settings are not those of this version ({error}); begin a new run with --init") from None


def override(config: Any, assignments: list[str]) -> Any:
    """Apply ``key=value`` (``weights.local=0.1``) to a config; values take the type of what they replace.

    Raises ValueError: no ``=``, an unknown key (the known ones are named), or a value of the wrong type.
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
        if not is_dataclass(old):
            raise ValueError(f"{key}: {path[0]!r} is a {type(old).__name__} and has no parts")
        return replace(config, **{path[0]: _set(old, path[1:], value, key)})
    return replace(config, **{path[0]: _parse(old, value, key)})


def _parse(old: Any, value: str, key: str) -> Any:
    if is_dataclass(old):
        raise ValueError(f"{key}: name one of its parts, {', '.join(f'{key}.{f.name}' for f in fields(old))}")
    kind, expected = type(old), type(old).__name__
    try:
        if kind is bool:
            expected = "true or false"
            return {"true": True, "false": False}[value.lower()]
        if kind is tuple:
            expected = f"numbers with commas like {','.join(map(str, old))}"
            return tuple(int(part) for part, _ in zip(value.split(","), old, strict=True))
        return kind(value)
    except (ValueError, KeyError):
        raise ValueError(f"{key}: expected {expected}, got {value!r}") from None
