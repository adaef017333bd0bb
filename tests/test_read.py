"""Reading, against files that astropy and Pillow wrote."""

import bz2
import gzip
import warnings

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from astroyolo_cli.errors import AstroYOLOWarning, InputError
from astroyolo_cli.fill import without_fill
from astroyolo_cli.hdus import as_counts
from astroyolo_cli.inputs import field_of_folder, resolve
from astroyolo_cli.read import read_field
from conftest import star, tan_wcs

pytestmark = pytest.mark.filterwarnings("ignore::astroyolo_cli.errors.AstroYOLOWarning")


def counts(shape=(40, 50), seed=0):
    """Noise with one bright pixel at x = 30, y = 7."""
    image = np.random.default_rng(seed).normal(10, 1, shape).astype(np.float32)
    image[7, 30] = 500
    return image


def read(path, **options):
    return read_field(resolve([str(path)])[0], **options)


def only_band(frame):
    (band,) = frame.bands
    return frame.counts[band]


@pytest.mark.parametrize("ending, pack", [(".fits", bytes), (".fits.gz", gzip.compress), (".fits.bz2", bz2.compress)])
def test_plain_and_packed_files(tmp_path, ending, pack):
    fits.writeto(tmp_path / "a.fits", counts())
    path = tmp_path / f"b{ending}"
    path.write_bytes(pack((tmp_path / "a.fits").read_bytes()))
    image = only_band(read(path))
    np.testing.assert_array_equal(image, counts())
    assert image.dtype == np.float32 and image.dtype.isnative
    assert np.unravel_index(image.argmax(), image.shape) == (7, 30)  # row 0 of the file comes first


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2"])
def test_tile_compressed_images_lie_in_the_first_extension(tmp_path, kind):
    values = np.round(counts()).astype(np.int32)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(values, compression_type=kind)]).writeto(tmp_path / "a.fits.fz")
    np.testing.assert_array_equal(only_band(read(tmp_path / "a.fits.fz")), values)


def test_scaled_integers_and_blank(tmp_path):
    raw = np.random.default_rng(0).integers(0, 3000, (30, 30)).astype(np.int16)
    raw[4, 5] = -32768
    hdu = fits.PrimaryHDU(raw)
    hdu.header["BLANK"] = -32768
    hdu.writeto(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].header["BSCALE"], hdus[0].header["BZERO"] = 0.5, 100.0
    image = only_band(read(tmp_path / "a.fits"))
    assert np.isnan(image[4, 5])
    good = np.ones_like(raw, bool)
    good[4, 5] = False
    np.testing.assert_allclose(image[good], raw[good] * 0.5 + 100)


def test_unsigned_integers(tmp_path):
    raw = np.random.default_rng(0).integers(0, 65535, (30, 30)).astype(np.uint16)
    fits.writeto(tmp_path / "a.fits", raw)
    np.testing.assert_array_equal(only_band(read(tmp_path / "a.fits")), raw)


def test_the_first_image_is_read_unless_another_is_named(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])
    hdus = fits.HDUList([fits.PrimaryHDU(), table, fits.ImageHDU(counts(seed=1), name="SCI"), fits.ImageHDU(counts(seed=2), name="SECOND")])
    hdus.writeto(tmp_path / "a.fits")
    for hdu, seed in ((None, 1), ("3", 2), ("SECOND", 2), ("2", 1)):
        np.testing.assert_array_equal(only_band(read(tmp_path / "a.fits", hdu=hdu)), counts(seed=seed))
    for hdu in ("9", "NOPE", "1"):
        with pytest.raises(InputError, match="HDU"):
            read(tmp_path / "a.fits", hdu=hdu)


