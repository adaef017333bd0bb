"""A part of a frame: what --region says, the pixels to read for it, and its catalog in the whole frame's pixels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .align import pixel_places, same_grid
from .errors import InputError

MARGIN = 256  # pixels read around the region: sky and noise are measured there too, and sources on its border are whole
REACH = 32  # pixels read beyond, of bands on other pixels, for their interpolation


@dataclass(frozen=True)
class Region:
    """A rectangle of pixels, or a square on the sky.

    Attributes:
        text: as the user wrote it.
        pixels: x0, x1, y0, y1 of the reference band, from 0; x1 and y1 are the first ones outside. None for a place on the sky.
        sky: ICRS right ascension, declination and side, in degrees.
    """

    text: str
    pixels: tuple[int, int, int, int] | None = None
    sky: tuple[float, float, float] | None = None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Part:
    """Where a frame that was read in part lies in the whole one.

    Attributes:
        x, y: pixel of the whole frame that is the part's first.
        core: x0, y0, x1, y1 of the region, edges of pixels in the whole frame; sources with their centre there are the catalog.
        region: as the user wrote it.
    """

    x: int
    y: int
    core: tuple[float, float, float, float]
    region: str


def parse_region(text: str) -> Region:
    """``x0:x1,y0:y1``, or ``RA,DEC,SIZE``: degrees, SIZE also with a unit, as 3arcmin.

    Raises:
        ValueError: saying what is wrong.

    >>> parse_region("100:400,0:200").pixels
    (100, 400, 0, 200)
    >>> parse_region("150.1,2.2,3arcmin").sky
    (150.1, 2.2, 0.05)
    """
    try:
        if ":" in text:
            (x0, x1), (y0, y1) = (map(int, part.split(":")) for part in text.split(","))
            region = Region(text, pixels=(x0, x1, y0, y1))
        else:
            ra, dec, size = text.split(",")
            region = Region(text, sky=(float(ra), float(dec), degrees(size)))
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ValueError(f"{text!r}: must be x0:x1,y0:y1 in pixels or RA,DEC,SIZE in degrees, as 150.1,2.2,3arcmin") from error
    if region.pixels and not (0 <= region.pixels[0] < region.pixels[1] and 0 <= region.pixels[2] < region.pixels[3]):
        raise ValueError(f"{text!r}: pixels count from 0, and the end comes after the start")
    if region.sky and not (0 <= region.sky[0] <= 360 and -90 <= region.sky[1] <= 90 and 0 < region.sky[2] < 180):
        raise ValueError(f"{text!r}: RA must be 0 to 360, DEC -90 to 90, SIZE above 0, all in degrees")
    return region


def degrees(text: str) -> float:
    from astropy import units

    return float(units.Quantity(text if text.strip()[-1:].isalpha() else float(text), units.deg).to_value(units.deg))


class Cut:
    """The pixels to read of each band of a field for a region of its reference band.

    Args:
        wcs: of the reference band, None without one.
        shape: (H, W) of it.
        path: for messages.
    """

    def __init__(self, region: Region, wcs, shape: tuple[int, int], path: Path):
        self._wcs, self._shape, self._path = wcs, shape, path
        x0, x1, y0, y1 = region.pixels or self._square(region)
        height, width = shape
        core = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        if core[0] >= core[2] or core[1] >= core[3]:
            raise InputError(f"{path}: --region {region} lies outside of the frame of {width} x {height} pixels")
        self.rows, self.columns = (grown(core[i], core[i + 2], n) for i, n in ((1, height), (0, width)))
        edges = core[0] - 0.5, core[1] - 0.5, core[2] - 0.5, core[3] - 0.5
        self.part = Part(self.columns.start, self.rows.start, edges, region.text)

    def _square(self, region: Region) -> tuple[int, int, int, int]:
        """x0, x1, y0, y1 of the pixels around a place on the sky."""
        from astropy.coordinates import SkyCoord
        from astropy.wcs.utils import proj_plane_pixel_scales

        if self._wcs is None:
            raise InputError(f"{self._path}: --region {region} is a place on the sky, and the frame has no WCS; give pixels")
        ra, dec, size = region.sky
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            place = np.array(self._wcs.world_to_pixel(SkyCoord(ra, dec, unit="deg")), float)
        if not np.isfinite(place).all() or np.abs(place).max() > 1e9:
            raise InputError(f"{self._path}: --region {region} lies outside of the frame of {self._shape[1]} x {self._shape[0]} pixels")
        half = size / 2 / np.abs(proj_plane_pixel_scales(self._wcs))
        low, high = np.floor(place - half + 0.5).astype(int), np.ceil(place + half + 0.5).astype(int)
        return low[0], high[0], low[1], high[1]

    def window(self, wcs, shape: tuple[int, int], path: Path) -> tuple[slice, slice]:
        """Rows and columns of a band.

        Raises:
            InputError: if the band does not reach the region.
        """
        if same_grid(self._wcs, wcs, self._shape, shape):
            return self.rows, self.columns
        if self._wcs is None or wcs is None:
            raise InputError(f"{path}: {shape} pixels, the reference band {self._shape}, and without a WCS they cannot be aligned")
        edge = np.linspace(0, 1, 9)
        x = self.columns.start + edge * (self.columns.stop - self.columns.start - 1)
        y = self.rows.start + edge * (self.rows.stop - self.rows.start - 1)
        places = pixel_places(self._wcs, wcs, *(grid.ravel() for grid in np.meshgrid(x, y)))
        low, high = np.nanmin(places, axis=1) - REACH, np.nanmax(places, axis=1) + REACH + 1
        ends = [(max(int(a), 0), min(int(b), n)) for a, b, n in zip(low, high, shape[::-1])]
        if any(a >= b for a, b in ends):
            raise InputError(f"{path}: does not reach --region {self.part.region}; leave the band out")
        return slice(*ends[1]), slice(*ends[0])


def grown(first: int, end: int, n: int) -> slice:
    return slice(max(first - MARGIN, 0), min(end + MARGIN, n))


def cut_header(header, window: tuple[slice, slice]):
    """The header of the part: its WCS says where the part lies."""
    header = header.copy()
    for axis, part in ((1, window[1]), (2, window[0])):
        header[f"NAXIS{axis}"] = part.stop - part.start
        if f"CRPIX{axis}" in header:
            header[f"CRPIX{axis}"] -= part.start
    return header


def in_whole_frame(catalog, part: Part | None):
    """The rows of a part's catalog whose source lies in the region, numbered anew, in the whole frame's pixels."""
    if part is None:
        return catalog
    catalog = moved(catalog, part.x, part.y)
    x0, y0, x1, y1 = part.core
    inside = (catalog["x"] >= x0) & (catalog["x"] < x1) & (catalog["y"] >= y0) & (catalog["y"] < y1)
    catalog = catalog[np.asarray(inside)]
    catalog["id"][:] = np.arange(1, len(catalog) + 1)
    return catalog


def in_part(catalog, part: Part | None):
    """The catalog in the pixels that were read, to draw it on them."""
    return catalog if part is None else moved(catalog, -part.x, -part.y)


def moved(catalog, dx: int, dy: int):
    catalog = catalog.copy()
    for name, by in (("x", dx), ("xmin", dx), ("xmax", dx), ("y", dy), ("ymin", dy), ("ymax", dy)):
        catalog[name] += by
    return catalog
