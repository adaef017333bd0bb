"""Files as strangers, bad disks and bad programs make them: some hundred, made in memory, the same each time."""

from __future__ import annotations

import bz2
import gzip
import io
import random
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from astropy.io import fits
from PIL import Image

from conftest import star, tan_wcs

SHAPE = (40, 50)
CUTS = (0, 1, 3, 80, 300, 700, 2000, 2879, 2881, 5000, 0.5, 0.9, -1)  # bytes, or a part of the file, or from the end
FLIPS = 12
BLOCK, CARD = 2880, 80


def image(shape=SHAPE) -> np.ndarray:
    rng = np.random.default_rng(4)
    return (rng.normal(10, 1, shape) + star(shape, 28, 20, 4, 900)).astype(np.float32)


def fits_bytes(*hdus) -> bytes:
    stream = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(stream, output_verify="ignore")
    return stream.getvalue()


def plain_fits(pixels=None, header=None) -> bytes:
    return fits_bytes(fits.PrimaryHDU(image() if pixels is None else pixels, tan_wcs(25, 20).to_header() if header is None else header))


def tile_compressed(kind: str, **options) -> bytes:
    pixels = np.round(10 * image()).astype(np.int32)
    return packed_tiles(pixels, compression_type=kind, **options)


def packed_tiles(pixels: np.ndarray, **options) -> bytes:
    return fits_bytes(fits.PrimaryHDU(), fits.CompImageHDU(pixels, tan_wcs(25, 20).to_header(), **options))


def picture(kind: str, mode: str = "L", **options) -> bytes:
    stream = io.BytesIO()
    grey = np.clip(image() * 6, 0, 255)
    pixels = {"L": grey.astype(np.uint8), "RGB": np.stack([grey] * 3, 2).astype(np.uint8), "I;16": (grey * 200).astype(np.uint16)}[mode]
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def sound() -> dict[str, bytes]:
    """Ending -> a file that is as it should be."""
    whole = plain_fits()
    return {
        ".fits": whole,
        ".fits.gz": gzip.compress(whole, mtime=0),
        ".fits.bz2": bz2.compress(whole),
        "-rice.fits.fz": tile_compressed("RICE_1"),
        "-gzip.fits.fz": tile_compressed("GZIP_2"),
        "-hcompress.fits.fz": tile_compressed("HCOMPRESS_1"),
        "-plio.fits.fz": tile_compressed("PLIO_1"),
        ".png": picture("PNG"),
        "-16bit.png": picture("PNG", "I;16"),
        ".jpg": picture("JPEG", "RGB"),
        ".tif": picture("TIFF"),
        "-packed.tif": picture("TIFF", "RGB", compression="tiff_lzw"),
    }


def hostile() -> Iterator[tuple[str, bytes]]:
    """Name of a file, and what is in it."""
    for part in (cut, flipped, carded, tile_carded, tile_damaged, filled, broken_wcs, disguised, bombs, structures):
        yield from ((f"{part.__name__}-{name}", content) for name, content in part())


def cut():
    """The first bytes of a file alone."""
    for ending, whole in sound().items():
        for place in CUTS:
            length = int(place * len(whole)) if isinstance(place, float) else place % len(whole)
            yield f"{place if place != -1 else 'last'}{ending}", whole[:length]


def flipped():
    """One bit is another, in the first bytes as often as in the rest."""
    for ending, whole in sound().items():
        chance = random.Random(ending)
        for number in range(FLIPS):
            place = chance.randrange(min(len(whole), 1500) if number % 2 else len(whole))
            changed = bytearray(whole)
            changed[place] ^= 1 << chance.randrange(8)
            yield f"{number}{ending}", bytes(changed)


