"""The catalog's columns and flag bits, each said once: readers, writers, help and headers take them from here."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        dtype: NumPy's.
        unit: astropy's spelling; "" for none; "flux" stands for the image's own unit.
        ucd: IVOA UCD1+ words.
        meaning: one line.
        optional: always a masked column, as whole catalogs may lack it; the others are masked where a row lacks them.
    """

    name: str
    dtype: str
    unit: str
    ucd: str
    meaning: str
    optional: bool = False


COLUMNS = (
    Column("id", "i4", "", "meta.id;meta.main", "number in this catalog, from 1, highest score first"),
    Column("x", "f8", "pix", "pos.cartesian.x;instr.det;meta.main", "windowed centroid; the centre of the first pixel is 0"),
    Column("y", "f8", "pix", "pos.cartesian.y;instr.det;meta.main", "windowed centroid; the centre of the first pixel is 0"),
    Column("x_err", "f4", "pix", "stat.error;pos.cartesian.x", "standard error of x"),
    Column("y_err", "f4", "pix", "stat.error;pos.cartesian.y", "standard error of y"),
    Column("ra", "f8", "deg", "pos.eq.ra;meta.main", "ICRS right ascension", True),
    Column("dec", "f8", "deg", "pos.eq.dec;meta.main", "ICRS declination", True),
    Column("xmin", "f4", "pix", "pos.cartesian.x;stat.min", "left edge of the box"),
    Column("ymin", "f4", "pix", "pos.cartesian.y;stat.min", "lower edge of the box (first row)"),
    Column("xmax", "f4", "pix", "pos.cartesian.x;stat.max", "right edge of the box"),
    Column("ymax", "f4", "pix", "pos.cartesian.y;stat.max", "upper edge of the box (last row)"),
    Column("class", "U6", "", "src.class;meta.main", "star or galaxy"),
    Column("score", "f4", "", "stat.probability;meta.main", "probability that the detection is real"),
    Column("p_star", "f4", "", "stat.probability;src.class.starGalaxy", "probability of a star"),
    Column("p_galaxy", "f4", "", "stat.probability;src.class.starGalaxy", "probability of a galaxy"),
    Column("morphology", "U6", "", "src.morph.type", "smooth or disk; empty for stars", True),
    Column("p_smooth", "f4", "", "stat.probability;src.morph.type", "probability of smooth, if it is a galaxy"),
    Column("p_disk", "f4", "", "stat.probability;src.morph.type", "probability of disk, if it is a galaxy"),
    Column("flux", "f8", "flux", "phot.flux;meta.main", "total flux, aperture losses corrected, reference band"),
    Column("flux_err", "f8", "flux", "stat.error;phot.flux", "standard error of flux, with that of the light outside of the aperture"),
    Column("flux_aper", "f8", "flux", "phot.flux;phys.size.radius", "flux in a circle of 1.5 times the frame's FWHM in radius"),
    Column("flux_aper_err", "f8", "flux", "stat.error;phot.flux;phys.size.radius", "standard error of flux_aper"),
    Column("mag", "f8", "mag", "phot.mag;meta.main", "AB magnitude of flux", True),
    Column("mag_err", "f8", "mag", "stat.error;phot.mag", "standard error of mag", True),
    Column("snr", "f4", "", "stat.snr", "flux / flux_err"),
    Column("a", "f4", "pix", "phys.size.smajAxis;instr.det", "rms along the major axis"),
    Column("b", "f4", "pix", "phys.size.sminAxis;instr.det", "rms along the minor axis"),
    Column("theta", "f4", "deg", "pos.posAng;instr.det", "angle of the major axis, counter-clockwise from +x"),
    Column("r50", "f4", "pix", "phys.size.radius;instr.det", "radius of half the light"),
    Column("fwhm", "f4", "pix", "phys.size.diameter;instr.det.psf", "full width at half maximum, as of a star of that size in this frame"),
    Column("flags", "i4", "", "meta.code.qual", "bits; see the header or astroyolo info flags"),
)

