"""Least squares of our own against SciPy's."""

import numpy as np
import pytest
from scipy import optimize, special

from astroyolo_cli.fitting import least_squares
from astroyolo_cli.photometry import Moffat, light_within, radius_of_light

RADII = 4.0 * np.array([0.35, 0.5, 0.7, 1.0, 1.4, 2.0])


def growth(p):
    part = Moffat(p[0], p[1]).part_within(RADII)
    return part / part[4]


@pytest.mark.parametrize("seed", range(20))
def test_the_least_of_noisy_curves_is_scipys(seed):
    rng = np.random.default_rng(seed)
    seen = growth((rng.uniform(2.5, 6), rng.uniform(1.8, 9))) + rng.normal(0, 0.004, len(RADII))
    low, high = np.array([2.0, 1.5]), np.array([8.0, 30.0])
    ours = least_squares(lambda p: growth(p) - seen, (4.0, 3.5), low, high)
    theirs = optimize.least_squares(lambda p: growth(p) - seen, (4.0, 3.5), bounds=(low, high), xtol=1e-12, ftol=1e-14, gtol=1e-14)
    assert ((growth(ours) - seen) ** 2).sum() <= 2 * theirs.cost + 1e-9
    np.testing.assert_allclose(growth(ours), growth(theirs.x), atol=1e-4)


@pytest.mark.parametrize(("true", "at"), [((1.0, 4.0), 2.0), ((9.0, 4.0), 8.0)])
def test_what_lies_beyond_a_bound_ends_at_it_and_the_rest_is_the_best_there(true, at):
    seen, low, high = growth(true), np.array([2.0, 1.5]), np.array([8.0, 30.0])
    ours = least_squares(lambda p: growth(p) - seen, (4.0, 3.5), low, high)
    assert ours[0] == at
    alone = optimize.minimize_scalar(lambda b: ((growth((at, b)) - seen) ** 2).sum(), bounds=(1.5, 30), method="bounded")
    assert ((growth(ours) - seen) ** 2).sum() == pytest.approx(alone.fun, rel=1e-4)


@pytest.mark.parametrize("index", [1.0, 2.0])
def test_light_within_is_the_incomplete_gamma_function(index):
    x, part = np.linspace(0.01, 30, 50), np.linspace(0.01, 0.99, 50)
    np.testing.assert_allclose(light_within(index, x), special.gammainc(2 * index, x), atol=1e-12)
    np.testing.assert_allclose(radius_of_light(index, part), special.gammaincinv(2 * index, part), rtol=1e-9)
