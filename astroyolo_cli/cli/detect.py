"""astroyolo detect."""

import contextlib
import sys
from pathlib import Path

import click

from .options import BATCH, COLUMNS, CUTOUTS, NETWORK, OUTPUT, OVERWRITE, PLOT, QUIET, READING, REGION, REPORT, is_folder, options


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@options(OUTPUT, COLUMNS, PLOT, REPORT, CUTOUTS, READING, REGION, NETWORK, BATCH, OVERWRITE, QUIET)
def detect(inputs, output, **given):
    """Find every star and galaxy of a frame, tell smooth galaxies from disks, and write one catalog.

    INPUT is a FITS or PNG, JPEG or TIFF file, a folder with img_g.fits, img_r.fits and img_z.fits, or with
    --bands a pattern for one file a band. Pixels in the catalog count from 0.

    Of several inputs (files, patterns, @list.txt, - for paths on standard input) OUTPUT is a folder, with a catalog an input
    and manifest.jsonl, or one file with a column field. A bad input is reported and the others go on (exit 1).

    \b
    Examples:
      astroyolo detect field.fits -o catalog.csv
      astroyolo detect field.fits -o catalog.csv --report field.html
      astroyolo detect --bands i,r,g 'frame-{band}-*.fits.bz2' -o catalogs/ --workers 2
      astroyolo detect @frames.txt -o catalogs/ --resume
      astroyolo detect mosaic.fits -o part.csv --region 150.1,2.2,3arcmin
    """
    settings = detect_settings(given)
    into_folder, output = is_folder(output), Path(output)
    check_options(output, into_folder, given)
    from ..batch import share_of
    from ..inputs import note_separate_bands, resolve
    from ..whole import check_not_read

    fields = resolve(inputs, given["bands"])
    for name in ("plot", "report", "cutouts"):
        if given[name] is not None and len(fields) != 1:
            raise click.UsageError(f"--{name}: shows one field, and there are {len(fields)}; give one INPUT, or leave --{name} out")
    check_columns(given["columns"], lambda name: is_of_detect(name, fields, joined=not into_folder and len(fields) > 1))
    check_not_read(written(fields, output, into_folder, given), read(fields, given))
    if given["job"] is not None:
        fields = share_of(fields, given["job"], given["njobs"])
    recipe = recipe_of(given, settings)
    with notes_as_lines():
        note_separate_bands(fields, given["bands"])
        if into_folder:
            sys.exit(detect_batch(fields, output, recipe, given))
        if len(fields) == 1:
            detect_one(fields[0], output, recipe, given)
        else:
            sys.exit(detect_joined(fields, output, recipe, given))


def check_options(output, into_folder: bool, given: dict) -> None:
    """Before any pixel is read: can it be meant, can it be written?"""
    from ..write import check_output

    if (given["job"] is None) != (given["njobs"] is None) or (given["job"] or 0) > (given["njobs"] or 0):
        raise click.UsageError("--job K --njobs N: give both, K from 1 to N")
    if given["scheduler"] and given["workers"] > 1:
        raise click.UsageError("--scheduler: its workers do the work; leave --workers out")
    if not into_folder:
        several = {"--workers": given["workers"] > 1} | {f"--{name}": given[name] for name in ("resume", "job", "scheduler", "log")}
        for name, value in several.items():
            if value:
                raise click.UsageError(f"{name}: needs a folder for --output, with a catalog an input; {output} is one file")
        check_output(output, given["overwrite"])
        check_regions(given["columns"], output)
        check_plot(given["plot"], given["overwrite"])
        check_report(given["report"], given["overwrite"])
        check_cutouts(given["cutouts"], given["overwrite"])
        return
    for name in ("plot", "report", "cutouts"):
        if given[name] is not None:
            raise click.UsageError(f"--{name}: shows one field; leave it out where --output is a folder")
    from ..write import writer_for

    name = Path(f"catalog.{given['format']}")
    writer_for(name)
    check_regions(given["columns"], name)


def read(fields, given: dict) -> list:
    """The files that are read."""
    from ..model.checkpoint import locate

    maps = (given["weight_map"], given["mask"], locate(given["weights"]))
    return [path for field in fields for path in field.paths] + [path for path in maps if path is not None]


