"""AstroYOLO beside source-extractor, sep and photutils: python benchmarks/peers.py -o runs/peers [--beside s].

The same frames, the same run: simulated DECam-like fields (decam_fields.py), plain and crowded, and with ASTROYOLO_DATA the SDSS
frame 004510, which no training has seen. The peers see the r band, as they work; AstroYOLO sees three bands, and r alone. Leaves
peers.json, peers.md and figures in the folder. Needs pip install -c constraints.txt -e '.[test,peers]', and source-extractor.
"""

import json
import os
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from astropy.io import fits
from astropy.table import Table
from decam_fields import write_fields
from peer_figures import draw_figures, markdown
from peer_real import real_frame
from peer_tools import TOOLS, Image
from scipy.spatial import cKDTree

from astroyolo_cli.evaluate.classes import balanced_accuracy, confusion, reliability
from astroyolo_cli.evaluate.fields import LOWEST, found_of_catalog, outcome_of, score_fields
from astroyolo_cli.evaluate.matching import match_field, radius_of
from astroyolo_cli.evaluate.truth import Truth, true_fields
from astroyolo_cli.inputs import field_of_folder
from astroyolo_cli.model.checkpoint import locate
from astroyolo_cli.model.engine import open_engine
from astroyolo_cli.pipeline import DetectSettings, detect
from astroyolo_cli.read import read_field