def with_card(whole: bytes, key: str, value: str) -> bytes:
    """A FITS file with the first card of a key replaced, or this one added before END, unchecked."""
    card = (f"{key:8}= {value}" if value is not None else key).encode("latin-1")[:CARD].ljust(CARD)
    place = next((i for i in range(0, len(whole), CARD) if whole[i : i + 8] == key.encode("latin-1")[:8].ljust(8)), None)
    if place is not None:
        return whole[:place] + card + whole[place + CARD :]
    end = next(i for i in range(0, len(whole), CARD) if whole[i : i + 8].strip() == b"END")
    room = BLOCK - end % BLOCK > CARD
    return whole[:end] + card + b"END".ljust(CARD) + whole[end + (2 * CARD if room else CARD) :]


ABSURD_CARDS = {
    "SIMPLE": ("F", "'yes'", "", "1", "T   T"),
    "BITPIX": ("0", "7", "-31", "8", "64", "'-32'", "-32.5", "99999999999999999999", "T", ""),
    "NAXIS": ("0", "1", "3", "999", "1000", "-1", "'2'", "2.5", "99999999999", ""),
    "NAXIS1": ("0", "-50", "49", "51", "999999999", "99999999999999999999", "'50'", "1E9", "50.5", "", "T"),
    "NAXIS2": ("0", "-1", "2147483648", "4294967296", "9223372036854775807", "99999999999"),
    "BSCALE": ("0.0", "NaN", "'NaN'", "1E400", "-1.0", "1E308", "'x'", "(1.0, 2.0)", ""),
    "BZERO": ("NaN", "1E39", "1E400", "'x'", "(1, 2)", "32768"),
    "BLANK": ("0", "1.5", "'x'", "99999999999999", "NaN"),
    "BUNIT": ("'\xb5Jy'", "'" + "=1+1" + "'", "17", "'counts", "'nmgy&<script>'"),
    "FILTER": ("'../../r'", "'r\x00'", "3", "'=cmd()'", "''", "'rrrrrrrrrrrrrrrrrrr'", "'<script>alert(1)</script>'"),
    "GAIN": ("0", "-1", "NaN", "1E400", "'x'", "(1.0, 1.0)"),
    "SATURATE": ("-5", "NaN", "'x'", "1E-300"),
    "MAGZERO": ("NaN", "1E400", "'25'", "1E30", "T"),
    "FLUXMAG0": ("0", "-1", "1E-320", "1E400"),
    "PHOTFLAM": ("1E-320", "NaN"),
    "BANDS": ("'grz'", "17", "'\xff\xfe'"),
    "GROUPS": ("T",),
    "PCOUNT": ("-1", "99999999999", "'x'"),
    "GCOUNT": ("0", "-1", "99999999999"),
    "EXTEND": ("'x'", "F"),
    "DATE-OBS": ("'99999-99-99'", "NaN", "'\x1b[31mred'"),
    "MJD-OBS": ("NaN", "1E400", "'x'"),
    "CONTINUE": ("'no start'",),
    "CHECKSUM": ("'0000000000000000'",),
    "END": ("1",),
    "XTENSION": ("'IMAGE'",),
}
RAW_CARDS = (
    "HIERARCH ESO DET = ", "HIERARCH = = =", "HIERARCH " + "A" * 71, "CONTINUE  'lost string&'", "COMMENT \xe9\xe8\xff",
    "HISTORY \x00\x01\x02", "\xff\xff\xff", "KEY\x1b[2J = 1", "lower   = 1", "KEY WITH SPACES= 1", "= 1", "BSCALE =1",
    "AAAAAAAA= 'no end of string", "EQUINOX =  / 2000",
)  # fmt: skip


def carded():
    """A header that says what cannot be."""
    for key, values in ABSURD_CARDS.items():
        for number, value in enumerate(values):
            yield f"{key}-{number}.fits", with_card(plain_fits(), key, value)
    for number, card in enumerate(RAW_CARDS):
        yield f"raw-{number}.fits", with_card(plain_fits(), card, None)
    many_axes = with_card(plain_fits(), "NAXIS", "99999999999")  # and an END that astropy takes for one
    yield "axes-odd-end.fits", many_axes.replace(b"END".ljust(CARD), b"END".ljust(CARD - 1) + b"`")


