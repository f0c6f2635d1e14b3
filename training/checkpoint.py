"""Checkpoints: one safetensors file a run, written whole or not at all, with no pickle in it.

Keys are ``net.*``, ``average.*``, ``d.*``, ``c.*`` (weights), ``optimiser.NAME.INDEX.KEY`` (tensors of the optimisers) and
``rng.*`` (states of the random generators, one row a process); counters and learning rates are JSON in the header.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

FILE = "checkpoint.safetensors"


def save(path: Path, tensors: dict[str, Tensor], counters: dict[str, Any]) -> None:
    """Write ``path`` under its final name only when it is whole."""
    partial = path.with_suffix(".partial")
    # Shared or strided storage is not allowed in the file; a copy on the CPU is neither.
    plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    save_file(plain, partial, metadata={"counters": json.dumps(counters)})
    partial.replace(path)


def load(path: Path, prefix: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors whose key starts with ``prefix`` (which is cut off), and the counters.

    Raises FileNotFoundError: no such file; ValueError: not a checkpoint of training.fit.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}; python -m training.fit FOLDER makes FOLDER/{FILE}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key[len(prefix) :]: file.get_tensor(key) for key in file.keys() if key.startswith(prefix)}  # noqa: SIM118
        return tensors, json.loads(metadata["counters"])
    except Exception as error:  # safetensors raises its own errors from Rust
        raise ValueError(f"{path} is not a checkpoint of training.fit: {error}") from error


def save_start(path: Path, folder: Path) -> None:
    """Keep of a run what another can start from (``fit --init FOLDER``): averaged weights in half precision, 2 MB.

    The age layers are left out: a run takes them from its own targets. Raises: as ``load``.
    """
    weights, _ = load(path, "average.")
    kept = {
        f"average.{key}": value.half() for key, value in weights.items() if key not in ("lines.layers", "lines.windows")
    }
    folder.mkdir(parents=True, exist_ok=True)
    save(folder / FILE, kept, {})


def flatten_optimiser(name: str, optimiser: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """An optimiser's state as tensors under flat keys, and its parameter groups as JSON-able dictionaries."""
    state = optimiser.state_dict()
    tensors = {
        f"optimiser.{name}.{index}.{key}": torch.as_tensor(value)
        for index, entry in state["state"].items()
        for key, value in entry.items()
    }
    return tensors, state["param_groups"]


def restore_optimiser(
    optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    """The inverse of ``flatten_optimiser``; ``tensors`` without the ``optimiser.NAME.`` prefix."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, entry = key.split(".", 1)
        state.setdefault(int(index), {})[entry] = value
    for group in groups:
        if "betas" in group:
            group["betas"] = tuple(group["betas"])  # JSON has no tuples
    optimiser.load_state_dict({"state": state, "param_groups": groups})
