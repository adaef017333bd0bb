"""Classes of what is at known places: the middle of cutouts, or positions in a frame."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from astropy.table import Table

from . import __version__
from .central import LOWEST, central_sources, turned_sources
from .columns import OUTSIDE, UNSEEN, columns_named, meta_of_columns
from .detections import Detections, concatenate
from .errors import AstroYOLOWarning, InputError, reason_of
from .frame import Frame
from .inputs import NO_INPUT, FieldInput, expand_lists, resolve_among, resolve_one, with_short_names
from .measure import as_column, from_network, to_sky
from .morphology import unsure
from .pictures import PICTURES
from .read import read_field
from .sharpness import shown_enlarged
from .stretch import Stretch, backgrounds, section_rgb, window_rgb
from .tables import floats, read_table

MIDDLE = 256  # pixels of a picture around its centre that are looked at
NEARER = (1.0, 0.625)  # parts of their side that each view shows: how much of a picture its galaxy fills is not known
SHOWN = 96  # pixels to which they are shrunk: galaxies are then as large as most were in training
WINDOW = 256  # pixels around a position of a frame
BATCH = 16
SHIFTS = (0, 4)  # pixels: half a cell of YOLOX's finest level
IMAGES = (*PICTURES, ".fits", ".fit", ".fz", ".fits.gz", ".fits.bz2")
CUTOUT_COLUMNS = ("field", "class", "score", "p_star", "p_galaxy", "morphology", "p_smooth", "p_disk", "flags")
POSITION_COLUMNS = ("id", "field", "x", "y", "ra", "dec", "xmin", "ymin", "xmax", "ymax", *CUTOUT_COLUMNS[1:])
ARRIVES = 1.0  # pixels from a place on the sky at which the way there and back may end
SKY_NAMES = (("ra", "dec"), ("raj2000", "dej2000"), ("ra_icrs", "de_icrs"), ("alpha_j2000", "delta_j2000"), ("_ra", "_de"))
PIXEL_NAMES = ((("x", "y"), 0), (("xwin_image", "ywin_image"), 1), (("x_image", "y_image"), 1))  # and the first pixel's number


def cutout_inputs(inputs: Iterable[str], bands: tuple[str, ...] | None) -> list[FieldInput]:
    """The cutouts that INPUT names; of a folder all pictures and FITS files below it, unless it holds one file a band.

    Raises:
        InputError: as ``resolve``, and for a folder without cutouts if it is the only input.
    """
    given = expand_lists(list(inputs))
    found = [field for one in given for field in cutouts_of(one, bands, alone=len(given) == 1)]
    if not found:
        raise InputError(NO_INPUT)
    return with_short_names(found)


def cutouts_of(given: str, bands: tuple[str, ...] | None, alone: bool) -> list[FieldInput]:
    """The cutouts of one of several inputs: one that cannot be used is a cutout that will fail, and not the end of the others."""
    path = Path(given)
    if not path.is_dir() or any(path.glob("img_*.fits*")):
        return resolve_among(given, bands, alone)
    files = sorted(p for p in path.rglob("*") if p.name.lower().endswith(IMAGES))
    if alone and not files:
        raise InputError(f"{path}: no pictures and no FITS files below it; name a folder of cutouts")
    return [field for file in files for field in resolve_one(str(file), bands)] or resolve_among(given, bands, alone)


def classify_cutouts(fields: list[FieldInput], engine, reading: dict, advance=lambda: None) -> tuple[Table, int]:
    """A row a cutout, and how many could not be read; those are warned of and left out.

    Args:
        reading: keyword arguments of ``read_field``.
        advance: called after each cutout.

    Raises:
        InputError: if none can be read; the first one's reason.
    """
    failed: list[InputError] = []
    names, parts = [], []
    cutouts = readable(fields, reading, engine.card.stretch, failed, advance)
    while batch := list(islice(cutouts, BATCH)):
        for side in {image.shape[-1] for _, image in batch}:
            same = [(name, image) for name, image in batch if image.shape[-1] == side]
            names += [name for name, _ in same]
            parts.append(turned_sources(engine, np.stack([image for _, image in same])))
    if not names:
        raise failed[0]
    order = {field.name: number for number, field in enumerate(fields)}
    rows = np.argsort([order[name] for name in names])
    found = concatenate(parts).take(rows)
    values = from_network(found) | {"field": np.array(names)[rows], "flags": doubts(found)}
    return table_of(values, CUTOUT_COLUMNS), len(failed)


def readable(fields, reading, stretch: Stretch, failed: list, advance) -> Iterator[tuple[str, np.ndarray]]:
    """Name and views of each cutout that can be read; the errors of the others are added to ``failed``."""
    for field in fields:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AstroYOLOWarning)  # such as of a lacking WCS, which nobody asks for here
                image = picture_of(read_field(field, **reading), stretch)
        except InputError as error:
            failed.append(error)
            warnings.warn(f"left out: {error}", AstroYOLOWarning, stacklevel=2)
        else:
            yield field.name, image
        advance()


def picture_of(frame: Frame, stretch: Stretch) -> np.ndarray:
    """(views, 3, side, side) RGB of a cutout: a picture's middles at 96 pixels, of FITS the pixels themselves around the centre."""
    height, width = frame.shape
    if not frame.stretched:
        return window_rgb(frame, backgrounds(frame), (width - 1) / 2, (height - 1) / 2, stretch, WINDOW)[None]
    return shrunk_middles(section_rgb(frame, {}, stretch))