TILE_CARDS = {
    "ZTILE1": ("0", "-1", "99999999", "2147483648", "49", "'x'", ""),
    "ZTILE2": ("0", "40", "99999999999"),
    "ZNAXIS": ("0", "1", "3", "999", "-1", "'x'"),
    "ZNAXIS1": ("0", "-50", "49", "999999", "99999999999", "'x'"),
    "ZNAXIS2": ("0", "41", "999999", "9223372036854775807"),
    "ZBITPIX": ("0", "8", "-64", "7", "'x'"),
    "ZCMPTYPE": ("'NONE'", "'GZIP_1'", "'PLIO_1'", "'HCOMPRESS_1'", "'RICE_ONE'", "5"),
    "ZIMAGE": ("F", "'x'"),
    "ZNAME1": ("'BLOCKSIZE'", "'NOISEBIT'", "'x'"),
    "ZVAL1": ("0", "-1", "2147483647", "'x'"),
    "ZVAL2": ("0", "3", "8"),
    "ZQUANTIZ": ("'SUBTRACTIVE_DITHER_1'", "'x'"),
    "TFORM1": ("'1PB(0)'", "'1QB(99999999)'", "'0A'", "'9999999999J'", "'PB'", "'1PJ(9)'", "3"),
    "TFIELDS": ("0", "2", "999", "-1"),
    "PCOUNT": ("0", "-1", "99999999999"),
    "NAXIS1": ("0", "7", "99999999"),
    "NAXIS2": ("0", "39", "99999999"),
    "TTYPE1": ("'x'",),
}


def tile_carded():
    """A tile-compressed image whose header says what cannot be."""
    primary, packed = (part for part in (tile_compressed("RICE_1")[:BLOCK], tile_compressed("RICE_1")[BLOCK:]))
    for key, values in TILE_CARDS.items():
        for number, value in enumerate(values):
            yield f"{key}-{number}.fits.fz", primary + with_card(packed, key, value)


def tile_damaged():
    """Compressed tiles that would have their decoder write or read where it must not, or for hours."""
    rice, gzipped, plio, hcompress = (tile_compressed(kind) for kind in ("RICE_1", "GZIP_1", "PLIO_1", "HCOMPRESS_1"))
    for name, tile, number, offset in (
        ("long", 3, 99_999, 0), ("negative", 3, -1, 0), ("far", 3, 40, 2**31 - 1), ("before", 3, 40, -5000), ("short", 3, 3, 0),
        ("none", 3, 0, 0),
    ):  # fmt: skip
        yield f"{name}-rice.fits.fz", with_descriptor(rice, tile, number, offset)
    yield "long-plio.fits.fz", with_descriptor(plio, 0, 99_999, 0)
    yield "short-plio.fits.fz", with_descriptor(plio, 0, 4, 0)
    yield "short-hcompress.fits.fz", with_descriptor(hcompress, 0, 20, 0)
    shared = rice
    for tile in range(SHAPE[0]):
        shared = with_descriptor(shared, tile, 1000, 0)
    yield "shared-rice.fits.fz", shared
    for name, place, values in (
        ("magic", 0, (0x1F8B,)), ("rows", 4, (20_000,)), ("columns", 8, (20_000,)), ("no-rows", 4, (0,)), ("negative", 2, (0xFFFF, 0xFFF0)),
        ("swapped", 2, (0, 50, 0, 16)), ("all", 2, (0x7FFF, 0xFFFF, 0x7FFF, 0xFFFF)),
    ):  # fmt: skip
        yield f"{name}-hcompress.fits.fz", with_words(hcompress, place, values)
    for name, place, values in (
        ("longer", 6, (32_767,)), ("longest", 6, (32_767, 32_767)), ("begins-before", 2, (0x8000,)), ("old-longer", 4, (32_767,)),
    ):  # fmt: skip
        yield f"{name}-plio.fits.fz", with_words(plio, place, values)
    yield "last-word-plio.fits.fz", with_words(plio, 6, (9, 0, 0, 0, 0, 0x1001))
    floats = packed_tiles(image(), compression_type="RICE_1", quantize_method=1, dither_seed=7)
    for number, value in enumerate(("-1", "-9000", "10001", "99999999999", "'x'", "1.5")):
        yield f"dither-{number}.fits.fz", floats[:BLOCK] + with_card(floats[BLOCK:], "ZDITHER0", value)
    for key, value in (("BYTEPIX", "8"), ("BLOCKSIZE", "0"), ("BLOCKSIZE", "-32"), ("BLOCKSIZE", "2147483647"), ("BLOCKSIZE", "32.0")):
        yield f"{key}{value}.fits.fz", rice[:BLOCK] + with_card(rice[BLOCK:], "ZVAL1" if key == "BLOCKSIZE" else "ZVAL2", value)
    for key, value in (("THEAP", "0"), ("THEAP", "2000"), ("THEAP", "-320"), ("PCOUNT", "3"), ("ZCMPTYPE", "'PLIO_1'"), ("ZTILE1", "25")):
        yield f"{key}{value.strip(chr(39))}.fits.fz", rice[:BLOCK] + with_card(rice[BLOCK:], key, value)
    yield "as-plio.fits.fz", gzipped[:BLOCK] + with_card(gzipped[BLOCK:], "ZCMPTYPE", "'PLIO_1'")


