"""--region: that part of the frame alone is read, and its catalog is the whole frame's there."""

import bz2
import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Column, Table
from click.testing import CliRunner
from PIL import Image

from astroyolo_cli import packed
from astroyolo_cli.cli import cli
from astroyolo_cli.columns import BLENDED
from astroyolo_cli.errors import InputError
from astroyolo_cli.inputs import resolve
from astroyolo_cli.read import read_field
from astroyolo_cli.region import MARGIN, Region, degrees, in_part, in_whole_frame, parse_region
from conftest import star, tan_wcs


@pytest.mark.parametrize(
    "text, region",
    [
        ("10:20,30:50", Region("10:20,30:50", pixels=(10, 20, 30, 50))),
        ("150.5,-2,0.1", Region("150.5,-2,0.1", sky=(150.5, -2.0, 0.1))),
        (" 0 : 5, 1:2", Region(" 0 : 5, 1:2", pixels=(0, 5, 1, 2))),
    ],
)
def test_both_forms_are_read(text, region):
    assert parse_region(text) == region


def test_sizes_have_units():
    assert degrees("3arcmin") == pytest.approx(0.05) and degrees("90 arcsec") == pytest.approx(0.025) and degrees("0.2") == 0.2


@pytest.mark.parametrize(
    "text", ["", "1:2", "5:5,0:2", "-1:4,0:2", "1:2,3:x", "1,2", "400,0,1", "10,95,1", "10,5,-1", "10,5,3kg", "1:2,3:4,5:6"]
)
def test_what_means_nothing_is_said(text):
    with pytest.raises(ValueError, match="must be|count from 0"):
        parse_region(text)


@pytest.fixture(scope="module")
def frame_file(tmp_path_factory):
    """1400 x 1100 pixels with 120 stars and a WCS; also compressed by tiles."""
    rng = np.random.default_rng(8)
    image = rng.normal(50, 2, (1100, 1400)).astype(np.float32)
    for x, y, flux in zip(rng.uniform(20, 1380, 120), rng.uniform(20, 1080, 120), rng.uniform(600, 20000, 120)):
        low_x, low_y = max(int(x) - 20, 0), max(int(y) - 20, 0)
        part = image[low_y : low_y + 41, low_x : low_x + 41]
        part += star(part.shape, x - low_x, y - low_y, 4, flux).astype(np.float32)
    path = tmp_path_factory.mktemp("region") / "frame.fits"
    header = tan_wcs(700, 550).to_header()
    fits.writeto(path, image, header)
    fits.CompImageHDU(image, header, quantize_level=0, compression_type="GZIP_2").writeto(path.with_name("packed.fits.fz"))
    return path


@pytest.mark.parametrize("name", ["frame.fits", "packed.fits.fz"])
def test_pixels_and_sky_are_those_of_the_whole(frame_file, name):
    path = str(frame_file.with_name(name))
    whole, part = (read_field(resolve([path])[0], region=r) for r in (None, parse_region("600:800,500:520")))
    rows, columns = slice(500 - MARGIN, 520 + MARGIN), slice(600 - MARGIN, 800 + MARGIN)
    np.testing.assert_array_equal(part.counts["image"], whole.counts["image"][rows, columns])
    x, y = np.array([3.0, 400.0]), np.array([8.0, 90.0])
    assert part.wcs.pixel_to_world(x, y).separation(whole.wcs.pixel_to_world(x + columns.start, y + rows.start)).arcsec.max() < 1e-6


@pytest.mark.parametrize("most_kept", [packed.MOST_KEPT, 1000])
@pytest.mark.parametrize(("pack", "ending"), [(bz2, "bz2"), (gzip, "gz")])
def test_a_file_compressed_as_a_whole_is_unpacked_few_times(frame_file, tmp_path, pack, ending, most_kept, monkeypatch):
    path = tmp_path / f"frame.fits.{ending}"
    path.write_bytes(pack.compress(frame_file.read_bytes(), 1))
    streams = getattr(pack, "_compression", None) or pack._streams  # since Python 3.14
    rewinds, rewind = [], streams.DecompressReader._rewind
    monkeypatch.setattr(streams.DecompressReader, "_rewind", lambda self: rewinds.append(1) or rewind(self))
    monkeypatch.setattr(packed, "MOST_KEPT", most_kept)
    part = read_field(resolve([str(path)])[0], region=parse_region("600:800,500:520"))
    rows, columns = slice(500 - MARGIN, 520 + MARGIN), slice(600 - MARGIN, 800 + MARGIN)
    np.testing.assert_array_equal(part.counts["image"], fits.getdata(frame_file)[rows, columns])
    assert len(rewinds) < (1 if most_kept > 1000 else 20)  # one a row would be 532


def test_a_square_on_the_sky_is_where_it_says(frame_file):
    whole = read_field(resolve([str(frame_file)])[0])
    place = whole.wcs.pixel_to_world(410.2, 300.4)
    region = parse_region(f"{place.ra.deg},{place.dec.deg},30arcsec")  # 100 pixels
    x0, y0, x1, y1 = read_field(resolve([str(frame_file)])[0], region=region).part.core
    assert (x0 + x1) / 2 == pytest.approx(410.2, abs=1) and (y0 + y1) / 2 == pytest.approx(300.4, abs=1)
    assert x1 - x0 == pytest.approx(100, abs=2) and y1 - y0 == pytest.approx(100, abs=2)


