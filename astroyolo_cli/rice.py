"""Astropy's Rice decoder, kept to what is given to it.

It looks for the end of a stream after each block of pixels, and in a block takes the zeros that follow for a part of it, as far as they go:
beyond the end of a damaged stream that may be out of memory. Ones after the end stop it within the block.
"""

from __future__ import annotations

import numpy as np

LONGEST_BLOCK = 256  # pixels; the standard knows 16 and 32
ROOM = b"\xff" * 2048  # bytes; a block of ones takes up to 33 bits a pixel


def hold_rice() -> bool:
    """From now on each stream has ones after its end; False where this astropy's decoder is not where it was."""
    try:
        from astropy.io.fits.hdu.compressed import _codecs

        decode = _codecs.decompress_rice_1_c
    except (ImportError, AttributeError):
        return False
    if not hasattr(decode, "unheld"):
        _codecs.decompress_rice_1_c = held(decode)
    return True


def held(decode):
    """The decoder, of streams with room after them that it does not count to them."""

    def with_room(stream: bytes, *settings: int) -> bytes:
        return decode(np.frombuffer(stream + ROOM, np.uint8)[: len(stream)], *settings)

    with_room.unheld = decode
    return with_room
