"""What a whole survey costs, from what one machine was measured to do: the arithmetic of docs/scale.md."""

from __future__ import annotations

from dataclasses import dataclass

from astroyolo_cli.tile import tile_origins

PAPER = 0.0075  # seconds an image of 512 x 512 takes the paper's GPU
NODES, CORES = 10, 64
LOOKS = 2  # at each tile


@dataclass(frozen=True)
class Survey:
    """Frames of ``side`` x ``side`` pixels in ``bands`` bands."""

    name: str
    frames: int
    side: int
    bands: int

    @property
    def pixels(self) -> float:
        return self.frames * self.side**2


SURVEYS = (
    Survey("DECaLS DR10, all bricks, g r z", 366_898, 3600, 3),
    Survey("Rubin, one night of visits, one band each", 1000 * 189, 4000, 1),
    Survey("Rubin, coadds of 18,000 square degrees, three bands", round(18_000 * (3600 / 0.2) ** 2 / 4000**2), 4000, 3),
)


def markdown(speed: dict) -> str:
    """A table of days, from docs/speed.json."""
    one, three = (min(speed["seconds"][what]) for what in ("one band", "three bands"))
    cores = int(speed["machine"].split()[0])
    rows = [
        f"| survey | tiles of 512 x 512 | this machine, {cores} cores | {NODES} nodes of {CORES} cores | the paper's GPU, network alone |",
        "| --- | --- | --- | --- | --- |",
    ]
    for survey in SURVEYS:
        seconds = survey.pixels / speed["side"] ** 2 * (three if survey.bands == 3 else one)
        tiles = survey.frames * len(tile_origins(survey.side, 512, 128)) ** 2
        figures = [days(seconds), days(seconds * cores / (NODES * CORES)), days(tiles * LOOKS * PAPER)]
        rows.append(f"| {survey.name}: {survey.frames:,} frames | {tiles / 1e6:.1f} million | {' | '.join(figures)} |")
    return "\n".join(rows)


def days(seconds: float) -> str:
    return f"{seconds / 86400:.1f} days" if seconds > 2 * 86400 else f"{seconds / 3600:.1f} hours"
