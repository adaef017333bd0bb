"""What is told of a run while it goes on: nothing, lines, a progress bar, TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ..errors import AstroYOLOError

LINE_SECONDS = 60.0
SHOWN = {"box": "box", "objectness": "obj", "star_galaxy": "s/g", "smooth_disk": "s/d"}


class Watch:
    """Tells nothing; the others override what they tell."""

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        pass

    def line(self, text: str) -> None:
        pass

    def step(self, epoch: int, step: int, total: int, losses: dict[str, float], rate: float) -> None:
        """After a gradient step; ``rate`` in images a second."""

    def epoch(self, row: dict[str, float]) -> None:
        """After an epoch; ``row`` as in results.csv."""


class Lines(Watch):
    """A line an epoch, and now and then one in between: for files and pipes."""

    def __init__(self, tell: Callable[[str], None]):
        self.line, self._said = tell, time.monotonic()

    def step(self, epoch, step, total, losses, rate):
        if time.monotonic() - self._said > LINE_SECONDS:
            self._said = time.monotonic()
            self.line(f"epoch {epoch} step {step} of {total}, {rate:.1f} images/s, {said(losses)}")

    def epoch(self, row):
        self._said = time.monotonic()
        self.line(" ".join(f"{name} {value:.4g}" for name, value in row.items() if value is not None))


class Bar(Watch):
    """A progress bar with the losses of the heads, images a second and the time left; epochs as lines above it."""

    def __init__(self, console):
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("epoch {task.fields[epoch]}"), BarColumn(), TextColumn("{task.fields[losses]}"), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, transient=True)
        self._task = self._bar.add_task("", total=None, epoch=0, losses="")
        self._lines = Lines(lambda text: console.print(text, highlight=False, markup=False))

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *error):
        self._bar.stop()

    def line(self, text):
        self._lines.line(text)

    def step(self, epoch, step, total, losses, rate):
        self._bar.update(self._task, total=total, completed=step, epoch=epoch, losses=f"{said(losses)}, {rate:.1f} images/s")

    def epoch(self, row):
        self._lines.epoch(row)


class Board(Watch):
    """TensorBoard's files beside what another watch tells."""

    def __init__(self, folder: Path, other: Watch):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise AstroYOLOError("--tensorboard needs TensorBoard: pip install tensorboard") from error
        self._writer, self._other = SummaryWriter(str(folder)), other

    def __enter__(self):
        self._other.__enter__()
        return self

    def __exit__(self, *error):
        self._writer.close()
        self._other.__exit__(*error)

    def line(self, text):
        self._other.line(text)

    def step(self, epoch, step, total, losses, rate):
        for name, value in losses.items():
            self._writer.add_scalar(f"loss/{name}", value, step)
        self._other.step(epoch, step, total, losses, rate)

    def epoch(self, row):
        for name, value in row.items():
            if value is not None:
                self._writer.add_scalar(f"epoch/{name}", value, int(row["epoch"]))
        self._other.epoch(row)


def said(losses: dict[str, float]) -> str:
    return " ".join(f"{short} {losses[name]:.3f}" for name, short in SHOWN.items() if name in losses)
