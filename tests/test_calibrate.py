"""Calibration against data whose miscalibration is known."""

import numpy as np
import pytest

from astroyolo_cli.model.checkpoint import Calibration
from astroyolo_cli.model.decoding import probability
from astroyolo_cli.train.calibrate import Opinions, fit_temperature, match


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


def test_one_sided_data_change_nothing():
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
