"""Makes a small model in the format of a checkout, and what that checkout's own lgin-edge makes of picture.png:

    python make.py lgin-0.5 [--int8 | --age]     writes lgin-0.5.onnx and lgin-0.5.png (--age: .txt, years) beside this file

To be run with the code of the release whose format is to be kept (README.md). The weights are random, and large enough that one
sees what they do.
"""

import argparse
import inspect
from pathlib import Path

import numpy as np
import onnx
import torch
from PIL import Image
from torch import nn

import lgin_edge
from lgin_edge import geometry
from training import export, networks

try:
    from training import critics
except ImportError:  # until weights 1.0 they were there
    critics = networks
Critic = critics.Critic

HERE = Path(__file__).parent
S, P, K = 32, 16, 5
NARROW = {"face_size": S, "patch_size": P, "global_widths": (8, 8, 8), "global_blocks": 1, "decoder_width": 8,
          "local_widths": (4, 4), "local_blocks": 1, "layers": 2, "texture_size": 32}  # fmt: skip


class NarrowCritic(Critic):
    """C's trunk with two layers in place of five."""

    def __init__(self, spectral: bool) -> None:
        nn.Module.__init__(self)
        self.width = 8
        self.body = nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.LeakyReLU(0.2), nn.Conv2d(8, 8, 3, 2), nn.LeakyReLU(0.2))


def randomise(net: nn.Module) -> nn.Module:
    """Residual branches and heads start at zero; here everything does something."""
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
        if getattr(net, "lines", None) is not None:
            net.lines.layers.normal_(std=0.3)
    return net.eval()


def transformer(path: Path, name: str, int8: bool) -> None:
    known = inspect.signature(networks.NetworkConfig).parameters
    net = randomise(networks.LGIN(networks.NetworkConfig(**{k: v for k, v in NARROW.items() if k in known})))
    model = export.export(net, path, name)
    if int8:
        from training import quantize

        rng = np.random.default_rng(0)
        shapes = {"face": (1, 3, S, S), "patches": (1, 5, 3, P, P)}
        rest = {"boxes": geometry.REGION_BOXES[None].astype(np.float32)}
        feeds = [
            {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}
            | rest
            | {"age": np.eye(K, dtype=np.float32)[i % K][None]}
            for i in range(2 * K)
        ]
        onnx.save(quantize.quantize(model, feeds), path)


def age_model(path: Path, name: str) -> None:
    critics.Critic = NarrowCritic
    classifier = randomise(critics.AgeClassifier(K))
    classifier.head[-1].weight.data *= 20  # else every age is about as likely as any other
    export.export_classifier(classifier, path, name)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--age", action="store_true")
    wanted = parser.parse_args()
    path = HERE / f"{wanted.name}.onnx"
    image = np.asarray(Image.open(HERE / "picture.png"))
    landmarks = geometry.TEMPLATE * 80 + (22, 9)
    torch.manual_seed(0)
    if wanted.age:
        age_model(path, wanted.name)
        with lgin_edge.Transformer(age_model=path) as t:
            path.with_suffix(".txt").write_text(f"{t.estimate_age(image, landmarks=landmarks)[0].years:.4f}\n")
    else:
        transformer(path, wanted.name, wanted.int8)
        with lgin_edge.Transformer(path) as t:
            Image.fromarray(t.age(image, group=3.5, landmarks=landmarks)).save(path.with_suffix(".png"), optimize=True)


main()
