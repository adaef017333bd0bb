"""Canvases: mosaics of cutouts of D_ds at the sizes at which galaxies appear in fields."""

from __future__ import annotations

import numpy as np

from ..stretch import Stretch, lupton_rgb
from .augment import turn
from .cutouts import CUTOUT, linear_light
from .samples import SIZE, Cutout, Sample


def canvas_sample(
    draw, stretch: Stretch, rng: np.random.Generator, augment: bool = True, soft: bool = False, native: bool = False
) -> Sample:
    """A mosaic of cutouts at the sizes at which galaxies appear in fields.

    Each quarter of the image holds 1, 4 or 16 galaxies; at their native scale it holds one.

    Args:
        draw: rng -> Cutout.
        native: show each galaxy at the survey's own pixel scale.
        soft: labels are the parts of the votes, not the class that has more of them.
    """
    image = np.zeros((3, SIZE, SIZE), np.float32)
    boxes, shown = [], []
    raw = augment and rng.random() < 0.5
    grey = augment and rng.random() < 0.3
    for y, x, cell in QUARTERS if native else mosaic_cells(rng):
        cutout = draw(rng)
        rgb, box = at_native_scale(cutout, cell, rng, augment) if native else shrink(cutout, cell, rng, augment)
        rgb = restretch(rgb, stretch, rng) if raw else rgb
        image[:, y : y + cell, x : x + cell] = grey_of(rgb, rng) if grey else rgb
        boxes.append(box + np.array([x, y, x, y], np.float32))
        shown.append(cutout)
    labels = np.array([cutout.label for cutout in shown], np.int64)
    p_disk = np.array([cutout.p_disk for cutout in shown], np.float32) if soft else None
    names = tuple(cutout.name for cutout in shown)
    return Sample(image, np.array(boxes, np.float32), labels, np.zeros((0, 4), np.float32), False, names, p_disk)


QUARTERS = [(y, x, SIZE // 2) for y in (0, SIZE // 2) for x in (0, SIZE // 2)]  # y, x, side


def mosaic_cells(rng) -> list[tuple[int, int, int]]:
    """y, x and side of the mosaic's cells."""
    cells = []
    for top in (0, SIZE // 2):
        for left in (0, SIZE // 2):
            side = SIZE // 2 // int(rng.choice([1, 2, 4], p=[0.3, 0.4, 0.3]))
            steps = range(0, SIZE // 2, side)
            cells += [(top + y, left + x, side) for y in steps for x in steps]
    return cells


def shrink(cutout: Cutout, side: int, rng, augment: bool) -> tuple[np.ndarray, np.ndarray]:
    """(3, side, side) float32 in [0, 1] of the cutout's middle, turned and shifted, and its box."""
    from PIL import Image

    image, box = cutout.rgb, cutout.box[None]
    window = CUTOUT
    if augment:
        image, box = turn(image, box, rng)
        window = int(rng.uniform(0.55, 1.0) * CUTOUT)
    spare = CUTOUT - window
    shift = rng.integers(-spare // 4, spare // 4 + 1, 2) if augment and spare > 3 else np.zeros(2, int)
    left, top = spare // 2 + shift
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    small = picture.resize(
        (side, side), Image.Resampling.BOX if side < window else Image.Resampling.BILINEAR, (left, top, left + window, top + window)
    )
    box = (box[0] + 0.5 - np.array([left, top, left, top])) * side / window - 0.5
    return np.asarray(small, np.float32).transpose(2, 0, 1) / 255, np.clip(box, -0.5, side - 0.5)


def at_native_scale(cutout: Cutout, side: int, rng, augment: bool) -> tuple[np.ndarray, np.ndarray]:
    """(3, side, side) float32 in [0, 1]: the cutout with the survey's own pixels in a cell, and its box; its sky around it."""
    from PIL import Image

    image, box = cutout.rgb, cutout.box[None]
    if augment:
        image, box = turn(image, box, rng)
    scale = cutout.native * (float(rng.uniform(0.8, 1.25)) if augment else 1.0)
    size = max(round(CUTOUT * scale), 8)
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    shown = np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS), np.float32).transpose(2, 0, 1) / 255
    cell = np.broadcast_to(np.median(shown, axis=(1, 2), keepdims=True), (3, side, side)).copy()
    into, of = max((side - size) // 2, 0), max((size - side) // 2, 0)
    width = min(side, size)
    cell[:, into : into + width, into : into + width] = shown[:, of : of + width, of : of + width]
    box = (box[0] + 0.5) * (size / CUTOUT) - 0.5 + into - of
    return cell, np.clip(box, -0.5, side - 0.5)


def restretch(rgb: np.ndarray, stretch: Stretch, rng) -> np.ndarray:
    """The same galaxy in a survey of another depth: light made linear, noise added, our own stretch."""
    light = linear_light(rgb)
    light = light - np.median(light, axis=(1, 2), keepdims=True)
    middle = light.shape[1] // 2
    reach = max(light.shape[1] // 16, 1)
    peak = max(light[:, middle - reach : middle + reach + 1, middle - reach : middle + reach + 1].mean(0).max(), 1e-3)
    scaled = light * np.float32(np.exp(rng.uniform(np.log(10), np.log(600))) / peak)
    noise = rng.standard_normal(light.shape, np.float32)
    return lupton_rgb(scaled + noise * np.float32(0.95), stretch)


def grey_of(rgb: np.ndarray, rng) -> np.ndarray:
    """One of the channels, or their mean, in all three."""
    choice = rng.integers(4)
    one = rgb.mean(axis=0) if choice == 3 else rgb[choice]
    return np.repeat(one[None], 3, axis=0)
