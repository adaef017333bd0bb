"""What the network learns from: fields of D_sg and cutouts of D_ds, and which of them are held out."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..inputs import FieldInput
from .exposure import Exposure

HELD_OUT = 20  # one in so many is for validation
SIZE = 512  # pixels of a training image
NAMED = 3  # at most so many files are named where many lack the same


@dataclass(frozen=True)
class Field:
    """One field of D_sg, ready for training.

    Attributes:
        signals: (3, H, W) float16, z, r, g above the sky in units of the noise; memory-mapped.
        boxes: (n, 4) float32, x0, y0, x1, y1, pixels, the centre of the first pixel at 0.
        labels: (n,) int64, 0 star, 1 galaxy.
        ignore: (n,) bool, neither a source nor empty sky.
        snr: (n, 3) float32, matched-filter S/N in z, r, g; inf where the set doesn't state it.
        name: its own within its folder.
        is_picture: it came already stretched.
    """

    signals: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ignore: np.ndarray
    snr: np.ndarray
    name: str = ""
    is_picture: bool = False


@dataclass(frozen=True)
class Sources:
    """What is known of a field beside its pixels: the columns of ``Field``, and how many masks held nothing."""

    boxes: np.ndarray
    labels: np.ndarray
    ignore: np.ndarray
    snr: np.ndarray
    empty_masks: int = 0
    is_picture: bool = False


@dataclass(frozen=True)
class Entry:
    """A field of D_sg that is known by name, not read yet.

    Attributes:
        name: its own within its folder; decides whether it is held out.
        files: all that it is read from; a cache older than any of them is made again.
        find_image: -> the files of its pixels; an InputError names one that is missing.
        read_sources: (H, W) -> its sources.
    """

    name: str
    files: tuple[Path, ...]
    find_image: Callable[[], FieldInput]
    read_sources: Callable[[tuple[int, int]], Sources]


@dataclass(frozen=True)
class Cutout:
    """One image of D_ds.

    Attributes:
        rgb: (3, 256, 256) uint8, the galaxy in the middle.
        box: (4,) float32, the galaxy's box in it, the centre of the first pixel at 0.
        label: 0 smooth, 1 disk.
        p_disk: the part of the votes for smooth or disk that was for disk, a soft target; 0.0 or 1.0 without votes.
        name: the object's.
        native: pixels of the survey's own images that one pixel of ``rgb`` is wide; NaN where the data do not say.
    """

    rgb: np.ndarray
    box: np.ndarray
    label: int
    p_disk: float
    name: str = ""
    native: float = np.nan


@dataclass(frozen=True)
class Sample:
    """One training image and what is known of it.

    Attributes:
        image: (3, 512, 512) float32 RGB in [0, 1]; where an exposure is given, the signals that it shall make that of.
        boxes: (n, 4) float32, pixels, the centre of the first pixel at 0.
        labels: (n,) int64; star/galaxy for a field, smooth/disk for a canvas of cutouts.
        ignored: (m, 4) float32 boxes that are neither source nor empty sky.
        is_field: True for D_sg, False for D_ds.
        names: of the field or the cutouts that it shows.
        p_second: (n,) float32, the probability of the second class where labels are soft.
        exposure: that is still to be made; None where ``image`` is a picture.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray
    is_field: bool
    names: tuple[str, ...] = ()
    p_second: np.ndarray | None = None
    exposure: Exposure | None = None


def sources_of(boxes, labels, ignore=None, snr=None, empty_masks: int = 0) -> Sources:
    """Sources from plain lists; none of them ignored, and of any S/N, unless stated."""
    n = len(boxes)
    return Sources(
        np.array(boxes, np.float32).reshape(n, 4),
        np.array(labels, np.int64).reshape(n),
        np.zeros(n, bool) if ignore is None else np.array(ignore, bool).reshape(n),
        np.full((n, 3), np.inf, np.float32) if snr is None else np.asarray(snr, np.float32).reshape(n, 3),
        empty_masks,
    )


def cut_to_image(box, shape: tuple[int, int], where: str) -> list[float]:
    """A box (x0, y0, x1, y1) without what reaches over the edge of an image of (H, W).

    Raises:
        InputError: beginning with ``where``, if no part of it lies in the image, or it is no box at all.
    """
    x0, y0, x1, y1 = (float(edge) for edge in box)
    if not np.isfinite([x0, y0, x1, y1]).all() or not (x1 > x0 and y1 > y0):
        raise InputError(f"{where}: width {x1 - x0:g} and height {y1 - y0:g}, must be above 0; correct or remove it")
    height, width = shape
    if x1 <= -0.5 or y1 <= -0.5 or x0 >= width - 0.5 or y0 >= height - 0.5:
        place = f"x {x0:g} to {x1:g}, y {y0:g} to {y1:g}"
        raise InputError(f"{where}: {place} lies outside of the image of {width} x {height} pixels; are these the labels of this image?")
    return [max(x0, -0.5), max(y0, -0.5), min(x1, width - 0.5), min(y1, height - 0.5)]


def held_out(name: str) -> bool:
    """Whether a set or object belongs to the validation part; by its name, so the same in every run."""
    return zlib.crc32(name.encode()) % HELD_OUT == 0


def split(names: list[str]) -> tuple[list[int], list[int]]:
    """Indices of the names for training and for validation; a tiny set validates on what it trains on."""
    validation = [i for i, name in enumerate(names) if held_out(name)]
    training = [i for i, name in enumerate(names) if not held_out(name)]
    everything = list(range(len(names)))
    return training or everything, validation or everything


def none_held_out(training: list[int], validation: list[int]) -> bool:
    """Whether the parts of ``split`` are the same rows, which are too few to hold any out."""
    return bool(set(training) & set(validation))


def evenly(rows: list[int], most: int) -> list[int]:
    """At most ``most`` of the rows, spread from the first to the last, so that the last of several folders counts too.

    >>> evenly([0, 1, 2, 3, 4, 5, 6], 3)
    [0, 3, 6]
    """
    places = np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)
    return [rows[place] for place in places]


def name_hash(name: str) -> str:
    """A short name for a cache of what ``name`` names."""
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def some_of(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def is_fresh(cached: Path, files: tuple[Path, ...]) -> bool:
    """Whether a cache is there and not older than what it was made from."""
    if not cached.is_file():
        return False
    made = cached.stat().st_mtime_ns
    return all(not file.exists() or file.stat().st_mtime_ns <= made for file in files)
