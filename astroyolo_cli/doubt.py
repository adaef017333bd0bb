"""What measuring says against the network's detections: where no light of its own stands in the middle of a box, the score falls.

Pieces of galaxies, halos and what lies between two sources have boxes without a peak of their own.
"""

from __future__ import annotations

import numpy as np
from astropy.table import Table

from .columns import CENTROID_FAILED
from .detections import with_odds

UNPLACED = 0.4  # factor to the odds; of detections of one score in simulated fields, those without a centroid are true so much less often


def doubted(catalog: Table, min_score: float) -> Table:
    """The catalog with the lower scores of rows without a centroid, highest first, numbered anew, and without those below ``min_score``."""
    unplaced = (np.asarray(catalog["flags"]) & CENTROID_FAILED) != 0
    if not unplaced.any():
        return catalog
    score = np.asarray(catalog["score"], float)
    score = np.where(unplaced, with_odds(score, UNPLACED), score).astype(np.float32)
    catalog["score"][:] = score
    order = np.argsort(-score, kind="stable")
    kept = catalog[order[score[order] >= np.float32(min_score)]]
    kept["id"][:] = np.arange(1, len(kept) + 1)
    return kept
