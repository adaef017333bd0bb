"""Scores against analytic cases, slow obvious versions, scipy and pycocotools; one report through the command."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner
from scipy.stats import binomtest

from astroyolo_cli.cli import cli
from astroyolo_cli.errors import InputError, OutputError
from astroyolo_cli.evaluate import average_precision as ap
from astroyolo_cli.evaluate import catalogs, classes, counts, matching
from astroyolo_cli.evaluate.cutouts import opinions, score_cutouts
from astroyolo_cli.evaluate.fields import score_fields
from astroyolo_cli.evaluate.truth import Truth, one_of_close_pairs, read_truth, true_fields
from astroyolo_cli.train.cutouts import labelled_images
from conftest import FakeEngine, star


def make_truth(xy, side=10.0, is_galaxy=False, ignore=False, snr=50.0, mag=20.0, fwhm=4.0, name="set_0"):
    """Square boxes around the positions; one value or one a source."""
    xy = np.asarray(xy, float).reshape(-1, 2)
    n = len(xy)
    half = np.broadcast_to(np.asarray(side, float), n)[:, None] / 2

    def each(value, kind):
        return np.broadcast_to(np.asarray(value, kind), n).copy()

    boxes = np.concatenate([xy - half, xy + half], 1)
    return Truth(name, xy, boxes, each(is_galaxy, bool), each(ignore, bool), each(snr, float), each(mag, float), fwhm)


def make_found(xy, side=10.0, score=0.9, p_galaxy=0.1, probable=True):
    truth = make_truth(xy, side, snr=20.0)
    n = len(truth)
    return catalogs.Found(
        truth.xy, truth.boxes, np.broadcast_to(score, n).astype(float), np.broadcast_to(p_galaxy, n).astype(float), truth.snr, truth.mag,
        probable,
    )  # fmt: skip


# Matching


def slow_nearest_first(found, truth, radius):
    """All pairs by distance, the nearest that is left each time."""
    source = [-1] * len(found)
    pairs = sorted((np.hypot(*(f - t)), i, j) for i, f in enumerate(found) for j, t in enumerate(truth))
    for distance, i, j in pairs:
        if distance <= radius and source[i] == -1 and j not in source:
            source[i] = j
    return source


@pytest.mark.parametrize("n, m", [(0, 0), (0, 5), (5, 0), (1, 1), (60, 50), (200, 30)])
def test_matching_is_that_of_the_obvious_version(n, m):
    rng = np.random.default_rng(n + m)
    found, truth = rng.uniform(0, 40, (n, 2)), rng.uniform(0, 40, (m, 2))
    assert matching.nearest_first(found, truth, 3.0).tolist() == slow_nearest_first(found, truth, 3.0)


def test_positions_that_are_not_finite_match_nothing():
    assert matching.nearest_first(np.array([[np.nan, 1], [1, 1]]), np.array([[1.0, 1]]), 2).tolist() == [-1, 0]


def test_what_is_ignored_counts_neither_way_and_takes_nothing_away():
    truth = make_truth([(50, 50), (51, 50), (100, 100)], ignore=[False, True, True])
    found = make_found([(50.9, 50), (103, 103), (150, 150)])  # nearer to the ignored one; in the box of another; on nothing
    match = matching.match_field(found, truth, 2.0)
    assert match.verdict.tolist() == [0, matching.OUTSIDE, matching.NONE]
    assert match.mate.tolist() == [0, -1, -1]


def test_of_sources_closer_than_half_the_fwhm_the_fainter_is_ignored():
    truth = one_of_close_pairs(make_truth([(10, 10), (11.9, 10), (30, 30), (32.1, 30)], snr=[9, 20, 5, 6], fwhm=4))
    assert truth.ignore.tolist() == [True, False, False, False]


# Average precision


def random_field(rng, n, name):
    """Some found well, some badly, some not at all, some ignored; false detections besides."""
    xy = rng.uniform(0, 500, (n, 2))
    side = np.exp(rng.uniform(1.5, 4.7, n))
    truth = make_truth(xy, side, rng.random(n) < 0.5, rng.random(n) < 0.1, name=name)
    kept = rng.random(n) < 0.8
    shifted = xy[kept] + rng.normal(0, 0.05, (kept.sum(), 2)) * side[kept, None]
    places = np.concatenate([shifted, rng.uniform(0, 500, (n // 5, 2))])
    sides = np.concatenate([side[kept] * rng.uniform(0.85, 1.15, kept.sum()), np.full(n // 5, 20.0)])
    called = np.where(rng.random(kept.sum()) < 0.8, truth.is_galaxy[kept], ~truth.is_galaxy[kept])
    p_galaxy = np.concatenate([np.where(called, 0.8, 0.3), rng.random(n // 5)])
    return truth, make_found(places, sides, rng.random(len(places)), p_galaxy)


def test_average_precision_is_that_of_pycocotools_at_its_100_detections():
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(3)
    pairs = [random_field(rng, n, f"set_{n}") for n in (0, 1, 60, 250)]
    dataset, detections = ap.coco_dicts(pairs, ap.CLASSES)
    truth = COCO()
    truth.dataset = json.loads(json.dumps(dataset))
    truth.createIndex()
    judge = COCOeval(truth, truth.loadRes(json.loads(json.dumps(detections))), "bbox")
    judge.params.areaRng = [[0, ap.HIGHEST], *([low**2, high**2] for low, high in zip(ap.SIDES, ap.SIDES[1:]))]
    judge.params.areaRngLbl = [str(i) for i in range(len(ap.SIDES))]
    judge.params.maxDets = [100]
    judge.evaluate()
    judge.accumulate()
    expected = judge.eval["precision"][..., 0]
    np.testing.assert_allclose(ap.precisions(dataset, detections, 100), expected, atol=1e-9)
    assert 0.05 < ap.average_precision(pairs, 100)["mAP(50-95)"] < 0.95
    all_sizes = expected[..., 0]
    assert ap.average_precision(pairs, 100)["mAP(50-95)"] == pytest.approx(all_sizes.mean())
    assert ap.average_precision(pairs, 100)["mAP(50-90)"] == pytest.approx(all_sizes[:9].mean())
    assert ap.average_precision(pairs, 100)["AP75"] == pytest.approx(all_sizes[5].mean())


def test_a_crowded_field_found_whole_scores_one():
    """1,600 sources: pycocotools' 100 detections would give 0.06."""
    xy = np.stack(np.meshgrid(np.arange(40) * 12.0, np.arange(40) * 12.0), -1).reshape(-1, 2)
    scores = ap.average_precision([(make_truth(xy), make_found(xy))])
    assert scores["mAP(50-95)"] == pytest.approx(1) and scores["any_class"]["AP75"] == pytest.approx(1)
    assert scores["by_class"]["galaxy"]["AP50"] is None  # there are none: not 0, and not averaged
    assert scores["any_class"]["by_size"]["8-16"] == pytest.approx(1) and scores["any_class"]["by_size"]["0-8"] is None
    hidden = ap.average_precision([(make_truth(xy), make_found(xy))], max_dets=100)
    assert hidden["mAP(50-95)"] < 0.07


