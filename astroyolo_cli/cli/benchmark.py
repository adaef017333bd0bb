"""astroyolo benchmark."""

import click

from .options import DEVICE, ENGINE, QUIET, WEIGHTS, options


@click.command()
@options(WEIGHTS)
@click.option("--side", default=2048, show_default=True, type=click.IntRange(64, 16384), help="Of the frame that is made, pixels.")
@click.option("--bands", default=1, show_default=True, type=click.IntRange(1, 3), help="Of that frame.")
@click.option("--threads", default=0, show_default=True, type=click.IntRange(0), help="0: as many as the engines choose.")
@options(ENGINE, DEVICE)
@click.option("--json", "as_json", is_flag=True, help="Numbers for programs, on standard output.")
@options(QUIET)
def benchmark(weights, side, bands, threads, engine, device, as_json, quiet):
    """Say how fast this machine is: a frame from disk to catalog by stages, and every installed engine by batch size.

    Nothing is left on disk. Engines other than torch: pip install 'astroyolo[fast]'.

    \b
    Examples:
      astroyolo benchmark
      astroyolo benchmark --side 4096 --bands 3 --json
      astroyolo benchmark --side 4096 --engine torch --device cuda
    """
    from ..benchmark import run_benchmark
    from ..model.checkpoint import locate

    def tell(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    result = run_benchmark(locate(weights), side, bands, threads, tell, engine, device)
    if as_json:
        import json

        click.echo(json.dumps(result, indent=1))
    else:
        show(result)


def show(result: dict) -> None:
    """Tables for people."""
    from rich.console import Console
    from rich.table import Table

    frame, fastest = result["frame"], result["fastest"]
    stages = Table("stage", "seconds", "part", box=None)
    for stage, seconds in frame["stages"].items():
        stages.add_row(stage, f"{seconds:.3f}", f"{100 * seconds / frame['seconds']:.0f} %")
    engines = Table("engine", "batch", "ms a tile", "tiles a second", box=None)
    for one in result["engines"]:
        engines.add_row(one["engine"], str(one["batch"]), f"{one['ms_a_tile']:.1f}", f"{1000 / one['ms_a_tile']:.0f}")
    console = Console()
    console.print(stages)
    console.print(f"{frame['seconds']:.2f} s a frame, {result['megapixels_a_second']:.1f} megapixels a second, {frame['rows']} rows\n")
    console.print(engines)
    console.print(f"fastest: {fastest['engine']}")
