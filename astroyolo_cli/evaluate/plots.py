"""The report's figures, one PNG each; the colours of colour-blind readers (Okabe & Ito)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import AstroYOLOError

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def new_figure(columns: int, rows: int = 1):
    """A figure and its axes, without any window system."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise AstroYOLOError("evaluate needs matplotlib: pip install 'astroyolo[evaluate]'") from error
    figure = Figure(figsize=(5.2 * columns, 4 * rows), layout="constrained")
    return figure, np.atleast_1d(figure.subplots(rows, columns)).ravel()


def draw_all(scores: dict, folder: Path) -> list[tuple[str, str, str]]:
    """Write every figure that the scores allow; (file name, title, what to see in it) of each."""
    fields, cutouts = scores.get("fields", {}), scores.get("cutouts", {})
    drawn = []
    for name, title, caption, draw, data in (
        ("counts", "Completeness and purity", COUNTS, draw_counts, fields),
        ("precision", "Average precision", PRECISION, draw_precision, fields),
        ("star_galaxy", "Star or galaxy", STAR_GALAXY, draw_star_galaxy, fields),
        ("score", "What the score means", SCORE, draw_score, {tool: s for tool, s in fields.items() if s["score"]}),
        ("centres", "Positions", CENTRES, draw_centres, fields),
        ("smooth_disk", "Smooth or disk", SMOOTH_DISK, draw_smooth_disk, cutouts),
    ):
        if data:
            draw(data).savefig(folder / f"{name}.png", dpi=110)
            drawn.append((f"{name}.png", title, caption))
    return drawn


COUNTS = "Completeness: the part of the true sources that is found. Purity: the part of the detections that is true, against their own \
magnitude and S/N. Bars are 95 % intervals (Wilson)."
PRECISION = (
    "Left: precision against recall at IoU 0.5, whatever the class. Right: mAP(50-95) of boxes by size, the square root of their area."
)
STAR_GALAXY = "Of the sources found: the part of stars and of galaxies called so, by true magnitude, and the probability of a galaxy \
against what it is."
SCORE = "Of the detections with a score like this, how many are true? On the line the score is a probability."
CENTRES = "Found minus true position of up to 2,000 sources, and its scatter against S/N."
SMOOTH_DISK = "The probability of a disk against what the galaxy is, and how the galaxies are called."


def draw_counts(fields: dict):
    figure, axes = new_figure(2, 2)
    for row, quantity in enumerate(("completeness", "purity")):
        for column, (by, label) in enumerate((("by_mag", "magnitude"), ("by_snr", "S/N"))):
            ax = axes[2 * row + column]
            for tool, colour in zip(fields, COLOURS):
                fraction_curve(ax, fields[tool][quantity][by], tool, colour, by == "by_snr")
            own = "own " if quantity == "purity" else "true "
            finish(ax, own + label, quantity, (0, 1.03))
    return figure


def fraction_curve(ax, rows: list[dict], label: str, colour: str, logarithmic: bool) -> None:
    """One curve with its intervals; nothing for a tool that measures no magnitudes."""
    if not rows:
        return
    x, y = middles(rows, logarithmic), np.array([row["fraction"] for row in rows])
    low, high = (np.array([row[name] for row in rows]) for name in ("low", "high"))
    ax.errorbar(x, y, [np.clip(y - low, 0, None), np.clip(high - y, 0, None)], marker="o", ms=4, capsize=2, color=colour, label=label)
    if logarithmic:
        ax.set_xscale("log")


def middles(rows: list[dict], logarithmic: bool) -> np.ndarray:
    """Of the bins; an open last one is drawn at 1.4 times its lower edge, a first one from 0 at 0.7 times its upper edge."""
    values = []
    for row in rows:
        low, high = row["from"], row["to"]
        if high is None:
            values.append(low * 1.4)
        elif logarithmic:
            values.append(np.sqrt(low * high) if low else 0.7 * high)
        else:
            values.append((low + high) / 2)
    return np.array(values)


def finish(ax, x: str, y: str, limits=None) -> None:
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    if limits:
        ax.set_ylim(*limits)
    ax.grid(alpha=0.25)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=9)