def test_average_precision_of_half_the_sources_and_of_none():
    xy = np.arange(20.0)[:, None] * [25, 0]
    half = ap.average_precision([(make_truth(xy), make_found(xy[:10]))])
    assert half["AP50"] == pytest.approx(51 / 101)  # recall 0, 0.01 to 0.50 at precision 1
    assert ap.average_precision([(make_truth(xy), make_found(xy[:0]))])["AP50"] == 0
    assert ap.average_precision([(make_truth(xy[:0]), make_found(xy[:0]))])["AP50"] is None


def test_detections_on_ignored_sources_cost_nothing_and_elsewhere_do():
    xy = np.arange(10.0)[:, None] * [30, 0]
    truth = make_truth(np.concatenate([xy, [[0, 200]]]), ignore=[False] * 10 + [True])
    score = [0.5] * 10 + [0.9]
    assert ap.average_precision([(truth, make_found([*xy, (1, 201)], score=score))])["AP50"] == pytest.approx(1)
    assert ap.average_precision([(truth, make_found([*xy, (300, 300)], score=score))])["AP50"] < 0.95


def test_boxes_shifted_by_one_pixel_have_the_known_iou():
    """10 x 10 boxes shifted by (1, 0): IoU 9/11 = 0.818, so that 7 of 10 thresholds (0.50 to 0.80) are met."""
    xy = np.arange(10.0)[:, None] * [30, 0]
    scores = ap.average_precision([(make_truth(xy), make_found(xy + [1, 0]))])
    assert (scores["mAP(50-95)"], scores["mAP(50-90)"]) == pytest.approx((0.7, 7 / 9))


def test_catalogs_without_boxes_have_no_average_precision():
    found = make_found([(5, 5)])
    bare = catalogs.Found(found.xy, found.boxes * np.nan, found.score, found.p_galaxy, found.snr, found.mag)
    assert "note" in ap.average_precision([(make_truth([(5, 5)]), bare)])


# Classes