def test_bands_choose_planes_of_a_cube_and_name_those_of_one_without_names(tmp_path):
    cube = np.stack([counts(seed=i) + i for i in range(4)])
    fits.writeto(tmp_path / "griz.fits", cube, fits.Header({"BANDS": "griz"}))
    fits.writeto(tmp_path / "plain.fits", cube[:3])

    def bands_of(name, *bands):
        return read_field(resolve([str(tmp_path / name)], bands)[0])

    frame = bands_of("griz.fits", "z", "r", "g")
    assert frame.bands == ("z", "r", "g")
    for band, plane in (("z", 3), ("r", 1), ("g", 0)):
        np.testing.assert_array_equal(frame.counts[band], cube[plane])
    assert bands_of("griz.fits", "r").bands == ("r",)
    with pytest.raises(InputError, match="without band 'y', its planes are g, r, i, z"):
        bands_of("griz.fits", "y", "r")
    with pytest.raises(InputError, match="4 bands"):
        bands_of("griz.fits")
    named = bands_of("plain.fits", "z", "r", "g")
    np.testing.assert_array_equal(named.counts["z"], cube[2])
    np.testing.assert_array_equal(bands_of("plain.fits", "1").counts["1"], cube[1])


def test_what_a_primary_header_says_of_all_images_holds_for_an_extension(tmp_path):
    general = fits.Header({"FILTER": "r", "FLUXMAG0": 10**10.8, "GAIN": 3.0})
    for name, own, expected in (
        ("a", {}, ("r", 27.0, 3.0)),
        ("b", {"GAINA": 4.0, "PHOTZP": 30.0}, ("r", 30.0, 4.0)),
        ("c", {"INHERIT": False}, ("image", None, None)),
        ("d", {"FILTER1": "CLEAR1L", "FILTER2": "F814W"}, ("F814W", 27.0, 3.0)),
    ):  # fmt: skip
        image = fits.ImageHDU(counts(), fits.Header(own))
        fits.HDUList([fits.PrimaryHDU(header=general), image]).writeto(tmp_path / f"{name}.fits")
        frame = read(tmp_path / f"{name}.fits")
        band, zero_point, gain = expected
        assert frame.bands == (band,) and frame.zero_points.get(band) == (zero_point and pytest.approx(zero_point))
        assert frame.gain.get(band) == gain


@pytest.mark.parametrize(
    "cards, expected",
    [
        ({"GAIN": 2.0}, 2.0),
        ({"GAIN": 2.0, "BUNIT": "ADU"}, 2.0),
        ({"GAIN": 2.0, "BUNIT": "adu/s", "EXPTIME": 600.0}, 1200.0),
        ({"GAIN": 2.0, "BUNIT": "counts s-1"}, None),
        ({"GAIN": 2.0, "BUNIT": "electron"}, 1.0),
        ({"BUNIT": "ELECTRONS/S", "EXPTIME": 600.0}, 600.0),
        ({"GAIN": 2.0, "BUNIT": "cps", "EXPTIME": 10.0}, 20.0),
        ({"GAIN": 0.1, "BUNIT": "MJy/sr"}, None),  # of noise 1: a tenth of an electron a pixel
        ({"GAIN": 900.0, "BUNIT": "nanomaggy"}, 900.0),
        ({}, None),
    ],
)
def test_gain_is_of_the_images_unit(tmp_path, cards, expected):
    fits.writeto(tmp_path / "a.fits", counts(), fits.Header(cards))
    assert read(tmp_path / "a.fits").gain.get("image") == expected


def test_cores_at_the_headers_saturation_are_no_fill(tmp_path):
    image = counts((200, 200))
    image[50:80, 50:80] = 60.0
    fits.writeto(tmp_path / "a.fits", image)
    fits.writeto(tmp_path / "b.fits", image, fits.Header({"SATURATE": 60.0}))
    fits.writeto(tmp_path / "c.fits", image, fits.Header({"SATURATE": 20.0}))
    assert read(tmp_path / "c.fits").bad["image"][60, 60]
    assert read(tmp_path / "a.fits").bad["image"][60, 60] and not read(tmp_path / "b.fits").bad["image"].any()


def test_relative_weights_are_not_taken_for_inverse_variances(tmp_path):
    fits.writeto(tmp_path / "a.fits", counts())
    fits.writeto(tmp_path / "w.fits", np.full((40, 50), 7, np.float32))
    kinds = {kind: read(tmp_path / "a.fits", weight_map=tmp_path / "w.fits", weight_type=kind) for kind in ("invvar", "weight")}
    assert [frame.weights_are_relative for frame in kinds.values()] == [False, True]


