"""The catalog of a frame. Scores and classes are the network's, its boxes are brought to the frame's own stars; all else is measured.

Positions and shapes come from all bands together (shapes.py), fluxes from each (photometry.py): two passes over the frame, block by
block (scene.py), and between them a look at stars and empty sky all over it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
from astropy.table import Column as TableColumn
from astropy.table import MaskedColumn, Table

from .align import PixelMap
from .boxes import in_whole_pixels, with_size_of_profile
from .columns import (
    BAD_PIXELS,
    BLENDED,
    CENTROID_FAILED,
    EDGE,
    FWHM_OUTSIDE,
    PHOTOMETRY_FAILED,
    SATURATED,
    SEAM,
    SURVEY_MASK,
    columns_for,
    meta_of_columns,
)
from .detections import CLASSES, Detections, centers, overlapping_in_strips
from .errors import AstroYOLOWarning
from .frame import Frame
from .morphology import morphologies, unsure
from .native import moved_boxes
from .photometry import (
    APERTURE,
    Fluxes,
    Moffat,
    aperture_scale,
    brightest,
    centroid_scale,
    circles,
    empty_places,
    fluxes_of,
    frame_fwhm,
    no_fluxes,
    sound_stars,
    star_profile,
)
from .scene import Block, Scene
from .sections import forget
from .shapes import FWHM_OF_SIGMA, Shapes, Windows, fill_shapes, nothing_known, star_width
from .sky import sky_between
from .stamps import Light, at_edges, ellipses, over_edges
from .stretch import Background, estimate_background
from .threads import spread

SOME = 1000  # detections that one thread takes at once
PLATEAU = 0.98  # part of the level that saturated pixels surely have after interpolation


def measure(frame: Frame, found: Detections, background: dict, fwhm: float | None = None, threads: int = 1) -> Table:
    """The catalog of a frame, one row a detection, in their order.

    Args:
        background: band -> sky and noise (stretch.Background); the sky is measured again beside the detections (sky.py).
        fwhm: of the frame's stars in pixels; without it, the median of the stars found.
        threads: that share the work; 0 for as many as there are processors. The catalog is the same.

    Returns:
        The columns of columns.py; masked where unknown. ``meta`` holds the pixel origin, the radius of
        flux_aper and the flags' meanings. Zero rows is a valid catalog.
    """
    usable = usable_boxes(found.xyxy, frame.shape)
    boxes = np.where(usable[:, None], found.xyxy, [-0.5, -0.5, 0.5, 0.5]).astype(np.float64)
    grids = {band: PixelMap(frame.wcs, wcs, frame.shape) for band, wcs in frame.native_wcs.items()}
    sky = {band: sky_of_band(frame, band, background[band], boxes[usable], grids.get(band)) for band in frame.bands}
    scene = Scene(frame, sky, boxes, usable, grids, threads)
    with np.errstate(all="ignore"):
        look = first_look(scene, found, threads)
        seeing = seeing_of(scene, look, fwhm)
        fluxes = all_fluxes(scene, found, look, seeing, threads)
    del scene  # with the pixels that it and the frame hold: the table of a huge frame needs as much
    for plane in (*frame.counts.values(), *frame.native.values(), *frame.weights.values()):
        forget(plane)
    shapes = replace(look.shapes, x_err=look.shapes.x_err * seeing.wander, y_err=look.shapes.y_err * seeing.wander)
    reference = seeing.stars[frame.reference]
    shapes = replace(shapes, fwhm=shapes.fwhm * reference.fwhm / frame_fwhm(shapes.fwhm, look.sound))
    catalog = as_table(frame, by_rule(frame, found, look, seeing, usable), look.flags, shapes, fluxes, usable)
    catalog.meta |= {"aperture_radius": round(seeing.radius, 4), "frame_fwhm": round(seeing.width, 4), "stars": reference.stars}
    catalog.meta["star_r50"] = round(float(reference.radius_of(0.5)), 4)
    catalog.meta["noise_scale"] = {band: round(scale, 3) for band, scale in seeing.scale.items()}
    return catalog


def by_rule(frame: Frame, found: Detections, look: Look, seeing: Seeing, usable: np.ndarray) -> Detections:
    """The boxes as the rule of the training fields has them, by the frame's own stars; a picture's profile is not one of light."""
    if not frame.stretched:
        sound = usable & np.isfinite(look.shapes.x_err) & (look.flags & SATURATED == 0)
        found = with_size_of_profile(found, look.shapes.place, sound, seeing.stars[frame.bands[-1]], frame.shape)
    return replace(found, xyxy=in_whole_pixels(found.xyxy))


def sky_of_band(frame: Frame, band: str, background: Background, boxes: np.ndarray, grid: PixelMap | None) -> Background:
    """The sky beside the boxes (n, 4); of a band that was aligned on its own pixels too."""
    sky = sky_between(background, frame.counts[band], boxes)
    if grid is None:
        return sky
    native = background.native or estimate_background(frame.native[band])
    return replace(sky, native=sky_between(native, frame.native[band], moved_boxes(grid, boxes)))


@dataclass(frozen=True)
class Look:
    """What the first pass over the frame has told of n detections: shapes, flags, which are stars to measure the seeing with,
    and (n, bands) their light in a small aperture with its error, 0 of the others."""

    shapes: Shapes
    flags: np.ndarray
    sound: np.ndarray
    bright: np.ndarray
    bright_err: np.ndarray


@dataclass(frozen=True)
class Seeing:
    """What all of the frame says of its stars and its noise: their width and the radius of the fixed aperture (pixels), the profile
    and the noise's scale by band, and the factor to the errors of centroids."""

    width: float
    radius: float
    stars: dict[str, Moffat]
    scale: dict[str, float]
    wander: float