def test_auc_is_the_part_of_pairs_in_order():
    rng = np.random.default_rng(0)
    p, positive = rng.integers(0, 9, 300) / 8, rng.random(300) < 0.4
    pairs = p[positive][:, None] - p[~positive][None]
    assert classes.auc(p, positive) == pytest.approx((pairs > 0).mean() + 0.5 * (pairs == 0).mean())
    assert classes.auc(p, np.ones(300, bool)) is None


def test_calibration_error_of_known_cases():
    p = np.repeat([0.2, 0.8], 500)
    right = np.concatenate([np.arange(500) < 100, np.arange(500) < 400])
    order = np.random.default_rng(0).permutation(1000)
    assert classes.expected_calibration_error(np.full(1000, 0.7), np.arange(1000) % 10 < 5) == pytest.approx(0.2)
    assert classes.expected_calibration_error(p[order], right[order]) < 0.06  # chance within bins alone
    assert classes.brier(np.full(10, 0.5), np.arange(10) < 3) == pytest.approx(0.25)
    assert classes.brier(np.array([1.0, 0.0]), np.array([True, False])) == 0


def test_calibration_bins_have_equal_counts_in_order():
    p = np.random.default_rng(1).random(103)
    parts = classes.equal_count_bins(p)
    assert sorted({len(rows) for rows in parts}) == [10, 11] and sorted(np.concatenate(parts)) == list(range(103))
    assert all(p[a].max() <= p[b].min() for a, b in zip(parts, parts[1:]))
    assert [len(rows) for rows in classes.equal_count_bins(p[:3])] == [1, 1, 1]


def test_the_bootstrap_holds_the_truth_and_repeats():
    rng = np.random.default_rng(2)
    p = rng.random(2000)
    happened = rng.random(2000) < np.clip(p + 0.1, 0, 1)
    low, high = classes.bootstrap(classes.expected_calibration_error, p, happened, np.random.default_rng(5))
    assert 0.07 < low < 0.1 < high < 0.13
    assert [low, high] == classes.bootstrap(classes.expected_calibration_error, p, happened, np.random.default_rng(5))


def test_class_scores_of_an_unbalanced_set():
    """90 negatives of which 81 are right, 10 positives of which 5 are, one without an opinion."""
    p = np.concatenate([np.full(81, 0.1), np.full(9, 0.6), np.full(5, 0.9), np.full(5, 0.4), [np.nan]])
    scores = classes.class_scores(p, np.arange(101) >= 90, np.random.default_rng(0))
    assert scores["confusion"] == [[81, 9], [5, 5]] and scores["without_class"] == 1
    assert (scores["accuracy"], scores["balanced_accuracy"]) == pytest.approx((0.86, 0.7))


def test_class_scores_of_nothing_are_unknown():
    scores = classes.class_scores(np.zeros(0), np.zeros(0, bool), np.random.default_rng(0))
    assert all(scores[name] is None for name in ("accuracy", "balanced_accuracy", "auc", "ece", "ece_95", "brier"))


# Counts


@pytest.mark.parametrize("k, n", [(0, 10), (10, 10), (3, 7), (812, 1000)])
def test_wilson_is_that_of_scipy(k, n):
    expected = binomtest(k, n).proportion_ci(method="wilson")
    assert counts.wilson(k, n) == pytest.approx((expected.low, expected.high), abs=6e-5)


def test_fractions_by_bin():
    success = np.array([True, False, True, True])
    rows = counts.binned(np.array([5.0, 6.9, 7.0, np.nan]), success, (5, 7, 10, np.inf))
    assert [(row["from"], row["to"], row["k"], row["n"]) for row in rows] == [(5, 7, 1, 2), (7, 10, 1, 1)]
    assert counts.fraction_scores(success[:0], np.zeros(0), np.zeros(0))["fraction"] is None


def test_magnitudes_bins_hold_every_magnitude():
    mag = np.array([18.0, 19.99, 21.0, np.nan])
    rows = counts.fraction_scores(np.ones(4, bool), mag, mag)["by_mag"]
    assert sum(row["n"] for row in rows) == 3 and [row["from"] for row in rows] == [18, 19, 21]


def test_centre_residuals_of_a_gaussian():
    rng = np.random.default_rng(0)
    scores = counts.residual_scores(rng.normal(0.5, 0.2, 4000), rng.normal(-0.1, 0.2, 4000), np.full(4000, 12.0))
    assert (scores["median_x"], scores["median_y"], scores["sigma"]) == pytest.approx((0.5, -0.1, 0.2), abs=0.02)
    assert scores["rms"] == pytest.approx(np.sqrt((0.5**2 + 0.1**2) / 2 + 0.2**2), abs=0.01) and scores["by_snr"][0]["to"] == 15


