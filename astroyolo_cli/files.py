"""Files as libraries open them, and what is said of one that cannot be."""

from __future__ import annotations

from pathlib import Path

from .errors import InputError, reason_of
from .packed import Content, unpacked
from .remote import RemotePath

BROKEN_FILE = (Exception,)  # astropy, cfitsio, Pillow and the decompressors raise many kinds; each means the same


def for_libraries(path: Path | RemotePath | Content):
    """What astropy and Pillow open."""
    return path if isinstance(path, Path) else unpacked(path)


def unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, MemoryError):
        return InputError(f"{path}: does not fit into memory ({reason_of(error)}); use a machine with more, or a part of the frame")
    return InputError(f"{path}: not a readable FITS image ({reason_of(error)}); fetch it again, or check with fitsverify")


def check_file(path: Path) -> None:
    try:
        if not path.exists():
            raise InputError(f"{path}: no such file; check the path")
        if not path.is_file():
            raise InputError(f"{path}: not a regular file; name a file")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: empty file; fetch it again")
    except OSError as error:
        raise InputError(f"{path}: cannot be reached ({error.strerror or reason_of(error)})") from error
