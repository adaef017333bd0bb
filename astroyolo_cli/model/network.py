"""The AstroYOLO network: CSPDarknet, SPP, PAFPN and three heads, in YOLOX's sizes, and those with a level P2 of stride 4."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from .heads import Head, set_objectness_prior
from .layers import SPP, ConvBlock, CSPLayer, conv3x3
from .sizes import HEADS, SIZES, STRIDES, Size, strides_of


class Backbone(nn.Module):
    """CSPDarknet: (B, 3, H, W) to maps of strides 4, 8, 16 and 32."""

    def __init__(self, size: Size):
        super().__init__()
        c, n, dw = size.base, size.repeats, size.depthwise
        # Exactly the original's Focus followed by 3x3, its weights rearranged.
        self.stem = ConvBlock(3, c, 6, stride=2, padding=2)
        self.dark2 = nn.Sequential(conv3x3(c, 2 * c, dw, 2), CSPLayer(2 * c, 2 * c, n, dw, shortcut=True))
        self.dark3 = nn.Sequential(conv3x3(2 * c, 4 * c, dw, 2), CSPLayer(4 * c, 4 * c, 3 * n, dw, shortcut=True))
        self.dark4 = nn.Sequential(conv3x3(4 * c, 8 * c, dw, 2), CSPLayer(8 * c, 8 * c, 3 * n, dw, shortcut=True))
        self.dark5 = nn.Sequential(conv3x3(8 * c, 16 * c, dw, 2), SPP(16 * c), CSPLayer(16 * c, 16 * c, n, dw, shortcut=False))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        stride_4 = self.dark2(self.stem(images))
        stride_8 = self.dark3(stride_4)
        stride_16 = self.dark4(stride_8)
        return stride_4, stride_8, stride_16, self.dark5(stride_16)


class Neck(nn.Module):
    """PAFPN: what coarse levels know of the surroundings goes down, what fine levels see goes up again.

    P2, where the size has it, only receives: the other levels are those of the size without.
    """

    def __init__(self, size: Size):
        super().__init__()
        c, n, dw = size.base, size.repeats, size.depthwise
        self.lateral5 = ConvBlock(16 * c, 8 * c, 1)
        self.down4 = CSPLayer(16 * c, 8 * c, n, dw, shortcut=False)
        self.lateral4 = ConvBlock(8 * c, 4 * c, 1)
        self.down3 = CSPLayer(8 * c, 4 * c, n, dw, shortcut=False)
        self.reduce3 = conv3x3(4 * c, 4 * c, dw, 2)
        self.up4 = CSPLayer(8 * c, 8 * c, n, dw, shortcut=False)
        self.reduce4 = conv3x3(8 * c, 8 * c, dw, 2)
        self.up5 = CSPLayer(16 * c, 16 * c, n, dw, shortcut=False)
        self.lateral3 = ConvBlock(4 * c, 2 * c, 1) if size.p2 else None
        self.down2 = CSPLayer(4 * c, 2 * c, n, dw, shortcut=False) if size.p2 else None

    def forward(self, stride_4, stride_8, stride_16, stride_32) -> list[torch.Tensor]:
        lateral5 = self.lateral5(stride_32)
        top4 = self.down4(torch.cat([F.interpolate(lateral5, scale_factor=2.0), stride_16], 1))
        lateral4 = self.lateral4(top4)
        out3 = self.down3(torch.cat([F.interpolate(lateral4, scale_factor=2.0), stride_8], 1))
        out4 = self.up4(torch.cat([self.reduce3(out3), lateral4], 1))
        out5 = self.up5(torch.cat([self.reduce4(out4), lateral5], 1))
        if self.down2 is None:
            return [out3, out4, out5]
        out2 = self.down2(torch.cat([F.interpolate(self.lateral3(out3), scale_factor=2.0), stride_4], 1))
        return [out2, out3, out4, out5]


class AstroYOLO(nn.Module):
    """Backbone, neck and the three heads; all heads run in one pass."""

    def __init__(self, size: str = "nano"):
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"size must be one of {', '.join(SIZES)}, got {size!r}")
        shape = SIZES[size]
        c = shape.base
        self.size = size
        self.backbone = Backbone(shape)
        self.neck = Neck(shape)
        channels, p2 = (4 * c, 8 * c, 16 * c), 2 * c * shape.p2
        self.heads = nn.ModuleDict({name: Head(channels, 4 * c, outputs, shape.depthwise, p2) for name, outputs in HEADS.items()})
        set_objectness_prior(self.heads["detection"])

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Raw outputs a cell.

        Args:
            images: (B, 3, H, W) float RGB in [0, 1], reddest band first; H and W multiples of 32.

        Returns:
            head name -> (B, cells, outputs), cells of the finest level first, row by row. Detection: x, y,
            log w, log h in strides, objectness logit; the class heads: a logit a class.
        """
        levels = self.neck(*self.backbone(images))
        return {name: head(levels) for name, head in self.heads.items()}


def grid(height: int, width: int, strides: tuple[int, ...] = STRIDES, device=None) -> tuple[torch.Tensor, torch.Tensor]:
    """Corners (cells, 2) x, y of the cells, in strides, and strides (cells,), in the order of the outputs."""
    corners, each = [], []
    for stride in strides:
        y, x = torch.meshgrid(torch.arange(height // stride, device=device), torch.arange(width // stride, device=device), indexing="ij")
        corners.append(torch.stack([x, y], -1).reshape(-1, 2).float())
        each.append(torch.full((x.numel(),), float(stride), device=device))
    return torch.cat(corners), torch.cat(each)


def grid_of(detection: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The grid of outputs (B, cells, ...) for images of (height, width) pixels."""
    return grid(*size, strides_of(detection.shape[1], *size), detection.device)


def decode(detection: torch.Tensor, corners: torch.Tensor, strides: torch.Tensor) -> torch.Tensor:
    """(B, cells, 4) boxes x0, y0, x1, y1 in pixels from the corner of the first pixel (YOLOX's grid), float32."""
    raw = detection[..., :4].float()
    center = (raw[..., :2] + corners) * strides[:, None]
    half = torch.exp(raw[..., 2:4].clamp(max=8.0)) * strides[:, None] / 2
    return torch.cat([center - half, center + half], dim=-1)


@torch.no_grad()
def outputs_here(model: AstroYOLO, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Raw outputs, float32 on the CPU, of images (B, 3, H, W) there, whatever the network's device is."""
    images = images.to(next(model.parameters()).device, memory_format=torch.channels_last)
    return {head: output.float().cpu() for head, output in model(images).items()}
