"""Building blocks of YOLOX (Ge et al. 2021, arXiv:2107.08430), written afresh.

All convolutions are free of bias and followed by batch normalisation and SiLU.
"""

from __future__ import annotations

import torch
from torch import nn

from .sizes import BN_EPS

BN_MOMENTUM = 0.03  # as BN_EPS not in the original's checkpoints, and not PyTorch's default


class ConvBlock(nn.Sequential):
    """Convolution, batch normalisation, SiLU; (B, c_in, H, W) to (B, c_out, H / stride, W / stride)."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1, padding: int | None = None):
        padding = kernel // 2 if padding is None else padding
        super().__init__(
            nn.Conv2d(c_in, c_out, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(c_out, eps=BN_EPS, momentum=BN_MOMENTUM),
            nn.SiLU(inplace=True),
        )


def conv3x3(c_in: int, c_out: int, depthwise: bool, stride: int = 1) -> nn.Module:
    """A 3x3 convolution block, or (nano) its depthwise 3x3 and pointwise 1x1 pair."""
    if not depthwise:
        return ConvBlock(c_in, c_out, 3, stride)
    return nn.Sequential(ConvBlock(c_in, c_in, 3, stride, groups=c_in), ConvBlock(c_in, c_out, 1))


class Bottleneck(nn.Module):
    """1x1 then 3x3, added to the input where ``shortcut``; same shape out as in."""

    def __init__(self, channels: int, depthwise: bool, shortcut: bool):
        super().__init__()
        self.convs = nn.Sequential(ConvBlock(channels, channels, 1), conv3x3(channels, channels, depthwise))
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.convs(x) if self.shortcut else self.convs(x)


class CSPLayer(nn.Module):
    """Half of the channels through ``n`` bottlenecks, half past them (Wang et al. 2019, arXiv:1911.11929)."""

    def __init__(self, c_in: int, c_out: int, n: int, depthwise: bool, shortcut: bool):
        super().__init__()
        half = c_out // 2
        self.through = ConvBlock(c_in, half, 1)
        self.past = ConvBlock(c_in, half, 1)
        self.blocks = nn.Sequential(*(Bottleneck(half, depthwise, shortcut) for _ in range(n)))
        self.join = ConvBlock(2 * half, c_out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.join(torch.cat([self.blocks(self.through(x)), self.past(x)], dim=1))


class SPP(nn.Module):
    """Spatial pyramid pooling: the map beside its maxima over 5, 9 and 13 cells."""

    def __init__(self, channels: int):
        super().__init__()
        self.reduce = ConvBlock(channels, channels // 2, 1)
        # Maxima over 5, then 5 and 5 again, cover 9 and 13: the same numbers for less work.
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.join = ConvBlock(2 * channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        over_1 = self.reduce(x)
        over_5 = self.pool(over_1)
        over_9 = self.pool(over_5)
        return self.join(torch.cat([over_1, over_5, over_9, self.pool(over_9)], dim=1))
