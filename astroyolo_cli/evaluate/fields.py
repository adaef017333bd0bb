"""Scores on whole fields: what is found, what is true of it, its class, box and place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..read import read_field
from .average_precision import average_precision
from .catalogs import EDGES, Found, column, positions
from .classes import balanced_accuracy, bootstrap, brier, class_scores, confusion, expected_calibration_error, ratio, reliability
from .counts import fraction_scores, magnitude_edges, none_if_infinite, residual_scores
from .matching import OUTSIDE, Match, match_field, radius_of
from .truth import TrueField, Truth

LOWEST = 0.01  # score down to which the network is asked: a threshold before it would flatter the average precision


@dataclass(frozen=True)
class Outcome:
    """All fields of one tool in one heap.

    Attributes:
        mag, snr, is_galaxy: (n,) of every true source that counts.
        found: (n,) bool.
        p_galaxy: (n,) as the tool says of the detection; NaN where there is none.
        dx, dy: (n,) found minus true, pixels; NaN where not found.
        said_score, said_mag, said_snr: (m,) of every detection that counts.
        true: (m,) bool, whether it is a true source.
    """

    mag: np.ndarray
    snr: np.ndarray
    is_galaxy: np.ndarray
    found: np.ndarray
    p_galaxy: np.ndarray
    dx: np.ndarray
    dy: np.ndarray
    said_score: np.ndarray
    said_mag: np.ndarray
    said_snr: np.ndarray
    true: np.ndarray


def network_catalogs(fields: list[TrueField], engine, settings, advance: Callable[[], None]) -> dict[str, Found]:
    """Field -> what the network finds in it. ``settings`` (pipeline.DetectSettings) should go down to ``LOWEST``."""
    from ..pipeline import detect

    catalogs = {}
    for field in fields:
        frame = read_field(field.find_image())
        catalogs[field.name] = found_of_catalog(detect(frame, engine, settings).catalog)
        advance()
    return catalogs


def found_of_catalog(table) -> Found:
    boxes = np.stack([column(table, name) for name in EDGES], 1).reshape(-1, 4)
    names = ("score", "p_galaxy", "snr", "mag")
    return Found(positions(table, "x", "y"), boxes, *(column(table, name) for name in names))


def score_fields(truths: list[Truth], catalogs: dict[str, Found], min_score: float, radius: float, rng: np.random.Generator) -> dict:
    """Everything that can be said of one tool on D_sg.

    Args:
        catalogs: field -> found, of every true field.
        min_score: counts, classes and places are of detections that reach it; average precision and the calibration of
            the score are of all.
        radius: matching radius in pixels where the PSF is not known.
    """
    pairs = [(truth, catalogs[truth.name]) for truth in truths]
    sure = [(truth, found.take(found.score >= min_score) if found.probable else found) for truth, found in pairs]
    outcome = outcome_of(sure, radius)
    seen = outcome.found
    return {
        "average_precision": average_precision(pairs),
        "completeness": fraction_scores(seen, outcome.mag, outcome.snr),
        "purity": fraction_scores(outcome.true, outcome.said_mag, outcome.said_snr),
        "star_galaxy": class_scores(outcome.p_galaxy[seen], outcome.is_galaxy[seen], rng)
        | {"by_mag": confusion_by_magnitude(outcome), "end_to_end": end_to_end(outcome)},
        "score": score_calibration(pairs, radius, rng),
        "centres": residual_scores(outcome.dx[seen], outcome.dy[seen], outcome.snr[seen]) | {"points": points(outcome)},
    }


def outcome_of(pairs: list[tuple[Truth, Found]], radius: float) -> Outcome:
    parts = [outcome_of_field(truth, found, match_field(found, truth, radius_of(truth, radius))) for truth, found in pairs]
    return Outcome(*(np.concatenate(columns) for columns in zip(*parts)))


def outcome_of_field(truth: Truth, found: Found, match: Match) -> tuple[np.ndarray, ...]:
    """The columns of Outcome, of one field."""
    counted = ~truth.ignore
    mate = match.mate[counted]
    seen = mate >= 0
    offset = np.full((len(mate), 2), np.nan)
    offset[seen] = found.xy[mate[seen]] - truth.xy[counted][seen]
    p_galaxy = np.full(len(mate), np.nan)
    p_galaxy[seen] = found.p_galaxy[mate[seen]]
    counts = match.verdict != OUTSIDE
    said = (found.score[counts], found.mag[counts], found.snr[counts], match.verdict[counts] >= 0)
    return truth.mag[counted], truth.snr[counted], truth.is_galaxy[counted], seen, p_galaxy, offset[:, 0], offset[:, 1], *said


def confusion_by_magnitude(outcome: Outcome) -> list[dict]:
    """A magnitude a row: the 2 x 2 counts (rows true, columns called; star first) of what was found and classified."""
    known = outcome.found & np.isfinite(outcome.p_galaxy)
    edges = magnitude_edges(outcome.mag[known])
    rows = []
    for low, high in zip(edges, edges[1:]):
        inside = known & (outcome.mag >= low) & (outcome.mag < high)
        if inside.any():
            table = confusion(outcome.p_galaxy[inside] >= 0.5, outcome.is_galaxy[inside])
            rows.append({"from": none_if_infinite(low), "to": none_if_infinite(high)} | summary(table))
    return rows


def summary(table: np.ndarray) -> dict:
    stars, galaxies = (ratio(table[i, i], table[i].sum()) for i in range(2))
    return {"confusion": table.tolist(), "stars_right": stars, "galaxies_right": galaxies, "balanced_accuracy": balanced_accuracy(table)}


def end_to_end(outcome: Outcome) -> dict:
    """Of all true sources, found or not, the part that is found and called right."""
    right = outcome.found & ((outcome.p_galaxy >= 0.5) == outcome.is_galaxy) & np.isfinite(outcome.p_galaxy)
    kinds = {"stars": ~outcome.is_galaxy, "galaxies": outcome.is_galaxy}
    return {kind: ratio(right[rows].sum(), rows.sum()) for kind, rows in kinds.items()}


def score_calibration(pairs: list[tuple[Truth, Found]], radius: float, rng: np.random.Generator) -> dict | None:
    """Does the score say how many detections are true? None for tools whose score is a rank."""
    if not all(found.probable for _, found in pairs):
        return None
    every = outcome_of(pairs, radius)
    p, true = every.said_score, every.true
    return {
        "n": len(p),
        "ece": expected_calibration_error(p, true),
        "ece_95": bootstrap(expected_calibration_error, p, true, rng),
        "brier": brier(p, true),
        "reliability": reliability(p, true),
    }


def points(outcome: Outcome, most: int = 2000) -> list[list[float]]:
    """dx, dy of the first so many sources found, to draw."""
    seen = np.flatnonzero(outcome.found)[:most]
    return np.round(np.stack([outcome.dx[seen], outcome.dy[seen]], 1), 3).tolist()
