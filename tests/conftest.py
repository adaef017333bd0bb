"""Shared skies and networks."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.wcs import WCS

from astroyolo_cli.frame import Frame
from astroyolo_cli.model.checkpoint import Card

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # for tests that call ONNX Runtime themselves


@pytest.fixture
def survey_data() -> Path:
    """Real survey files, named by ASTROYOLO_DATA; tests that need them are skipped without it."""
    folder = os.environ.get("ASTROYOLO_DATA")
    if not folder:
        pytest.skip("ASTROYOLO_DATA names no folder of survey data")
    return Path(folder)


def tan_wcs(x=100.0, y=100.0, scale=0.3, ra=150.0, dec=2.0, angle=0.0) -> WCS:
    """A tangent plane of ``scale`` arcsec a pixel; pixel (x, y), counted from 0, lies on (ra, dec)."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [x + 1, y + 1]
    c, s = np.cos(np.radians(angle)) * scale / 3600, np.sin(np.radians(angle)) * scale / 3600
    wcs.wcs.cd = [[-c, s], [s, c]]
    return wcs


def star(shape, x, y, fwhm, flux) -> np.ndarray:
    """A Gaussian integrated over the pixels, exactly."""
    from scipy.special import erf

    sigma = fwhm / 2.354820045

    def part(n, middle):
        edges = (np.arange(n + 1) - 0.5 - middle) / (sigma * np.sqrt(2))
        return np.diff(erf(edges)) / 2

    return flux * np.outer(part(shape[0], y), part(shape[1], x))


def make_frame(counts: dict, **rest) -> Frame:
    counts = {band: np.asarray(c, np.float32) for band, c in counts.items()}
    return Frame(counts, {band: ~np.isfinite(c) for band, c in counts.items()}, **({"reference": list(counts)[0]} | rest))


class FakeEngine:
    """A network that reports the given boxes, in tile pixels, in every tile."""

    def __init__(self, boxes=(), score=0.9, seen=None):
        self.card = Card(size="nano")
        self.boxes, self.score = boxes, score
        self.shapes = []

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        from astroyolo_cli.model.decoding import cell_grid

        self.shapes.append(images.shape)
        corners, strides = cell_grid(*images.shape[2:])
        detection = np.zeros((len(images), len(strides), 5), np.float32)
        detection[..., 4] = -20
        for i, (x0, y0, x1, y1) in enumerate(self.boxes):
            cell = i  # any cell can say any box: cells of their own, so that none is lost
            middle = np.array([(x0 + x1) / 2 + 0.5, (y0 + y1) / 2 + 0.5]) / strides[cell] - corners[cell]
            detection[:, cell, :2] = middle
            detection[:, cell, 2:4] = np.log(np.array([x1 - x0, y1 - y0]) / strides[cell])
            detection[:, cell, 4] = np.log(self.score / (1 - self.score))
        classes = np.zeros((len(images), len(strides), 2), np.float32)
        return {"detection": detection, "star_galaxy": classes, "smooth_disk": classes}
