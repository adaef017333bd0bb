"""Positions, fluxes and flags of detected sources. Boxes, scores and classes are the network's; this only measures."""

from __future__ import annotations

import warnings

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
from .shapes import (
    KRON,
    Stamp,
    all_bands_light,
    coverage,
    half_light_radius,
    owners,
    shape_of,
    stamp_of,
    window,
    window_sigmas,
)

APERTURE = 1.5  # radius of flux_aper in units of the frame's FWHM
# What 2.5 Kron radii lose, in magnitudes: an exponential disk and a de Vaucouleurs profile (Graham & Driver 2005, PASA 22, 118)
LOST_BY_DISK, LOST_BY_SMOOTH = 0.06, 0.11


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
    total = kron * aperture_losses(found)[:, None, None]
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


def aperture_losses(found: Detections) -> np.ndarray:
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
