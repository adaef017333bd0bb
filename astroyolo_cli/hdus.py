"""The image of a FITS file, plain or compressed in any way: float32 pixels, and a header that can be read."""

from __future__ import annotations

import warnings
import weakref
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy.io import fits

from .apart import read_apart
from .celestial import wcs_of
from .claims import check_claims
from .compressed import check_compressed, must_be_apart
from .errors import InputError
from .files import BROKEN_FILE, check_file, for_libraries, unreadable
from .memory import return_large_arrays
from .packed import content_of, is_packed
from .region import Cut, cut_header
from .sections import Rows, strips

MOST_PIXELS = 10**10  # a header that claims more is broken: the largest mosaics have 4e9
OF_ALL_IMAGES = (  # what surveys say once, in a primary header without pixels, and by which keywords
    ("FILTER", "FILTER1", "FILTER2", "BAND", "BANDS"),
    ("MAGZERO", "MAGZPT", "MAGZP", "PHOTZP", "ZEROPOINT", "ABZP", "FLUXMAG0", "PHOTFLAM", "PHOTPLAM"),
    ("EXPTIME", "TEXPTIME"),
    ("GAIN", "EGAIN", "GAINA"),
    ("SATURATE", "SATURATA", "SATLEVEL"),
    ("SURVEY",),
    ("IMAGETYP",),
)
LARGE = 64_000_000  # pixels of a plane, from which it may be read in parts


def read_header(path: Path, hdu: str | None) -> tuple[fits.Header, tuple[int, int]]:
    """Of the image, and its (H, W)."""
    path = ready(path)
    check_claims(path)
    with opened(path) as hdus:
        image = chosen_hdu(hdus, path, hdu)
        return header_of(image, hdus), tuple(image.shape[-2:])


def hdu_of_map(path: Path, hdu: str | None) -> str | None:
    """Where a map beside the image in ``hdu`` has its pixels: there too, if it holds several images; None for its first image."""
    if hdu is None:
        return None
    path = ready(path)
    check_claims(path)
    with opened(path) as hdus:
        if sum(is_image(one) for one in hdus) > 1:
            try:
                return hdu if is_image(hdus[as_index(hdu)]) else None
            except (KeyError, IndexError):
                return None
    return None


def as_index(hdu: str) -> int | str:
    """A number, or a name."""
    return int(hdu) if hdu.lstrip("-").isdigit() else hdu


def read_image(path: Path, hdu: str | None = None, in_parts: bool = False, cut: Cut | None = None) -> tuple[np.ndarray | Rows, fits.Header]:
    """(H, W) or (n, H, W) float32 in native byte order, NaN for BLANK and infinite, and the header; of the cut alone, where given."""
    path = ready(path)
    check_claims(path)
    with opened(path) as hdus:
        image = chosen_hdu(hdus, path, hdu)
        check_size(image, path)
        number = next(i for i, other in enumerate(hdus) if other is image)
        header = header_of(image, hdus)
        if cut is None:
            window = slice(0, image.shape[-2]), slice(0, image.shape[-1])
        else:
            window = cut.window(wcs_of(header)[0], image.shape[-2:], path)
            header = cut_header(header, window)
        if in_parts and can_be_read_in_parts(image, path, window):
            return rows_of(path, number, window), header
        if must_be_apart(image):
            data = read_apart(path, number, window)
        else:
            data = np.asarray(image.data) if cut is None else pixels_of(image, path, window)
    if data.dtype.kind not in "fiu":
        raise InputError(f"{path}: pixels of type {data.dtype}, must be integers or floats")
    return as_counts(squeezed(data, path)), header


def pixels_of(hdu, path: Path, window: tuple[slice, slice]) -> np.ndarray:
    """A window of an image (..., H, W); of a file that is compressed as a whole, in which each step back starts anew, all is read."""
    if is_packed(path) and not isinstance(hdu, fits.CompImageHDU):
        return hdu.data[(..., *window)].copy()
    return np.asarray(hdu.section[(..., *window)])


def ready(path: Path) -> Path:
    """The file, if there is one; in memory, if it is packed as a whole and not too large."""
    check_file(path)
    return content_of(path)


@contextmanager
def opened(path: Path):
    """The HDUs of a FITS file.

    Raises:
        InputError: for whatever is wrong with it, now or while it is read.
    """
    try:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            with fits.open(for_libraries(path), memmap=False, lazy_load_hdus=True) as hdus:
                yield hdus
    except InputError:
        raise
    except BROKEN_FILE as error:
        raise unreadable(path, error) from error
    for note in notes:
        if "truncated" in str(note.message):
            raise unreadable(path, note.message)


