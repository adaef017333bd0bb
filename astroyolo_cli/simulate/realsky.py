"""Simulated sources in real frames: real noise, real neighbours and artefacts, and truth for all that is certain.

What sep finds in the frame itself becomes truth where its profile leaves no doubt, a star on the locus of the PSF or a galaxy
well beside it; everything else that it finds is ignored, neither a source nor empty sky.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from astroyolo_cli.errors import AstroYOLOError, InputError
from astroyolo_cli.frame import Frame
from astroyolo_cli.photometry import Moffat
from astroyolo_cli.simulate.populations import draw_sources
from astroyolo_cli.simulate.psf import BandPSF, field_psfs
from astroyolo_cli.simulate.render import SimulatedField, draw_source, field_headers, saturate, with_trails
from astroyolo_cli.simulate.sky import BANDS, FieldSettings, Source, draw_settings, log_uniform, point_source_noise
from astroyolo_cli.simulate.truth import Row, mask_bounds, source_mask, truth_table
from astroyolo_cli.stretch import Background, backgrounds

FAINT, SURE = 1.0, 25.0  # sigma of a detection that is ignored at least; S/N that allows a verdict
STAR_WIDTH = 0.12  # of the concentration around the stars', within which a source is a star
GALAXY_FROM = 1.35  # times the stars' concentration, from which it is a galaxy
MOSTLY, TRIES = 0.7, 200  # part of a window's pixels that are good, and how often it is looked for
MARGIN = 2.0  # pixels around an ignored detection
CERTAIN_SNR = 1e3  # stated of what is ignored, so that added noise does not turn it into sky


@dataclass(frozen=True)
class RealSky:
    """A frame to put sources into.

    Attributes:
        counts: (3, H, W) float32, bluest first as ``BANDS``; NaN where bad.
        noise: (3,) counts, median standard deviation of the empty sky.
        fwhm: (3,) of its stars, pixels.
        beta: Moffat exponent of its stars.
        saturate: (3,) counts.
        zero_point: of the middle band; 22.5 where unknown.
        rows: truth and ignored regions of its own sources, frame pixels.
    """

    counts: np.ndarray
    noise: np.ndarray
    fwhm: np.ndarray
    beta: float
    saturate: np.ndarray
    zero_point: float
    rows: list[Row]

    @cached_property
    def good(self) -> np.ndarray:
        """(H, W) bool, pixels that are good in all bands."""
        return np.isfinite(self.counts).all(axis=0)


def import_sep():
    """sep, which this module alone needs."""
    try:
        import sep
    except ImportError as error:
        raise AstroYOLOError("real frames as background need sep: pip install 'astroyolo[simulate]'") from error
    return sep


def real_sky(frame: Frame) -> RealSky:
    """Noise, PSF and certain sources of a frame of three bands.

    Raises:
        InputError: with other than three bands, or without stars to tell the PSF from.
    """
    if len(frame.bands) != 3 or frame.stretched:
        name = frame.sources[0].name if frame.sources else "frame"
        raise InputError(f"{name}: {len(frame.bands)} bands, must be three FITS bands, such as --bands z,r,g")
    background = backgrounds(frame)
    bands = frame.bands[::-1]
    clean = np.stack([np.where(np.isfinite(frame.counts[b]), frame.counts[b] - background[b].sky, 0) for b in bands]).astype(np.float32)
    noise = np.array([np.median(background[b].noise_mesh) for b in bands])
    found = own_sources(clean, background, bands)
    fwhm, beta = moffat_of(clean, found)
    top = [frame.saturation.get(b, float(np.nanmax(frame.counts[b]))) for b in bands]
    sky = RealSky(
        np.stack([frame.counts[b] for b in bands]), noise, fwhm, beta, np.array(top),
        frame.zero_points.get(frame.reference, 22.5), [],
    )  # fmt: skip
    return replace(sky, rows=own_rows(clean, found, sky))


@dataclass(frozen=True)
class Found:
    """sep's detections on all bands together.

    Attributes:
        x, y, snr, concentration, peak: (n,); concentration is the flux in 2 over that in half a FWHM, in units of the stars'.
        box: (n, 4) of the detection's pixels.
        kind: (n,) "star", "galaxy" or "".
        segments: (H, W) int, 1 + row, 0 on sky.
        signal: (H, W) mean of the bands over its own noise.
        width: FWHM of the stars, pixels.
    """

    x: np.ndarray
    y: np.ndarray
    snr: np.ndarray
    concentration: np.ndarray
    peak: np.ndarray
    box: np.ndarray
    kind: np.ndarray
    segments: np.ndarray
    signal: np.ndarray
    width: float


def own_sources(clean: np.ndarray, background: dict[str, Background], bands) -> Found:
    """All that stands out of a frame, and what of it is surely a star or a galaxy."""
    sep = import_sep()
    total = np.ascontiguousarray(sum(clean[i] / background[b].noise for i, b in enumerate(bands)) / np.sqrt(len(bands)), dtype=np.float32)
    sigma = 1.4826 * float(np.median(np.abs(total)))
    sep.set_extract_pixstack(1_000_000)
    sep.set_sub_object_limit(5000)
    objects, segments = sep.extract(total, FAINT, err=sigma, minarea=5, segmentation_map=True)
    width = star_width(objects, sigma)
    x, y = objects["x"], objects["y"]
    core, _, _ = sep.sum_circle(total, x, y, 0.5 * width)
    wide, error, _ = sep.sum_circle(total, x, y, 2.0 * width, err=sigma)
    snr = wide / error
    ratio = wide / np.maximum(core, 1e-9)
    bright = (snr > 2 * SURE) & (objects["flag"] == 0) & (core > 0)
    locus = lowest_mode(ratio[bright])
    concentration = ratio / locus
    box = np.stack([objects[n] for n in ("xmin", "ymin", "xmax", "ymax")], 1) + np.array([-0.5, -0.5, 0.5, 0.5])
    alone = (snr > SURE) & (objects["flag"] == 0) & (core > 0) & isolated(x, y, wide, 3 * width)
    kind = np.full(len(x), "", "U6")
    kind[alone & (np.abs(concentration - 1) < STAR_WIDTH)] = "star"
    kind[alone & (concentration > GALAXY_FROM)] = "galaxy"
    return Found(x, y, snr, concentration, objects["peak"] / sigma, box, kind, segments, total / sigma, width)


def star_width(objects, sigma: float) -> float:
    """FWHM in pixels of the sharpest bright objects, from their flux and peak as of Gaussians."""
    bright = (objects["flux"] > 300 * sigma) & (objects["flag"] == 0)
    if bright.sum() < 5:
        raise InputError(f"{int(bright.sum())} bright isolated sources, at least 5 are needed to tell the PSF; choose another frame")
    return lowest_mode(2.355 * np.sqrt(objects["flux"][bright] / (2 * np.pi * objects["peak"][bright])))


def lowest_mode(values: np.ndarray) -> float:
    """The densest place (window of 8 %) among the smaller half of the values: where the stars crowd together."""
    ordered = np.sort(values[values > 0])
    lower = ordered[: max(3, int(0.7 * len(ordered)))]
    crowd = np.searchsorted(ordered, 1.08 * lower) - np.arange(len(lower))
    first = int(crowd.argmax())
    return float(np.median(ordered[first : first + crowd[first]]))


def isolated(x, y, flux, radius: float) -> np.ndarray:
    """(n,) bool: no other within ``radius`` pixels that has a tenth of its light."""
    from scipy.spatial import cKDTree

    alone = np.ones(len(x), bool)
    for i, j in cKDTree(np.stack([x, y], 1)).query_pairs(radius):
        alone[i] &= flux[j] < 0.1 * flux[i]
        alone[j] &= flux[i] < 0.1 * flux[j]
    return alone


def moffat_of(clean: np.ndarray, found: Found) -> tuple[np.ndarray, float]:
    """(3,) FWHM and the common exponent of the Moffat profile whose growth is the median star's."""
    from scipy.optimize import least_squares

    sep = import_sep()
    stars = np.flatnonzero((found.kind == "star") & (found.snr > 3 * SURE))
    if len(stars) < 5:
        raise InputError(f"{len(stars)} bright isolated stars, at least 5 are needed to tell the PSF; choose another frame")
    radii = found.width * np.array([0.35, 0.5, 0.7, 1.0, 1.5, 2.0])
    growth = []
    for band in clean:
        flux = np.stack([sep.sum_circle(np.ascontiguousarray(band), found.x[stars], found.y[stars], r, subpix=0)[0] for r in radii])
        growth.append(np.median(flux / flux[-1], axis=1))

    def misfit(p):
        models = [Moffat(fwhm, p[3]).part_within(radii) for fwhm in p[:3]]
        return np.concatenate([model / model[-1] - g for model, g in zip(models, growth)])

    fit = least_squares(misfit, [*[found.width] * 3, 3.0], bounds=([1.0] * 3 + [2.0], [12.0] * 3 + [6.0])).x
    return np.sqrt(np.maximum(fit[:3] ** 2 - 0.6, 1.0)), float(fit[3])  # without the pixel's own blur


