"""Progress bars of the commands that work through many things."""


def progress_bars(quiet: bool):
    """A context that gives a function (what, total) -> advance, which moves its bar on by one or by n.

    The bars are on standard error, if that is a terminal.
    rich is imported when this is called, so that help is instant.
    """
    from contextlib import contextmanager

    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    @contextmanager
    def bars():
        console = Console(stderr=True)
        if quiet or not console.is_terminal:
            yield lambda what, total: lambda n=1: None
            return
        columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as shown:

            def track(what: str, total: int):
                task = shown.add_task(what, total=total)
                return lambda n=1: shown.advance(task, n)

            yield track

    return bars()
