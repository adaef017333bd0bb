"""Tile-compressed images: sound ones are read by every codec, what their decoders would stumble over is refused before."""

import gzip
import io
import os
import random
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits.hdu.compressed import _codecs

from astroyolo_cli.apart import read_apart
from astroyolo_cli.compressed import DIES
from astroyolo_cli.errors import InputError
from astroyolo_cli.inputs import resolve
from astroyolo_cli.read import read_field
from astroyolo_cli.region import Region
from astroyolo_cli.rice import LONGEST_BLOCK, ROOM, held, hold_rice
from hostile_files import BLOCK, SHAPE, image, packed_tiles, tile_compressed, tile_damaged, with_card, with_words

pytestmark = pytest.mark.filterwarnings("ignore::astroyolo_cli.errors.AstroYOLOWarning")
CODECS = ("RICE_1", "GZIP_1", "GZIP_2", "PLIO_1", "HCOMPRESS_1", "NOCOMPRESS")


def read(path, **options):
    frame = read_field(resolve([str(path)])[0], **options)
    return frame.counts[frame.reference]


def saved(folder, content: bytes):
    path = folder / "a.fits.fz"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("shape", [(16, 50), (8, 25), SHAPE])
def test_the_pixels_are_those_that_were_written(tmp_path, codec, shape):
    pixels = np.round(10 * image()).astype(np.int32)
    path = saved(tmp_path, packed_tiles(pixels, compression_type=codec, tile_shape=shape))
    np.testing.assert_array_equal(read(path), pixels)
    np.testing.assert_array_equal(read(path, region=Region("10:30,5:25", (10, 30, 5, 25))), pixels)  # the margin is the rest of it


@pytest.mark.parametrize("codec", CODECS[:4])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32])
def test_integers_of_every_width(tmp_path, codec, kind):
    pixels = np.clip(np.round(image()), 0, 255).astype(kind)
    np.testing.assert_array_equal(read(saved(tmp_path, packed_tiles(pixels, compression_type=codec))), pixels)


@pytest.mark.parametrize("method", [-1, 1, 2])
@pytest.mark.parametrize("codec", ["RICE_1", "GZIP_2", "HCOMPRESS_1"])
def test_quantised_floats_are_as_astropy_reads_them(tmp_path, codec, method):
    path = saved(tmp_path, packed_tiles(image(), compression_type=codec, quantize_method=method, dither_seed=10_000))
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(read(path), hdus[1].data)
    assert np.abs(read(path) - image()).max() < 0.5


def test_tiles_that_do_not_quantise_lie_in_another_column(tmp_path):
    """A row that is a ramp has no noise to quantise by."""
    pixels = image()
    pixels[5] = np.arange(SHAPE[1])
    path = saved(tmp_path, packed_tiles(pixels, compression_type="RICE_1"))
    with fits.open(path, disable_image_compression=True) as hdus:
        assert len(hdus[1].data["GZIP_COMPRESSED_DATA"][5]) > 0
    np.testing.assert_array_equal(read(path)[5], pixels[5])


@pytest.mark.parametrize("codec", ["RICE_1", "PLIO_1", "HCOMPRESS_1"])
def test_a_compressed_image_may_be_packed_again(tmp_path, codec):
    path = tmp_path / "a.fits.gz"
    path.write_bytes(gzip.compress(tile_compressed(codec)))
    np.testing.assert_array_equal(read(path), np.round(10 * image()))


DAMAGED = dict(tile_damaged())


@pytest.mark.parametrize("name", DAMAGED)
def test_what_decoders_stumble_over_is_refused(tmp_path, name):
    path = saved(tmp_path, DAMAGED[name])
    with pytest.raises(InputError) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path}: ") and str(refused.value).isprintable() and len(str(refused.value)) < 400


@pytest.mark.parametrize("codec", ["RICE_1", "GZIP_1", "PLIO_1"])
def test_damage_anywhere_is_refused_or_read(tmp_path, codec):
    """The process goes on; bytes of header, descriptors and streams are changed at random, more of them where streams begin."""
    whole, chance = tile_compressed(codec), random.Random(codec)
    for _ in range(150):
        changed = bytearray(whole)
        for _ in range(chance.choice([1, 2, 30])):
            changed[chance.randrange(BLOCK, len(whole))] = chance.choice([0, 255, chance.randrange(256)])
        try:
            read(saved(tmp_path, bytes(changed)))
        except InputError as error:
            assert str(error).isprintable()


def rice_streams(width: int, block: int):
    """Rice streams, cut and damaged, with zeros in many places; the number of pixels each is said to have."""
    chance = np.random.default_rng([width, block])
    for spread in (0.4, 5, 90):
        pixels = np.round(np.cumsum(chance.normal(0, spread, 600))).astype(f"i{width}")
        whole = _codecs.compress_rice_1_c(pixels.tobytes(), block, width)
        for _ in range(150):
            stream = bytearray(whole[: chance.integers(1, len(whole) + 1)])
            first, zeros = chance.integers(len(stream)), chance.integers(40)
            stream[first : first + zeros] = bytes(zeros)
            for place in chance.integers(len(stream), size=chance.integers(6)):
                stream[place] = chance.choice([0, 1, 255, chance.integers(256)])
            yield bytes(stream)