def test_field_scores_of_a_known_case():
    """20 true sources, 10 of them galaxies; 16 found, of which 2 galaxies are called stars, and 4 false detections."""
    xy = np.stack(np.meshgrid(np.arange(5) * 40.0, np.arange(4) * 40.0), -1).reshape(-1, 2)
    truth = make_truth(xy, is_galaxy=np.arange(20) >= 10, mag=np.arange(20) / 10 + 20)
    false = np.arange(4)[:, None] * [40.0, 0] + [20, 300]
    p_galaxy = np.where(np.arange(20) >= 10, 0.9, 0.1)
    p_galaxy[[10, 11]] = 0.3
    found = make_found(np.concatenate([xy[:16] + [0.5, -0.25], false]), score=[0.8] * 18 + [0.2] * 2, p_galaxy=p_galaxy)
    scores = score_fields([truth], {"set_0": found}, 0.3, 3.0, np.random.default_rng(0))
    assert (scores["completeness"]["k"], scores["completeness"]["n"]) == (16, 20)
    assert (scores["purity"]["k"], scores["purity"]["n"]) == (16, 18)  # two false ones are below the score
    assert scores["star_galaxy"]["confusion"] == [[10, 0], [2, 4]]
    assert scores["star_galaxy"]["end_to_end"] == {"stars": 1.0, "galaxies": 0.4}
    assert [row["confusion"] for row in scores["star_galaxy"]["by_mag"]] == [[[10, 0], [0, 0]], [[0, 0], [2, 4]]]
    assert (scores["centres"]["median_x"], scores["centres"]["median_y"]) == pytest.approx((0.5, -0.25))
    assert scores["score"]["n"] == 20 and scores["score"]["brier"] == pytest.approx((16 * 0.04 + 2 * 0.64 + 2 * 0.04) / 20)
    rank = score_fields([truth], {"set_0": make_found(xy, score=0.01, probable=False)}, 0.3, 3.0, np.random.default_rng(0))
    assert rank["completeness"]["fraction"] == 1 and rank["score"] is None


# Truth and catalogs


def write_set(folder, xy, kinds, ignore=None, seeing=True):
    """A set of D_sg with stars at the positions and boxes of 12 pixels."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    image = rng.normal(0, 1, (128, 160)) + sum(star((128, 160), x, y, 4, 900) for x, y in xy)
    header = fits.Header({"MAGZERO": 22.5} | ({"SEEING": 1.0, "PIXSCALE": 0.25} if seeing else {}))
    for band in "grz":
        fits.writeto(folder / f"img_{band}.fits", image.astype(np.float32), header)
    xy = np.asarray(xy, float)
    edges = dict(zip(("xmin", "ymin", "xmax", "ymax"), np.concatenate([xy - 6, xy + 6], 1).T))
    rest = {"snr": np.full(len(xy), 30.0), "mag_g": xy[:, 0] * 0, "mag_r": np.full(len(xy), 15.1)}
    table = {"class": kinds, "x": xy[:, 0], "y": xy[:, 1], "ignore": ignore or [False] * len(xy)} | edges | rest
    Table(table).write(folder / "truth.fits")


def test_truth_is_read_with_the_psf_of_the_header(tmp_path):
    write_set(tmp_path / "set_4", [(30, 40), (90, 60)], ["star", "galaxy"], [False, True])
    write_set(tmp_path / "set_10", [(30, 40)], ["star"], seeing=False)
    truth, blind = (field.read_truth() for field in true_fields(tmp_path))
    assert (truth.name, blind.name) == ("set_4", "set_10")
    assert truth.fwhm == pytest.approx(4) and np.isnan(blind.fwhm)
    assert truth.boxes.tolist() == [[24, 34, 36, 46], [84, 54, 96, 66]] and truth.mag.tolist() == [15.1, 15.1]
    assert truth.is_galaxy.tolist() == [False, True] and truth.ignore.tolist() == [False, True]
    assert matching.radius_of(truth, 3) == 2 and matching.radius_of(blind, 3) == 3


def test_truth_of_masks_alone(tmp_path):
    write_set(tmp_path / "set_0", [(30, 40)], ["star"])
    (tmp_path / "set_0" / "truth.fits").unlink()
    alone = star((128, 160), 70.0, 50.0, 5, 100).astype(np.float32)
    fits.writeto(tmp_path / "set_0" / "masks.fits", alone, fits.Header({"CLASS_ID": 2}))
    truth = read_truth(tmp_path / "set_0")
    assert truth.xy[0] == pytest.approx([70, 50]) and truth.is_galaxy.tolist() == [True] and np.isnan(truth.snr).all()


@pytest.mark.parametrize(
    "change, word", [("gone", "nothing is known"), ("garbage", "not a table"), ("class", "quasar"), ("column", "xmin")]
)
def test_broken_truth_is_named_in_one_line(tmp_path, change, word):
    write_set(tmp_path / "set_0", [(30, 40)], ["star"])
    path = tmp_path / "set_0" / "truth.fits"
    table = Table.read(path)
    path.unlink()
    if change == "garbage":
        path.write_bytes(b"SIMPLE")
    elif change == "class":
        table["class"] = ["quasar"]
        table.write(path)
    elif change == "column":
        table.remove_column("xmin")
        table.write(path)
    with pytest.raises(InputError, match=word) as caught:
        read_truth(tmp_path / "set_0")
    assert "set_0" in str(caught.value) and "\n" not in str(caught.value)


SEXTRACTOR = """#   1 NUMBER                 Running object number
#   2 X_IMAGE                Object position along x                                    [pixel]
#   3 Y_IMAGE                Object position along y                                    [pixel]
#   4 FLUX_AUTO              Flux within a Kron-like elliptical aperture                [count]
#   5 FLUXERR_AUTO           RMS error for AUTO flux                                    [count]
#   6 MAG_AUTO               Kron-like elliptical aperture magnitude                    [mag]
#   7 XMIN_IMAGE             Minimum x-coordinate among detected pixels                 [pixel]
#   8 YMIN_IMAGE             Minimum y-coordinate among detected pixels                 [pixel]
#   9 XMAX_IMAGE             Maximum x-coordinate among detected pixels                 [pixel]
#  10 YMAX_IMAGE             Maximum y-coordinate among detected pixels                 [pixel]
#  11 CLASS_STAR             S/G classifier output
         1    31.0000    41.0000   1000.0   20.0  15.0   26   36   36   46  0.98
         2    91.0000    61.0000    100.0   20.0  99.0   86   56   96   66  0.03
