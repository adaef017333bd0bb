"""How many of the true sources are found, how many of the found are true, and how far off: against magnitude and S/N."""

from __future__ import annotations

import numpy as np

SNR_EDGES = (0, 5, 7, 10, 15, 20, 30, 50, 100, np.inf)
MAG_STEP = 1.0
Z = 1.959964  # of a central 95 % interval


def wilson(k: int, n: int) -> tuple[float, float]:
    """95 % interval of a fraction k of n (Wilson 1927, JASA 22, 209); 0 to 1 for n = 0.

    >>> wilson(0, 10)
    (0.0, 0.2775)
    """
    if n == 0:
        return 0.0, 1.0
    part, widening = k / n, Z**2 / n
    middle = (part + widening / 2) / (1 + widening)
    half = Z / (1 + widening) * np.sqrt(part * (1 - part) / n + widening / (4 * n))
    return round(float(max(middle - half, 0)), 4), round(float(min(middle + half, 1)), 4)


def fraction(success: np.ndarray) -> dict:
    """Part that is true of (n,) bool, with Wilson's interval."""
    k, n = int(success.sum()), len(success)
    low, high = wilson(k, n)
    return {"k": k, "n": n, "fraction": k / n if n else None, "low": low, "high": high}


def binned(values: np.ndarray, success: np.ndarray, edges) -> list[dict]:
    """The fraction in each bin low <= value < high that holds anything; NaN values are in none."""
    rows = []
    for low, high in zip(edges, edges[1:]):
        inside = (values >= low) & (values < high)
        if inside.any():
            rows.append({"from": none_if_infinite(low), "to": none_if_infinite(high)} | fraction(success[inside]))
    return rows


def none_if_infinite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def magnitude_edges(*magnitudes: np.ndarray) -> np.ndarray:
    """Whole magnitudes from the brightest to the faintest."""
    known = np.concatenate([m[np.isfinite(m)] for m in magnitudes])
    if len(known) == 0:
        return np.zeros(0)
    return np.arange(np.floor(known.min()), np.floor(known.max()) + 1.5 * MAG_STEP, MAG_STEP)


def fraction_scores(success: np.ndarray, mag: np.ndarray, snr: np.ndarray) -> dict:
    """Overall, by magnitude and by S/N."""
    return fraction(success) | {"by_mag": binned(mag, success, magnitude_edges(mag)), "by_snr": binned(snr, success, SNR_EDGES)}


def residual_scores(dx: np.ndarray, dy: np.ndarray, snr: np.ndarray) -> dict:
    """Found minus true position, pixels: median, robust sigma and root mean square of each axis, and by S/N."""
    rows = []
    for low, high in zip(SNR_EDGES, SNR_EDGES[1:]):
        inside = (snr >= low) & (snr < high)
        if inside.any():
            rows.append({"from": low, "to": none_if_infinite(high)} | spread(dx[inside], dy[inside]))
    return spread(dx, dy) | {"by_snr": rows}


def spread(dx: np.ndarray, dy: np.ndarray) -> dict:
    """Of one axis: sigma is 1.4826 times the median distance from the median, the standard deviation of a Gaussian."""
    if len(dx) == 0:
        return {"n": 0}
    median = float(np.median(dx)), float(np.median(dy))
    both = np.concatenate([dx - median[0], dy - median[1]])
    rms = float(np.sqrt(np.mean(np.concatenate([dx, dy]) ** 2)))
    return {"n": len(dx), "median_x": median[0], "median_y": median[1], "sigma": float(1.4826 * np.median(np.abs(both))), "rms": rms}
