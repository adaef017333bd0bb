"""astroyolo send."""

import sys
from pathlib import Path

import click

from .options import QUIET, options


@click.command()
@click.argument("catalog", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--to", metavar="CLIENT", help="Only to programs with this in their SAMP name, such as topcat; default: all that take tables."
)
@options(QUIET)
def send(catalog, to, quiet):
    """Show a catalog in TOPCAT, DS9 or Aladin: they load it, if they run (SAMP).

    CATALOG is CSV, ECSV, FITS, VOTable, Parquet or SExtractor's own. The programs get a VOTable copy,
    which stays in the folder for temporary files.
    A program that does not load it is named, and the others get it (exit 1).

    \b
    Examples:
      astroyolo send catalog.fits
      astroyolo send catalog.csv --to topcat
    """
    from ..send import send as tell

    told = tell(catalog, to)
    for name, reason in told:
        if reason:
            click.echo(f"astroyolo: {catalog}: {name} did not load it ({reason})", err=True)
    loaded = [name for name, reason in told if not reason]
    if loaded and not quiet:
        click.echo(f"{catalog}: loaded by {', '.join(loaded)}", err=True)
    sys.exit(0 if len(loaded) == len(told) else 1)
