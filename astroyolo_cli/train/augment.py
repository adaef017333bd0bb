"""Augmentation made for the sky: turns and flips, noise, single bands, stretch; galaxies shrunk to field size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..stretch import Stretch, lupton_rgb, three_channels
from .cutouts import CUTOUT, linear_light
from .samples import Cutout, Field

SIZE = 512  # pixels of a training image
FAINTEST = 5.0  # S/N below which a source is neither demanded nor forbidden
DROWNED = 4.8  # S/N below which it is sky: else nothing tells the network that a lump of noise is no source


@dataclass(frozen=True)
class Sample:
    """One training image and what is known of it.

    Attributes:
        image: (3, 512, 512) float32 RGB in [0, 1].
        boxes: (n, 4) float32, pixels, the centre of the first pixel at 0.
        labels: (n,) int64; star/galaxy for a field, smooth/disk for a canvas of cutouts.
        ignored: (m, 4) float32 boxes that are neither source nor empty sky.
        is_field: True for D_sg, False for D_ds.
        names: of the field or the cutouts that it shows.
        p_second: (n,) float32, the probability of the second class where labels are soft.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray
    is_field: bool
    names: tuple[str, ...] = ()
    p_second: np.ndarray | None = None


def turn(image: np.ndarray, boxes: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One of the eight turns and mirror images of (..., n, n), with its boxes."""
    last = image.shape[-1] - 1
    x0, y0, x1, y1 = boxes.T
    if rng.random() < 0.5:
        image, (x0, x1) = image[..., ::-1], (last - x1, last - x0)
    if rng.random() < 0.5:
        image, (y0, y1) = image[..., ::-1, :], (last - y1, last - y0)
    if rng.random() < 0.5:
        image, (x0, y0, x1, y1) = image.swapaxes(-1, -2), (y0, x0, y1, x1)
    return image, np.stack([x0, y0, x1, y1], 1)


def field_sample(field: Field, stretch: Stretch, rng: np.random.Generator | None) -> Sample:
    """A field as the network sees it; augmented when ``rng`` is given."""
    signals, boxes = crop(field.signals, field.boxes, rng)
    snr, signals = field.snr, signals.astype(np.float32)
    inside = (boxes[:, 2] > boxes[:, 0] + 1) & (boxes[:, 3] > boxes[:, 1] + 1)
    if rng is not None:
        signals, boxes = turn(signals, boxes, rng)
        signals, snr = change_depth(signals, snr, rng)
        signals, snr = drop_bands(signals, snr, rng)
        signals = signals * np.float32(rng.uniform(0.88, 1.12)) + np.float32(rng.normal(0, 0.1))
        stretch = other_stretch(stretch, rng)
    total = np.hypot.reduce(snr, axis=1)
    ignore = field.ignore | (total < FAINTEST)
    true, ignored = inside & ~ignore, inside & ignore & (total >= DROWNED) & ~halos(field)
    image = lupton_rgb(np.ascontiguousarray(signals), stretch)
    return Sample(image, boxes[true], field.labels[true], boxes[ignored], True, (field.name,))


def halos(field: Field) -> np.ndarray:
    """(n,) bool, rows that ignore what a listed star scatters: they follow their star's own row and repeat its S/N.

    Where the source itself is listed, its halo, spikes and trails are sky to learn: ignored, they were found as chains of sources.
    """
    same = (field.snr[1:] == field.snr[:-1]).all(axis=1) & (field.labels[1:] == 0) & field.ignore[1:] & ~field.ignore[:-1]
    return np.concatenate([[False], same & np.isfinite(field.snr[1:]).all(axis=1)])[: len(field.ignore)]


def crop(signals: np.ndarray, boxes: np.ndarray, rng) -> tuple[np.ndarray, np.ndarray]:
    """A 512 x 512 window, at random where ``rng`` is given; smaller fields are padded with empty sky."""
    _, height, width = signals.shape
    spare = max(height - SIZE, 0), max(width - SIZE, 0)
    y, x = (rng.integers(s + 1) if rng is not None else s // 2 for s in spare)
    window = signals[:, y : y + SIZE, x : x + SIZE]
    missing = SIZE - window.shape[1], SIZE - window.shape[2]
    if any(missing):
        window = np.pad(window, ((0, 0), (0, missing[0]), (0, missing[1])))
    moved = np.clip(boxes - np.array([x, y, x, y], np.float32), -0.5, SIZE - 0.5)
    return window, moved


def change_depth(signals: np.ndarray, snr: np.ndarray, rng) -> tuple[np.ndarray, np.ndarray]:
    """Now and then a shallower exposure: white noise on top, sources' S/N reduced accordingly."""
    if rng.random() > 0.25:
        return signals, snr
    extra = np.float32(rng.uniform(0.3, 2.0))
    noise = rng.standard_normal(signals.shape, np.float32)
    total = np.sqrt(1 + extra**2)
    return (signals + extra * noise) / total, snr / total


def drop_bands(signals: np.ndarray, snr: np.ndarray, rng) -> tuple[np.ndarray, np.ndarray]:
    """Now and then one band alone, as for a single-band frame, or two with their mean between them."""
    choice = rng.random()
    if choice < 0.25:
        kept = rng.choice(3, 1)
    elif choice < 0.3:
        kept = np.sort(rng.choice(3, 2, replace=False))
    else:
        return signals, snr
    return three_channels([signals[i] for i in kept]), snr[:, kept]


def other_stretch(stretch: Stretch, rng) -> Stretch:
    """Now and then somebody else's constants, as in a picture that comes already stretched."""
    if rng.random() > 0.2:
        return stretch
    softening = stretch.stretch * float(np.exp(rng.uniform(-0.9, 0.9)))
    return Stretch(minimum=float(rng.uniform(-3.5, -0.5)), stretch=softening, Q=float(rng.uniform(4, 10)))


def canvas_sample(draw, stretch: Stretch, rng: np.random.Generator, augment: bool = True, soft: bool = False) -> Sample:
    """A mosaic of cutouts at the sizes at which galaxies appear in fields.

    Each quarter of the image holds 1, 4 or 16 galaxies.

    Args:
        draw: rng -> Cutout.
        soft: labels are the parts of the votes, not the class that has more of them.
    """
    image = np.zeros((3, SIZE, SIZE), np.float32)
    boxes, shown = [], []
    raw = augment and rng.random() < 0.5
    grey = augment and rng.random() < 0.3
    for y, x, cell in mosaic_cells(rng):
        cutout = draw(rng)
        rgb, box = shrink(cutout, cell, rng, augment)
        rgb = restretch(rgb, stretch, rng) if raw else rgb
        image[:, y : y + cell, x : x + cell] = grey_of(rgb, rng) if grey else rgb
        boxes.append(box + np.array([x, y, x, y], np.float32))
        shown.append(cutout)
    labels = np.array([cutout.label for cutout in shown], np.int64)
    p_disk = np.array([cutout.p_disk for cutout in shown], np.float32) if soft else None
    names = tuple(cutout.name for cutout in shown)
    return Sample(image, np.array(boxes, np.float32), labels, np.zeros((0, 4), np.float32), False, names, p_disk)


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
