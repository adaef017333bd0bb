"""Tiles, boxes and merging against slow versions."""

from dataclasses import replace

import numpy as np
import pytest

from astroyolo_cli.detections import (
    Detections,
    concatenate,
    distinct,
    fade_overlapping,
    iou,
    join_concentric,
    leaders,
    overlapping,
    overlapping_in_strips,
    suppress,
)
from astroyolo_cli.tile import LARGEST, fitting_tile, keep_core, merge_seams, tile_origins, tiles


def detections(boxes, scores) -> Detections:
    n = len(boxes)
    half = np.full(n, 0.5, np.float32)
    return Detections(np.array(boxes, np.float32).reshape(n, 4), np.array(scores, np.float32), half, half, np.zeros(n, bool))


@pytest.mark.parametrize("shape", [(1, 1), (512, 512), (600, 513), (1489, 2048), (3600, 3600), (4096, 4096), (9999, 300), (16384, 16384)])
def test_the_tile_of_a_frame_costs_no_more_pixels_than_any_other(shape):
    def cost(side):
        return side**2 * len(tiles(shape, side, 128))

    side = fitting_tile(shape, 128)
    assert side % 32 == 0 and 512 <= side <= LARGEST
    assert all(cost(side) <= cost(other) for other in range(512, LARGEST + 1, 32))


def test_a_row_of_tiles_of_a_wide_frame_is_no_larger_than_of_others():
    assert 512 <= fitting_tile((60_000, 60_000), 128) * 60_000 / 32768 <= LARGEST
    assert fitting_tile((10, 10**6), 128) == 512 and fitting_tile((64, 64), 600) == 608


@pytest.mark.parametrize("length", [1, 511, 512, 513, 895, 896, 897, 2048, 9999])
@pytest.mark.parametrize("overlap", [0, 128, 500])
def test_tiles_cover_every_pixel_and_share_the_overlap(length, overlap):
    starts = tile_origins(length, tile=512, overlap=overlap)
    seen = np.zeros(max(length, 512), int)
    for start in starts:
        seen[start : start + 512] += 1
    assert seen.min() >= 1 and starts[-1] + 512 == max(length, 512)
    assert all(b - a <= 512 - overlap for a, b in zip(starts, starts[1:]))


@pytest.mark.parametrize("shape", [(1, 1), (300, 2000), (1489, 2048)])
def test_every_point_has_a_core_and_only_borders_have_two(shape):
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 1, (500, 2)) * [shape[1], shape[0]] - 0.5
    owners = np.zeros(500, int)
    for tile in tiles(shape, 512, 128):
        owners += ((points >= tile.core[:2]) & (points < tile.core[2:])).all(axis=1)
    assert (owners == 1).all()


def test_a_core_lies_half_the_overlap_inside_its_tile():
    for tile in tiles((2000, 2000), 512, 128):
        x0, y0, x1, y1 = tile.core
        for low, high, start in ((x0, x1, tile.x), (y0, y1, tile.y)):
            assert low == -np.inf or low >= start + 63
            assert high == np.inf or high <= start + 512 - 63


def test_a_source_on_a_seam_appears_once():
    """Each tile sees the source a little elsewhere, also on the other side of the border."""
    all_tiles = tiles((512, 900), 512, 128)
    border = all_tiles[0].core[2]
    for shift in (-1.5, -0.4, 0, 0.4, 1.5):
        parts, numbers = [], []
        for number, tile in enumerate(all_tiles):
            x = border + (shift if number == 0 else -shift)
            part = keep_core(detections([[x - 6, 94, x + 6, 106]], [0.9 - 0.1 * number]), tile)
            parts.append(part)
            numbers.append(np.full(len(part), number))
        merged = merge_seams(concatenate(parts), np.concatenate(numbers))
        assert len(merged) == 1


def test_neighbours_on_a_seam_stay_two():
    pair = detections([[10, 10, 20, 20], [18, 10, 28, 20]], [0.9, 0.8])
    pair = Detections(pair.xyxy, pair.score, pair.p_galaxy, pair.p_disk, np.ones(2, bool))
    assert len(merge_seams(pair, np.array([0, 1]))) == 2


