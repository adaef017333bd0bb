"""Classes of cutouts and at positions: which source is meant, which row is whose, and the command."""

import csv
import warnings

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import Sip
from click.testing import CliRunner
from PIL import Image

from astroyolo_cli import classify
from astroyolo_cli.central import GREY, TURNED, central_row, central_sources, turned_sources
from astroyolo_cli.cli import cli
from astroyolo_cli.columns import OUTSIDE, UNSEEN
from astroyolo_cli.errors import AstroYOLOWarning, InputError
from astroyolo_cli.inputs import resolve
from astroyolo_cli.measure import to_sky
from astroyolo_cli.model.checkpoint import Calibration, Card
from astroyolo_cli.read import read_field
from astroyolo_cli.stretch import Stretch, backgrounds, lupton_rgb, section_rgb
from conftest import FakeEngine, make_frame, star, tan_wcs


def test_the_source_in_the_middle_is_meant_not_the_surest():
    class Rival(FakeEngine):
        def __call__(self, images):
            outputs = super().__call__(images)
            outputs["detection"][:, 1, 4] += 3  # the box in the corner is surer
            outputs["star_galaxy"] = np.zeros_like(outputs["star_galaxy"])
            outputs["star_galaxy"][:, 0, 1], outputs["star_galaxy"][:, 1, 1] = 2.0, -9.0
            return outputs

    found = central_sources(Rival([(50, 40, 78, 88), (0, 0, 20, 20)], score=0.8), np.zeros((3, 3, 128, 128), np.float32))
    np.testing.assert_allclose(found.xyxy, [[50, 40, 78, 88]] * 3, atol=1)  # the turned view's box lies a pixel off
    np.testing.assert_allclose(found.p_galaxy, 1 / (1 + np.exp(-2)), rtol=1e-5)


def test_without_a_detection_the_surest_cell_speaks():
    class Dumb(FakeEngine):
        def __call__(self, images):
            outputs = super().__call__(images)
            outputs["smooth_disk"][..., 1] = 1.5
            return outputs

    found = central_sources(Dumb(), np.zeros((2, 3, 128, 128), np.float32))
    np.testing.assert_allclose(found.p_disk, 1 / (1 + np.exp(-1.5)), rtol=1e-5)
    assert (found.score < 1e-6).all()


@pytest.mark.parametrize("boxes", [[(40, 40, 56, 56)], []], ids=["found", "by the surest cell"])
def test_pictures_can_be_shown_enlarged(boxes):
    """The box is in the picture's own pixels: the network, which sees it twice as large, names one of twice the side."""
    engine = FakeEngine([tuple((np.array(box) + 0.5) * 2 - 0.5) for box in boxes], score=0.8)
    found = central_sources(engine, np.zeros((1, 3, 96, 96), np.float32), zoom=2.0)
    assert {shape[-1] for shape in engine.shapes} == {192}
    x0, y0, x1, y1 = found.xyxy[0]
    assert x0 < 47.5 < x1 and y0 < 47.5 < y1 and (not boxes or found.xyxy[0] == pytest.approx(boxes[0], abs=1))


def test_a_turned_picture_is_the_same_galaxy():
    class Fickle(FakeEngine):
        """Sees a disk where the lower left is bright: the same galaxy turned is another to it."""

        def __call__(self, images):
            outputs = super().__call__(images)
            outputs["smooth_disk"][..., 1] = 8 * images[:, 0, :48, :48].mean(axis=(1, 2))[:, None]
            return outputs

    image = np.zeros((1, 3, 96, 96), np.float32)
    image[:, :, :48, :48], image[:, :, 48:, :48] = 0.9, 0.3
    engine = Fickle([(30, 30, 65, 65)], score=0.8)
    told = [turned_sources(engine, np.rot90(image, turn, (2, 3))[:, None]).p_disk[0] for turn in range(4)]
    np.testing.assert_allclose(told, told[0], rtol=1e-5)
    p = {bright: 1 / (1 + np.exp(-8 * bright)) for bright in (0.0, 0.3, 0.9)}
    looks = np.array([p[0.9] + p[0.0], p[0.3] + p[0.0]]) / 2  # a look has two views of its own, of opposite quarters
    odds = np.sqrt(np.prod(looks / (1 - looks)))
    assert told[0] == pytest.approx(odds / (1 + odds), abs=0.002)


