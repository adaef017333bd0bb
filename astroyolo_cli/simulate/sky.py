"""What a simulated field holds: seeing, depth, units and the sources in it, all drawn at random.

Variety is the point: a network trained on one pixel scale and white noise fails on the sky.
Nothing here draws pixels (render.py does), so it needs numpy only.
"""

from dataclasses import dataclass

import numpy as np

BANDS = ("g", "r", "z")
G, R, Z = range(3)


@dataclass(frozen=True)
class Scatter:
    """Light that telescope and camera scatter far beyond the PSF; the same for all stars of a field.

    Attributes:
        power: of the halo's fall with radius squared.
        halo: part of a star's light in the halo.
        spikes: part of it in the four diffraction spikes; 0 for none.
        angle: of the spikes, radians.
    """

    power: float
    halo: float
    spikes: float
    angle: float


@dataclass(frozen=True)
class FieldSettings:
    """Everything about one field but its sources.

    Attributes:
        size: side of the square frame, pixels.
        pixel_scale: arcsec per pixel.
        fwhm: (3,) seeing in g, r, z, pixels (before the pixel's own blur).
        beta: Moffat exponent; 0 means Kolmogorov.
        shear: (g1, g2) of the PSF.
        zero_point: AB magnitude of one count.
        sky_noise: (3,) standard deviation of the empty sky, counts.
        gain: (3,) electrons per count.
        saturate: (3,) counts above which pixels clip, pedestal included.
        pedestal: (3,) sky level left in the frames, counts; 0 where subtracted.
        depth: (3,) AB magnitude of a point source of S/N 5 in that band.
        noise_kernel: (k, k) what correlates the noise, sum of squares 1; (1, 1) is white.
        correlation: (3,) by how much that raises the noise of a matched filter over white noise, >= about 1.
        gradient: (3,) peak-to-peak of the large-scale sky error, in ``sky_noise``.
        residual: (3,) amplitude of sky errors of 60 pixels and more, in ``sky_noise``.
        radec: (deg, deg) of the centre.
        rotation: position angle of the frame, deg.
        scatter: halo and spikes of its stars.
    """

    size: int
    pixel_scale: float
    fwhm: np.ndarray
    beta: float
    shear: tuple[float, float]
    zero_point: float
    sky_noise: np.ndarray
    gain: np.ndarray
    saturate: np.ndarray
    pedestal: np.ndarray
    depth: np.ndarray
    noise_kernel: np.ndarray
    correlation: np.ndarray
    gradient: np.ndarray
    residual: np.ndarray
    radec: tuple[float, float]
    rotation: float
    scatter: Scatter

    @property
    def filter_noise(self) -> np.ndarray:
        """(3,) the noise a pixel, counts, that decides what can be seen: correlated noise hides more than its rms."""
        return self.sky_noise * self.correlation

    @property
    def limit(self) -> float:
        """r magnitude of a point source of S/N 5, three bands together (about)."""
        return float(self.depth[R] + 0.4)


@dataclass(frozen=True)
class Structure:
    """What makes a large disk more than an exponential: arms, bar, knots, dust.

    Attributes:
        arms: number of arms; 0 for none.
        pitch: of the logarithmic spiral, radians.
        contrast: of the arms, 0 (none) to 1.
        patchiness: of the disk's light, 0 (regular) to 0.5.
        winding: +1 or -1.
        phase: of the arms, radians.
        bar: length of the bar over the disk's scale length; 0 for none.
        knots: number of star-forming knots.
        dust: depth of the dust lane, 0 to 1; edge-on disks only.
        seed: of the knots and patches.
    """

    arms: int
    pitch: float
    contrast: float
    patchiness: float
    winding: int
    phase: float
    bar: float
    knots: int
    dust: float
    seed: int


@dataclass(frozen=True)
class Source:
    """One star or galaxy.

    Attributes:
        x, y: centre, pixels from 0.
        mags: (3,) AB, g, r, z.
        kind: "star" or "galaxy".
        morphology: "smooth", "disk", or "" for stars.
        r50: half-light semi-major axis before the PSF, pixels; 0 for stars.
        n: Sersic index of the spheroid (the whole galaxy if smooth, the bulge of a disk).
        bulge: (3,) part of the light in the spheroid.
        bulge_r50: of the spheroid, pixels.
        q: axis ratio of the disk, or of a smooth galaxy.
        bulge_q: axis ratio of the spheroid.
        angle: of the major axis, radians, counter-clockwise from +x.
        structure: of a large disk, else None.
    """

    x: float
    y: float
    mags: np.ndarray
    kind: str
    morphology: str = ""
    r50: float = 0.0
    n: float = 4.0
    bulge: np.ndarray | None = None
    bulge_r50: float = 0.0
    q: float = 1.0
    bulge_q: float = 1.0
    angle: float = 0.0
    structure: Structure | None = None


