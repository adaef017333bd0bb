"""``astroyolo simulate``: training sets with known truth."""

from pathlib import Path

import click

from .options import BANDS, OVERWRITE, QUIET


@click.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--kind",
    type=click.Choice(["sg", "ds"]),
    default="sg",
    show_default=True,
    help="sg: fields of stars and galaxies in g, r, z. ds: pictures of one galaxy, smooth or disk.",
)
@click.option("-n", "count", type=click.IntRange(1), default=10, show_default=True, help="Number of fields or pictures.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="The same seed gives the same files, whatever the number of workers.",
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option(
    "--masks/--no-masks",
    default=True,
    show_default=True,
    help="Write masks.fits.gz, every source alone (sg only). truth.fits has the boxes in any case.",
)
@click.option("--size", type=click.IntRange(64), default=512, show_default=True, help="Side of a field, pixels (sg only).")
@click.option(
    "--sky", multiple=True, metavar="INPUT", help="Real frames of three bands to put the sources into (sg only), -n windows of each."
)
@BANDS
@OVERWRITE
@QUIET
def simulate(out, kind, count, seed, workers, masks, size, sky, bands, overwrite, quiet):
    """Simulate skies with known truth into the folder OUT, to train and to test on.

    With --sky the sources stand in your own frames: their noise, their PSF, and what is surely a star or a galaxy there is
    truth too. Needs GalSim and sep: pip install 'astroyolo[simulate]'.

    \b
    Examples:
      astroyolo simulate fields --kind sg -n 300 --seed 1 --workers 4
      astroyolo simulate cutouts --kind ds -n 2000 --seed 1 --workers 4
      astroyolo simulate mine --sky 'frame-{band}-*.fits.bz2' --bands i,r,g -n 30
    """
    from astroyolo_cli.simulate import write_ds, write_injected, write_sg
    from astroyolo_cli.simulate.sets import remove_beyond

    from ..whole import remove_abandoned
    from .progress import progress_bars

    _refuse_to_overwrite(out, overwrite)
    for folder in (out, out / "smooth", out / "disk"):
        remove_abandoned(folder)
    frames = _frames(sky, bands, kind)
    with progress_bars(quiet) as track:
        advance = track("simulating", len(frames) or count)
        if frames:
            sources = write_injected(out, frames, count, seed, workers, advance, size)
        elif kind == "sg":
            sources = write_sg(out, count, seed, workers, masks, advance, size)
        else:
            sources = write_ds(out, count, seed, workers, advance)
    fields = count * max(len(frames), 1)
    if overwrite:
        remove_beyond(out, kind, fields)
    if not quiet:
        what = f"{fields} fields with {sources} sources" if kind == "sg" else f"{count} cutouts"
        click.echo(f"{what} in {out} (seed {seed})", err=True)


def _frames(sky, bands, kind: str) -> list:
    """The fields that --sky names; none without it."""
    if not sky:
        if bands:
            raise click.UsageError("--bands: says which bands of the frames of --sky to use, which is not given; leave it out")
        return []
    if kind != "sg":
        raise click.UsageError(f"--sky: not with --kind {kind}, whose pictures have no sky of their own; leave one of them out")
    from astroyolo_cli.inputs import resolve

    return resolve(sky, bands)


def _refuse_to_overwrite(out: Path, overwrite: bool) -> None:
    from astroyolo_cli.errors import OutputError

    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise OutputError(f"{out} is not empty: choose another folder or add --overwrite")