def shrunk_middles(rgb: np.ndarray) -> np.ndarray:
    """(views, 3, SHOWN, SHOWN) float32 of the middle of a picture (3, height, width), from far and from near."""
    return np.stack([shrunk_middle(rgb, part * min(MIDDLE, *rgb.shape[1:])) for part in NEARER])


def shrunk_middle(rgb: np.ndarray, side: float) -> np.ndarray:
    """(3, SHOWN, SHOWN) float32 of the ``side`` pixels in the middle of a picture (3, height, width)."""
    from PIL import Image

    height, width = rgb.shape[1:]
    left, top = (width - side) / 2, (height - side) / 2
    planes = [Image.fromarray(np.ascontiguousarray(plane, np.float32)) for plane in rgb]
    box = (left, top, left + side, top + side)
    how = Image.Resampling.BOX if side > SHOWN else Image.Resampling.BILINEAR
    return np.stack([np.asarray(plane.resize((SHOWN, SHOWN), how, box), np.float32) for plane in planes])


@dataclass(frozen=True)
class Positions:
    """What a catalog says of where to look, a row a position.

    Attributes:
        xy: (n, 2) pixels, the centre of the first pixel at 0; NaN where the frame's WCS does not reach.
        ids: (n,) whole numbers of the rows; None where it has none.
        sky: (n, 2) RA and Dec, degrees, as the catalog states them; None where it does not.
    """

    xy: np.ndarray
    ids: np.ndarray | None = None
    sky: np.ndarray | None = None


