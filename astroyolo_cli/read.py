"""Files to frames. What surveys write in headers, and in how many files, is known here alone."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from astropy.io import fits

from .align import align, same_grid
from .celestial import celestial_wcs, wcs_of
from .errors import AstroYOLOWarning, InputError
from .fill import without_fill
from .frame import Frame
from .hdus import hdu_of_map, read_header, read_image, ready
from .inputs import FieldInput, resolve
from .pictures import PICTURES, read_picture
from .region import Cut, Region
from .sections import Rows, blanked, is_bad, of, sampled, strips
from .threads import spread

UNNAMED = "image"  # a band whose header does not name it
COUNTS = ("", "adu", "dn", "c", "count", "counts", "ct", "cts")  # units of which GAIN may be, as plain_unit has them
ELECTRONS = ("e", "e-", "electron", "electrons")
PER_SECOND = ("/s", "/sec", "/second", "s-1", "s^-1", "s**-1", "ps")
LEAST_ELECTRONS = 0.3  # of noise a pixel: no detector has less, so that a GAIN which says so is not of the image's unit

__all__ = ["FieldInput", "read_field", "resolve"]


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
        in_parts: planes of more than ``hdus.LARGE`` pixels are read as they are needed, where the file allows it: not from a file that
            is compressed as a whole, nor from a cube.
        zero_points, gain: band -> AB magnitude of one count and electrons a count, instead of the headers'; band "" is every band.

    Raises:
        InputError: naming the file, for anything that is not an image that can be used.
    """
    path = field.paths[0]
    if len(field.paths) == 1 and path.suffix.lower() in PICTURES:
        for name, value in {"--hdu": hdu, "--reference-band": reference_band, "--weight-map": weight_map, "--mask": mask}.items():
            if value:
                raise InputError(f"{path}: a picture, and {name} is of FITS images; leave it out, or use FITS")
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
        frame = with_weights(frame, read_like(weight_map, frame.shape, hdu, in_parts, cut), weight_type)
    if mask:
        frame = with_mask(frame, of(is_masked, read_like(mask, frame.shape, hdu, in_parts, cut)))
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


def read_planes(field: FieldInput, hdu: str | None, in_parts: bool = False, cut: Cut | None = None) -> dict[str, Plane]:
    """Band -> plane, reddest first."""
    if field.bands and len(field.paths) == len(field.bands):
        files = spread(ready, field.paths, threads=0, fewest=2)  # decompressors let other threads run
        return {band: one_plane(files.pop(0), hdu, in_parts, cut) for band in field.bands}  # no file stays in memory longer than needed
    counts, header = read_image(field.paths[0], hdu, in_parts, cut)
    if len(counts.shape) == 2:
        return {only_band(header, field): plane_of(counts, header)}
    return cube_planes(counts, header, field)


def only_band(header: fits.Header, field: FieldInput) -> str:
    """The band of a single image: by its header, or where that says nothing as the user calls it."""
    band, wanted = band_name(header), field.wanted or ()
    if len(wanted) == 1 and band == UNNAMED:
        return wanted[0]
    if wanted and band not in wanted:
        text = f"{field.paths[0]}: one image, of band {band!r}; --bands {','.join(wanted)} has no part in it"
        warnings.warn(text, AstroYOLOWarning, stacklevel=2)
    return band


def cube_planes(counts: np.ndarray, header, field: FieldInput) -> dict[str, Plane]:
    """The wanted planes of a cube, whose first is the bluest, as surveys write g, r, z."""
    names = names_of_planes(header, len(counts), field.wanted)
    wanted = field.wanted or names[::-1]
    if missing := [band for band in wanted if band not in names]:
        raise InputError(f"{field.paths[0]}: a cube without band {missing[0]!r}, its planes are {', '.join(names)}; choose with --bands")
    return {band: plane_of(counts[names.index(band)], header) for band in wanted}


def names_of_planes(header: fits.Header, count: int, wanted: tuple[str, ...] | None) -> list[str]:
    """By the BANDS card, a letter a plane; without it by what the user calls as many, reddest first; else their numbers."""
    letters, numbers = str(header.get("BANDS", "")).strip(), [str(i) for i in range(count)]
    if len(letters) == count:
        return list(letters)
    return list(wanted[::-1]) if wanted and len(wanted) == count and not set(wanted) <= set(numbers) else numbers


def one_plane(path: Path, hdu: str | None, in_parts: bool, cut: Cut | None) -> Plane:
    counts, header = read_image(path, hdu, in_parts, cut)
    if len(counts.shape) != 2:
        raise InputError(f"{path}: a cube of {len(counts)} planes, must be one image a band; name the cube alone")
    return plane_of(counts, header)


def plane_of(counts: np.ndarray | Rows, header: fits.Header) -> Plane:
    """Without fill values."""
    return Plane(without_fill(counts, saturation_of(header)), header)


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
        gain=known(planes, gain_of),
        saturation=known(headers, saturation_of),
        header=headers[reference],
        sources=paths,
        native=native,
        native_wcs=native_wcs,
    )