def data_start(whole: bytes) -> int:
    """Of the first extension."""
    with fits.open(io.BytesIO(whole), disable_image_compression=True) as hdus:
        return hdus[1].fileinfo()["datLoc"]


def with_descriptor(whole: bytes, tile: int, number: int, offset: int) -> bytes:
    """A tile's stream is said to have that many elements and to lie there, in a table of one column."""
    place = data_start(whole) + 8 * tile
    return whole[:place] + struct.pack(">ii", number, offset) + whole[place + 8 :]


def with_words(whole: bytes, place: int, values: tuple[int, ...]) -> bytes:
    """The heap's 16-bit words from that byte on, in a table of one column."""
    with fits.open(io.BytesIO(whole), disable_image_compression=True) as hdus:
        place += data_start(whole) + hdus[1].header["NAXIS1"] * hdus[1].header["NAXIS2"]
    return whole[:place] + struct.pack(f">{len(values)}H", *values) + whole[place + 2 * len(values) :]


def filled():
    """Pixels that no sky has."""
    empty = fits.Header()
    some = image()
    some[3] = np.nan
    some[:, 7] = np.inf
    large = np.array([0, 1e38, -1e38, 3.4e38], np.float32)
    yield "nan.fits", plain_fits(np.full(SHAPE, np.nan, np.float32), empty)
    yield "inf.fits", plain_fits(np.full(SHAPE, -np.inf, np.float32), empty)
    yield "some-inf.fits", plain_fits(some, empty)
    for value in (0, 1, -7.5, 3.4e38, 1e-45):
        yield f"constant{value:g}.fits", plain_fits(np.full(SHAPE, value, np.float32), empty)
    for shape in (
        (1, 1),
        (1, 2),
        (2, 1),
        (3, 3),
        (1, 100_000),
        (100_000, 1),
        (1, 1, 1, 5, 5),
        (3, 1, 1),
        (2, 7, 9),
        (4, 30, 30),
        (2, 3, 9, 9),
    ):
        yield f"shape{'x'.join(map(str, shape))}.fits", plain_fits(np.resize(image(), shape), empty)
    yield "huge.fits", plain_fits(np.resize(large, SHAPE), empty)
    yield "huge64.fits", plain_fits(image().astype(float) * 1e300, empty)
    yield "tiny.fits", plain_fits(image() * np.float32(1e-40), empty)
    yield "one-good.fits", plain_fits(np.where(np.arange(2000).reshape(SHAPE) == 77, np.float32(5), np.float32(np.nan)), empty)
    yield "two-values.fits", plain_fits((image() > 10).astype(np.uint8), empty)
    yield "int64.fits", plain_fits(np.full(SHAPE, 2**62) + np.arange(50), empty)
    yield "spike.fits", plain_fits(np.where(image() > 80, np.float32(1e30), image()), empty)


