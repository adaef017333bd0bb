"""astroyolo train."""

import sys
from pathlib import Path

import click

from ..model.sizes import SIZES
from ..train.schemes import SCHEMES
from .options import DEVICE

AUGMENTATIONS = ("depth", "one_band", "two_bands", "stretch", "gradient", "zoom", "blur", "injection", "mixup")


def chances_of(ctx, param, given: tuple[str, ...]) -> dict[str, float]:
    """``NAME=CHANCE`` of each augmentation to a dict."""
    chances = {}
    for text in given:
        name, _, number = text.partition("=")
        if name not in AUGMENTATIONS:
            raise click.BadParameter(f"{name!r}: must be one of {', '.join(AUGMENTATIONS)}")
        chances[name] = click.FloatRange(0, 1).convert(number, param, ctx)
    return chances


def batch_size_of(ctx, param, text: str) -> int:
    """0 for auto."""
    return 0 if text == "auto" else click.IntRange(1).convert(text, param, ctx)


FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option(
    "--sg",
    type=FOLDER,
    multiple=True,
    help="Fields with boxes, star or galaxy: DIR/set_N/img_{g,r,z}.fits with masks.fits or truth.fits; images with a COCO JSON "
    "in DIR; or images with YOLO txt labels (0 star, 1 galaxy) beside them. Several are joined.",
)
@click.option(
    "--ds",
    type=FOLDER,
    help="Cutouts of one galaxy each, below DIR/smooth/ and DIR/disk/; or below DIR, named by a Galaxy Zoo table of votes in DIR "
    "(csv, FITS, Parquet).",
)
@click.option(
    "--vote-threshold",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Leave out galaxies of a table where neither smooth nor disk has this part of all votes.",
)
@click.option("--soft-votes", is_flag=True, help="Learn the parts of the votes of a table, not the class that has more of them.")
@click.option("--native-scale", is_flag=True, help="Show the cutouts of a table with Petrosian radii at the survey's own pixel scale.")
@click.option(
    "--augment",
    multiple=True,
    metavar="NAME=CHANCE",
    callback=chances_of,
    help="How often an image of fields is changed, 0 to 1: depth, one_band, two_bands and stretch (on by default), gradient, zoom, blur, "
    "injection (another field's light added), mixup. Repeatable.",
)
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    help="Weight file that completes the labels of the other set: one trained on fields finds sources in the cutouts, one "
    "trained on cutouts tells smooth from disk in the fields; a batch's own labels alone count in the last tenth of the run. Repeatable.",
)
@click.option("--check", is_flag=True, help="Read the data, say what they are, and stop; exit 1 if they cannot be trained on.")
@click.option("-o", "--output", "run", type=click.Path(path_type=Path), help="Folder for weights, results.csv and checkpoint.")
@click.option("--scheme", default="iterative", show_default=True, type=click.Choice(list(SCHEMES)), help="How the two sets take turns.")
@click.option(
    "--size", default="nano", show_default=True, type=click.Choice(list(SIZES)),
    help="Of the network; a file of --weights keeps its own, but NAME-p2 adds to a NAME the level of stride 4.",
)  # fmt: skip
@click.option("--epochs", default=100, show_default=True, type=click.IntRange(1))
@click.option("--samples", default=1000, show_default=True, type=click.IntRange(1), help="Images drawn from each set in an epoch.")
@click.option(
    "--batch-size",
    default="8",
    show_default=True,
    callback=batch_size_of,
    help="Images a step, over all processes; auto: as many as fit the GPU's memory.",
)
@click.option("--lr", default=1e-3, show_default=True, type=click.FloatRange(0, min_open=True), help="Peak learning rate.")
@click.option("--optimizer", default="adamw", show_default=True, type=click.Choice(["adamw", "sgd"]))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--hours", type=click.FloatRange(0, min_open=True), help="Stop after so many hours; --resume goes on.")
@click.option(
    "--budget", type=click.FloatRange(0, min_open=True), metavar="HOURS",
    help="End within so many hours, however fast it is: the learning rate falls with the time; --epochs at most.",
)  # fmt: skip
@click.option("--workers", default=0, show_default=True, type=click.IntRange(0), help="Processes that make batches; 0: two threads.")
@click.option("--patience", type=click.IntRange(1), help="Stop after so many epochs without a better validation.")
@click.option("--weights", help="Weight file to start from; default: a new network.")
@click.option(
    "--keep-statistics", is_flag=True,
    help="Normalise by the means and variances that --weights has, throughout: better than those of small batches where fields are "
    "unlike each other.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on from the run's checkpoint.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder for decoded images, which runs can share; default: RUN/cache.")
@DEVICE
@click.option(
    "--precision",
    default="bf16",
    show_default=True,
    type=click.Choice(["bf16", "fp16", "fp32"]),
    help="Of the forward pass; fp32 on processors without bfloat16, where bf16 is slow.",
)
@click.option("--multi-scale", is_flag=True, help="Another side of the images in every batch, 384 to 640 pixels, until the last tenth.")
@click.option("--tensorboard", is_flag=True, help="Write RUN/tensorboard too.")
@click.option("--quiet", is_flag=True, help="No progress.")
def train(sg, ds, check, run, weights, resume, cache, tensorboard, quiet, **settings):
    """Learn the network from fields (--sg) and from galaxy cutouts (--ds).

    \b
    Examples:
      astroyolo train --sg fields/ --ds cutouts/ --check
      astroyolo train --sg fields/ --ds cutouts/ -o run --epochs 20
      astroyolo train --sg fields/ --ds cutouts/ -o run --epochs 20 --resume
      torchrun --nproc-per-node 2 -m astroyolo_cli train --sg fields/ --ds cutouts/ -o run
    """
    if check:
        sys.exit(check_only(list(sg), ds, settings["scheme"], settings["vote_threshold"]))
    if run is None:
        raise click.UsageError("Missing option '-o' / '--output': the folder for weights, results.csv and checkpoint.")
    from ..errors import OutputError
    from ..train.loop import train as run_training
    from ..train.state import Settings

    if settings["keep_statistics"] and not (weights or resume):
        raise click.UsageError("--keep-statistics: those of --weights FILE, which is not given; a new network has none.")
    if (run / "checkpoint.pt").exists() and not resume:
        raise OutputError(f"{run}: holds a run already; go on with --resume or name another folder")
    settings = Settings(sg=tuple(map(str, sg)), ds=str(ds or ""), **settings)
    run_training(settings, run, weights, resume, cache, watch_of(run, quiet, tensorboard))


def watch_of(run: Path, quiet: bool, tensorboard: bool):
    """A bar on a terminal, lines elsewhere; only the first of several processes speaks."""
    import os

    from rich.console import Console

    from ..train.watch import Bar, Board, Lines, Watch

    if os.environ.get("RANK", "0") != "0":
        return Watch()
    console = Console(stderr=True)
    lines = Bar(console) if console.is_terminal else Lines(lambda line: click.echo(line, err=True))
    watch = Watch() if quiet else lines
    return Board(run / "tensorboard", watch) if tensorboard else watch


def check_only(sg, ds, scheme, vote_threshold) -> int:
    """Print what would be trained on; the exit status."""
    from ..train.check import check_data, print_report

    return 0 if print_report(check_data(sg, ds, scheme, vote_threshold), click.echo) else 1
