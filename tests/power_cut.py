"""What a power cut at any moment could leave of a folder, by the rules of POSIX alone.

Of a file: what its last fsync found, or what was written since, or a part of that, or zeros in its place. Of a folder: the names that its
last fsync found, and of the changes since the first few, in their order. Nothing else is promised, and nothing that one file system adds.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import islice, product
from pathlib import Path
from threading import RLock

import pytest

CALLS = ("mkdir", "rmdir", "unlink", "remove", "rename", "replace", "link", "symlink", "fsync")
OURS = ".partial"  # in names of what is not finished, of which anything may be left
MOST = 10_000  # outcomes of one folder that are looked at


class Disk:
    """A folder whose changes are watched: what is in it is looked at before and after each call that names or syncs something.

    Attributes:
        left: name below the folder -> all that a power cut could have left under it: None, bytes, or of a folder a frozenset of
            (name, what is left of it).
    """

    def __init__(self, root: Path, names: tuple[str, ...]):
        self.root, self.left = root, {name: set() for name in names}
        self.versions: dict[int, list] = {}  # of each inode, from what is on disk for certain to what it is now
        self.held: dict[int, int] = {}  # open, so that no other file gets the number of one that is gone
        self.look()
        for states in self.versions.values():
            del states[:-1]

    def look(self) -> None:
        """Note what has changed."""
        for place, _, files in os.walk(self.root):
            for name in (".", *files):
                self.note(Path(place) / name)

    def note(self, path: Path) -> None:
        inode = os.stat(path).st_ino
        if inode not in self.held:
            self.held[inode] = os.open(path, os.O_RDONLY)
            self.versions[inode] = [{} if path.is_dir() else b""]
        now = names_in(path) if path.is_dir() else path.read_bytes()
        if now != self.versions[inode][-1]:
            self.versions[inode].append(now)

    def sync(self, number: int) -> None:
        del self.versions.get(os.fstat(number).st_ino, [])[:-1]

    def cut(self) -> None:
        """The power goes now."""
        for name, left in self.left.items():
            left |= set(self.under(self.root.stat().st_ino, Path(name).parts))

    def under(self, inode: int, parts: tuple[str, ...]) -> Iterator:
        if not parts:
            yield from self.outcomes(inode)
            return
        for names in self.versions[inode]:
            yield from self.under(names[parts[0]], parts[1:]) if parts[0] in names else (None,)

    def outcomes(self, inode: int) -> Iterator:
        for state in self.versions[inode]:
            if isinstance(state, dict):
                names = sorted(name for name in state if OURS not in name)
                for contents in islice(product(*(set(self.outcomes(state[name])) for name in names)), MOST):
                    yield frozenset(zip(names, contents))
            else:
                yield state
        first, last = self.versions[inode][0], self.versions[inode][-1]
        if len(self.versions[inode]) > 1 and isinstance(last, bytes):
            kept = first if last.startswith(first) else b""
            rest = last[len(kept) :]
            yield from (kept, kept + rest[: len(rest) // 2], kept + bytes(len(rest)))

    def close(self) -> None:
        for number in self.held.values():
            os.close(number)

    def now(self, name: str):
        """What is left after everything; None, if a power cut could still take it back."""
        (outcome, *others) = set(self.under(self.root.stat().st_ino, Path(name).parts))
        return None if others else outcome


def names_in(folder: Path) -> dict[str, int]:
    """The inode of each."""
    with os.scandir(folder) as entries:
        return {entry.name: entry.inode() for entry in entries}


def whole(path: Path):
    """What is there, in the words of ``Disk.left``."""
    if not path.exists():
        return None
    if path.is_dir():
        return frozenset((one.name, whole(one)) for one in path.iterdir() if OURS not in one.name)
    return path.read_bytes()


@contextmanager
def watched(root: Path, *names: str):
    """The power goes before and after each call below ``root``; the Disk that is given knows afterwards what that could have left."""
    disk, one_at_a_time = Disk(root, names), RLock()

    def around(call: str):
        real = getattr(os, call)

        @wraps(real)
        def watching(*arguments, **options):
            with one_at_a_time:
                disk.look()
                disk.cut()
                result = real(*arguments, **options)
                disk.look()
                if call == "fsync":
                    disk.sync(*arguments)
                disk.cut()
                return result

        return watching

    try:
        with pytest.MonkeyPatch.context() as patch:
            for call in CALLS:
                patch.setattr(os, call, around(call))
            yield disk
        disk.look()
        disk.cut()
    finally:
        disk.close()