def own_rows(clean: np.ndarray, found: Found, sky: RealSky) -> list[Row]:
    """The frame's own sources: certain ones as truth, the others ignored."""
    psf = field_psfs(settings_of(sky, np.random.default_rng(0), 64))[0]
    share = np.stack([aperture_snr(band, n, found) for band, n in zip(clean, sky.noise)], 1)
    return [own_row(i, found, sky, psf, share[i]) for i in range(len(found.x))]


def aperture_snr(band: np.ndarray, noise: float, found: Found) -> np.ndarray:
    flux, error, _ = import_sep().sum_circle(np.ascontiguousarray(band), found.x, found.y, found.width, err=noise)
    return np.maximum(flux / error, 0)


def own_row(i: int, found: Found, sky: RealSky, psf: BandPSF, band_snr: np.ndarray) -> Row:
    """One detection as a row of the truth."""
    kind, place = str(found.kind[i]), (float(found.x[i]), float(found.y[i]))
    box = None
    if kind == "star":
        box = star_box(psf, *place)
    elif kind == "galaxy":
        box = galaxy_box(found, i)
    source = Source(*place, mags=np.full(3, 99.0), kind=kind or "galaxy")
    if box is not None:
        return Row(source, float(np.hypot.reduce(band_snr)), box, False, band_snr=tuple(band_snr.tolist()))
    wide = found.box[i] + np.array([-MARGIN, -MARGIN, MARGIN, MARGIN])
    return Row(source, CERTAIN_SNR, tuple(wide.tolist()), True, band_snr=(CERTAIN_SNR,) * 3)