def test_merging_does_not_depend_on_the_order():
    rng = np.random.default_rng(1)
    center, half = rng.uniform(0, 60, (80, 2)), rng.uniform(2, 6, (80, 2))
    found = detections(np.concatenate([center - half, center + half], 1), rng.uniform(0.3, 1, 80))
    found = Detections(found.xyxy, found.score, found.p_galaxy, found.p_disk, np.ones(80, bool))
    numbers = rng.integers(0, 4, 80)
    first = merge_seams(found, numbers)
    order = rng.permutation(80)
    second = merge_seams(found.take(order), numbers[order])
    np.testing.assert_array_equal(first.xyxy, second.xyxy)


def slow_suppress(boxes, scores, threshold):
    kept = []
    for i in np.argsort(-scores):
        if all(iou(boxes[[i]], boxes[[j]])[0, 0] <= threshold for j in kept):
            kept.append(i)
    return set(kept)


@pytest.mark.parametrize("seed", range(5))
def test_suppression_equals_the_greedy_loop(seed):
    rng = np.random.default_rng(seed)
    center, half = rng.uniform(0, 40, (60, 2)), rng.uniform(3, 9, (60, 2))
    found = detections(np.concatenate([center - half, center + half], 1), rng.permutation(60) / 60)
    kept = suppress(found, 0.4)
    expected = slow_suppress(found.xyxy, found.score, 0.4)
    assert {tuple(b) for b in kept.xyxy} == {tuple(found.xyxy[i]) for i in expected}


def test_iou_of_known_boxes():
    a = np.array([[0, 0, 10, 10]], np.float32)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [5, 5, 5, 5]], np.float32)
    assert iou(a, b)[0] == pytest.approx([1, 1 / 3, 0, 0])


def test_doubles_are_one_row_with_the_higher_score_and_the_mean_box():
    found = detections([[0, 0, 100, 100], [0, 0, 97, 98], [200, 0, 210, 10]], [0.6, 0.9, 0.5])
    found = replace(found, p_galaxy=np.array([0.2, 0.8, 0.5]), p_disk=np.array([0.5, 1.0, 0.1]))
    kept = distinct(found)
    assert len(kept) == 2
    assert kept.xyxy[0] == pytest.approx([0, 0, (60 + 87.3) / 1.5, (60 + 88.2) / 1.5]) and kept.score[0] == pytest.approx(0.9)
    assert kept.p_galaxy == pytest.approx([(0.12 + 0.72) / 1.5, 0.5]) and kept.p_disk == pytest.approx([0.8, 0.1])


def slow_distinct(boxes, scores):
    """Rows that stay, their scores, and the rows that go into each; by plain loops: the larger of doubles first, then the better."""
    into, score = {}, dict(enumerate(scores))
    for i in sorted(range(len(boxes)), key=lambda i: -np.prod(boxes[i, 2:] - boxes[i, :2])):
        larger = [j for j in into if iou(boxes[[i]], boxes[[j]])[0, 0] > 0.9]
        if larger:
            first = larger[0]
            into[first].append(i)
            score[first] = max(score[first], scores[i])
        else:
            into[i] = [i]
    kept = {}
    for i in sorted(into, key=lambda i: -score[i]):
        better = [j for j in kept if iou(boxes[[i]], boxes[[j]])[0, 0] > 0.65]
        if better:
            kept[better[0]] += into[i]
        else:
            kept[i] = into[i]
    return {i: (score[i], rows) for i, rows in kept.items()}


@pytest.mark.parametrize("seed", range(5))
def test_distinct_rows_equal_the_plain_loops(seed):
    rng = np.random.default_rng(seed)
    center = np.repeat(rng.uniform(0, 60, (12, 2)), 8, axis=0) + rng.normal(0, 0.4, (96, 2))
    half = np.repeat(rng.uniform(4, 9, (12, 2)), 8, axis=0) * rng.uniform(0.9, 1.15, (96, 2))
    found = detections(np.concatenate([center - half, center + half], 1), (rng.permutation(96) + 1) / 97)
    expected = slow_distinct(found.xyxy, found.score)
    kept = distinct(found)
    assert 8 < len(kept) == len(expected) < 40
    for (score, rows), box, said in zip(sorted(expected.values(), key=lambda one: -one[0]), kept.xyxy, kept.score):
        assert said == pytest.approx(score)
        assert box == pytest.approx(np.average(found.xyxy[rows], axis=0, weights=found.score[rows]), abs=1e-4)


