"""Canvases: mosaics of cutouts of D_ds at the sizes at which galaxies appear in fields."""

from __future__ import annotations

import numpy as np

from ..enlarge import larger_planes
from ..stretch import Stretch, lupton_rgb
from .augment import blurred_boxes, turn
from .cutouts import CUTOUT, linear_light
from .samples import SIZE, Cutout, Sample


def canvas_sample(
    draw, stretch: Stretch, rng: np.random.Generator, augment: bool = True, soft: bool = False, native: bool = False
) -> Sample:
    """A mosaic of cutouts at the sizes at which galaxies appear in fields.

    Each quarter of the image holds 1 to 16 galaxies of one size, from the cutout's own to a sixteenth of it; at their native
    scale it holds one. The smallest are shown as a survey would, blurred and noisy: of many nothing can be told, and the network
    shall say so.

    Args:
        draw: rng -> Cutout.
        native: show each galaxy at the survey's own pixel scale.
        soft: labels are the parts of the votes, not the class that has more of them.
    """
    raw = augment and rng.random() < 0.5
    grey = augment and rng.random() < 0.3
    cells = QUARTERS if native else mosaic_cells(rng)
    signals, pictures = np.zeros((3, SIZE, SIZE), np.float32), []
    boxes, shown = [], []
    for y, x, cell in cells:
        cutout = draw(rng)
        rgb, box = at_native_scale(cutout, cell, rng, augment) if native else shrink(cutout, cell, rng, augment)
        place = (slice(None), slice(y, y + cell), slice(x, x + cell))
        if raw or cell < CLEAR:
            signals[place], box = as_observed(rgb, box, rng)
        else:
            pictures.append((place, rgb))
        boxes.append(box + np.array([x, y, x, y], np.float32))
        shown.append(cutout)
    image = stretched(signals, stretch, rng) if len(pictures) < len(cells) else signals
    for place, rgb in pictures:
        image[place] = rgb
    if grey:
        for y, x, cell in cells:
            image[:, y : y + cell, x : x + cell] = grey_of(image[:, y : y + cell, x : x + cell], rng)
    labels = np.array([cutout.label for cutout in shown], np.int64)
    p_disk = np.array([cutout.p_disk for cutout in shown], np.float32) if soft else None
    names = tuple(cutout.name for cutout in shown)
    return Sample(image, np.array(boxes, np.float32), labels, np.zeros((0, 4), np.float32), False, names, p_disk)


