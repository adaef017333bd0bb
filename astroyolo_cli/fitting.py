"""Least squares of a few parameters, so that a frame need not wait for SciPy's import."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

MOST_STEPS, AT_REST = 100, 1e-10  # the last step over the parameters' size


def least_squares(misfit: Callable[[np.ndarray], np.ndarray], start, low, high) -> np.ndarray:
    """The parameters (n,), none of them near 0, within ``low`` and ``high`` (n,), whose misfits (m,) have the least sum of squares.

    Levenberg-Marquardt (Marquardt 1963, SIAM J. Appl. Math. 11, 431); what would leave its bounds stays at them.
    """
    best, damping = np.array(start, float), 1e-3
    now = misfit(best)
    for _ in range(MOST_STEPS):
        slopes = derivatives(misfit, best)
        downhill = -slopes.T @ now
        free = np.where(downhill < 0, best > low, best < high)
        if not free.any():
            break
        curvature = slopes[:, free].T @ slopes[:, free]
        step = np.zeros_like(best)
        step[free] = np.linalg.lstsq(curvature + damping * np.diag(np.diag(curvature)), downhill[free], rcond=None)[0]
        trial = np.clip(best + step, low, high)
        then, moved = misfit(trial), np.abs(trial / best - 1).max()
        better = (then**2).sum() < (now**2).sum()
        damping *= 0.1 if better else 10
        if better:
            best, now = trial, then
        if moved < AT_REST:
            break
    return best


def derivatives(misfit: Callable[[np.ndarray], np.ndarray], place: np.ndarray) -> np.ndarray:
    """(m, n) of the misfits by the parameters."""
    width = 1e-5 * place
    return np.stack([(misfit(place + h) - misfit(place - h)) / (2 * h.sum()) for h in np.diag(width)], axis=1)
