"""What users see of a run."""

import io
import sys

import pytest
from rich.console import Console

from astroyolo_cli.errors import AstroYOLOError
from astroyolo_cli.train.watch import Bar, Board, Lines, Watch, said

LOSSES = {"box": 1.0, "objectness": 2.5, "star_galaxy": 0.25, "l1": 2.0, "smooth_disk": 0.5}


def test_lines_tell_epochs_and_leave_out_what_is_unknown():
    lines = []
    Lines(lines.append).epoch({"epoch": 3, "box": 1.23456, "val_AP50": None})
    assert lines == ["epoch 3 box 1.235"]


def test_losses_are_told_head_by_head():
    assert said({"box": 1.0, "l1": 2.0, "smooth_disk": 0.5}) == "box 1.000 s/d 0.500"


def test_the_bar_shows_losses_rate_and_epochs():
    out = io.StringIO()
    with Bar(Console(file=out, force_terminal=True, width=140)) as bar:
        bar.line("reading [bold]as it is[/bold]")
        bar.step(2, 30, 100, LOSSES, 12.34)
        bar.epoch({"epoch": 2, "box": 1.5, "validation": 3.25})
    text = out.getvalue()
    assert "s/g 0.250" in text and "12.3 images/s" in text and "validation 3.25" in text and "[bold]" in text


def test_lines_between_epochs_come_now_and_then(monkeypatch):
    lines, clock = [], iter([0.0, 10.0, 70.0, 70.0, 75.0])
    monkeypatch.setattr("astroyolo_cli.train.watch.time.monotonic", lambda: next(clock))
    watch = Lines(lines.append)
    for step in range(3):
        watch.step(0, step, 9, LOSSES, 5.0)
    assert len(lines) == 1 and lines[0].startswith("epoch 0 step 1 of 9, 5.0 images/s")


def test_without_tensorboard_the_remedy_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(AstroYOLOError, match="pip install tensorboard"):
        Board(tmp_path, Watch())


def test_tensorboard_gets_what_the_other_watch_is_told(tmp_path, monkeypatch):
    written, lines = [], []

    class Writer:
        def __init__(self, folder):
            written.append(folder)

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def close(self):
            written.append("closed")

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", type("fake", (), {"SummaryWriter": Writer}))
    with Board(tmp_path, Lines(lines.append)) as board:
        board.step(0, 7, 9, {"box": 1.5}, 5.0)
        board.epoch({"epoch": 0, "box": 1.25, "val_AP50": None})
    assert written == [str(tmp_path), ("loss/box", 1.5, 7), ("epoch/epoch", 0, 0), ("epoch/box", 1.25, 0), "closed"]
    assert lines == ["epoch 0 box 1.25"]
