"""astroyolo info."""

import click


@click.command()
@click.argument("topic", type=click.Choice(["weights", "columns", "flags"]))
def info(topic):
    """Say what this version knows: its embedded weights, the catalog's columns, the flags' bits.

    \b
    Examples:
      astroyolo info weights
      astroyolo info columns
    """
    {"weights": show_weights, "columns": show_columns, "flags": show_flags}[topic]()


def show_weights() -> None:
    """The model cards that ship with the weights."""
    from importlib.resources import files

    click.echo(files("astroyolo_cli.weights").joinpath("README.md").read_text(encoding="utf-8"))


def show_columns() -> None:
    from ..columns import BAND_COLUMNS, COLUMNS, FIELD, PRIMARY

    for column in (*COLUMNS, *BAND_COLUMNS, FIELD, PRIMARY):
        unit = "image unit" if column.unit == "flux" else column.unit
        click.echo(f"{column.name:16} {unit:11} {column.ucd:42} {column.meaning}")


def show_flags() -> None:
    from ..columns import FLAGS

    for bit, meaning in FLAGS.items():
        click.echo(f"{bit:6} {meaning}")
