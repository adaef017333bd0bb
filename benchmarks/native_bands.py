"""One simulated sky in two bands whose pixels, directions and seeing differ: are the colours true?

Stars and galaxies of known flux, drawn by GalSim on each band's own pixels, apart from each other; r is the reference. Every sky is
drawn besides with both bands on r's pixels, with the seeing that they have.
"""

from dataclasses import dataclass

import galsim
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from astroyolo_cli.align import pixel_places
from astroyolo_cli.detections import Detections
from astroyolo_cli.measure import measure
from astroyolo_cli.read import Plane, assemble
from astroyolo_cli.simulate.sky import point_source_noise
from astroyolo_cli.stretch import backgrounds

SIDE, SPACING, CENTRE = 236.0, 13.0, (150.0, 2.0)  # arcsec of the field and between sources; degrees
ZERO_POINT, DEPTH = 22.5, {"r": 23.5, "g": 24.0}  # AB magnitudes, of one count and of stars at S/N 5
PHOTONS = 4.0  # electrons that the sky's variance in a pixel is, in units of thousand
INDICES = 2.0, 3.0, 4.0  # of smooth galaxies' Sersic profiles: few, since GalSim makes a table of each
STAR_LEVEL, GALAXY_LEVEL = 0.005, 0.08  # parts of the peak at which a box ends


@dataclass(frozen=True)
class Camera:
    """Arcsec a pixel, degrees by which its pixels are turned, FWHM in arcsec and Moffat's beta of its stars."""

    scale: float
    angle: float
    fwhm: float
    beta: float = 3.5


REFERENCE = Camera(0.262, 0, 1.1)
CAMERAS = {
    "0.200 arcsec a pixel, turned by 30 degrees, seeing 0.8": Camera(0.2, 30, 0.8, 3.0),
    "0.262 arcsec a pixel, turned by 45 degrees, seeing 1.1": Camera(0.262, 45, 1.1),
    "0.400 arcsec a pixel, turned by 17 degrees, seeing 1.4": Camera(0.4, 17, 1.4, 3.0),
    "0.600 arcsec a pixel, turned by -70 degrees, seeing 1.7": Camera(0.6, -70, 1.7, 4.0),
}


@dataclass(frozen=True)
class Colours:
    """Of n sources: whether galaxies, true S/N (r, g), measured minus true g-r, and (flux - truth) / error in g."""

    is_galaxy: np.ndarray
    snr: np.ndarray
    colour: np.ndarray
    pull: np.ndarray

    @classmethod
    def joined(cls, parts: list["Colours"]) -> "Colours":
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


def header_of(camera: Camera, side: float) -> fits.Header:
    """Of a square of ``side`` arcsec around ``CENTRE``; TAN."""
    pixels, turn = int(np.ceil(side / camera.scale)), np.radians(camera.angle)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], CENTRE, [(pixels + 1) / 2] * 2
    c, s = np.cos(turn) * camera.scale / 3600, np.sin(turn) * camera.scale / 3600
    wcs.wcs.cd = [[-c, s], [s, c]]
    header = wcs.to_header()
    header.update(NAXIS=2, NAXIS1=pixels, NAXIS2=pixels, MAGZERO=ZERO_POINT)
    return header


def draw_profiles(rng: np.random.Generator, n: int) -> tuple[list, np.ndarray, np.ndarray, np.ndarray]:
    """n profiles of flux 1 on the sky, first stars and then galaxies; whether galaxies, whether disks, and (n, 2) fluxes in r and g."""
    is_galaxy, is_disk = np.arange(n) >= n // 2, rng.random(n) < 0.6
    mags = rng.uniform(17.5, 22.5, n)
    profiles = [galaxy(rng, disk) if extended else None for extended, disk in zip(is_galaxy, is_disk)]
    return profiles, is_galaxy, is_disk, 10 ** (-0.4 * (np.stack([mags, mags + rng.uniform(0.2, 1.5, n)], 1) - ZERO_POINT))


def galaxy(rng: np.random.Generator, disk: bool):
    radius = np.exp(rng.uniform(np.log(0.4), np.log(2.0)))
    light = galsim.Exponential(half_light_radius=radius) if disk else galsim.Sersic(rng.choice(INDICES), half_light_radius=radius)
    return light.shear(q=rng.uniform(0.3 if disk else 0.6, 1), beta=rng.uniform(0, np.pi) * galsim.radians)


def image_of(rng, camera: Camera, band: str, header: fits.Header, profiles, places, flux) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) counts of sources at ``places`` (n, 2) on the camera's pixels, with noise, and (n, 4) boxes of the noise-free sources."""
    psf, local = galsim.Moffat(camera.beta, fwhm=camera.fwhm), jacobian(camera)
    side, boxes = header["NAXIS1"], np.zeros((len(profiles), 4))
    image = galsim.ImageD(galsim.BoundsI(0, side - 1, 0, side - 1))
    for i, (profile, (x, y), counts) in enumerate(zip(profiles, places, flux)):
        light = psf if profile is None else galsim.Convolve(profile, psf)
        half = int(24 / camera.scale)
        bounds = galsim.BoundsI(round(x) - half, round(x) + half, round(y) - half, round(y) + half)
        stamp = galsim.ImageD(bounds)
        light.withFlux(counts).drawImage(stamp, wcs=local, center=galsim.PositionD(x, y))
        rows, columns = np.nonzero(stamp.array > (STAR_LEVEL if profile is None else GALAXY_LEVEL) * stamp.array.max())
        boxes[i] = columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5
        boxes[i] += np.tile([bounds.xmin, bounds.ymin], 2)
        shared = bounds & image.bounds
        image[shared] += stamp[shared]
    sigma, gain = noise_of(camera, band)
    noise = np.sqrt(sigma**2 + np.maximum(image.array, 0) / gain)
    return (image.array + rng.normal(0, 1, image.array.shape) * noise).astype(np.float32), boxes