def draw_precision(fields: dict):
    figure, (left, right) = new_figure(2)
    recall = np.linspace(0, 1, 101)
    width = 0.8 / len(fields)
    for number, (tool, colour) in enumerate(zip(fields, COLOURS)):
        scores = fields[tool]["average_precision"].get("any_class")
        if not scores or scores["precision_at_recall"] is None:
            continue
        left.plot(recall, scores["precision_at_recall"], color=colour, label=tool)
        values = [np.nan if v is None else v for v in scores["by_size"].values()]
        right.bar(np.arange(len(values)) + number * width, values, width, color=colour, label=tool)
        right.set_xticks(np.arange(len(values)) + 0.4 - width / 2, [size_name(name) for name in scores["by_size"]])
    finish(left, "recall", "precision", (0, 1.03))
    finish(right, "size of the true box, pixels", "mAP(50-95)", (0, 1.03))
    return figure


def size_name(name: str) -> str:
    low, _, high = name.partition("-")
    return f"> {low}" if float(high) > 1000 else f"{low} to {high}"


def draw_star_galaxy(fields: dict):
    figure, (left, right) = new_figure(2)
    for tool, colour in zip(fields, COLOURS):
        rows = fields[tool]["star_galaxy"]["by_mag"]
        for name, style in (("stars_right", "-"), ("galaxies_right", "--")):
            known = [row for row in rows if row[name] is not None]
            label = f"{tool}: {name.removesuffix('_right')}"
            left.plot(middles(known, False), [row[name] for row in known], style, marker="o", ms=4, color=colour, label=label)
        reliability_curve(right, fields[tool]["star_galaxy"], tool, colour)
    finish(left, "true magnitude", "part called right", (0, 1.03))
    reliability_axes(right, "probability of a galaxy", "part that is a galaxy")
    return figure


def reliability_curve(ax, scores: dict, label: str, colour: str) -> None:
    rows = scores["reliability"]
    if not rows:
        return
    said, happened, low, high = (np.array([row[name] for row in rows]) for name in ("said", "happened", "low", "high"))
    bars = [np.clip(happened - low, 0, None), np.clip(high - happened, 0, None)]
    ax.errorbar(said, happened, bars, marker="o", ms=4, capsize=2, color=colour, label=f"{label}, ECE {scores['ece']:.3f}")


def reliability_axes(ax, x: str, y: str) -> None:
    ax.plot([0, 1], [0, 1], color="grey", lw=1)
    ax.set_xlim(-0.03, 1.03)
    finish(ax, x, y, (-0.03, 1.03))


def draw_score(fields: dict):
    figure, (ax,) = new_figure(1)
    for tool, colour in zip(fields, COLOURS):
        reliability_curve(ax, fields[tool]["score"], tool, colour)
    reliability_axes(ax, "score", "part that is true")
    return figure


def draw_centres(fields: dict):
    figure, (left, right) = new_figure(2)
    for tool, colour in zip(fields, COLOURS):
        scores = fields[tool]["centres"]
        if not scores["points"]:
            continue
        dx, dy = np.array(scores["points"]).T
        left.plot(dx, dy, ".", ms=3, alpha=0.4, color=colour, label=tool)
        if rows := [row for row in scores["by_snr"] if row["sigma"] > 0]:  # of one source it is 0, which no logarithm shows
            right.plot(middles(rows, True), [row["sigma"] for row in rows], marker="o", ms=4, color=colour, label=tool)
            right.set(xscale="log", yscale="log")
    left.axhline(0, color="grey", lw=0.8)
    left.axvline(0, color="grey", lw=0.8)
    left.set_aspect("equal", "datalim")
    finish(left, "dx, pixels", "dy, pixels")
    finish(right, "true S/N", "sigma of one axis, pixels")
    return figure


def draw_smooth_disk(cutouts: dict):
    figure, (left, right) = new_figure(2)
    for tool, colour in zip(cutouts, COLOURS):
        reliability_curve(left, cutouts[tool], tool, colour)
    reliability_axes(left, "probability of a disk", "part that is a disk")
    first = next(iter(cutouts))
    draw_confusion(right, np.array(cutouts[first]["confusion"]), ("smooth", "disk"))
    return figure


def draw_confusion(ax, table: np.ndarray, names: tuple[str, str]) -> None:
    part = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    ax.imshow(part, cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(table):
        ax.text(j, i, f"{count}\n{100 * part[i, j]:.1f} %", ha="center", va="center", color="white" if part[i, j] > 0.5 else "black")
    ax.set_xticks([0, 1], names)
    ax.set_yticks([0, 1], names)
    ax.set_xlabel("called")
    ax.set_ylabel("true")