SEEDS = {"plain": 70_001, "crowded": 70_002}
MIN_SCORE = 0.3
SEPARATIONS = (0.5, 1.0, 1.5, 2.0, 3.0, 5.0)  # FWHM, edges of bins of the distance to the nearest neighbour
FIRST = "AstroYOLO z, r, g"
OURS = {FIRST: ("z", "r", "g"), "AstroYOLO r": ("r",)}


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--weights", default="nano", show_default=True)
@click.option("--beside", multiple=True, help="Further weights, on three bands.")
@click.option("--fields", default=30, show_default=True, help="Simulated plain fields; a third as many crowded ones.")
def main(output, weights, beside, fields):
    engine = open_engine(locate(weights))
    further = {name: open_engine(locate(name)) for name in beside}
    ours = {tool: (engine, bands) for tool, bands in OURS.items()}
    ours |= {f"{name} z, r, g": (one, OURS[FIRST]) for name, one in further.items()}
    counts = {"plain": fields, "crowded": max(fields // 3, 1)}
    scores = {}
    for crowd, count in counts.items():
        write_fields(output / crowd, crowd, count, SEEDS[crowd])
        scores[crowd] = simulated(output / crowd, ours)
    if "ASTROYOLO_DATA" in os.environ:
        scores["SDSS 004510"] = real_frame(Path(os.environ["ASTROYOLO_DATA"]), engine, further)
    scores |= {"weights": weights, "fields": counts}
    (output / "peers.json").write_text(json.dumps(scores, indent=1) + "\n")
    (output / "peers.md").write_text(markdown(scores) + "\n")
    draw_figures(scores, output)
    click.echo(markdown(scores))


def simulated(folder: Path, ours: dict) -> dict:
    """Tool -> its scores on the fields of a folder; ``ours``: name -> engine and bands."""
    truths, in_r, found = [], [], {tool: [] for tool in (*ours, *TOOLS)}
    for field in true_fields(folder):
        truths.append(field.read_truth())
        in_r.append(seen_in_r(truths[-1], folder / field.name))
        for tool, (engine, bands) in ours.items():
            frame = read_field(field_of_folder(folder / field.name, bands))
            found[tool].append(found_of_catalog(detect(frame, engine, DetectSettings(min_score=LOWEST)).catalog))
        image = image_of(folder / field.name / "img_r.fits")
        for tool, run in TOOLS.items():
            found[tool].append(run(image))
    return {tool: tool_scores(truths, catalogs) | scores_in_r(in_r, catalogs) for tool, catalogs in found.items()}


def seen_in_r(truth: Truth, folder: Path) -> Truth:
    """The same sources with their S/N in r alone."""
    table = Table.read(folder / "truth.fits")
    nearest = cKDTree(np.stack([table["x"], table["y"]], axis=1)).query(truth.xy)[1]
    return replace(truth, snr=np.asarray(table["snr_r"], float)[nearest])


def scores_in_r(truths: list, catalogs: list) -> dict:
    """Completeness, and how well classes are told, of S/N > 20 in r."""
    outcome = outcome_of(sure_of(truths, catalogs), 3.0)
    bright = outcome.snr > 20
    known = bright & outcome.found & np.isfinite(outcome.p_galaxy)
    table = confusion(outcome.p_galaxy[known] >= 0.5, outcome.is_galaxy[known])
    return {"completeness_r_20": float(outcome.found[bright].mean()), "balanced_r_20": balanced_accuracy(table) if known.any() else None}


def image_of(path: Path) -> Image:
    with fits.open(path) as hdus:
        header = hdus[0].header
        scale = header["PIXSCALE"]
        return Image(hdus[0].data.astype(float), header["SEEING"] / scale, scale, header["MAGZERO"], header["GAIN"], header["SATURATE"])


def sure_of(truths: list, catalogs: list) -> list[tuple]:
    """Truth and catalog of each field; of tools whose score is a probability the rows of ``MIN_SCORE`` and more."""
    return [(t, c.take(c.score >= MIN_SCORE) if c.probable else c) for t, c in zip(truths, catalogs)]


def tool_scores(truths: list, catalogs: list) -> dict:
    """What the page shows of one tool."""
    names = {truth.name: catalog for truth, catalog in zip(truths, catalogs)}
    scores = score_fields(truths, names, MIN_SCORE, 3.0, np.random.default_rng(0))
    sure = sure_of(truths, catalogs)
    outcome = outcome_of(sure, 3.0)
    bright = outcome.snr > 20
    classes = scores["star_galaxy"]
    precision = scores["average_precision"]
    return {
        "sources": scores["completeness"]["n"],
        "completeness": scores["completeness"]["fraction"],
        "completeness_above_20": float(outcome.found[bright].mean()),
        "purity": scores["purity"]["fraction"],
        "stars_right": right_of(classes.get("confusion"), 0),
        "galaxies_right": right_of(classes.get("confusion"), 1),
        "auc": classes.get("auc"),
        "mAP": precision.get("mAP(50-95)"),
        "AP50": precision.get("AP50"),
        "by_snr": scores["completeness"]["by_snr"],
        "by_mag": scores["completeness"]["by_mag"],
        "purity_by_snr": scores["purity"]["by_snr"],
        "classes_by_mag": classes.get("by_mag"),
        "roc": roc(outcome.p_galaxy[outcome.found], outcome.is_galaxy[outcome.found]),
        "blends": by_separation(sure),
        "reliability": {"score": (scores["score"] or {}).get("reliability"), "p_galaxy": reliability_by_magnitude(outcome)},
    }


def right_of(confusion: list | None, row: int) -> float | None:
    return confusion[row][row] / sum(confusion[row]) if confusion and sum(confusion[row]) else None


def roc(p_galaxy: np.ndarray, is_galaxy: np.ndarray) -> list[list[float]] | None:
    """Points (stars called galaxy, galaxies called galaxy) at a hundred thresholds; None for a tool without classes."""
    known = np.isfinite(p_galaxy)
    p, truth = p_galaxy[known], is_galaxy[known]
    if truth.all() or not truth.any():
        return None
    thresholds = np.unique(np.quantile(p, np.linspace(0, 1, 101)))
    return [[round(float((p[kind] >= t).mean()), 4) for kind in (~truth, truth)] for t in thresholds]


def reliability_by_magnitude(outcome) -> dict[str, list[dict]]:
    """Thirds of the sources found, brightest first -> bins of p_galaxy; empty for a tool without classes."""
    known = outcome.found & np.isfinite(outcome.p_galaxy)
    if not known.any():
        return {}
    thirds = np.array_split(np.flatnonzero(known)[np.argsort(outcome.mag[known])], 3)
    return {
        f"r {outcome.mag[rows[0]]:.1f} to {outcome.mag[rows[-1]]:.1f}": reliability(outcome.p_galaxy[rows], outcome.is_galaxy[rows])
        for rows in thirds
    }


def by_separation(pairs: list) -> list[dict]:
    """Completeness of sources of S/N > 20 by the distance in FWHM to the nearest one of S/N > 10."""
    separation, found = [], []
    for truth, catalog in pairs:
        mate = match_field(catalog, truth, radius_of(truth, 3.0)).mate
        seen = truth.snr > 10
        distance = np.hypot(*(truth.xy[:, None] - truth.xy[None, seen]).transpose(2, 0, 1))
        distance[distance == 0] = np.inf
        rows = (truth.snr > 20) & ~truth.ignore
        separation.append(distance.min(axis=1)[rows] / truth.fwhm)
        found.append(mate[rows] >= 0)
    separation, found = np.concatenate(separation), np.concatenate(found)
    bins = [(low, high, (separation >= low) & (separation < high)) for low, high in zip(SEPARATIONS, SEPARATIONS[1:])]
    return [{"from": low, "to": high, "n": int(rows.sum()), "found": float(found[rows].mean())} for low, high, rows in bins if rows.any()]


if __name__ == "__main__":
    main()
