"""Galaxies as pixels: spheroids and inclined disks through Fourier space, spiral structure on a fine grid."""

from functools import lru_cache

import numpy as np
from scipy.fft import irfft2, next_fast_len
from scipy.signal import fftconvolve

from astroyolo_cli.simulate.psf import OVERSAMPLE, BandPSF, Stamp, import_galsim
from astroyolo_cli.simulate.sky import Source

LARGEST = 256  # half-width of a stamp, pixels
ARM_TINT, KNOT_TINT, DUST_TINT = (1.3, 1.0, 0.75), (1.5, 1.0, 0.6), (1.15, 1.0, 0.7)  # g, r, z


def sersic_b(n: float) -> float:
    """b of I(r) = I_50 exp(-b ((r / r50)^(1/n) - 1)), to 1e-3 for n > 0.5 (Ciotti & Bertin 1999, A&A 352, 447)."""
    return 2 * n - 1 / 3 + 4 / (405 * n)


def sersic_radius(n: float, r50: float, q: float, flux: float, faintest: float) -> float:
    """Radius in pixels at which a Sersic profile falls to ``faintest`` counts a pixel; 0 if it never is so bright."""
    from scipy.special import gamma

    b = sersic_b(n)
    at_r50 = flux * b ** (2 * n) / (2 * np.pi * n * q * r50**2 * np.exp(b) * gamma(2 * n))
    return r50 * max(0.0, 1 + np.log(at_r50 / faintest) / b) ** n


def galaxy_half(source: Source, flux: np.ndarray, noise: np.ndarray, psfs: list[BandPSF]) -> int:
    """Half-width of a stamp that holds the galaxy down to a tenth of the noise in every band."""
    reach = 4.0
    for band, psf in enumerate(psfs):
        faintest = 0.1 * noise[band]
        n = source.n if source.morphology == "smooth" else 1.0
        extent = sersic_radius(n, source.r50, source.q, flux[band], faintest)
        bulge = flux[band] * source.bulge[band]
        if bulge > 0:
            extent = max(extent, sersic_radius(source.n, source.bulge_r50, source.bulge_q, bulge, faintest))
        wings = psf.radius_at(faintest / flux[band] * (1 + (2 * source.r50 / psf.core * 6) ** 2))
        reach = max(reach, extent + 3, wings, 1.2 * psf.radius_at(0.05 * psf.brightness[0]) + 1.5 * source.r50)
    return int(min(np.ceil(reach), LARGEST))


def galaxy_stamps(source: Source, flux: np.ndarray, psfs: list[BandPSF], half: int) -> list[Stamp]:
    """One galaxy in each band, with PSF and pixel, on 2 half + 1 pixels."""
    if source.structure is not None:
        return [structured_stamp(source, band, flux[band], psf, half) for band, psf in enumerate(psfs)]
    return plain_stamps(source, flux, psfs, half)


def plain_stamps(source: Source, flux: np.ndarray, psfs: list[BandPSF], half: int) -> list[Stamp]:
    """A spheroid, or a bulge in an exponential disk, multiplied with the PSF in Fourier space.

    The transforms of bulge and disk serve all bands. Sharp PSFs are drawn on half pixels, so that
    nothing beyond the pixels' Nyquist frequency is lost.
    """
    step = 2 if min(psf.width for psf in psfs) < 3.5 else 1
    n = next_fast_len((2 * half + 1) * step, real=True)
    n += n % step
    column, row = int(np.round(source.x)), int(np.round(source.y))
    kx, ky = _wavenumbers(n, step)
    bulge, disk = plain_transforms(source, kx, ky)
    middle = half * step
    shift = np.exp(-1j * kx * (half + source.x - column)) * np.exp(-1j * ky * (half + source.y - row))
    shift = shift.astype(np.complex64) * np.float32(step**2)
    stamps = []
    for band, psf in enumerate(psfs):
        part = np.float32(source.bulge[band])
        light = (part * bulge + (1 - part) * disk) * _psf_transform(psf, n, step) * np.float32(flux[band])
        image = irfft2(light * shift, s=(n, n))[: 2 * middle + 1 : step, : 2 * middle + 1 : step]
        stamps.append(Stamp(column - half, row - half, image))
    return stamps


