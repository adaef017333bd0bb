"""Positions, fluxes and shapes of detected sources. Boxes, scores and classes are the network's; this only measures.

Neighbours: a pixel belongs to the detection in whose box it lies deepest (elliptical distance in units of the half box).
In a source's aperture a neighbour's pixel is replaced by the one opposite the source's centre, or by empty sky where that
is a neighbour's too.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from astropy.table import Column as TableColumn
from astropy.table import MaskedColumn, Table

from .columns import (
    BAD_PIXELS,
    BLENDED,
    CENTROID_FAILED,
    EDGE,
    FLAGS,
    PHOTOMETRY_FAILED,
    SATURATED,
    SEAM,
    SURVEY_MASK,
    columns_for,
)
from .detections import CLASSES, MORPHOLOGIES, Detections, centers
from .frame import Frame

KRON = 2.5  # Kron radii of the total aperture (Kron 1980, ApJS 43, 305)
LEAST = 1.6  # of the total aperture in units of a, at least
REACH = 2.2  # half sides of a stamp, in half sides of the box
LARGEST = 400  # pixels: half side of the largest stamp
APERTURE = 1.5  # radius of flux_aper in units of the frame's FWHM
# What 2.5 Kron radii lose, in magnitudes: an exponential disk and a de Vaucouleurs profile (Graham & Driver 2005, PASA 22, 118)
LOST_BY_DISK, LOST_BY_SMOOTH = 0.06, 0.11


@dataclass(frozen=True)
class Stamp:
    """The surroundings of one source on one band.

    Attributes:
        data: (h, w) float64 counts above the sky, neighbours replaced; 0 where bad.
        variance: (h, w) float64 of the sky alone.
        x, y: (1, w) and (h, 1), pixel coordinates in the frame.
    """

    data: np.ndarray
    variance: np.ndarray
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Shape:
    """Centroid, its errors, rms axes (pixels), angle (radians) and Kron radius in units of ``a``."""

    x: float
    y: float
    x_err: float
    y_err: float
    a: float
    b: float
    theta: float
    kron: float
    centered: bool


def measure(frame: Frame, found: Detections, background: dict) -> Table:
    """The catalog of a frame, one row a detection, in their order.

    Args:
        background: band -> object with ``sky`` and ``noise``, (H, W) in counts.

    Returns:
        The columns of columns.py; masked where unknown. ``meta`` holds the pixel origin, the radius of
        flux_aper and the flags' meanings. Zero rows is a valid catalog.
    """
    columns = {c.name: np.zeros(len(found), c.dtype) for c in columns_for(frame.bands)}
    unknown = {c.name: np.zeros(len(found), bool) for c in columns_for(frame.bands)}
    from_network(columns, unknown, found)
    owner = owners(found, frame.shape)
    columns["flags"] |= flags_of(frame, found)
    light = {band: (np.nan_to_num(frame.counts[band] - background[band].sky), background[band].noise) for band in frame.bands}
    sigmas, all_bands = window_sigmas(found), all_bands_light(light)
    shapes = [shape_of(stamp_of(all_bands, box, owner, i), box, sigmas[i]) for i, box in enumerate(found.xyxy)]
    fwhm = fluxes(frame, found, owner, light, shapes, columns, unknown)
    to_sky(frame, columns, unknown)
    catalog = as_table(frame, columns, unknown)
    catalog.meta["aperture_radius"] = round(APERTURE * fwhm, 4)
    catalog.meta["frame_fwhm"] = round(fwhm, 4)
    return catalog


def from_network(columns, unknown, found: Detections) -> None:
    columns["id"][:] = np.arange(1, len(found) + 1)
    for i, name in enumerate(("xmin", "ymin", "xmax", "ymax")):
        columns[name][:] = found.xyxy[:, i]
    is_galaxy = found.p_galaxy > 0.5
    columns["class"][:] = np.array(CLASSES)[is_galaxy.astype(int)]
    columns["score"][:] = found.score
    columns["p_galaxy"][:], columns["p_star"][:] = found.p_galaxy, 1 - found.p_galaxy
    columns["p_disk"][:], columns["p_smooth"][:] = found.p_disk, 1 - found.p_disk
    columns["morphology"][:] = np.where(is_galaxy, np.array(MORPHOLOGIES)[(found.p_disk > 0.5).astype(int)], "")
    unknown["morphology"][:] = ~is_galaxy


def owners(found: Detections, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) int32: the row of the detection to which a pixel belongs; -1 outside of all boxes."""
    depth, owner = np.ones(shape, np.float32), np.full(shape, -1, np.int32)
    for i, box in enumerate(found.xyxy):
        rows, columns = window(box, 1.0, shape)
        distance = elliptical_distance(box, rows, columns)
        mine = distance < depth[rows, columns]
        depth[rows, columns][mine], owner[rows, columns][mine] = distance[mine], i
    return owner