def star_box(psf: BandPSF, x: float, y: float) -> tuple[float, float, float, float]:
    """By the rule of D_sg, from the noise-free star that the PSF makes there."""
    half = int(np.ceil(psf.radius_at(0.003 * psf.brightness[0]) + 5))
    stamp = psf.star(x, y, 1.0, half)
    return mask_bounds(source_mask(stamp.data, "star"), stamp.x0, stamp.y0)


def galaxy_box(found: Found, i: int) -> tuple[float, float, float, float] | None:
    """By the rule of D_sg from its own pixels; None where noise would decide, a tenth of the peak being near it."""
    from scipy.ndimage import gaussian_filter, label

    left, low, right, top = (int(v) for v in found.box[i] + np.array([-8, -8, 9, 9]))
    left, low = max(left, 0), max(low, 0)
    cut = np.s_[low:top, left:right]
    mine = gaussian_filter(np.where(np.isin(found.segments[cut], (0, i + 1)), found.signal[cut], 0), 0.7)
    if mine.max(initial=0) < 15:
        return None
    regions, _ = label(mine > 0.08 * mine.max())
    whole = np.where(regions == regions[np.unravel_index(mine.argmax(), mine.shape)], mine, 0)
    return mask_bounds(source_mask(whole, "galaxy"), left, low)


