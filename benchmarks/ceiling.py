"""How well stars and galaxies of the DECam-like fields can be told apart at all: python benchmarks/ceiling.py.

Of each source more is known than anyone who sees the frame can know: it is alone, its place, the PSF, the noise and, for a galaxy, its
exact shape are given. What its pixels say of its shape is then one normal deviate, of mean 0 for a star and d for a galaxy, where d is the
S/N of what is left of the galaxy when the best-fitting star is taken away. What its three fluxes say is the ratio of their densities
among galaxies and among stars of these fields. No program, however good, can call more stars stars and galaxies galaxies than that,
in these fields; one that has seen other skies too has wider densities and reaches less.
"""

from dataclasses import dataclass, replace

import numpy as np
from decam_fields import CROWDS, SCALE, SIZE, WHITE, Crowd, draw_settings
from scipy.special import logsumexp

from astroyolo_cli.evaluate.classes import auc
from astroyolo_cli.simulate.populations import draw_galaxy, draw_star
from astroyolo_cli.simulate.psf import BandPSF, Stamp, field_psfs
from astroyolo_cli.simulate.render import fluxes, source_stamps
from astroyolo_cli.simulate.sky import FieldSettings, Source
from astroyolo_cli.simulate.truth import VISIBLE, signal_to_noise

FIELDS, EACH = 80, 60  # fields, and sources of each class drawn in each
WIDTH = 0.1  # magnitudes by which the drawn sources are smeared to densities
EDGES = (5, 7, 10, 20, 50, np.inf)  # S/N


@dataclass(frozen=True)
class Sources:
    """``flux`` and ``error`` (n, 3) counts, ``snr`` (n,) over all bands, ``extent`` (n,) d as above, 0 for stars; ``is_galaxy`` (n,)."""

    flux: np.ndarray
    error: np.ndarray
    snr: np.ndarray
    extent: np.ndarray
    is_galaxy: np.ndarray

    def take(self, rows: np.ndarray) -> "Sources":
        return Sources(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def drawn(crowd: Crowd, seed: int) -> Sources:
    """As many stars as galaxies, as ``decam_fields`` draws them, those that can be seen."""
    rows = []
    for number in range(FIELDS):
        rng = np.random.default_rng([seed, number])
        settings, tint = draw_settings(rng, WHITE, crowd.seeing), rng.normal(0, 0.05, 3)
        psfs = field_psfs(settings)
        star_span, galaxy_span = (-7.5, -crowd.star_margin), (-7, -crowd.galaxy_margin)
        for _ in range(EACH):
            pair = (
                draw_star(rng, settings, tint, crowd.star_slope, star_span),
                draw_galaxy(rng, settings, tint, crowd.galaxy_slope, crowd.growth, galaxy_span),
            )
            rows += [described(source, settings, psfs) for source in pair]
    sources = Sources(*(np.array(column) for column in zip(*rows)))
    return sources.take(sources.snr >= VISIBLE)


def described(source: Source, settings: FieldSettings, psfs: list[BandPSF]) -> tuple:
    source = replace(source, x=SIZE / 2, y=SIZE / 2)
    stamps, flux = source_stamps(source, settings, psfs), fluxes(source, settings)
    band_snr = signal_to_noise(stamps, settings.sky_noise)
    is_galaxy = source.kind == "galaxy"
    extent = beyond_a_star(stamps, psfs, source, settings) if is_galaxy else 0.0
    return flux, flux / np.maximum(band_snr, 1e-9), float(np.hypot.reduce(band_snr)), extent, is_galaxy


def beyond_a_star(stamps: list[Stamp], psfs: list[BandPSF], source: Source, settings: FieldSettings) -> float:
    """S/N, over the bands, of what the best-fitting star in the same place leaves."""
    left = 0.0
    for stamp, psf, noise in zip(stamps, psfs, settings.sky_noise):
        light = stamp.data.astype(float)
        star = np.zeros((settings.size, settings.size), np.float32)
        drawn_star = psf.star(source.x, source.y, 1.0, max(stamp.data.shape) // 2 + 1).clip(settings.size)
        star[drawn_star.window] = drawn_star.data
        star = star[stamp.window]
        left += (np.square(light - star * (light * star).sum() / np.square(star).sum()) / noise**2).sum()
    return float(np.sqrt(left))


def odds_of_shape(sources: Sources, rng: np.random.Generator) -> np.ndarray:
    """(n,) log odds of a galaxy by the pixels alone; a star is asked whether it is the galaxy nearest to it in S/N."""
    galaxies = sources.take(sources.is_galaxy)
    nearest = np.abs(np.log(galaxies.snr) - np.log(sources.snr)[:, None]).argmin(axis=1)
    asked = np.where(sources.is_galaxy, sources.extent, galaxies.extent[nearest] * sources.snr / galaxies.snr[nearest])
    return asked * (sources.extent + rng.standard_normal(len(asked))) - asked**2 / 2


def odds_of_fluxes(sources: Sources, known: Sources, rng: np.random.Generator) -> np.ndarray:
    """(n,) log odds of a galaxy by three noisy fluxes, from the densities of ``known`` sources."""
    seen = sources.flux + sources.error * rng.standard_normal(sources.flux.shape)
    galaxies, stars = (log_density(seen, sources.error, known.flux[known.is_galaxy == kind]) for kind in (True, False))
    return galaxies - stars


def log_density(seen: np.ndarray, error: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """(n,) of ``seen`` (n, 3) with ``error``, under sources of ``flux`` (m, 3) smeared by ``WIDTH``."""
    result = np.empty(len(seen))
    for rows in np.array_split(np.arange(len(seen)), max(len(seen) // 200, 1)):
        spread = np.hypot(error[rows][:, None], WIDTH * flux[None])
        each = -0.5 * np.square((seen[rows][:, None] - flux[None]) / spread) - np.log(spread)
        result[rows] = logsumexp(each.sum(axis=2), axis=1) - np.log(len(flux))
    return result


def equal_parts(odds: np.ndarray, is_galaxy: np.ndarray) -> float:
    """The part of both classes that is called right, at the threshold where it is the same for both."""
    order = np.sort(odds)
    stars = np.searchsorted(np.sort(odds[~is_galaxy]), order) / (~is_galaxy).sum()
    galaxies = 1 - np.searchsorted(np.sort(odds[is_galaxy]), order) / is_galaxy.sum()
    return float((stars + galaxies)[np.abs(stars - galaxies).argmin()] / 2)


def told(odds: np.ndarray, is_galaxy: np.ndarray) -> str:
    return f"{100 * equal_parts(odds, is_galaxy):.1f} %, {auc(odds, is_galaxy):.3f}"


def main() -> None:
    print(f"The same part of both classes called right, and AUC; {SCALE} arcsec a pixel, each source alone")
    for name, crowd in CROWDS.items():
        sources, known, rng = drawn(crowd, 51), drawn(crowd, 52), np.random.default_rng(5)
        shape = odds_of_shape(sources, rng)
        both = shape + odds_of_fluxes(sources, known, rng)
        for low, high in [(EDGES[0], np.inf), *zip(EDGES, EDGES[1:])]:
            here = (sources.snr >= low) & (sources.snr < high)
            by_shape, by_both = (told(odds[here], sources.is_galaxy[here]) for odds in (shape, both))
            print(f"  {name}, S/N {low:g} to {high:g}: {here.sum()} sources; by shape {by_shape}; by shape and fluxes {by_both}")


if __name__ == "__main__":
    main()
