"""Simulated fields as DECam takes them, for benchmarks: one telescope, and other counts and sizes than the training fields have.

Colours, shapes and pixels follow the same laws (astroyolo_cli.simulate); seeds are their own.
0.262 arcsec a pixel, seeing 0.95 to 1.35 arcsec, r = 23.5 at S/N 5. The counts and sizes were set, once, so that
source-extractor with its default settings does on them what it does on comparable PhoSim fields.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astroyolo_cli.simulate.populations import draw_galaxy, draw_star
from astroyolo_cli.simulate.render import SimulatedField, render_field
from astroyolo_cli.simulate.sets import write_set
from astroyolo_cli.simulate.sky import FieldSettings, draw_scatter, noise_correlation, point_source_noise

SIZE, SCALE, ZERO_POINT = 512, 0.262, 22.5
DEPTH = np.array([24.0, 23.5, 22.6])  # AB magnitude of S/N 5 in g, r, z
ELECTRONS = np.array([500.0, 1500.0, 3000.0])  # of sky in a pixel
WHITE = np.ones((1, 1))
RESAMPLED = np.outer([0.3, 1, 0.3], [0.3, 1, 0.3]) / np.square([0.3, 1, 0.3]).sum()  # about what a Lanczos-resampled, stacked frame has


@dataclass(frozen=True)
class Crowd:
    """What distinguishes plain fields from crowded ones.

    Attributes:
        sources: of S/N >= 5 in a field, about.
        star_part: of them.
        star_slope, galaxy_slope: how log10 of their numbers grows with magnitude.
        star_margin, galaxy_margin: magnitudes above r's limit where the numbers end.
        growth: of the galaxies' sizes.
        seeing: FWHM in r, pixels, from and to.
    """

    sources: int
    star_part: float
    star_slope: float
    star_margin: float
    galaxy_slope: float
    galaxy_margin: float
    growth: float
    seeing: tuple[float, float]


CROWDS = {
    "plain": Crowd(150, 0.4, 0.17, 0.36, 0.285, 0.6, 1.35, (3.6, 5.2)),
    "crowded": Crowd(420, 0.5, 0.5, 0.5, 0.23, 0.88, 1.3, (4.7, 5.7)),
}


def write_fields(out: Path, crowd: str, count: int, seed: int) -> None:
    """``count`` fields as out/set_0 and on; those that are there already stay."""
    for number in range(count):
        folder = out / f"set_{number}"
        if not (folder / "truth.fits").exists():
            write_set(folder, decam_field(np.random.default_rng([seed, number]), CROWDS[crowd]), False, SIZE)


def decam_field(rng: np.random.Generator, crowd: Crowd, kernel: np.ndarray = WHITE) -> SimulatedField:
    settings, tint = draw_settings(rng, kernel, crowd.seeing), rng.normal(0, 0.05, 3)
    star_span, galaxy_span = (-7.5, -crowd.star_margin), (-7, -crowd.galaxy_margin)
    n_stars = rng.poisson(crowd.sources * crowd.star_part)
    stars = [draw_star(rng, settings, tint, crowd.star_slope, star_span) for _ in range(n_stars)]
    n_galaxies = rng.poisson(crowd.sources * (1 - crowd.star_part) / 0.95)
    galaxies = [draw_galaxy(rng, settings, tint, crowd.galaxy_slope, crowd.growth, galaxy_span) for _ in range(n_galaxies)]
    return render_field(rng, settings, stars + galaxies)


def draw_settings(rng: np.random.Generator, kernel: np.ndarray, seeing: tuple[float, float]) -> FieldSettings:
    fwhm = rng.uniform(*seeing) * np.array([rng.uniform(1, 1.15), 1, rng.uniform(0.88, 1.02)])
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