BAND_COLUMNS = (
    Column("flux_{band}", "f8", "flux", "phot.flux", "total flux in band {band}, in the reference band's aperture"),
    Column("flux_err_{band}", "f8", "flux", "stat.error;phot.flux", "standard error of flux_{band}"),
    Column("mag_{band}", "f8", "mag", "phot.mag", "AB magnitude of flux_{band}", True),
    Column("mag_err_{band}", "f8", "mag", "stat.error;phot.mag", "standard error of mag_{band}", True),
)

FIELD = Column("field", "U", "", "meta.id;meta.file", "input that the row is of")
PRIMARY = Column("is_primary", "bool", "", "meta.code", "the one row that stands for its source, of those of overlapping frames")

EDGE, SEAM, SATURATED, BAD_PIXELS, BLENDED = 1, 2, 4, 8, 16
CENTROID_FAILED, PHOTOMETRY_FAILED, MORPHOLOGY_UNSURE, SURVEY_MASK, FWHM_OUTSIDE, OUTSIDE, UNSEEN = 32, 64, 128, 256, 512, 1024, 2048

FLAGS = {
    EDGE: "touches the edge of the frame",
    SEAM: "crosses a seam between tiles",
    SATURATED: "has saturated pixels",
    BAD_PIXELS: "has bad pixels in its box",
    BLENDED: "a tenth of it belongs to another source, or one holds the other's centre",
    CENTROID_FAILED: "centroid failed: x, y are the middle of the box",
    PHOTOMETRY_FAILED: "photometry failed: fluxes and shape are empty",
    MORPHOLOGY_UNSURE: "galaxy neither smooth nor disk at 60 %",
    SURVEY_MASK: "touches a pixel of the mask given with --mask",
    FWHM_OUTSIDE: "frame's FWHM outside of what the network learned",
    OUTSIDE: "position outside of the frame: nothing is known",
    UNSEEN: "classify detected nothing at this place: the classes are a guess",
}

PIXEL_ORIGIN = "x and y count from 0: the centre of the first pixel is (0, 0); FITS and DS9 count from 1"


def meta_of_columns() -> dict[str, object]:
    """What a catalog's meta says of its columns: where pixels count from, and the flags' meanings."""
    return {"pixel_origin": PIXEL_ORIGIN, "flag_bits": {str(bit): meaning for bit, meaning in FLAGS.items()}}


def decode_flags(flags: int) -> list[str]:
    """The meanings of the bits that are set.

    >>> decode_flags(5)
    ['touches the edge of the frame', 'has saturated pixels']
    """
    return [meaning for bit, meaning in FLAGS.items() if flags & bit]


def columns_named(names: tuple[str, ...]) -> tuple[Column, ...]:
    """These columns, in this order."""
    known = {column.name: column for column in (*COLUMNS, FIELD)}
    return tuple(known[name] for name in names)


def columns_for(bands: tuple[str, ...]) -> tuple[Column, ...]:
    """All columns of a catalog of these bands; further fluxes only where there are several."""
    if len(bands) < 2:
        return COLUMNS
    return (*COLUMNS, *(in_band(column, band) for band in bands for column in BAND_COLUMNS))


def in_band(column: Column, band: str) -> Column:
    return replace(column, name=column.name.format(band=band), meaning=column.meaning.format(band=band))


def column_called(name: str) -> Column | None:
    """What this program means by a column of this name; None for a name that it does not use."""
    for column in (*COLUMNS, FIELD, PRIMARY):
        if column.name == name:
            return column
    for column in sorted(BAND_COLUMNS, key=lambda column: -len(column.name)):  # flux_err_r is not the flux in a band err_r
        start = column.name.removesuffix("{band}")
        if name.startswith(start) and name != start:
            return in_band(column, name.removeprefix(start))
    return None
