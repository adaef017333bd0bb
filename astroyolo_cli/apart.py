"""Pixels decoded by a process of its own, for a codec whose compiled decoder a damaged stream may kill: then that process alone dies."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from astropy.io import fits

from .errors import printable, reason_of
from .packed import unpacked
from .remote import RemotePath

LONGEST = 600  # seconds


def read_apart(path: Path | RemotePath, number: int, window: tuple[slice, slice]) -> np.ndarray:
    """A window of the image in an HDU, (..., H, W), as astropy reads it.

    Raises:
        RuntimeError: saying what went wrong, if the other process said it, or that it died.
    """
    with unpacked(path) as file:
        content = file.read()
    bounds = [str(place) for part in window for place in (part.start, part.stop)]
    command = [sys.executable, "-P", "-m", __name__, str(number), *bounds]
    same_modules = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, input=content, capture_output=True, env=same_modules, timeout=LONGEST, check=False)
    if done.returncode < 0 or (done.returncode and not done.stderr):
        raise RuntimeError(f"its decoder died, exit status {done.returncode}")
    if done.returncode:
        raise RuntimeError(printable(done.stderr.decode(errors="replace").splitlines()[-1]))
    return np.load(io.BytesIO(done.stdout), allow_pickle=False)


def main() -> None:
    """The other process: the file on standard input, the pixels on standard output, or one line of why not."""
    number, top, bottom, left, right = map(int, sys.argv[1:])
    try:
        with fits.open(io.BytesIO(sys.stdin.buffer.read()), lazy_load_hdus=True) as hdus:
            pixels = hdus[number].section[..., top:bottom, left:right]
    except Exception as error:  # of astropy's many kinds; each means the same
        sys.exit(reason_of(error))
    np.save(sys.stdout.buffer, np.asarray(pixels), allow_pickle=False)


if __name__ == "__main__":
    main()