"""


def check_sextractor(found):
    assert found.xy.tolist() == [[30, 40], [90, 60]]
    assert found.boxes[0].tolist() == [24.5, 34.5, 35.5, 45.5]  # pixels 25 to 35, counted from 0
    assert found.snr.tolist() == [50, 5] and found.score.tolist() == [50, 5] and not found.probable
    assert found.p_galaxy == pytest.approx([0.02, 0.97]) and found.mag[0] == 15 and np.isnan(found.mag[1])


def test_sextractor_catalogs_count_from_one(tmp_path):
    (tmp_path / "set_3.cat").write_text(SEXTRACTOR)
    name, by_field = catalogs.by_field(f"sex={tmp_path}/set_*.cat", ["set_3"])
    assert name == "sex"
    check_sextractor(by_field["set_3"])
    rows = Table.read(SEXTRACTOR, format="ascii.sextractor")
    for column in rows.columns.values():
        column.unit = None
    header = fits.BinTableHDU(Table({"Field Header Card": ["SIMPLE = T"]}), name="LDAC_IMHEAD")
    fits.HDUList([fits.PrimaryHDU(), header, fits.BinTableHDU(rows, name="LDAC_OBJECTS")]).writeto(tmp_path / "set_3.ldac")
    check_sextractor(catalogs.by_field(str(tmp_path / "set_3.ldac"), ["set_3"])[1]["set_3"])


@pytest.mark.parametrize("ending", [".fits", ".fits.gz"])
def test_astro_rcnn_boxes_are_rows_before_columns(tmp_path, ending):
    hdus = fits.HDUList()
    for class_id, box in ((1, "[ 10  20  30  60]"), (2, "[5 5 9 9]")):
        header = fits.Header({"CLASS_ID": class_id, "SCORE": 0.75, "BBOX": box})
        hdus.append(fits.ImageHDU(np.ones((4, 4), np.uint8), header))
    hdus.writeto(tmp_path / f"output_12{ending}")
    found = catalogs.by_field(str(tmp_path), ["set_12"])[1]["set_12"]
    assert found.boxes.tolist() == [[19.5, 9.5, 59.5, 29.5], [4.5, 4.5, 8.5, 8.5]]  # rows 10 to 29, columns 20 to 59
    assert found.xy[0].tolist() == [39.5, 19.5] and found.p_galaxy.tolist() == [0, 1] and found.score.tolist() == [0.75, 0.75]


def test_folders_among_the_catalogs_are_named(tmp_path):
    (tmp_path / "set_0").mkdir()
    with pytest.raises(InputError, match="set_0: not a regular file"):
        catalogs.by_field(str(tmp_path / "set_*"), ["set_0"])


def test_our_catalogs_one_file_for_all_fields(tmp_path):
    edges = {"xmin": [1.0, 2], "ymin": [1.0, 2], "xmax": [3.0, 4], "ymax": [3.0, 4]}
    table = Table({"field": ["set_0", "set_1"], "x": [2.0, 3], "y": [2.0, 3], "class": ["star", "galaxy"], "score": [0.9, 0.8]} | edges)
    table.write(tmp_path / "all.csv")
    _, by_field = catalogs.by_field(str(tmp_path / "all.csv"), ["set_0", "set_1", "set_2"])
    assert [len(by_field[f"set_{i}"]) for i in range(3)] == [1, 1, 0]
    assert by_field["set_1"].p_galaxy.tolist() == [1] and by_field["set_0"].boxes.tolist() == [[1, 1, 3, 3]]


def test_files_of_several_fields_are_not_taken_for_those_of_the_only_one(tmp_path):
    """As with --limit 1: the last file was taken."""
    for i in range(3):
        (tmp_path / f"set_{i}.csv").write_text(f"x,y\n{i},{i}\n")
    found = catalogs.by_field(str(tmp_path / "set_*.csv"), ["set_0"])[1]
    assert list(found) == ["set_0"] and found["set_0"].xy.tolist() == [[0, 0]]
    with pytest.raises(InputError, match="no catalog for set_0"):
        catalogs.by_field(str(tmp_path / "set_2.csv"), ["set_0"])
    assert len(catalogs.by_field(str(tmp_path / "set_2.csv"), ["a_r"])[1]["a_r"]) == 1
    for i in range(2):
        (tmp_path / f"mine{i}.csv").write_text("x,y\n1,1\n")
    with pytest.raises(InputError, match="mine0.csv: its name does not say"):
        catalogs.by_field(str(tmp_path / "mine*.csv"), ["a_r"])


def test_two_catalogs_of_a_field_are_refused(tmp_path):
    for name in ("set_0.csv", "set_0.ecsv"):
        Table({"x": [1.0], "y": [2.0]}).write(tmp_path / name)
    with pytest.raises(InputError, match="set_0.ecsv: another catalog for set_0"):
        catalogs.by_field(str(tmp_path / "set_0.*"), ["set_0", "set_1"])


def test_files_with_a_column_of_fields_are_joined(tmp_path):
    """Parts of a night: each has rows of some fields, and one field's rows lie in two."""
    parts = [(["set_0", "set_1"], [1.0, 2]), (["set_1", "set_2"], [3.0, 4]), (["set_9"], [5.0])]
    for number, (names, x) in enumerate(parts):
        Table({"field": names, "x": x, "y": x}).write(tmp_path / f"part{number}.csv")
    _, by_field = catalogs.by_field(str(tmp_path / "part*.csv"), [f"set_{i}" for i in range(4)])
    assert [found.xy[:, 0].tolist() for found in by_field.values()] == [[1], [2, 3], [4], []]