def test_every_view_of_a_picture_counts_the_same():
    class Bright(FakeEngine):
        """Sees a disk where it is bright."""

        def __call__(self, images):
            outputs = super().__call__(images)
            outputs["smooth_disk"][..., 1] = 4 * images.mean(axis=(1, 2, 3))[:, None]
            return outputs

    views = np.stack([np.full((3, 96, 96), brightness, np.float32) for brightness in (0.2, 0.8)])
    told = turned_sources(Bright([(30, 30, 65, 65)], score=0.8), views[None])
    assert told.p_disk == pytest.approx([1 / (1 + np.exp(-4 * 0.5))], abs=1e-5) and len(told) == 1


def test_a_picture_is_looked_at_from_far_and_from_near():
    """Rings around the centre that grow brighter outwards: 256 of the pixels, and 160, both to 96."""
    y, x = np.mgrid[:300, :400]
    ring = (np.hypot(x - 199.5, y - 149.5) / 300).astype(np.float32)
    far, near = classify.shrunk_middles(np.stack([ring] * 3))
    row = np.abs(np.arange(96) - 47.5)
    for view, pixel in ((far, 256 / 96), (near, 160 / 96)):
        assert view[:, 47, 60:] == pytest.approx(np.stack([row[60:] * pixel / 300] * 3), abs=0.003)


def test_pictures_without_colour_have_a_calibration_of_their_own():
    engine = FakeEngine([(30, 30, 65, 65)], score=0.8)  # says even odds
    engine.card = Card(size="nano", calibration={TURNED: Calibration(0.5, 1.0), GREY: Calibration(1.0, -3.0)})
    images = np.full((2, 2, 3, 96, 96), 0.2, np.float32)
    images[1, 1, 0] = 0.3
    np.testing.assert_allclose(turned_sources(engine, images).p_disk, 1 / (1 + np.exp([-3.0, 2.0])), rtol=1e-5)


def test_which_box_holds_the_middle():
    far, near, around = [100, 100, 120, 120], [40, 40, 90, 90], [60, 0, 160, 140]
    boxes, score = np.array([far, near, around], float), np.array([0.9, 0.2, 0.8])
    assert central_row(boxes, score, 63.5) == 1  # the only one with the centre in its middle half
    assert central_row(boxes[[0, 2]], score[[0, 2]], 63.5) == 1
    assert central_row(boxes[:1], score[:1], 63.5) == 0
    assert central_row(boxes[:1], score[:1], 63.5, (0.5, 1.0)) is None
    assert central_row(boxes[:0], score[:0], 63.5, (0.5, 1.0)) is None


def sky_frame(shape=(300, 340), **rest):
    rng = np.random.default_rng(0)
    counts = rng.normal(100, 2, shape) + star(shape, 120, 80, 4, 5000)
    return make_frame({"r": counts}, **rest)


@pytest.mark.parametrize("x, y", [(170.2, 150.7), (0.0, 0.0), (339.4, 299.4), (5.0, 290.0)])
def test_a_window_is_the_frame_around_the_position_and_sky_beyond(x, y):
    frame, stretch = sky_frame(), Stretch()
    background = backgrounds(frame)
    got = classify.window_rgb(frame, background, x, y, stretch, side=64)
    whole = section_rgb(frame, background, stretch)
    sky = lupton_rgb(np.zeros((3, 1, 1), np.float32), stretch)[:, 0, 0]
    for row in range(64):
        for column in range(0, 64, 7):
            j, i = round(y) - 32 + row, round(x) - 32 + column
            inside = 0 <= j < 300 and 0 <= i < 340
            np.testing.assert_allclose(got[:, row, column], whole[:, j, i] if inside else sky, atol=1e-6)


