"""Files and folders that appear whole under their names, or not at all."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import tempfile
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError

MOST_STEM = 50  # characters of a name that a temporary name repeats
ABANDONED = 86_400  # seconds
SYNCS = 8  # files of a folder that go to disk at once


def check_place(path: Path, overwrite: bool) -> None:
    """Can a file of this name be written, whatever is in it?"""
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file in it")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: is no file but a device or the like, which is never replaced; name a file")
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{path}: exists; add --overwrite to replace it")
    if not path.absolute().parent.is_dir():
        raise OutputError(f"{path}: its folder does not exist; make it first")


def check_not_read(written: Iterable, read: Iterable) -> None:
    """Before the work, whatever may be replaced: nothing that is written is a file that is read.

    Raises:
        OutputError: naming the first that is.
    """
    inputs = {os.path.realpath(path) for path in read if isinstance(path, Path)}  # Path.resolve() fails where links go in a circle
    for path in written:
        if isinstance(path, Path) and os.path.realpath(path) in inputs:
            raise OutputError(f"{path}: is an input, which is never replaced; name another file or folder for the output")


def check_folder(folder: Path, overwrite: bool, ours: Callable[[str], bool]) -> None:
    """Can a folder of this name be made, or replaced because all in it is ours?

    Args:
        ours: name of something in the folder -> whether this program makes such.
    """
    if not folder.absolute().parent.is_dir():
        raise OutputError(f"{folder}: its folder does not exist; make it first")
    if not folder.exists() and not folder.is_symlink():
        return
    if not overwrite:
        raise OutputError(f"{folder}: exists; add --overwrite to replace it")
    if not folder.is_dir() or folder.is_symlink() or not all(ours(path.name) for path in folder.iterdir()):
        raise OutputError(f"{folder}: holds other things, which are never replaced; name another folder")


@contextmanager
def written_whole(path: Path):
    """A name to write to; the file appears under ``path`` when all is written, or not at all.

    Raises:
        OutputError: if it cannot be written.
    """
    with failing_as_output(path):
        partial = path.absolute().parent / f"{partial_prefix(path)}{this_process()}-{secrets.token_hex(4)}{path.suffix}"
        partial.touch(exist_ok=False)
        try:
            yield partial
            finish(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def write_text_whole(path: Path, text: str) -> None:
    """A text file, complete or not at all; raises OutputError if it cannot be written."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def failing_as_output(path: Path):
    """What the system says against writing ``path`` becomes an OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); free space or choose another place") from error


@contextmanager
def folder_written_whole(folder: Path):
    """A new folder to write into; it appears under its name, in place of an old one, when all is written, or not at all.

    Raises:
        OutputError: if it cannot be written.
    """
    partial = folder.absolute().parent / f"{partial_prefix(folder)}{this_process()}-0"
    with failing_as_output(folder):
        partial.mkdir()
        try:
            yield partial
            sync_tree(partial)
            replace_folder(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def replace_folder(partial: Path, folder: Path) -> None:
    """Under the final name; an old folder goes in one step too, so that no moment shows a part of it."""
    old = partial.with_name(f"{partial_prefix(folder)}{this_process()}-old")
    if folder.exists():
        folder.replace(old)
    try:
        partial.replace(folder)
    except OSError:
        if old.exists():
            old.replace(folder)
        raise
    sync_folder(folder.absolute().parent)
    shutil.rmtree(old, ignore_errors=True)


def partial_prefix(path: Path) -> str:
    """How the name of a file begins that is to become ``path``; short enough for any file system."""
    stem = path.stem
    if len(stem) > MOST_STEM:
        stem = f"{stem[:MOST_STEM]}~{zlib.crc32(os.fsencode(stem)):08x}"
    return f".partial-{stem}."


def this_process() -> str:
    return f"{this_host()}-{os.getpid()}"


def this_host() -> str:
    return socket.gethostname()[:MOST_STEM].replace(".", "_")


def is_abandoned(partial: Path) -> bool:
    """Whether no other process writes it: none of its number runs here or, where another machine began it, for a day."""
    match = re.search(r"\.([^.]+)-(\d+)-[^.-]*(\.[^.]*)?$", partial.name)
    if not match or f"{match[1]}-{match[2]}" == this_process():
        return True
    try:
        if match[1] != this_host():
            return now_in(partial.parent) - partial.stat().st_mtime > ABANDONED
        os.kill(int(match[2]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # it runs, as another user; or the folder has no room to know the time by
    return False


def now_in(folder: Path) -> float:
    """The time of a file that is new there, in seconds: by the clock of the disk's own machine, wherever this one's clock has jumped to."""
    with tempfile.TemporaryFile(dir=folder) as new:
        return os.fstat(new.fileno()).st_mtime


def remove_abandoned(folder: Path, prefixes: tuple[str, ...] = ("",)) -> None:
    """What killed runs have left in a folder; what other processes are writing stays.

    Args:
        prefixes: of the names, ``partial_prefix`` of what they were to become.
    """
    for path in folder.glob(".partial-*"):
        if path.name.startswith(prefixes) and is_abandoned(path):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def finish(partial: Path, path: Path) -> None:
    """To disk, then under the final name, which is on disk in its turn."""
    sync_file(partial)
    partial.replace(path)
    sync_folder(path.absolute().parent)


def sync_file(path: Path) -> None:
    """What is in it to disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """The names in it to disk, where the system can."""
    try:
        number = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(number)
    except OSError:
        pass  # some network file systems know no such thing
    finally:
        os.close(number)


def sync_tree(folder: Path) -> None:
    """All files and names below it to disk; several at once, for the disk then takes many in one go."""
    places = [(Path(place), names) for place, _, names in os.walk(folder)]
    with ThreadPoolExecutor(SYNCS) as pool:
        list(pool.map(sync_file, (place / name for place, names in places for name in names)))
    for place, _ in places:
        sync_folder(place)
