"""Figures of a run: its curves, and its first batch with the boxes, in the stretch that the network sees."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from ..evaluate.plots import COLOURS, finish, new_figure
from ..whole import written_whole
from .batches import Batch

LOSSES = ("box", "objectness", "star_galaxy", "smooth_disk")
PARTS = ("val_mAP(50-95)", "val_AP50", "star_galaxy_accuracy", "smooth_disk_accuracy")
MOST_IMAGES = 8


def draw_curves(results: Path, out: Path) -> None:
    """Losses (training drawn through, held out dashed), and precision and accuracies on what was held out, by epoch."""
    with results.open() as file:
        rows = list(csv.DictReader(file))
    figure, (left, right) = new_figure(2)
    epochs = [int(row["epoch"]) for row in rows]
    for name, colour in zip(LOSSES, COLOURS):
        left.plot(epochs, column(rows, name), ".-", color=colour, label=name)
        left.plot(epochs, column(rows, f"val_{name}"), ".--", color=colour)
    for name, colour in zip(PARTS, COLOURS):
        if name in rows[0]:
            right.plot(epochs, column(rows, name), ".-", color=colour, label=name.removeprefix("val_").replace("_", " "))
    left.set_yscale("log")
    finish(left, "epoch", "loss; dashed: held out")
    finish(right, "epoch", "on what was held out", (0, 1.03))
    save(figure, out)


def column(rows: list[dict], name: str) -> np.ndarray:
    """NaN where the loss is 0: a task that was not learned, which no logarithm shows."""
    values = np.array([float(row.get(name) or 0) for row in rows])
    return np.where(values > 0, values, np.nan)


def draw_first_batch(batch: Batch, out: Path) -> None:
    """Stars orange, galaxies of fields blue, smooth red, disks green, what is ignored grey."""
    shown = min(len(batch.images), MOST_IMAGES)
    figure, axes = new_figure(min(shown, 4), -(-shown // 4))
    for number, ax in enumerate(axes):
        ax.set_axis_off()
        if number < shown:
            ax.imshow(batch.images[number].permute(1, 2, 0).numpy(), origin="lower", interpolation="nearest")
            draw_boxes(ax, batch, number)
    save(figure, out)


def draw_boxes(ax, batch: Batch, number: int) -> None:
    from matplotlib.patches import Rectangle

    truth = batch.truth
    kinds = ((truth.ignored, ("grey", "grey")), (truth.sources, ("#E69F00", "#56B4E9")), (truth.central, ("#D55E00", "#009E73")))
    for targets, colours in kinds:
        mine = targets.image == number
        for (x0, y0, x1, y1), label in zip((targets.boxes[mine] - 0.5).tolist(), targets.labels[mine].tolist()):
            ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, lw=0.6, color=colours[max(label, 0)]))


def save(figure, out: Path) -> None:
    with written_whole(out) as partial:
        figure.savefig(partial, format="png", dpi=110)
