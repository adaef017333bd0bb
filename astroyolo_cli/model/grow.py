"""A larger network that computes what a smaller one learned, to go on from (after Net2Net, Chen et al. 2016, arXiv:1511.05641)."""

from __future__ import annotations

import re

import torch
from torch import nn

from .network import AstroYOLO
from .sizes import SIZES, Size

# How many maps are joined in the input of a convolution: the channels of each grow by themselves.
JOINED = {r"backbone\.dark5\.1\.join": 4, r"neck\.(down|up)\d\.(through|past)": 2, r".*\.join": 2}


def grown(model: AstroYOLO, size: str) -> AstroYOLO:
    """The network of ``size`` whose outputs are those of ``model``, in evaluation; its new level P2, if it gets one, apart.

    The channels that ``model`` has stay what they are and do not see the new ones, which start at random.
    Only networks of the same depth and kind of convolution can grow into one another.

    Raises:
        ValueError: unless ``size`` is such a one, at least as wide, with P2 if ``model`` has it.
    """
    if not can_grow(SIZES[model.size], SIZES[size]):
        raise ValueError(f"{model.size} cannot grow into {size}: same depth and kind of convolution, no narrower, P2 kept")
    larger = AstroYOLO(size)
    state, modules = larger.state_dict(), dict(larger.named_modules())
    with torch.no_grad():
        for name, old in model.state_dict().items():
            state[name].copy_(placed(old, state[name], modules[name.rpartition(".")[0]], joined(name)))
    return larger


def can_grow(old: Size, new: Size) -> bool:
    """Whether a network of size ``old`` can become one of size ``new``."""
    return (old.repeats, old.depthwise) == (new.repeats, new.depthwise) and old.base <= new.base and old.p2 <= new.p2


def joined(name: str) -> int:
    """How many maps the input of the convolution with parameter ``name`` joins."""
    block = name.removesuffix(".0.weight")
    return next((maps for pattern, maps in JOINED.items() if re.fullmatch(pattern, block)), 1)


def placed(old: torch.Tensor, new: torch.Tensor, module: nn.Module, maps: int) -> torch.Tensor:
    """``new`` with ``old`` at the places of its channels, blind to the channels that are new."""
    if old.shape == new.shape:
        return old
    result = new.clone()
    if isinstance(module, nn.Conv2d) and module.groups == 1:
        at = places(old.shape[1], new.shape[1], maps)
        result[: old.shape[0]] = 0
        result[: old.shape[0], at] = old
    else:
        result[: old.shape[0]] = old
    return result


def places(old: int, new: int, maps: int) -> torch.Tensor:
    """(old,) where channels go when each of the ``maps`` joined maps grows at its end.

    >>> places(4, 6, 2).tolist()
    [0, 1, 3, 4]
    """
    channels = torch.arange(old)
    each = old // maps
    return channels // each * (new // maps) + channels % each