def noise_of(camera: Camera, band: str) -> tuple[float, float]:
    """Of the sky in a pixel, and the gain."""
    sigma = float(point_source_noise(10 ** (-0.4 * (DEPTH[band] - ZERO_POINT)), camera.fwhm / camera.scale))
    return sigma, PHOTONS * 1000 * camera.scale**2 / sigma


def jacobian(camera: Camera) -> galsim.JacobianWCS:
    """Sky (west, north) by pixel: x grows to the west at no angle, as in ``header_of``."""
    c, s = np.cos(np.radians(camera.angle)) * camera.scale, np.sin(np.radians(camera.angle)) * camera.scale
    return galsim.JacobianWCS(c, -s, s, c)


@dataclass(frozen=True)
class Sky:
    """n sources: whether galaxies, whether disks, (n, 2) true counts in r and g; both bands and the boxes (n, 4) of the r band."""

    is_galaxy: np.ndarray
    is_disk: np.ndarray
    flux: np.ndarray
    planes: dict[str, Plane]
    boxes: np.ndarray


def drawn_sky(seed: int, camera: Camera, one_grid: bool) -> Sky:
    """``one_grid``: g has r's pixels, and its own seeing."""
    rng = np.random.default_rng([91, seed])
    if one_grid:
        camera = Camera(REFERENCE.scale, REFERENCE.angle, camera.fwhm, camera.beta)
    headers = {"r": header_of(REFERENCE, SIDE), "g": header_of(camera, SIDE if one_grid else 1.5 * SIDE)}
    along = np.arange(SPACING, SIDE - SPACING / 2, SPACING) / REFERENCE.scale
    places = np.stack(np.meshgrid(along, along), -1).reshape(-1, 2)
    places = rng.permutation(places + rng.uniform(-3, 3, places.shape))
    profiles, is_galaxy, is_disk, flux = draw_profiles(rng, len(places))
    planes, boxes = {}, []
    for j, (band, one) in enumerate((("r", REFERENCE), ("g", camera))):
        there = pixel_places(WCS(headers["r"]), WCS(headers[band]), *places.T).T
        counts, framed = image_of(rng, one, band, headers[band], profiles, there, flux[:, j])
        headers[band]["GAIN"] = noise_of(one, band)[1]
        planes[band] = Plane(counts, headers[band])
        boxes.append(framed)
    return Sky(is_galaxy, is_disk, flux, planes, boxes[0] + rng.normal(0, 0.4, boxes[0].shape))


def colours_of(sky: Sky) -> Colours:
    frame = assemble(sky.planes, "r", ("r.fits", "g.fits"))
    n, sure = len(sky.boxes), np.float32(0.9)
    classes = (np.where(yes, sure, 1 - sure).astype(np.float32) for yes in (sky.is_galaxy, sky.is_disk))
    found = Detections(sky.boxes.astype(np.float32), np.full(n, sure), *classes, np.zeros(n, bool))
    catalog = measure(frame, found, backgrounds(frame))
    true = -2.5 * np.log10(sky.flux[:, 1] / sky.flux[:, 0])
    error = np.ma.filled(catalog["mag_g"], np.inf) - np.ma.filled(catalog["mag_r"], np.nan) - true
    pull = np.ma.filled((catalog["flux_g"] - sky.flux[:, 1]) / catalog["flux_err_g"], np.nan)
    snr = 5 * sky.flux / 10 ** (-0.4 * (np.array([DEPTH["r"], DEPTH["g"]]) - ZERO_POINT))
    return Colours(sky.is_galaxy, snr, error, pull)


def robust(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def report(fields: int) -> None:
    for label, camera in CAMERAS.items():
        print(f"g of {label}; r of 0.262, seeing 1.1:")
        for one_grid in (False, True):
            show(Colours.joined([colours_of(drawn_sky(seed, camera, one_grid)) for seed in range(fields)]), one_grid)


def show(found: Colours, one_grid: bool) -> None:
    print("  both on r's pixels" if one_grid else "  each on its own pixels")
    for name, rows in (("stars", ~found.is_galaxy), ("galaxies", found.is_galaxy)):
        for label, low, high in (("> 50", 50, np.inf), ("10 to 50", 10, 50)):
            some = rows & (found.snr > low).all(axis=1) & (found.snr < high).all(axis=1)
            off, scatter, pull = np.nanmedian(found.colour[some]), robust(found.colour[some]), robust(found.pull[some])
            print(f"    {name}, S/N {label}: g-r off by {off:+.4f}, scatter {scatter:.4f}, pull of g {pull:.2f} ({some.sum()})")


if __name__ == "__main__":
    import sys

    report(int(sys.argv[1]) if len(sys.argv) > 1 else 4)
