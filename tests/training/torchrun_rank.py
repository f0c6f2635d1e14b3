"""What torchrun starts in the tests: ``training.fit``, with the weights of every process written beside the checkpoint."""

import typer
from safetensors.torch import save_file

from training import fit
from training.trainer import Trainer


def save_everywhere(self, path, save=Trainer.save):
    save(self, path)
    tensors = {f"{name}.{key}": t for name, net in self.raw().items() for key, t in net.state_dict().items()}
    save_file(
        {key: t.contiguous().clone() for key, t in tensors.items()}, path.with_name(f"rank{self.fabric.global_rank}")
    )


Trainer.save = save_everywhere
typer.run(fit.main)