def first_look(scene: Scene, found: Detections, threads: int) -> Look:
    """Shapes and flags, block by block."""
    n, bands = len(found), scene.frame.bands
    boxes, shapes = over_edges(scene.boxes, scene.frame.shape), nothing_known(n)
    flags, sound = flags_of_boxes(found, scene.boxes, scene.frame.shape), np.zeros(n, bool)
    bright, bright_err = np.zeros((2, n, len(bands)))
    cut = (boxes != scene.boxes).any(axis=1)
    radius, windows = star_width(scene.boxes, found.p_galaxy), Windows.of_boxes(boxes, found.p_galaxy, cut)
    for block in scene.blocks:
        rows, light = block.holds(centers(scene.boxes)), scene.light(block)
        fill_shapes(shapes, scene.light_together(block), rows, boxes, windows, found.p_galaxy, threads)
        flags[rows] |= flags_of_pixels(scene, block, light, rows)
        sound[rows] = sound_stars(found.take(rows), flags[rows]) & np.isfinite(shapes.x_err[rows])
        stars = rows[sound[rows]]
        for j, band in enumerate(bands):
            inside = circles(light[band], stars, shapes.place[stars], radius)
            bright[stars, j], bright_err[stars, j] = inside.flux, inside.error
    return Look(shapes, flags, sound, bright, bright_err)


def seeing_of(scene: Scene, look: Look, fwhm: float | None) -> Seeing:
    light, together = scene.anywhere()
    usual_width = frame_fwhm(look.shapes.fwhm, look.sound)
    usual = look.sound & (np.abs(look.shapes.fwhm / usual_width - 1) < 0.2)
    stars = {}
    for j, band in enumerate(light):
        rows = brightest(look.bright[:, j], look.bright_err[:, j], usual)
        stars[band] = star_profile(light[band], look.shapes, rows, usual_width)
    width = fwhm or stars[scene.frame.reference].fwhm
    radius = APERTURE * width
    places = empty_places(together, scene.frame.shape, radius)
    scale = {band: aperture_scale(one, places, radius) for band, one in light.items()}
    return Seeing(width, radius, stars, scale, centroid_scale(together, places, radius, width / FWHM_OF_SIGMA))


def all_fluxes(scene: Scene, found: Detections, look: Look, seeing: Seeing, threads: int) -> Fluxes:
    """Fluxes, block by block."""
    whole = no_fluxes(len(found), len(scene.frame.bands))
    for block in scene.blocks:
        rows = block.holds(centers(scene.boxes))
        light = {band: replace(one, scale=seeing.scale[band]) for band, one in scene.own_light(block).items()}
        mine = found.take(rows), light, scene.frame.reference, look.shapes.take(rows), look.flags[rows]
        part = fluxes_of(rows, *mine, seeing.stars, seeing.radius, threads)
        for name, values in vars(part).items():
            getattr(whole, name)[rows] = values
    return whole


