"""Augmentation of fields, made for the sky: turns and flips, noise, single bands, stretch, and more that can be asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..detections import MASK_ENDS
from ..sharpness import fwhm_of_peaks, peaks_of, zoom_of
from ..stretch import Stretch
from .exposure import BANDS, Exposure, exposed, shown_side
from .samples import SIZE, Field, Sample

FAINTEST = 6.0  # S/N below which a source is neither demanded nor forbidden
DROWNED = 5.0  # S/N below which it is sky: else nothing tells the network that a lump of noise is no source

LARGEST_ZOOM, LARGEST_BLUR = 1.6, 1.2  # times; sigma in pixels
STEEPEST = 3.0  # sigma of the sky from side to side
REFERENCE = 1  # of three bands
AS_THEY_ARE = 0.2  # of the fields of sharp stars that are not shown enlarged, as with detect's --zoom 1


@dataclass(frozen=True)
class Chances:
    """How often each augmentation is applied to an image, 0 to 1; every image is turned and its brightness changed a little."""

    depth: float = 0.25
    one_band: float = 0.25
    two_bands: float = 0.05
    stretch: float = 0.2
    gradient: float = 0.0
    zoom: float = 0.0
    blur: float = 0.0
    injection: float = 0.0
    mixup: float = 0.0


USUAL = Chances()


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


@dataclass(frozen=True)
class Scene:
    """A window of a field on its way to a sample.

    Attributes:
        signals: (3, 512, 512) float32, above the sky in units of the noise.
        boxes, labels, ignore, snr: of its sources, as in Field.
        scattered: (n,) bool, rows that stand for what a listed star scatters: sky.
        is_picture: it came already stretched.
    """

    signals: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ignore: np.ndarray
    snr: np.ndarray
    scattered: np.ndarray
    is_picture: bool = False


def field_sample(
    field: Field, stretch: Stretch, rng: np.random.Generator | None, chances: Chances = USUAL, second: Field | None = None
) -> Sample:
    """A field as the network sees it; augmented when ``rng`` is given, and then its exposure is still to be made.

    Args:
        second: the field that injection and mixup add.
    """
    scene = scene_of(field, rng)
    if rng is None:
        scene, zoom = as_detected(scene, None)
        return pictured(rendered(scene, Exposure(stretch, zoom=zoom), (field.name,)))
    scene = other_seeing(scene, rng, chances)
    if second is not None and rng.random() < chances.injection:
        return finished(
            joint_light(scene, other_seeing(scene_of(second, rng), rng, chances)), stretch, rng, chances, (field.name, second.name)
        )
    sample = finished(scene, stretch, rng, chances, (field.name,))
    if second is not None and rng.random() < chances.mixup:
        return mixed(sample, finished(scene_of(second, rng), stretch, rng, chances, (second.name,)))
    return sample


def scene_of(field: Field, rng) -> Scene:
    """A window of the field, turned at random where ``rng`` is given."""
    signals, boxes = crop(field.signals, field.boxes, rng)
    if rng is not None:
        signals, boxes = turn(signals, boxes, rng)
    return Scene(single(signals), boxes, field.labels, field.ignore, field.snr, halos(field), field.is_picture)


def single(signals: np.ndarray) -> np.ndarray:
    """float32, each row at a stretch; by PyTorch, whose conversion from float16 is several times as fast as NumPy's."""
    import torch

    return torch.from_numpy(np.array(signals)).float().numpy()


def finished(scene: Scene, stretch: Stretch, rng, chances: Chances, names: tuple[str, ...]) -> Sample:
    """The sky, and what the exposure, the choice of bands and the stretch will do to it."""
    scene, zoom = as_detected(slope(scene, rng, chances), rng)
    return rendered(scene, replace(drawn_exposure(stretch, rng, chances), zoom=zoom), names)


def as_detected(scene: Scene, rng) -> tuple[Scene, float]:
    """The scene with the part to be shown in its corner, and how many times enlarged: by the width of its stars, as detection decides."""
    zoom = 1.0 if scene.is_picture else zoom_of(fwhm_of_peaks(peaks_of(scene.signals[REFERENCE])))
    if zoom == 1 or (rng is not None and rng.random() < AS_THEY_ARE):
        return scene, 1.0
    signals = np.zeros_like(scene.signals)
    part, boxes = part_of(scene, shown_side(SIZE, zoom), rng)
    signals[:, : part.shape[1], : part.shape[2]] = part
    return replace(scene, signals=signals, boxes=boxes), zoom


