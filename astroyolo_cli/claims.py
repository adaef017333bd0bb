"""What the headers of a FITS file claim, looked at before any library believes it and allocates or loops that often."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from .errors import InputError
from .packed import OPENERS, Content, first_bytes, pieces, said_if_damaged, unpacked
from .remote import RemotePath

CARD, BLOCK = 80, 2880
FOREIGN = {b"PK": "a zip archive", b"\x1f\x9d": "packed by compress"}
MOST_AXES = 999  # FITS Standard 4.0, 4.4.1; the same for the fields of a table
MOST_CARDS = 200_000  # of one header: the longest have some thousand
LEAST_UNPACKED = 2**30  # bytes to which any packed file may unfold
MOST_RATIO = 100  # to which larger ones may; real frames reach 10
MOST_TILES_RATIO = 10_000  # an empty mask's bytes of pixels over those of its file, tile by tile
INTEGERS = ("NAXIS", "BITPIX", "PCOUNT", "GCOUNT", "TFIELDS", "ZNAXIS", "ZBITPIX")


def check_claims(path: Path | RemotePath | Content) -> None:
    """Read the headers alone, and of a packed file all of it, for its checksum.

    Raises:
        InputError: for numbers of axes, fields or bytes that cannot be, for other archives, and for a packed file that is damaged.
    """
    start = first_bytes(path)
    if start in FOREIGN:
        raise InputError(f"{path}: {FOREIGN[start]}, must be FITS, plain or packed by gzip, bzip2 or xz; unpack it first")
    packed = start in OPENERS
    size = path.stat().st_size
    most = max(LEAST_UNPACKED, MOST_RATIO * size) if packed else size
    stored = path.path.stat().st_size if isinstance(path, Content) else size
    with said_if_damaged(path), unpacked(path) as file:
        for header in headers(file, path, most):
            check_header(header, path, stored)
        if packed:
            read_to_end(file, path, most)


def headers(file, path: Path, most: int) -> Iterator[dict[str, int]]:
    """The integers that tell each HDU's form, until the file ends or is none; ``file`` is then behind its last HDU."""
    end = 0
    while end < most:
        file.seek(end)
        if (header := read_header(file, path)) is None:
            return
        yield header
        size = data_bytes(header)
        if size < 0:
            return
        end = file.tell() + math.ceil(size / BLOCK) * BLOCK


def read_header(file, path: Path) -> dict[str, int] | None:
    """Of the HDU that begins here; None where there is none. Of a header without END all that is left is read: libraries may see one."""
    found: dict[str, int] = {}
    for number in range(MOST_CARDS * CARD // BLOCK):
        block = file.read(BLOCK)
        if len(block) < BLOCK or (number == 0 and block[:8] not in (b"SIMPLE  ", b"XTENSION")):
            return found or None
        for i in range(0, BLOCK, CARD):
            key = block[i : i + 8].rstrip().decode("latin-1")
            if key == "END" and not block[i + 8 : i + CARD].strip():
                return found
            if key in INTEGERS or key.startswith(("NAXIS", "ZNAXIS")):
                found = integer_of(key, block[i + 8 : i + CARD]) | found  # the first of two counts
    raise InputError(f"{path}: a header of more than {MOST_CARDS} cards; it is broken, fetch the file again")


def integer_of(key: str, rest: bytes) -> dict[str, int]:
    """The key with its value, where that is one."""
    text = rest[2:].split(b"/")[0].strip()
    return {key: int(text)} if text.lstrip(b"+-").isdigit() and len(text) < 25 else {}


def axes(header: dict[str, int], prefix: str = "") -> list[int]:
    return [header.get(f"{prefix}NAXIS{i + 1}", 0) for i in range(min(header.get(f"{prefix}NAXIS", 0), MOST_AXES))]


def data_bytes(header: dict[str, int]) -> int:
    """Behind the header; FITS Standard 4.0, eq. 2."""
    sides = axes(header)
    pixels = math.prod(sides) if sides else 0
    return abs(header.get("BITPIX", 8)) // 8 * header.get("GCOUNT", 1) * (header.get("PCOUNT", 0) + pixels)


def check_header(header: dict[str, int], path: Path, size: int) -> None:
    for key in ("NAXIS", "ZNAXIS", "TFIELDS"):
        if not 0 <= header.get(key, 0) <= MOST_AXES:
            raise InputError(f"{path}: {key} is {header[key]}, must be 0 to {MOST_AXES}; the header is broken")
    if bad := [n for prefix in ("", "Z") for n in axes(header, prefix) if n < 0]:
        raise InputError(f"{path}: an axis of {bad[0]} pixels; the header is broken")
    claimed = math.prod(axes(header, "Z")) * abs(header.get("ZBITPIX", 8)) // 8 if "ZNAXIS" in header else 0
    if claimed > max(MOST_TILES_RATIO * size, BLOCK):
        raise InputError(f"{path}: claims {claimed} bytes of pixels in a file of {size}, more than any compression gives; fetch it again")


def read_to_end(file, path: Path, most: int) -> None:
    """So that the checksum at the end of a packed file is looked at."""
    for _ in pieces(file):
        if file.tell() > most:
            raise InputError(f"{path}: unfolds to more than {most} bytes; unpack it first if it is meant")
