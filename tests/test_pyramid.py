"""Large galaxies: where light is wide, what the network is shown there, and which rows a large galaxy replaces."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from astroyolo_cli.detections import Detections, centers, iou
from astroyolo_cli.pyramid import (
    SIDE,
    binned_rgb,
    coarse_frame,
    factors,
    medians_of,
    objects_of,
    replaced,
    sorting_pairs,
    unexplained,
    wide_light,
    with_large_galaxies,
)
from astroyolo_cli.stretch import Stretch, backgrounds, lupton_rgb
from conftest import make_frame, star

SHAPE = (700, 900)


def disk_frame(radius=120.0, x=500, y=300, peak=6.0):
    """A disk of exponential light, two stars and noise of 1; the disk's light falls to 0.5 at ``radius``."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = peak * np.exp(-np.hypot(rows - y, columns - x) / (radius / np.log(peak / 0.5))) + rng.normal(0, 1, SHAPE)
    return make_frame({"r": image + star(SHAPE, 100, 100, 4, 1e5) + star(SHAPE, 800, 600, 4, 3e4)})


@pytest.mark.parametrize("part", [0.0, 0.02, 0.3, 1.0])
def test_objects_are_those_of_the_whole_mask(part):
    mask = np.random.default_rng(1).uniform(0, 1, (60, 20)) < part
    assert set(map(str, objects_of(mask))) == set(map(str, ndimage.find_objects(ndimage.label(mask)[0])))


def detections(rows) -> Detections:
    """Of (box, score, p_galaxy)."""
    boxes, score, p_galaxy = zip(*rows)
    n = len(rows)
    return Detections(np.array(boxes, np.float32), np.array(score, np.float32), np.array(p_galaxy, np.float32),
                      np.full(n, 0.7, np.float32), np.zeros(n, bool))  # fmt: skip


def test_wide_light_is_found_where_it_is_and_stars_are_not_wide():
    frame = disk_frame()
    ((x0, y0, x1, y1),) = wide_light(coarse_frame(frame, backgrounds(frame)))
    assert (x0 + x1) / 2 == pytest.approx(500, abs=8) and (y0 + y1) / 2 == pytest.approx(300, abs=8)
    assert x1 - x0 == pytest.approx(240, abs=40)
    assert wide_light(coarse_frame(disk_frame(radius=30), backgrounds(frame))) == []


def test_light_is_unexplained_as_far_as_it_lies_outside_of_the_boxes_of_narrow_sources():
    signal = np.zeros((40, 60))
    signal[10:22, 20:40] = 3.0  # 160 x 96 pixels
    region = (159.5, 79.5, 319.5, 175.5)
    half = [((x, y, x + 15, y + 15), 0.9, 0.9) for x in range(160, 240, 16) for y in range(80, 176, 16)]
    whole = half + [((x + 80, *rest[:1], x + 95, *rest[2:]), 0.9, 0.9) for (x, *rest), *_ in half]
    frame_left = np.exp(-30 * 19**2 / (320 * 480))  # what thirty boxes, 2 pixels wider on all sides, leave of a frame by chance
    assert unexplained(detections(half), signal, region) == pytest.approx(0.5 / frame_left, abs=0.06)
    assert unexplained(detections(whole), signal, region) == 0
    assert unexplained(detections([((150, 70, 330, 180), 0.9, 0.9)]), signal, region) == 1  # that is the galaxy itself
    assert unexplained(Detections.empty(), signal, region) == 1


def test_wide_light_is_shown_at_sizes_that_the_network_knows():
    assert [240 / factor for factor in factors((0, 0, 240, 100))] == [60, 30, 15]
    assert factors((0, 0, 40, 1200)) == [16, 32, 64]
    assert factors((0, 0, 96, 96)) == [2, 4]


def test_the_network_is_shown_block_means_over_their_noise():
    frame = disk_frame()
    sky = backgrounds(frame)
    rgb = binned_rgb(frame, sky, left=300, top=-50, factor=2, stretch=Stretch())
    assert rgb.shape == (3, SIDE, SIDE)
    row, column = 200, 110  # of the window: rows 350 and 351, columns 520 and 521 of the frame
    signal = (frame.counts["r"][350:352, 520:522] - sky["r"].sky[350:352, 520:522]) / sky["r"].noise[350:352, 520:522]
    expected = lupton_rgb(np.full((3, 1, 1), signal.mean(), np.float32), Stretch())
    np.testing.assert_allclose(rgb[:, row, column], expected[:, 0, 0], rtol=1e-4)
    nothing = lupton_rgb(np.zeros((3, 1, 1), np.float32), Stretch())[0, 0, 0]
    np.testing.assert_allclose(rgb[:, :25], nothing, rtol=1e-6)  # rows before the frame's first
    assert np.median(rgb[0, 25:60, 20:60]) == pytest.approx(nothing, rel=0.15)


def test_a_galaxy_replaces_its_pieces_and_not_the_stars_before_it():
    found = detections([((480, 280, 520, 320), 0.9, 0.9), ((420, 300, 440, 320), 0.5, 0.8), ((550, 250, 562, 262), 0.9, 0.1),
                        ((700, 600, 720, 620), 0.8, 0.9)])  # fmt: skip
    whole = detections([((400, 200, 600, 400), 0.6, 0.95)])
    after = replaced(found, whole)
    assert after.xyxy[:, 0].tolist() == [550, 700, 400]


