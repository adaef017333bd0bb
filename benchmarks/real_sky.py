"""How the embedded weights do on real frames: python benchmarks/real_sky.py (ASTROYOLO_DATA names the frames; sep needed).

Prints a line a measurement: against sep on a DECaLS field, against the survey's list of stars on an SDSS frame, and how
steady the catalog is under a change of unit and a half turn.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import sep
from astropy.coordinates import SkyCoord
from astropy.io import fits
from scipy.spatial import cKDTree

from astroyolo_cli.inputs import resolve
from astroyolo_cli.model.checkpoint import locate
from astroyolo_cli.model.engine import open_engine
from astroyolo_cli.pipeline import detect
from astroyolo_cli.read import read_field

NEAR = 3  # pixels


def places(catalog) -> np.ndarray:
    return np.stack([catalog["x"], catalog["y"]], 1)


def part(a: np.ndarray, b: np.ndarray, radius: float = NEAR) -> float:
    """Percentage of the places a with one of b within ``radius`` pixels."""
    return 100 * float((cKDTree(b).query(a)[0] <= radius).mean())


def by_sep(image: np.ndarray, sigma: float) -> np.ndarray:
    image = np.ascontiguousarray(image)
    sky = sep.Background(image)
    found = sep.extract(image - sky.back(), sigma, err=sky.globalrms)
    return np.stack([found["x"], found["y"]], 1)


def decals(folder: Path, engine) -> None:
    frame = read_field(resolve([str(folder / "decals/set_0")])[0])
    catalog = detect(frame, engine).catalog
    both = frame.counts["r"] + frame.counts["z"]
    strong, weak = by_sep(both, 3.0), by_sep(both, 1.0)
    print(f"DECaLS field: {len(catalog)} rows")
    print(f"  found of sep's {len(strong)} sources at 3 sigma of r+z: {part(strong, places(catalog)):.1f} %")
    for score in (0.3, 0.5, 0.7):
        sure = places(catalog[catalog["score"] >= score])
        print(f"  score >= {score}: {len(sure)} rows, confirmed by sep at 1 sigma of r+z: {part(sure, weak):.1f} %")
    steadiness(frame, engine)


def steadiness(frame, engine) -> None:
    """The same field in another unit, and turned by 180 degrees."""
    plain = replace(frame, wcs=None, zero_points={})
    first = detect(plain, engine).catalog
    sure = first[first["score"] > 0.5]
    scaled = detect(changed(plain, lambda c: (3.7 * c.astype(np.float64) + 100).astype(np.float32)), engine).catalog
    distance, nearest = cKDTree(places(scaled)).query(places(sure))
    same = np.mean(sure["class"] == scaled["class"][nearest])
    print(f"  3.7 * image + 100, score > 0.5: {100 * np.mean(distance < 0.1):.1f} % within 0.1 pixel, {100 * same:.1f} % of the same class")
    turned = detect(changed(plain, lambda c: c[::-1, ::-1].copy()), engine).catalog
    back = np.array([frame.shape[1] - 1, frame.shape[0] - 1]) - places(turned)
    for radius in (0.5, 1, 3):
        print(f"  turned by 180 degrees, score > 0.5, within {radius} pixel: {part(places(sure), back, radius):.1f} %")


def changed(frame, change):
    counts = {band: change(c) for band, c in frame.counts.items()}
    return replace(frame, counts=counts, bad={band: ~np.isfinite(c) for band, c in counts.items()})


def sdss(folder: Path, engine) -> None:
    field = folder / "sdss/004510-4-0030"
    frame = read_field(resolve([str(field / "frame-{band}-*.fits.bz2")], ["i", "r", "g"])[0])
    catalog = detect(frame, engine).catalog
    listed = fits.getdata(field / "calibObj-004510-4-star.fits.gz")
    x, y = frame.wcs.world_to_pixel(SkyCoord(listed["RA"], listed["DEC"], unit="deg"))
    inside = (x > 5) & (x < frame.shape[1] - 6) & (y > 5) & (y < frame.shape[0] - 6)
    x, y = x[inside], y[inside]
    light = np.nan_to_num(frame.counts["r"])
    flux, error, _ = sep.sum_circle(light, x, y, 3.0, err=1.4826 * np.median(np.abs(light - np.median(light))))
    print(f"SDSS 004510 i, r, g: {len(catalog)} rows, {len(x)} listed stars")
    for low, high in ((10, 30), (30, 100), (100, np.inf), (30, np.inf)):
        these = (flux / error > low) & (flux / error <= high)
        distance, nearest = cKDTree(places(catalog)).query(np.stack([x, y], 1)[these])
        found = distance <= NEAR
        stars = catalog["class"][nearest] == "star"
        print(
            f"  S/N {low} to {high}: {these.sum()} stars, found {100 * found.mean():.1f} %, "
            f"of those called stars {100 * stars[found].mean():.1f} %, both {100 * (found & stars).mean():.1f} %"
        )
    total = sum(np.nan_to_num(frame.counts[band]) for band in frame.bands[:2])
    print(f"  confirmed by sep at 1 sigma of r+i: {part(places(catalog), by_sep(total, 1.0)):.1f} %")


def main() -> None:
    if "ASTROYOLO_DATA" not in os.environ:
        sys.exit("ASTROYOLO_DATA names no folder of survey data; set it to the folder that holds decals/ and sdss/")
    folder = Path(os.environ["ASTROYOLO_DATA"])
    engine = open_engine(locate(sys.argv[1] if len(sys.argv) > 1 else "nano"))
    decals(folder, engine)
    sdss(folder, engine)


if __name__ == "__main__":
    main()
