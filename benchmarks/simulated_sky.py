"""How the embedded weights do on simulated fields of other seeds: python benchmarks/simulated_sky.py [WEIGHTS] [FIELDS].

Completeness by S/N, purity, and how many of the found stars and galaxies are called so. Matching is one to one, nearest first,
within half the PSF's FWHM; what lies on sources that nobody could see (S/N < 5) counts neither way. Fields of sharp stars, which the
network sees enlarged, are looked at once more as they are.
"""

import sys
import warnings
from dataclasses import dataclass

import numpy as np

from astroyolo_cli.errors import AstroYOLOWarning
from astroyolo_cli.evaluate.matching import nearest_first
from astroyolo_cli.frame import Frame
from astroyolo_cli.model.checkpoint import locate
from astroyolo_cli.model.engine import open_engine
from astroyolo_cli.pipeline import detect
from astroyolo_cli.settings import DEFAULT, DetectSettings
from astroyolo_cli.simulate import simulate_field

SEED = 90_000  # training fields have seeds 1 and 2
BINS = (5, 10, 20, 50, np.inf)


@dataclass(frozen=True)
class Score:
    """Of one field: a row a true source, (snr, is_galaxy, found, called galaxy); right and wrong detections; how far it was enlarged."""

    records: list
    right: int
    wrong: int
    zoom: float


def scored(engine, field, settings: DetectSettings = DEFAULT) -> Score:
    counts = {band: field.counts[band] for band in "zrg"}
    catalog = detect(Frame(counts, {b: ~np.isfinite(c) for b, c in counts.items()}, "r"), engine, settings).catalog
    truth, places = field.truth, np.stack([catalog["x"], catalog["y"]], 1)
    ignore = np.asarray(truth["ignore"], bool)
    true_places = np.stack([truth["x"], truth["y"]], 1)
    radius = max(0.5 * float(field.settings.fwhm[1]), 1.0)
    rows = np.flatnonzero(~ignore)
    matched = {int(rows[j]): i for i, j in enumerate(nearest_first(places, true_places[rows], radius)) if j >= 0}
    is_galaxy = np.asarray(truth["class"] == "galaxy")
    called = np.asarray(catalog["class"] == "galaxy")
    records = [(float(truth["snr"][k]), is_galaxy[k], k in matched, bool(called[matched[k]]) if k in matched else False) for k in rows]
    rest = np.setdiff1d(np.arange(len(places)), list(matched.values()))
    boxes = np.stack([truth[name] for name in ("xmin", "ymin", "xmax", "ymax")], 1)[ignore]
    wrong = sum(not ((p >= boxes[:, :2]) & (p <= boxes[:, 2:])).all(axis=1).any() for p in places[rest])
    return Score(records, len(matched), int(wrong), catalog.meta["provenance"]["zoom"])


def main() -> None:
    warnings.simplefilter("ignore", AstroYOLOWarning)  # some fields' stars are wider than the network knows
    weights, fields = (sys.argv[1:] + ["nano", "40"][len(sys.argv) - 1 :])[:2]
    engine = open_engine(locate(weights))
    scores, sharp, as_they_are = [], [], []
    for number in range(int(fields)):
        field = simulate_field(np.random.default_rng(SEED + number))
        scores.append(scored(engine, field))
        if scores[-1].zoom > 1:
            sharp.append(scores[-1])
            as_they_are.append(scored(engine, field, DetectSettings(zoom=1.0)))
    tell(f"{fields} simulated fields", scores)
    if sharp:
        tell(f"the {len(sharp)} of them with sharp stars, enlarged", sharp)
        tell("the same as they are, --zoom 1", as_they_are)


def tell(what: str, scores: list[Score]) -> None:
    records = np.array([row for score in scores for row in score.records], float)
    right, wrong = (sum(getattr(score, name) for score in scores) for name in ("right", "wrong"))
    found, true = 100 * records[:, 2].mean(), 100 * right / (right + wrong)
    print(f"{what}, {len(records)} sources of S/N >= 5: completeness {found:.1f} %, purity {true:.1f} %")
    for low, high in zip(BINS, BINS[1:]):
        these = records[(records[:, 0] >= low) & (records[:, 0] < high)]
        print(f"  S/N {low} to {high}: {len(these)} sources, found {100 * these[:, 2].mean():.1f} %, right class {right_class(these)}")


def right_class(records: np.ndarray) -> str:
    found = records[records[:, 2] == 1]
    parts = [(name, found[found[:, 1] == value]) for value, name in enumerate(("stars", "galaxies"))]
    return ", ".join(f"{name} {100 * (rows[:, 3] == rows[:, 1]).mean():.1f} %" for name, rows in parts)


if __name__ == "__main__":
    main()
