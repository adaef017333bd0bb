"""What a tile-compressed image claims, looked at before astropy's compiled decoders believe it.

They write and read where a damaged header, descriptor or stream sends them, which ends the process or worse. Words and rules are those of
the FITS Standard 4.0, 10.1; what is looked at is a few numbers a tile, and of the pixels nothing.
"""

from __future__ import annotations

import gzip
import io
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from .errors import InputError, printable
from .packed import is_packed, unpacked
from .remote import RemotePath
from .rice import LONGEST_BLOCK, hold_rice

COLUMNS = ("COMPRESSED_DATA", "GZIP_COMPRESSED_DATA", "UNCOMPRESSED_DATA")
FORM = re.compile(r"1?[PQ]([BIJED])(\(\d*\))?")
BYTES = {"B": 1, "I": 2, "J": 4, "E": 4, "D": 8}  # of an element, by its letter
LARGEST = 2**31 - 1  # the decoders count in C's int
RICE_BITS = {1: 3, 2: 4, 4: 5}  # with which each block begins, by BYTEPIX
DITHERS = 10_000  # random numbers, at one of which dithering begins
GZIP_RATIO = 1032  # of deflate, at most
MOST_BYTES = 2**48  # of a heap
MOST_UNFOLDED = 2**28  # bytes that a stream may at most unfold to, beyond which it is tried out piece by piece
HCOMPRESS_HEAD = np.dtype([("magic", ">u2"), ("sides", ">i4", 2), ("scale", ">i4"), ("sum", ">i8"), ("planes", "u1", 3)])
HCOMPRESS_MAGIC = 0xDD99
PLIO_HEAD = 5  # words


@dataclass(frozen=True)
class Streams:
    """A column of compressed tiles: the bytes and the place in the file of each, (n,) int64; 0 bytes where another column has the tile."""

    size: np.ndarray
    start: np.ndarray
    letter: str  # of an element's type, in TFORMn

    def read(self, file, tile: int) -> bytes:
        file.seek(int(self.start[tile]))
        return file.read(int(self.size[tile]))


@dataclass(frozen=True)
class Table:
    """The binary table that holds the image: its header, the tiles' shapes (n, axes) as NumPy has them, and where its heap is."""

    header: fits.Header
    shapes: np.ndarray
    heap: int  # its place in the file
    room: int  # its bytes
    file: io.BufferedIOBase
    path: Path | RemotePath

    @property
    def pixels(self) -> np.ndarray:
        """(n,) of each tile."""
        return self.shapes.prod(1)


def check_compressed(hdu: fits.CompImageHDU, path: Path | RemotePath) -> None:
    """Nothing, if the image's pixels can be asked for without harm; those of a codec in ``DIES`` by a process of its own.

    Raises:
        InputError: for an unknown codec, tiles that are not those of the image, streams that lie outside of the file or cannot hold
            their tile, and settings that the decoders cannot have.
    """
    with unpacked(path) as file:
        table = table_of(hdu, file, path)
        codec = known_codec(table)
        check_tiles(table, 8 if codec == "HCOMPRESS_1" else 4)
        check_dither(table, hdu.compressed_data.columns.names)
        columns = [name for name in COLUMNS if name in hdu.compressed_data.columns.names]
        streams = {name: streams_of(name, hdu, table) for name in columns}
        if sum(int(column.size.sum()) for column in streams.values()) > table.room:
            raise broken(path, f"its tiles take more than the {table.room} bytes of its heap")
        for name, column in streams.items():
            (CHECKS[codec] if name == COLUMNS[0] else OTHERS[name])(column, table)


def must_be_apart(hdu) -> bool:
    """Whether the codec's decoder, compiled code, cannot be kept from reading beyond a damaged stream."""
    return isinstance(hdu, fits.CompImageHDU) and hdu.compression_type in DIES


