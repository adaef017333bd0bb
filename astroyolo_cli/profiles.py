"""The part of a galaxy's light in a circle, when a star's profile blurs it: sums of Gaussians, which blur each other exactly."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

# Weights, and sigmas in half-light radii, of Gaussians whose sum grows as a Sersic profile of that index does, within 3e-4 of its
# light from 0.03 to 12 half-light radii (as Hogg & Lang 2013, PASP 125, 719).
SERSIC = {
    1.0: (
        np.array([0.0034, 0.0305, 0.1378, 0.3469, 0.3828, 0.0985]),
        np.array([0.0918, 0.2276, 0.4353, 0.7403, 1.1742, 1.7973]),
    ),
    2.0: (
        np.array([0.0049, 0.0255, 0.0792, 0.1702, 0.2597, 0.2672, 0.1588, 0.0344]),
        np.array([0.0368, 0.1018, 0.2178, 0.4180, 0.7579, 1.3407, 2.3882, 4.5473]),
    ),
}
NODES = 24  # Gaussians for a Moffat profile
RADII, SIZES = np.geomspace(0.1, 100, 90), np.geomspace(0.03, 100, 40)  # of circles, and of half the light, in FWHM: what is tabulated


def blurred_part(radius: np.ndarray, half_light: np.ndarray, index: float, fwhm: float, beta: float) -> np.ndarray:
    """(n,) part within circles of ``radius`` (n,) of round Sersic profiles of ``half_light`` radius (n,), seen through a Moffat profile.

    Args:
        index: one of ``SERSIC``.
    """
    table = parts_by_size(index, beta)
    at = [np.interp(np.log(value / fwhm), np.log(grid), np.arange(len(grid))) for value, grid in ((radius, RADII), (half_light, SIZES))]
    (i, u), (j, v) = ((np.minimum(where.astype(int), n - 2), where) for where, n in zip(at, table.shape))
    u, v = u - i, v - j
    return (table[i, j] * (1 - v) + table[i, j + 1] * v) * (1 - u) + (table[i + 1, j] * (1 - v) + table[i + 1, j + 1] * v) * u


@lru_cache(maxsize=64)
def parts_by_size(index: float, beta: float) -> np.ndarray:
    """The same for ``RADII`` and ``SIZES``."""
    weights, sigmas = SERSIC[index]
    shares, variances = moffat_gaussians(beta)
    alpha = core_radius(1.0, beta)
    part = np.zeros((len(RADII), len(SIZES)))
    for weight, sigma in zip(weights / weights.sum(), sigmas):
        blurred = (sigma * SIZES[:, None]) ** 2 + variances * alpha**2
        part += weight * -np.expm1(-0.5 * RADII[:, None, None] ** 2 / blurred) @ shares
    return part


def core_radius(fwhm: float, beta: float) -> float:
    """alpha of a Moffat profile."""
    return fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))


def moffat_gaussians(beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights, whose sum is 1, and variances (alpha squared) of Gaussians that together are a Moffat profile, ``beta`` > 1.

    It is a mixture of them whose precisions, over 2, have a Gamma distribution of shape beta - 1; the sum goes over its logarithm.
    """
    shape = beta - 1
    away = np.linspace(-7 / shape - 4 / np.sqrt(shape), 3.5 / np.sqrt(shape), NODES)
    weights = np.exp(shape * (away - np.expm1(away)))
    return weights / weights.sum(), 0.5 / (shape * np.exp(away))
