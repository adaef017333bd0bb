"""Drawn parameters become pixels: ``simulate_field`` makes one field with its truth."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import zoom
from scipy.signal import fftconvolve

from astroyolo_cli.simulate import artefacts
from astroyolo_cli.simulate.galaxies import galaxy_half, galaxy_stamps
from astroyolo_cli.simulate.populations import draw_sources
from astroyolo_cli.simulate.psf import BandPSF, Stamp, field_psfs
from astroyolo_cli.simulate.sky import BANDS, FieldSettings, Source, draw_settings
from astroyolo_cli.simulate.truth import Row, describe, truth_table


@dataclass(frozen=True)
class SimulatedField:
    """One field and all that is known about it.

    Attributes:
        counts: band -> (H, W) float32; NaN where a gap was simulated.
        settings: seeing, depth, units.
        rows: the truth, one a listed source.
        truth: the same as an astropy Table (truth.COLUMNS).
        headers: band -> astropy Header with WCS, zero point, gain, saturation, seeing.
    """

    counts: dict[str, np.ndarray]
    settings: FieldSettings
    rows: list[Row]
    truth: object
    headers: dict

    @property
    def zero_points(self) -> dict[str, float]:
        return dict.fromkeys(self.counts, self.settings.zero_point)


def simulate_field(rng: np.random.Generator, size: int = 512) -> SimulatedField:
    """One random field of ``size`` x ``size`` pixels in g, r and z."""
    settings = draw_settings(rng, size)
    return render_field(rng, settings, draw_sources(rng, settings), spoiled=rng.random() < 0.3)


def render_field(rng, settings: FieldSettings, sources: list[Source], spoiled: bool = False) -> SimulatedField:
    """Draw ``sources``, add sky, noise and saturation (and, if ``spoiled``, artefacts), and measure the truth."""
    psfs = field_psfs(settings)
    light = [np.zeros((settings.size, settings.size), np.float32) for _ in BANDS]
    rows = []
    for source in sources:
        rows += draw_source(rng, source, settings, psfs, light)
    rows = [row for row in rows if row is not None]
    counts = [observe(rng, light[band], settings, band) for band in range(len(BANDS))]
    rows = with_trails(rows, saturate(rng, counts, light, settings))
    if spoiled:
        artefacts.add_artefacts(rng, counts, settings)
    named = {band: image.astype(np.float32) for band, image in zip(BANDS, counts)}
    return SimulatedField(named, settings, rows, truth_table(rows, settings), field_headers(settings))


def fluxes(source: Source, settings: FieldSettings) -> np.ndarray:
    """(3,) counts of a source."""
    return 10 ** (-0.4 * (source.mags - settings.zero_point))


def draw_source(rng, source: Source, settings: FieldSettings, psfs: list[BandPSF], light: list[np.ndarray]) -> list:
    """Add one source to the three noise-free frames ``light`` in place; return its truth rows, perhaps None."""
    stamps = source_stamps(source, settings, psfs)
    if stamps is None:
        return []
    for image, stamp in zip(light, stamps):
        image[stamp.window] += stamp.data
    row = describe(source, stamps, settings)
    if source.kind == "star" and row is not None:
        return star_rows(row, settings, psfs, light)
    return [row]


def source_stamps(source: Source, settings: FieldSettings, psfs: list[BandPSF]) -> list[Stamp] | None:
    """The noise-free source in each band, clipped to the frame; None if it lies outside."""
    flux = fluxes(source, settings)
    if source.kind == "star":
        half = max(star_half(psf, f, s) for psf, f, s in zip(psfs, flux, settings.sky_noise))
        stamps = [psf.star(source.x, source.y, f, half) for psf, f in zip(psfs, flux)]
    else:
        half = galaxy_half(source, flux, settings.sky_noise, psfs)
        stamps = galaxy_stamps(source, flux, psfs, half)
    clipped = [stamp.clip(settings.size) for stamp in stamps]
    return None if clipped[0] is None else clipped


def star_half(psf: BandPSF, flux: float, noise: float) -> int:
    """Half-width of a stamp that holds a star down to a tenth of the noise, and its mask in any case."""
    reach = max(psf.radius_at(0.1 * noise / flux), psf.radius_at(0.003 * psf.brightness[0]) + 5)
    return int(np.ceil(min(reach, 600)))


def star_rows(row: Row, settings: FieldSettings, psfs, light: list[np.ndarray]) -> list[Row]:
    """Add a star's halo and spikes; its rows: one that saturates gets a box round its core, and an ignore row."""
    flux = fluxes(row.source, settings)
    scattered = [artefacts.scattered_light(row.source, f, settings) for f in flux]
    for image, stamp in zip(light, scattered):
        if stamp is not None:
            image[stamp.window] += stamp.data
    core = max(artefacts.saturated_core(row.source, b, flux[b], psfs[b], settings) for b in range(len(BANDS)))
    if core <= 0:
        return [row]
    half_width, half_height = core + (row.box[2] - row.box[0]) / 2, core + (row.box[3] - row.box[1]) / 2
    box = _clipped_box(row.source, half_width, half_height, settings.size)
    reach = max((_reach(s, n, row.source) for s, n in zip(scattered, settings.sky_noise) if s is not None), default=0.0)
    halo = _clipped_box(row.source, max(reach, half_width), max(reach, half_height), settings.size)
    return [replace(row, box=box), replace(row, box=halo, ignore=True, mask=None, halo=True)]


def with_trails(rows: list[Row], full: np.ndarray) -> list[Row]:
    """The rows with bleed trails in the boxes of halos, of the saturated pixels ``full`` (H, W).

    A halo row follows its star's own row; one that adds nothing to it would only hide the star, and is left out.
    """
    rows = [with_trail(row, full) if row.halo else row for row in rows]
    return [row for i, row in enumerate(rows) if not (row.halo and row.box == rows[i - 1].box)]