def table_of(hdu: fits.CompImageHDU, file, path: Path | RemotePath) -> Table:
    info = hdu.fileinfo()
    header = header_at(file, info)
    rows = math.prod(whole(header, key, 0, MOST_BYTES, path) for key in ("NAXIS1", "NAXIS2"))
    heap = whole(header, "THEAP", rows, MOST_BYTES, path, rows)
    room = rows + whole(header, "PCOUNT", 0, MOST_BYTES, path) - heap
    if not is_packed(path):
        room = min(room, path.stat().st_size - info["datLoc"] - heap)
    shapes = tile_shapes(header, len(hdu.compressed_data), path)
    return Table(header, shapes, info["datLoc"] + heap, max(room, 0), file, path)


def header_at(file, info: dict) -> fits.Header:
    """The table's header, of which astropy shows the image's part alone."""
    file.seek(info["hdrLoc"])
    return fits.Header.fromstring(file.read(info["datLoc"] - info["hdrLoc"]))


def broken(path: Path | RemotePath, what: str) -> InputError:
    return InputError(f"{path}: broken compressed image, {what}; fetch it again, or check with fitsverify")


def known_codec(table: Table) -> str:
    codec = table.header.get("ZCMPTYPE")
    if codec not in CHECKS:
        raise broken(table.path, f"ZCMPTYPE is {printable(str(codec))}, must be one of {', '.join(CHECKS)}")
    return codec


def whole(header: fits.Header, key: str, least: int, most: int, path, default: int | None = None) -> int:
    """The header's whole number of that key."""
    value = header.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise broken(path, f"{key} is {printable(str(value))[:40]}, must be a whole number from {least} to {most}")
    return value


def tile_shapes(header: fits.Header, rows: int, path: Path | RemotePath) -> np.ndarray:
    """(n, axes) of the tiles in the table's order, slowest axis first; those at the image's edges are cut."""
    axes = range(whole(header, "ZNAXIS", 1, 999, path), 0, -1)
    sides = [whole(header, f"ZNAXIS{i}", 1, LARGEST, path) for i in axes]
    tiles = [whole(header, f"ZTILE{i}", 1, LARGEST, path) for i in axes]
    number = math.prod(math.ceil(side / tile) for side, tile in zip(sides, tiles))
    if number != rows:
        raise broken(path, f"{rows} rows for {number} tiles, must be one each")
    along = [np.minimum(tile, side - np.arange(0, side, tile)) for side, tile in zip(sides, tiles)]
    return np.stack(np.meshgrid(*along, indexing="ij"), -1).reshape(-1, len(along))


def check_tiles(table: Table, pixel_bytes: int) -> None:
    if (most := math.prod(map(int, table.shapes[0]))) * pixel_bytes > LARGEST:
        raise broken(table.path, f"a tile of {most} pixels, must be {LARGEST // pixel_bytes} or fewer")


def check_dither(table: Table, names: list[str]) -> None:
    """Where the random numbers begin that quantised floats were moved by."""
    if "ZSCALE" in names and "ZDITHER0" in table.header:
        whole(table.header, "ZDITHER0", 0, DITHERS, table.path)


def streams_of(name: str, hdu: fits.CompImageHDU, table: Table) -> Streams:
    form, found = str(hdu.compressed_data.columns[name].format), np.asarray(hdu.compressed_data[name])
    kind = FORM.fullmatch(form)
    if kind is None or found.shape != (len(table.shapes), 2):
        raise broken(table.path, f"column {name} has format {printable(form)}, must be 1PB, 1QB or the like")
    number, offset = found.astype(np.int64).T * (found[:, 0] != 0)  # where there is no stream its place means nothing
    size = number * BYTES[kind[1]]
    if not ((number >= 0) & (offset >= 0) & (number <= table.room) & (offset <= table.room) & (size + offset <= table.room)).all():
        raise broken(table.path, f"column {name} points outside of its heap of {table.room} bytes")
    return Streams(size, table.heap + offset, kind[1])


def setting(table: Table, name: str, most: int, default: int) -> int:
    """Of the codec, in ZVALn, where ZNAMEn is its name."""
    for i in range(1, 1000):
        if f"ZNAME{i}" not in table.header:
            break
        if str(table.header[f"ZNAME{i}"]).lower() == name.lower():
            return whole(table.header, f"ZVAL{i}", 1, most, table.path)
    return default


