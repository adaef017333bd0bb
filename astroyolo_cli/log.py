"""A field's own log: what was read, what was noted on the way, how long each step took, and how it ended."""

from __future__ import annotations

import traceback
import warnings
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from .errors import AstroYOLOWarning, OutputError, printable


class Log:
    """Lines that are written together when the field is done; every one begins with its time."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, text: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.lines += [f"{now} {printable(line)}" for line in text.splitlines() or [""]]

    def add_traceback(self) -> None:
        """Of the exception at hand."""
        self.add(traceback.format_exc().rstrip())


@contextmanager
def field_log(path: Path | None):
    """A log that is written to ``path`` at the end, whatever happens; nowhere for None. Notes of ours go into it and on."""
    log = Log()
    if path is None:
        yield log
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", AstroYOLOWarning)
            shown = warnings.showwarning

            def noted(message, category, *where, **more) -> None:
                if issubclass(category, AstroYOLOWarning):
                    log.add(f"note: {message}")
                shown(message, category, *where, **more)

            warnings.showwarning = noted
            yield log
    finally:
        save(path, log)


def save(path: Path, log: Log) -> None:
    """A log that cannot be written is a warning: it is not what the field was done for."""
    from .whole import write_text_whole

    try:
        write_text_whole(path, "\n".join(log.lines) + "\n")
    except OutputError as error:
        warnings.warn(f"{error}, or leave --log out", AstroYOLOWarning, stacklevel=2)
