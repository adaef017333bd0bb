"""astroyolo train."""

from pathlib import Path

import click

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option(
    "--sg",
    type=FOLDER,
    multiple=True,
    help="Fields with boxes, star or galaxy: DIR/set_N/img_{g,r,z}.fits with masks.fits or truth.fits. Several are joined.",
)
@click.option("--ds", type=FOLDER, help="Cutouts of one galaxy each, below DIR/smooth/ and DIR/disk/.")
@click.option(
    "-o", "--output", "run", required=True, type=click.Path(path_type=Path), help="Folder for weights, results.csv and checkpoint."
)
@click.option("--scheme", default="iterative", show_default=True, help="iterative, joint, sg-only or ds-only.")
@click.option("--size", default="nano", show_default=True, type=click.Choice(["nano", "tiny", "s", "m", "l", "x"]), help="Of the network.")
@click.option("--epochs", default=100, show_default=True, type=click.IntRange(1))
@click.option("--samples", default=1000, show_default=True, type=click.IntRange(1), help="Images drawn from each set in an epoch.")
@click.option("--batch-size", default=8, show_default=True, type=click.IntRange(1))
@click.option("--lr", default=1e-3, show_default=True, type=click.FloatRange(0, min_open=True), help="Peak learning rate.")
@click.option("--optimizer", default="adamw", show_default=True, type=click.Choice(["adamw", "sgd"]))
@click.option("--seed", default=0, show_default=True)
@click.option("--hours", type=click.FloatRange(0, min_open=True), help="Stop after so many hours; --resume goes on.")
@click.option("--weights", help="Weight file to start from; default: a new network.")
@click.option("--resume", is_flag=True, help="Go on from the run's checkpoint.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder for decoded images, which runs can share; default: RUN/cache.")
@click.option("--quiet", is_flag=True, help="No progress.")
def train(sg, ds, run, weights, resume, cache, quiet, **settings):
    """Learn the network from fields (--sg) and from galaxy cutouts (--ds).

    \b
    Examples:
      astroyolo train --sg fields/ --ds cutouts/ -o run --epochs 20
      astroyolo train --sg fields/ --ds cutouts/ -o run --epochs 20 --resume
    """
    from ..errors import OutputError
    from ..train.loop import train as run_training
    from ..train.state import Settings

    if (run / "checkpoint.pt").exists() and not resume:
        raise OutputError(f"{run}: holds a run already; go on with --resume or name another folder")
    settings = Settings(sg=tuple(map(str, sg)), ds=str(ds or ""), **settings)
    run_training(settings, run, weights, resume, cache, (lambda line: None) if quiet else (lambda line: click.echo(line, err=True)))
