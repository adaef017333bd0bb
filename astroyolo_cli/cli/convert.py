"""astroyolo convert."""

from pathlib import Path

import click

from .options import OVERWRITE, QUIET


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Weight file to write; its name ends in .safetensors.")
@OVERWRITE
@QUIET
def convert(checkpoint, output, overwrite, quiet):
    """Turn an official YOLOX checkpoint, trained on COCO, into a weight file to start training from.

    CHECKPOINT is one of yolox_nano.pth to yolox_x.pth of YOLOX's release 0.1.1rc0. Backbone, neck and box branch keep what they
    learned; the classes are new. Nothing that the file may hold besides tensors is run.

    \b
    Examples:
      astroyolo convert yolox_nano.pth -o nano-coco.safetensors
      astroyolo train --sg fields/ --ds cutouts/ -o run --weights nano-coco.safetensors
      astroyolo convert yolox_s.pth -o s-coco.safetensors --overwrite
    """
    check_weights_output(output, overwrite)
    from ..model.checkpoint import save
    from ..model.convert import convert as convert_checkpoint

    model, card = convert_checkpoint(checkpoint)
    save(model, card, output)
    if not quiet:
        click.echo(f"{output}: size {card.size}, from {checkpoint.name}", err=True)


def check_weights_output(output: Path, overwrite: bool) -> None:
    """Before the work: can the weight file be written?"""
    from ..errors import OutputError
    from ..whole import check_place

    if output.suffix != ".safetensors":
        raise OutputError(f"{output}: weight files end in .safetensors; try {output.with_suffix('.safetensors').name}")
    check_place(output, overwrite)
