"""astroyolo merge."""

import os
from pathlib import Path

import click

from .options import COLUMNS, OUTPUT, OVERWRITE, QUIET, is_folder, options


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
    or a folder (it exists, or ends in /, or has no ending) of Parquet files by place on the sky, for hats-import, LSDB, Dask or DuckDB.

    \b
    Examples:
      astroyolo merge 'catalogs/*.fits' -o survey.parquet
      astroyolo merge a.fits b.fits -o both.csv --radius 0.6
      astroyolo merge 'catalogs/*.fits' -o survey/
    """
    from ..inputs import files_of
    from ..merge import merge as join
    from ..partitions import check_folder, write_partitions
    from ..write import check_output, only_columns, write
    from .detect import notes_as_lines

    into_folder, output = is_folder(output), Path(output)
    if into_folder and columns and not {"ra", "dec"} <= set(columns):
        raise click.UsageError("--columns: a folder by place on the sky needs ra and dec among them")
    paths = [Path(path) for path in files_of(catalogs)]
    check_apart(output, paths)
    (check_folder if into_folder else check_output)(output, overwrite)
    with notes_as_lines():
        table = join(paths, radius, columns)
        (write_partitions if into_folder else write)(only_columns(table, columns), output, overwrite)
    if not quiet:
        click.echo(f"{len(table)} rows, {int(table['is_primary'].sum())} primary: {output}", err=True)


def check_apart(output: Path, catalogs: list[Path]) -> None:
    """Before the work: what a former merge left there would be merged again, and each of its rows be there twice."""
    from ..errors import OutputError

    place, read = os.path.realpath(output), [os.path.realpath(path) for path in catalogs]
    if str(output) != "-" and any(place in (path, os.path.dirname(path)) for path in read):
        raise OutputError(
            f"{output}: is or holds one of the CATALOGs, whose rows would be there twice; name another OUTPUT, or fewer CATALOGs"
        )