def test_a_galaxy_that_was_found_whole_stays_and_loses_its_pieces():
    found = detections([((395, 195, 605, 405), 0.9, 0.9), ((420, 300, 440, 320), 0.5, 0.8)])
    after = replaced(found, detections([((400, 200, 600, 400), 0.6, 0.95)]))
    assert after.xyxy[:, 0].tolist() == [395]


def test_what_the_network_sees_in_the_binned_window_comes_back_in_frame_pixels():
    frame = disk_frame()
    sky, seen = backgrounds(frame), []

    def look(images):
        seen.append(images.shape)
        if len(seen) == 2:
            return Detections.empty()
        half = 30  # binned pixels around the middle of the window
        box = (SIDE / 2 - half - 0.5, SIDE / 2 - half - 0.5, SIDE / 2 + half - 0.5, SIDE / 2 + half - 0.5)
        return detections([(box, 0.8, 0.9), ((0, 0, 80, 80), 0.9, 0.9), ((125, 125, 131, 131), 0.9, 0.9)])

    found = with_large_galaxies(detections([((440, 280, 460, 300), 0.9, 0.8)]), frame, sky, look, Stretch())
    assert set(seen) == {(1, 3, SIDE, SIDE)} and len(seen) == 2
    assert len(found) == 1
    x0, y0, x1, y1 = found.xyxy[0]
    assert (x0 + x1) / 2 == pytest.approx(500, abs=8) and (y0 + y1) / 2 == pytest.approx(300, abs=8) and x1 - x0 == 240

    def blind(images):
        return Detections.empty()

    before = detections([((440, 280, 460, 300), 0.9, 0.8)])
    np.testing.assert_array_equal(with_large_galaxies(before, frame, sky, blind, Stretch()).xyxy, before.xyxy)


@pytest.mark.parametrize("n", [1, 2, 4, 8, 16])
def test_a_network_that_sorts_all_zeros_and_ones_sorts_everything(n):
    """Knuth, The Art of Computer Programming, 5.3.4, theorem Z."""
    values = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    for i, j in sorting_pairs(n):
        values[:, i], values[:, j] = values[:, [i, j]].min(axis=1), values[:, [i, j]].max(axis=1)
    assert (np.diff(values, axis=1) >= 0).all()


def test_medians_are_those_of_each_block_with_bad_pixels_brightest():
    rng = np.random.default_rng(5)
    blocks = rng.normal(0, 1, (6, 4, 7, 4)).astype(np.float32)
    blocks[rng.uniform(0, 1, blocks.shape) < 0.3] = np.nan
    blocks[0, :, 0], blocks[1, :2, 1] = np.nan, np.nan
    brightest = np.where(np.isnan(blocks), np.inf, blocks).transpose(0, 2, 1, 3).reshape(6, 7, 16)
    expected = np.median(brightest, axis=2)
    np.testing.assert_allclose(medians_of(blocks), np.where(np.isinf(expected), np.nan, expected), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_spiral_of_1200_pixels_is_one_galaxy(seed, monkeypatch):
    """By the embedded weights, among stars and galaxies. The end of an arm may be a galaxy of its own, a quarter as wide at most."""
    pytest.importorskip("galsim")
    from astroyolo_cli.frame import Frame
    from astroyolo_cli.model.checkpoint import locate
    from astroyolo_cli.model.engine import open_engine
    from astroyolo_cli.pipeline import detect
    from astroyolo_cli.simulate.populations import draw_sources, magnitude_at_brightness, shape_galaxy
    from astroyolo_cli.simulate.render import render_field
    from astroyolo_cli.simulate.sky import draw_settings

    monkeypatch.setattr("astroyolo_cli.simulate.galaxies.LARGEST", 1000)  # training's galaxies end at 513 pixels
    rng = np.random.default_rng(seed)
    settings, r50 = draw_settings(rng, 2560), 400.0  # an exponential disk falls to 8 % of its peak at 1.5 half-light radii
    place = {"x": 1290.0, "y": 1250.0}
    spiral = shape_galaxy(rng, settings, place, magnitude_at_brightness(settings, r50, 3.0), r50, 0.0, smooth=False, edge_on=0.0)
    spiral = replace(spiral, q=0.7, structure=replace(spiral.structure, arms=2, contrast=0.8))
    field = render_field(rng, settings, [*draw_sources(rng, settings)[:1500], spiral])
    (truth,) = (row.box for row in field.rows if row.source is spiral)
    assert max(truth[2] - truth[0], truth[3] - truth[1]) > 500
    counts = {band: field.counts[band] for band in "zrg"}
    frame = Frame(counts, {band: ~np.isfinite(image) for band, image in counts.items()}, "r")
    catalog = detect(frame, open_engine(locate("nano"))).catalog
    boxes = np.stack([catalog[name] for name in ("xmin", "ymin", "xmax", "ymax")], 1)
    middle, half = (np.array(truth[:2]) + truth[2:]) / 2, (np.array(truth[2:]) - truth[:2]) / 2
    inside = (((centers(boxes) - middle) / half) ** 2).sum(axis=1) < 1
    large = np.flatnonzero(inside & ((boxes[:, 2:] - boxes[:, :2]).max(axis=1) > 0.5 * max(half)))
    assert len(large) == 1, boxes[large]
    assert catalog["class"][large[0]] == "galaxy"
    assert iou(boxes[large].astype(np.float32), np.array([truth], np.float32))[0, 0] > 0.25
