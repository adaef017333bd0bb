"""The celestial WCS of a header, if it has one that works."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from .align import pixel_places
from .errors import AstroYOLOWarning

TABLED = ("CPDIS", "CPERR", "DP1", "DP2", "D2IMDIS", "D2IMERR", "D2IM1", "D2IM2")  # keywords of distortions in tables


def celestial_wcs(header: fits.Header, path: Path) -> WCS | None:
    """None, with a warning, where the header has none or a broken one: the catalog is still written."""
    wcs, reason = wcs_of(header)
    if wcs is None:
        warnings.warn(f"{path.name}: {reason}; the catalog has pixel positions alone", AstroYOLOWarning, stacklevel=2)
    return wcs


def wcs_of(header: fits.Header) -> tuple[WCS | None, str]:
    """The celestial WCS, or None and why there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wcs = WCS(without_tables(header)).celestial
            if not wcs.has_celestial:
                return None, "no celestial WCS in the header"
            moved = round_trip(wcs)
            return (wcs, "") if moved < 1 else (None, f"broken WCS (there and back, a pixel moves by {moved:g})")
    except Exception as error:  # wcslib and astropy raise many kinds; none may stop the catalog
        return None, f"broken WCS ({' '.join(str(error).split())[:100]})"


def without_tables(header: fits.Header) -> fits.Header:
    """Without distortions that stand in tables of their own, as HST has beside SIP: they move a source by a tenth of a pixel at most."""
    tabled = [key for key in header if key.startswith(TABLED)]
    if not tabled:
        return header
    kept = header.copy()
    for key in tabled:
        kept.remove(key, ignore_missing=True, remove_all=True)
    return kept


def round_trip(wcs: WCS) -> float:
    """Pixels by which the first pixel moves on the way to the sky and back; infinite where there is no way."""
    moved = float(np.abs(pixel_places(wcs, wcs, 0.0, 0.0)).max())
    return moved if np.isfinite(moved) else np.inf
