"""What runs the network: images in, raw outputs of the three heads out, both as NumPy arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import AstroYOLOError
from .checkpoint import Card, load


class Engine(Protocol):
    """A network that is ready to run; ``card`` says what its weight file says."""

    card: Card

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """(B, 3, H, W) float32 RGB in [0, 1] to head -> (B, cells, outputs) float32."""


class TorchEngine:
    """PyTorch in float32, batch normalisation folded into the convolutions."""

    def __init__(self, path: Path, device: str):
        import torch

        model, self.card = load(path)
        self.device = torch.device(device)
        self._model = fold_batch_norm(model).to(self.device, memory_format=torch.channels_last)

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(images).to(self.device, memory_format=torch.channels_last)
            return {head: output.float().cpu().numpy() for head, output in self._model(batch).items()}


def fold_batch_norm(model):
    """The same network in evaluation mode with every convolution and its normalisation as one convolution."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    from .layers import ConvBlock

    for block in model.modules():
        if isinstance(block, ConvBlock):
            block[0] = fuse_conv_bn_eval(block[0], block[1])
            block[1] = nn.Identity()
    return model


ENGINES = {"torch": TorchEngine}


def open_engine(path: Path, engine: str = "auto", device: str = "auto") -> Engine:
    """The fastest engine at hand for ``auto``, else the named one.

    Raises:
        AstroYOLOError: for an unknown engine, or a device that is not there.
    """
    if engine not in ("auto", *ENGINES):
        raise AstroYOLOError(f"engine {engine!r}: must be auto or one of {', '.join(ENGINES)}")
    return ENGINES["torch" if engine == "auto" else engine](path, best_device(device))


def best_device(device: str) -> str:
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there.get(device, False):
        raise AstroYOLOError(f"device {device!r}: not available here; use one of {', '.join(n for n, ok in there.items() if ok)} or auto")
    return device