def test_the_catalog_is_the_whole_frames_there(frame_file, tmp_path):
    for name, more in (("whole", []), ("part", ["--region", "500:1000,400:800"])):
        done = CliRunner().invoke(cli, ["detect", str(frame_file), "-o", str(tmp_path / f"{name}.fits"), *more])
        assert done.exit_code == 0, done.output
        assert ("region    500 x 400 pixels" if more else "field     1400 x 1100 pixels") in done.stderr
    whole, part = (Table.read(tmp_path / f"{name}.fits") for name in ("whole", "part"))
    inside = (whole["x"] >= 499.5) & (whole["x"] < 999.5) & (whole["y"] >= 399.5) & (whole["y"] < 799.5)
    whole = whole[inside & (whole["snr"] > 10)]
    apart = np.hypot(whole["x"][:, None] - part["x"][None], whole["y"][:, None] - part["y"][None])
    mate = apart.argmin(axis=1)
    assert len(whole) > 10 and apart.min(axis=1).max() < 0.1
    assert list(part["id"]) == list(range(1, len(part) + 1)) and part["x"].min() >= 499.5 and part["x"].max() < 999.5
    same = (part["flags"][mate] & BLENDED) == (whole["flags"] & BLENDED)  # with other pixels around it a close pair may be one source
    assert same.sum() >= len(whole) - 2
    alone = same & (whole["flags"] & BLENDED == 0)  # what a neighbour's light is taken for depends on its own box
    assert alone.sum() > len(whole) / 2
    np.testing.assert_allclose(part["flux"][mate][alone], whole["flux"][alone], rtol=0.02)
    np.testing.assert_allclose(part["flux"][mate][same], whole["flux"][same], rtol=0.1)
    np.testing.assert_allclose(part["ra"][mate], whole["ra"], atol=1e-5)
    np.testing.assert_allclose(part["xmin"][mate], whole["xmin"], atol=1.5)
    assert part.meta["REGION"] == "500:1000,400:800"


def test_bands_on_other_pixels_are_cut_by_their_wcs(tmp_path):
    rng, sky = np.random.default_rng(1), {}
    for band, shape, wcs in (("r", (900, 900), tan_wcs(450, 450)), ("g", (1000, 1000), tan_wcs(520, 480, angle=20))):
        sky[band] = rng.normal(0, 1, shape)
        x, y = wcs.world_to_pixel(tan_wcs(450, 450).pixel_to_world(620.0, 310.0))
        sky[band] += star(shape, float(x), float(y), 5, 5000)
        fits.writeto(tmp_path / f"f-{band}.fits", sky[band].astype(np.float32), wcs.to_header())
    field = resolve([str(tmp_path / "f-{band}.fits")], ("r", "g"))[0]
    frame = read_field(field, region=parse_region("600:640,300:320"), reference_band="r")
    assert frame.shape == (20 + 2 * MARGIN, 40 + 2 * MARGIN)
    for band in "rg":
        y, x = np.unravel_index(np.nanargmax(frame.counts[band]), frame.shape)
        assert (x + frame.part.x, y + frame.part.y) == pytest.approx((620, 310), abs=1)


def test_a_picture_is_cut_too(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (700, 900, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    frame = read_field(resolve([str(tmp_path / "p.png")])[0], region=parse_region("400:500,300:310"))
    np.testing.assert_allclose(frame.counts["R"], pixels[300 - MARGIN : 310 + MARGIN, 400 - MARGIN : 500 + MARGIN, 0] / 255, atol=1e-6)
    with pytest.raises(InputError, match="no WCS"):
        read_field(resolve([str(tmp_path / "p.png")])[0], region=parse_region("10,10,1"))


@pytest.mark.parametrize("text", ["5000:5100,0:10", "10,80,0.01", "330,-2,0.01"])
def test_outside_of_the_frame_is_said(frame_file, text):
    with pytest.raises(InputError, match="outside of the frame of 1400 x 1100"):
        read_field(resolve([str(frame_file)])[0], region=parse_region(text))


def test_maps_are_cut_alike(frame_file, tmp_path):
    mask = np.zeros((1100, 1400), np.int16)
    mask[510, 700] = 1
    fits.writeto(tmp_path / "mask.fits", mask)
    frame = read_field(resolve([str(frame_file)])[0], region=parse_region("650:750,500:520"), mask=tmp_path / "mask.fits")
    y, x = np.nonzero(frame.survey_mask)
    assert (int(x[0]) + frame.part.x, int(y[0]) + frame.part.y) == (700, 510) and len(x) == 1


def test_numbered_anew_the_rows_are_still_described(frame_file):
    part = read_field(resolve([str(frame_file)])[0], region=parse_region("600:800,500:520")).part
    table = Table({name: [10.0, 300.0] for name in ("x", "xmin", "xmax")} | {name: [9.0, 260.0] for name in ("y", "ymin", "ymax")})
    table["id"] = Column([1, 2], dtype="i4", description="number", meta={"ucd": "meta.id"})
    found = in_whole_frame(table, part)["id"]
    assert found.tolist() == [1] and (found.dtype, found.description, found.meta) == (np.int32, "number", {"ucd": "meta.id"})


def test_drawing_undoes_the_shift(frame_file):
    part = read_field(resolve([str(frame_file)])[0], region=parse_region("600:800,500:520")).part
    table = Table(
        {name: [float(part.x + 300)] for name in ("x", "xmin", "xmax")} | {name: [float(part.y + 260)] for name in ("y", "ymin", "ymax")}
    )
    table["id"] = 7
    local = in_part(table, part)
    assert local["x"][0] == 300 and local["ymax"][0] == 260
    assert in_whole_frame(local, part)["x"][0] == table["x"][0] and in_part(table, None) is table
