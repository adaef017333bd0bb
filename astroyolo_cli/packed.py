"""Files that are packed as a whole, by gzip, bzip2 or xz: told by their first bytes, and read as what is in them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from .errors import InputError, reason_of
from .remote import RemotePath

OPENERS = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
MOST_KEPT = 2**28  # bytes of a packed file's content that are kept while it is read


@dataclass(frozen=True)
class Content:
    """What is in a packed file, in memory, with what of ``pathlib.Path`` reading needs."""

    path: Path | RemotePath
    content: bytes = field(repr=False)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def suffix(self) -> str:
        return self.path.suffix

    def exists(self) -> bool:
        return True

    is_file = exists

    def stat(self) -> SimpleNamespace:
        return SimpleNamespace(st_size=len(self.content))

    def open(self, mode: str = "rb") -> io.BytesIO:
        return io.BytesIO(self.content)


def content_of(path: Path | RemotePath) -> Path | RemotePath | Content:
    """A file that is packed as a whole as its content, so that it is unpacked once; others, and larger ones, as they are.

    Raises:
        InputError: for one that is damaged.
    """
    if not is_packed(path):
        return path
    content = io.BytesIO()
    with said_if_damaged(path), unpacked(path) as file:
        for piece in pieces(file):  # to the end, where its checksum is looked at
            content.write(piece)
            if content.tell() > MOST_KEPT:
                return path
    return Content(path, content.getvalue())


@contextmanager
def said_if_damaged(path: Path | RemotePath):
    """What the decompressors raise becomes an InputError."""
    try:
        yield
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path}: damaged ({error}); fetch it again") from error


def first_bytes(path: Path | RemotePath | Content) -> bytes:
    """The two that tell how a file is packed.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(2)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason_of(error)}); try again later") from error


def is_packed(path: Path | RemotePath | Content) -> bool:
    """Compressed as a whole: gzip, bzip2, xz."""
    return first_bytes(path) in OPENERS


def unpacked(path: Path | RemotePath | Content):
    """The file, or what is in it where it is packed as a whole."""
    opener = OPENERS.get(first_bytes(path))
    if isinstance(path, Path):
        return (opener or open)(path, "rb")
    return opener(path.open("rb")) if opener else path.open("rb")


def pieces(file) -> Iterator[bytes]:
    """What is left of a file, a MiB at a time: asked for more at once, the decompressors take the memory before they know the size."""
    return iter(lambda: file.read(2**20), b"")
