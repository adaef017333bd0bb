"""How good the catalog's positions and fluxes are: python benchmarks/measurement.py [FIELDS] [WEIGHTS].

On simulated DECam-like fields (decam_fields.py), with white noise and with that of a resampled coadd: AstroYOLO's whole catalog, and on
the same sources of the same r frames sep (Kron ellipse, as its documentation shows) and photutils' SourceCatalog (kron_flux).
Isolated: no other source of S/N > 5 within 5 FWHM, not at an edge, not saturated. Then colours where the bands have pixels of their own
(native_bands.py), and the time to measure 7,000 sources.
"""

import sys
import time
from dataclasses import dataclass

import native_bands
import numpy as np
from decam_fields import CROWDS, RESAMPLED, WHITE, decam_field
from peer_tools import Image, photutils_kron, sep_kron
from scipy.spatial import cKDTree

from astroyolo_cli.columns import CENTROID_FAILED, EDGE, PHOTOMETRY_FAILED, SATURATED
from astroyolo_cli.detections import Detections
from astroyolo_cli.frame import Frame
from astroyolo_cli.measure import measure
from astroyolo_cli.model.checkpoint import locate
from astroyolo_cli.model.engine import open_engine
from astroyolo_cli.pipeline import detect
from astroyolo_cli.stretch import estimate_background

SEED, ALONE = 80_000, 5.0
SPOILED = EDGE | SATURATED | CENTROID_FAILED | PHOTOMETRY_FAILED


@dataclass(frozen=True)
class Pairs:
    """Isolated true sources (n,) and what was measured of them; magnitudes of ``tools`` are measured minus true."""

    is_galaxy: np.ndarray
    snr: np.ndarray
    offset: np.ndarray
    offset_err: np.ndarray
    flux_pull: np.ndarray
    colour: np.ndarray
    tools: dict[str, np.ndarray]


def pairs_of_field(engine, seed: int, kernel: np.ndarray) -> Pairs:
    field = decam_field(np.random.default_rng([SEED, seed]), CROWDS["plain"], kernel)
    settings, truth = field.settings, field.truth
    bands = {band: field.counts[band] for band in "zrg"}
    gain = {band: float(settings.gain["grz".index(band)]) for band in bands}
    frame = Frame(bands, {b: ~np.isfinite(c) for b, c in bands.items()}, "r", zero_points=field.zero_points, gain=gain)
    catalog = detect(frame, engine).catalog
    xy, fwhm = np.stack([truth["x"], truth["y"]], 1), float(settings.fwhm[1])
    listed = ~np.asarray(truth["ignore"])
    alone = cKDTree(xy).query(xy, k=2)[0][:, 1] > ALONE * fwhm
    distance, mate = cKDTree(np.stack([catalog["x"], catalog["y"]], 1)).query(xy)
    rows = listed & alone & (distance < fwhm / 2)
    rows &= np.asarray(catalog["flags"])[mate] & SPOILED == 0
    mine, true = catalog[mate[rows]], truth[rows]
    image = Image(field.counts["r"].astype(float), fwhm, settings.pixel_scale, settings.zero_point, gain["r"], 1e9)
    true_flux = 10 ** (-0.4 * (true["mag_r"] - settings.zero_point))
    errors = {"AstroYOLO": np.ma.filled(mine["mag"], np.nan) - true["mag_r"]}
    for tool, run in {"sep": sep_kron, "photutils": photutils_kron}.items():
        errors[tool] = magnitudes_at(run(image), xy[rows], fwhm, settings.zero_point) - true["mag_r"]
    offset = np.stack([np.asarray(mine[axis] - true[axis]) for axis in ("x", "y")], 1)
    offset_err = np.stack([np.ma.filled(mine[name], np.nan) for name in ("x_err", "y_err")], 1)
    colour = (mine["mag_g"] - mine["mag_r"]) - (true["mag_g"] - true["mag_r"])
    is_galaxy, pull = np.asarray(true["class"] == "galaxy"), np.ma.filled((mine["flux"] - true_flux) / mine["flux_err"], np.nan)
    errors = {tool: np.asarray(error) for tool, error in errors.items()}  # plain arrays, not columns
    return Pairs(is_galaxy, np.asarray(true["snr"]), offset, offset_err, pull, np.ma.filled(colour, np.nan), errors)