def test_nothing_found_stays_nothing():
    none = Detections.empty()
    assert len(suppress(none)) == len(distinct(none)) == 0
    assert len(merge_seams(none, np.zeros(0, int))) == 0


def test_boxes_around_one_centre_are_joined_and_their_classes_averaged():
    rivals = detections([[0, 0, 20, 20], [6, 6, 14, 14], [30, 0, 40, 10]], [0.6, 0.3, 0.9])
    rivals = Detections(rivals.xyxy, rivals.score, np.array([0.1, 1.0, 0.2], np.float32), rivals.p_disk, rivals.on_seam)
    joined = join_concentric(rivals)
    assert len(joined) == 2
    assert joined.xyxy[1].tolist() == [0, 0, 20, 20] and joined.score[1] == pytest.approx(0.6)
    assert joined.p_galaxy[1] == pytest.approx((0.6 * 0.1 + 0.3 * 1.0) / 0.9)


def test_only_the_weaker_of_overlapping_boxes_fades():
    faded = fade_overlapping(detections([[0, 0, 10, 10], [5, 0, 15, 10], [50, 50, 60, 60]], [0.9, 0.5, 0.4]), alike=8)
    weaker = 1 / (1 + np.exp(8 * (1 / 3) ** 2))  # even odds before
    assert sorted(faded.score.tolist()) == pytest.approx(sorted([0.9, 0.4, weaker]), rel=1e-5)


def test_overlapping_boxes_of_unlike_sizes_fade_more():
    faded = fade_overlapping(detections([[0, 0, 20, 20], [0, 0, 10, 10]], [0.9, 0.5]), alike=8, unlike=16)
    assert faded.score[1] == pytest.approx(1 / (1 + np.exp((1 / 4) ** 2 * (8 + 16 * np.log(2)))), rel=1e-5)


def test_overlapping_pairs_are_those_of_the_whole_matrix():
    rng = np.random.default_rng(4)
    middle, half = rng.uniform(0, 120, (150, 2)), np.exp(rng.normal(2, 0.8, (150, 2)))
    boxes = np.concatenate([middle - half, middle + half], 1).astype(np.float32)
    i, j, overlap = overlapping(boxes)
    whole = np.triu(iou(boxes, boxes), 1)
    assert (i < j).all() and len(i) == (whole > 0).sum()
    np.testing.assert_allclose(overlap, whole[i, j], rtol=1e-6)
    assert [len(part) for part in overlapping(np.zeros((0, 4), np.float32))] == [0, 0, 0]


@pytest.mark.parametrize("some", [1, 7, 1000])
def test_strips_have_the_pairs_of_the_whole(some):
    rng = np.random.default_rng(1)
    corner = rng.uniform(0, 200, (300, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, [30, 60], (300, 2))], axis=1)
    pairs = {tuple(sorted(pair)) for pair in zip(*overlapping_in_strips(boxes, some))}
    assert pairs == set(zip(*overlapping(boxes)[:2])) and len(overlapping_in_strips(boxes, some)[0]) == len(pairs)
    assert [len(part) for part in overlapping_in_strips(np.zeros((0, 4)))] == [0, 0]


def test_leaders_are_those_of_the_greedy_loop():
    rng = np.random.default_rng(7)
    for n, pairs in ((1, 0), (30, 40), (200, 900), (50, 1200)):
        first, second = np.sort(rng.integers(0, n, (2, pairs)), axis=0)
        first, second = first[first < second], second[first < second]
        expected = list(range(n))
        for one, other in sorted(zip(first.tolist(), second.tolist())):
            if expected[one] == one and expected[other] == other:
                expected[other] = one
        assert leaders(n, first, second).tolist() == expected
    assert leaders(5, np.arange(4), np.arange(1, 5)).tolist() == [0, 0, 2, 2, 4]  # a chain


def test_rows_in_order_stay_as_they_are():
    found = detections([[3, 1, 9, 9], [1, 2, 9, 9], [2, 2, 9, 9], [0, 0, 9, 9]], [0.9, 0.9, 0.9, 0.5])
    assert found.sorted() is found and Detections.empty().sorted().xyxy.shape == (0, 4)
    assert found.take(np.array([3, 2, 1, 0])).sorted().xyxy[:, 0].tolist() == [3, 1, 2, 0]