def written(fields, output, into_folder: bool, given: dict) -> list:
    """The files that are written."""
    from ..batch import jobs_of

    if into_folder:
        return [path for job in jobs_of(fields, output, given["format"], given["log"]) for path in (job.output, job.log)]
    return [output, given["plot"], given["report"]]


def recipe_of(given: dict, settings):
    from ..checksums import checksum
    from ..jobs import Recipe, state_of
    from ..model.checkpoint import locate

    names = ("hdu", "reference_band", "weight_map", "weight_type", "mask", "zero_points", "gain", "region")
    reading = {name: given[name] for name in names}
    maps = tuple(state_of(given[name]) for name in ("weight_map", "mask") if given[name] is not None)
    return Recipe(
        given["weights"],
        checksum(locate(given["weights"])),
        given["engine"],
        given["device"],
        settings,
        reading,
        given["columns"],
        maps=maps,
    )


def detect_one(source, output, recipe, given: dict) -> None:
    """Read, detect, write and sum up one field."""
    import time

    from ..jobs import catalog_of, opening
    from ..region import in_part
    from ..write import only_columns, write

    began = time.perf_counter()
    opened = opening(recipe)
    frame, result = catalog_of(source, recipe, opened)
    write(only_columns(result.catalog, recipe.columns), output, given["overwrite"])
    shown = in_part(result.catalog, frame.part)
    if given["plot"] is not None:
        from ..view import save_overlay

        save_overlay(given["plot"], frame, result.background, opened().card.stretch, shown)
    if given["report"] is not None:
        from ..quicklook import write_report

        write_report(given["report"], frame, result.background, opened().card.stretch, result.catalog, given["overwrite"])
    if given["cutouts"] is not None:
        from ..cutouts import write_cutouts

        write_cutouts(given["cutouts"], frame, result.background, opened().card.stretch, shown, given["overwrite"])
    if not given["quiet"]:
        summarise(result, frame, output, time.perf_counter() - began)


def detect_joined(fields, output, recipe, given: dict) -> int:
    """All fields in one file; the exit status."""
    from ..batch import joined_catalogs
    from ..write import only_columns, write

    with told(len(fields), given["quiet"]) as tell:
        table, failed = joined_catalogs(fields, recipe, tell)
    write(only_columns(table, recipe.columns), output, given["overwrite"])
    if not given["quiet"]:
        click.echo(f"{len(table)} sources of {len(fields) - failed} fields, {failed} failed: {output}", err=True)
    return 1 if failed else 0


def detect_batch(fields, folder, recipe, given: dict) -> int:
    """A catalog an input and the manifest; the exit status."""
    from ..batch import check_free, jobs_of, manifest_of, run_batch, stopped_by_signals

    jobs, manifest = jobs_of(fields, folder, given["format"], given["log"]), manifest_of(folder, given["job"], given["njobs"])
    check_free(jobs, folder, manifest, given["resume"], given["overwrite"])
    with stopped_by_signals(), told(len(jobs), given["quiet"]) as tell:
        counts = run_batch(jobs, folder, manifest, recipe, given["workers"], given["resume"], tell, given["scheduler"])
    if not given["quiet"]:
        kept = f", {counts['kept']} kept" if given["resume"] else ""
        click.echo(f"{counts['done']} done{kept}, {counts['failed']} failed: {manifest}", err=True)
    return 1 if counts["failed"] else 0


@contextlib.contextmanager
def told(total: int, quiet: bool):
    """A function of manifest entries: a bar on a terminal, a line each elsewhere; failures always."""
    from ..errors import printable

    with contextlib.nullcontext() if quiet or not sys.stderr.isatty() else bar_of_fields(total) as advance:
        seen = 0

        def tell(entry: dict) -> None:
            nonlocal seen
            seen += 1
            if advance:
                advance(seen, printable(entry["field"][-40:]))
            if entry["status"] == "failed":
                click.echo(f"astroyolo: {printable(entry['field'])}: {printable(entry['error'])}", err=True)
            elif not advance and not quiet and entry["status"] == "done":
                click.echo(f"{seen}/{total} {printable(entry['field'])}: {entry['rows']} rows, {entry['seconds']:.1f} s", err=True)

        yield tell