def test_a_map_of_several_images_is_read_where_the_image_is(tmp_path):
    parts = [fits.ImageHDU(counts(seed=i), name=f"CCD{i}") for i in (1, 2)]
    masks = [fits.ImageHDU(np.full((40, 50), i == 1, np.float32), name=f"CCD{i}") for i in (1, 2)]
    masks[1].data[5] = np.nan  # no 0
    fits.HDUList([fits.PrimaryHDU(), *parts]).writeto(tmp_path / "a.fits")
    fits.HDUList([fits.PrimaryHDU(), *masks]).writeto(tmp_path / "m.fits")
    fits.HDUList([fits.PrimaryHDU(), masks[1]]).writeto(tmp_path / "one.fits")
    others = [fits.ImageHDU(mask.data, name=name) for mask, name in zip(masks[::-1], ("WHT", "CTX"))]
    fits.HDUList([fits.PrimaryHDU(), *others]).writeto(tmp_path / "other.fits")
    for mask, hdu in (("m.fits", "CCD2"), ("m.fits", "2"), ("one.fits", "2"), ("other.fits", "CCD2")):
        frame = read(tmp_path / "a.fits", mask=tmp_path / mask, hdu=hdu)
        assert np.flatnonzero(frame.survey_mask.all(axis=1)).tolist() == [5] and frame.survey_mask.sum() == 50
    with pytest.raises(InputError, match="no good pixel"):
        read(tmp_path / "a.fits", mask=tmp_path / "m.fits")


def test_bands_name_an_image_whose_header_does_not_and_are_noted_where_they_have_no_part(tmp_path):
    fits.writeto(tmp_path / "a.fits", counts())
    fits.writeto(tmp_path / "r.fits", counts(), fits.Header({"FILTER": "r"}))
    for name, bands, expected in (("a.fits", "g", "g"), ("a.fits", "zg", "image"), ("r.fits", "zr", "r"), ("r.fits", "z", "r")):
        field = resolve([str(tmp_path / name)], tuple(bands))[0]
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            assert read_field(field).bands == (expected,)
        assert any("has no part" in str(note.message) for note in notes) == (expected not in bands)


def test_a_picture_has_no_mask_of_fits_pixels(tmp_path):
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(tmp_path / "a.png")
    fits.writeto(tmp_path / "m.fits", np.zeros((40, 50), np.float32))
    with pytest.raises(InputError, match="--mask is of FITS images"):
        read(tmp_path / "a.png", mask=tmp_path / "m.fits")


def test_a_cube_has_its_bluest_plane_first(tmp_path):
    cube = np.stack([counts(seed=i) + i for i in range(3)])
    fits.writeto(tmp_path / "a.fits", cube, fits.Header({"BANDS": "grz"}))
    frame = read(tmp_path / "a.fits")
    assert frame.bands == ("z", "r", "g") and frame.reference == "r"
    np.testing.assert_array_equal(frame.counts["z"], cube[2])


def test_axes_of_length_one_are_dropped(tmp_path):
    fits.writeto(tmp_path / "a.fits", counts()[None, None])
    assert read(tmp_path / "a.fits").shape == (40, 50)


def test_nan_infinity_and_fill_are_bad(tmp_path):
    image = counts((100, 100))
    image[0, 0], image[1, 1] = np.nan, np.inf
    image[:, 90:] = 0.0  # what mosaics write where they have no data
    fits.writeto(tmp_path / "a.fits", image)
    bad = read(tmp_path / "a.fits").bad["image"]
    assert bad[0, 0] and bad[1, 1] and bad[:, 90:].all() and bad.sum() == 1002


def test_coarse_counts_are_not_fill(tmp_path):
    image = np.round(np.random.default_rng(0).normal(5, 2, (200, 200))).astype(np.int16)
    fits.writeto(tmp_path / "a.fits", image)
    assert not read(tmp_path / "a.fits").bad["image"].any()


