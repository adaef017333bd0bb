"""Table 1 of the AstroYOLO paper again: python benchmarks/table1.py --ds CUTOUTS -o runs/table1 (docs/table1.md shows it).

Every training scheme learns from the same simulated fields and real cutouts, with equally many images, and is scored on fields of
another seed and on cutouts that none of them has seen. Rows that are done are kept: called again, it goes on where it stopped.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import click

from astroyolo_cli.evaluate.run import evaluate
from astroyolo_cli.simulate import write_sg
from astroyolo_cli.train.loop import train
from astroyolo_cli.train.schemes import SCHEMES
from astroyolo_cli.train.state import Settings
from astroyolo_cli.train.watch import Lines

TEST_PART = 5  # one cutout in so many is for the test
TEST_FIELDS, TEST_SEED = 40, 90_001
TRAIN_FIELDS, TRAIN_SEED = 500, 101
SAMPLES = 1000  # images from each set in an epoch, as the paper
TEACHERS_PART = 0.2  # of a row's images goes to each teacher


@dataclass(frozen=True)
class Row:
    """One row: ``paper`` holds its printed mAP(50-90) and accuracy in per cent, None where it gives none."""

    title: str
    scheme: str
    paper: tuple[float | None, float | None] = (None, None)
    taught: bool = False


ROWS = {
    "sg-only": Row("only star/galaxy", "sg-only", (65.7, None)),
    "ds-only": Row("only smooth/disk", "ds-only", (None, 76.8)),
    "sequential": Row("sequential", "sequential", (0.0, 60.7)),
    "alternating": Row("alternating, frozen", "alternating", (60.6, 59.5)),
    "iterative": Row("iterative, balanced", "iterative", (65.6, 77.2)),
    "joint": Row("joint", "joint"),
    "joint-taught": Row("joint with teachers", "joint", taught=True),
}
QUOTED = "| Astro R-CNN | 49 |  |  |  |  |  |  |\n"
HEAD = """\
|  | paper: mAP(50-90) | paper: accuracy | mAP(50-90) | AP50 | star/galaxy | smooth/disk, detected | smooth/disk, all |
|---|---|---|---|---|---|---|---|
"""


@click.command()
@click.option("--sg", type=click.Path(exists=True, path_type=Path), help="Fields to learn from; default: simulate them.")
@click.option("--ds", type=click.Path(exists=True, path_type=Path), required=True, help="Cutouts below DIR/smooth and DIR/disk.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for runs, table1.json and table1.md.")
@click.option("--images", default=10_000, show_default=True, help="Images that each row learns from, its teachers' included.")
@click.option("--size", default="nano", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--row", "rows", multiple=True, type=click.Choice(list(ROWS)), help="Only these rows; default: all.")
def main(sg, ds, output, images, size, seed, rows):
    """Train and score every row, and write the table after each."""
    output.mkdir(parents=True, exist_ok=True)
    cutouts = divided(ds, output / "cutouts")
    sg = sg or simulated(output / "fields", TRAIN_FIELDS, TRAIN_SEED)
    test = simulated(output / "test-fields", TEST_FIELDS, TEST_SEED)
    results = read_results(output)
    for name in rows or ROWS:
        if name not in results:
            weights = trained(name, sg, cutouts / "train", output, images, size, seed)
            results[name] = {"images": images, "size": size, "seed": seed} | score(weights, test, cutouts / "test")
            (output / "table1.json").write_text(json.dumps(results, indent=2) + "\n")
            (output / "table1.md").write_text(table(results))


def read_results(output: Path) -> dict:
    path = output / "table1.json"
    return json.loads(path.read_text()) if path.exists() else {}


def divided(ds: Path, out: Path) -> Path:
    """Links to the cutouts below OUT/train and OUT/test, by the objects' names."""
    for path in sorted(p for label in ("smooth", "disk") for p in (ds / label).iterdir()):
        part = "test" if zlib.crc32(f"table 1 {path.stem}".encode()) % TEST_PART == 0 else "train"
        link = out / part / path.parent.name / path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(path.resolve())
    return out