def window(box: np.ndarray, reach: float, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns around a box, ``reach`` half sides out from its middle, cut at the frame."""
    middle, half = (box[:2] + box[2:]) / 2, np.minimum((box[2:] - box[:2]) / 2 * reach, LARGEST) + (2 if reach > 1 else 0)
    x0, y0 = np.maximum(np.ceil(middle - half), 0).astype(int)
    x1, y1 = np.minimum(np.floor(middle + half), [shape[1] - 1, shape[0] - 1]).astype(int)
    return slice(y0, max(y1, y0) + 1), slice(x0, max(x1, x0) + 1)


def elliptical_distance(box, rows: slice, columns: slice) -> np.ndarray:
    """(h, w): 0 in the middle of the box, 1 on the ellipse that it frames."""
    middle, half = (box[:2] + box[2:]) / 2, np.maximum((box[2:] - box[:2]) / 2, 0.5)
    x = (np.arange(columns.start, columns.stop) - middle[0]) / half[0]
    y = (np.arange(rows.start, rows.stop) - middle[1]) / half[1]
    return np.hypot(x[None], y[:, None]).astype(np.float32)


def stamp_of(light, box, owner: np.ndarray, row: int) -> Stamp:
    """The surroundings of source ``row``, with its neighbours' pixels replaced by those opposite its centre."""
    data, noise = light
    rows, columns = window(box, REACH, data.shape)
    own = data[rows, columns].astype(np.float64)
    others = (owner[rows, columns] >= 0) & (owner[rows, columns] != row)
    if others.any():
        own = mirrored(own, others, (box[:2] + box[2:]) / 2 - [columns.start, rows.start])
    x, y = np.arange(columns.start, columns.stop, dtype=float)[None], np.arange(rows.start, rows.stop, dtype=float)[:, None]
    return Stamp(own, noise[rows, columns].astype(np.float64) ** 2, x, y)


def mirrored(data: np.ndarray, others: np.ndarray, middle) -> np.ndarray:
    """Where ``others``, the value opposite ``middle`` (x, y), 0 where that lies outside or is another's too."""
    y, x = np.nonzero(others)
    opposite_x, opposite_y = np.rint(2 * middle[0] - x).astype(int), np.rint(2 * middle[1] - y).astype(int)
    inside = (opposite_x >= 0) & (opposite_x < data.shape[1]) & (opposite_y >= 0) & (opposite_y < data.shape[0])
    inside[inside] = ~others[opposite_y[inside], opposite_x[inside]]
    filled = data.copy()
    filled[y, x] = 0.0
    filled[y[inside], x[inside]] = data[opposite_y[inside], opposite_x[inside]]
    return filled


def all_bands_light(light: dict) -> tuple[np.ndarray, np.ndarray]:
    """All bands together, each over its noise: a source is placed and shaped where it was found; (H, W) each, noise 1."""
    total = sum(data / noise for data, noise in light.values()) / np.sqrt(len(light))
    return total, np.ones_like(total)


def window_sigmas(found: Detections) -> np.ndarray:
    """(n,) sigma in pixels of the window in which each source is centred, from its box.

    A star's box reaches to 0.5 % of the peak, some 5 sigma out for a Moffat profile; a galaxy's to 8 %, 2.25 sigma
    of a Gaussian. Taken from the box and not from the light, it doesn't grow with the noise.
    """
    side = (found.xyxy[:, 2:] - found.xyxy[:, :2]).min(axis=1)
    sigma = side * (found.p_galaxy / 4.5 + (1 - found.p_galaxy) / 10.1)
    stars = (found.p_galaxy < 0.5) & (found.score > 0.5)
    point = np.median(sigma[stars]) if stars.sum() >= 3 else 0.0
    # What is hardly larger than a star gets a star's window, whatever the box's jitter.
    return np.clip(np.where(sigma < 1.6 * point, point, sigma), 0.7, LARGEST / 8)


def shape_of(stamp: Stamp, box: np.ndarray, sigma: float) -> Shape | None:
    """Windowed centroid, moments and Kron radius; None where there is no light."""
    middle, half = (box[:2] + box[2:]).astype(float) / 2, (box[2:] - box[:2]).astype(float) / 2
    bright = bright_region(stamp, middle, half)
    if bright is None:
        return None
    a, b, theta = moments(stamp, bright, half)
    x, y, x_err, y_err, centered = windowed_centroid(stamp, middle, half, sigma)
    kron = kron_radius(stamp, x, y, a, b, theta)
    return Shape(x, y, x_err, y_err, a, b, theta, kron, centered)


def bright_region(stamp: Stamp, middle, half) -> np.ndarray | None:
    """(h, w) bool: pixels above 1.5 sigma of the sky that hang together with the brightest near the middle of the box.

    All positive pixels of the box where nothing stands out; None without light.
    """
    from scipy.ndimage import label

    distance = np.hypot((stamp.x - middle[0]) / half[0], (stamp.y - middle[1]) / half[1])
    core = np.where(distance <= 0.6, stamp.data, -np.inf)
    peak = np.unravel_index(core.argmax(), core.shape)
    if not (np.isfinite(core[peak]) and core[peak] > 0):
        return None
    regions, _ = label((stamp.data > 1.5 * np.sqrt(stamp.variance)) & (distance <= 1.2))
    if regions[peak]:
        return regions == regions[peak]
    return (distance <= 1) & (stamp.data > 0)


def moments(stamp: Stamp, bright: np.ndarray, half) -> tuple[float, float, float]:
    """rms along major and minor axis, and the angle of the major axis, of the bright pixels' light."""
    weight = np.where(bright, stamp.data, 0.0)
    total = weight.sum()
    x, y = (weight * stamp.x).sum() / total, (weight * stamp.y).sum() / total
    xx = (weight * (stamp.x - x) ** 2).sum() / total
    yy = (weight * (stamp.y - y) ** 2).sum() / total
    xy = (weight * (stamp.x - x) * (stamp.y - y)).sum() / total
    mean, difference = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    least = 1 / 12  # of a single pixel
    a, b = np.sqrt(max(mean + difference, least)), np.sqrt(max(mean - difference, least))
    return float(min(a, half.max())), float(min(b, half.max())), float(0.5 * np.arctan2(2 * xy, xx - yy))


def windowed_centroid(stamp: Stamp, middle, half, sigma: float):
    """Centroid under a Gaussian window that follows it, as SExtractor's XWIN_IMAGE; errors from the sky noise.

    Returns x, y, x_err, y_err and whether it stayed near the middle of the box; if not, that middle.
    """
    x, y = middle
    for _ in range(60):
        w = np.exp(-((stamp.x - x) ** 2 + (stamp.y - y) ** 2) / (2 * sigma**2))
        light = w * stamp.data
        total = light.sum()
        if not total > 0:
            break
        dx, dy = 2 * (light * (stamp.x - x)).sum() / total, 2 * (light * (stamp.y - y)).sum() / total
        step = min(1.0, sigma / max(np.hypot(dx, dy), 1e-9))  # faint light asks for leaps; the peak is nearer
        x, y = x + step * dx, y + step * dy
        if np.hypot((x - middle[0]) / max(half[0], 2), (y - middle[1]) / max(half[1], 2)) > 0.7:
            break
        if np.hypot(dx, dy) < 1e-3:
            spread = [2 * np.sqrt((w**2 * stamp.variance * d**2).sum()) / total for d in (stamp.x - x, stamp.y - y)]
            return x, y, spread[0], spread[1], True
    return float(middle[0]), float(middle[1]), np.nan, np.nan, False


def kron_radius(stamp: Stamp, x: float, y: float, a: float, b: float, theta: float) -> float:
    """First moment of the light over the elliptical radius, in units of ``a``, within 6 of them."""
    radius = elliptical_radius(stamp, x, y, a, b, theta)
    inside = radius <= 6
    total = stamp.data[inside].sum()
    if not total > 0:
        return LEAST / KRON
    first = (radius * stamp.data)[inside].sum() / total
    return float(np.clip(first, LEAST / KRON, 2.4))


def elliptical_radius(stamp: Stamp, x: float, y: float, a: float, b: float, theta: float) -> np.ndarray:
    dx, dy = stamp.x - x, stamp.y - y
    along, across = dx * np.cos(theta) + dy * np.sin(theta), -dx * np.sin(theta) + dy * np.cos(theta)
    return np.hypot(along / a, across / b)


def coverage(stamp: Stamp, x: float, y: float, a: float, b: float, theta: float) -> np.ndarray:
    """(h, w) exact part of each pixel in an ellipse, by photutils."""
    from photutils.geometry import elliptical_overlap_grid

    height, width = stamp.data.shape
    left, low = stamp.x[0, 0] - 0.5 - x, stamp.y[0, 0] - 0.5 - y
    return elliptical_overlap_grid(left, left + width, low, low + height, width, height, a, b, theta, 1, 1)


def half_light_radius(stamp: Stamp, shape: Shape, total: float) -> float:
    """Radius of the circle that holds half of ``total``; by the light sorted by radius, each pixel spread over its area."""
    radius = np.hypot(stamp.x - shape.x, stamp.y - shape.y).ravel()
    order = np.argsort(radius)
    growth = np.cumsum(stamp.data.ravel()[order])
    beyond = np.flatnonzero(growth >= total / 2)
    if not len(beyond):
        return np.nan
    # up to this pixel the circle has the area of so many pixels
    return float(np.sqrt((beyond[0] + 0.5) / np.pi))


def fluxes(frame: Frame, found: Detections, owner, light, shapes, columns, unknown) -> float:
    """Fill positions, shapes and fluxes; return the frame's FWHM in pixels."""
    kron = np.full((len(found), len(frame.bands), 2), np.nan)
    stamps = {}
    for i, shape in enumerate(shapes):
        if shape is None:
            continue
        scale = KRON * shape.kron
        for j, band in enumerate(frame.bands):
            stamp = stamp_of(light[band], found.xyxy[i], owner, i)
            part = coverage(stamp, shape.x, shape.y, scale * shape.a, scale * shape.b, shape.theta)
            kron[i, j] = summed(stamp, part, frame.gain.get(band))
            if band == frame.reference:
                stamps[i] = stamp
    r50 = np.array(
        [
            half_light_radius(stamps[i], shapes[i], kron[i, frame.bands.index(frame.reference), 0]) if i in stamps else np.nan
            for i in range(len(found))
        ]
    )
    fwhm = frame_fwhm(2 * r50, found, columns["flags"])
    aperture = np.full((len(found), 2), np.nan)
    for i, stamp in stamps.items():
        part = coverage(stamp, shapes[i].x, shapes[i].y, APERTURE * fwhm, APERTURE * fwhm, 0.0)
        aperture[i] = summed(stamp, part, frame.gain.get(frame.reference))
    total = kron * aperture_losses(kron, aperture, found, columns["flags"], frame)[:, None, None]
    fill_positions(shapes, found, columns, unknown)
    fill_fluxes(frame, total, aperture, columns, unknown)
    fill_shapes(shapes, r50, columns, unknown)
    return fwhm


def summed(stamp: Stamp, part: np.ndarray, gain: float | None) -> tuple[float, float]:
    """Flux in an aperture and its error from the sky and, with a gain, from the source's own photons."""
    flux = (stamp.data * part).sum()
    variance = (stamp.variance * part).sum() + (max(flux, 0.0) / gain if gain else 0.0)
    return flux, np.sqrt(variance)


def frame_fwhm(fwhm: np.ndarray, found: Detections, flags: np.ndarray) -> float:
    """Median of well-measured stars; of all sources where there are fewer than three; 4 pixels of nothing."""
    sound = np.isfinite(fwhm) & (fwhm > 0.5)
    stars = sound & (found.p_galaxy < 0.3) & (found.score > 0.7) & (flags & (SATURATED | EDGE | BLENDED | BAD_PIXELS) == 0)
    for group in (stars, sound):
        if group.sum() >= 3:
            return float(np.median(fwhm[group]))
    return 4.0


def aperture_losses(kron, aperture, found: Detections, flags, frame: Frame) -> np.ndarray:
    """(n,) what total fluxes are multiplied by.

    Galaxies lose 0.06 (disk) to 0.11 magnitudes (smooth) outside of 2.5 Kron radii, stars what a Gaussian
    loses there, 0.03; weighted by the network's probabilities.
    """
    lost_by_galaxy = LOST_BY_DISK * found.p_disk + LOST_BY_SMOOTH * (1 - found.p_disk)
    lost = found.p_galaxy * lost_by_galaxy + (1 - found.p_galaxy) * 0.03
    return 10 ** (0.4 * lost)


def fill_positions(shapes, found: Detections, columns, unknown) -> None:
    middle = centers(found.xyxy)
    columns["x"][:], columns["y"][:] = middle[:, 0], middle[:, 1]
    for i, shape in enumerate(shapes):
        good = shape is not None and shape.centered
        if good:
            columns["x"][i], columns["y"][i] = shape.x, shape.y
            columns["x_err"][i], columns["y_err"][i] = shape.x_err, shape.y_err
        else:
            columns["flags"][i] |= CENTROID_FAILED
        unknown["x_err"][i] = unknown["y_err"][i] = not good


def fill_fluxes(frame: Frame, total, aperture, columns, unknown) -> None:
    """total: (n, bands, 2) and aperture: (n, 2) fluxes and errors; NaN where photometry failed."""
    columns["flags"][~np.isfinite(aperture[:, 0])] |= PHOTOMETRY_FAILED
    reference = total[:, frame.bands.index(frame.reference)]
    put(
        columns,
        unknown,
        {"flux": reference[:, 0], "flux_err": reference[:, 1], "flux_aper": aperture[:, 0], "flux_aper_err": aperture[:, 1]},
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        put(columns, unknown, {"snr": reference[:, 0] / reference[:, 1]})
    put(columns, unknown, magnitudes(reference, frame.zero_points.get(frame.reference), "mag", "mag_err"))
    if len(frame.bands) > 1:
        for j, band in enumerate(frame.bands):
            put(columns, unknown, {f"flux_{band}": total[:, j, 0], f"flux_err_{band}": total[:, j, 1]})
            put(columns, unknown, magnitudes(total[:, j], frame.zero_points.get(band), f"mag_{band}", f"mag_err_{band}"))


def magnitudes(flux: np.ndarray, zero_point: float | None, name: str, error_name: str) -> dict[str, np.ndarray]:
    """AB magnitudes and errors of (n, 2) fluxes; NaN without a zero point or for flux <= 0."""
    if zero_point is None:
        return {name: np.full(len(flux), np.nan), error_name: np.full(len(flux), np.nan)}
    with np.errstate(divide="ignore", invalid="ignore"):
        positive = np.where(flux[:, 0] > 0, flux[:, 0], np.nan)
        return {name: zero_point - 2.5 * np.log10(positive), error_name: 2.5 / np.log(10) * flux[:, 1] / positive}


def fill_shapes(shapes, r50, columns, unknown) -> None:
    values = np.array([(s.a, s.b, np.degrees(s.theta)) if s else (np.nan,) * 3 for s in shapes]).reshape(-1, 3)
    put(columns, unknown, {"a": values[:, 0], "b": values[:, 1], "theta": values[:, 2], "r50": r50, "fwhm": 2 * r50})


def put(columns, unknown, values: dict[str, np.ndarray]) -> None:
    """Write columns; what is not finite is unknown."""
    for name, value in values.items():
        unknown[name] = ~np.isfinite(value)
        columns[name][:] = np.where(unknown[name], 0, value)


def flags_of(frame: Frame, found: Detections) -> np.ndarray:
    """(n,) int32 of what the box alone tells."""
    flags = np.where(found.on_seam, SEAM, 0).astype(np.int32)
    height, width = frame.shape
    low, high = found.xyxy[:, :2], found.xyxy[:, 2:]
    flags[(low <= -0.4).any(1) | (high >= np.array([width, height]) - 0.6).any(1)] |= EDGE
    flags[blends(found.xyxy)] |= BLENDED
    bad = np.logical_or.reduce(list(frame.bad.values()))
    for i, box in enumerate(found.xyxy):
        where = window(box, 1.0, frame.shape)
        flags[i] |= BAD_PIXELS if bad[where].any() else 0
        flags[i] |= SURVEY_MASK if frame.survey_mask is not None and frame.survey_mask[where].any() else 0
        flags[i] |= SATURATED if is_saturated(frame, where) else 0
    return flags


def is_saturated(frame: Frame, where) -> bool:
    """By the header's level, in any band that has one."""
    return any(np.nanmax(np.nan_to_num(frame.counts[b][where], nan=-np.inf)) >= level for b, level in frame.saturation.items())


def blends(xyxy: np.ndarray) -> np.ndarray:
    """(n,) bool: boxes that hold another's centre, or whose centre another box holds."""
    from scipy.spatial import cKDTree

    if len(xyxy) < 2:
        return np.zeros(len(xyxy), bool)
    center, reach = centers(xyxy), (xyxy[:, 2:] - xyxy[:, :2]).max(axis=1) / np.sqrt(2)
    flagged = np.zeros(len(xyxy), bool)
    for i, near in enumerate(cKDTree(center).query_ball_point(center, reach)):
        inside = [j for j in near if j != i and (xyxy[i, :2] <= center[j]).all() and (center[j] <= xyxy[i, 2:]).all()]
        flagged[inside] = True
        flagged[i] |= bool(inside)
    return flagged


def to_sky(frame: Frame, columns, unknown) -> None:
    """ICRS positions; unknown without a WCS."""
    unknown["ra"][:] = unknown["dec"][:] = frame.wcs is None
    if frame.wcs is None or not len(columns["x"]):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sky = frame.wcs.pixel_to_world(columns["x"], columns["y"]).icrs
    put(columns, unknown, {"ra": sky.ra.deg, "dec": sky.dec.deg})


def as_table(frame: Frame, columns, unknown) -> Table:
    """Masked columns with units, descriptions and UCDs."""
    table = Table()
    for column in columns_for(frame.bands):
        values, mask = columns[column.name], unknown[column.name]
        kind = (
            MaskedColumn(values, mask=mask)
            if mask.any() or column.name in ("morphology", "ra", "dec", "mag", "mag_err")
            else TableColumn(values)
        )
        table[column.name] = kind
        table[column.name].unit = (frame.unit or None) if column.unit == "flux" else (column.unit or None)
        table[column.name].description = column.meaning
        table[column.name].meta["ucd"] = column.ucd
    table.meta["pixel_origin"] = "x and y count from 0: the centre of the first pixel is (0, 0); FITS and DS9 count from 1"
    table.meta["reference_band"] = frame.reference
    table.meta["flag_bits"] = {str(bit): meaning for bit, meaning in FLAGS.items()}
    return table
