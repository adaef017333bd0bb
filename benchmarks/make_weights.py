"""Make data and weights again: python benchmarks/make_weights.py -o runs/weights [--size nano-p2] [--epochs 120].

On one large GPU with 16 cores, within 25 minutes: --size s-p2 --fields 800 --samples 30000 --batch-size 32 --loaders 14 --budget 0.33.

With ASTROYOLO_DATA: simulated fields, windows of real SDSS frames with simulated sources added, and Galaxy Zoo cutouts; without it
simulations alone, which it says. Every step that is done is skipped, and a run that was cut goes on where it stopped: start it again
until it ends. Hours on two cores for nano; a GPU is used where there is one. Needs pip install 'astroyolo[simulate]'.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click

FIELDS = {"fields": 101, "fields2": 202}  # folder -> seed
USUAL = 1500  # fields a folder
SKIES = {"irg": ("i,r,g", 36, 31), "zrg": ("z,r,g", 45, 32)}  # folder -> bands, windows a frame, seed
ZRG = ("001006-6-0011", "002188-2-0037")  # SDSS frames that have z and not i
HELD_OUT = "004510-4-0030"  # for validation: never trained on
CUTOUTS = (4000, 7)  # number and seed of simulated cutouts, where there are no real ones; fewer with fewer fields


@dataclass(frozen=True)
class Data:
    """Folders for --sg and --ds."""

    fields: list[Path]
    cutouts: Path


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--size", default="nano-p2", show_default=True)
@click.option("--fields", default=USUAL, show_default=True, help="Simulated fields in each of two folders; the other sets in proportion.")
@click.option("--samples", default=1000, show_default=True, help="Images drawn from each set in an epoch.")
@click.option("--epochs", default=120, show_default=True, help="Of the run.")
@click.option("--batch-size", default="8", show_default=True)
@click.option("--hours", type=float, help="Stop training after so many; the next start goes on.")
@click.option("--budget", type=float, help="Hours within which the run ends, its learning rate falling with the time; --epochs at most.")
@click.option("--loaders", default=0, show_default=True, help="Processes that make batches, for a GPU; 0: two threads.")
@click.option("--workers", default=os.cpu_count() or 1, show_default=True, help="Processes that simulate.")
def main(output, size, fields, samples, epochs, batch_size, hours, budget, loaders, workers):
    output.mkdir(parents=True, exist_ok=True)
    data = made(output, os.environ.get("ASTROYOLO_DATA"), fields, workers)
    run = output / size
    command = ["train", *(f"--sg={folder}" for folder in data.fields), f"--ds={data.cutouts}", "--scheme=joint", f"--size={size}"]
    command += [
        f"--epochs={epochs}",
        f"--samples={samples}",
        f"--batch-size={batch_size}",
        "--lr=1e-3",
        "--optimizer=adamw",
        "--augment=injection=0.2",
        "--seed=9",
    ]
    command += [f"--output={run}", f"--cache={output / 'cache'}", f"--workers={loaders}"]
    command += [f"--{name}={value}" for name, value in (("hours", hours), ("budget", budget)) if value]
    astroyolo(*command, *(["--resume"] if (run / "checkpoint.pt").exists() else []))
    click.echo(f"weights: {run / 'last.safetensors'}")


def made(output: Path, real: str | None, number: int, workers: int) -> Data:
    """The data sets, simulated where they are not there yet."""
    folders = [output / name for name in FIELDS]
    for folder, seed in zip(folders, FIELDS.values()):
        simulate(folder, "--no-masks", f"--workers={workers}", "-n", str(number), f"--seed={seed}")
    if real is None:
        click.echo("ASTROYOLO_DATA names no survey data: trains on simulations alone, which know no real sky and no real galaxies")
        simulate(output / "cutouts", "--kind=ds", f"--workers={workers}", "-n", str(share(CUTOUTS[0], number)), f"--seed={CUTOUTS[1]}")
        return Data(folders, output / "cutouts")
    for name, (bands, windows, seed) in SKIES.items():
        sky = linked(Path(real) / "sdss", output / f"sdss-{name}", name == "zrg")
        pattern = f"{sky}/frame-{{band}}-*.fits.fz"
        simulate(
            output / name,
            f"--sky={pattern}",
            f"--bands={bands}",
            "-n",
            str(share(windows, number)),
            f"--seed={seed}",
            f"--workers={workers}",
        )
        folders.append(output / name)
    return Data(folders, Path(real) / "galaxyzoo")


def share(usual: int, number: int) -> int:
    """As many as go with ``number`` fields a folder."""
    return max(round(usual * number / USUAL), 1)


def linked(frames: Path, folder: Path, with_z: bool) -> Path:
    """A folder of links to the frames of one set of bands."""
    folder.mkdir(exist_ok=True)
    for path in sorted(frames.glob("*/frame-*.fits.fz")):
        name, link = path.parent.name, folder / path.name
        if name != HELD_OUT and (name in ZRG) == with_z and not link.exists():
            link.symlink_to(path.resolve())
    return folder


def simulate(folder: Path, *options: str) -> None:
    """Unless it is done: into a folder of another name, that becomes ``folder`` when all is written."""
    if folder.exists():
        return
    partial = folder.with_name(f"{folder.name}.partial")
    astroyolo("simulate", str(partial), *options, "--overwrite")
    partial.rename(folder)


def astroyolo(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "astroyolo_cli", *arguments])
    if done.returncode:
        raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
