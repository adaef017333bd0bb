"""Options that several commands share, each defined once."""

import math
import os
from pathlib import Path

import click

from ..settings import ZOOMS


def split_commas(ctx, param, value: str | None) -> tuple[str, ...] | None:
    """``z,r,g`` to a tuple of names."""
    if value is None:
        return None
    names = tuple(name.strip() for name in value.split(","))
    if not all(names) or len(set(names)) != len(names):
        raise click.BadParameter(f"{value!r}: needs different names with commas between them, such as z,r,g")
    return names


def numbers_by_band(ctx, param, value: str | None) -> dict[str, float] | None:
    """``25.0`` for every band, as band "", or ``z=25.1,r=25.3``."""
    if value is None:
        return None
    try:
        pairs = [part.rpartition("=") for part in value.split(",")]
        numbers = {band.strip(): float(number) for band, _, number in pairs}
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: needs a number, or band=number with commas between, such as z=25.1,r=25.3") from error
    if len(numbers) != len(pairs) or ("" in numbers and len(pairs) > 1) or not all(math.isfinite(n) for n in numbers.values()):
        raise click.BadParameter(f"{value!r}: one finite number for all bands, or one for each band, such as z=25.1,r=25.3")
    if param.name == "gain" and min(numbers.values()) <= 0:
        raise click.BadParameter(f"{value!r}: must be above 0, in electrons a count")
    return numbers


def region_of(ctx, param, value: str | None):
    """``x0:x1,y0:y1`` or ``ra,dec,size``."""
    if value is None:
        return None
    from ..region import parse_region

    try:
        return parse_region(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


class Folder(type(Path())):
    """A path that was written with a slash at its end."""


class Output(click.Path):
    """A file, or a folder: one that exists, or a name without an ending, or with a slash at its end."""

    def convert(self, value, param, ctx):
        path = super().convert(value, param, ctx)
        return Folder(path) if str(value).endswith(("/", os.sep)) else path


def is_folder(output: Path) -> bool:
    return str(output) != "-" and (isinstance(output, Folder) or output.is_dir() or not output.suffix)


OUTPUT = click.option(
    "-o",
    "--output",
    required=True,
    type=Output(path_type=Path, allow_dash=True),
    help="Catalog to write; its ending chooses the format: csv, fits, ecsv, vot, parquet, jsonl, reg (DS9). - is CSV on standard output.",
)
COLUMNS = click.option(
    "--columns", callback=split_commas, help="Only these columns of the catalog, in this order, such as ra,dec,class,score."
)
WEIGHTS = click.option("--weights", default="nano", show_default=True, help="Name of embedded weights, or a weight file.")
BANDS = click.option("--bands", callback=split_commas, help="Bands to use, reddest first, such as z,r,g; also fills {band} in INPUT.")
REFERENCE_BAND = click.option("--reference-band", help="Band whose pixels and fluxes the catalog states; default: the middle one.")
HDU = click.option("--hdu", help="Number or name of the image's HDU; default: the first image.")
WEIGHT_MAP = click.option(
    "--weight-map", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="FITS image of the pixels' weights."
)
WEIGHT_TYPE = click.option("--weight-type", default="invvar", show_default=True, type=click.Choice(["invvar", "rms", "weight"]))
MASK = click.option(
    "--mask", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="FITS image, not zero where pixels are bad."
)
TILE = click.option(
    "--tile",
    type=click.IntRange(64),
    help="Side of the network's tiles, pixels; a multiple of 32. Default: from 512 to 1152, as fits the frame.",
)
OVERLAP = click.option(
    "--overlap", default=128, show_default=True, type=click.IntRange(0), help="Pixels that tiles share; less than --tile."
)
MIN_SCORE = click.option("--min-score", default=0.3, show_default=True, type=click.FloatRange(0, 1), help="Drop sources of a lower score.")
MAX_DET = click.option(
    "--max-det",
    default=2500,
    show_default=True,
    type=click.IntRange(1),
    help="Most boxes looked at in each 512 x 512 pixels that the network sees.",
)
VIEWS = click.option(
    "--views", default=2, show_default=True, type=click.IntRange(1, 2), help="Looks at each tile: 2 is steadier, 1 twice as fast."
)
ZOOM = click.option(
    "--zoom",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", *(f"{zoom:g}" for zoom in ZOOMS)]),
    help="Times that the network sees the frame enlarged; auto: 1, and more where stars are narrower than 3.5 pixels FWHM.",
)
PRIOR_STAR = click.option(
    "--prior-star",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Part of the sources that are stars, where you know it: p_star then assumes it; default: that of the training data.",
)
BATCH_SIZE = click.option(
    "--batch-size",
    type=click.IntRange(1),
    help="Tiles of 512 x 512 pixels a step: speed and memory alone. Default: 4, on a GPU 32.",
)
DEVICE = click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda", "mps"]))
ENGINE = click.option(
    "--engine",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "torch", "onnxruntime", "openvino", "openvino-bf16"]),
    help="What runs the network; auto: the fastest that is installed (pip install 'astroyolo[fast]').",
)
PLOT = click.option(
    "--plot",
    type=click.Path(path_type=Path),
    help="PNG of the frame and its sources: star orange, galaxy blue; smooth red, disk green.",
)
REPORT = click.option(
    "--report",
    type=click.Path(path_type=Path),
    help="Page to look at the frame and its catalog in a browser: one .html file; or a folder, for every pixel of a large frame.",
)
CUTOUTS = click.option(
    "--cutouts", type=click.Path(path_type=Path), metavar="FOLDER", help="Folder for a PNG of every source, named by its id and classes."
)
OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
QUIET = click.option("--quiet", is_flag=True, help="No progress and no summary.")

