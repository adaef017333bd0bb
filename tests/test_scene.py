"""Measuring block by block gives what measuring in one piece gives."""

import numpy as np
import pytest

from astroyolo_cli import scene
from astroyolo_cli.detections import Detections
from astroyolo_cli.frame import Frame
from astroyolo_cli.measure import measure
from astroyolo_cli.scene import MARGIN, blocks_of
from astroyolo_cli.stamps import LARGEST, ellipses
from astroyolo_cli.stretch import backgrounds


def test_blocks_hold_every_pixel_once_and_their_margins():
    shape = (9000, 7000)
    blocks = blocks_of(shape, 3, scene.MOST)
    pixels = np.stack(np.meshgrid(np.arange(0, shape[1], 97), np.arange(0, shape[0], 89)), -1).reshape(-1, 2)
    held = np.concatenate([block.holds(pixels) for block in blocks])
    assert len(blocks) > 4 and sorted(held) == list(range(len(pixels)))
    for block in blocks:
        mine = pixels[block.holds(pixels)]
        for axis, part in ((0, block.columns), (1, block.rows)):
            assert part.start == max(0, part.start) and part.stop <= shape[1 - axis]
            assert part.start == 0 or mine[:, axis].min() >= part.start + MARGIN
            assert part.stop == shape[1 - axis] or mine[:, axis].max() <= part.stop - 1 - MARGIN


@pytest.mark.parametrize("shape", [(60_000, 60_000), (3000, 80_000), (80_000, 3000)])
def test_blocks_of_few_rows_are_wide_and_follow_each_other_along_them(shape):
    blocks = blocks_of(shape, 1, scene.MOST, 1920)
    sides = np.array([(block.rows.stop - block.rows.start, block.columns.stop - block.columns.start) for block in blocks])
    assert sides[:, 0].max() <= 1920 and sides.prod(axis=1).max() <= scene.MOST
    first = [(block.rows.start, block.columns.start) for block in blocks]
    assert first == sorted(set(first)) and len(blocks) > 2


def test_a_frame_of_usual_size_is_one_block():
    assert len(blocks_of((4096, 4096), 3, scene.MOST_WHOLE)) == len(blocks_of((2048, 2048), 3, scene.MOST)) == 1


@pytest.fixture(scope="module")
def crowded():
    """A frame of 1200 x 1000 pixels, 300 stars and galaxies and bad pixels, and their boxes."""
    rng = np.random.default_rng(3)
    height, width, n = 1200, 1000, 300
    x, y = rng.uniform(-3, width + 2, n), rng.uniform(-3, height + 2, n)
    is_galaxy = rng.random(n) < 0.5
    sigma = np.where(is_galaxy, rng.uniform(2, 12, n), 1.5)
    flux = 10 ** rng.uniform(3, 5, n)
    counts = rng.normal(100, 5, (height, width))
    for i in range(n):
        in_x, in_y = (np.exp(-((np.arange(size) - p) ** 2) / 2 / sigma[i] ** 2) for size, p in ((width, x[i]), (height, y[i])))
        counts += flux[i] / (2 * np.pi * sigma[i] ** 2) * np.outer(in_y, in_x)
    counts[rng.integers(0, height, 200), rng.integers(0, width, 200)] = np.nan
    counts = counts.astype(np.float32)
    half = np.where(is_galaxy, 2.25, 5) * sigma
    boxes = np.stack([x - half, y - half, x + half, y + half], 1)
    boxes = np.clip(boxes, -0.5, np.array([width, height] * 2) - 0.5).astype(np.float32)
    ones = np.full(n, 0.9, np.float32)
    found = Detections(boxes, ones, is_galaxy.astype(np.float32), ones / 2, np.zeros(n, bool))
    return Frame({"r": counts}, {"r": ~np.isfinite(counts)}, "r", saturation={"r": 2000.0}), found


def test_blocks_and_the_whole_frame_measure_alike(crowded, monkeypatch):
    frame, found = crowded
    whole = measure(frame, found, backgrounds(frame))
    monkeypatch.setattr(scene, "MOST_WHOLE", 1_100_000)
    assert len(blocks_of(frame.shape, 1, scene.MOST_WHOLE)) > 12
    parts = measure(frame, found, backgrounds(frame))
    assert whole.meta == parts.meta
    for name in whole.colnames:
        a, b = np.ma.asarray(whole[name]), np.ma.asarray(parts[name])
        np.testing.assert_array_equal(np.ma.getmaskarray(a), np.ma.getmaskarray(b), err_msg=name)
        if a.dtype.kind == "f":
            # float32 sums of stamps that are cut in other company
            np.testing.assert_allclose(a.filled(0), b.filled(0), rtol=1e-4, atol=1e-5 * np.median(np.abs(a.filled(0))), err_msg=name)
        else:
            np.testing.assert_array_equal(a, b, err_msg=name)


def test_ellipses_of_any_size_are_those_of_the_definition():
    """Also of boxes that are larger than the image, and as large as no memory is."""
    shape = (150, 1100)
    boxes = np.array([[10, 20, 30, 50], [-300, -900, 900, 700], [600, 100, 1090, 140], [-1e9, 3, 1e9, 9]], float)
    x, y = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
    seen = {}
    for row, pixel, distance in ellipses(boxes, np.arange(4), 1.5, shape):
        for one in np.unique(row):
            seen.setdefault(one, []).append((pixel[row == one], distance[row == one]))
    assert 1.5 * 600 > LARGEST and sorted(seen) == [0, 1, 2, 3]
    for row, parts in seen.items():
        pixel, distance = (np.concatenate(values) for values in zip(*parts))
        middle, half = (boxes[row, :2] + boxes[row, 2:]) / 2, (boxes[row, 2:] - boxes[row, :2]) / 2
        truth = np.hypot((x - middle[0]) / half[0], (y - middle[1]) / half[1]).ravel()
        np.testing.assert_array_equal(np.sort(pixel), np.flatnonzero(truth <= 1.5))
        np.testing.assert_allclose(distance, truth[pixel], rtol=1e-4, atol=1e-6)