def with_trail(row: Row, full: np.ndarray) -> Row:
    """The halo row of a star whose box also holds the bleed trail in ``full`` (H, W), the saturated pixels."""
    left, low, right, top = row.box
    reach = int(row.source.x) + np.arange(-1, 2)
    column = full[:, reach.clip(0, full.shape[1] - 1)].any(1)
    row_number = int(np.clip(np.round(row.source.y), 0, full.shape[0] - 1))
    ends = np.flatnonzero(~column)
    below, above = ends[ends < row_number], ends[ends > row_number]
    low = min(low, below[-1] + 0.5 if len(below) else -0.5)
    top = max(top, above[0] - 0.5 if len(above) else full.shape[0] - 0.5)
    return replace(row, box=(left, float(low), right, float(top)))


def _clipped_box(source: Source, half_width: float, half_height: float, size: int):
    edges = (source.x - half_width, source.y - half_height, source.x + half_width, source.y + half_height)
    return tuple(float(np.clip(np.floor(e) + 0.5, -0.5, size - 0.5)) for e in edges)


def _reach(scattered: Stamp, noise: float, source: Source) -> float:
    """How far from ``source`` its scattered light exceeds twice the noise, pixels."""
    rows, columns = np.nonzero(scattered.data > 2 * noise)
    if not len(rows):
        return 0.0
    return float(max(np.abs(rows + scattered.y0 - source.y).max(), np.abs(columns + scattered.x0 - source.x).max()))


def observe(rng: np.random.Generator, light: np.ndarray, settings: FieldSettings, band: int) -> np.ndarray:
    """(H, W) counts: sources, sky, errors of the sky, and noise of sky and sources."""
    sky = settings.sky_noise[band] * sky_error(rng, settings, band) + settings.pedestal[band]
    variance = settings.sky_noise[band] ** 2 + np.clip(light, 0, None) / settings.gain[band]
    return light + sky + np.sqrt(variance) * unit_noise(rng, settings)


def unit_noise(rng: np.random.Generator, settings: FieldSettings) -> np.ndarray:
    """(H, W) noise of variance 1, correlated as ``settings.noise_kernel`` says."""
    kernel, size = settings.noise_kernel, settings.size
    edge = kernel.shape[0] // 2
    white = rng.standard_normal((size + 2 * edge, size + 2 * edge), dtype=np.float32)
    return white if edge == 0 else fftconvolve(white, kernel.astype(np.float32), mode="valid")


def sky_error(rng: np.random.Generator, settings: FieldSettings, band: int) -> np.ndarray:
    """(H, W) what sky subtraction leaves, in units of the noise: a gradient and structure of 60 pixels and more."""
    size = settings.size
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    angle, bend = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5)
    plane = np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None]
    error = settings.gradient[band] * (plane + bend * plane**2)
    if settings.residual[band] > 0:
        nodes = max(4, size // 60)
        error = error + settings.residual[band] * zoom(rng.standard_normal((nodes, nodes)), size / nodes, order=3)
    return error


def saturate(rng: np.random.Generator, counts: list[np.ndarray], light: list[np.ndarray], settings) -> np.ndarray:
    """Clip the frames in place at the full well, let charge bleed along columns, spoil some cores.

    Returns (H, W) bool, the pixels that saturate in any band.
    """
    bleeds, fill = rng.random() < 0.7, rng.choice(["clip", "zero", "nan"], p=[0.7, 0.12, 0.18])
    anywhere = np.zeros(counts[0].shape, bool)
    for band, image in enumerate(counts):
        top = settings.saturate[band]
        full = (light[band] + settings.pedestal[band] > top) & np.isfinite(image)
        if full.any() and bleeds:
            full |= artefacts.bleed(rng, full, light[band] / (top - settings.pedestal[band]))
        np.minimum(image, top, out=image)
        full &= np.isfinite(image)
        image[full] = {"clip": top, "zero": 0.0, "nan": np.nan}[str(fill)]
        anywhere |= full
    return anywhere


def field_headers(settings: FieldSettings) -> dict:
    """band -> Header: tangent-plane WCS, units, seeing, depth."""
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], settings.radec
    wcs.wcs.crpix = [settings.size / 2 + 0.5] * 2
    angle, scale = np.radians(settings.rotation), settings.pixel_scale / 3600
    wcs.wcs.cd = scale * np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return {band: _header(wcs, settings, b) for b, band in enumerate(BANDS)}


def _header(wcs, settings: FieldSettings, band: int):
    header = wcs.to_header()
    header["FILTER"] = BANDS[band]
    header["BUNIT"] = "nanomaggy" if settings.zero_point == 22.5 else "adu"
    header["MAGZERO"] = (settings.zero_point, "AB magnitude of one count")
    header["GAIN"] = (float(settings.gain[band]), "electrons per count")
    header["SATURATE"] = (float(settings.saturate[band]), "counts")
    header["SKYLEVEL"] = (float(settings.pedestal[band]), "counts left in the frame")
    header["SKYNOISE"] = (float(settings.sky_noise[band]), "counts, standard deviation a pixel")
    header["EXPTIME"] = (90.0, "s")
    header["PIXSCALE"] = (settings.pixel_scale, "arcsec per pixel")
    header["SEEING"] = (float(settings.fwhm[band] * settings.pixel_scale), "arcsec, FWHM of the PSF")
    header["DEPTH"] = (float(settings.depth[band]), "AB magnitude of a point source of S/N 5")
    return header
