"""Masks opened and grown, beside SciPy."""

import numpy as np
import pytest
from scipy import ndimage

from astroyolo_cli.masks import grown, most_around, opened


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (4, 4), (37, 52)])
@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.8, 1.0])
def test_masks_are_opened_and_grown_as_scipy_does(shape, part):
    values = np.random.default_rng(0).uniform(0, 1, shape)
    mask = values < part
    np.testing.assert_array_equal(opened(mask), ndimage.binary_opening(mask, np.ones((3, 3))))
    for times in (0, 1, 3):
        np.testing.assert_array_equal(grown(mask, times), ndimage.binary_dilation(mask, iterations=times) if times else mask)
    np.testing.assert_array_equal(most_around(values > part), ndimage.median_filter(values, 3) > part)
