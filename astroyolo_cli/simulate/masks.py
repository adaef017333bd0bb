"""masks.fits of D_sg: every source alone, one image HDU each, as 16-bit integers in one gzip stream."""

import zlib
from pathlib import Path

import numpy as np

from astroyolo_cli.simulate.psf import Stamp
from astroyolo_cli.simulate.truth import CLASS_ID, Row

BLOCK = 2880  # bytes; FITS pads headers and data to multiples of this
TOP = 32767


def write_masks(path: Path, rows: list[Row], size: int) -> int:
    """Write the noise-free first band of every source that is not ignored; return how many.

    Each HDU has its own BSCALE, so that a step is 0.003 % of the source's peak. Written by hand:
    astropy takes 2 ms an HDU for the header alone. A file of zero sources has an empty primary HDU.
    """
    shown = [(i + 1, row) for i, row in enumerate(rows) if row.mask is not None and not row.ignore]
    squeeze = zlib.compressobj(1, zlib.DEFLATED, 31, 9, zlib.Z_FILTERED)
    with open(path, "wb") as out:
        for position, (number, row) in enumerate(shown):
            out.write(squeeze.compress(_header(position == 0, size, number, row)))
            out.write(squeeze.compress(_pixels(row.mask, size)))
        if not shown:
            out.write(squeeze.compress(_cards([("SIMPLE", "T"), ("BITPIX", "8"), ("NAXIS", "0")])))
        out.write(squeeze.flush())
    return len(shown)


def _step(stamp: Stamp) -> float:
    return float(stamp.data.max()) / TOP


def _pixels(stamp: Stamp, size: int) -> bytes:
    """The stamp in an otherwise empty frame, big-endian, padded to a FITS block."""
    frame = np.zeros((size, size), ">i2")
    frame[stamp.window] = np.round(np.clip(stamp.data / _step(stamp), -TOP, TOP))
    return frame.tobytes() + bytes(-frame.nbytes % BLOCK)


def _header(first: bool, size: int, number: int, row: Row) -> bytes:
    start = ("SIMPLE", "T") if first else ("XTENSION", "'IMAGE   '")
    cards = [start, ("BITPIX", "16"), ("NAXIS", "2"), ("NAXIS1", str(size)), ("NAXIS2", str(size))]
    cards += [("EXTEND", "T")] if first else [("PCOUNT", "0"), ("GCOUNT", "1")]
    cards += [("BSCALE", f"{_step(row.mask):.9E}"), ("BZERO", "0.0")]
    return _cards([*cards, ("CLASS_ID", str(CLASS_ID[row.source.kind])), ("ID", str(number))])


def _cards(cards: list[tuple[str, str]]) -> bytes:
    lines = [f"{key:8}= {value:<20}" if value[0] == "'" else f"{key:8}= {value:>20}" for key, value in cards]
    text = "".join(line.ljust(80) for line in [*lines, "END"])
    return text.ljust(-(-len(text) // BLOCK) * BLOCK).encode("ascii")