def magnitudes_at(found: tuple[np.ndarray, np.ndarray], xy: np.ndarray, fwhm: float, zero_point: float) -> np.ndarray:
    """(n,) magnitude of the source that a tool found at each place; NaN without."""
    places, flux = found
    distance, nearest = cKDTree(places).query(xy)
    with np.errstate(divide="ignore", invalid="ignore"):
        mag = zero_point - 2.5 * np.log10(flux[nearest])
    return np.where(distance < fwhm / 2, mag, np.nan)


def robust(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def report(label: str, parts: list[Pairs]) -> None:
    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    is_galaxy, snr, offset, pull, colour = (joined(n) for n in ("is_galaxy", "snr", "offset", "flux_pull", "colour"))
    tools = {tool: np.concatenate([part.tools[tool] for part in parts]) for tool in parts[0].tools}
    by_all = np.logical_and.reduce([np.isfinite(error) for error in tools.values()])
    pulls = offset / joined("offset_err")
    print(f"{label}: {len(snr)} isolated sources found")
    for name, rows in (("stars, S/N > 100", ~is_galaxy & (snr > 100)), ("stars, S/N 10 to 100", ~is_galaxy & (snr > 10) & (snr <= 100)),
                       ("galaxies, S/N > 50", is_galaxy & (snr > 50))):  # fmt: skip
        away = np.median(np.hypot(*offset[rows].T))
        print(f"  {name}: {rows.sum()}, position error median {away:.3f} pixel, pull {robust(pulls[rows]):.2f}")
        print(f"    flux pull {robust(pull[rows]):.2f}")
        print(f"    g-r {np.nanmedian(colour[rows]):+.3f}, scatter {robust(colour[rows]):.3f}")
        for tool, error in tools.items():
            both = error[rows & by_all]
            print(f"    {tool}: magnitude off by {np.median(both):+.3f}, scatter {robust(both):.3f} ({len(both)} sources)")


def time_of_many(n: int = 7000, side: int = 4096) -> float:
    """Seconds to measure ``n`` sources of one band on a frame of ``side`` pixels; the best of three."""
    rng = np.random.default_rng(1)
    image = rng.normal(0, 1, (side, side)).astype(np.float32)
    places = rng.uniform(20, side - 20, (n, 2))
    axis = np.arange(-12, 13)
    for x, y in places:
        i, j = int(x), int(y)
        spot = np.exp(-0.5 * ((axis[None] - (x - i)) ** 2 + (axis[:, None] - (y - j)) ** 2) / 1.8**2)
        image[j - 12 : j + 13, i - 12 : i + 13] += 30 * spot
    boxes = np.concatenate([places - 8, places + 8], 1).astype(np.float32)
    half, none = np.full(n, 0.5, np.float32), np.zeros(n, bool)
    found = Detections(boxes, half + 0.4, half - 0.4, half, none)
    frame = Frame({"r": image}, {"r": np.zeros(image.shape, bool)}, "r")
    background = {"r": estimate_background(image)}
    times = []
    for _ in range(3):
        began = time.perf_counter()
        measure(frame, found, background, threads=0)
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    count, weights = (sys.argv[1:] + ["20", "nano"][len(sys.argv) - 1 :])[:2]
    engine = open_engine(locate(weights))
    for label, kernel in (("white noise", WHITE), ("noise of a resampled coadd", RESAMPLED)):
        report(label, [pairs_of_field(engine, seed, kernel) for seed in range(int(count))])
    native_bands.report(max(int(count) // 2, 1))
    print(f"7,000 sources of one band on 4096 x 4096 pixels measured in {time_of_many():.2f} s")


if __name__ == "__main__":
    main()
