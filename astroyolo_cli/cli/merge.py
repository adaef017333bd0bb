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

    CATALOG is files that detect wrote with sky positions, patterns, @list.txt, or - for paths on standard input. OUTPUT is a file,
    or, a name without ending, a folder of Parquet files by place on the sky, for hats-import, LSDB, Dask or DuckDB.

    \b
    Examples:
      astroyolo merge 'catalogs/*.fits' -o survey.parquet
      astroyolo merge a.fits b.fits -o both.csv --radius 0.6
      astroyolo merge 'catalogs/*.fits' -o survey/
    """
    from pathlib import Path

    from ..inputs import files_of
    from ..merge import merge as join
    from ..partitions import check_folder, write_partitions
    from ..write import check_output, only_columns, write
    from .detect import notes_as_lines

    into_folder = str(output) != "-" and not output.suffix
    if into_folder and columns and not {"ra", "dec"} <= set(columns):
        raise click.UsageError("--columns: a folder by place on the sky needs ra and dec among them")
    (check_folder if into_folder else check_output)(output, overwrite)
    with notes_as_lines():
        table = join([Path(path) for path in files_of(catalogs)], radius, columns)
        (write_partitions if into_folder else write)(only_columns(table, columns), output, overwrite)
    if not quiet:
        click.echo(f"{len(table)} rows, {int(table['is_primary'].sum())} primary: {output}", err=True)
