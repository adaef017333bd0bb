"""A real frame whose stars the survey lists: SDSS 004510-4-0030, kept out of all training.

Stars are those of the survey's list (calibObj). Galaxies are sources that sep finds at 5 sigma in r, above r = 20.5 and alone within 12
pixels, not in the list, whose light grows from 1.5 to 6 pixels by a factor of 3.3 to 6 (stars: 2.2 to 2.6).
"""

from pathlib import Path

import numpy as np
import sep
from astropy.coordinates import SkyCoord
from astropy.io import fits
from peer_tools import TOOLS, Image
from real_sky import by_sep
from scipy.spatial import cKDTree

from astroyolo_cli.evaluate.classes import auc
from astroyolo_cli.evaluate.fields import found_of_catalog
from astroyolo_cli.inputs import resolve
from astroyolo_cli.pipeline import DetectSettings, detect
from astroyolo_cli.read import read_field

NEAR, ALONE, EDGE = 2.0, 12.0, 8  # pixels
SCALE, ZERO_POINT = 0.396, 22.5
FAINTEST_GALAXY = 20.5  # r, down to which the growth of the light tells galaxies for sure
SNRS = (10, 30)


def real_frame(data: Path, engine, further: dict) -> dict:
    """Tool -> its scores; ``further``: name -> engine of other weights, on three bands."""
    folder = data / "sdss/004510-4-0030"
    pattern = str(folder / "frame-{band}-*.fits.bz2")
    bands = {"AstroYOLO i, r, g": ["i", "r", "g"], "AstroYOLO r": ["r"]}
    frames = {tool: read_field(resolve([pattern], names)[0], reference_band="r") for tool, names in bands.items()}
    red = frames["AstroYOLO r"]
    light = np.nan_to_num(red.counts["r"]).astype(np.float32)
    truth = known_sources(light, red, folder / "calibObj-004510-4-star.fits.gz")
    catalogs = {tool: detect(frame, engine, DetectSettings()).catalog for tool, frame in frames.items()}
    catalogs |= {f"{name} i, r, g": detect(frames["AstroYOLO i, r, g"], one, DetectSettings()).catalog for name, one in further.items()}
    found = {tool: found_of_catalog(catalog) for tool, catalog in catalogs.items()}
    fwhm = catalogs["AstroYOLO r"].meta["frame_fwhm"]
    image = Image(light.astype(float), fwhm, SCALE, ZERO_POINT, red.gain.get("r", 0.0), 1e5)
    found |= {tool: run(image) for tool, run in TOOLS.items()}
    together = sum(np.nan_to_num(c) for c in frames["AstroYOLO i, r, g"].counts.values())
    faint = by_sep(together.astype(np.float32), 1.0)
    return {tool: scores(one, truth, faint) for tool, one in found.items()}


def known_sources(light: np.ndarray, frame, listed: Path) -> dict:
    """``xy`` (n, 2), ``is_galaxy`` (n,), ``snr`` (n,) of r within 3 pixels."""
    table = fits.getdata(listed)
    stars = np.stack(frame.wcs.world_to_pixel(SkyCoord(table["RA"], table["DEC"], unit="deg")), 1)
    stars = stars[inside(stars, light.shape)]
    found = by_sep(light, 5.0)
    small, large = (sep.sum_circle(light, *found.T, radius)[0] for radius in (1.5, 6.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        growth, mag = large / small, ZERO_POINT - 2.5 * np.log10(large)
    alone = cKDTree(found).query(found, k=2)[0][:, 1] > ALONE
    unlisted = cKDTree(stars).query(found)[0] > ALONE
    galaxies = found[(growth > 3.3) & (growth < 6) & (mag < FAINTEST_GALAXY) & alone & unlisted & inside(found, light.shape)]
    xy = np.concatenate([stars, galaxies])
    noise = 1.4826 * np.median(np.abs(light - np.median(light)))
    flux, error, _ = sep.sum_circle(light, *xy.T, 3.0, err=noise)
    return {"xy": xy, "is_galaxy": np.arange(len(xy)) >= len(stars), "snr": flux / error}


def inside(xy: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return ((xy > EDGE) & (xy < np.array(shape[::-1]) - 1 - EDGE)).all(axis=1)


def scores(found, truth: dict, faint: np.ndarray) -> dict:
    """By S/N of the known sources; and the part of the catalog that sep sees at 1 sigma in all bands together."""
    confirmed = float((cKDTree(faint).query(found.xy)[0] <= 3).mean())
    return {"rows": len(found), "confirmed": confirmed} | {f"above_{snr}": scores_above(found, truth, snr) for snr in SNRS}


def scores_above(found, truth: dict, snr: float) -> dict:
    rows = truth["snr"] > snr
    xy, is_galaxy = truth["xy"][rows], truth["is_galaxy"][rows]
    distance, nearest = cKDTree(found.xy).query(xy)
    seen = distance <= NEAR
    p = np.asarray(found.p_galaxy)[nearest]
    right = (p >= 0.5) == is_galaxy
    result = {"stars": int((~is_galaxy).sum()), "galaxies": int(is_galaxy.sum())}
    result |= {"stars_found": float(seen[~is_galaxy].mean()), "galaxies_found": float(seen[is_galaxy].mean())}
    if np.isnan(p[seen]).any():
        return result
    parts = [float(right[seen & kind].mean()) for kind in (~is_galaxy, is_galaxy)]
    return result | {"balanced_accuracy": sum(parts) / 2, "auc": auc(p[seen], is_galaxy[seen])}