def usable_boxes(xyxy: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(n,) bool: finite boxes, not turned inside out, that touch the frame."""
    far = np.array([shape[1], shape[0]]) - 0.5
    inside = (xyxy[:, 2:] > -0.5).all(axis=1) & (xyxy[:, :2] < far).all(axis=1)
    return np.isfinite(xyxy).all(axis=1) & (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1) & inside


def flags_of_boxes(found: Detections, boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(n,) int32 of what the boxes tell."""
    flags = np.where(found.on_seam, SEAM, 0).astype(np.int32)
    flags[np.logical_or(*at_edges(boxes, shape)).any(1)] |= EDGE
    flags[hold_another(boxes)] |= BLENDED
    return flags | unsure(found.p_galaxy, found.p_disk)


def flags_of_pixels(scene: Scene, block: Block, light: dict[str, Light], rows: np.ndarray) -> np.ndarray:
    """(m,) int32 of what the pixels in the boxes of these rows tell."""
    section, flags = (block.rows, block.columns), np.zeros(len(rows), np.int32)
    boxes = scene.boxes[rows] - np.tile([block.columns.start, block.rows.start], 2)
    bad = [(BAD_PIXELS, one.owner == -2) for one in light.values() if one.owner.min() == -2]
    survey = None if scene.frame.survey_mask is None else scene.frame.survey_mask[section]
    for bit, map_ in (*bad, (SATURATED, saturated_pixels(scene, section)), (SURVEY_MASK, survey)):
        if map_ is not None and map_.any():
            flags[within(map_, boxes)] |= bit
    owner, parts = next(iter(light.values())).owner, [slice(i, i + SOME) for i in range(0, len(rows), SOME)]
    for part, mine in zip(parts, spread(lambda part: covered(boxes[part], rows[part], owner), parts, scene.threads)):
        flags[part][mine] |= BLENDED
    return flags


def within(map_: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(n,) bool: the map is True in a pixel of the box, which has one at least."""
    last = np.array([map_.shape[1] - 1, map_.shape[0] - 1])
    low = np.clip(np.ceil(boxes[:, :2]), 0, last).astype(int)
    high = np.clip(np.floor(boxes[:, 2:]), low, last).astype(int)
    return np.array([map_[y0 : y1 + 1, x0 : x1 + 1].any() for (x0, y0), (x1, y1) in zip(low.tolist(), high.tolist())], bool)


def covered(boxes: np.ndarray, rows: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """(n,) bool: a tenth or more of the ellipse that the box frames belongs to other detections than these ``rows`` (n,)."""
    inside, others = np.zeros((2, len(boxes)), int)
    for row, pixel, _ in ellipses(boxes, np.arange(len(boxes)), 1.0, owner.shape):
        whose = owner.ravel()[pixel]
        inside += np.bincount(row, minlength=len(boxes))
        others += np.bincount(row[(whose >= 0) & (whose != rows[row])], minlength=len(boxes))
    return (others > 0) & (others >= 0.1 * inside)


def hold_another(boxes: np.ndarray) -> np.ndarray:
    """Rows of detections whose ellipse holds another's centre, and those others."""
    middle, half = centers(boxes), (boxes[:, 2:] - boxes[:, :2]) / 2
    one, other = overlapping_in_strips(boxes)
    holder, held = np.concatenate([[one, other], [other, one]], axis=1)
    inside = (((middle[held] - middle[holder]) / half[holder]) ** 2).sum(axis=1) < 1
    return np.unique([holder[inside], held[inside]])


def saturated_pixels(scene: Scene, section) -> np.ndarray | None:
    """(h, w) bool of a section: at the header's level in any band that has one; None without any."""
    counts, levels = scene.frame.counts, {band: level for band, level in scene.frame.saturation.items() if band in scene.frame.counts}
    for band in levels.keys() & scene.grids.keys():
        levels[band] *= PLATEAU * scene.grids[band].area()
    return np.logical_or.reduce([counts[band][section] >= level for band, level in levels.items()]) if levels else None


def as_table(frame: Frame, found: Detections, flags, shapes: Shapes, fluxes: Fluxes, usable) -> Table:
    """Masked columns with units, descriptions and UCDs; what is not finite is masked."""
    reference = fluxes.total[:, list(frame.bands).index(frame.reference)]
    empty = ~np.isfinite(fluxes.aperture) | (fluxes.aperture == 0) | ~usable  # every pixel is bad
    flags = flags | np.where(np.isnan(shapes.x_err) | ~usable, CENTROID_FAILED, 0)
    flags |= np.where(empty | ~np.isfinite(reference), PHOTOMETRY_FAILED, 0)
    values = from_network(found) | positions(frame, found, shapes, usable) | {"flags": flags}
    measured = {"a": shapes.a, "b": shapes.b, "theta": np.degrees(shapes.theta), "r50": fluxes.r50, "fwhm": shapes.fwhm}
    measured |= flux_columns(frame, fluxes)
    values |= {name: np.where(empty, np.nan, measured.pop(name)) for name in tuple(measured)}
    table = Table()
    for column in columns_for(frame.bands):  # nothing is held twice: a huge frame has a million rows
        table[column.name] = as_column(column, values.pop(column.name), frame.unit)
    table.meta |= meta_of_columns() | {"reference_band": frame.reference}
    return table


def as_column(column, values: np.ndarray, unit: str):
    unknown = values == "" if values.dtype.kind == "U" else ~np.isfinite(values)
    kept = values if values.dtype.kind in "Ui" else np.where(unknown, 0, values)
    details = {"unit": (unit if column.unit == "flux" else column.unit) or None, "description": column.meaning, "meta": {"ucd": column.ucd}}
    kept = kept.astype(column.dtype)
    if unknown.any() or column.optional:
        return MaskedColumn(kept, mask=unknown, **details)
    return TableColumn(kept, **details)


def from_network(found: Detections) -> dict[str, np.ndarray]:
    is_galaxy = found.p_galaxy > 0.5
    values = dict(zip(("xmin", "ymin", "xmax", "ymax"), found.xyxy.T))
    values |= {"id": np.arange(1, len(found) + 1), "score": found.score, "class": np.array(CLASSES)[is_galaxy.astype(int)]}
    values |= {"p_galaxy": found.p_galaxy, "p_star": 1 - found.p_galaxy, "p_disk": found.p_disk, "p_smooth": 1 - found.p_disk}
    return values | {"morphology": morphologies(found.p_galaxy, found.p_disk)}


def positions(frame: Frame, found: Detections, shapes: Shapes, usable) -> dict[str, np.ndarray]:
    middle = centers(found.xyxy)
    x, y = np.where(usable, shapes.x, middle[:, 0]), np.where(usable, shapes.y, middle[:, 1])
    errors = {"x_err": np.where(usable, shapes.x_err, np.nan), "y_err": np.where(usable, shapes.y_err, np.nan)}
    ra, dec = to_sky(frame, x, y)
    return {"x": x, "y": y, "ra": ra, "dec": dec} | errors


def to_sky(frame: Frame, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ICRS degrees; NaN without a WCS, and where it does not reach."""
    ra, dec = np.full((2, len(x)), np.nan)
    known = np.isfinite(x) & np.isfinite(y)
    if frame.wcs is None or not known.any():
        return ra, dec
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sky = frame.wcs.celestial.pixel_to_world(x[known], y[known]).icrs
    ra[known], dec[known] = sky.ra.deg, sky.dec.deg
    return ra, dec


def flux_columns(frame: Frame, fluxes: Fluxes) -> dict[str, np.ndarray]:
    j = list(frame.bands).index(frame.reference)
    flux, error = fluxes.total[:, j], fluxes.total_err[:, j]
    values = {"flux": flux, "flux_err": error, "flux_aper": fluxes.aperture, "flux_aper_err": fluxes.aperture_err}
    with np.errstate(divide="ignore", invalid="ignore"):
        values["snr"] = flux / error
    values |= magnitudes(flux, error, frame.zero_points.get(frame.reference))
    for j, band in enumerate(frame.bands):
        seen = fluxes.total[:, j] != 0  # without a good pixel in the aperture it is 0
        flux, error = (np.where(seen, v[:, j], np.nan) for v in (fluxes.total, fluxes.total_err))
        values |= {f"flux_{band}": flux, f"flux_err_{band}": error}
        values |= magnitudes(flux, error, frame.zero_points.get(band), f"_{band}")
    return values


def magnitudes(flux, error, zero_point: float | None, suffix: str = "") -> dict[str, np.ndarray]:
    """AB magnitudes and errors; NaN without a zero point or for flux <= 0."""
    positive = np.where((flux > 0) & (zero_point is not None), flux, np.nan)
    zero_point = 0.0 if zero_point is None else zero_point
    return {f"mag{suffix}": zero_point - 2.5 * np.log10(positive), f"mag_err{suffix}": 2.5 / np.log(10) * error / positive}


def flag_untrained_fwhm(catalog: Table, smallest: float, largest: float) -> None:
    """Where the frame's stars are narrower or wider (pixels) than those the network was trained on: a warning, and a bit in every row."""
    width, stars = catalog.meta["frame_fwhm"], catalog.meta["stars"]
    if smallest <= width <= largest:
        return
    catalog["flags"] |= FWHM_OUTSIDE
    if stars:
        warnings.warn(
            f"stars of {width:.1f} pixels FWHM, and the network was trained on {smallest:.2g} to {largest:.2g}: classes and scores are not "
            f"sure (flag {FWHM_OUTSIDE}); resample the frame, or train on such frames",
            AstroYOLOWarning,
            stacklevel=3,
        )
