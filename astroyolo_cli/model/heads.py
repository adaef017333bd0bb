"""Three heads of identical architecture on the neck: detection, star/galaxy, smooth/disk."""

from __future__ import annotations

import math

import torch
from torch import nn

from .layers import ConvBlock, conv3x3

OBJECTNESS_PRIOR = 0.01  # YOLOX: a new network calls one cell in a hundred a source


class Head(nn.Module):
    """At each level a 1x1 stem, two 3x3 convolutions and a 1x1 prediction; at P2, where there is one, a narrower 3x3 and a prediction.

    Args:
        channels: of the neck's maps of strides 8, 16 and 32.
        width: channels of the convolutions.
        p2: channels of the map of stride 4, and of the convolutions there; 0 for none.
    """

    def __init__(self, channels: tuple[int, ...], width: int, outputs: int, depthwise: bool, p2: int = 0):
        super().__init__()
        self.stems = nn.ModuleList(ConvBlock(c, width, 1) for c in channels)
        self.convs = nn.ModuleList(nn.Sequential(conv3x3(width, width, depthwise), conv3x3(width, width, depthwise)) for _ in channels)
        self.predictions = nn.ModuleList(nn.Conv2d(width, outputs, 1) for _ in channels)
        self.p2 = nn.Sequential(conv3x3(p2, p2, depthwise), nn.Conv2d(p2, outputs, 1)) if p2 else None

    def forward(self, levels: list[torch.Tensor]) -> torch.Tensor:
        """Neck maps, finest first, to (B, cells, outputs): levels one after the other, row by row."""
        fine = [] if self.p2 is None else [self.p2(levels[0])]
        maps = fine + [p(c(s(x))) for x, s, c, p in zip(levels[len(fine) :], self.stems, self.convs, self.predictions)]
        return torch.cat([m.flatten(2) for m in maps], dim=2).transpose(1, 2)


def set_objectness_prior(detection: Head) -> None:
    """Start the objectness, output 4, at ``OBJECTNESS_PRIOR``, so that empty sky does not swamp the first steps."""
    for prediction in (*detection.predictions, *([detection.p2[-1]] if detection.p2 else [])):
        with torch.no_grad():
            prediction.bias[4] = -math.log((1 - OBJECTNESS_PRIOR) / OBJECTNESS_PRIOR)
