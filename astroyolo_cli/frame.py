"""The frame: the pixels of one field, and all that is known about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .region import Part

if TYPE_CHECKING:
    from astropy.wcs import WCS

DISPLAY_BANDS = ("R", "G", "B")  # the band names of a picture that is already stretched


@dataclass(frozen=True)
class Frame:
    """Pixels by band, on one pixel grid, rows in file order (FITS: row 0 first).

    Planes are arrays, or of large frames planes that are read in parts (sections.py): both have a ``shape`` and give
    ``plane[rows, columns]``.

    Attributes:
        counts: band name -> (H, W) float32, native byte order, all of one shape, in ``unit``. The
            order of the bands is that of ``--bands``: reddest first. For a picture
            (``stretched``) the values are 0 to 1 and the bands "R", "G", "B".
        bad: band name -> (H, W) bool, True where a pixel carries no signal: NaN, inf, BLANK, a fill value,
            masked or without weight. ``counts`` is NaN there.
        reference: the band whose pixels and fluxes the catalog states.
        wcs: celestial, of the reference band; None where the header has none or a broken one.
        unit: of the counts, as astropy spells it; "" where unknown.
        zero_points: band -> AB magnitude of one count; bands without a known zero point are absent.
        gain: band -> electrons a count; absent where unknown.
        saturation: band -> counts at which pixels saturate; absent where unknown.
        weights: band -> (H, W) float32 inverse variance in ``unit``**-2, where given, 0 without weight.
        weights_are_relative: they are known but for a factor, which the frame's own noise gives.
        survey_mask: (H, W) bool, True where the user's ``--mask`` is not zero; None without one.
        header: the reference band's FITS header as text cards; None for pictures.
        sources: the files read, in the order of the bands.
        stretched: True for a picture (PNG, JPEG, TIFF): shown to the network as it is.
        native: band -> counts on the band's own pixel grid with its own wcs, for bands that were aligned;
            noise is measured there because interpolation lowers it. Absent for bands that were not moved.
        native_wcs: band -> wcs of ``native``.
        part: where these pixels lie in the whole frame, if only a region of it was read; all else here is of the part alone.
    """

    counts: dict[str, np.ndarray]
    bad: dict[str, np.ndarray]
    reference: str
    wcs: WCS | None = None
    unit: str = ""
    zero_points: dict[str, float] = field(default_factory=dict)
    gain: dict[str, float] = field(default_factory=dict)
    saturation: dict[str, float] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    weights_are_relative: bool = False
    survey_mask: np.ndarray | None = None
    header: object | None = None
    sources: tuple[Path, ...] = ()
    stretched: bool = False
    native: dict[str, np.ndarray] = field(default_factory=dict)
    native_wcs: dict[str, WCS] = field(default_factory=dict)
    part: Part | None = None

    @property
    def bands(self) -> tuple[str, ...]:
        return tuple(self.counts)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of every band."""
        return self.counts[self.reference].shape
