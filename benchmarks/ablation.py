"""What each choice in the network brings, at equal cost: python benchmarks/ablation.py -o runs/ablation [--images 8000] [--row NAME].

Every row is trained from scratch on the same simulated fields, in the same order, by as many images, and differs from the first in one
thing; the last is the network as it is shipped. Scored on DECam-like fields of another simulator (decam_fields.py), by detection as
users run it. Rows that are done are kept in OUTPUT/ablation.json: called again, it goes on where it stopped.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import click
import numpy as np
import torch
from decam_fields import write_fields
from peers import tool_scores
from table1 import simulated

from astroyolo_cli import pipeline
from astroyolo_cli.evaluate.fields import LOWEST, network_catalogs
from astroyolo_cli.evaluate.truth import true_fields
from astroyolo_cli.frame import Frame
from astroyolo_cli.inputs import FieldInput
from astroyolo_cli.model import assign
from astroyolo_cli.model.engine import open_engine
from astroyolo_cli.read import read_field
from astroyolo_cli.settings import DetectSettings
from astroyolo_cli.stretch import Background, backgrounds, signal, three_channels
from astroyolo_cli.train import fields as training_fields
from astroyolo_cli.train.images import BANDS
from astroyolo_cli.train.loop import train
from astroyolo_cli.train.state import Settings
from astroyolo_cli.train.watch import Lines

TRAIN_FIELDS, TRAIN_SEED = 600, 101
TEST = {"plain": (10, 41), "crowded": (4, 42)}  # crowd -> number of fields, seed
SAMPLES = 1000  # images in an epoch
DISTANCE = 12.0  # pixels, the scale of the normalised distance: a usual box
COLUMNS = {"mAP": "mAP(50-95)", "AP50": "AP50", "completeness_above_20": "S/N > 20 found", "purity": "purity", "auc": "AUC"}


@dataclass(frozen=True)
class Row:
    """A variant: the network's size, what is added to the seed, what is replaced while it learns and is scored: (object, name, value)."""

    title: str
    size: str = "nano-p2"
    other_seed: int = 0
    replaced: tuple[tuple[object, str, object], ...] = ()


def normalised_distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Of boxes (..., 4), pair by pair, in place of their IoU: exp(-W / ``DISTANCE``), W the Wasserstein distance of the Gaussians in them.

    Small boxes beside each other have no IoU, but a distance (Wang et al. 2021, arXiv:2110.13389).
    """
    return torch.exp(-assign.wasserstein(a, b) / DISTANCE)


def on_one_scale(frame: Frame, threads: int = 1) -> dict[str, Background]:
    """Sky of each band, and for all the same noise, their geometric mean: a colour is then that of the flux, as zero points are equal."""
    found = backgrounds(frame, threads)
    mean = np.exp(np.mean([np.log(one.noise_mesh) for one in found.values()], axis=0))
    return {band: replace(one, noise_mesh=mean) for band, one in found.items()}


def signals_on_one_scale(image: FieldInput) -> np.ndarray:
    """The same of a training field, (3, H, W) float32, reddest first."""
    frame = read_field(image)
    sky = on_one_scale(frame)
    return three_channels([signal(frame.counts[band], sky[band]) for band in BANDS])


BY_IOU = (assign, "likeness", assign.paired_iou)
ROWS = {
    "iou": Row("cells chosen by IoU, as YOLOX", replaced=(BY_IOU,)),
    "seed": Row("the same, another seed: how much is chance", other_seed=1000, replaced=(BY_IOU,)),
    "no-p2": Row("without the level of stride 4", size="nano", replaced=(BY_IOU,)),
    "distance": Row("cells chosen by a normalised distance", replaced=((assign, "likeness", normalised_distance),)),
    "three-cells": Row("at least three cells a source", replaced=(BY_IOU, (assign, "LEAST_CELLS", 3))),
    "one-scale": Row(
        "bands on one flux scale",
        replaced=(BY_IOU, (training_fields, "signals_of", signals_on_one_scale), (pipeline, "backgrounds", on_one_scale)),
    ),
    "shipped": Row("as shipped: cells chosen by IoU or by a shorter distance, whichever is larger"),
}


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for fields, runs and ablation.json.")
@click.option("--images", default=8000, show_default=True, help="That each row learns from.")
@click.option("--seed", default=0, show_default=True)
@click.option("--row", "rows", multiple=True, type=click.Choice(list(ROWS)), help="Only these rows; default: all.")
def main(output, images, seed, rows):
    """Train and score every row; the figures are written after each."""
    output.mkdir(parents=True, exist_ok=True)
    kept = output / "ablation.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    for name in rows or ROWS:
        if name not in results:
            with ExitStack() as stack:
                for place, attribute, value in ROWS[name].replaced:
                    stack.enter_context(mock.patch.object(place, attribute, value))
                weights, seconds = trained(name, output, images, seed)
                results[name] = {"images": images, "seed": seed, "seconds": seconds} | score(weights, output)
            kept.write_text(json.dumps(results, indent=1) + "\n")
        click.echo(markdown({name: results[name]}).splitlines()[-1])


def trained(name: str, output: Path, images: int, seed: int) -> tuple[Path, float]:
    """The weights of a row and the seconds that its training took, in this call."""
    fields = simulated(output / "fields", TRAIN_FIELDS, TRAIN_SEED)
    row, folder = ROWS[name], output / name
    cache = output / ("cache-" + name if training_fields.signals_of is signals_on_one_scale else "cache")
    settings = Settings(
        (str(fields),), "", scheme="sg-only", size=row.size, epochs=max(images // SAMPLES, 1), samples=SAMPLES, seed=seed + row.other_seed
    )
    began, tell = time.monotonic(), Lines(lambda line: click.echo(line, err=True))
    train(settings, folder, resume=(folder / "checkpoint.pt").exists(), cache=cache, watch=tell)
    return folder / "last.safetensors", round(time.monotonic() - began, 1)


def score(weights: Path, output: Path) -> dict[str, dict]:
    """The scores of a row, by how crowded the fields are."""
    engine = open_engine(weights)
    return {crowd: scores_on(engine, output / crowd, crowd, *TEST[crowd]) for crowd in TEST}


def scores_on(engine, folder: Path, crowd: str, count: int, seed: int) -> dict[str, float]:
    write_fields(folder, crowd, count, seed)
    fields = true_fields(folder)
    catalogs = network_catalogs(fields, engine, DetectSettings(min_score=LOWEST), lambda: None)
    scores = tool_scores([field.read_truth() for field in fields], list(catalogs.values()))
    return {name: scores[name] for name in COLUMNS}


def markdown(results: dict) -> str:
    """A line for each row; nothing for what could not be scored."""
    heads = [f"{what}, {crowd}" for crowd in TEST for what in COLUMNS.values()]
    lines = ["| | minutes | " + " | ".join(heads) + " |", "| --- " * (len(heads) + 2) + "|"]
    for name, result in results.items():
        cells = ["" if (value := result[crowd][what]) is None else f"{value:.3f}" for crowd in TEST for what in COLUMNS]
        lines.append(f"| {ROWS[name].title} | {result['seconds'] / 60:.0f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
