"""Stars of a frame share the size of its PSF; galaxies, blends and boxes at the edge keep theirs."""

import numpy as np

from astroyolo_cli.detections import Detections, centers
from astroyolo_cli.star_boxes import with_shared_size

SHAPE = (300, 400)


def detections(boxes, p_galaxy) -> Detections:
    n = len(boxes)
    p_galaxy = np.broadcast_to(np.asarray(p_galaxy, np.float32), n).copy()
    return Detections(np.array(boxes, np.float32), np.full(n, 0.9, np.float32), p_galaxy, np.full(n, 0.5, np.float32), np.zeros(n, bool))


def squares(n, side, rng, jitter=0.0):
    middle = rng.uniform(40, 250, (n, 2))
    half = side / 2 * np.exp(rng.normal(0, jitter, (n, 2)))
    return np.concatenate([middle - half, middle + half], 1)


def sides(found):
    return found.xyxy[:, 2:] - found.xyxy[:, :2]


def test_stars_take_the_size_of_the_frames_stars_and_stay_where_they_are():
    rng = np.random.default_rng(0)
    before = detections(squares(200, 14, rng, 0.1), 0.01)
    after = with_shared_size(before, SHAPE)
    assert sides(after).std() < 0.1 * sides(before).std()
    assert abs(np.median(sides(after)) - 14) < 0.3
    np.testing.assert_allclose(centers(after.xyxy), centers(before.xyxy), atol=1e-4)


def test_galaxies_and_what_is_much_larger_keep_their_boxes():
    rng = np.random.default_rng(1)
    boxes = np.concatenate([squares(50, 14, rng), squares(5, 40, rng), [[50, 60, 70, 70]], [[-0.5, 100, 9, 114]]])
    found = detections(boxes, [0.01] * 55 + [1.0] + [0.01])
    np.testing.assert_array_equal(with_shared_size(found, SHAPE).xyxy[50:], found.xyxy[50:])


def test_few_stars_or_none_change_nothing():
    rng = np.random.default_rng(2)
    for found in (detections(squares(4, 14, rng, 0.2), 0.0), detections(squares(50, 14, rng, 0.2), 0.9), Detections.empty()):
        np.testing.assert_array_equal(with_shared_size(found, SHAPE).xyxy, found.xyxy)


def test_a_doubtful_star_moves_less_than_a_sure_one():
    rng = np.random.default_rng(3)
    boxes = np.concatenate([squares(20, 14, rng), [[100, 100, 117, 117]], [[150, 100, 167, 117]]])
    after = sides(with_shared_size(detections(boxes, [0.0] * 21 + [0.5]), SHAPE))
    assert abs(after[20] - 14).max() < 0.01 < 1 < abs(after[21] - 14).min()
    np.testing.assert_allclose(np.log(after[21] / 17), 0.25 * np.log(14 / 17), rtol=1e-3)