def test_a_folder_of_bands(tmp_path):
    for i, band in enumerate("grz"):
        fits.writeto(tmp_path / f"img_{band}.fits", counts(seed=i))
    frame = read(tmp_path)
    assert frame.bands == ("z", "r", "g") and frame.reference == "r"
    np.testing.assert_array_equal(frame.counts["g"], counts(seed=0))


def test_bands_are_aligned_by_their_wcs(tmp_path):
    """Stars drawn by formula on two grids; moved, they must lie as drawn on the first."""
    shape, rng = (200, 220), np.random.default_rng(1)
    grids = {"r": tan_wcs(100, 100), "g": tan_wcs(107.3, 95.4, angle=0.3)}
    places = rng.uniform(25, 175, (12, 2))
    sky = grids["r"].pixel_to_world(*places.T)
    drawn = {}
    for band, wcs in grids.items():
        x, y = wcs.world_to_pixel(sky)
        drawn[band] = sum(star(shape, a, b, 4.0, 1000) for a, b in zip(x, y)) + 5
        noise = rng.normal(0, 0.01, shape)
        fits.writeto(tmp_path / f"f-{band}.fits", (drawn[band] + noise).astype(np.float32), wcs.to_header())
    field = resolve([str(tmp_path / "f-{band}.fits")], ["r", "g"])[0]
    frame = read_field(field)
    inner = np.s_[20:180, 20:200]
    peak = drawn["r"].max()
    assert np.abs(frame.counts["g"] - drawn["r"])[inner].max() < 0.01 * peak
    assert frame.bad["g"][:, -3:].any() and "g" in frame.native and "r" not in frame.native


def test_shapes_that_differ_need_a_wcs(tmp_path):
    fits.writeto(tmp_path / "f-r.fits", counts())
    fits.writeto(tmp_path / "f-g.fits", counts((41, 50)))
    with pytest.raises(InputError, match="WCS"):
        read_field(resolve([str(tmp_path / "f-{band}.fits")], ["r", "g"])[0])


@pytest.mark.parametrize(
    "cards, expected",
    [
        ({"BUNIT": "nanomaggy"}, 22.5),
        ({"SURVEY": "DECaLS"}, 22.5),
        ({"MAGZERO": 27.1}, 27.1),
        ({"MAGZPT": 25.0}, 25.0),
        ({"FLUXMAG0": 63095734448.0194}, 27.0),
        ({"PHOTFLAM": 7.0e-20, "PHOTPLAM": 8045.0}, -2.5 * np.log10(7e-20) - 5 * np.log10(8045) - 2.408),
        (
            {"PHOTFLAM": 7.0e-20, "PHOTPLAM": 8045.0, "BUNIT": "ELECTRONS/S", "EXPTIME": 500.0},
            -2.5 * np.log10(7e-20) - 5 * np.log10(8045) - 2.408,
        ),
        ({"PHOTFLAM": 7.0e-20, "PHOTPLAM": 8045.0, "BUNIT": "ELECTRONS", "EXPTIME": 500.0}, 25.9522 + 2.5 * np.log10(500)),
        ({"PHOTFLAM": 7.0e-20, "PHOTPLAM": 8045.0, "BUNIT": "COUNTS"}, None),
        ({"BUNIT": "MJy/sr", "PIXAR_SR": 2.3e-14}, -2.5 * np.log10(1e6 * 2.3e-14 / 3631)),
        ({"MAGZERO": "unknown"}, None),
        ({}, None),
    ],
)
def test_zero_points(tmp_path, cards, expected):
    fits.writeto(tmp_path / "a.fits", counts(), fits.Header({"FILTER": "r", **cards}))
    found = read(tmp_path / "a.fits").zero_points.get("r")
    assert found == (None if expected is None else pytest.approx(expected, abs=2e-3))


def test_a_broken_wcs_is_a_warning(tmp_path):
    header = tan_wcs().to_header()
    header["CTYPE1"], header["PC1_1"], header["PC2_2"] = "RA---TAN", 0.0, 0.0
    fits.writeto(tmp_path / "a.fits", counts(), header)
    with pytest.warns(AstroYOLOWarning, match="WCS"):
        assert read(tmp_path / "a.fits").wcs is None