def _wavenumbers(n: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """kx (1, n // 2 + 1) and ky (n, 1) of an rfft of n points, ``step`` of them a pixel; radians a pixel."""
    return 2 * np.pi * step * np.fft.rfftfreq(n)[None, :], 2 * np.pi * step * np.fft.fftfreq(n)[:, None]


def _psf_transform(psf: BandPSF, n: int, step: int) -> np.ndarray:
    if (n, step) not in psf.cache:
        psf.cache[n, step] = psf.transform(*_wavenumbers(n, step))
    return psf.cache[n, step]


def plain_transforms(source: Source, kx: np.ndarray, ky: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fourier transforms of spheroid and exponential disk of flux 1 at the wavenumbers; a smooth galaxy has no disk."""
    cos, sin = np.float32(np.cos(source.angle)), np.float32(np.sin(source.angle))
    kx, ky = kx.astype(np.float32), ky.astype(np.float32)
    along2, across2 = (cos * kx + sin * ky) ** 2, (cos * ky - sin * kx) ** 2
    wavenumbers, amplitude = sersic_transform(source.n)
    k = source.bulge_r50 * np.sqrt(along2 + source.bulge_q**2 * across2)
    bulge = np.interp(k, wavenumbers, amplitude).astype(np.float32)
    if source.morphology == "smooth":
        return bulge, np.float32(0)
    scale2 = (source.r50 / 1.678) ** 2
    return bulge, (1 + scale2 * (along2 + source.q**2 * across2)) ** np.float32(-1.5)


@lru_cache(maxsize=32)
def sersic_transform(n: float) -> tuple[np.ndarray, np.ndarray]:
    """Fourier transform of a round Sersic profile of flux 1, in wavenumbers of 1 / (semi-major) r50."""
    profile = import_galsim().Sersic(n, half_light_radius=1.0)
    wavenumbers = np.concatenate([[0.0], np.geomspace(1e-3, 500, 800)])
    return wavenumbers, np.array([profile.kValue(k, 0).real for k in wavenumbers])


def structured_stamp(source: Source, band: int, flux: float, psf: BandPSF, half: int) -> Stamp:
    """A disk with structure: drawn on a grid fine enough for its size, convolved, then sampled at the pixels."""
    step = OVERSAMPLE if source.r50 < 8 else 2 if source.r50 < 20 else 1  # grid points a pixel
    column, row = int(np.round(source.x)), int(np.round(source.y))
    axis = np.arange(-half * step, half * step + 1) / step
    light = structured_light(source, band, axis - (source.x - column), axis - (source.y - row))
    middle = psf.image.shape[0] // 2
    stride = OVERSAMPLE // step
    reach = min(psf.core * OVERSAMPLE, half * OVERSAMPLE) // stride * stride
    kernel = psf.image[middle - reach : middle + reach + 1 : stride, middle - reach : middle + reach + 1 : stride]
    blurred = fftconvolve(light, kernel, mode="same")[::step, ::step]
    return Stamp(column - half, row - half, (blurred * flux / light.sum()).astype(np.float32))


def structured_light(source: Source, band: int, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Surface brightness of a structured disk before the PSF, at (len(dy), len(dx)) places; any flux."""
    cos, sin = np.cos(source.angle), np.sin(source.angle)
    dx, dy = dx[None, :].astype(np.float32), dy[:, None].astype(np.float32)
    u, v = cos * dx + sin * dy, cos * dy - sin * dx
    disk = disk_light(source, band, u, v / source.q)
    part = source.bulge[band]
    radius = np.hypot(u, v / source.bulge_q)
    b = sersic_b(source.n)
    softened = np.sqrt(radius**2 + (0.15 * source.bulge_r50) ** 2)  # the grid cannot follow a cusp
    bulge = np.exp(-b * (softened / source.bulge_r50) ** (1 / source.n))
    return _dimmed((1 - part) / disk.sum() * disk + part / bulge.sum() * bulge, source, band, v)


def disk_light(source: Source, band: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Exponential disk with logarithmic spiral arms, bar and knots, seen face-on at (u, v) pixels."""
    shape, scale = source.structure, source.r50 / 1.678
    radius = np.hypot(u, v)
    disk = np.exp(-radius / scale)
    if shape.arms:
        phi = np.arctan2(v, u)
        arms = shape.contrast * ARM_TINT[band] * _arms(shape, radius / scale, phi)
        disk = disk * np.clip(1 + arms + shape.patchiness * _patches(shape, radius / scale, phi), 0.05, None)
    if shape.bar:
        disk = disk + 0.9 * _bar(shape, u / scale, v / scale)
    if shape.knots:
        disk = disk + _knots(shape, band, u, v, scale)
    return disk


def _arms(shape, radius: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """-0.6 between the arms to 2 on them, fading towards the centre (radius in scale lengths)."""
    winding = shape.winding * np.log(radius + 1e-3) / np.tan(shape.pitch)
    crest = np.exp(2.0 * (np.cos(shape.arms * (phi - winding - shape.phase)) - 1))
    return (2.6 * crest - 0.6) * radius**2 / (radius**2 + 0.3)


def _patches(shape, radius: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """Fluctuations of rms about 1: pieces of many short arms that cross one another."""
    rng = np.random.default_rng(shape.seed + 1)
    light = np.zeros_like(radius)
    for m in rng.integers(3, 9, 3):
        cot = shape.winding / np.tan(shape.pitch * rng.uniform(0.7, 2))
        wave = np.cos(m * (phi - cot * np.log(radius + 0.05)) + rng.uniform(0, 6.3))
        light += wave * np.cos(rng.uniform(2, 5) * radius + rng.uniform(0, 6.3))
    return light * radius / (radius + 0.5)


def _bar(shape, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    cos, sin = np.cos(shape.phase), np.sin(shape.phase)
    along, across = (cos * u + sin * v) / shape.bar, (cos * v - sin * u) / (0.28 * shape.bar)
    return np.exp(-((along**4 + across**4) ** 0.5) * 1.5)


def _knots(shape, band: int, u: np.ndarray, v: np.ndarray, scale: float) -> np.ndarray:
    """Star-forming knots along the arms: Gaussians of a tenth of the scale length, drawn in small windows."""
    rng = np.random.default_rng(shape.seed)
    light = np.zeros(np.broadcast_shapes(u.shape, v.shape), np.float32)
    for _ in range(shape.knots):
        radius, width = rng.uniform(0.5, 3.2), rng.uniform(0.05, 0.13) * scale
        phi = shape.winding * np.log(radius) / np.tan(shape.pitch) + shape.phase
        phi += 2 * np.pi * rng.integers(shape.arms) / shape.arms + rng.normal(0, 0.12)
        peak = KNOT_TINT[band] * rng.uniform(0.5, 3) * np.exp(-radius)
        away = (u - scale * radius * np.cos(phi)) ** 2 + (v - scale * radius * np.sin(phi)) ** 2
        near = away < 16 * width**2
        light[near] += peak * np.exp(-0.5 * away[near] / width**2)
    return light


def _dimmed(light: np.ndarray, source: Source, band: int, v: np.ndarray) -> np.ndarray:
    """With the dust lane of an edge-on disk, ``v`` pixels from its plane."""
    if not source.structure.dust:
        return light
    lane = 0.35 * source.q * source.r50
    return light * (1 - min(0.95, source.structure.dust * DUST_TINT[band]) * np.exp(-0.5 * ((v - 0.3 * lane) / lane) ** 2))