def broken_wcs():
    """Headers at which wcslib and astropy stumble; the pixels are good."""
    good = tan_wcs(25, 20).to_header()
    changes = [
        {"CTYPE1": "RA---XXX", "CTYPE2": "DEC--XXX"}, {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--SIN"},
        {"CTYPE1": "RA---TAN", "CTYPE2": "RA---TAN"}, {"CTYPE1": "GLON-TAN", "CTYPE2": "DEC--TAN"},
        {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 99},
        {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2}, {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": "x"},
        {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_999": 1.0}, {"CTYPE1": "RA---ZPN", "CTYPE2": "DEC--ZPN"},
        {"CD1_1": 0.0, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.0}, {"CD1_1": 1e-4, "CD1_2": 1e-4, "CD2_1": 1e-4, "CD2_2": 1e-4},
        {"PC1_1": 0.0, "PC2_2": 0.0}, {"CDELT1": 0.0}, {"CDELT1": 1e300}, {"CRPIX1": 1e300}, {"CRVAL2": 400.0}, {"CRVAL2": -91.0},
        {"CRVAL1": "x"}, {"CUNIT1": "parsec"}, {"CUNIT1": "bananas", "CUNIT2": "deg"}, {"LONPOLE": 1e9}, {"LATPOLE": -999.0},
        {"WCSAXES": 7}, {"WCSAXES": -1}, {"WCSAXES": 0}, {"EQUINOX": -4000.0}, {"EQUINOX": "x"}, {"RADESYS": "FK9"},
        {"NAXIS3": 5, "CTYPE3": "FREQ", "CDELT3": 0.0}, {"CPDIS1": "LOOKUP", "DP1": "EXTVER: 1.0"}, {"CPERR1": 1.0, "D2IMDIS1": "LOOKUP"},
        {"PV2_1": 1e300}, {"CTYPE1": "", "CTYPE2": ""}, {"CTYPE1": "RA---COE", "CTYPE2": "DEC--COE", "PV2_1": 0.0},
        {"CTYPE1": "RA---TAB", "CTYPE2": "DEC--TAB", "PS1_0": "TABLE"},
    ]  # fmt: skip
    for number, change in enumerate(changes):
        header = good.copy()
        for key, value in change.items():
            header[key] = value
        yield f"{number}.fits", plain_fits(None, header)
    for key, value in (
        ("CRVAL1", "NaN"),
        ("CRPIX2", "1E400"),
        ("CDELT2", "NaN"),
        ("CTYPE1", "'RA---TAN"),
        ("CTYPE1", "5"),
        ("PC1_1", "NaN"),
    ):
        yield f"{key}-{value.strip(chr(39))}.fits", with_card(plain_fits(), key, value)


def disguised():
    """Other things under the names of images."""
    stream = io.BytesIO()
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(stream, "GIF")
    yield "gif.png", stream.getvalue()
    yield "eps.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch ran) (w) file\nshowpage\n"
    yield "svg.png", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"
    yield "zip.fits", zipped(plain_fits())
    yield "fits.png", plain_fits()
    yield "png.fits", picture("PNG")
    yield "gzip.fits", gzip.compress(plain_fits(), mtime=0)
    yield "plain.fits.gz", plain_fits()
    yield "text.fits.gz", gzip.compress(b"not an image\n" * 999, mtime=0)
    yield "zeros.fits", bytes(9000)
    yield "random.fits", random.Random(1).randbytes(20_000)
    yield "random.tif", b"II*\0" + random.Random(2).randbytes(20_000)
    yield "random.png", b"\x89PNG\r\n\x1a\n" + random.Random(3).randbytes(20_000)
    yield "table.fits", fits_bytes(fits.PrimaryHDU(), fits.BinTableHDU(np.zeros(9, [("a", "f4")])))
    yield "no-pixels.fits", fits_bytes(fits.PrimaryHDU())
    yield "html.fits", b"<html><body>404 not found</body></html>"
    yield "twice.fits.gz", 2 * gzip.compress(plain_fits(), mtime=0)
    yield "tail.fits.gz", gzip.compress(plain_fits(), mtime=0) + b"garbage after the end"
    yield "tail.fits", plain_fits() + b"garbage after the end"


def zipped(content: bytes) -> bytes:
    import zipfile

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.fits", content)
    return stream.getvalue()


def bombs():
    """Small files that claim or unfold to gigabytes."""
    zeros = gzip.compress(bytes(20_000_000), mtime=0)
    head = fits.Header({"SIMPLE": True, "BITPIX": 8, "NAXIS": 2, "NAXIS1": 90_000, "NAXIS2": 90_000}).tostring().encode()
    yield "zeros.fits.gz", gzip.compress(head, mtime=0) + 150 * zeros
    yield "tail.fits.gz", gzip.compress(plain_fits(), mtime=0) + 150 * zeros
    yield "claim.fits.gz", gzip.compress(head, mtime=0)
    yield "zeros.fits.bz2", bz2.compress(head) + 100 * bz2.compress(bytes(20_000_000))
    yield "zip.fits", zipped(head + bytes(200_000_000))
    yield "wide.png", png_of(90_000, 90_000)
    yield "wide.tif", tiff_of(90_000, 90_000)
    yield "strips.tif", tiff_of(20, 2_000_000, rows=40)
    yield "most.png", png_of(2**31 - 1, 2**31 - 1)
    packed = tile_compressed("RICE_1")
    sides = with_card(with_card(packed[BLOCK:], "ZNAXIS1", "90000"), "ZNAXIS2", "90000")
    yield "tiles.fits.fz", packed[:BLOCK] + sides
    yield "one-tile.fits.fz", packed[:BLOCK] + with_card(with_card(sides, "ZTILE1", "90000"), "ZTILE2", "90000")
    yield "gzip-tile.fits.fz", unfolding_tile()


def unfolding_tile() -> bytes:
    """A tile of 2000 pixels whose gzip stream holds 2 GB."""
    stream = gzip.compress(bytes(20_000_000), mtime=0) * 100
    whole = with_descriptor(tile_compressed("GZIP_1", tile_shape=SHAPE), 0, len(stream), 0)
    start = data_start(whole)
    return (
        whole[:BLOCK]
        + with_card(whole[BLOCK:start], "PCOUNT", str(len(stream)))
        + whole[start : start + 8]
        + stream.ljust(BLOCK * 700, b"\0")
    )


def png_of(width: int, height: int) -> bytes:
    """A PNG of that size whose pixels end soon."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1_000_000))) + chunk(b"IEND", b"")


def tiff_of(width: int, height: int, rows: int | None = None) -> bytes:
    """A grey TIFF of that size in one strip, most of which is missing; with ``rows`` the strip has so many, and the others are missing."""
    rows = rows or height
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 200), (277, 1), (278, rows), (279, width * rows % 2**32)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return (b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)).ljust(200, b"\0") + bytes(1000)


def structures():
    """Many and odd HDUs."""
    end, comment = b"END".ljust(CARD), b"COMMENT x".ljust(CARD)
    extension = fits_bytes(fits.PrimaryHDU(), fits.ImageHDU(np.zeros((1, 1), np.uint8)))[BLOCK:]
    yield "many.fits", plain_fits() + 10_000 * extension
    yield "many-empty.fits", fits_bytes(fits.PrimaryHDU()) + 10_000 * fits_bytes(fits.PrimaryHDU(), fits.ImageHDU())[BLOCK:]
    yield (
        "long-header.fits",
        with_card(plain_fits(), "COMMENT", "x").replace(b"END".ljust(CARD), 36_000 * comment + b"END".ljust(CARD)),
    )
    yield "no-end.fits", plain_fits().replace(end, b" " * CARD)
    yield "no-end-long.fits", plain_fits()[:BLOCK].replace(end, b" " * CARD) + 36_000 * comment
    yield "bad-second.fits", plain_fits() + random.Random(5).randbytes(BLOCK * 3)
    yield "same-keys.fits", with_card(plain_fits(), "NAXIS1  = 50", None)