@pytest.mark.parametrize("given", [["a/mine.csv", "b/mine.csv"], ["a/nano.csv"], ["x=a/mine.csv", "x=b/mine.csv"]])
def test_tools_of_the_same_name_are_refused(tmp_path, network, given):
    write_set(tmp_path / "sg" / "set_0", [(30, 40), (90, 60)], ["star", "galaxy"])
    for folder, name in (("a", "mine"), ("b", "mine"), ("a", "nano")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.csv").write_text("x,y\n30,40\n")
    given = [option.replace("=", f"={tmp_path}/") if "=" in option else f"{tmp_path}/{option}" for option in given]
    result = evaluate("--sg", tmp_path / "sg", *(word for option in given for word in ("--catalog", option)), "-o", tmp_path / "report")
    assert isinstance(result.exception, InputError) and "write NAME=FILES" in str(result.exception)
    assert "\n" not in str(result.exception) and not (tmp_path / "report").exists()


def test_our_own_written_catalog_is_read_back(tmp_path):
    from astroyolo_cli.pipeline import DetectSettings, detect
    from astroyolo_cli.write import write
    from conftest import make_frame

    image = np.random.default_rng(0).normal(0, 1, (128, 160)) + star((128, 160), 30, 40, 4, 900)
    catalog = detect(make_frame({"r": image}), FakeEngine([(23.5, 33.5, 36.5, 46.5)]), DetectSettings(views=1)).catalog
    for ending in (".fits", ".csv", ".ecsv", ".vot", ".parquet"):
        write(catalog, tmp_path / f"set_0{ending}")
        found = catalogs.by_field(str(tmp_path / f"set_0{ending}"), ["set_0"])[1]["set_0"]
        assert found.boxes[0] == pytest.approx([23.5, 33.5, 36.5, 46.5], abs=1e-3) and found.xy[0] == pytest.approx([30, 40], abs=0.2)
        assert np.isnan(found.mag[0]) and found.snr[0] > 5


@pytest.mark.parametrize(
    "name, text, word",
    [
        ("set_0.csv", "a,b\n1,2\n", "no column 'x'"),
        ("set_0.txt", "1 2 3", "SExtractor"),
        ("set_0.cat", "# nonsense\n", "set_0.cat"),
        ("set_0.csv", "x,y\n1,oops\n", "set_0.csv"),
        ("set_7.csv", "x,y\n1,2\n", "no catalog for set_0"),
        ("mine.csv", "x,y\n1,2\n", "does not say of which field"),
    ],
)
def test_catalogs_that_cannot_be_scored_are_named(tmp_path, name, text, word):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=word) as caught:
        catalogs.by_field(str(tmp_path / name), ["set_0", "set_1"])
    assert name in str(caught.value)


