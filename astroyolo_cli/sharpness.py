"""How wide a frame's stars are, before anything is found in it: whether the network should see it enlarged.

The network's finest cells are 4 pixels wide: stars narrower than that are told from each other, and from galaxies, better where they
are shown larger (weights/README.md has the figures).
"""

from __future__ import annotations

import numpy as np

from .frame import Frame
from .shapes import FWHM_OF_SIGMA
from .stretch import Background, signal

SHARP = {2.8: 1.5, 3.5: 1.25}  # pixels FWHM below which stars are shown so many times enlarged, the sharpest first
BRIGHT = 50.0, 30.0  # S/N of a peak's pixel, at best and at least
FEWEST, ENOUGH = 5, 300  # peaks, with less of which nothing is known, and that are enough of a part of the frame
STARS = 30  # percentile of the peaks' widths that is the stars': galaxies are wider
NARROWEST = 1.7  # pixels FWHM: what is narrower is mostly a hot pixel or a cosmic ray
LOPSIDED = 2.0  # ratio of a peak's curvatures along x and y above which it is a cosmic ray's or a trail's
FLAT = 0.7  # part of the level of saturation up to which peaks have their shape
BLOCK, BLOCKS = 512, 3  # pixels, side of the parts of a large frame that are looked at, and how many along each axis


def shown_enlarged(frame: Frame, background: dict[str, Background]) -> float:
    """How many times the network should see the frame enlarged; 1 where its stars are wide or not known, as in pictures."""
    if frame.stretched:
        return 1.0
    return zoom_of(star_fwhm(frame, background[frame.reference]))


def zoom_of(width: float) -> float:
    """How many times stars of that FWHM in pixels should be shown enlarged; 1 where it is NaN."""
    return next((zoom for limit, zoom in SHARP.items() if width < limit), 1.0)


def star_fwhm(frame: Frame, background: Background) -> float:
    """FWHM of the reference band's stars in pixels, within a tenth or so; NaN where too few stand out."""
    return fwhm_of_peaks(np.concatenate([peaks_of_section(frame, background, *section) for section in sections(frame.shape)], axis=1))


def fwhm_of_peaks(peaks: np.ndarray) -> float:
    """The stars' FWHM in pixels, of peaks (2, n) as ``peaks_of`` gives them; NaN where too few stand out."""
    snr, width = peaks
    for least in BRIGHT:
        if (bright := width[snr > least]).size >= FEWEST:
            return float(np.percentile(bright, STARS))
    return np.nan


def sections(shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Rows and columns of blocks that lie evenly over the frame; all of a small one."""
    rows, columns = (
        [slice(0, n)] if n <= BLOCK * BLOCKS else [slice(start, start + BLOCK) for start in np.linspace(0, n - BLOCK, BLOCKS).astype(int)]
        for n in shape
    )
    return [(y, x) for y in rows for x in columns]


def peaks_of_section(frame: Frame, background: Background, rows: slice, columns: slice) -> np.ndarray:
    """(2, n) peaks of a part of the reference band, none of them near saturation."""
    counts = frame.counts[frame.reference]
    level = FLAT * frame.saturation.get(frame.reference, np.inf)
    full = np.asarray(counts[rows, columns]) >= level if np.isfinite(level) else None
    return peaks_of(signal(counts, background, rows, columns), full)


def peaks_of(light: np.ndarray, full: np.ndarray | None = None) -> np.ndarray:
    """(2, n) S/N of peaks, no more than ``ENOUGH`` and spread over all of the image, and their FWHM in pixels.

    Of a Gaussian, however it falls on the pixels, the logarithm of the highest pixel is above the mean of those of its two neighbours in
    a row by 1 / (2 sigma^2).

    Args:
        light: (H, W) above the sky in units of the noise.
        full: (H, W) bool, pixels too near to saturation to keep their shape; None for none.
    """
    y, x = np.nonzero(light[1:-1, 1:-1] > BRIGHT[-1])
    y, x = y + 1, x + 1
    here, around = light[y, x], [light[y + dy, x + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    highest = np.all([here > other for other in around[:4]] + [here >= other for other in around[4:]], axis=0)
    if full is not None:
        highest &= ~full[y, x]
    y, x = y[highest], x[highest]

    def log(dy: int, dx: int) -> np.ndarray:
        return np.log(np.maximum(light[y + dy, x + dx], 1))

    along_x, along_y = (log(0, 0) - (log(-dy, -dx) + log(dy, dx)) / 2 for dy, dx in ((0, 1), (1, 0)))
    low, high = np.minimum(along_x, along_y), np.maximum(along_x, along_y)
    width = FWHM_OF_SIGMA / np.sqrt(np.maximum(low + high, 1e-6))
    sound = np.flatnonzero((width > NARROWEST) & (high < LOPSIDED * low))
    some = sound[:: max(1, -(-len(sound) // ENOUGH))]
    return np.stack([light[y[some], x[some]], width[some]])
