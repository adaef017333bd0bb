"""How well a probability tells two classes apart, and whether it means what it says. NumPy alone."""

from __future__ import annotations

import numpy as np

BINS = 10  # of equal counts, for the expected calibration error
RESAMPLES = 300


def class_scores(p: np.ndarray, positive: np.ndarray, rng: np.random.Generator) -> dict:
    """All scores of one two-class probability.

    Args:
        p: (n,) probability of the positive class; NaN rows are left out and counted.
        positive: (n,) bool, the truth.
        rng: for the bootstrap.

    Returns:
        Counts, ``accuracy``, ``balanced_accuracy``, ``auc``, ``ece`` with its 95 % interval, ``brier``, the 2 x 2 ``confusion``
        (rows true, columns called; negative class first) and the ``reliability`` bins. None where undefined.
    """
    known = np.isfinite(p)
    p, positive = p[known], positive[known]
    called = p >= 0.5
    table = confusion(called, positive)
    return {
        "n": len(p),
        "without_class": int((~known).sum()),
        "accuracy": ratio(table.trace(), table.sum()),
        "balanced_accuracy": balanced_accuracy(table),
        "auc": auc(p, positive),
        "brier": brier(p, positive),
        "ece": expected_calibration_error(p, positive),
        "ece_95": bootstrap(expected_calibration_error, p, positive, rng),
        "confusion": table.tolist(),
        "reliability": reliability(p, positive),
    }


def ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def confusion(called: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """(2, 2) counts: rows are true, columns called, the negative class first."""
    return np.bincount(2 * positive.astype(int) + called.astype(int), minlength=4).reshape(2, 2)


def balanced_accuracy(table: np.ndarray) -> float | None:
    """The mean over both classes of the part called right; None where one class is not there."""
    totals = table.sum(axis=1)
    return float(np.mean(np.diag(table) / totals)) if totals.all() else None


def auc(p: np.ndarray, positive: np.ndarray) -> float | None:
    """The chance that a positive has a higher p than a negative, ties half: Mann and Whitney's U by ranks."""
    n_positive = int(positive.sum())
    n_negative = len(p) - n_positive
    if not n_positive or not n_negative:
        return None
    values, inverse, counts = np.unique(p, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    rank = last - (counts - 1) / 2  # mean rank of equal values, from 1
    u = rank[inverse][positive].sum() - n_positive * (n_positive + 1) / 2
    return float(u / (n_positive * n_negative))


def brier(p: np.ndarray, positive: np.ndarray) -> float | None:
    """The mean squared difference from what happened (Brier 1950); 0.25 for always saying one half."""
    return float(np.mean((p - positive) ** 2)) if len(p) else None


def equal_count_bins(p: np.ndarray, bins: int = BINS) -> list[np.ndarray]:
    """Rows by rising p, in at most ``bins`` parts of counts that differ by one at most; none empty."""
    return [rows for rows in np.array_split(np.argsort(p, kind="stable"), bins) if len(rows)]


def reliability(p: np.ndarray, positive: np.ndarray) -> list[dict]:
    """What was said and what happened, bin by bin, with Wilson's interval."""
    from .counts import wilson

    rows = []
    for part in equal_count_bins(p):
        low, high = wilson(int(positive[part].sum()), len(part))
        said, happened = float(p[part].mean()), float(positive[part].mean())
        rows.append({"said": said, "happened": happened, "low": low, "high": high, "n": len(part)})
    return rows


def expected_calibration_error(p: np.ndarray, positive: np.ndarray) -> float | None:
    """Mean distance of what was said from what happened over equal-count bins (Naeini et al. 2015, AAAI)."""
    if len(p) == 0:
        return None
    parts = equal_count_bins(p)
    apart = [abs(p[rows].mean() - positive[rows].mean()) * len(rows) for rows in parts]
    return float(np.sum(apart) / len(p))


def bootstrap(statistic, p: np.ndarray, positive: np.ndarray, rng: np.random.Generator) -> list[float] | None:
    """The central 95 % of a statistic over resampled rows. For an ECE it lies high: noise cannot lower a distance."""
    if len(p) == 0:
        return None
    draws = (rng.integers(len(p), size=len(p)) for _ in range(RESAMPLES))
    return [float(q) for q in np.quantile([statistic(p[d], positive[d]) for d in draws], [0.025, 0.975])]
