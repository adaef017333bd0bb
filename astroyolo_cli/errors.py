"""Errors that a user can act on; the command line prints them in one line."""


class AstroYOLOError(Exception):
    """Something the user can fix: says what, the value, the rule and the remedy in one line."""


class InputError(AstroYOLOError):
    """An input file or folder that cannot be used."""


class OutputError(AstroYOLOError):
    """An output that cannot or must not be written."""


class WeightsError(AstroYOLOError):
    """A weight file or checkpoint that does not hold what it should."""


class AstroYOLOWarning(UserWarning):
    """The result stands, but the user should know something about the input."""


def reason_of(error: BaseException) -> str:
    """What another library says, in one short line."""
    return printable(" ".join(str(error).split())[:160]) or type(error).__name__


def printable(text: str) -> str:
    """Names of files and texts of headers as a terminal, and a line of its own, may show them."""
    return "".join(c if c.isprintable() else "?" for c in text)
