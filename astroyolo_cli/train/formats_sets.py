"""D_sg as Astro R-CNN has it: ``DIR/set_N`` with an image a band, and masks.fits or our own truth.fits."""

from __future__ import annotations

import bz2
import gzip
import io
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from astropy.io import fits

from ..apart import read_apart
from ..compressed import check_compressed, must_be_apart
from ..detections import MASK_BLUR, MASK_ENDS
from ..errors import InputError, reason_of
from ..files import BROKEN_FILE
from ..inputs import FieldInput
from .images import BANDS, one_of, size_of
from .samples import Entry, Sources, cut_to_image, sources_of

OPENERS = {".gz": gzip.open, ".bz2": bz2.open}
REACH = 4  # pixels that the masks' blur reaches


def set_folders(root: Path) -> list[Path]:
    """The ``set_N`` folders in the order of N, which may have gaps; none if there are none."""
    folders = [p for p in root.glob("set_*") if p.is_dir() and p.name[4:].isdigit()]
    return sorted(folders, key=lambda p: int(p.name[4:]))


def set_entries(root: Path, tell: Callable[[str], None]) -> list[Entry]:
    """A field for each of the ``set_N`` folders."""
    return [set_entry(folder) for folder in set_folders(root)]


def set_entry(folder: Path) -> Entry:
    truth = one_of(folder, "truth.fits") or one_of(folder, "masks.fits")
    images = [path for band in BANDS if (path := one_of(folder, f"img_{band}.fits"))]
    files = (*images, truth) if truth else tuple(images)
    return Entry(folder.name, files, partial(image_of_set, folder), partial(sources_of_set, folder))


def image_of_set(folder: Path) -> FieldInput:
    paths = tuple(one_of(folder, f"img_{band}.fits") for band in BANDS)
    if None in paths:
        name = f"img_{BANDS[paths.index(None)]}.fits"
        raise InputError(f"{folder}: no {name} (nor .gz, .fz, .bz2); a set has img_g, img_r and img_z")
    return FieldInput(paths, BANDS, folder.name)


def sources_of_set(folder: Path, shape: tuple[int, int]) -> Sources:
    """From truth.fits where there is one, else from masks.fits."""
    if path := one_of(folder, "truth.fits"):
        return sources_of_table(path, shape)
    if path := one_of(folder, "masks.fits"):
        return sources_of_masks(path, shape)
    raise InputError(f"{folder}: neither truth.fits nor masks.fits; without one of them its sources are unknown; add it or remove the set")


def sources_of_table(path: Path, shape: tuple[int, int]) -> Sources:
    try:
        table = fits.getdata(path, 1)
        classes = np.char.strip(np.asarray(table["class"], str))
        boxes = np.stack([table[c] for c in ("xmin", "ymin", "xmax", "ymax")], 1).astype(np.float32).reshape(-1, 4)
        ignore, snr = np.asarray(table["ignore"], bool), band_snr(table)
    except BROKEN_FILE as error:
        raise unreadable(path, error, "write class, xmin, ymin, xmax, ymax, ignore and snr in HDU 1") from error
    if unknown := set(classes.tolist()) - {"star", "galaxy"}:
        raise InputError(f"{path}: class {min(unknown)!r}, must be star or galaxy; correct the table")
    inside = (boxes[:, :2] < np.array(shape[::-1]) - 0.5).all(1) & (boxes[:, 2:] > -0.5).all(1)
    kept = np.flatnonzero(inside | ~ignore)  # what is ignored and outside says nothing
    cut = [cut_to_image(boxes[i], shape, f"{path}: row {i + 1}") for i in kept]
    return sources_of(cut, (classes == "galaxy")[kept], ignore[kept], snr[kept])


def band_snr(table) -> np.ndarray:
    """(n, 3) S/N in z, r, g; where only the total is stated, as if the bands were alike."""
    if f"snr_{BANDS[0]}" in table.columns.names:
        return np.stack([table[f"snr_{b}"] for b in BANDS], 1).astype(np.float32)
    return np.repeat(np.asarray(table["snr"], np.float32)[:, None] / np.sqrt(len(BANDS)), len(BANDS), axis=1)


