"""Files behind https://, s3:// and whatever else fsspec knows, used like paths: what is read of them is fetched, a range at a time."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from types import SimpleNamespace

from .errors import AstroYOLOError, InputError

ATTEMPTS = 4  # at each range, and the seconds to wait after the first that fails, then twice as many
PAUSE = 0.5
RANGE = 1 << 18  # bytes that are fetched at once, at least
MISSING = (FileNotFoundError, PermissionError)


def is_remote(text: str) -> bool:
    """Whether an input is an address and not a path.

    >>> is_remote("https://archive.org/frame.fits"), is_remote("C:/frame.fits")
    (True, False)
    """
    return "://" in text


@dataclass(frozen=True)
class RemotePath:
    """A file by its address, with what of ``pathlib.Path`` reading needs."""

    url: str
    _known: dict = field(default_factory=dict, repr=False, compare=False)

    def __str__(self) -> str:
        return self.url

    @property
    def _path(self) -> PurePosixPath:
        return PurePosixPath(self.url.partition("?")[0].partition("://")[2])

    @property
    def name(self) -> str:
        return self._path.name

    @property
    def suffix(self) -> str:
        return self._path.suffix

    @property
    def parts(self) -> tuple[str, ...]:
        return self._path.parts

    def absolute(self) -> RemotePath:
        return self

    resolve = absolute

    def exists(self) -> bool:
        try:
            return bool(self._info)
        except FileNotFoundError:
            return False

    def is_file(self) -> bool:
        return self.exists()

    def stat(self) -> SimpleNamespace:
        """Its size, and 0 for the time, which not every archive tells."""
        return SimpleNamespace(st_size=self._info["size"], st_mtime_ns=0)

    def open(self, mode: str = "rb") -> io.BufferedReader:
        return io.BufferedReader(Ranges(self.url, self._info))

    @property
    def _info(self) -> dict:
        """Size and the like; asked for once.

        Raises:
            FileNotFoundError: if there is none.
            OSError: if its size is not told, or it cannot be reached.
        """
        if not self._known:
            self._known.update(persistent(lambda: filesystem(self.url).info(self.url)))
        if not self._known.get("size"):
            raise OSError("the server does not tell its size, so that no part of it can be fetched; fetch it whole first")
        return self._known


def filesystem(url: str):
    """fsspec's for this kind of address."""
    kind = url.partition("://")[0]
    try:
        import fsspec

        return fsspec.filesystem(kind)
    except ImportError as error:
        raise AstroYOLOError(f"{url}: {kind}:// needs pip install 'astroyolo[remote]'") from error
    except ValueError as error:
        raise InputError(f"{url}: {kind}:// is no kind of address that is known; use https:// or s3://") from error


def persistent(fetch):
    """What ``fetch`` returns, tried again where the network or the server fails for a moment."""
    for attempt in range(ATTEMPTS):
        try:
            return fetch()
        except (*MISSING, AstroYOLOError):
            raise
        except Exception as error:  # of aiohttp's, botocore's and others' many kinds
            if attempt == ATTEMPTS - 1:
                raise OSError(f"{type(error).__name__} in {ATTEMPTS} attempts: {error}") from error
            time.sleep(PAUSE * 2**attempt)


class Ranges(io.RawIOBase):
    """A remote file to read and to skip about in, fetched a range at a time; the last range is kept."""

    mode = "rb"  # which astropy asks for

    def __init__(self, url: str, known: dict):
        super().__init__()
        self._url, self._size, self._at = url, known["size"], 0
        self._known, self._first, self._kept = known, 0, known.get("start", b"")

    @cached_property
    def _files(self):
        return filesystem(self._url)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(start + offset, 0)
        return self._at

    def readinto(self, buffer) -> int:
        if not self._first <= self._at < self._first + len(self._kept):
            self._keep(self._at, min(self._at + max(len(buffer), RANGE), self._size))
        data = memoryview(self._kept)[self._at - self._first :][: len(buffer)]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _keep(self, start: int, end: int) -> None:
        """Have this range at hand; the file's start, which everything looks at first, also for the next who opens it."""
        self._first, self._kept = start, b""
        if start < len(self._known.get("start", b"")):
            self._first, self._kept = 0, self._known["start"]
        elif end > start:
            self._kept = persistent(lambda: self._fetch(start, end))
            if start == 0 and end <= RANGE:
                self._known["start"] = self._kept

    def _fetch(self, start: int, end: int) -> bytes:
        data = self._files.cat_file(self._url, start=start, end=end)
        if len(data) == self._size > end - start:  # a server that knows no ranges sends all
            data = data[start:end]
        if len(data) != end - start:
            raise OSError(f"{len(data)} bytes came of {end - start}")
        return data
