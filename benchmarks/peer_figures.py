"""The figures and tables of the benchmark page, from what peers.py measured."""

from pathlib import Path

from astroyolo_cli.evaluate.plots import COLOURS, new_figure

CROWDS = ("plain", "crowded")
FIELD_ROWS = {
    "completeness, S/N >= 5": "completeness",
    "completeness, S/N > 20": "completeness_above_20",
    "completeness, S/N > 20 in r": "completeness_r_20",
    "purity": "purity",
    "stars called stars": "stars_right",
    "galaxies called galaxies": "galaxies_right",
    "balanced accuracy, S/N > 20 in r": "balanced_r_20",
    "star/galaxy AUC": "auc",
    "mAP(50-95)": "mAP",
    "AP50": "AP50",
}
FRAME_ROWS = {
    "stars found": "stars_found",
    "galaxies found": "galaxies_found",
    "star/galaxy, balanced accuracy": "balanced_accuracy",
    "star/galaxy AUC": "auc",
}


def draw_figures(scores: dict, folder: Path) -> None:
    for name, draw in (("counts", draw_counts), ("classes", draw_classes), ("blends", draw_blends), ("reliability", draw_reliability)):
        draw(scores).savefig(folder / f"peers-{name}.png", dpi=110)


def draw_counts(scores: dict):
    """Completeness and purity against S/N."""
    figure, axes = new_figure(2, 2)
    for row, crowd in enumerate(CROWDS):
        for ax, key, label in ((axes[2 * row], "by_snr", "completeness"), (axes[2 * row + 1], "purity_by_snr", "purity")):
            for (tool, one), colour in zip(scores[crowd].items(), COLOURS):
                middle = [(b["from"] * (b["to"] or 2 * b["from"])) ** 0.5 for b in one[key]]
                ax.plot(middle, [b["fraction"] for b in one[key]], "o-", color=colour, label=tool, ms=4)
            whose = "of all bands, true" if key == "by_snr" else "as measured by the tool"
            ax.set(xscale="log", ylim=(0, 1.03), xlabel=f"S/N {whose}", ylabel=label, title=f"{crowd} fields")
            ax.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    return figure


def draw_classes(scores: dict):
    """ROC of star/galaxy, and the parts called right against magnitude."""
    figure, axes = new_figure(2)
    for (tool, one), colour in zip(scores["plain"].items(), COLOURS):
        if not one["roc"]:
            continue
        stars, galaxies = zip(*one["roc"])
        axes[0].plot(stars, galaxies, "-", color=colour, label=f"{tool}, AUC {one['auc']:.3f}")
        rows = [b for b in one["classes_by_mag"] or [] if b["stars_right"] is not None and b["galaxies_right"] is not None]
        for key, style in (("stars_right", "*-"), ("galaxies_right", "o--")):
            axes[1].plot([b["from"] + 0.5 for b in rows], [b[key] for b in rows], style, color=colour, label=f"{tool}, {key.split('_')[0]}")
    axes[0].set(xlabel="stars called galaxy", ylabel="galaxies called galaxy", title="plain fields, sources that the tool finds")
    axes[1].set(xlabel="r magnitude", ylabel="called right", ylim=(0, 1.03))
    for ax in axes:
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
    return figure


def draw_blends(scores: dict):
    """Completeness of bright sources against the distance to their neighbour."""
    figure, axes = new_figure(2)
    for ax, crowd in zip(axes, CROWDS):
        for (tool, one), colour in zip(scores[crowd].items(), COLOURS):
            ax.plot([(b["from"] + b["to"]) / 2 for b in one["blends"]], [b["found"] for b in one["blends"]], "o-", color=colour, label=tool)
        ax.set(xlabel="nearest neighbour of S/N > 10 [FWHM]", ylabel="found, S/N > 20", ylim=(0, 1.03), title=f"{crowd} fields")
        ax.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    return figure


def draw_reliability(scores: dict):
    """Of AstroYOLO on three bands: how many of those that it promises with p are what it says."""
    figure, axes = new_figure(2)
    one = next(iter(scores["plain"].values()))["reliability"]
    curves = [(axes[0], {"score": one["score"]}), (axes[1], one["p_galaxy"])]
    for ax, parts in curves:
        for (label, bins), colour in zip(parts.items(), COLOURS):
            ax.plot([b["said"] for b in bins], [b["happened"] for b in bins], "o-", color=colour, label=label, ms=4)
        ax.plot([0, 1], [0, 1], ":", color="gray")
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
    axes[0].set(xlabel="score", ylabel="true sources", title="plain fields, all detections")
    axes[1].set(xlabel="p_galaxy", ylabel="galaxies", title="plain fields, sources found")
    return figure


def markdown(scores: dict) -> str:
    """A table for each kind of frames, a tool a column."""
    parts = []
    for crowd in CROWDS:
        tools = scores[crowd]
        sources = next(iter(tools.values()))["sources"]
        parts.append(
            f"## Simulated, {crowd}: {scores['fields'][crowd]} fields, {sources} sources of S/N >= 5\n\n{table(tools, FIELD_ROWS)}"
        )
    if real := scores.get("SDSS 004510"):
        for snr in ("above_10", "above_30"):
            one = next(iter(real.values()))[snr]
            title = f"## SDSS frame 004510, S/N > {snr[6:]} in r: {one['stars']} listed stars, {one['galaxies']} sure galaxies"
            parts.append(f"{title}\n\n{table({tool: s[snr] for tool, s in real.items()}, FRAME_ROWS)}")
        parts.append(
            "Rows of the whole catalog, confirmed: " + "; ".join(f"{t} {s['rows']}, {100 * s['confirmed']:.1f} %" for t, s in real.items())
        )
    return "\n\n".join(parts)


def table(tools: dict, rows: dict[str, str]) -> str:
    lines = ["| | " + " | ".join(tools) + " |", "|---" * (len(tools) + 1) + "|"]
    lines += [f"| {label} | " + " | ".join(shown(one.get(key), key) for one in tools.values()) + " |" for label, key in rows.items()]
    return "\n".join(lines)


def shown(value: float | None, key: str) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if key in ("auc", "mAP", "AP50") else f"{100 * value:.1f} %"