def simulated(folder: Path, count: int, seed: int) -> Path:
    if not folder.exists():
        click.echo(f"simulating {count} fields", err=True)
        write_sg(folder, count, seed, workers=2, masks=False)
    return folder


def trained(name: str, sg: Path, ds: Path, output: Path, images: int, size: str, seed: int) -> Path:
    """The weights of a row; its teachers first, whose images are its own."""
    row = ROWS[name]
    if not row.taught:
        return run(output / name, row.scheme, images, sg, ds, output, size, seed)
    part = round(TEACHERS_PART * images)
    teachers = [run(output / f"{name}-{scheme}", scheme, part, sg, ds, output, size, seed) for scheme in ("sg-only", "ds-only")]
    return run(output / name, row.scheme, images - 2 * part, sg, ds, output, size, seed, tuple(map(str, teachers)))


def run(folder: Path, scheme: str, images: int, sg: Path, ds: Path, output: Path, size: str, seed: int, teachers=()) -> Path:
    weights = folder / "last.safetensors"
    epochs, samples = length_of(scheme, images)
    settings = Settings((str(sg),), str(ds), scheme=scheme, size=size, epochs=epochs, samples=samples, seed=seed, teachers=teachers)
    if not (folder / "done").exists():
        click.echo(f"{folder.name}: {epochs} epochs, {images} images", err=True)
        resume, watch = (folder / "checkpoint.pt").exists(), Lines(lambda line: click.echo(line, err=True))
        train(settings, folder, resume=resume, cache=output / "cache", watch=watch)
        (folder / "done").touch()
    return weights


def length_of(scheme: str, images: int) -> tuple[int, int]:
    """Epochs, and images of each set in one; of a scheme in two stages an even number, so that each has half of the images."""
    stages = len(SCHEMES[scheme].stages)
    sets = 1 if scheme.endswith("-only") else 2
    return max(images // (sets * SAMPLES), 1) * stages, SAMPLES // stages


def score(weights: Path, fields: Path, cutouts: Path) -> dict:
    scores = evaluate(
        sg=fields, ds=cutouts, catalogs=(), weights=str(weights), network=True, min_score=0.3, radius=3.0, limit=None, seed=0, tile=512,
        overlap=128, max_det=1000, views=1, device="cpu", engine="torch", track=lambda what, total: lambda: None,
    )  # fmt: skip
    fields, cutouts = scores["fields"][weights.stem], scores["cutouts"][weights.stem]
    return {
        "mAP(50-90)": fields["average_precision"]["mAP(50-90)"],
        "AP50": fields["average_precision"]["AP50"],
        "any_class_AP50": fields["average_precision"]["any_class"]["AP50"],
        "star_galaxy": fields["star_galaxy"]["balanced_accuracy"],
        "detected": cutouts["detected"],
        "accuracy_of_detected": cutouts["accuracy_of_detected"],
        "accuracy": cutouts["accuracy"],
        "balanced_accuracy": cutouts["balanced_accuracy"],
        "cutouts": cutouts["n"],
    }


def table(results: dict) -> str:
    """Markdown, the paper's figures beside ours, per cent; nothing for what a row does not learn."""
    lines = [line_of(name, results[name]) for name in ROWS if name in results]
    return HEAD + QUOTED + "".join(lines)


def line_of(name: str, result: dict) -> str:
    row = ROWS[name]
    scheme = SCHEMES[row.scheme]
    judged = {"mAP(50-90)": scheme.needs_sg, "AP50": scheme.needs_sg, "star_galaxy": scheme.needs_sg}
    judged |= {"accuracy_of_detected": scheme.needs_sg and scheme.needs_ds, "accuracy": scheme.needs_ds}
    ours = (result[key] if learned else None for key, learned in judged.items())
    cells = [row.title, *map(shown, row.paper), *(shown(None if value is None else 100 * value) for value in ours)]
    return "| " + " | ".join(cells) + " |\n"


def shown(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


if __name__ == "__main__":
    main()