def classify_positions(frame: Frame, positions: Positions, engine, field: str = "", advance=lambda n: None) -> Table:
    """A row a position, in their order; those outside of the frame are flagged and empty.

    Args:
        positions: NaN counts as outside; ``ids`` by default 1 to n, RA and Dec by the frame's WCS.
        advance: called with how many positions were done.
    """
    xy, ids, (height, width) = positions.xy, positions.ids, frame.shape
    inside = (np.isfinite(xy) & (xy > -0.5) & (xy < np.array([width, height]) - 0.5)).all(axis=1)
    background = {} if frame.stretched else backgrounds(frame)
    zoom, parts = shown_enlarged(frame, background), []
    for rows in np.array_split(np.flatnonzero(inside), max(-(-inside.sum() // BATCH), 1)):
        if len(rows):
            parts.append(at_positions(frame, background, xy[rows], engine, zoom))
        advance(len(rows))
    found = spread(concatenate(parts), inside)
    ra, dec = sky_of(frame, positions)
    values = {name: blank(value, inside) for name, value in from_network(found).items()}
    values |= {"id": np.arange(1, len(xy) + 1, dtype=np.int32) if ids is None else ids, "field": np.full(len(xy), field)}
    values |= {"x": xy[:, 0], "y": xy[:, 1], "ra": ra, "dec": dec, "flags": np.where(inside, doubts(found), OUTSIDE)}
    return table_of(values, POSITION_COLUMNS)


def sky_of(frame: Frame, positions: Positions) -> np.ndarray:
    """(2, n) RA and Dec, degrees: as the catalog states them, else by the frame's WCS."""
    made = np.stack(to_sky(frame, *positions.xy.T))
    if positions.sky is None:
        return made
    return np.where(np.isfinite(positions.sky).all(axis=1), positions.sky.T, made)


def at_positions(frame: Frame, background: dict, xy: np.ndarray, engine, zoom: float) -> Detections:
    """The source at each position, in frame pixels: the mean of looks with the position at different places of the network's cells.

    ``zoom``: times that the network sees the frame enlarged.
    """
    looks = []
    for shift in SHIFTS:
        windows = [window_rgb(frame, background, x + shift, y + shift, engine.card.stretch, WINDOW) for x, y in xy]
        found = central_sources(engine, np.stack(windows), off_centre=shift, zoom=zoom)
        corner = np.round(xy + shift) - WINDOW // 2
        looks.append(replace(found, xyxy=(found.xyxy + np.tile(corner, 2)).astype(np.float32)))
    score = np.mean([look.score for look in looks], axis=0)
    weights = np.stack([look.score for look in looks]) + 1e-6
    p_galaxy, p_disk = (
        np.average([getattr(look, name) for look in looks], axis=0, weights=weights).astype(np.float32) for name in ("p_galaxy", "p_disk")
    )
    return replace(looks[0], score=score, p_galaxy=p_galaxy, p_disk=p_disk)


def doubts(found: Detections) -> np.ndarray:
    """(n,) int32 flags of the classes."""
    return unsure(found.p_galaxy, found.p_disk) | np.where(found.score < LOWEST, UNSEEN, 0).astype(np.int32)


def spread(found: Detections, inside: np.ndarray) -> Detections:
    """One row for every position; those outside repeat nothing, as 0."""
    rows = np.cumsum(inside) - 1
    nothing = Detections(np.zeros((1, 4), np.float32), *np.zeros((3, 1), np.float32), np.zeros(1, bool))
    padded = concatenate([found, nothing])
    return padded.take(np.where(inside, rows, len(found)))


def blank(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Empty where there is nothing to say."""
    return np.where(inside, values, "") if values.dtype.kind == "U" else np.where(inside, values, np.nan)


def table_of(values: dict[str, np.ndarray], names: tuple[str, ...]) -> Table:
    table = Table()
    for column in columns_named(names):
        if column.name == "id":  # the user's own may need 64 bits
            column = replace(column, dtype=values["id"].dtype.newbyteorder("=").str)
        table[column.name] = as_column(column, values[column.name], "")
    table.meta |= meta_of_columns() | {"provenance": {"version": __version__}}
    return table


def read_positions(path: Path, frame: Frame) -> Positions:
    """Of a catalog's rows: their pixels by RA and Dec where the frame has a WCS, and their whole-numbered ``id``, if any.

    Known are ra and dec (degrees, ICRS) under their usual names, x and y (from 0), and SExtractor's X_IMAGE (from 1).

    Raises:
        InputError: for a file that is no table, or has no positions.
    """
    table = read_table(path)
    names = {name.lower(): name for name in table.colnames}
    ids = np.asarray(table[names["id"]]) if "id" in names and np.asarray(table[names["id"]]).dtype.kind in "iu" else None
    try:
        sky = sky_given(table, names, frame)
        if sky is not None and frame.wcs is not None:
            return Positions(to_pixels(frame, *sky.T), ids, sky)
        for pair, first in PIXEL_NAMES:
            if set(pair) <= set(names):
                return Positions(pairs_of(table, names, pair) - first, ids, sky)
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: positions that are no numbers ({reason_of(error)}); correct the catalog") from error
    lacking = "ra and dec, or x and y" if frame.wcs is not None else "x and y (the frame has no WCS, so that ra and dec cannot be used)"
    raise InputError(f"{path}: needs columns {lacking}; it has {', '.join(table.colnames[:8])}")


def sky_given(table: Table, names: dict[str, str], frame: Frame) -> np.ndarray | None:
    """(n, 2) RA and Dec as the catalog states them; None where it does not, or in words that a frame without a WCS does not need."""
    pair = next((pair for pair in SKY_NAMES if set(pair) <= set(names)), None)
    if pair is None or (frame.wcs is None and any(table[names[name]].dtype.kind not in "iuf" for name in pair)):
        return None
    return pairs_of(table, names, pair)


def pairs_of(table: Table, names: dict[str, str], pair: tuple[str, str]) -> np.ndarray:
    """(n, 2) float64 of two columns.

    Args:
        names: in lower case -> as the table has them.
    """
    return np.stack([floats(table, names[name]) for name in pair], 1).reshape(-1, 2)


def to_pixels(frame: Frame, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """(n, 2) pixels from 0; NaN where the WCS does not reach: far from a distorted frame astropy's search ends at any pixel."""
    from astropy.coordinates import SkyCoord
    from astropy.wcs.utils import proj_plane_pixel_scales

    xy, wcs = np.full((len(ra), 2), np.nan), frame.wcs.celestial
    known = np.isfinite(ra) & (np.abs(dec) <= 90)
    sky = SkyCoord(ra[known], dec[known], unit="deg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        xy[known] = np.stack(wcs.world_to_pixel(sky), 1)
    back = SkyCoord(*to_sky(frame, *xy[known].T), unit="deg")
    off = back.separation(sky).deg / max(proj_plane_pixel_scales(wcs))
    xy[known] = np.where(off[:, None] <= ARRIVES, xy[known], np.nan)
    return xy