def settings_of(sky: RealSky, rng: np.random.Generator, size: int) -> FieldSettings:
    """The frame's conditions in the simulator's words; what the frame does not tell is drawn."""
    drawn = draw_settings(rng, size)
    depth = sky.zero_point - 2.5 * np.log10(sky.noise / point_source_noise(1.0, sky.fwhm))
    gain = np.sqrt(log_uniform(rng, 300, 1e4)) / sky.noise
    return replace(
        drawn, pixel_scale=drawn.pixel_scale * drawn.fwhm[1] / sky.fwhm[1], fwhm=sky.fwhm * rng.uniform(0.98, 1.03, 3), beta=sky.beta,
        shear=(0.0, 0.0), zero_point=sky.zero_point, sky_noise=sky.noise, gain=gain, saturate=sky.saturate, pedestal=np.zeros(3),
        depth=depth, noise_kernel=np.ones((1, 1)), correlation=np.ones(3),
    )  # fmt: skip


def window_place(rng: np.random.Generator, good: np.ndarray, size: int, held_out: bool) -> tuple[int, int]:
    """First row and column of a window of mostly good pixels (H, W) bool, one for training or one that is held out from it.

    What is held out lies in a place of its own, of which the others keep clear where the frame has room for that.

    Raises:
        InputError: for a frame smaller than a window.
    """
    height, width = good.shape
    if min(height, width) < size:
        raise InputError(f"frame of {width} x {height} pixels: must be at least {size} x {size}; choose a smaller --size")
    apart = place_held_out(good, size)
    if held_out:
        return apart
    best, most = None, -1.0
    for _ in range(TRIES):
        y, x = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
        clear = abs(y - apart[0]) >= size or abs(x - apart[1]) >= size or max(height, width) < 2 * size
        part = good[y : y + size, x : x + size].mean() - (not clear)
        if part > most:
            best, most = (y, x), part
        if most > MOSTLY:
            break
    return best


def place_held_out(good: np.ndarray, size: int) -> tuple[int, int]:
    """First row and column of the best of nine windows at the frame's corners, the middles of its edges and its own; corners first."""
    rows, columns = ([0, n - size, (n - size) // 2] for n in good.shape)
    places = sorted(((y, x) for y in rows for x in columns), key=lambda place: (place[0] == rows[2]) + (place[1] == columns[2]))
    return max(places, key=lambda place: good[place[0] : place[0] + size, place[1] : place[1] + size].mean())


def inject(sky: RealSky, rng: np.random.Generator, size: int = 512, held_out: bool = False) -> SimulatedField:
    """A window of the frame with simulated sources added, as a field of D_sg; ``held_out``: from training."""
    y, x = window_place(rng, sky.good, size, held_out)
    settings = settings_of(sky, rng, size)
    psfs = field_psfs(settings)
    light = [np.zeros((size, size), np.float32) for _ in BANDS]
    sources = draw_sources(rng, settings)
    rng.shuffle(sources)
    rows = [row for s in sources[: int(len(sources) * rng.uniform(0, 0.7))] for row in draw_source(rng, s, settings, psfs, light)]
    window = sky.counts[:, y : y + size, x : x + size]
    counts = [photons(rng, window[b], light[b], settings.gain[b]) for b in range(len(BANDS))]
    rows = with_trails([row for row in rows if row is not None], saturate(rng, counts, light, settings))
    rows += own_rows_in(sky.rows, x, y, size)
    return SimulatedField(dict(zip(BANDS, counts)), settings, rows, truth_table(rows, settings), field_headers(settings))


def photons(rng, window: np.ndarray, light: np.ndarray, gain: float) -> np.ndarray:
    """The frame with the sources' light and its photon noise."""
    noise = np.sqrt(np.clip(light, 0, None) / gain) * rng.standard_normal(light.shape, np.float32)
    return (window + light + noise).astype(np.float32)


def own_rows_in(rows: list[Row], x: int, y: int, size: int) -> list[Row]:
    """Rows of the frame whose box reaches into the window, in its pixels; those with their centre outside are ignored."""
    kept = []
    for row in rows:
        box = np.clip(np.array(row.box) - [x, y, x, y], -0.5, size - 0.5)
        if box[2] - box[0] < 1 or box[3] - box[1] < 1:
            continue
        source = replace(row.source, x=row.source.x - x, y=row.source.y - y)
        outside = not (0 <= source.x < size and 0 <= source.y < size)
        kept.append(replace(row, source=source, box=tuple(box.tolist()), ignore=row.ignore or outside))
    return kept
