"""What cameras add: saturation, bleed trails, halos, spikes, cosmic rays, dead columns, satellites, gaps."""

import numpy as np

from astroyolo_cli.simulate.psf import BandPSF, Stamp
from astroyolo_cli.simulate.sky import FieldSettings, Source, log_uniform


def scattered_light(source: Source, flux: float, settings: FieldSettings) -> Stamp | None:
    """Halo and spikes of a star, down to a tenth of the noise; None where they drown in it."""
    scatter, fwhm, faintest = settings.scatter, settings.fwhm[1], 0.1 * settings.sky_noise.min()
    core2 = (3 * fwhm) ** 2
    halo = flux * scatter.halo * (scatter.power - 1) / (np.pi * core2)
    arms = flux * scatter.spikes * spikes(0.0, fwhm, np.zeros(1), np.zeros(1))[0]
    if halo < faintest and arms < faintest:
        return None
    of_halo = 3 * fwhm * np.sqrt(max((halo / faintest) ** (1 / scatter.power) - 1, 0))
    of_arms = 4 * fwhm * max(np.sqrt(arms / faintest) - 1, 0)
    half = int(np.clip(np.ceil(max(of_halo, of_arms)), 8, settings.size))
    column, row = int(np.round(source.x)), int(np.round(source.y))
    axis = np.arange(-half, half + 1, dtype=np.float32)
    dx, dy = axis[None, :] + (column - source.x), axis[:, None] + (row - source.y)
    light = halo * (1 + (dx**2 + dy**2) / core2) ** -scatter.power
    if scatter.spikes:
        light = light + flux * scatter.spikes * spikes(scatter.angle, fwhm, dx, dy)
    return Stamp(column - half, row - half, light.astype(np.float32)).clip(settings.size)


def spikes(angle: float, fwhm: float, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Two crossing lines as wide as half the PSF, fading along their length; flux about 1."""
    u, v = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
    width, length = 0.3 * fwhm, 4 * fwhm
    arms = sum(np.exp(-0.5 * (across / width) ** 2) * (1 + np.abs(along) / length) ** -2 for along, across in ((u, v), (v, u)))
    return arms / (2 * np.sqrt(2 * np.pi) * width * 2 * length)


def bleed(rng: np.random.Generator, core: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """(H, W) bool, columns flooded by charge from the saturated ``core``; ``excess`` (H, W) is in full wells."""
    flooded = np.zeros_like(core)
    share = rng.uniform(0.1, 0.6)
    for column in np.flatnonzero(core.any(0)):
        rows = np.flatnonzero(core[:, column])
        reach = int(min(150, share * np.sqrt((excess[:, column] * core[:, column]).sum()) * 3))
        if reach > 2 and (excess[:, column] * core[:, column]).sum() > 8:
            flooded[max(0, rows[0] - reach) : rows[-1] + reach + 1, column] = True
    return flooded


def saturated_core(source: Source, band: int, flux: float, psf: BandPSF, settings: FieldSettings) -> float:
    """Radius in pixels within which a star exceeds the full well; 0 if it does not saturate."""
    well = settings.saturate[band] - settings.pedestal[band]
    return psf.radius_at(well / flux)


def add_artefacts(rng: np.random.Generator, counts: list[np.ndarray], settings: FieldSettings) -> None:
    """Spoil the three frames in place with some of what surveys contain; no truth rows belong to these."""
    for spoil, chance in ((cosmic_rays, 0.5), (hot_pixels, 0.4), (dead_columns, 0.4), (satellite, 0.25), (gap, 0.2)):
        if rng.random() < chance:
            band = int(rng.integers(3))
            spoil(rng, counts[band], settings.sky_noise[band], settings.fwhm[band])


def cosmic_rays(rng, image: np.ndarray, noise: float, fwhm: float) -> None:
    """Short streaks narrower than the PSF."""
    size = image.shape[0]
    for _ in range(rng.poisson(10) + 1):
        length, angle, (x, y) = rng.exponential(5) + 1, rng.uniform(0, np.pi), rng.uniform(0, size, 2)
        along = np.arange(0, length, 0.5)
        rows, columns = (np.round(o + along * d).astype(int) for o, d in ((y, np.sin(angle)), (x, np.cos(angle))))
        inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
        image[rows[inside], columns[inside]] += noise * log_uniform(rng, 8, 300)


def hot_pixels(rng, image: np.ndarray, noise: float, fwhm: float) -> None:
    n = rng.poisson(15)
    rows, columns = rng.integers(0, image.shape[0], (2, n))
    image[rows, columns] += noise * log_uniform(rng, 6, 200, n)


def dead_columns(rng, image: np.ndarray, noise: float, fwhm: float) -> None:
    start, width = int(rng.integers(image.shape[1])), int(rng.integers(1, 4))
    image[int(rng.integers(image.shape[0] // 2)) :, start : start + width] = np.nan if rng.random() < 0.5 else 0


def satellite(rng, image: np.ndarray, noise: float, fwhm: float) -> None:
    """A straight trail through the frame, as wide as the PSF."""
    size, angle = image.shape[0], rng.uniform(0, np.pi)
    axis = np.arange(size)
    x, y = rng.uniform(0.1, 0.9, 2) * size
    away = (axis[None] - x) * np.sin(angle) - (axis[:, None] - y) * np.cos(angle)
    image += (noise * log_uniform(rng, 1, 30) * np.exp(-0.5 * (away / (fwhm * rng.uniform(0.5, 1) / 2)) ** 2)).astype("f4")


def gap(rng, image: np.ndarray, noise: float, fwhm: float) -> None:
    """A corner or a strip without data."""
    size = image.shape[0]
    axis = np.arange(size)
    if rng.random() < 0.5:
        image[axis[:, None] + rng.uniform(0.3, 2) * axis[None] < rng.uniform(0.05, 0.4) * size] = np.nan
    else:
        start = int(rng.integers(size))
        image[:, start : start + int(rng.integers(4, size // 10 + 5))] = np.nan
