"""What a network costs, counted by PyTorch as it runs: to compare with what is counted in an exported graph."""

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def count_macs(module: torch.nn.Module, *inputs: Any) -> int:
    """Multiply-accumulates of one forward pass: convolutions, linear layers and matrix products."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return counter.get_total_flops() // 2
