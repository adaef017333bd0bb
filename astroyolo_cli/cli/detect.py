"""astroyolo detect."""

import click

from .options import COLUMNS, NETWORK, OUTPUT, OVERWRITE, PLOT, QUIET, READING, options


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@options(OUTPUT, COLUMNS, PLOT, READING, NETWORK, OVERWRITE, QUIET)
def detect(inputs, output, columns, plot, overwrite, quiet, weights, device, engine, **rest):
    """Find every star and galaxy of a frame, tell smooth galaxies from disks, and write one catalog.

    INPUT is a FITS or PNG, JPEG or TIFF file, a folder with img_g.fits, img_r.fits and img_z.fits, or with
    --bands a pattern for one file a band. Pixels in the catalog count from 0.

    \b
    Examples:
      astroyolo detect field.fits -o catalog.csv
      astroyolo detect --bands i,r,g 'frame-{band}-*.fits.bz2' -o catalog.fits
    """
    from ..errors import AstroYOLOError
    from ..write import check_output

    settings = detect_settings(rest)
    check_output(output, overwrite)
    check_columns(columns, output)
    check_plot(plot, overwrite)
    from ..read import read_field, resolve

    fields = resolve(inputs, rest["bands"])
    if len(fields) != 1:
        raise AstroYOLOError(f"{len(fields)} fields for one catalog: this version takes one field a run; name one, or loop over them")
    with notes_as_lines():
        run_one(fields[0], read_field, (output, columns, plot, overwrite), quiet, settings, (weights, engine, device), rest)


def check_columns(names, output) -> None:
    """Before the work: is there such a column in any catalog, and does the format need others?"""
    from ..columns import COLUMNS as KNOWN
    from ..columns import FIELD
    from ..errors import OutputError

    if names and output.suffix.lower() == ".reg":
        raise OutputError(f"{output}: regions are made of the boxes; leave --columns out")
    for name in names or ():
        if name not in {column.name for column in (*KNOWN, FIELD)} and not name.startswith(("flux_", "mag_")):
            raise OutputError(f"--columns: {name!r} is no column of the catalog; astroyolo info columns lists them")


def check_plot(plot, overwrite: bool) -> None:
    """Before the work: can the picture be written?"""
    from ..errors import OutputError

    if plot is None:
        return
    if plot.suffix.lower() != ".png":
        raise OutputError(f"{plot}: --plot writes PNG; end its name in .png")
    if plot.exists() and not overwrite:
        raise OutputError(f"{plot}: exists; add --overwrite to replace it")


def run_one(source, read_field, outputs, quiet, settings, network, reading) -> None:
    """Read, detect, write and sum up one field."""
    import time

    from ..write import only_columns, write

    began = time.perf_counter()
    names = ("hdu", "reference_band", "weight_map", "weight_type", "mask")
    frame = read_field(source, **{name: reading[name] for name in names})
    from ..model.checkpoint import locate
    from ..model.engine import open_engine
    from ..pipeline import detect as detect_frame
    from ..read import checksum

    (output, columns, plot, overwrite), (weights, engine_name, device) = outputs, network
    path = locate(weights)
    opened = open_engine(path, engine_name, device)
    result = detect_frame(frame, opened, settings)
    result.catalog.meta["provenance"] |= {"weights": weights, "weights_sha256": checksum(path)}
    write(only_columns(result.catalog, columns), output, overwrite)
    if plot is not None:
        from ..view import save_overlay

        save_overlay(plot, frame, result.background, opened.card.stretch, result.catalog)
    if not quiet:
        summarise(result, frame, output, time.perf_counter() - began)


def detect_settings(options_given: dict):
    """Checked before any pixel is read."""
    from ..pipeline import DetectSettings

    tile, overlap = options_given["tile"], options_given["overlap"]
    if tile % 32:
        raise click.UsageError(f"--tile {tile}: must be a multiple of 32, the network's coarsest stride; try {round(tile / 32) * 32}")
    if overlap >= tile:
        raise click.UsageError(f"--overlap {overlap}: must be less than --tile {tile}; the default is 128")
    names = {"batch": "batch_size"} | {name: name for name in ("tile", "overlap", "min_score", "max_det", "views", "prior_star")}
    return DetectSettings(**{field: options_given[option] for field, option in names.items()})


def notes_as_lines():
    """Warnings of ours as one line each on standard error."""
    import contextlib
    import warnings

    from ..errors import AstroYOLOWarning

    @contextlib.contextmanager
    def lines():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", AstroYOLOWarning)
            warnings.showwarning = lambda message, *_, **__: click.echo(f"astroyolo: note: {message}", err=True)
            yield

    return lines()


def summarise(result, frame, output, seconds: float) -> None:
    """Counts by class, time and place of the catalog, on standard error."""
    from rich.console import Console
    from rich.table import Table

    catalog = result.catalog
    is_galaxy = catalog["class"] == "galaxy"
    disks = int((catalog["morphology"][is_galaxy] == "disk").sum())
    table = Table(box=None, show_header=False)
    height, width = frame.shape
    table.add_row("field", f"{width} x {height} pixels, bands {', '.join(frame.bands)}")
    table.add_row("stars", str(int((~is_galaxy).sum())))
    table.add_row("galaxies", f"{int(is_galaxy.sum())} ({int(is_galaxy.sum()) - disks} smooth, {disks} disk)")
    table.add_row("time", f"{seconds:.1f} s")
    table.add_row("catalog", str(output))
    Console(stderr=True).print(table)
