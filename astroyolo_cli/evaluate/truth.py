"""What is true of a field of D_sg, in any of its layouts."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from astropy.io import fits

from ..errors import InputError, reason_of
from ..files import BROKEN_FILE
from ..hdus import read_image
from ..inputs import FieldInput, field_of_folder
from ..read import read_field
from ..train.fields import field_entries
from ..train.formats_sets import set_folders, sources_of_masks
from ..train.images import one_of
from ..train.samples import Entry, Sources

SAME = 0.5  # FWHM: two sources closer than this are one to every instrument
HEADER_BANDS = ("r", "g", "z", "i")  # whose header says what the PSF is


@dataclass(frozen=True)
class Truth:
    """The sources of one field.

    Attributes:
        name: of its folder, such as set_3.
        xy: (n, 2) float64, pixels, the centre of the first pixel at 0.
        boxes: (n, 4) float64 edges xmin, ymin, xmax, ymax.
        is_galaxy: (n,) bool.
        ignore: (n,) bool, counted neither as missed nor as found.
        snr: (n,) matched-filter S/N of all bands; NaN where the set does not say.
        mag: (n,) r-band AB magnitude, else that of the band there is; NaN where the set does not say.
        fwhm: of the PSF in r, pixels; NaN where the header does not say.
    """

    name: str
    xy: np.ndarray
    boxes: np.ndarray
    is_galaxy: np.ndarray
    ignore: np.ndarray
    snr: np.ndarray
    mag: np.ndarray
    fwhm: float

    def __len__(self) -> int:
        return len(self.xy)


@dataclass(frozen=True)
class TrueField:
    """A field whose sources are known.

    Attributes:
        name: its own within its folder.
        find_image: -> its files, as ``astroyolo detect`` reads them.
        read_truth: -> its sources.
    """

    name: str
    find_image: Callable[[], FieldInput]
    read_truth: Callable[[], Truth]


def true_fields(root: Path, tell: Callable[[str], None] = lambda line: None) -> list[TrueField]:
    """The ``set_N`` folders in the order of N, which may have gaps; else the images of a COCO JSON or with YOLO txt labels.

    Raises:
        InputError: if there are none.
    """
    if folders := set_folders(root):
        return [TrueField(folder.name, partial(field_of_folder, folder, None), partial(read_truth, folder)) for folder in folders]
    return [TrueField(entry.name, entry.find_image, partial(truth_of_entry, entry)) for entry in field_entries(root, tell)]


def truth_of_entry(entry: Entry) -> Truth:
    """Boxes and classes alone, with the size of the image to judge them by."""
    return truth_of_boxes(entry.read_sources(read_field(entry.find_image()).shape), entry.name, np.nan)


def read_truth(folder: Path) -> Truth:
    """From truth.fits where there is one, else from masks.fits; sources that nobody can tell apart are one.

    Raises:
        InputError: naming the file, if there is none or it cannot be read.
    """
    fwhm, shape = psf_and_shape(folder)
    if path := one_of(folder, "truth.fits"):
        return one_of_close_pairs(truth_of_table(path, folder.name, fwhm))
    if path := one_of(folder, "masks.fits"):
        return one_of_close_pairs(truth_of_masks(path, folder.name, fwhm, shape))
    raise InputError(f"{folder}: neither truth.fits nor masks.fits, so nothing is known to be true; add one of them or remove the folder")


def psf_and_shape(folder: Path) -> tuple[float, tuple[int, int]]:
    """FWHM in pixels, SEEING over PIXSCALE (both arcsec) of the header, NaN without them; and (H, W)."""
    path = next((p for band in HEADER_BANDS if (p := one_of(folder, f"img_{band}.fits"))), None)
    if path is None:
        raise InputError(f"{folder}: no img_r.fits; a set has img_g, img_r and img_z")
    counts, header = read_image(path)
    try:
        fwhm = float(header["SEEING"]) / float(header["PIXSCALE"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        fwhm = np.nan
    return (fwhm if 0 < fwhm < np.inf else np.nan), counts.shape[-2:]


def truth_of_table(path: Path, name: str, fwhm: float) -> Truth:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            table = fits.getdata(path, 1)
        columns = table.columns.names
        is_galaxy = galaxies(path, table["class"])
        xy, boxes = numbers(table, ("x", "y")), numbers(table, ("xmin", "ymin", "xmax", "ymax"))
        ignore = np.array(table["ignore"], bool)
        band = next((c for c in ("mag_r", *columns) if c in columns and c.startswith("mag")), None)
        snr, mag = (numbers(table, (c,))[:, 0] if c in columns else np.full(len(table), np.nan) for c in ("snr", band))
    except (*BROKEN_FILE, Warning) as error:
        raise InputError(
            f"{path}: not a table of true sources ({reason_of(error)}); it needs class, x, y, xmin to ymax and ignore in HDU 1"
        ) from error
    return Truth(name, xy, boxes, is_galaxy, ignore, snr, mag, fwhm)


def numbers(table, names: tuple[str, ...]) -> np.ndarray:
    """(n, len(names)) float64."""
    return np.stack([np.asarray(table[name], np.float64) for name in names], 1).reshape(-1, len(names))


def galaxies(path: Path, classes) -> np.ndarray:
    """(n,) bool."""
    words = np.char.strip(np.asarray(classes, str))
    if unknown := set(words.tolist()) - {"star", "galaxy"}:
        raise InputError(f"{path}: class {min(unknown)!r}, must be star or galaxy; correct the table")
    return words == "galaxy"


def truth_of_masks(path: Path, name: str, fwhm: float, shape: tuple[int, int]) -> Truth:
    return truth_of_boxes(sources_of_masks(path, shape), name, fwhm)


def truth_of_boxes(sources: Sources, name: str, fwhm: float) -> Truth:
    """Boxes and classes alone; a source lies in the middle of its box."""
    boxes = np.asarray(sources.boxes, np.float64)
    unknown = np.full(len(boxes), np.nan)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    return Truth(name, middle, boxes, np.asarray(sources.labels) == 1, np.array(sources.ignore, bool), unknown, unknown.copy(), fwhm)


def one_of_close_pairs(truth: Truth) -> Truth:
    """Of sources closer than half the FWHM the one of highest S/N counts, the others are ignored."""
    from scipy.spatial import cKDTree

    ignore = truth.ignore.copy()
    if not np.isfinite(truth.fwhm) or len(truth) < 2:
        return truth
    for i, j in sorted(cKDTree(truth.xy).query_pairs(SAME * truth.fwhm)):
        if not (ignore[i] or ignore[j]):
            ignore[i if truth.snr[i] < truth.snr[j] else j] = True
    return replace(truth, ignore=ignore)