# Cutouts


class Morphologist(FakeEngine):
    """Calls what is redder than blue smooth, by a box in the middle; a brighter galaxy in the corner says the contrary."""

    def __call__(self, images):
        outputs = super().__call__(images)
        redder = images[:, 0].mean(axis=(1, 2)) - images[:, 2].mean(axis=(1, 2))
        outputs["smooth_disk"][:, 0, 1] = -20 * redder
        outputs["smooth_disk"][:, 1, 1] = 20 * redder
        outputs["detection"][:, 1, 4] += 3
        return outputs


def write_pictures(root, smooth=3, disk=2):
    from PIL import Image

    for folder, count, colour in (("smooth", smooth, (200, 100, 50)), ("disk", disk, (50, 100, 200))):
        (root / folder).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (424, 424) if i else (90, 100), colour).save(root / folder / f"{i}.png")


def test_cutouts_are_judged_by_the_galaxy_in_their_centre(tmp_path):
    write_pictures(tmp_path)
    images = labelled_images(tmp_path, 0.5, lambda line: None)
    files, is_disk = [image.path for image in images], np.array([image.label == 1 for image in images])
    said = opinions(files, Morphologist([(30, 30, 65, 65), (0, 0, 20, 20)], score=0.4), lambda: None)
    scores = score_cutouts(said, is_disk, 0.3, np.random.default_rng(0))
    assert scores["confusion"] == [[3, 0], [0, 2]] and scores["auc"] == 1 and scores["detected"] == 5
    assert score_cutouts(said, is_disk, 0.5, np.random.default_rng(0))["accuracy_of_detected"] is None


# The command


@pytest.fixture
def network(monkeypatch):
    from astroyolo_cli.model import engine

    monkeypatch.setattr(engine, "open_engine", lambda *_: Morphologist([(24, 34, 36, 46), (84, 54, 96, 66)]))


def evaluate(*arguments):
    return CliRunner().invoke(cli, ["evaluate", *map(str, arguments)])


def test_the_report_is_whole_escaped_and_strict(tmp_path, network):
    write_set(tmp_path / "sg" / "set_0", [(30, 40), (90, 60)], ["star", "galaxy"])
    write_set(tmp_path / "sg" / "set_2", [(30, 40), (120, 100)], ["star", "star"], [False, True])
    write_pictures(tmp_path / "ds")
    for i in (0, 2):
        (tmp_path / f"set_{i}.cat").write_text(SEXTRACTOR)
    arguments = ["--sg", tmp_path / "sg", "--ds", tmp_path / "ds", "--catalog", f"<script>alert(1)<&>={tmp_path}/set_*.cat", "--views", 1]
    result = evaluate(*arguments, "-o", tmp_path / "report")
    assert result.exit_code == 0, (result.output, result.exception)
    scores = json.loads((tmp_path / "report" / "scores.json").read_text(), parse_constant=pytest.fail)
    ours, sextractor = scores["fields"].values()
    assert ours["completeness"]["n"] == 3 and ours["completeness"]["fraction"] == 1 and ours["average_precision"]["AP50"] is not None
    assert sextractor["purity"]["fraction"] == 0.75 and sextractor["score"] is None
    assert scores["cutouts"]["nano"]["n"] == 5
    page = (tmp_path / "report" / "report.html").read_text()
    assert "<script" not in page and "&lt;script&gt;alert(1)" in page and "http:" not in page and "https:" not in page
    assert "Content-Security-Policy" in page and "default-src 'none'" in page
    images = sorted(p.name for p in (tmp_path / "report").glob("*.png"))
    assert page.count("data:image/png;base64,") == len(images) == 6
    assert not list((tmp_path / "report").glob("*.partial"))
    again = evaluate(*arguments, "-o", tmp_path / "report")
    assert isinstance(again.exception, OutputError) and "--overwrite" in str(again.exception)


