"""Stars of a frame share the size of its PSF, as masks of their noise-free images have it; galaxies, blends and edges keep theirs."""

import numpy as np
import pytest
from astropy.modeling.functional_models import Moffat2D

from astroyolo_cli.boxes import in_whole_pixels, with_shared_size, with_size_of_profile
from astroyolo_cli.detections import Detections, centers
from astroyolo_cli.measure import measure
from astroyolo_cli.photometry import Moffat
from astroyolo_cli.simulate.truth import mask_bounds, source_mask
from astroyolo_cli.stretch import Background
from conftest import make_frame

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


def test_the_profile_gives_size_and_place_and_few_stars_half_of_it():
    rng = np.random.default_rng(4)
    found = detections(squares(30, 14, rng), 0.0)
    place, sound = centers(found.xyxy) + 0.3, np.arange(30) > 0
    many, few = (with_size_of_profile(found, place, sound, Moffat(4.0, 3.0, stars), SHAPE) for stars in (1000, 2))
    radius = 2 / np.sqrt(2 ** (1 / 3) - 1) * np.sqrt(200 ** (1 / 3) - 1)
    np.testing.assert_allclose(sides(many)[1:], 2 * radius - 4 / radius, rtol=1e-3)
    np.testing.assert_allclose(sides(few)[1:] ** 2, 14 * (2 * radius - 4 / radius), rtol=1e-3)
    np.testing.assert_allclose(centers(many.xyxy)[1:], place[1:], atol=1e-3)
    np.testing.assert_array_equal(many.xyxy[0], found.xyxy[0])
    np.testing.assert_array_equal(with_size_of_profile(found, place, sound, Moffat(4.0, 3.0, 0), SHAPE).xyxy, found.xyxy)


@pytest.mark.parametrize(("fwhm", "beta"), [(3.2, 2.6), (4.0, 3.0), (5.5, 4.5)])
def test_boxes_of_stars_are_those_of_their_masks(fwhm, beta):
    """Whatever the network's size, 12 % too large here: nearly every edge is on the right pixel."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:400, :400].astype(float)
    middle = np.stack(np.meshgrid(np.arange(30, 380, 48), np.arange(30, 380, 48)), -1).reshape(-1, 2) + rng.uniform(-2, 2, (64, 2))
    gamma = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    alone = [Moffat2D(rng.uniform(300, 3000), *place, gamma, beta)(x, y) for place in middle]
    true = np.array([mask_bounds(source_mask(image, "star")) for image in alone])
    wide = centers(true) + rng.normal(0, 0.4, (64, 2))
    half = 1.12 * (true[:, 2:] - true[:, :2]) / 2
    frame = make_frame({"r": sum(alone) + rng.normal(0, 1, x.shape)})
    sky = {"r": Background(np.zeros((1, 1)), np.ones((1, 1)), frame.shape)}
    catalog = measure(frame, detections(np.concatenate([wide - half, wide + half], 1), 0.0), sky)
    edges = np.stack([catalog[name] for name in ("xmin", "ymin", "xmax", "ymax")], 1)
    assert np.mean(edges == true) > 0.7 and np.abs(edges - true).max() <= 1


def test_boxes_hold_whole_pixels():
    rng = np.random.default_rng(6)
    boxes = squares(200, 9, rng, 0.3)
    for box, (x0, y0, x1, y1) in zip(boxes, in_whole_pixels(boxes)):
        inside = [[n for n in range(400) if low <= n <= high] for low, high in ((box[0], box[2]), (box[1], box[3]))]
        assert (x0, x1, y0, y1) == (inside[0][0] - 0.5, inside[0][-1] + 0.5, inside[1][0] - 0.5, inside[1][-1] + 0.5)
    np.testing.assert_array_equal(in_whole_pixels(in_whole_pixels(boxes)), in_whole_pixels(boxes))