def band_name(header: fits.Header) -> str:
    """The band as FILTER, BAND or BANDS has it, where that is a plain word; else ``UNNAMED``."""
    for key in ("FILTER", "BAND", "BANDS", "FILTER1", "FILTER2"):
        word = str(header.get(key, "")).split(" ")[0].strip()
        if word and word.isalnum() and len(word) <= 8 and not word.upper().startswith("CLEAR"):  # an empty place of a filter wheel
            return word
    return UNNAMED


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
    if flam and plam and (seconds := seconds_of_count(header)):  # HST: erg/s/cm2/A and A; Sirianni et al. 2005, PASP 117, 1049
        return float(-2.5 * np.log10(flam / seconds) - 5 * np.log10(plam) - 2.408)
    if plain_unit(header) == "mjy/sr" and (area := positive(header, "PIXAR_SR")):
        return float(8.90 - 2.5 * np.log10(1e6 * area))
    return None


def gain_of(plane: Plane) -> float | None:
    """Electrons a count. GAIN is that of the detector's counts: of an image in other units it holds where it can, else None."""
    header, unit = plane.header, plain_unit(plane.header)
    gain = positive(header, "GAIN", "EGAIN", "GAINA")
    rate = next((end for end in PER_SECOND if unit.endswith(end)), "")
    seconds, counted = positive(header, "EXPTIME", "TEXPTIME") if rate else 1.0, unit.removesuffix(rate)
    if counted in (*ELECTRONS, *COUNTS):
        each = 1.0 if counted in ELECTRONS else gain
        return each * seconds if each and seconds else None
    return gain if gain and 1.4826 * deviation(plane.counts) * gain > LEAST_ELECTRONS else None


def saturation_of(header: fits.Header) -> float | None:
    """Counts at which pixels saturate."""
    return positive(header, "SATURATE", "SATURATA", "SATLEVEL")


def deviation(counts: np.ndarray | Rows) -> float:
    """Median absolute deviation of a sample of the good pixels (H, W) from their median; 0 without any."""
    sample = sampled(counts)
    good = sample[np.isfinite(sample)]
    return float(np.median(np.abs(good - np.median(good)))) if len(good) else 0.0


def plain_unit(header: fits.Header) -> str:
    """BUNIT in small letters without spaces."""
    return str(header.get("BUNIT", "")).replace(" ", "").lower()


def seconds_of_count(header: fits.Header) -> float | None:
    """By which counts are to be divided to be those of a second: 1 where BUNIT says so, or nothing; None where EXPTIME lacks."""
    unit = plain_unit(header)
    return 1.0 if not unit or unit.endswith(PER_SECOND) else positive(header, "EXPTIME", "TEXPTIME")


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


def known(sources: dict, find) -> dict[str, float]:
    """band -> what ``find`` says of each band's header or plane, where it says something."""
    found = {band: find(source) for band, source in sources.items()}
    return {band: value for band, value in found.items() if value is not None}


def read_like(path: Path, shape: tuple[int, int], hdu: str | None, in_parts: bool = False, cut: Cut | None = None) -> np.ndarray | Rows:
    """A map on the frame's pixels: its first image, or of several that in the HDU in which the frame's file has its own."""
    data, _ = read_image(path, hdu_of_map(path, hdu), in_parts, cut)
    if data.shape != shape:
        raise InputError(f"{path}: {data.shape} pixels, must be {shape}, those of the reference band")
    return data


def with_weights(frame: Frame, weights: np.ndarray | Rows, kind: str) -> Frame:
    """Inverse variances of the reference band, of kind "weight" but for a factor; pixels without weight are bad in every band."""
    found = {frame.reference: of(partial(inverse_variance, kind == "rms"), weights)}
    return replace(without_pixels(frame, of(is_useless, weights)), weights=found, weights_are_relative=kind == "weight")


def is_useless(weights: np.ndarray) -> np.ndarray:
    return ~(np.isfinite(weights) & (weights > 0))


def inverse_variance(is_rms: bool, weights: np.ndarray) -> np.ndarray:
    """float32; 0 without weight."""
    useful = ~is_useless(weights)
    variance = np.divide(1, weights**2, out=np.zeros_like(weights), where=useful) if is_rms else weights
    return np.where(useful, variance, 0).astype(np.float32)


def is_masked(mask: np.ndarray) -> np.ndarray:
    """NaN, which is no 0, is masked too."""
    return mask != 0


def with_mask(frame: Frame, masked) -> Frame:
    return replace(without_pixels(frame, masked), survey_mask=masked)


def without_pixels(frame: Frame, bad) -> Frame:
    counts = {band: of(blanked, c, bad) for band, c in frame.counts.items()}
    return replace(frame, counts=counts, bad={band: of(is_bad, c) for band, c in counts.items()})
