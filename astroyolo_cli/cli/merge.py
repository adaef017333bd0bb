"""astroyolo merge."""

import click

from .options import COLUMNS, OUTPUT, OVERWRITE, QUIET, options


@click.command()
@click.argument("catalogs", nargs=-1, required=True, metavar="CATALOG...")
@click.option(
    "--radius",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Rows of different frames closer than this are one source, arcsec.",
)
@options(OUTPUT, COLUMNS, OVERWRITE, QUIET)
def merge(catalogs, radius, output, columns, overwrite, quiet):
    """Join the catalogs of overlapping frames; of the rows of one source one is primary (column is_primary).

    CATALOG is files that detect wrote with sky positions, patterns, @list.txt, or - for paths on standard input.

    \b
    Examples:
      astroyolo merge 'catalogs/*.fits' -o survey.parquet
      astroyolo merge a.fits b.fits -o both.csv --radius 0.6
    """
    from ..write import check_output, only_columns, write

    check_output(output, overwrite)
    from pathlib import Path

    from ..inputs import files_of
    from ..merge import merge as join

    table = join([Path(path) for path in files_of(catalogs)], radius)
    write(only_columns(table, columns), output, overwrite)
    if not quiet:
        click.echo(f"{len(table)} rows, {int(table['is_primary'].sum())} primary: {output}", err=True)
