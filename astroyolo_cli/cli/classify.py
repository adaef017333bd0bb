"""astroyolo classify."""

import sys
from pathlib import Path

import click

from .options import COLUMNS, DEVICE, ENGINE, OUTPUT, OVERWRITE, QUIET, READING, WEIGHTS, options
from .progress import progress_bars


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "--catalog",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Positions in the frame INPUT: ra and dec (degrees, ICRS), x and y (pixels from 0), or SExtractor's X_IMAGE (from 1); "
    "CSV, ECSV, FITS, VOTable, Parquet or SExtractor's own.",
)
@options(OUTPUT, COLUMNS, READING, WEIGHTS, DEVICE, ENGINE, OVERWRITE, QUIET)
def classify(inputs, catalog, output, columns, weights, device, engine, overwrite, quiet, **reading):
    """Star or galaxy, smooth or disk: of the source in the middle of each cutout, or at each position of a frame.

    INPUT is cutouts (PNG, JPEG, TIFF, FITS) or folders of them; with --catalog one frame, as for detect. The catalog has a row a
    cutout, named by the column field, or a row a position, in their order.

    \b
    Examples:
      astroyolo classify cutouts/ -o classes.csv
      astroyolo classify field.fits --catalog positions.csv -o classes.fits
    """
    from ..errors import OutputError
    from ..write import check_output, only_columns, write

    check_output(output, overwrite)
    if output.suffix.lower() == ".reg" and catalog is None:
        raise OutputError(f"{output}: cutouts have no boxes in a frame, so no regions; write .csv, .fits, .ecsv or .vot")
    from ..classify import CUTOUT_COLUMNS, POSITION_COLUMNS, cutout_inputs
    from ..whole import check_not_read
    from .detect import check_columns, check_regions, notes_as_lines

    check_regions(columns, output)
    check_columns(columns, (POSITION_COLUMNS if catalog else CUTOUT_COLUMNS).__contains__)
    fields = frame_of(inputs, reading.pop("bands")) if catalog else cutout_inputs(inputs, reading.pop("bands"))
    maps = (catalog, reading["mask"], reading["weight_map"])
    check_not_read([output], [path for field in fields for path in field.paths] + [path for path in maps if path is not None])
    with notes_as_lines():
        work = classes_at_positions if catalog else classes_of_cutouts
        table, failed = work(fields, catalog, reading, (weights, engine, device), quiet)
        write(only_columns(table, columns), output, overwrite)
    if not quiet:
        click.echo(f"{len(table)} classified, {failed} left out: {output}", err=True)
    sys.exit(1 if failed else 0)


def frame_of(inputs, bands) -> list:
    """The one field that the positions are in."""
    from ..errors import AstroYOLOError
    from ..inputs import resolve

    fields = resolve(inputs, bands)
    if len(fields) != 1:
        raise AstroYOLOError(f"{len(fields)} frames for one --catalog: name the one frame that its positions are in")
    return fields


def classes_of_cutouts(fields, _, reading, network, quiet):
    from ..classify import classify_cutouts

    opened, made = open_network(*network)
    with progress_bars(quiet) as track:
        table, failed = classify_cutouts(fields, opened, reading, track("classify", len(fields)))
    table.meta["provenance"] |= made
    return table, failed


def classes_at_positions(fields, catalog, reading, network, quiet):
    from ..classify import classify_positions, read_positions
    from ..read import read_field

    frame = read_field(fields[0], **reading)
    positions = read_positions(catalog, frame)
    opened, made = open_network(*network)
    with progress_bars(quiet) as track:
        table = classify_positions(frame, positions, opened, fields[0].name, track("classify", len(positions.xy)))
    table.meta["provenance"] |= made
    return table, 0


def open_network(weights: str, engine: str, device: str):
    """The engine, and what the header says of it."""
    from ..checksums import checksum
    from ..model.checkpoint import locate
    from ..model.engine import open_engine

    path = locate(weights)
    return open_engine(path, engine, device), {"weights": weights, "weights_sha256": checksum(path)}
