"""Image files of D_sg: what a name in a label file leads to, and its pixels as the network's three bands."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError
from ..inputs import COMPRESSIONS, FieldInput
from ..pictures import PICTURES, read_picture
from ..read import read_planes
from ..stretch import Stretch, estimate_background, signal, three_channels

BANDS = ("z", "r", "g")  # reddest first, as the network sees them
SUFFIXES = ("", *COMPRESSIONS)
FITS_ENDINGS = tuple(ending + suffix for ending in (".fits", ".fit") for suffix in SUFFIXES)
ENDINGS = (*PICTURES, *FITS_ENDINGS)


def one_of(folder: Path, name: str) -> Path | None:
    """``name`` in whichever of the known compressions it is there."""
    return next((folder / (name + s) for s in SUFFIXES if (folder / (name + s)).is_file()), None)


def without_ending(name: str) -> str:
    """A file name without the ending of an image; other dots stay, as in ``J0946-0102.5``."""
    ending = next((e for e in sorted(ENDINGS, key=len, reverse=True) if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)]


def bands_at(folder: Path, pattern: str) -> FieldInput | None:
    """The FITS files of ``pattern`` with z, r and g for ``{band}``; None unless all are there."""
    paths = [one_of(folder, pattern.replace("{band}", band)) for band in BANDS]
    return None if None in paths else FieldInput(tuple(paths), BANDS, pattern)


def image_at(place: Path) -> FieldInput | None:
    """The image that a label file means by ``place``; None if there is none.

    A file as it is named; a folder with img_{g,r,z}.fits; a name with ``{band}``; a name without ending, or with
    another than the file has, which may then be three files ``name_{g,r,z}.fits``.
    """
    if "{band}" in place.name:
        return bands_at(place.parent, place.name)
    if place.is_dir():
        return bands_at(place, "img_{band}.fits")
    if place.is_file():
        return FieldInput((place,), None, place.name)
    stem = without_ending(place.name)
    files = (place.with_name(stem + ending) for ending in ENDINGS)
    if file := next((f for f in files if f.is_file()), None):
        return FieldInput((file,), None, file.name)
    return bands_at(place.parent, stem + "_{band}.fits")


def is_picture(image: FieldInput) -> bool:
    """Whether it is one that somebody has stretched already."""
    return len(image.paths) == 1 and image.paths[0].suffix.lower() in PICTURES


def signals_of(image: FieldInput) -> np.ndarray:
    """(3, H, W) float32 above the sky in units of the noise, reddest first; bad pixels are 0.

    Raises:
        InputError: naming the file that isn't readable, or whose size is not that of the other bands.
    """
    if is_picture(image):
        rgb = read_picture(image.paths[0]).counts
        return unstretched(np.stack(list(rgb.values())), Stretch())
    counts = [plane.counts for plane in read_planes(image, None).values()]
    if len(counts) > len(BANDS):
        raise InputError(f"{image.paths[0]}: {len(counts)} bands, at most three can be trained on; write those into a file of their own")
    check_sizes(counts, image.paths)
    paths = image.paths if len(image.paths) == len(counts) else image.paths * len(counts)
    return three_channels([above_sky(c, path) for c, path in zip(counts, paths)])


def check_sizes(counts: list[np.ndarray], paths: tuple[Path, ...]) -> None:
    """All bands have the size of the first."""
    for one, path in zip(counts, paths):
        if one.shape != counts[0].shape:
            raise InputError(
                f"{path}: {size_of(one.shape)}, but {paths[0].name} has {size_of(counts[0].shape)}; all bands of a field need one size"
            )


def size_of(shape: tuple[int, int]) -> str:
    """(H, W) in words, width first."""
    return f"{shape[1]} x {shape[0]} pixels"


def above_sky(counts: np.ndarray, path: Path) -> np.ndarray:
    """Signal of one band in units of the noise; errors name the file."""
    try:
        return signal(counts, estimate_background(counts))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def unstretched(rgb: np.ndarray, stretch: Stretch) -> np.ndarray:
    """What ``lupton_rgb`` would show as ``rgb``: the inverse of its formula.

    So the network sees a picture in training as it does in detection, as it is, and augmentation finds signals as in FITS.

    Args:
        rgb: (3, H, W) in [0, 1]; channels at 1 may have been brighter.
    """
    shown = np.nan_to_num(rgb).astype(np.float64)
    squeezed = shown.mean(axis=0)
    slope = 0.1 / np.arcsinh(0.1 * stretch.Q)
    intensity = np.sinh(squeezed / slope) * stretch.stretch / stretch.Q
    factor = np.divide(intensity, squeezed, out=np.zeros_like(squeezed), where=squeezed > 0)
    return (shown * factor + stretch.minimum).astype(np.float32)
