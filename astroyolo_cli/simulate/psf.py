"""The point-spread function of a field, and stars drawn with it quickly.

A star is read off one oversampled image a band by cubic interpolation, which takes 0.1 ms where a
fresh GalSim drawing takes 5; only stars bright enough to show far wings are drawn in full.
"""

from dataclasses import dataclass, field

import numpy as np

from astroyolo_cli.errors import AstroYOLOError
from astroyolo_cli.simulate.sky import FieldSettings

OVERSAMPLE = 4


def import_galsim():
    """GalSim, an optional extra of this package."""
    try:
        import galsim
    except ImportError as error:
        raise AstroYOLOError("simulation needs galsim: pip install 'astroyolo[simulate]'") from error
    return galsim


@dataclass(frozen=True)
class Stamp:
    """Part of an image: ``data`` (h, w), whose first pixel is (x0, y0) of the frame (may lie outside)."""

    x0: int
    y0: int
    data: np.ndarray

    def clip(self, size: int) -> "Stamp | None":
        """What lies within a frame of ``size`` x ``size`` pixels; None if nothing does."""
        height, width = self.data.shape
        left, low = max(0, -self.x0), max(0, -self.y0)
        right, top = min(width, size - self.x0), min(height, size - self.y0)
        if right <= left or top <= low:
            return None
        return Stamp(self.x0 + left, self.y0 + low, self.data[low:top, left:right])

    @property
    def window(self) -> tuple[slice, slice]:
        """Where the stamp lies in the frame: rows, columns."""
        height, width = self.data.shape
        return slice(self.y0, self.y0 + height), slice(self.x0, self.x0 + width)


@dataclass(frozen=True)
class BandPSF:
    """The PSF of one band, of flux 1.

    Attributes:
        profile: galsim object, before the pixel.
        image: (m, m) float32, with the pixel, sampled ``OVERSAMPLE`` times a pixel, counts a pixel.
        core: half-width of ``image`` in pixels.
        radii, brightness: (k,) profile along a radius, pixels and counts a pixel.
        wavenumbers, amplitude: (k,) Fourier transform along a radius, radians a pixel, before shear and pixel.
        shear: (2, 2) matrix that makes the round profile elliptical.
        width: FWHM, pixels.
        cache: transforms already computed, by grid.
    """

    profile: object
    image: np.ndarray
    core: int
    radii: np.ndarray
    brightness: np.ndarray
    wavenumbers: np.ndarray
    amplitude: np.ndarray
    shear: np.ndarray
    width: float
    cache: dict = field(default_factory=dict)

    def transform(self, kx: np.ndarray, ky: np.ndarray) -> np.ndarray:
        """Fourier transform of PSF and pixel at wavenumbers (1, n) and (m, 1), radians a pixel: (m, n)."""
        (a, b), (c, d) = self.shear
        k = np.hypot(a * kx + c * ky, b * kx + d * ky)
        pixel = np.sinc(kx / (2 * np.pi)) * np.sinc(ky / (2 * np.pi))
        return (np.interp(k, self.wavenumbers, self.amplitude) * pixel).astype(np.float32)

    def radius_at(self, brightness: float) -> float:
        """Radius in pixels beyond which a star of flux 1 is fainter than ``brightness`` a pixel."""
        beyond = self.brightness > brightness
        return float(self.radii[beyond][-1]) if beyond.any() else 0.0

    def star(self, x: float, y: float, flux: float, half: int) -> Stamp:
        """A star at pixel (x, y), on a stamp of 2 half + 1 pixels."""
        if half <= self.core:
            return self._from_image(x, y, flux, half)
        stamp = self._from_profile(x, y, flux, half)
        inner = self._from_image(x, y, flux, self.core)
        edge = half - self.core
        stamp.data[edge : edge + 2 * self.core + 1, edge : edge + 2 * self.core + 1] = inner.data
        return stamp

    def _from_image(self, x: float, y: float, flux: float, half: int) -> Stamp:
        column, row = int(np.round(x)), int(np.round(y))
        middle = self.image.shape[0] // 2 - half * OVERSAMPLE
        data = _sample(_sample(self.image, middle, row - y, half).T, middle, column - x, half).T
        return Stamp(column - half, row - half, data * np.float32(flux))

    def _from_profile(self, x: float, y: float, flux: float, half: int) -> Stamp:
        galsim = import_galsim()
        column, row = int(np.round(x)), int(np.round(y))
        image = galsim.ImageF(galsim.BoundsI(column - half, column + half, row - half, row + half), scale=1.0)
        drawn = self.profile.withFlux(flux).drawImage(image, method="no_pixel", center=galsim.PositionD(x, y))
        return Stamp(column - half, row - half, drawn.array)


def _sample(image: np.ndarray, middle: int, shift: float, half: int) -> np.ndarray:
    """Every ``OVERSAMPLE``-th row of ``image`` from ``middle`` on, moved by ``shift`` pixels: cubic convolution."""
    steps = shift * OVERSAMPLE
    whole = int(np.floor(steps))
    t = steps - whole
    weights = (-0.5 * t + t**2 - 0.5 * t**3, 1 - 2.5 * t**2 + 1.5 * t**3,
               0.5 * t + 2 * t**2 - 1.5 * t**3, -0.5 * t**2 + 0.5 * t**3)  # fmt: skip
    rows = [middle + whole + k + np.arange(2 * half + 1) * OVERSAMPLE for k in (-1, 0, 1, 2)]
    return sum(np.float32(w) * image[r] for w, r in zip(weights, rows))


def field_psfs(settings: FieldSettings) -> list[BandPSF]:
    """The PSF of each band of a field."""
    return [band_psf(fwhm, settings.beta, settings.shear) for fwhm in settings.fwhm]


def band_psf(fwhm: float, beta: float, shear: tuple[float, float]) -> BandPSF:
    """A Moffat (``beta``), or a Kolmogorov PSF (``beta`` = 0), of ``fwhm`` pixels."""
    galsim = import_galsim()
    params = galsim.GSParams(folding_threshold=5e-3, maxk_threshold=2e-3, xvalue_accuracy=1e-10)
    plain = galsim.Moffat(beta, fwhm=fwhm, gsparams=params) if beta else galsim.Kolmogorov(fwhm=fwhm, gsparams=params)
    profile = plain.shear(g1=shear[0], g2=shear[1])
    core = int(np.ceil(min(40, 6 * fwhm)))
    margin = (core + 2) * OVERSAMPLE
    side = 4 * margin + 1  # twice what is kept: the Fourier transform folds the wings back at the edges
    image = galsim.Convolve(profile, galsim.Pixel(1.0)).drawImage(
        nx=side, ny=side, scale=1 / OVERSAMPLE, method="no_pixel", dtype=np.float32
    )
    kept = image.array[margin : 3 * margin + 1, margin : 3 * margin + 1] * OVERSAMPLE**2
    radii = np.concatenate([np.arange(0, 60, 0.5), np.arange(60, 800, 5.0)])
    brightness = np.array([plain.xValue(r, 0) for r in radii])
    wavenumbers = np.linspace(0, 12, 600)
    amplitude = np.array([plain.kValue(k, 0).real for k in wavenumbers])
    matrix = galsim.Shear(g1=shear[0], g2=shear[1]).getMatrix()
    return BandPSF(profile, kept, core, radii, brightness, wavenumbers, amplitude, matrix, fwhm)
