"""astroyolo export."""

from pathlib import Path

import click

from .options import OVERWRITE, QUIET, WEIGHTS


@click.command()
@WEIGHTS
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Network to write: .onnx, .xml (OpenVINO) or .safetensors."
)
@OVERWRITE
@QUIET
def export(weights, output, overwrite, quiet):
    """Write a weight file as a network that other programs run, ONNX or OpenVINO; or as a weight file of half the size, in float16.

    detect runs the weight file itself as fast. An .xml needs pip install 'astroyolo[openvino]'.

    \b
    Examples:
      astroyolo export --weights nano -o nano.onnx
      astroyolo detect field.fits -o catalog.csv --weights nano.onnx
      astroyolo export --weights run/last.safetensors -o mine.xml
      astroyolo export --weights run/last.safetensors -o small.safetensors
    """
    from ..model.checkpoint import locate
    from ..model.export import check_ending
    from ..model.export import export as export_network
    from ..whole import check_not_read, check_place

    check_ending(output)
    for path in (output, output.with_suffix(".bin"))[: 2 if output.suffix.lower() == ".xml" else 1]:
        check_place(path, overwrite)
    check_not_read([output], [locate(weights)])
    export_network(locate(weights), output)
    if not quiet:
        click.echo(f"{output}: {output.stat().st_size / 1e6:.1f} MB", err=True)
