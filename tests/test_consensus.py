"""Two views of a tile."""

import numpy as np
import pytest

from astroyolo_cli.consensus import SAME, consensus, half_turned, partners
from astroyolo_cli.detections import Detections
from test_tile import detections


def test_half_a_turn_twice_is_none():
    found = detections([[1, 2, 11, 22], [-0.5, -0.5, 511.5, 511.5]], [0.9, 0.5])
    np.testing.assert_allclose(half_turned(half_turned(found, 512), 512).xyxy, found.xyxy)
    assert half_turned(found, 512).xyxy[0].tolist() == [500, 489, 510, 509]
    assert half_turned(found, 512).xyxy[1].tolist() == [-0.5, -0.5, 511.5, 511.5]  # the whole image stays the whole


def test_what_both_see_is_averaged_and_what_one_sees_is_halved():
    first = detections([[0, 0, 10, 10], [50, 50, 60, 60]], [0.9, 0.8])
    second = detections([[1, 0, 11, 10]], [0.3])
    agreed = consensus(first, second)
    assert agreed.score.tolist() == pytest.approx([0.6, 0.4])
    assert agreed.xyxy[0].tolist() == pytest.approx([0.25, 0, 10.25, 10])


def test_neither_view_comes_first():
    rng = np.random.default_rng(0)
    center, half = rng.uniform(0, 200, (60, 2)), rng.uniform(3, 9, (60, 2))
    boxes, scores = np.concatenate([center - half, center + half], 1), rng.uniform(0.1, 1, 60)
    first, second = detections(boxes[:30], scores[:30]), detections(boxes[:30] + rng.normal(0, 1, (30, 4)), scores[30:])
    a, b = consensus(first, second).sorted(), consensus(second, first).sorted()
    np.testing.assert_allclose(a.xyxy, b.xyxy, atol=1e-4)
    np.testing.assert_allclose(a.score, b.score, atol=1e-6)


def test_nothing_twice_is_nothing():
    assert len(consensus(Detections.empty(), Detections.empty())) == 0
    assert len(consensus(detections([[0, 0, 9, 9]], [0.8]), Detections.empty())) == 1


def test_partners_are_the_nearest_of_all_pairs():
    rng = np.random.default_rng(2)
    center, half = rng.uniform(0, 90, (70, 2)), rng.uniform(2, 9, (70, 2))
    boxes = np.concatenate([center - half, center + half], 1)
    first, second = detections(boxes[:50], np.ones(50)), detections(boxes[20:] + rng.normal(0, 1, (50, 4)), np.ones(50))
    middles, sides = (
        [f(d.xyxy) for d in (first, second)] for f in (lambda b: (b[:, :2] + b[:, 2:]) / 2, lambda b: (b[:, 2:] - b[:, :2]).min(1))
    )
    apart = np.hypot(*(middles[0][:, None] - middles[1][None]).transpose(2, 0, 1)) / np.minimum(sides[0][:, None], sides[1][None])
    expected = np.full(50, -1)
    while apart.min() < SAME:
        i, j = np.unravel_index(apart.argmin(), apart.shape)
        expected[i] = j
        apart[i], apart[:, j] = np.inf, np.inf
    assert (expected >= 0).sum() > 20
    np.testing.assert_array_equal(partners(first, second), expected)
