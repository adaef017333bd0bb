"""Runs in processes of their own: killed at any step and resumed, and two processes that learn together."""

import subprocess
import sys
from pathlib import Path

import torch

from astroyolo_cli.model.checkpoint import load
from astroyolo_cli.train.loop import train
from astroyolo_cli.train.state import Settings
from test_train import ds, sg  # noqa: F401  (fixtures)

KILLED = """
import os, signal, sys
from pathlib import Path
from astroyolo_cli.train import loop, state, watch

loop.CHECKPOINT_SECONDS = 0  # after every step

class Kill(watch.Watch):
    def step(self, epoch, step, total, losses, rate):
        if step == int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGKILL)

def killed_while_writing(*args, save=loop.save_checkpoint):
    if args[-1].step == int(sys.argv[5]):
        path = args[0].with_name(args[0].name + ".partial")
        path.write_bytes(b"half a checkpoint")
        os.kill(os.getpid(), signal.SIGKILL)
    save(*args)

loop.save_checkpoint = killed_while_writing
settings = state.Settings((sys.argv[1],), sys.argv[2], scheme="iterative", epochs=2, samples=4, batch_size=2)
run = Path(sys.argv[3])
loop.train(settings, run, resume=(run / "checkpoint.pt").exists(), watch=Kill())
"""

TOGETHER = """
import sys
from pathlib import Path
from astroyolo_cli.train import loop, optimise, state

def frozen_statistics(model, frozen):  # of a batch in two processes they differ, on CPUs
    model.eval()

loop.set_frozen = frozen_statistics
settings = state.Settings((sys.argv[1],), sys.argv[2], scheme="joint", epochs=2, samples=4, batch_size=3, optimizer="sgd",
                          lr=1e-3, precision="fp32", device="cpu")
loop.train(settings, Path(sys.argv[3]))
"""


def python(code, *args, launcher=(sys.executable,)):
    file = Path(args[2]).parent / "script.py"
    file.write_text(code)
    return subprocess.run([*launcher, str(file), *map(str, args)], capture_output=True, text=True, timeout=300)


def test_a_run_killed_at_any_moment_ends_as_one_that_was_not(tmp_path, sg, ds):  # noqa: F811
    settings = Settings((str(sg),), str(ds), scheme="iterative", epochs=2, samples=4, batch_size=2)
    train(settings, tmp_path / "whole")
    for step, writing in ((1, -1), (-1, 4), (7, -1)):  # in an epoch, while a checkpoint is written, in the second epoch
        assert python(KILLED, sg, ds, tmp_path / "killed", step, writing).returncode == -9
    ended = python(KILLED, sg, ds, tmp_path / "killed", -1, -1)
    assert ended.returncode == 0, ended.stderr
    first, second = (load(tmp_path / run / "last.safetensors")[0].state_dict() for run in ("whole", "killed"))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-5, rtol=1e-4)
    assert len((tmp_path / "killed" / "results.csv").read_text().splitlines()) == 3


def test_two_processes_learn_what_one_learns(tmp_path, sg, ds):  # noqa: F811
    """Batches of three images: the processes' parts differ in size, and one of them often has images of one set only."""
    alone = python(TOGETHER, sg, ds, tmp_path / "one")
    assert alone.returncode == 0, alone.stderr
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    both = python(TOGETHER, sg, ds, tmp_path / "two", launcher=torchrun)
    assert both.returncode == 0, both.stderr
    one, two = (torch.load(tmp_path / run / "checkpoint.pt", weights_only=True) for run in ("one", "two"))
    assert one["progress"]["step"] == two["progress"]["step"] == 6
    for name, value in one["model"].items():
        torch.testing.assert_close(two["model"][name], value, atol=1e-5, rtol=1e-3)


FULL = """
import resource, sys
from pathlib import Path
from astroyolo_cli.cli import main
from astroyolo_cli.train import loop

saved = []

def on_a_full_disk(*args, save=loop.save_checkpoint):
    if saved:  # the second checkpoint finds no room
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    saved.append(args)
    save(*args)

loop.save_checkpoint = on_a_full_disk
settings = "--epochs 3 --samples 2 --batch-size 2".split()
sys.argv = ["astroyolo", "train", "--sg", sys.argv[1], "--ds", sys.argv[2], "-o", sys.argv[3], *settings]
loop.CHECKPOINT_SECONDS = 0
main()
"""


def test_a_full_disk_is_one_line_and_the_last_good_checkpoint_stays(tmp_path, sg, ds):  # noqa: F811
    ended = python(FULL, sg, ds, tmp_path / "run")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr and "checkpoint.pt: cannot be written" in ended.stderr.splitlines()[-1]
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["progress"]["step"] == 1
    assert not list((tmp_path / "run").glob("*.partial"))
