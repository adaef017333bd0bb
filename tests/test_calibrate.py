"""Calibration against data whose miscalibration is known."""

import numpy as np
import pytest

from astroyolo_cli.model.checkpoint import Calibration
from astroyolo_cli.model.decoding import probability
from astroyolo_cli.train.calibrate import Opinions, fit_line, fit_temperature, match


def opinions(temperature, n=40_000, seed=0):
    """Logits that are too sharp or too flat in a known way: p = sigmoid(logit / temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, n)
    return Opinions(logits, rng.random(n) < 1 / (1 + np.exp(-logits / temperature)))


def test_the_temperature_is_found():
    assert fit_temperature(opinions(0.5)).temperature == pytest.approx(0.5, rel=0.06)


def test_calibrated_probabilities_are_frequencies():
    data = opinions(3.0)
    p = probability(data.logits, fit_temperature(data))
    for low in (0.1, 0.4, 0.8):
        here = (p >= low) & (p < low + 0.1)
        assert data.truth[here].mean() == pytest.approx(p[here].mean(), abs=0.03)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_slope_and_offset_are_found_whatever_the_classes_numbers(share):
    """Two Gaussians of width s, m above and below c: the odds of equal classes are (x - c) 2 m / s^2."""
    rng = np.random.default_rng(3)
    truth = rng.random(100_000) < share
    fitted = fit_line(Opinions(rng.normal(np.where(truth, 0.7 + 1.5, 0.7 - 1.5), 1.2), truth))
    assert (fitted.temperature, fitted.offset) == (pytest.approx(1.2**2 / (2 * 1.5), rel=0.05), pytest.approx(0.7, abs=0.05))


def test_one_sided_data_change_nothing():
    assert fit_line(Opinions(np.array([1.0, 2.0]), np.array([True, True]))) == Calibration()
    assert fit_temperature(Opinions(np.array([1.0, 2.0]), np.array([True, True]))) == Calibration()


@pytest.mark.parametrize("p", [0.01, 0.3, 0.9])
def test_before_inverts_the_calibration(p):
    calibration = Calibration(1.7, -0.4)
    raw = calibration.before(p)
    assert probability(np.log(raw / (1 - raw)), calibration) == pytest.approx(p, rel=1e-5)


def test_matching_is_one_to_one_nearest_first():
    truth = np.array([[0, 0, 10, 10], [100, 100, 110, 110]], float)
    found = np.array([[1, 0, 11, 10], [0, 0, 10.4, 10], [50, 50, 60, 60]], float)
    assert match(found, truth).tolist() == [-1, 0, -1]
