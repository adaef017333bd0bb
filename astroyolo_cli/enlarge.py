"""Images shown to the network larger than they are: cubic interpolation, Pillow's, and PyTorch's that agrees with it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

STRIDE = 32  # pixels: the side of what the network sees is a multiple


def step_of(zoom: float) -> int:
    """Pixels of which a tile's side must be a multiple, so that enlarged it is one of the network's stride.

    >>> [step_of(zoom) for zoom in (1.0, 1.25, 1.5, 2.0)]
    [32, 128, 64, 32]
    """
    return STRIDE * Fraction(zoom).limit_denominator(4).denominator


def enlarged(images, zoom: float):
    """Images (B, 3, side, side) in [0, 1] with sides ``zoom`` times as long; NumPy's or PyTorch's, where they are."""
    if zoom == 1:
        return images
    side = round(images.shape[-1] * zoom)
    if isinstance(images, np.ndarray):
        return np.clip(larger_planes(images, side), 0, 1)
    from torch.nn.functional import interpolate

    return interpolate(images, size=(side, side), mode="bicubic", antialias=True).clamp(0, 1)


def larger_planes(images: np.ndarray, side: int) -> np.ndarray:
    """Planes (n, channels, h, w) float32 as (n, channels, side, side), by cubic interpolation."""
    from PIL import Image

    result = np.empty((*images.shape[:2], side, side), np.float32)
    for planes, larger in zip(images, result):
        for plane, whole in zip(planes, larger):
            whole[:] = Image.fromarray(np.ascontiguousarray(plane, np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    return result