QUARTERS = [(y, x, SIZE // 2) for y in (0, SIZE // 2) for x in (0, SIZE // 2)]  # y, x, side
PARTS = {1: 0.25, 2: 0.35, 4: 0.2, 8: 0.12, 16: 0.08}  # of a quarter's side that a galaxy has, and how often
MOST = 16  # galaxies a quarter
CLEAR = 64  # pixels of a cell, below which a shrunk picture would be sharper than any telescope's
SHARPEST, WIDEST = 0.6, 2.2  # sigma of the blur, pixels
FAINTEST, BRIGHTEST = 40.0, 600.0  # S/N over all bands, and of the middle's pixels
SHOWN = {1.0: 0.6, 1.25: 0.2, 1.5: 0.2}  # times that the sky around the galaxies is enlarged, and how often


def mosaic_cells(rng) -> list[tuple[int, int, int]]:
    """y, x and side of the mosaic's cells."""
    cells = []
    for top, left, quarter in QUARTERS:
        parts = int(rng.choice(list(PARTS), p=list(PARTS.values())))
        side = quarter // parts
        grid = [(top + side * row, left + side * column, side) for row in range(parts) for column in range(parts)]
        cells += grid if len(grid) <= MOST else [grid[i] for i in rng.permutation(len(grid))[:MOST]]
    return cells


def shrink(cutout: Cutout, side: int, rng, augment: bool) -> tuple[np.ndarray, np.ndarray]:
    """(3, side, side) float32 in [0, 1] of the cutout's middle, turned and shifted, and its box."""
    from PIL import Image

    window = int(rng.uniform(0.55, 1.0) * CUTOUT) if augment else CUTOUT
    spare = CUTOUT - window
    shift = rng.integers(-spare // 4, spare // 4 + 1, 2) if augment and spare > 3 else np.zeros(2, int)
    left, top = spare // 2 + shift
    method = Image.Resampling.BOX if side < window else Image.Resampling.BILINEAR
    part = (left, top, left + window, top + window)
    small = np.stack([np.asarray(Image.fromarray(channel).resize((side, side), method, part), np.float32) for channel in cutout.rgb])
    box = np.clip((cutout.box + 0.5 - np.array([left, top, left, top])) * side / window - 0.5, -0.5, side - 0.5)[None]
    small, box = turn(small, box, rng) if augment else (small, box)
    return small / 255, box[0]


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


def as_observed(rgb: np.ndarray, box: np.ndarray, rng) -> tuple[np.ndarray, np.ndarray]:
    """The same galaxy through another telescope, and its box: light made linear, blurred by a PSF, over the noise that is to be added."""
    from scipy.ndimage import gaussian_filter

    light = linear_light(rgb)
    light = light - np.median(light[:, border(light.shape[1])], axis=1)[:, None, None]
    light = light * vignette(light.shape[1])
    sigma = float(np.exp(rng.uniform(np.log(SHARPEST), np.log(WIDEST))))
    light = gaussian_filter(light, (0, sigma, sigma))
    signals = light * np.float32(np.exp(rng.uniform(*np.log(brightness_limits(light)))))
    return signals, blurred_boxes(box[None], sigma, np.array([1]), rgb.shape[-1])[0]


def brightness_limits(light: np.ndarray) -> tuple[float, float]:
    """What light (3, side, side) is multiplied by: from where its S/N over all is ``FAINTEST`` to where its middle is at ``BRIGHTEST``."""
    middle = light.shape[1] // 2
    reach = max(light.shape[1] // 16, 1)
    core = slice(middle - reach, middle + reach + 1)
    most = BRIGHTEST / max(light[:, core, core].mean(0).max(), 1e-3)
    return min(FAINTEST / max(float(np.sqrt(np.square(light).sum())), 1e-3), most), most


def border(side: int) -> np.ndarray:
    """(side, side) bool, True on the outermost sixteenth: sky, unless a neighbour is there."""
    inside = np.zeros((side, side), bool)
    edge = max(side // 16, 1)
    inside[edge:-edge, edge:-edge] = True
    return ~inside


def vignette(side: int) -> np.ndarray:
    """(side, side) float32 that falls from 1 to 0 within the outer eighth, so that no light ends in a straight line."""
    place = np.abs(np.arange(side) + 0.5 - side / 2) / (side / 2)
    row = np.cos(np.clip((place - 0.75) / 0.25, 0, 1) * np.pi / 2).astype(np.float32)
    return np.outer(row, row)


def stretched(signals: np.ndarray, stretch: Stretch, rng) -> np.ndarray:
    """Signals (3, side, side) over the sky, with its noise, as the network sees them; now and then those of an enlarged frame."""
    side = signals.shape[-1]
    zoom = float(rng.choice(list(SHOWN), p=list(SHOWN.values())))
    noise = rng.standard_normal((3, *2 * (round(side / zoom),)), np.float32)
    noise = noise if zoom == 1 else larger_planes(noise[None], side)[0]
    return lupton_rgb(signals + noise * np.float32(0.95), stretch)


def grey_of(rgb: np.ndarray, rng) -> np.ndarray:
    """One of the channels, or their mean, in all three."""
    choice = rng.integers(4)
    one = rgb.mean(axis=0) if choice == 3 else rgb[choice]
    return np.repeat(one[None], 3, axis=0)
