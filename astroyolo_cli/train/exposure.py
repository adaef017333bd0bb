"""From a field's signals to the picture that the network sees: depth, bands, gain and stretch of one exposure.

Chosen where samples are made, carried out on NumPy's arrays there or on PyTorch's where the network learns: a GPU does it best itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..enlarge import enlarged
from ..stretch import Stretch, lupton_rgb, three_channels

BANDS = (0, 1, 2)


@dataclass(frozen=True)
class Exposure:
    """How a window of the sky is taken.

    Attributes:
        stretch: of the picture.
        noise: sigma of the white noise that a shallower exposure adds, in units of that which is there.
        seed: of that noise.
        bands: one to three that are kept, of reddest first.
        gain, offset: of the signals, in the end.
        zoom: how many times the picture is enlarged; of the window only the upper left part that then fills it is shown.
    """

    stretch: Stretch
    noise: float = 0.0
    seed: int = 0
    bands: tuple[int, ...] = BANDS
    gain: float = 1.0
    offset: float = 0.0
    zoom: float = 1.0

    @property
    def total_noise(self) -> float:
        """Sigma of all noise before it is made the unit again."""
        return math.hypot(1.0, self.noise)


def exposed(signals, exposure: Exposure):
    """(3, H, W) float32 RGB in [0, 1] of signals (3, H, W) over their noise, reddest first; NumPy's or PyTorch's float32."""
    side = shown_side(signals.shape[-1], exposure.zoom)
    signals = signals[:, :side, :side]
    if exposure.noise:
        signals = (signals + exposure.noise * white_noise(signals, exposure.seed)) / exposure.total_noise
    if exposure.bands != BANDS:
        signals = three_channels([signals[band] for band in exposure.bands])
    picture = lupton_rgb(signals * exposure.gain + exposure.offset, exposure.stretch)
    return enlarged(picture[None], exposure.zoom)[0]


def shown_side(side: int, zoom: float) -> int:
    """Pixels of a window of ``side`` that fill it when they are shown ``zoom`` times enlarged.

    >>> [shown_side(512, zoom) for zoom in (1.0, 1.25, 1.5)]
    [512, 410, 341]
    """
    return round(side / zoom)


def white_noise(like, seed: int):
    """Of sigma 1 and the shape of ``like``, float32; the seed decides it, with the library and the device."""
    if isinstance(like, np.ndarray):
        return np.random.default_rng(seed).standard_normal(like.shape, np.float32)
    import torch

    generator = torch.Generator(like.device).manual_seed(seed)
    return torch.randn(like.shape, generator=generator, device=like.device)