def log_uniform(rng: np.random.Generator, low: float, high: float, size=None):
    """Numbers whose logarithm is uniform between the two limits."""
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def draw_settings(rng: np.random.Generator, size: int = 512) -> FieldSettings:
    """The observing conditions of one field of ``size`` x ``size`` pixels."""
    seeing, fwhm_r = rng.uniform(0.6, 2.0), _draw_fwhm(rng)
    fwhm = fwhm_r * np.array([rng.uniform(0.95, 1.2), 1.0, rng.uniform(0.85, 1.05)])
    beta = 0.0 if rng.random() < 0.3 else float(rng.uniform(2.2, 5.0))
    depth = rng.uniform(20.5, 25.0) + np.array([rng.uniform(-0.4, 1.0), 0.0, rng.uniform(-1.0, 0.2)])
    zero_point = 22.5 if rng.random() < 0.7 else float(rng.uniform(24.0, 31.0))
    kernel = draw_noise_kernel(rng)
    correlation = np.array([noise_correlation(kernel, f) for f in fwhm])
    noise = point_source_noise(10 ** (-0.4 * (depth - zero_point)), fwhm) / correlation
    electrons = log_uniform(rng, 100, 2e4)  # of sky in a pixel: sets how much the sources' own noise counts
    gain = np.sqrt(electrons) / noise * rng.uniform(0.8, 1.25, 3)
    keeps_sky = zero_point != 22.5 and rng.random() < 0.6
    pedestal = electrons / gain if keeps_sky else np.zeros(3)
    well = log_uniform(rng, 6e4, 3e5)
    shear = rng.normal(0, 0.06 if rng.random() < 0.15 else 0.02, 2).clip(-0.15, 0.15)
    return FieldSettings(
        size=size, pixel_scale=float(seeing / fwhm_r), fwhm=fwhm, beta=beta, shear=tuple(shear.tolist()),
        zero_point=zero_point, sky_noise=noise, gain=gain, saturate=(well + electrons) / gain, pedestal=pedestal,
        depth=depth, noise_kernel=kernel, correlation=correlation,
        gradient=rng.uniform(0, 3, 3) * rng.binomial(1, 0.5) * rng.uniform(0, 1),
        residual=rng.uniform(0, 0.5, 3) * rng.binomial(1, 0.5),
        radec=(float(rng.uniform(0, 360)), float(np.degrees(np.arcsin(rng.uniform(-0.9, 0.9))))),
        rotation=float(rng.normal(0, 1) if rng.random() < 0.7 else rng.uniform(0, 360)),
        scatter=draw_scatter(rng),
    )  # fmt: skip


def draw_scatter(rng: np.random.Generator) -> Scatter:
    """Halo and spikes: some telescopes show hardly any, others four strong spikes."""
    spikes = log_uniform(rng, 0.002, 0.03) if rng.random() < 0.7 else 0.0
    return Scatter(float(rng.uniform(1.2, 1.6)), float(log_uniform(rng, 0.003, 0.05)), float(spikes), float(rng.uniform(0, np.pi / 2)))


def _draw_fwhm(rng) -> float:
    low, high = (2.3, 5.0) if rng.random() < 0.6 else (2.0, 8.0)
    return float(log_uniform(rng, low, high))


def point_source_noise(flux5: np.ndarray, fwhm: np.ndarray) -> np.ndarray:
    """Sky noise a pixel at which a star of ``flux5`` has S/N 5.

    A matched filter of a Gaussian gathers 4 pi s^2 pixels of noise; the factor 1.4 stands for
    the wings of a Moffat. Good to some 10 %: truth tables carry the exact S/N.
    """
    sigma2 = (fwhm / 2.355) ** 2 + 1 / 12
    return flux5 / 5 / np.sqrt(1.4 * 4 * np.pi * sigma2)


def draw_noise_kernel(rng: np.random.Generator) -> np.ndarray:
    """White noise in half of the fields, else what resampling leaves: a Gaussian, bilinear or Lanczos kernel."""
    kind = rng.choice(["white", "gauss", "bilinear", "lanczos"], p=[0.5, 0.25, 0.12, 0.13])
    offsets = np.arange(-3, 4)
    if kind == "white":
        return np.ones((1, 1))
    if kind == "gauss":
        row = column = np.exp(-0.5 * (offsets / rng.uniform(0.35, 0.7)) ** 2)
    elif kind == "bilinear":
        row, column = (np.clip(1 - np.abs(offsets - s), 0, 1) for s in rng.uniform(0, 1, 2))
    else:
        row, column = (np.sinc(offsets - s) * np.sinc((offsets - s) / 3) for s in rng.uniform(0, 0.5, 2))
    kernel = np.outer(column, row)
    return kernel / np.sqrt((kernel**2).sum())


def noise_correlation(kernel: np.ndarray, fwhm: float) -> float:
    """Noise of a filter shaped like the PSF (taken as Gaussian) over what white noise of the same variance gives."""
    offsets = np.arange(-24, 25)
    row = np.exp(-0.5 * offsets**2 / ((fwhm / 2.355) ** 2 + 1 / 12))
    psf = np.outer(row, row)
    power = np.abs(np.fft.rfft2(psf, (64, 64))) ** 2
    return float(np.sqrt((power * np.abs(np.fft.rfft2(kernel, (64, 64))) ** 2).sum() / power.sum()))