def header_of(image, hdus: fits.HDUList) -> fits.Header:
    """The image's, with what a primary header without pixels says of all images of its file, unless INHERIT forbids it."""
    header, primary = readable(image.header), hdus[0]
    if image is not primary and not primary.shape and header.get("INHERIT", True):
        general = readable(primary.header)
        unsaid = [keys for keys in OF_ALL_IMAGES if not any(key in header for key in keys)]
        header.update({key: general[key] for keys in unsaid for key in keys if key in general})
    return header


def readable(header: fits.Header) -> fits.Header:
    """A copy without the cards that cannot be read, whatever asks for them later."""
    kept = header.copy()
    for card in [card for card in header.cards if not can_be_read(card)]:
        kept.remove(card.keyword, ignore_missing=True, remove_all=True)
    return kept


def can_be_read(card: fits.Card) -> bool:
    try:
        return card.value is not None  # which is when astropy parses it
    except fits.VerifyError:
        return False


def as_counts(data: np.ndarray) -> np.ndarray:
    """float32 in native byte order, NaN where not finite; where that can be, in the memory of ``data``, which is then used up."""
    if data.dtype.newbyteorder("=") != np.float32 or not data.flags.writeable:
        data = np.array(data, np.float32)
    elif not data.dtype.isnative:
        data = data.byteswap(inplace=True).view(np.float32)
    for strip in strips(data):
        bad = ~np.isfinite(strip)
        if bad.any():
            strip[bad] = np.nan
    return data


def can_be_read_in_parts(hdu, path: Path, window: tuple[slice, slice]) -> bool:
    """Large enough, numbers, and in a file that one can skip about in."""
    rows, columns = (part.stop - part.start for part in window)
    plain = abs(hdu.header.get("BITPIX", 0)) in (8, 16, 32, 64)
    return len(hdu.shape) == 2 and rows * columns >= LARGE and plain and not is_packed(path) and not must_be_apart(hdu)


def rows_of(path: Path, number: int, window: tuple[slice, slice]) -> Rows:
    """A window of the image of an HDU, read as it is asked for; the file stays open as long as the plane is used.

    Raises (when it is read):
        InputError: for a file that is broken there.
    """
    return_large_arrays()
    hdus = fits.open(for_libraries(path), memmap=False, lazy_load_hdus=True)

    def read(rows: slice) -> np.ndarray:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return as_counts(hdus[number].section[window[0].start + rows.start : window[0].start + rows.stop, window[1]])
        except BROKEN_FILE as error:
            raise unreadable(path, error) from error

    plane = Rows(tuple(part.stop - part.start for part in window), read)
    weakref.finalize(plane, hdus.close)
    return plane


def chosen_hdu(hdus: fits.HDUList, path: Path, hdu: str | None):
    """The named HDU, else the first that holds an image of two axes or more."""
    if hdu is not None:
        try:
            chosen = hdus[as_index(hdu)]
        except (KeyError, IndexError) as error:
            raise InputError(f"{path}: no HDU {hdu!r}; it has 0 to {len(hdus) - 1}") from error
        if not is_image(chosen):
            raise InputError(f"{path}: HDU {hdu!r} is no image of two axes; choose another with --hdu")
        return chosen
    for candidate in hdus:
        if is_image(candidate):
            return candidate
    raise InputError(f"{path}: holds no image of two axes; is it a table, or a spectrum?")


def is_image(hdu) -> bool:
    return isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU) and len(hdu.shape) >= 2 and 0 not in hdu.shape


def check_size(hdu, path: Path) -> None:
    """Before anything is allocated: the header's claim against reason and the file's length, or the tiles' streams."""
    pixels = int(np.prod([int(n) for n in hdu.shape], dtype=object))
    if pixels > MOST_PIXELS:
        raise InputError(
            f"{path}: its header claims {' x '.join(map(str, hdu.shape[::-1]))} pixels, more than any image has; the header is broken"
        )
    plain = path.suffix.lower() in (".fits", ".fit", ".fts") and not isinstance(hdu, fits.CompImageHDU)
    if plain and not is_packed(path) and pixels * abs(hdu.header["BITPIX"]) // 8 > path.stat().st_size:
        raise InputError(f"{path}: truncated, {path.stat().st_size} bytes for an image of {pixels} pixels; fetch it again")
    if isinstance(hdu, fits.CompImageHDU):
        check_compressed(hdu, path)


def squeezed(data: np.ndarray, path: Path) -> np.ndarray:
    """Without axes of length 1 in front; at most a cube."""
    while data.ndim > 2 and data.shape[0] == 1:
        data = data[0]
    if data.ndim > 3:
        raise InputError(f"{path}: {data.ndim} axes {data.shape}, must be an image or a cube of bands")
    return data