def check_rice(streams: Streams, table: Table) -> None:
    """Each block has the bits with which it begins, and its pixels are so few that there is room for them after the end."""
    block, width = setting(table, "BLOCKSIZE", LONGEST_BLOCK, 32), setting(table, "BYTEPIX", 4, 4)
    if width not in RICE_BITS:
        raise broken(table.path, f"BYTEPIX is {width}, must be 1, 2 or 4")
    least = width - (-(-table.pixels // block) * RICE_BITS[width]) // -8
    refuse_short(streams, least, table)


def refuse_short(streams: Streams, least: np.ndarray | int, table: Table) -> None:
    short = (streams.size > 0) & (streams.size < least)
    if short.any():
        tile = int(short.argmax())
        raise broken(table.path, f"tile {tile + 1} has {streams.size[tile]} bytes, too few for its {table.pixels[tile]} pixels")


def refuse_letter(streams: Streams, letter: str, table: Table) -> None:
    if streams.letter != letter:
        raise broken(table.path, f"{table.header['ZCMPTYPE']} in a column of type {streams.letter}, must be {letter}")


def check_plio(streams: Streams, table: Table) -> None:
    """A line list states its length, and where in it the instructions begin; the last has no further word to take."""
    refuse_letter(streams, "I", table)
    refuse_short(streams, 2 * PLIO_HEAD, table)
    for tile in np.flatnonzero(streams.size):
        words = np.frombuffer(streams.read(table.file, tile), ">i2")
        length, first = plio_extent(words) if len(words) >= PLIO_HEAD else (1, -1)
        if first < 0 or length > len(words) or (length > first and words[length - 1] >> 12 == 1):
            raise broken(table.path, f"tile {tile + 1} is no line list of {len(words)} words")


def plio_extent(words: np.ndarray) -> tuple[int, int]:
    """Words of a line list, and how many of them come before its instructions."""
    if words[2] > 0:
        return int(words[2]), 3
    return (int(words[4]) << 15) + int(words[3]), int(words[1])


def check_gzip(streams: Streams, table: Table) -> None:
    """A stream that could unfold to more than memory unfolds to its pixels."""
    for tile in np.flatnonzero(streams.size * GZIP_RATIO > MOST_UNFOLDED):
        left = 8 * int(table.pixels[tile])
        with gzip.open(io.BytesIO(streams.read(table.file, tile))) as unfolding:
            while part := unfolding.read(2**20):
                left -= len(part)
                if left < 0:
                    raise broken(table.path, f"tile {tile + 1} unfolds to more than its {table.pixels[tile]} pixels")


def check_hcompress(streams: Streams, table: Table) -> None:
    """Each stream states the size of its tile, to which its decoder writes."""
    refuse_letter(streams, "B", table)
    refuse_short(streams, HCOMPRESS_HEAD.itemsize, table)
    for tile in np.flatnonzero(streams.size):
        content = streams.read(table.file, tile)[: HCOMPRESS_HEAD.itemsize].ljust(HCOMPRESS_HEAD.itemsize, b"\0")
        head = np.frombuffer(content, HCOMPRESS_HEAD)[0]
        sides = [side for side in table.shapes[tile] if side != 1]
        if head["magic"] != HCOMPRESS_MAGIC or head["sides"].tolist() != sides:
            raise broken(table.path, f"tile {tile + 1} is not of {' x '.join(map(str, sides[::-1]))} pixels by its own head")


def check_nothing(streams: Streams, table: Table) -> None:
    """For NumPy looks at it."""


CHECKS = {
    "RICE_1": check_rice,
    "RICE_ONE": check_rice,
    "GZIP_1": check_gzip,
    "GZIP_2": check_gzip,
    "PLIO_1": check_plio,
    "HCOMPRESS_1": check_hcompress,
    "NOCOMPRESS": check_nothing,
}
OTHERS = {"GZIP_COMPRESSED_DATA": check_gzip, "UNCOMPRESSED_DATA": check_nothing}
RICE = ("RICE_1", "RICE_ONE")
DIES = ("HCOMPRESS_1", *(() if hold_rice() else RICE))  # codecs whose decoders read on beyond a damaged stream, as far as that leads them