FORMAT = click.option(
    "--format",
    default="fits",
    show_default=True,
    type=click.Choice(["fits", "csv", "ecsv", "vot", "parquet", "jsonl", "reg"]),
    help="Of the catalogs, where OUTPUT is a folder.",
)
WORKERS = click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes that share the inputs.")
RESUME = click.option("--resume", is_flag=True, help="Keep catalogs of the folder that are whole and of the same input and settings.")
JOB = click.option("--job", type=click.IntRange(1), help="With --njobs: do part K of the inputs, as an array job.")
NJOBS = click.option("--njobs", type=click.IntRange(1), help="Number of parts.")

ZERO_POINT = click.option(
    "--zero-point",
    "zero_points",
    callback=numbers_by_band,
    metavar="MAG",
    help="AB magnitude of one count: 25.0, or z=25.1,r=25.3; else the header's.",
)
GAIN = click.option("--gain", "gain", callback=numbers_by_band, metavar="E/COUNT", help="Electrons a count, likewise; else the header's.")
REGION = click.option(
    "--region",
    callback=region_of,
    metavar="X0:X1,Y0:Y1|RA,DEC,SIZE",
    help="Read this part alone: pixels from 0, or a square on the sky in degrees (SIZE also as 3arcmin).",
)
READING = (BANDS, REFERENCE_BAND, HDU, WEIGHT_MAP, WEIGHT_TYPE, MASK, ZERO_POINT, GAIN)
NETWORK = (WEIGHTS, TILE, OVERLAP, MIN_SCORE, MAX_DET, VIEWS, ZOOM, PRIOR_STAR, BATCH_SIZE, DEVICE, ENGINE)
SCHEDULER = click.option(
    "--scheduler", metavar="ADDRESS", help="Dask scheduler whose workers do the inputs, such as tcp://host:8786 (astroyolo[cluster])."
)
LOG = click.option("--log", is_flag=True, help="Beside each catalog a .log: what was noted, the time of each step, errors whole.")
BATCH = (FORMAT, WORKERS, SCHEDULER, LOG, RESUME, JOB, NJOBS)


def options(*groups):
    """One decorator of several options; help lists them in the order given."""
    flat = [option for group in groups for option in (group if isinstance(group, tuple) else (group,))]

    def decorate(command):
        for option in reversed(flat):
            command = option(command)
        return command

    return decorate