@contextlib.contextmanager
def bar_of_fields(total: int):
    """A bar on standard error, and a function of how many fields have ended and the last one's name."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("fields", total=total)
        yield lambda seen, name: progress.update(task, completed=seen, description=name)


def check_regions(names, output) -> None:
    """Before the work: does the format need other columns than these?"""
    from ..errors import OutputError

    if names and output.suffix.lower() == ".reg":
        raise OutputError(f"{output}: regions are made of the boxes; leave --columns out")


def check_columns(names, is_known) -> None:
    """Before the work: will the catalog have these columns?

    Args:
        is_known: of a name, whether it will.
    """
    from ..errors import OutputError

    for name in names or ():
        if not is_known(name):
            raise OutputError(f"--columns: {name!r} is no column of the catalog; astroyolo info columns lists them")


def is_of_detect(name: str, fields, joined: bool) -> bool:
    """Whether the catalogs of these fields can have the column: all of them in one file if ``joined``.

    A field of one file says only when it is read which bands it has.
    """
    from ..columns import PRIMARY, column_called, columns_for

    if name == "field":
        return joined
    if any(field.bands is None for field in fields):
        return name != PRIMARY.name and column_called(name) is not None
    return any(name == column.name for bands in {field.bands for field in fields} for column in columns_for(bands))


def check_plot(plot, overwrite: bool) -> None:
    """Before the work: can the picture be written?"""
    from ..errors import OutputError
    from ..whole import check_place

    if plot is None:
        return
    if plot.suffix.lower() != ".png":
        raise OutputError(f"{plot}: --plot writes PNG; end its name in .png")
    check_place(plot, overwrite)


def check_report(report, overwrite: bool) -> None:
    """Before the work: can the page be written?"""
    if report is not None:
        from ..quicklook import check_report as check

        check(report, overwrite)


def check_cutouts(folder, overwrite: bool) -> None:
    """Before the work: can the folder be made?"""
    if folder is not None:
        from ..cutouts import check_cutouts as check

        check(folder, overwrite)


def detect_settings(options_given: dict):
    """Checked before any pixel is read."""
    from ..settings import DetectSettings
    from ..tile import USUAL

    tile, overlap = options_given["tile"], options_given["overlap"]
    if (tile or 0) % 32:
        raise click.UsageError(f"--tile {tile}: must be a multiple of 32, the network's coarsest stride; try {round(tile / 32) * 32}")
    if overlap >= (tile or USUAL):
        raise click.UsageError(f"--overlap {overlap}: must be less than --tile {tile or USUAL}; the default is 128")
    names = {"batch": "batch_size"} | {name: name for name in ("tile", "overlap", "min_score", "max_det", "views", "prior_star")}
    zoom = None if options_given["zoom"] == "auto" else float(options_given["zoom"])
    return DetectSettings(zoom=zoom, **{field: options_given[option] for field, option in names.items()})


def notes_as_lines():
    """Warnings of ours as one line each on standard error."""
    import warnings

    from ..errors import AstroYOLOWarning, printable

    @contextlib.contextmanager
    def lines():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", AstroYOLOWarning)
            warnings.showwarning = lambda message, *_, **__: click.echo(f"astroyolo: note: {printable(str(message))}", err=True)
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
    table.add_row("field" if frame.part is None else "region", f"{size_of(frame)} pixels, bands {', '.join(frame.bands)}")
    table.add_row("stars", str(int((~is_galaxy).sum())))
    table.add_row("galaxies", f"{int(is_galaxy.sum())} ({int(is_galaxy.sum()) - disks} smooth, {disks} disk)")
    table.add_row("time", f"{seconds:.1f} s")
    table.add_row("catalog", str(output))
    Console(stderr=True).print(table)


def size_of(frame) -> str:
    """Width and height in pixels, of a frame that was read in part those of the region alone."""
    height, width = frame.shape
    if frame.part is not None:
        x0, y0, x1, y1 = frame.part.core
        width, height = round(x1 - x0), round(y1 - y0)
    return f"{width} x {height}"
