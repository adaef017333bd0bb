"""astroyolo evaluate."""

from pathlib import Path

import click

from .options import DEVICE, ENGINE, MAX_DET, OVERLAP, OVERWRITE, QUIET, TILE, VIEWS, WEIGHTS, options

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option("--sg", type=FOLDER, help="Fields with known sources, in any layout that train reads.")
@click.option("--ds", type=FOLDER, help="Pictures of one galaxy each, in any layout that train reads.")
@click.option(
    "--catalog", "catalogs", multiple=True, metavar="[NAME=]FILES",
    help="Catalogs of another tool for the fields of --sg: a file a field (set_N in its path), or files with a column field. "
    "AstroYOLO's, SExtractor's (ASCII_HEAD, FITS_LDAC) or Astro R-CNN's output_N.fits. Can be given several times.",
)  # fmt: skip
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder for report.html, scores.json and the figures.")
@options(WEIGHTS)
@click.option("--network/--no-network", default=True, show_default=True, help="Run the network, or score the catalogs alone.")
@click.option(
    "--min-score", default=0.3, show_default=True, type=click.FloatRange(0, 1), help="Lowest score for counts, classes and positions."
)
@click.option(
    "--radius", default=3.0, show_default=True, type=click.FloatRange(0, min_open=True),
    help="Pixels within which a detection is a source, where the header has no SEEING and PIXSCALE; else half the FWHM.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(1), help="Score only so many fields, and so many pictures drawn at random with --seed.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the bootstrap and of --limit.")
@options(TILE, OVERLAP, MAX_DET, VIEWS, DEVICE, ENGINE, OVERWRITE, QUIET)
def evaluate(output, overwrite, quiet, **given):
    """Score a network, and catalogs of any tool, against what is true; write a report.

    On fields: average precision, completeness and purity, star/galaxy, what the score means, positions. On pictures of
    galaxies: smooth or disk. Needs: pip install 'astroyolo[evaluate]'.

    \b
    Examples:
      astroyolo evaluate --sg fields/ --ds cutouts/ -o report
      astroyolo evaluate --sg fields/ --catalog 'SExtractor=sex/set_*.cat' -o report
    """
    from ..evaluate.report import check_folder, write_report

    check_given(given)
    check_folder(output, overwrite)
    from ..evaluate.run import evaluate as run
    from .detect import notes_as_lines
    from .progress import progress_bars

    with notes_as_lines(), progress_bars(quiet) as track:
        scores = run(track=track, tell=lambda line: click.echo(line, err=True), **given)
    page = write_report(scores, output)
    if not quiet:
        summarise(scores, page)


def check_given(given: dict) -> None:
    """What cannot be meant, before any file is read."""
    if not (given["sg"] or given["ds"]):
        raise click.UsageError("--sg or --ds: name what to score on, fields or pictures of galaxies")
    if given["catalogs"] and not given["sg"]:
        raise click.UsageError("--catalog: needs --sg, the fields that the catalogs are of")
    if not given["network"] and not given["catalogs"]:
        raise click.UsageError("--no-network: leaves nothing to score; add --catalog")
    if not given["network"] and given["ds"]:
        raise click.UsageError("--ds: its pictures are for the network alone, which --no-network leaves out; leave one of them out")
    tile = given["tile"] or 512
    if tile % 32 or given["overlap"] >= tile:
        raise click.UsageError(f"--tile {tile}: must be a multiple of 32 and more than --overlap {given['overlap']}; try 512 and 128")


def summarise(scores: dict, page: Path) -> None:
    """The headline of each tool and the place of the report, on standard error."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ..evaluate.report import CUTOUT_ROWS, FIELD_ROWS, got

    console = Console(stderr=True)
    for part, rows in (("fields", FIELD_ROWS), ("cutouts", CUTOUT_ROWS)):
        tools = scores.get(part, {})
        if tools:
            table = Table("", *map(escape, tools), box=None, header_style="bold")
            for label, get in rows.items():
                table.add_row(escape(label), *(got(get, one) for one in tools.values()))
            console.print(table)
    click.echo(f"report  {page}", err=True)