def part_of(scene: Scene, side: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """(3, side, side) signals of a part of the scene, the middle where ``rng`` is None, and all boxes as they lie in it enlarged."""
    x, y = rng.integers(SIZE - side + 1, size=2) if rng is not None else (2 * ((SIZE - side) // 2,))
    boxes = (scene.boxes + 0.5 - np.array([x, y, x, y], np.float32)) * np.float32(SIZE / side) - np.float32(0.5)
    return scene.signals[:, y : y + side, x : x + side], np.clip(boxes, -0.5, SIZE - 0.5)


def drawn_exposure(stretch: Stretch, rng, chances: Chances) -> Exposure:
    """Now and then a shallower one, one band alone, as for a single-band frame, or two with their mean between them; a little brighter
    or darker in any case."""
    is_shallow = rng.random() < chances.depth
    noise, seed = float(rng.uniform(0.3, 2.0)) * is_shallow, int(rng.integers(2**31))
    choice, bands = rng.random(), BANDS
    if choice < chances.one_band:
        bands = (int(rng.integers(3)),)
    elif choice < chances.one_band + chances.two_bands:
        bands = tuple(sorted(rng.choice(3, 2, replace=False).tolist()))
    gain, offset = float(rng.uniform(0.88, 1.12)), float(rng.normal(0, 0.1))
    return Exposure(other_stretch(stretch, rng, chances), noise, seed, bands, gain, offset)


def rendered(scene: Scene, exposure: Exposure, names: tuple[str, ...]) -> Sample:
    """The sample before its exposure, and which of the sources will count in it."""
    boxes, snr = scene.boxes, scene.snr[:, list(exposure.bands)] / exposure.total_noise
    total = np.hypot.reduce(snr, axis=1)
    inside = (boxes[:, 2] > boxes[:, 0] + 1) & (boxes[:, 3] > boxes[:, 1] + 1)
    ignore = scene.ignore | (total < FAINTEST)
    true, ignored = inside & ~ignore, inside & ignore & (total >= DROWNED) & ~scene.scattered
    return Sample(scene.signals, boxes[true], scene.labels[true], boxes[ignored], True, names, exposure=exposure)


def pictured(sample: Sample) -> Sample:
    """With its exposure made."""
    if sample.exposure is None:
        return sample
    return replace(sample, image=exposed(sample.image, sample.exposure), exposure=None)


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


def other_seeing(scene: Scene, rng, chances: Chances) -> Scene:
    """Now and then enlarged (another pixel scale) or blurred (another PSF), the noise brought back to 1."""
    if rng.random() < chances.zoom:
        scene = zoomed(scene, float(np.exp(rng.uniform(0, np.log(LARGEST_ZOOM)))), rng)
    if rng.random() < chances.blur:
        scene = blurred(scene, float(rng.uniform(0.4, LARGEST_BLUR)))
    return scene


def zoomed(scene: Scene, factor: float, rng) -> Scene:
    """A part of the scene, ``factor`` times as large."""
    from scipy.ndimage import zoom

    side = round(SIZE / factor)
    part, boxes = part_of(scene, side, rng)
    signals = zoom(part, (1, SIZE / side, SIZE / side), order=1, mode="nearest", grid_mode=True)
    return replace(scene, signals=unit_noise(signals), boxes=boxes)


def blurred(scene: Scene, sigma: float) -> Scene:
    """Convolved with a Gaussian."""
    from scipy.ndimage import gaussian_filter

    signals = unit_noise(gaussian_filter(scene.signals, (0, sigma, sigma)))
    return replace(scene, signals=signals, boxes=blurred_boxes(scene.boxes, sigma, scene.labels))


def blurred_boxes(boxes: np.ndarray, sigma: float, labels: np.ndarray, size: int = SIZE) -> np.ndarray:
    """Boxes (n, 4) of stars (0) and galaxies (1) after a blur: they grow as D_sg's rule says for Gaussians.

    Their edge lies at 0.5 % or 8 % of the peak.
    """
    grow = sigma * np.sqrt(2 * np.log(1 / np.where(labels == 0, MASK_ENDS["star"], MASK_ENDS["galaxy"])))[:, None]
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    larger = np.hypot(half, grow) * (half > 0)
    return np.clip(np.concatenate([center - larger, center + larger], 1), -0.5, size - 0.5).astype(np.float32)


def unit_noise(signals: np.ndarray) -> np.ndarray:
    """Scaled so that the noise of each band (by the median absolute deviation) is 1; bands without noise stay."""
    middle = np.median(signals, axis=(1, 2), keepdims=True)
    noise = 1.4826 * np.median(np.abs(signals - middle), axis=(1, 2), keepdims=True)
    return (signals / np.where(noise > 0, noise, 1)).astype(np.float32)


def joint_light(one: Scene, other: Scene) -> Scene:
    """Two skies in one exposure: fluxes add, and so does the variance of the noise, which stays the unit."""
    halved = np.float32(np.sqrt(0.5))
    columns = (np.concatenate([getattr(one, name), getattr(other, name)]) for name in ("boxes", "labels", "ignore"))
    snr = np.concatenate([one.snr, other.snr]) * halved
    scattered = np.concatenate([one.scattered, other.scattered])
    return Scene((one.signals + other.signals) * halved, *columns, snr, scattered, one.is_picture or other.is_picture)


def mixed(one: Sample, other: Sample) -> Sample:
    """Half of each picture, the sources of both (mixup, Zhang et al. 2018, arXiv:1710.09412, as YOLOX does it)."""
    joined = (np.concatenate([getattr(one, name), getattr(other, name)]) for name in ("boxes", "labels", "ignored"))
    one, other = pictured(one), pictured(other)
    return Sample((one.image + other.image) / 2, *joined, True, one.names + other.names)


def slope(scene: Scene, rng, chances: Chances) -> Scene:
    """Now and then a sky that was not subtracted well: a plane in each band, up to some sigma from corner to corner."""
    if rng.random() > chances.gradient:
        return scene
    x, y = np.meshgrid(*2 * (np.linspace(-0.5, 0.5, SIZE, dtype=np.float32),))
    steep = rng.uniform(-STEEPEST, STEEPEST, (2, 3, 1, 1)).astype(np.float32)
    return replace(scene, signals=scene.signals + steep[0] * x + steep[1] * y)


def other_stretch(stretch: Stretch, rng, chances: Chances) -> Stretch:
    """Now and then somebody else's constants, as in a picture that comes already stretched."""
    if rng.random() > chances.stretch:
        return stretch
    softening = stretch.stretch * float(np.exp(rng.uniform(-0.9, 0.9)))
    return Stretch(minimum=float(rng.uniform(-3.5, -0.5)), stretch=softening, Q=float(rng.uniform(4, 10)))
