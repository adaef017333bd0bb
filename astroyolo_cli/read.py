"""Files to frames. Every format and every survey's header habits live here alone."""

from __future__ import annotations

import warnings
import weakref
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from .align import align, pixel_places, same_grid
from .apart import read_apart
from .claims import check_claims, content_of, is_packed
from .compressed import check_compressed, must_be_apart
from .errors import AstroYOLOWarning, InputError
from .files import BROKEN_FILE, check_file, for_libraries, unreadable
from .fill import without_fill
from .frame import Frame
from .inputs import FieldInput, resolve
from .memory import return_large_arrays
from .pictures import PICTURES, read_picture
from .region import Cut, Region, cut_header
from .sections import Rows, blanked, is_bad, of, strips
from .threads import spread

__all__ = ["FieldInput", "read_field", "resolve"]

MOST_PIXELS = 10**10  # a header that claims more is broken: the largest mosaics have 4e9
LARGE = 64_000_000  # pixels of a plane, from which it may be read in parts


@dataclass(frozen=True)
class Plane:
    """One band as it stands in a file: counts (H, W) float32 with NaN where bad, an array or ``Rows``, and its header."""

    counts: np.ndarray | Rows
    header: fits.Header


def read_field(
    field: FieldInput,
    *,
    hdu: str | None = None,
    reference_band: str | None = None,
    weight_map: Path | None = None,
    weight_type: str = "invvar",
    mask: Path | None = None,
    zero_points: dict[str, float] | None = None,
    gain: dict[str, float] | None = None,
    region: Region | None = None,
    in_parts: bool = False,
) -> Frame:
    """The frame of a field: its bands on the pixels of the reference band.

    Args:
        hdu: number or name of the image's HDU; default the first image.
        reference_band: default the middle one.
        weight_map: FITS image on the reference's pixels; ``weight_type`` says whether it holds inverse variances,
            rms or relative weights. Pixels without weight are bad.
        mask: FITS image on the reference's pixels, not 0 where they are bad.
        region: read that alone, and a margin; the frame's ``part`` then says where it lies.
        in_parts: planes of more than ``LARGE`` pixels are read as they are needed, where the file allows it: not from a file that
            is compressed as a whole, nor from a cube.
        zero_points, gain: band -> AB magnitude of one count and electrons a count, instead of the headers'; band "" is every band.

    Raises:
        InputError: naming the file, for anything that is not an image that can be used.
    """
    path = field.paths[0]
    if len(field.paths) == 1 and path.suffix.lower() in PICTURES:
        frame = read_picture(path, region)
        return replace(frame, zero_points=by_band(zero_points, frame.bands, path), gain=by_band(gain, frame.bands, path))
    cut = None if region is None else cut_of(region, field, hdu, reference_band)
    planes = read_planes(field, hdu, in_parts, cut)
    if len(planes) > 3:
        raise InputError(f"{path}: {len(planes)} bands ({', '.join(planes)}), at most three make a picture; choose with --bands")
    reference = reference_band or list(planes)[(len(planes) - 1) // 2]
    if reference not in planes:
        raise InputError(f"{path}: no band {reference!r} for --reference-band; there are {', '.join(planes)}")
    frame = assemble(planes, reference, field.paths)
    stated = {"zero_points": by_band(zero_points, frame.bands, path), "gain": by_band(gain, frame.bands, path)}
    frame = replace(frame, part=cut and cut.part, **{name: getattr(frame, name) | values for name, values in stated.items()})
    if weight_map:
        frame = with_weights(frame, read_like(weight_map, frame.shape, in_parts, cut), weight_type)
    if mask:
        frame = with_mask(frame, of(is_masked, read_like(mask, frame.shape, in_parts, cut)))
    if not any(np.isfinite(strip).any() for counts in frame.counts.values() for strip in strips(counts)):
        raise InputError(
            f"{path}: no good pixel, all are NaN, infinite, masked or one fill value; is this the image? (--hdu chooses another)"
        )
    return frame


def by_band(stated: dict[str, float] | None, bands: tuple[str, ...], path: Path) -> dict[str, float]:
    """What the user states, for each band.

    Raises:
        InputError: for a band that the frame has not.
    """
    stated = stated or {}
    if unknown := set(stated) - {"", *bands}:
        raise InputError(f"{path}: no band {', '.join(sorted(unknown))} for --zero-point or --gain; there are {', '.join(bands)}")
    return dict.fromkeys(bands, stated[""]) if "" in stated else dict(stated)


def cut_of(region: Region, field: FieldInput, hdu: str | None, reference_band: str | None) -> Cut:
    """What a region means in the pixels of the field's reference band."""
    path = field.paths[(len(field.paths) - 1) // 2]
    if field.bands and reference_band in field.bands and len(field.paths) == len(field.bands):
        path = field.paths[field.bands.index(reference_band)]
    header, shape = read_header(path, hdu)
    return Cut(region, wcs_of(header)[0], shape, path)


def read_header(path: Path, hdu: str | None) -> tuple[fits.Header, tuple[int, int]]:
    """Of the image, and its (H, W)."""
    path = ready(path)
    check_claims(path)
    with opened(path) as hdus:
        image = chosen_hdu(hdus, path, hdu)
        return readable(image.header), tuple(image.shape[-2:])


def read_planes(field: FieldInput, hdu: str | None, in_parts: bool = False, cut: Cut | None = None) -> dict[str, Plane]:
    """Band -> plane, reddest first."""
    if field.bands and len(field.paths) == len(field.bands):
        files = spread(ready, field.paths, threads=0, fewest=2)  # decompressors let other threads run
        return {band: one_plane(files.pop(0), hdu, in_parts, cut) for band in field.bands}  # no file stays in memory longer than needed
    counts, header = read_image(field.paths[0], hdu, in_parts, cut)
    if len(counts.shape) == 2:
        return {band_name(header): Plane(without_fill(counts), header)}
    return cube_planes(counts, header, field)


def cube_planes(counts: np.ndarray, header, field: FieldInput) -> dict[str, Plane]:
    """Planes of a cube, whose first is the bluest, as surveys write g, r, z; its BANDS card names them."""
    names = str(header.get("BANDS", "")).strip()
    names = list(names) if len(names) == len(counts) else [str(i) for i in range(len(counts))]
    planes = {name: Plane(without_fill(c), header) for name, c in zip(names, counts)}
    return dict(reversed(planes.items()))


def one_plane(path: Path, hdu: str | None, in_parts: bool, cut: Cut | None) -> Plane:
    counts, header = read_image(path, hdu, in_parts, cut)
    if len(counts.shape) != 2:
        raise InputError(f"{path}: a cube of {len(counts)} planes, must be one image a band; name the cube alone")
    return Plane(without_fill(counts), header)


def read_image(path: Path, hdu: str | None = None, in_parts: bool = False, cut: Cut | None = None) -> tuple[np.ndarray | Rows, fits.Header]:
    """(H, W) or (n, H, W) float32 in native byte order, NaN for BLANK and infinite, and the header; of the cut alone, where given."""
    path = ready(path)
    check_claims(path)
    with opened(path) as hdus:
        image = chosen_hdu(hdus, path, hdu)
        check_size(image, path)
        number = next(i for i, other in enumerate(hdus) if other is image)
        header = readable(image.header)
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
            chosen = hdus[int(hdu) if hdu.lstrip("-").isdigit() else hdu]
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


def assemble(planes: dict[str, Plane], reference: str, paths: tuple[Path, ...]) -> Frame:
    """All bands on the reference's pixels."""
    wcs = {band: celestial_wcs(plane.header, paths[0]) for band, plane in planes.items()}
    shape = planes[reference].counts.shape
    counts, native, native_wcs = {}, {}, {}
    for band, plane in planes.items():
        if band == reference or same_grid(wcs[reference], wcs[band], shape, plane.counts.shape):
            counts[band] = plane.counts
            continue
        if wcs[reference] is None or wcs[band] is None:
            raise InputError(
                f"{paths[0]}: band {band} is {plane.counts.shape}, band {reference} {shape}, and without a WCS they cannot be aligned"
            )
        counts[band] = align(plane.counts, wcs[band], wcs[reference], shape)
        native[band], native_wcs[band] = plane.counts, wcs[band]
    headers = {band: plane.header for band, plane in planes.items()}
    return Frame(
        counts=counts,
        bad={band: of(is_bad, c) for band, c in counts.items()},
        reference=reference,
        wcs=wcs[reference],
        unit=unit_of(headers[reference]),
        zero_points=known(headers, zero_point),
        gain=known(headers, lambda h: positive(h, "GAIN", "EGAIN", "GAINA")),
        saturation=known(headers, lambda h: positive(h, "SATURATE", "SATURATA", "SATLEVEL")),
        header=headers[reference],
        sources=paths,
        native=native,
        native_wcs=native_wcs,
    )


def celestial_wcs(header: fits.Header, path: Path) -> WCS | None:
    """None, with a warning, where the header has none or a broken one: the catalog is still written."""
    wcs, reason = wcs_of(header)
    if wcs is None:
        warnings.warn(f"{path.name}: {reason}; the catalog has pixel positions alone", AstroYOLOWarning, stacklevel=2)
    return wcs


def wcs_of(header: fits.Header) -> tuple[WCS | None, str]:
    """The celestial WCS, or None and why there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wcs = WCS(header).celestial
            if not wcs.has_celestial:
                return None, "no celestial WCS in the header"
            moved = round_trip(wcs)
            return (wcs, "") if moved < 1 else (None, f"broken WCS (there and back, a pixel moves by {moved:g})")
    except Exception as error:  # wcslib and astropy raise many kinds; none may stop the catalog
        return None, f"broken WCS ({' '.join(str(error).split())[:100]})"


def round_trip(wcs: WCS) -> float:
    """Pixels by which the first pixel moves on the way to the sky and back; infinite where there is no way."""
    moved = float(np.abs(pixel_places(wcs, wcs, 0.0, 0.0)).max())
    return moved if np.isfinite(moved) else np.inf


def band_name(header: fits.Header) -> str:
    """The band as FILTER, BAND or BANDS has it, where that is a plain word; else "image"."""
    for key in ("FILTER", "BAND", "BANDS", "FILTER1"):
        word = str(header.get(key, "")).split(" ")[0].strip()
        if word and word.isalnum() and len(word) <= 8:
            return word
    return "image"


def unit_of(header: fits.Header) -> str:
    if is_nanomaggies(header):
        return "nmgy"
    return str(header.get("BUNIT", "")).strip()


def is_nanomaggies(header: fits.Header) -> bool:
    """By BUNIT, or a cutout of the Legacy Surveys, whose headers state no unit."""
    text = str(header.get("BUNIT", "")).lower()
    legacy = any(word in str(header.get("SURVEY", "")).lower() for word in ("decals", "legacysurvey", "legacy survey", "mzls", "bass"))
    return "nanomagg" in text or text in ("nmgy", "nmaggy") or (not text and legacy and header.get("IMAGETYP", "image") == "image")


def zero_point(header: fits.Header) -> float | None:
    """AB magnitude of one count, by the habits of the surveys; None where nothing states it."""
    if is_nanomaggies(header):
        return 22.5
    for key in ("MAGZERO", "MAGZPT", "MAGZP", "PHOTZP", "ZEROPOINT", "ABZP"):
        if (value := number(header, key)) is not None:
            return value
    if flux_of_zero := positive(header, "FLUXMAG0"):
        return 2.5 * float(np.log10(flux_of_zero))
    flam, plam = positive(header, "PHOTFLAM"), positive(header, "PHOTPLAM")
    if flam and plam:  # HST: erg/s/cm2/A and A; Sirianni et al. 2005, PASP 117, 1049
        return float(-2.5 * np.log10(flam) - 5 * np.log10(plam) - 2.408)
    if str(header.get("BUNIT", "")).replace(" ", "").lower() == "mjy/sr" and (area := positive(header, "PIXAR_SR")):
        return float(8.90 - 2.5 * np.log10(1e6 * area))
    return None


def number(header: fits.Header, key: str) -> float | None:
    try:
        value = float(header[key])
    except (KeyError, ValueError, TypeError, fits.VerifyError):
        return None
    return value if np.isfinite(value) else None


def positive(header: fits.Header, *keys: str) -> float | None:
    """The first of the keys that holds a number above 0."""
    values = (number(header, key) for key in keys)
    return next((value for value in values if value is not None and value > 0), None)


def known(headers: dict[str, fits.Header], find) -> dict[str, float]:
    found = {band: find(header) for band, header in headers.items()}
    return {band: value for band, value in found.items() if value is not None}


def read_like(path: Path, shape: tuple[int, int], in_parts: bool = False, cut: Cut | None = None) -> np.ndarray | Rows:
    """A map on the frame's pixels."""
    data, _ = read_image(path, None, in_parts, cut)
    if data.shape != shape:
        raise InputError(f"{path}: {data.shape} pixels, must be {shape}, those of the reference band")
    return data


def with_weights(frame: Frame, weights: np.ndarray | Rows, kind: str) -> Frame:
    """Inverse variances of the reference band; pixels without weight are bad in every band."""
    return replace(
        without_pixels(frame, of(is_useless, weights)), weights={frame.reference: of(partial(inverse_variance, kind == "rms"), weights)}
    )


def is_useless(weights: np.ndarray) -> np.ndarray:
    return ~(np.isfinite(weights) & (weights > 0))


def inverse_variance(is_rms: bool, weights: np.ndarray) -> np.ndarray:
    """float32; 0 without weight."""
    useful = ~is_useless(weights)
    variance = np.divide(1, weights**2, out=np.zeros_like(weights), where=useful) if is_rms else weights
    return np.where(useful, variance, 0).astype(np.float32)


def is_masked(mask: np.ndarray) -> np.ndarray:
    return np.nan_to_num(mask) != 0


def with_mask(frame: Frame, masked) -> Frame:
    return replace(without_pixels(frame, masked), survey_mask=masked)


def without_pixels(frame: Frame, bad) -> Frame:
    counts = {band: of(blanked, c, bad) for band, c in frame.counts.items()}
    return replace(frame, counts=counts, bad={band: of(is_bad, c) for band, c in counts.items()})