@pytest.mark.parametrize("mode, values", [("L", 255), ("RGB", 255), ("RGBA", 255), ("I;16", 65535), ("P", 255)])
def test_pictures(tmp_path, mode, values):
    grey = np.arange(20 * 30).reshape(20, 30) % 200
    colour = np.stack([grey, grey // 2, grey // 3], -1)
    pixels = {
        "L": grey.astype(np.uint8),
        "RGB": colour.astype(np.uint8),
        "RGBA": np.dstack([colour, np.full_like(grey, 9)]).astype(np.uint8),
        "I;16": (grey * 300).astype(np.uint16),
        "P": grey.astype(np.uint8),
    }[mode]
    image = Image.fromarray(pixels)
    (image.convert("P") if mode == "P" else image).save(tmp_path / "a.png")
    frame = read(tmp_path / "a.png")
    assert frame.stretched and frame.bands == ("R", "G", "B") and frame.wcs is None
    expected = (grey * 300 if mode == "I;16" else grey) / values
    np.testing.assert_allclose(frame.counts["R"], expected, atol=1e-6)  # first row first


def test_tiff_and_jpeg(tmp_path):
    grey = np.full((32, 32), 100, np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.jpeg", quality=95)
    Image.fromarray(grey.astype(np.uint16) * 500).save(tmp_path / "a.tiff")
    assert read(tmp_path / "a.jpeg").counts["G"] == pytest.approx(100 / 255, abs=0.01)
    assert read(tmp_path / "a.tiff").counts["G"] == pytest.approx(50_000 / 65535)


def test_weights_and_mask(tmp_path):
    fits.writeto(tmp_path / "a.fits", counts())
    weight, mask = np.full((40, 50), 4.0, np.float32), np.zeros((40, 50), np.int16)
    weight[3, 4], mask[5, 6] = 0, 16
    fits.writeto(tmp_path / "w.fits", weight)
    fits.writeto(tmp_path / "m.fits", mask)
    frame = read(tmp_path / "a.fits", weight_map=tmp_path / "w.fits", weight_type="rms", mask=tmp_path / "m.fits")
    assert frame.bad["image"][3, 4] and frame.bad["image"][5, 6] and frame.bad["image"].sum() == 2
    assert frame.weights["image"][0, 0] == pytest.approx(1 / 16) and frame.survey_mask[5, 6]
    with pytest.raises(InputError, match="must be"):
        fits.writeto(tmp_path / "small.fits", weight[1:])
        read(tmp_path / "a.fits", weight_map=tmp_path / "small.fits")


def absurd_header(path):
    header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": 99999999, "NAXIS2": 99999999})
    path.write_bytes(header.tostring().encode() + b"\0" * 2880)


BROKEN = {
    "missing.fits": lambda p: None,
    "empty.fits": lambda p: p.write_bytes(b""),
    "text.fits": lambda p: p.write_text("not an image\n" * 500),
    "text.png": lambda p: p.write_text("not an image"),
    "cut.fits": lambda p: (fits.writeto(p, counts()), p.write_bytes(p.read_bytes()[:4000])),
    "cut.fits.gz": lambda p: p.write_bytes(gzip.compress(np.random.default_rng(0).bytes(9000))[:5000]),
    "line.fits": lambda p: fits.writeto(p, np.zeros(100, np.float32)),
    "nothing.fits": lambda p: fits.PrimaryHDU().writeto(p),
    "nan.fits": lambda p: fits.writeto(p, np.full((20, 20), np.nan, np.float32)),
    "absurd.fits": absurd_header,
    "folder": lambda p: p.mkdir(),
}


@pytest.mark.parametrize("name", BROKEN)
def test_bad_input_is_one_line_that_names_the_file(tmp_path, name):
    BROKEN[name](tmp_path / name)
    with pytest.raises(InputError, match=name.split(".")[0]) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_patterns_group_by_all_but_the_band(tmp_path):
    for field in ("0001", "0002"):
        for band in "ri":
            (tmp_path / f"frame-{band}-{field}.fits").touch()
    fields = resolve([str(tmp_path / "frame-{band}-*.fits")], ["i", "r"])
    assert [f.name for f in fields] == ["frame-0001", "frame-0002"]
    assert [p.name for p in fields[1].paths] == ["frame-i-0002.fits", "frame-r-0002.fits"]
    (tmp_path / "frame-i-0002.fits").unlink()
    with pytest.raises(InputError, match="band i"):
        resolve([str(tmp_path / "frame-{band}-*.fits")], ["i", "r"])


def test_lists_and_equal_names(tmp_path):
    for night in ("a", "b"):
        (tmp_path / night).mkdir()
        (tmp_path / night / "field.fits").touch()
    (tmp_path / "list.txt").write_text(f"# tonight\n{tmp_path}/a/field.fits\n\n{tmp_path}/b/field.fits\n")
    assert [f.name for f in resolve([f"@{tmp_path}/list.txt"])] == ["a_field", "b_field"]
    assert len(resolve([str(tmp_path / "*" / "field.fits")])) == 2


def test_real_sdss_bands_fall_on_each_other(survey_data):
    """Positions of bright stars in the moved bands, by sep, against the reference band's."""
    sep = pytest.importorskip("sep")
    frame = read_field(resolve([str(survey_data / "sdss/004510-4-0030/frame-{band}-*.fits.bz2")], ["i", "r", "g"])[0])
    assert set(frame.native) == {"i", "g"} and frame.zero_points["r"] == 22.5
    places = {}
    for band, image in frame.counts.items():
        found = sep.extract(np.nan_to_num(image), 0.5)
        found = found[(found["flux"] > 10) & (found["a"] < 3)]
        places[band] = np.stack([found["x"], found["y"]], 1)
    for band in "ig":
        distance = np.hypot(*(places["r"][:, None] - places[band][None]).transpose(2, 0, 1)).min(axis=1)
        assert np.median(distance[distance < 3]) < 0.3


def test_all_real_files_are_read_or_refused_in_one_line(survey_data):
    for path in sorted(survey_data.glob("decam/**/*.fits*"))[:40]:
        try:
            assert read(path).shape[0] > 0
        except InputError as error:
            assert "\n" not in str(error)


def test_zeros_that_compression_scatters_are_not_fill():
    rng = np.random.default_rng(0)
    counts = rng.normal(0, 1, (300, 300)).astype(np.float32)
    counts[rng.random(counts.shape) < 0.05] = 0
    assert np.isfinite(without_fill(counts)).all()
    counts[:, :20] = 0
    bad = np.isnan(without_fill(counts))
    assert bad[:, :20].all()


def test_the_user_knows_zero_points_and_gain_better_than_the_header(tmp_path):
    for band in "zr":
        fits.writeto(tmp_path / f"img_{band}.fits", counts(), fits.Header({"MAGZERO": 25.0, "GAIN": 2.0}))
    field = field_of_folder(tmp_path, ("z", "r"))
    frame = read_field(field, zero_points={"r": 27.5}, gain={"": 4.0})
    assert frame.zero_points == {"z": 25.0, "r": 27.5}
    assert frame.gain == {"z": 4.0, "r": 4.0}
    with pytest.raises(InputError, match="no band g for --zero-point"):
        read_field(field, zero_points={"g": 27.5})


@pytest.mark.parametrize("kind", [">f4", "<f4", ">f8", ">i2", "u1"])
@pytest.mark.parametrize("writeable", [True, False])
def test_counts_of_any_kind_of_number_are_native_floats(kind, writeable):
    values = np.arange(300 * 7).reshape(300, 7) % 200
    data = values.astype(kind)
    expected = values.astype(np.float32)
    if data.dtype.kind == "f":
        data[280, 3], data[5, 5], expected[280, 3], expected[5, 5] = np.inf, np.nan, np.nan, np.nan
    data.flags.writeable = writeable
    counts = as_counts(data)
    assert counts.dtype == np.float32 and counts.dtype.isnative
    np.testing.assert_array_equal(counts, expected)