def sources_of_masks(path: Path, shape: tuple[int, int]) -> Sources:
    """Each image HDU, the primary included, is one source alone; CLASS_ID 1 star, 2 galaxy. Empty ones are counted."""
    boxes, labels, empty = [], [], 0
    with closing(mask_hdus(path)) as hdus:
        for number, data, class_id in hdus:
            if data.shape != shape:
                raise InputError(f"{path}: HDU {number} has {size_of_any(data.shape)}, but the image {size_of(shape)}; they must agree")
            box = mask_box(data, is_star=class_id == 1)
            if box is None:
                empty += 1
                continue
            if class_id not in (1, 2):
                raise InputError(f"{path}: HDU {number} has CLASS_ID {class_id!r}, must be 1 (star) or 2 (galaxy); correct its header")
            boxes.append(box)
            labels.append(class_id - 1)
    return sources_of(boxes, labels, empty_masks=empty)


def mask_hdus(path: Path) -> Iterator[tuple[int, np.ndarray, object]]:
    """Number, pixels (float32, NaN as 0) and CLASS_ID of every HDU that holds an image.

    gzip and bzip2 are undone once, in memory: sought HDU by HDU they would start from the front each time.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*truncated")
            with fits.open(opened(path), memmap=False) as hdus:
                for number, hdu in enumerate(hdus):
                    if hdu.is_image and (data := pixels_of(hdu, number, path)) is not None:
                        yield number, np.nan_to_num(np.asarray(data, np.float32)), hdu.header.get("CLASS_ID")
    except InputError:
        raise
    except (*BROKEN_FILE, zlib.error, UserWarning) as error:
        raise unreadable(path, error, "fetch or make it again") from error


def pixels_of(hdu, number: int, path: Path) -> np.ndarray | None:
    """None where there are none."""
    if isinstance(hdu, fits.CompImageHDU):
        check_compressed(hdu, path)
    if must_be_apart(hdu):
        return read_apart(path, number, tuple(slice(0, side) for side in hdu.shape[-2:]))
    return hdu.data


def opened(path: Path) -> io.BytesIO | Path:
    if path.suffix not in OPENERS:
        return path
    with OPENERS[path.suffix](path) as file:
        return io.BytesIO(file.read())


def unreadable(path: Path, error: BaseException, remedy: str) -> InputError:
    return InputError(f"{path}: not readable ({reason_of(error)}); {remedy}")


def size_of_any(shape: tuple[int, ...]) -> str:
    return size_of(shape) if len(shape) == 2 else f"{len(shape)} axes"


def mask_box(alone: np.ndarray, is_star: bool) -> np.ndarray | None:
    """Box of a source from the noise-free image of it alone, by Astro R-CNN's rule; None if it is empty.

    Above 0.5 % (star) or 8 % (galaxy) of the peak, blurred 9 x 9 with sigma 2, kept where >= 0.5; if
    nothing is left, what was above.
    """
    from scipy import ndimage

    peak = alone.max(initial=0)
    if not peak > 0:
        return None
    above = alone / peak > MASK_ENDS["star" if is_star else "galaxy"]
    window, (left, low) = around(above)
    blurred = ndimage.gaussian_filter(window.astype(np.float64), MASK_BLUR, truncate=2, mode="constant")
    kept = blurred >= 0.5
    rows, columns = np.nonzero(kept if kept.any() else window)
    edges = columns.min() + left - 0.5, rows.min() + low - 0.5, columns.max() + left + 0.5, rows.max() + low + 0.5
    return np.array(edges, np.float32)


def around(above: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """The part of a mask in which its blur can be, and the x, y of its first pixel: most of a field is empty."""
    rows, columns = np.flatnonzero(above.any(1)), np.flatnonzero(above.any(0))
    low, left = max(rows[0] - REACH, 0), max(columns[0] - REACH, 0)
    return above[low : rows[-1] + REACH + 1, left : columns[-1] + REACH + 1], (int(left), int(low))
