"""Masks opened and grown, beside SciPy."""

import numpy as np
import pytest
from scipy import ndimage

from astroyolo_cli import masks
from astroyolo_cli.masks import grown, in_strips, most_around, opened


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (4, 4), (37, 52)])
@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.8, 1.0])
def test_masks_are_opened_and_grown_as_scipy_does(shape, part):
    values = np.random.default_rng(0).uniform(0, 1, shape)
    mask = values < part
    np.testing.assert_array_equal(opened(mask), ndimage.binary_opening(mask, np.ones((3, 3))))
    for times in (0, 1, 3):
        np.testing.assert_array_equal(grown(mask, times), ndimage.binary_dilation(mask, iterations=times) if times else mask)
    np.testing.assert_array_equal(most_around(values > part), ndimage.median_filter(values, 3) > part)


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_strips_of_a_mask_are_worked_on_as_the_whole(monkeypatch, rows):
    mask = np.random.default_rng(2).uniform(0, 1, (40, 30)) < 0.8
    monkeypatch.setattr(masks, "MASK_ROWS", rows)
    np.testing.assert_array_equal(in_strips(lambda part: grown(opened(part), 3), mask, reach=5), grown(opened(mask), 3))
    np.testing.assert_array_equal(in_strips(lambda part: opened(most_around(part)), mask, reach=3), opened(most_around(mask)))
