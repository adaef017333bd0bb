"""source-extractor, sep and photutils with their default settings on one image: what each finds, as AstroYOLO's evaluation reads it.

A default is what the tool's own documentation starts with; only what describes the image (PSF, gain, saturation, zero point) is told.
"""

import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from astroyolo_cli.evaluate.catalogs import Found, plain_found, read_catalog

SHARE = Path("/usr/share/source-extractor")  # where Debian's package has its default.sex, .conv and .nnw
COLUMNS = "X_IMAGE Y_IMAGE XMIN_IMAGE YMIN_IMAGE XMAX_IMAGE YMAX_IMAGE MAG_AUTO FLUX_AUTO FLUXERR_AUTO CLASS_STAR FLAGS".split()


@dataclass(frozen=True)
class Image:
    """One band and what is known of it: FWHM in pixels, arcsec a pixel, electrons a count, counts at which it saturates."""

    counts: np.ndarray
    fwhm: float
    scale: float
    zero_point: float
    gain: float
    saturate: float


def sextractor(image: Image) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        fits.writeto(place / "image.fits", image.counts.astype(np.float32))
        (place / "wanted.param").write_text("\n".join(COLUMNS) + "\n")
        options = {
            "PARAMETERS_NAME": "wanted.param", "FILTER_NAME": SHARE / "default.conv", "STARNNW_NAME": SHARE / "default.nnw",
            "CATALOG_NAME": "out.cat", "CATALOG_TYPE": "ASCII_HEAD", "SEEING_FWHM": image.fwhm * image.scale,
            "PIXEL_SCALE": image.scale, "MAG_ZEROPOINT": image.zero_point, "GAIN": image.gain, "SATUR_LEVEL": image.saturate,
            "VERBOSE_TYPE": "QUIET",
        }  # fmt: skip
        arguments = [str(word) for key, value in options.items() for word in (f"-{key}", value)]
        subprocess.run(["source-extractor", "image.fits", "-c", SHARE / "default.sex", *arguments], cwd=place, check=True)
        return plain_found(read_catalog(place / "out.cat"), place / "out.cat")


def sep_sources(image: Image):
    """The image without its background, the noise, and sep's sources at 1.5 sigma."""
    import sep

    counts = np.ascontiguousarray(image.counts, np.float32)
    background = sep.Background(counts)
    data = counts - background
    return data, background.globalrms, sep.extract(data, 1.5, err=background.globalrms)


def sep(image: Image) -> Found:
    _, noise, found = sep_sources(image)
    boxes = np.stack([found[edge].astype(float) for edge in ("xmin", "ymin", "xmax", "ymax")], 1) + [-0.5, -0.5, 0.5, 0.5]
    snr = found["flux"] / (noise * np.sqrt(found["npix"]))
    return unclassified(np.stack([found["x"], found["y"]], 1), boxes, found["flux"], snr, image.zero_point)


def photutils_catalog(image: Image):
    """The SourceCatalog of an image, as photutils' documentation makes it."""
    from astropy.convolution import convolve_fft
    from photutils.background import Background2D
    from photutils.segmentation import SourceCatalog, SourceFinder, make_2dgaussian_kernel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        background = Background2D(image.counts, 64)
        data = image.counts - background.background
        smooth = convolve_fft(data, make_2dgaussian_kernel(image.fwhm, size=2 * int(image.fwhm) + 1))
        segments = SourceFinder(10, progress_bar=False)(smooth, 1.5 * background.background_rms)
        return SourceCatalog(data, segments, convolved_data=smooth, error=background.background_rms)


def photutils(image: Image) -> Found:
    table = photutils_catalog(image).to_table()
    edges = ("bbox_xmin", "bbox_ymin", "bbox_xmax", "bbox_ymax")
    boxes = np.stack([np.asarray(table[edge], float) for edge in edges], 1) + [-0.5, -0.5, 0.5, 0.5]
    flux = np.asarray(table["segment_flux"], float)
    xy = np.stack([np.asarray(table[name], float) for name in ("x_centroid", "y_centroid")], 1)
    return unclassified(xy, boxes, flux, flux / np.asarray(table["segment_flux_err"], float), image.zero_point)


def unclassified(xy, boxes, flux, snr, zero_point: float) -> Found:
    """Of a tool that does not tell stars from galaxies."""
    unknown = np.full(len(xy), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        mag = np.where(flux > 0, zero_point - 2.5 * np.log10(flux), np.nan)
    return Found(xy, boxes, np.nan_to_num(snr), unknown, np.asarray(snr, float), mag, probable=False)


def sep_kron(image: Image) -> tuple[np.ndarray, np.ndarray]:
    """Places (n, 2) and total fluxes (n,): an ellipse of 2.5 Kron radii, a circle where that is small, as sep's documentation shows."""
    import sep

    data, _, found = sep_sources(image)
    x, y, a, b, theta = (found[name] for name in ("x", "y", "a", "b", "theta"))
    theta = np.clip(theta, -np.pi / 2, np.pi / 2)  # rounded, it is refused
    kron, _ = sep.kron_radius(data, x, y, a, b, theta, 6.0)
    flux, _, _ = sep.sum_ellipse(data, x, y, a, b, theta, 2.5 * kron, subpix=1)
    small = kron * np.sqrt(a * b) < 1.75
    flux[small] = sep.sum_circle(data, x[small], y[small], 1.75, subpix=1)[0]
    return np.stack([x, y], 1), flux


def photutils_kron(image: Image) -> tuple[np.ndarray, np.ndarray]:
    """Places (n, 2) and ``kron_flux`` (n,)."""
    catalog = photutils_catalog(image)
    return np.stack([catalog.x_centroid, catalog.y_centroid], 1), np.asarray(catalog.kron_flux)


TOOLS = {"source-extractor": sextractor, "sep": sep, "photutils": photutils}