def result_of(decode, *arguments):
    try:
        return decode(*arguments)
    except Exception as error:  # of the decoder's own kind
        return str(error)


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("block", [16, 32, LONGEST_BLOCK])
def test_the_rice_decoder_takes_nothing_from_beyond_its_room(width, block):
    """Whatever lies there, what it gives is the same."""
    decode, ended = _codecs.decompress_rice_1_c.unheld, 0
    for stream in rice_streams(width, block):
        beyond = (np.frombuffer(stream + ROOM + bytes([value]) * 9000, np.uint8)[: len(stream)] for value in (0, 1, 85, 255))
        results = {result_of(decode, one, block, width, 600) for one in beyond} | {result_of(held(decode), stream, block, width, 600)}
        assert len(results) == 1
        ended += "hit end" in str(results)
    assert ended > 100


AT_THE_END = """
import mmap, sys
import numpy as np
from astropy.io.fits.hdu.compressed import _codecs
from astroyolo_cli import compressed

decode = getattr(_codecs.decompress_rice_1_c, sys.argv[1], _codecs.decompress_rice_1_c)
whole = _codecs.compress_rice_1_c(np.arange(900, dtype=np.int32).tobytes(), 32, 4)
stream = (whole + bytes(4096))[: mmap.PAGESIZE]
with open(sys.argv[2], "w+b") as file:
    file.truncate(2 * mmap.PAGESIZE)
    memory = mmap.mmap(file.fileno(), 2 * mmap.PAGESIZE)
    memory[: mmap.PAGESIZE] = stream
    file.truncate(mmap.PAGESIZE)  # whoever reads the second page dies
given = np.frombuffer(memory, np.uint8)[: mmap.PAGESIZE]
try:
    decode(given if sys.argv[1] == "unheld" else given.tobytes(), 32, 4, 9_000_000)
except Exception as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what lies beyond a mapped file is the system's own affair")
def test_a_stream_at_the_end_of_memory_ends_no_process(tmp_path):
    def run(name):
        return subprocess.run([sys.executable, "-c", AT_THE_END, name, str(tmp_path / "memory")], capture_output=True, text=True)

    assert run("unheld").returncode < 0, "the fault that rice.py is there for"
    ended = run("held")
    assert ended.returncode == 0 and "hit end" in ended.stdout, ended.stderr


def test_an_astropy_whose_decoder_is_elsewhere_is_seen(monkeypatch):
    assert "RICE_1" not in DIES and hold_rice()
    monkeypatch.delattr(_codecs, "decompress_rice_1_c")
    assert not hold_rice()


@pytest.mark.parametrize("place, value", [(4, 20_000), (8, 20_000), (4, 0)])
def test_a_decoder_that_dies_is_one_line(tmp_path, place, value):
    """Without the check before it: sides of a stream that are not those of its tile, which end in another process."""
    path = saved(tmp_path, with_words(tile_compressed("HCOMPRESS_1"), place, (value,)))
    with pytest.raises(RuntimeError) as died:
        read_apart(path, 1, (slice(0, SHAPE[0]), slice(0, SHAPE[1])))
    assert str(died.value).isprintable()


def test_modules_of_the_folder_are_not_run_by_the_other_process(tmp_path, monkeypatch):
    path = saved(tmp_path, tile_compressed("HCOMPRESS_1"))
    for name in ("numpy.py", "astropy.py", "io.py"):
        (tmp_path / name).write_text("open('ran', 'w')")
    monkeypatch.chdir(tmp_path)
    read(path)
    assert not (tmp_path / "ran").exists()


def test_other_codecs_are_named(tmp_path):
    whole = tile_compressed("RICE_1")
    path = saved(tmp_path, whole[:BLOCK] + with_card(whole[BLOCK:], "ZCMPTYPE", "'BROTLI'"))
    with pytest.raises(InputError, match="BROTLI"):
        read(path)


def test_large_gzip_tiles_are_read(tmp_path):
    """Whose streams could unfold to more than memory has, and do not."""
    pixels = np.random.default_rng(0).integers(0, 2**31, (400, 400)).astype(np.int32)
    path = saved(tmp_path, packed_tiles(pixels, compression_type="GZIP_1", tile_shape=(400, 400)))
    assert os.path.getsize(path) > 600_000
    np.testing.assert_array_equal(read(path), pixels.astype(np.float32))


def test_a_packed_file_is_measured_as_it_is_stored(tmp_path):
    """Zeros unfold a thousandfold: by the bytes that they unfold to, a small file could claim any number of pixels."""
    form = {"ZIMAGE": True, "ZBITPIX": -32, "ZNAXIS": 2, "ZNAXIS1": 90_000, "ZNAXIS2": 90_000}
    table = fits.BinTableHDU(np.zeros(2_500_000, [("COMPRESSED_DATA", "i4", 2)]), fits.Header(form))
    whole = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(whole)
    path = tmp_path / "frame.fits.gz"
    path.write_bytes(gzip.compress(whole.getvalue()))
    with pytest.raises(InputError, match=f"claims 32400000000 bytes of pixels in a file of {path.stat().st_size}"):
        read_field(resolve([str(path)])[0])