def test_a_folder_without_disks_is_named(tmp_path, network):
    write_pictures(tmp_path, disk=0)
    with pytest.raises(InputError, match="disk"):
        raise evaluate("--ds", tmp_path, "-o", tmp_path / "report").exception


def coco_labels(root):
    """The set as one COCO image, its boxes counted from the pixels' corners."""
    boxes = [(24.5, 34.5, 12, 12), (84.5, 54.5, 12, 12)]
    annotations = [{"id": i, "image_id": 5, "category_id": i, "bbox": box} for i, box in enumerate(boxes)]
    categories = [{"id": 0, "name": "star"}, {"id": 1, "name": "galaxy"}]
    images = [{"id": 5, "file_name": "a_r.fits"}]
    (root / "labels.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def yolo_labels(root):
    rows = [(0, 30.5 / 160, 40.5 / 128, 12 / 160, 12 / 128), (1, 90.5 / 160, 60.5 / 128, 12 / 160, 12 / 128)]
    (root / "a_r.txt").write_text("".join(" ".join(map(str, row)) + "\n" for row in rows))


@pytest.mark.parametrize("write_labels", [coco_labels, yolo_labels])
def test_fields_of_every_layout_and_votes_are_scored(tmp_path, network, write_labels):
    write_set(tmp_path / "set_0", [(30, 40), (90, 60)], ["star", "galaxy"])
    (tmp_path / "sg").mkdir()
    (tmp_path / "set_0" / "img_r.fits").rename(tmp_path / "sg" / "a_r.fits")
    write_labels(tmp_path / "sg")
    write_pictures(tmp_path / "ds" / "images")
    votes = "filename,smooth-or-featured-dr5_smooth,smooth-or-featured-dr5_featured-or-disk\n"
    votes += "smooth/0.png,9,1\nsmooth/1.jpg,2,8\ndisk/0.png,1,9\ndisk/9.png,1,9\n"
    (tmp_path / "ds" / "votes.csv").write_text(votes)
    result = evaluate("--sg", tmp_path / "sg", "--ds", tmp_path / "ds", "--views", 1, "-o", tmp_path / "report")
    assert result.exit_code == 0, (result.output, result.exception)
    assert "1 of 4 images are missing and left out" in result.stderr
    scores = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert scores["about"]["true sources"] == "2 sources (1 galaxies), 0 ignored"
    assert scores["fields"]["nano"]["completeness"]["k"] == 2 and scores["fields"]["nano"]["average_precision"]["AP50"] > 0
    assert [sum(row) for row in scores["cutouts"]["nano"]["confusion"]] == [1, 2]


def test_catalogs_alone_need_no_network(tmp_path):
    write_set(tmp_path / "sg" / "set_0", [(30, 40), (90, 60)], ["star", "galaxy"])
    (tmp_path / "mine.csv").write_text("x,y\n30,40\n")
    result = evaluate("--sg", tmp_path / "sg", "--no-network", "--catalog", tmp_path / "mine.csv", "-o", tmp_path / "report", "--quiet")
    assert result.exit_code == 0 and result.output == "", (result.output, result.exception)
    scores = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert scores["fields"]["mine"]["completeness"]["k"] == 1 and "note" in scores["fields"]["mine"]["average_precision"]


@pytest.mark.parametrize(
    "arguments, word",
    [
        (["-o", "r"], "--sg or --ds"),
        (["--ds", ".", "--catalog", "x.csv", "-o", "r"], "--catalog"),
        (["--sg", ".", "--no-network", "-o", "r"], "--no-network"),
        (["--sg", ".", "--tile", "500", "-o", "r"], "--tile"),
        (["--no-network", "--ds", ".", "-o", "r"], "--no-network"),
        (["--sg", ".", "--catalog", "x.csv", "--no-network", "--ds", ".", "-o", "r"], "--ds: its pictures"),
        (["--sg", ".", "--seed", "-1", "-o", "r"], "--seed"),
    ],
)
def test_wrong_usage(arguments, word):
    result = evaluate(*arguments)
    assert result.exit_code == 2 and word in result.output