def test_where_nothing_is_detected_a_flag_says_so():
    frame = make_frame({"r": np.random.default_rng(0).normal(0, 1, (300, 300))})
    for score, flagged in ((0.8, False), (0.005, True)):
        engine = FakeEngine([(120, 120, 136, 136)], score=score)
        table = classify.classify_positions(frame, classify.Positions(np.array([[150.0, 150.0]])), engine)
        assert bool(table["flags"][0] & UNSEEN) == flagged == (table["score"][0] < 0.02)


def test_no_input_is_replaced_by_the_classes(tmp_path):
    fits.writeto(tmp_path / "a.fits", np.random.default_rng(0).normal(0, 1, (64, 64)).astype(np.float32))
    (tmp_path / "p.csv").write_text("x,y\n30,30\n")
    for output in ("a.fits", "p.csv"):
        arguments = [
            "classify",
            str(tmp_path / "a.fits"),
            "--catalog",
            str(tmp_path / "p.csv"),
            "-o",
            str(tmp_path / output),
            "--overwrite",
        ]
        assert "is an input" in str(CliRunner().invoke(cli, arguments).exception)


def test_numbers_of_64_bits_stay_what_they_are(tmp_path):
    rng, long = np.random.default_rng(0), [1237648720693755918, 36411448540268526]
    frame = make_frame({"r": rng.normal(0, 1, (300, 300))})
    places = Table({"x": [50.0, 100.0], "y": [60.0, 90.0], "id": np.array(long)})
    for ending in ("fits", "csv"):
        places.write(tmp_path / f"a.{ending}")
        positions = classify.read_positions(tmp_path / f"a.{ending}", frame)
        assert classify.classify_positions(frame, positions, FakeEngine())["id"].tolist() == long


def test_positions_keep_their_order_and_those_outside_are_marked():
    engine = FakeEngine([(122, 120, 134, 136)])
    xy = np.array([[200.3, 100.8], [-3, 50], [10, 20], [np.nan, 4], [339.4, 299.4], [340, 10]])
    positions = classify.Positions(xy, np.array([7, 3, 5, 1, 9, 2]))
    table = classify.classify_positions(sky_frame(wcs=tan_wcs()), positions, engine, "a field")
    assert table["id"].tolist() == [7, 3, 5, 1, 9, 2] and set(table["field"]) == {"a field"}
    outside = np.array([False, True, False, True, False, True])
    assert ((table["flags"] & OUTSIDE) > 0).tolist() == outside.tolist()
    assert table["class"].mask.tolist() == table["score"].mask.tolist() == outside.tolist()
    np.testing.assert_allclose(table["xmin"][0], 200 - 128 + 122, atol=1)
    sky = tan_wcs().pixel_to_world(*xy[0])
    assert (table["ra"][0], table["dec"][0]) == pytest.approx((sky.ra.deg, sky.dec.deg), abs=1e-9)


@pytest.mark.parametrize("ending", ["csv", "fits", "vot", "ecsv"])
def test_positions_by_sky_and_by_pixels(tmp_path, ending):
    frame, xy = sky_frame(wcs=tan_wcs()), np.array([[12.25, 40.5], [200.0, 150.0]])
    sky = tan_wcs().pixel_to_world(*xy.T)
    for columns in (
        {"RA": sky.ra.deg, "Dec": sky.dec.deg, "x": [0.0, 0.0], "y": [0.0, 0.0]},  # the sky goes before pixels
        {"x": xy[:, 0], "y": xy[:, 1]},
        {"X_IMAGE": xy[:, 0] + 1, "Y_IMAGE": xy[:, 1] + 1},
    ):
        path = tmp_path / f"positions.{ending}"
        Table(columns).write(path, overwrite=True, **({"format": "votable"} if ending == "vot" else {}))
        got = classify.read_positions(path, frame)
        np.testing.assert_allclose(got.xy, xy, atol=1e-6)
        assert got.ids is None
    Table({"x": xy[:, 0], "y": xy[:, 1], "id": [4, 2]}).write(path, overwrite=True, **({"format": "votable"} if ending == "vot" else {}))
    assert classify.read_positions(path, frame).ids.tolist() == [4, 2]


