"""The truth of a simulated field: what each source is, how well it can be seen, and its box."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from astroyolo_cli.detections import MASK_BLUR, MASK_ENDS
from astroyolo_cli.simulate.psf import Stamp
from astroyolo_cli.simulate.sky import BANDS, FieldSettings, Source

CLASS_ID = {"star": 1, "galaxy": 2}
FAINTEST = 2.0  # sources of lower S/N are not listed
VISIBLE = 5.0  # sources of lower S/N are listed as ignored
COLUMNS = (
    "id", "class", "morphology", "x", "y", *(f"mag_{b}" for b in BANDS), "snr", "r50", "blend", "ignore",
    "xmin", "ymin", "xmax", "ymax", *(f"snr_{b}" for b in BANDS),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One source as it was drawn.

    Attributes:
        source: its parameters.
        snr: matched filter with its own noise-free profile, bands in quadrature.
        box: (4,) xmin, ymin, xmax, ymax, pixel edges (a box round pixels 10..19 is 9.5..19.5).
        ignore: not to be learned from nor counted.
        mask: its noise-free first band, cut to where the mask may be; None where it has none.
        band_snr: S/N in g, r and z.
        halo: the row is that of a saturated star's halo, spikes and trails.
    """

    source: Source
    snr: float
    box: tuple[float, float, float, float]
    ignore: bool
    mask: Stamp | None = None
    band_snr: tuple[float, float, float] = (0.0, 0.0, 0.0)
    halo: bool = False


def signal_to_noise(stamps: list[Stamp], noise: np.ndarray) -> np.ndarray:
    """(3,) matched-filter S/N of a source drawn on one noise-free stamp a band, over noise (3,) a pixel, white or as if."""
    return np.array([np.sqrt((s.data.astype(float) ** 2).sum()) / n for s, n in zip(stamps, noise)])


def source_mask(data: np.ndarray, kind: str) -> np.ndarray:
    """(h, w) bool, the pixels of a source by the rule of D_sg, from its noise-free image (h, w)."""
    over = data > MASK_ENDS[kind] * data.max()
    smooth = gaussian_filter(over.astype(np.float32), MASK_BLUR, mode="mirror", radius=4)
    mask = smooth >= 0.5
    return mask if mask.any() else over


def mask_bounds(mask: np.ndarray, x0: int = 0, y0: int = 0) -> tuple[float, float, float, float]:
    """Edges of the pixels that are True, for a mask whose first pixel is (x0, y0)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (columns[0] + x0 - 0.5, rows[0] + y0 - 0.5, columns[-1] + x0 + 0.5, rows[-1] + y0 + 0.5)


def cut_to_box(stamp: Stamp, box, margin: int = 8) -> Stamp:
    """The part of ``stamp`` within ``margin`` pixels of ``box``: the mask and what decides it."""
    left, low = (max(0, int(np.ceil(e)) - margin - o) for e, o in ((box[0], stamp.x0), (box[1], stamp.y0)))
    right, top = (int(np.ceil(e)) + margin - o for e, o in ((box[2], stamp.x0), (box[3], stamp.y0)))
    return Stamp(stamp.x0 + left, stamp.y0 + low, stamp.data[low:top, left:right].copy())


def describe(source: Source, stamps: list[Stamp], settings: FieldSettings) -> Row | None:
    """The row of a source drawn on ``stamps`` (one a band, clipped to the frame); None if nobody could see it."""
    band_snr = signal_to_noise(stamps, settings.filter_noise)
    snr = float(np.hypot.reduce(band_snr))
    first = stamps[0]
    if snr < FAINTEST or not first.data.max() > 0:
        return None
    box = mask_bounds(source_mask(first.data, source.kind), first.x0, first.y0)
    outside = not (-0.5 <= min(source.x, source.y) and max(source.x, source.y) <= settings.size - 0.5)
    return Row(source, snr, box, snr < VISIBLE or outside, cut_to_box(first, box), band_snr=tuple(band_snr.tolist()))


def truth_table(rows: list[Row], settings: FieldSettings):
    """astropy Table of ``COLUMNS``, one row a source, ids from 1 in the order of ``rows``."""
    from astropy.table import Table

    blends = blended(rows, settings.fwhm[1])
    records = [_record(i + 1, row, bool(blend)) for i, (row, blend) in enumerate(zip(rows, blends))]
    kinds = ["i4", "U6", "U6", *["f8"] * 2, *["f4"] * 5, "bool", "bool", *["f4"] * 7]
    return Table(rows=records or None, names=COLUMNS, dtype=kinds)


def _record(number: int, row: Row, blend: bool) -> tuple:
    s = row.source
    return (number, s.kind, s.morphology, s.x, s.y, *s.mags, row.snr, s.r50, blend, row.ignore, *row.box, *row.band_snr)


def blended(rows: list[Row], fwhm: float) -> np.ndarray:
    """(n,) bool, whether another source of S/N >= 5 lies within one FWHM, or anywhere in the box."""
    if not rows:
        return np.zeros(0, bool)
    place = np.array([(row.source.x, row.source.y) for row in rows])
    box = np.array([row.box for row in rows])
    near = np.hypot(*(place[:, None] - place[None]).transpose(2, 0, 1)) < fwhm
    inside = np.all((place[None] >= box[:, None, :2]) & (place[None] <= box[:, None, 2:]), axis=2)
    seen = np.array([row.snr >= VISIBLE and not row.halo for row in rows])
    return ((near | inside) & seen[None] & ~np.eye(len(rows), dtype=bool)).any(1)
