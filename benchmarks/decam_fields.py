"""Simulated fields as DECam takes them, for benchmarks: nothing here is drawn as the training fields are.

0.262 arcsec a pixel, seeing 0.95 to 1.35 arcsec, r = 23.5 at S/N 5. The counts and sizes were set, once, so that
source-extractor with its default settings does on them what it does on comparable PhoSim fields.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astroyolo_cli.simulate.populations import draw_magnitude, draw_place, galaxy_r50, shape_galaxy, star_colours
from astroyolo_cli.simulate.render import SimulatedField, render_field
from astroyolo_cli.simulate.sets import write_set
from astroyolo_cli.simulate.sky import FieldSettings, Source, draw_scatter, noise_correlation, point_source_noise

SIZE, SCALE, ZERO_POINT = 512, 0.262, 22.5
DEPTH = np.array([24.0, 23.5, 22.6])  # AB magnitude of S/N 5 in g, r, z
ELECTRONS = np.array([500.0, 1500.0, 3000.0])  # of sky in a pixel
STAR_PART = 0.4
WHITE = np.ones((1, 1))
RESAMPLED = np.outer([0.3, 1, 0.3], [0.3, 1, 0.3]) / np.square([0.3, 1, 0.3]).sum()  # about what a Lanczos-resampled, stacked frame has


@dataclass(frozen=True)
class Crowd:
    """How many sources of S/N >= 5 a field has, and how their numbers grow with magnitude, down to how far above r's limit."""

    sources: int
    star_slope: float
    star_margin: float
    galaxy_slope: float
    galaxy_margin: float


CROWDS = {"plain": Crowd(150, 0.17, 0.55, 0.24, 0.75), "crowded": Crowd(420, 0.27, 0.2, 0.26, 0.6)}


def write_fields(out: Path, crowd: str, count: int, seed: int) -> None:
    """``count`` fields as out/set_0 and on; those that are there already stay."""
    for number in range(count):
        folder = out / f"set_{number}"
        if not (folder / "truth.fits").exists():
            write_set(folder, decam_field(np.random.default_rng([seed, number]), CROWDS[crowd]), False, SIZE)


def decam_field(rng: np.random.Generator, crowd: Crowd, kernel: np.ndarray = WHITE) -> SimulatedField:
    settings, tint = draw_settings(rng, kernel), rng.normal(0, 0.05, 3)
    stars = [star(rng, settings, tint, crowd) for _ in range(rng.poisson(crowd.sources * STAR_PART))]
    galaxies = [galaxy(rng, settings, tint, crowd) for _ in range(rng.poisson(crowd.sources * (1 - STAR_PART) / 0.95))]
    return render_field(rng, settings, stars + galaxies)


def draw_settings(rng: np.random.Generator, kernel: np.ndarray) -> FieldSettings:
    fwhm = rng.uniform(3.6, 5.2) * np.array([rng.uniform(1, 1.15), 1, rng.uniform(0.88, 1.02)])
    depth = DEPTH + rng.normal(0, 0.2, 3)
    correlation = np.array([noise_correlation(kernel, f) for f in fwhm])
    noise = point_source_noise(10 ** (-0.4 * (depth - ZERO_POINT)), fwhm) / correlation
    gain, none = np.sqrt(ELECTRONS) / noise, np.zeros(3)
    return FieldSettings(
        size=SIZE, pixel_scale=SCALE, fwhm=fwhm, beta=float(rng.uniform(2.5, 4.5)), shear=tuple(rng.normal(0, 0.02, 2).tolist()),
        zero_point=ZERO_POINT, sky_noise=noise, gain=gain, saturate=(1.5e5 + ELECTRONS) / gain, pedestal=none, depth=depth,
        noise_kernel=kernel, correlation=correlation, gradient=none, residual=none, radec=(150.0, 2.0), rotation=0.0,
        scatter=draw_scatter(rng),
    )  # fmt: skip


def star(rng, settings: FieldSettings, tint, crowd: Crowd) -> Source:
    r = draw_magnitude(rng, crowd.star_slope, settings.limit - 7.5, settings.limit - crowd.star_margin)
    return Source(**draw_place(rng, settings), mags=star_colours(rng, r) + tint, kind="star")


def galaxy(rng, settings: FieldSettings, tint, crowd: Crowd) -> Source:
    r = draw_magnitude(rng, crowd.galaxy_slope, settings.limit - 7, settings.limit - crowd.galaxy_margin)
    r50 = float(np.clip(1.3 * galaxy_r50(rng, r) / settings.pixel_scale, 0.2, 60))
    return shape_galaxy(rng, settings, draw_place(rng, settings), r, r50, tint, smooth=rng.random() < 0.35)