def sip_wcs(quadratic=3e-4):
    """A distortion that folds over, some thousand pixels from the frame."""
    wcs = tan_wcs(170, 150)
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    along_x, along_y = np.zeros((2, 3, 3))
    along_x[2, 0] = along_y[0, 2] = quadratic
    wcs.sip = Sip(along_x, along_y, None, None, wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs


def test_places_that_a_distorted_frame_does_not_reach_are_nowhere_in_it():
    frame = sky_frame(wcs=sip_wcs())
    ra, dec = (values.ravel() for values in np.meshgrid(150 + np.linspace(-0.45, 0.45, 61), 2 + np.linspace(-0.45, 0.45, 61)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = np.stack(frame.wcs.world_to_pixel(SkyCoord(ra, dec, unit="deg")), 1)
    off = SkyCoord(*to_sky(frame, *plain.T), unit="deg").separation(SkyCoord(ra, dec, unit="deg")).arcsec
    invented = ((plain > 0) & (plain < [339, 299])).all(axis=1) & (off > 100)
    assert invented.sum() > 3  # astropy's own places in the frame, which show another sky
    got = classify.to_pixels(frame, ra, dec)
    assert np.isnan(got[invented]).all()
    np.testing.assert_array_equal(got[off < 0.3], plain[off < 0.3])


def test_places_in_a_distorted_frame_are_found():
    frame, xy = sky_frame(wcs=sip_wcs()), np.random.default_rng(0).uniform(0, 300, (50, 2))
    np.testing.assert_allclose(classify.to_pixels(frame, *to_sky(frame, *xy.T)), xy, atol=0.01)
    assert classify.to_pixels(frame, np.zeros(0), np.zeros(0)).shape == (0, 2)
    assert np.isnan(classify.to_pixels(frame, np.array([330.0, 150.0, np.nan]), np.array([-2.0, 95.0, 2.0]))).all()


@pytest.mark.parametrize("wcs", [sip_wcs(), tan_wcs(), None], ids=["sip", "tan", "none"])
def test_ra_and_dec_of_the_catalog_stay_as_they_are(tmp_path, wcs):
    ra, dec = [150.001, 149.6, 150.3, -30.0, np.nan], [2.001, 2.0, 2.3, -2.0, 2.0]
    Table({"ra": ra, "dec": dec, "x": [20.0] * 5, "y": [20.0] * 5}).write(tmp_path / "at.fits")
    frame = sky_frame(wcs=wcs)
    table = classify.classify_positions(frame, classify.read_positions(tmp_path / "at.fits", frame), FakeEngine())
    assert np.ma.filled(table["ra"][:4], np.nan).tolist() == ra[:4] and np.ma.filled(table["dec"][:4], np.nan).tolist() == dec[:4]
    assert np.isnan(np.ma.filled(table["ra"][4], np.nan)) and (wcs is None or bool(table["flags"][3] & OUTSIDE))


def test_sky_in_words_does_not_stop_where_pixels_are_meant(tmp_path):
    (tmp_path / "at.csv").write_text("ra,dec,x,y\n10:00:00,+02:00:00,12,13\n")
    got = classify.read_positions(tmp_path / "at.csv", sky_frame())
    assert got.xy.tolist() == [[12, 13]] and got.sky is None


SEXTRACTOR = """#   1 NUMBER                 Running object number
#   2 X_IMAGE                Object position along x                                    [pixel]
#   3 Y_IMAGE                Object position along y                                    [pixel]
         1    11.0000    31.0000
         2    21.0000    41.0000
"""


@pytest.mark.parametrize("name", ["test.cat", "frame.ldac", "list"])
def test_sextractor_catalogs_are_read_whatever_their_names(tmp_path, name):
    (tmp_path / name).write_text(SEXTRACTOR)
    assert classify.read_positions(tmp_path / name, sky_frame()).xy.tolist() == [[10, 30], [20, 40]]
    rows = fits.BinTableHDU(Table({"X_IMAGE": [12.0], "Y_IMAGE": [13.0]}), name="LDAC_OBJECTS")
    header = fits.BinTableHDU(Table({"Field Header Card": ["SIMPLE = T"]}), name="LDAC_IMHEAD")
    fits.HDUList([fits.PrimaryHDU(), header, rows]).writeto(tmp_path / name, overwrite=True)
    assert classify.read_positions(tmp_path / name, sky_frame()).xy.tolist() == [[11, 12]]


@pytest.mark.parametrize("extensions", [1, 2])
def test_positions_of_fits_ldac_are_the_sources_not_the_header(tmp_path, extensions):
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for number in range(extensions):
        hdus.append(fits.BinTableHDU(Table({"Field Header Card": ["SIMPLE = T"]}), name="LDAC_IMHEAD"))
        hdus.append(fits.BinTableHDU(Table({"X_IMAGE": [11.0, 21.0 + number], "Y_IMAGE": [31.0, 41.0]}), name="LDAC_OBJECTS"))
    hdus.writeto(tmp_path / "ldac.fits")
    xy = classify.read_positions(tmp_path / "ldac.fits", sky_frame()).xy
    assert xy.tolist() == [[10, 30], [20, 40], [10, 30], [21, 40]][: 2 * extensions]


def test_the_mark_that_spreadsheets_put_before_utf_8_is_no_part_of_a_name(tmp_path):
    (tmp_path / "at.csv").write_text("x,y\n12,13\n", encoding="utf-8-sig")
    assert classify.read_positions(tmp_path / "at.csv", sky_frame()).xy.tolist() == [[12, 13]]


def test_catalogs_without_positions_are_named(tmp_path):
    path = tmp_path / "none.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="none.csv: needs columns ra and dec, or x and y; it has a, b"):
        classify.read_positions(path, sky_frame(wcs=tan_wcs()))
    path.write_text("ra,dec\n1,2\n")
    with pytest.raises(InputError, match="no WCS"):
        classify.read_positions(path, sky_frame())
    path.write_text("x,y\nleft,2\n")
    with pytest.raises(InputError, match="no numbers"):
        classify.read_positions(path, sky_frame())
    (tmp_path / "positions.doc").write_text("nothing")
    with pytest.raises(InputError, match="known kind"):
        classify.read_positions(tmp_path / "positions.doc", sky_frame())


def write_cutouts(folder):
    rng = np.random.default_rng(0)
    for name in ("b/1.png", "a/1.png", "a/2.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 200, (300, 280, 3), np.uint8)).save(folder / name)
    fits.writeto(folder / "c.fits", rng.normal(50, 2, (90, 80)).astype(np.float32), tan_wcs().to_header())
    (folder / "broken.png").write_bytes(b"no picture")


def test_a_row_a_cutout_and_the_broken_are_left_out(tmp_path):
    write_cutouts(tmp_path / "cutouts")
    fields = classify.cutout_inputs([str(tmp_path / "cutouts")], None)
    with pytest.warns(AstroYOLOWarning, match="broken.png"):
        table, failed = classify.classify_cutouts(fields, FakeEngine([(50, 40, 78, 88)]), {})
    assert failed == 1
    assert table["field"].tolist() == ["a_1", "a_2", "b_1", "cutouts_c"]
    assert set(table["class"]) <= {"star", "galaxy"}


def test_pictures_are_shrunk_and_fits_pixels_stay(tmp_path):
    write_cutouts(tmp_path)
    shapes = {name: classify.picture_of(read_field(resolve([str(tmp_path / name)])[0]), Stretch()).shape for name in ("a/1.png", "c.fits")}
    assert shapes == {"a/1.png": (2, 3, 96, 96), "c.fits": (1, 3, 256, 256)}


def run(*arguments):
    return CliRunner().invoke(cli, ["classify", *map(str, arguments)])


def test_the_command_on_cutouts(tmp_path):
    write_cutouts(tmp_path / "cutouts")
    ended = run(tmp_path / "cutouts", "-o", tmp_path / "out.csv")
    assert ended.exit_code == 1 and "broken.png" in ended.stderr and "4 classified, 1 left out" in ended.stderr
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(classify.CUTOUT_COLUMNS) and len(rows) == 4
    for row in rows:
        assert float(row["p_star"]) + float(row["p_galaxy"]) == pytest.approx(1, abs=1e-5)
        assert (row["morphology"] == "") == (row["class"] == "star")


def test_the_command_at_positions(tmp_path):
    frame = sky_frame()
    fits.writeto(tmp_path / "frame.fits", frame.counts["r"], tan_wcs().to_header())
    (tmp_path / "at.csv").write_text("x,y\n120,80\n900,1\n")
    ended = run(tmp_path / "frame.fits", "--catalog", tmp_path / "at.csv", "-o", tmp_path / "out.fits")
    assert ended.exit_code == 0, ended.stderr
    table = Table.read(tmp_path / "out.fits")
    assert table.colnames == list(classify.POSITION_COLUMNS)
    assert table["score"][0] > 0.5 and table["class"][0].strip() == "star" and table["flags"].tolist()[1] == OUTSIDE


def test_missing_files_and_empty_folders_do_not_end_the_others(tmp_path):
    write_cutouts(tmp_path / "cutouts")
    (tmp_path / "cutouts" / "broken.png").unlink()
    (tmp_path / "empty").mkdir()
    ended = run(tmp_path / "none.png", tmp_path / "cutouts", tmp_path / "empty", "-o", tmp_path / "out.csv")
    assert ended.exit_code == 1 and "4 classified, 2 left out" in ended.stderr
    assert "none.png: no such file" in ended.stderr and f"{tmp_path / 'empty'}: " in ended.stderr
    assert "none.png: no such file" in str(run(tmp_path / "none.png", "-o", tmp_path / "one.csv").exception)


@pytest.mark.parametrize("given", ["@empty.txt", "-"])
def test_no_cutout_at_all_is_said_in_one_line(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("# nothing\n")
    error = run(given, "-o", "out.csv").exception
    assert isinstance(error, InputError) and str(error).startswith("no input: name at least one file")


def test_what_cannot_be_is_said_before_the_work(tmp_path):
    write_cutouts(tmp_path / "cutouts")
    assert "no regions" in str(run(tmp_path / "cutouts", "-o", tmp_path / "out.reg").exception)
    for folder in ("empty", "broken"):
        (tmp_path / folder).mkdir()
    (tmp_path / "broken" / "one.png").write_bytes(b"no picture")
    assert "no pictures" in str(run(tmp_path / "empty", "-o", tmp_path / "out.csv").exception)
    assert "one.png" in str(run(tmp_path / "broken", "-o", tmp_path / "out.csv").exception)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("names, at_positions", [("snr", False), ("class,x", False), ("class,flux_r", True)])
def test_columns_that_classify_does_not_make_are_said_before_the_work(tmp_path, monkeypatch, names, at_positions):
    monkeypatch.setattr("astroyolo_cli.cli.classify.open_network", lambda *_: pytest.fail("the work began"))
    fits.writeto(tmp_path / "f.fits", np.zeros((9, 9), np.float32))
    (tmp_path / "p.csv").write_text("x,y\n1,2\n")
    given = ["--catalog", tmp_path / "p.csv"] if at_positions else []
    ended = run(tmp_path / "f.fits", *given, "-o", tmp_path / "c.csv", "--columns", names)
    assert f"--columns: {names.split(',')[-1]!r} is no column" in str(ended.exception)


def test_positions_of_a_real_field_get_the_classes_that_detect_gives(tmp_path, survey_data):
    from astroyolo_cli.model.checkpoint import locate
    from astroyolo_cli.model.engine import open_engine
    from astroyolo_cli.pipeline import detect

    engine = open_engine(locate("nano"))
    frame = read_field(resolve([str(survey_data / "decals/set_0")])[0])
    catalog = detect(frame, engine).catalog
    sure = catalog[(catalog["score"] > 0.5) & (catalog["flux_aper"] > 20 * catalog["flux_aper_err"])]
    assert len(sure) > 20
    table = classify.classify_positions(frame, classify.Positions(np.stack([sure["x"], sure["y"]], 1)), engine)
    assert np.mean(table["class"] == sure["class"]) > 0.9
