"""The command line: one module a command, imported when it is called, so that help is instant."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys

import click

from .. import __version__
from ..errors import AstroYOLOError, printable

INTERRUPTED = 130  # as shells report SIGINT

COMMANDS = {  # name -> first line of help; the command is the object of the same name in the module of that name
    "detect": "Find and classify every source of a frame; write a catalog.",
    "classify": "Star or galaxy, smooth or disk, of cutouts or at given positions.",
    "train": "Learn the network from fields and from galaxy cutouts.",
    "evaluate": "Score a network, or catalogs, against known truth; write a report.",
    "simulate": "Make training sets of skies with known truth.",
    "convert": "Turn an official YOLOX checkpoint into a weight file to start from.",
    "merge": "Join the catalogs of overlapping frames.",
    "export": "Write a weight file as ONNX or OpenVINO, to run without PyTorch.",
    "send": "Show a catalog in TOPCAT, DS9 or Aladin (SAMP).",
    "benchmark": "Say how fast this machine is, by stage, engine and batch size.",
    "info": "Say what this version knows: weights, columns, flags.",
}


class LazyGroup(click.Group):
    """Lists commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return getattr(importlib.import_module(f".{name}", __name__), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="astroyolo")
def cli() -> None:
    """Find the stars and galaxies of survey images, and tell smooth galaxies from disks.

    \b
    Examples:
      astroyolo detect field.fits -o catalog.csv
      astroyolo detect --help
    """


def main() -> None:
    """Run the program; what a user can mend is said in one line, exit 1; wrong usage is exit 2."""
    signal.signal(signal.SIGINT, interrupted)
    try:
        cli.main(standalone_mode=True)
    except AstroYOLOError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or 'a file'}: {error.strerror or error}; free space, or check the path and its permissions")
    except MemoryError:
        fail("out of memory; give fewer --workers, a smaller --batch-size, or a part of the frame")
    finally:
        gc.freeze()  # else Python looks through all objects once more before it ends: a sixth of the time of a small frame


def interrupted(number, frame):
    """Ctrl-C ends the work and tidies up; pressed again, it ends the program there and then."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    raise KeyboardInterrupt


def fail(reason: str) -> None:
    click.echo(f"astroyolo: {printable(' '.join(reason.split()))}", err=True)
    sys.exit(1)
