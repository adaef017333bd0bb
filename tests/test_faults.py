"""Disks that fill up, writes that fail, processes that are killed: the complete output or none, and the truth about it."""

import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner

from astroyolo_cli.cli import cli
from astroyolo_cli.errors import OutputError
from astroyolo_cli.model.checkpoint import load, read_file
from astroyolo_cli.whole import is_abandoned, partial_prefix, remove_abandoned, this_host
from astroyolo_cli.write import WRITERS, write
from conftest import FakeEngine
from test_batch import write_frame
from test_train import ds, sg  # noqa: F401  (fixtures)

KILLS = int(os.environ.get("ASTROYOLO_KILLS", "2"))  # of each command
CODE = f"""
import sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from conftest import FakeEngine
from astroyolo_cli.model import engine
engine.open_engine = lambda *_: FakeEngine([(20, 30, 36, 46), (5, 5, 20, 19)])
from astroyolo_cli.cli import main
main()
"""  # the program with a network that costs nothing


@pytest.fixture(autouse=True)
def counted(request, record_property):
    """benchmarks/reliability.py adds up the faults; kills say their own number."""
    if "killed" not in request.node.name:
        record_property("faults", 1)


@pytest.fixture
def table():
    return Table({"id": [1, 2], "ra": [1.0, 2.0], "class": ["star", "galaxy"], **{n: [0.0, 1.0] for n in ("xmin", "xmax", "ymin", "ymax")}})


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


# Failing calls of the system


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize("call", ["touch", "fsync", "replace"])
@pytest.mark.parametrize("before", [None, "old"])
def test_a_failing_call_leaves_what_was_there(tmp_path, monkeypatch, table, number, call, before):
    if before:
        (tmp_path / "c.csv").write_text(before)

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr({"touch": "pathlib.Path.touch", "fsync": "os.fsync", "replace": "pathlib.Path.replace"}[call], fail)
    with pytest.raises(OutputError, match="c.csv: cannot be written"):
        write(table, tmp_path / "c.csv", overwrite=True)
    assert names(tmp_path) == ({"c.csv"} if before else set())
    assert not before or (tmp_path / "c.csv").read_text() == before


LIMITED = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from astropy.table import Table
from astroyolo_cli.errors import OutputError
from astroyolo_cli.write import WRITERS, write

table = Table.read(sys.argv[1])[np.zeros(2000, int)]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # what a full disk does to write(), without one
for ending in WRITERS:
    try:
        write(table, Path(sys.argv[2]) / f"c{ending}")
    except OutputError as error:
        print(ending, error)
"""  # a process of its own: the tests' standard output may be a file, which the limit would end too


def test_writes_that_stop_in_the_middle_leave_nothing(tmp_path, table):
    table.write(tmp_path / "t.ecsv")
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", LIMITED, tmp_path / "t.ecsv", tmp_path / "out"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    said = dict(line.split(" ", 1) for line in ended.stdout.splitlines())
    assert ended.returncode == 0 and list(said) == list(WRITERS), ended.stderr
    assert all("cannot be written" in error for error in said.values())
    assert names(tmp_path / "out") == set()


def test_a_batch_whose_disk_fills_up_says_so_and_is_completed_by_resume(tmp_path, monkeypatch):
    """Every second catalog fails to be written; the manifest is true, and --resume makes the rest."""
    from astroyolo_cli import whole as writing
    from astroyolo_cli.model import engine

    monkeypatch.setattr(engine, "open_engine", lambda *_: FakeEngine([(20, 30, 36, 46)]))
    for i in range(4):
        write_frame(tmp_path / "in" / f"f{i}.fits", i)
    arguments = ["detect", str(tmp_path / "in" / "*.fits"), "-o", str(tmp_path / "out"), "--format", "csv"]
    real, count = os.fsync, 0

    def fail_sometimes(number):
        nonlocal count
        count += os.readlink(f"/proc/self/fd/{number}").rpartition("/")[2].startswith(".partial")
        if count % 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(number)

    with monkeypatch.context() as patch:
        patch.setattr(writing.os, "fsync", fail_sometimes)
        ended = CliRunner().invoke(cli, arguments)
    entries = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    done = {entry["output"] for entry in entries if entry["status"] == "done"}
    assert ended.exit_code == 1 and names(tmp_path / "out") == done | {"manifest.jsonl"}
    assert CliRunner().invoke(cli, [*arguments, "--resume"]).exit_code == 0
    assert names(tmp_path / "out") == {*(f"f{i}.csv" for i in range(4)), "manifest.jsonl"}


def batch_of(folder, monkeypatch, number=3) -> list[str]:
    """Arguments that make so many catalogs, by a network that costs nothing."""
    from astroyolo_cli.model import engine

    monkeypatch.setattr(engine, "open_engine", lambda *_: FakeEngine([(20, 30, 36, 46)]))
    for i in range(number):
        write_frame(folder / "in" / f"f{i}.fits", i)
    return ["detect", str(folder / "in" / "*.fits"), "--format", "csv", "-o", str(folder / "out")]


def test_a_manifest_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    arguments, real = batch_of(tmp_path, monkeypatch), os.fsync

    def fail(number):
        if os.readlink(f"/proc/self/fd/{number}").endswith("manifest.jsonl"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(number)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        ended = CliRunner().invoke(cli, arguments)
    assert isinstance(ended.exception, OutputError) and "manifest.jsonl: cannot be written (No space left" in str(ended.exception)
    assert CliRunner().invoke(cli, [*arguments, "--resume"]).exit_code == 0
    assert names(tmp_path / "out") == {*(f"f{i}.csv" for i in range(3)), "manifest.jsonl"}


def test_a_line_of_which_the_disk_takes_a_part_is_written_on():
    class Disk:
        """Takes ten bytes at a time, and has so much room."""

        def __init__(self, room):
            self.room, self.taken, self.fileno = room, b"", lambda: 0

        def write(self, line):
            if len(self.taken) >= self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.taken += line[:10]
            return len(line[:10])

    from astroyolo_cli.batch import append

    entry = {"field": "f" * 50, "status": "done"}
    with pytest.raises(OSError, match="No space left"):
        append(Disk(30), entry)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        append(disk := Disk(1000), entry)
    assert json.loads(disk.taken) == entry and disk.taken.endswith(b"\n")


def test_a_log_that_cannot_be_written_is_a_note(tmp_path, monkeypatch):
    arguments = batch_of(tmp_path, monkeypatch)
    (tmp_path / "out" / "f1.log").mkdir(parents=True)
    ended = CliRunner().invoke(cli, [*arguments, "--log"])
    assert ended.exit_code == 0 and "f1.log: cannot be written (Is a directory)" in ended.stderr and "leave --log out" in ended.stderr
    assert names(tmp_path / "out") == {*(f"f{i}.{kind}" for i in range(3) for kind in ("csv", "log")), "manifest.jsonl"}


def test_folders_and_files_that_vanish_in_the_middle_of_a_batch(tmp_path, monkeypatch):
    """What could not be written or read any more is said field by field, and resume makes it."""
    from astroyolo_cli.model import engine

    class Vanishing(FakeEngine):
        def __call__(self, images):
            if len(self.shapes) == 2:  # in the second field, of two views each
                shutil.rmtree(tmp_path / "out")
                (tmp_path / "in" / "f2.fits").rename(tmp_path / "elsewhere")
            return super().__call__(images)

    arguments = batch_of(tmp_path, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "open_engine", lambda *_: Vanishing([(20, 30, 36, 46)]))
        ended = CliRunner().invoke(cli, arguments)
    failed = [line for line in ended.stderr.splitlines() if line.startswith("astroyolo: f")]
    assert ended.exit_code == 1 and "1 done, 2 failed" in ended.stderr and len(failed) == 2
    assert "f1.csv: its folder does not exist" in failed[0] and "f2.fits" in failed[1]
    (tmp_path / "elsewhere").rename(tmp_path / "in" / "f2.fits")
    assert CliRunner().invoke(cli, [*arguments, "--resume"]).exit_code == 0
    assert names(tmp_path / "out") == {*(f"f{i}.csv" for i in range(3)), "manifest.jsonl"}


# Clocks


class JumpingClock(datetime):
    """Each look at it is an hour before the last one."""

    looks = 0

    @classmethod
    def now(cls, zone=None):
        JumpingClock.looks += 1
        return datetime(2030, 1, 1, tzinfo=zone) - timedelta(hours=JumpingClock.looks)


def test_a_clock_that_jumps_changes_no_catalog_and_no_duration(tmp_path, monkeypatch):
    arguments = batch_of(tmp_path, monkeypatch)
    assert CliRunner().invoke(cli, [*arguments[:-1], str(tmp_path / "steady")]).exit_code == 0
    monkeypatch.setattr("astroyolo_cli.log.datetime", JumpingClock)
    monkeypatch.setattr(time, "time", lambda: 2e9 - 3600 * (JumpingClock.looks + 1))
    assert CliRunner().invoke(cli, [*arguments, "--log"]).exit_code == 0
    assert {n: c for n, c in contents(tmp_path / "out").items() if n.endswith(".csv")} == contents(tmp_path / "steady")
    entries = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert [entry["field"] for entry in entries] == ["f0", "f1", "f2"] and all(0 <= entry["seconds"] < 60 for entry in entries)
    log = (tmp_path / "out" / "f1.log").read_text().splitlines()
    assert log[0].split(" ")[1] == "AstroYOLO" and "done: " in log[-1] and log[0] > log[-1], "in the order in which it happened"


def test_resume_knows_files_again_whatever_the_clock_said(tmp_path, monkeypatch):
    """Catalogs of the past and the future are kept; an input that was written again is not, also if its time is an older one."""
    arguments = batch_of(tmp_path, monkeypatch)
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    for number, moment in ((0, 1), (1, 4e9)):
        os.utime(tmp_path / "out" / f"f{number}.csv", (moment, moment))
    assert "0 done, 3 kept, 0 failed" in CliRunner().invoke(cli, [*arguments, "--resume"]).stderr
    write_frame(tmp_path / "in" / "f2.fits", 7)
    os.utime(tmp_path / "in" / "f2.fits", (1, 1))
    assert "1 done, 2 kept, 0 failed" in CliRunner().invoke(cli, [*arguments, "--resume"]).stderr


def test_a_clock_that_jumps_leaves_what_another_machine_writes(tmp_path, monkeypatch):
    path = tmp_path / f"{partial_prefix(tmp_path / 'c.fits')}other_host-7-ab.fits"
    path.touch()
    monkeypatch.setattr(time, "time", lambda: 4e9)
    remove_abandoned(tmp_path)
    assert names(tmp_path) == {path.name}


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_said_in_one_line(tmp_path, small_disk):
    write_frame(tmp_path / "f.fits")
    (small_disk / "ballast").write_bytes(bytes(2**21))
    for name in ("c.fits", "c.csv", "c.html", "folder"):
        report = ["--report", small_disk / "r.html"] if name == "c.html" else []
        output = tmp_path / "kept.csv" if report else small_disk / name
        ended = quick("detect", tmp_path / "f.fits", "-o", output, *report)
        assert ended.returncode == 1 and "No space left" in ended.stderr.strip().splitlines()[-1] and "Traceback" not in ended.stderr
        assert not (small_disk / name).is_file() and not any(left.startswith(".partial") for left in names(small_disk))


def quick(*arguments, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run([sys.executable, "-c", CODE, *map(str, arguments)], text=True, timeout=600, **options)


# Pipes, keys, memory


def test_a_broken_pipe_ends_quietly(tmp_path):
    write_frame(tmp_path / "f.fits")
    reading, writing = os.pipe()
    os.close(reading)
    ended = quick("detect", tmp_path / "f.fits", "-o", "-", "--quiet", stdout=writing)
    os.close(writing)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr and len(ended.stderr.splitlines()) <= 1


def test_a_full_standard_output_is_said(tmp_path):
    write_frame(tmp_path / "f.fits")
    with open("/dev/full", "w") as full:
        ended = quick("detect", tmp_path / "f.fits", "-o", "-", "--quiet", stdout=full)
    assert ended.returncode == 1 and "No space left" in ended.stderr and len(ended.stderr.splitlines()) == 1


def test_ctrl_c_twice_leaves_nothing_partial(tmp_path):
    for i in range(80):
        write_frame(tmp_path / "in" / f"f{i}.fits", i)
    out = tmp_path / "out"
    with started("detect", tmp_path / "in" / "*.fits", "-o", out, "--format", "csv") as process:
        wait_for(lambda: out.is_dir() and list(out.glob("*.csv")), process)
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode in (1, 130, -signal.SIGINT) and "Traceback" not in said, said
    ended_at_once = process.returncode in (130, -signal.SIGINT)
    assert ended_at_once or not any(name.startswith(".partial") for name in names(out))
    assert quick("detect", tmp_path / "in" / "*.fits", "-o", out, "--format", "csv", "--resume").returncode == 0
    assert len(list(out.glob("*.csv"))) == 80 and not list(out.glob(".partial*"))


def test_too_little_memory_is_one_line(tmp_path):
    """A cube that does not fit under ulimit -v; beside it a frame that does."""
    with (tmp_path / "large.fits").open("wb") as file:
        header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 3, "NAXIS1": 20_000, "NAXIS2": 20_000, "NAXIS3": 3})
        file.write(header.tostring().encode())
        file.truncate(file.tell() + 12 * 20_000**2 + 2880)
    write_frame(tmp_path / "small.fits")

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))

    ended = quick("detect", tmp_path / "large.fits", "-o", tmp_path / "c.csv", preexec_fn=limit)
    assert ended.returncode == 1 and not (tmp_path / "c.csv").exists()
    assert len(ended.stderr.strip().splitlines()) == 1 and "memory" in ended.stderr
    ended = quick("detect", tmp_path / "large.fits", tmp_path / "small.fits", "-o", tmp_path / "out", "--format", "csv", preexec_fn=limit)
    assert ended.returncode == 1 and (tmp_path / "out" / "small.csv").exists()


# Several processes


def started(*arguments):
    return subprocess.Popen([sys.executable, "-c", CODE, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition, process, seconds=60):
    until = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.002)


def test_two_processes_into_one_folder_lose_nothing(tmp_path):
    for i in range(12):
        write_frame(tmp_path / "in" / f"f{i}.fits", i)
    arguments = ("detect", tmp_path / "in" / "*.fits", "-o", tmp_path / "out", "--format", "csv", "--resume")
    both = [started(*arguments) for _ in range(2)]
    ends = [process.communicate(timeout=100) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert names(tmp_path / "out") == {*(f"f{i}.csv" for i in range(12)), "manifest.jsonl"}
    entries = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert {entry["field"] for entry in entries} == {f"f{i}" for i in range(12)} and all(entry["status"] == "done" for entry in entries)
    assert quick("detect", tmp_path / "in" / "*.fits", "-o", tmp_path / "alone", "--format", "csv").returncode == 0
    for i in range(12):
        assert (tmp_path / "out" / f"f{i}.csv").read_bytes() == (tmp_path / "alone" / f"f{i}.csv").read_bytes()


def test_only_what_nobody_writes_any_more_is_removed(tmp_path):
    def partial(host, number):
        path = tmp_path / f"{partial_prefix(tmp_path / 'c.fits')}{host}-{number}-ab_1.fits"
        path.touch()
        return path

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead, alive, elsewhere = partial(this_host(), gone.pid), partial(this_host(), 1), partial("other_host", 1)
    long_ago = partial("other_host", 2)
    os.utime(long_ago, (1, 1))
    assert [is_abandoned(path) for path in (dead, alive, elsewhere, long_ago)] == [True, False, False, True]
    remove_abandoned(tmp_path, (partial_prefix(tmp_path / "d.fits"),))
    assert len(names(tmp_path)) == 4
    remove_abandoned(tmp_path)
    assert names(tmp_path) == {alive.name, elsewhere.name}


# Kills: whatever the moment, the same command afterwards ends as if there had been none


def kill_at_random(arguments, longest, chance, finished) -> int:
    """Start the program and kill it within so many seconds; 1 if that found it at work."""
    with started(*arguments) as process:
        time.sleep(chance.uniform(0, longest))
        killed = process.poll() is None
        process.kill()
    finished()
    return int(killed)


def duration(*arguments) -> float:
    began = time.monotonic()
    ended = quick(*arguments)
    assert ended.returncode == 0, ended.stderr
    return time.monotonic() - began


def contents(folder) -> dict[str, bytes]:
    """Of all files under their final names; only manifests differ, by the seconds they state."""
    whole = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in whole.items() if ".partial-" not in name and "manifest" not in name}


def test_detect_killed_at_random_ends_the_same(tmp_path, record_property):
    for i in range(12):
        write_frame(tmp_path / "in" / f"f{i}.fits", i)
    arguments = ("detect", tmp_path / "in" / "*.fits", "--format", "csv", "-o")
    longest = duration(*arguments, tmp_path / "whole")
    reference, out, chance, kills = contents(tmp_path / "whole"), tmp_path / "out", random.Random(1), 0

    def check():
        found = contents(out) if out.exists() else {}
        assert all(reference[name] == content for name, content in found.items())
        if len(found) == len(reference):  # begin anew
            shutil.rmtree(out)

    for _ in range(KILLS):
        kills += kill_at_random([*arguments, out, "--resume"], longest, chance, check)
    record_property("kills", kills)
    assert quick(*arguments, out, "--resume").returncode == 0
    assert contents(out) == reference and names(out) == {*reference, "manifest.jsonl"}


def test_merge_killed_at_random_writes_all_or_nothing(tmp_path, record_property):
    rng, n = np.random.default_rng(0), 3000
    for folder in ("in", "out"):
        (tmp_path / folder).mkdir()
    for name in "abc":
        columns = {"ra": rng.uniform(10, 11, n), "dec": rng.uniform(0, 1, n), "score": rng.random(n), "flags": np.zeros(n, int)}
        write(Table(columns), tmp_path / "in" / f"{name}.fits")
    arguments = ("merge", tmp_path / "in" / "*.fits", "--overwrite", "-o")
    longest = duration(*arguments, tmp_path / "whole.fits")
    whole, kills = (tmp_path / "whole.fits").read_bytes(), 0

    def check():
        assert all(content == whole for content in contents(tmp_path / "out").values())

    chance = random.Random(2)
    for _ in range(KILLS):
        kills += kill_at_random([*arguments, tmp_path / "out" / "all.fits"], longest, chance, check)
    record_property("kills", kills)
    assert quick(*arguments, tmp_path / "out" / "all.fits").returncode == 0
    assert contents(tmp_path / "out") == {"all.fits": whole}


def test_simulate_killed_at_random_leaves_whole_sets(tmp_path, record_property):
    pytest.importorskip("galsim")
    arguments = ("simulate", "--kind", "sg", "-n", 3, "--seed", 1, "--size", 64, "--overwrite")
    longest = duration(*arguments, tmp_path / "whole")
    reference, out, chance, kills = contents(tmp_path / "whole"), tmp_path / "out", random.Random(3), 0
    files_a_set = len([name for name in reference if name.startswith("set_0/")])

    def check():
        for folder in out.glob("set_*"):
            assert len(list(folder.iterdir())) == files_a_set
        assert all(reference[name] == content for name, content in (contents(out) if out.exists() else {}).items())

    for _ in range(KILLS):
        kills += kill_at_random([*arguments, out], longest, chance, check)
    record_property("kills", kills)
    assert quick(*arguments, out).returncode == 0
    assert contents(out) == reference and names(out) == names(tmp_path / "whole")


def weights_of(run) -> tuple[dict, dict]:
    """The card and the tensors; the order in which a file names them is any."""
    metadata, tensors = read_file(run / "last.safetensors", "numpy")
    return metadata, {name: values.tobytes() for name, values in tensors.items()}


@pytest.mark.slow
def test_train_killed_at_random_ends_the_same(tmp_path, sg, ds, record_property):  # noqa: F811
    arguments = ["train", "--sg", sg, "--ds", ds, "--scheme", "joint", "--epochs", 3, "--samples", 4, "--batch-size", 2, "--device", "cpu"]
    longest = duration(*arguments, "-o", tmp_path / "whole")
    reference, run, chance, kills = weights_of(tmp_path / "whole"), tmp_path / "run", random.Random(4), 0

    def go_on():
        return [*arguments, "-o", run, *(["--resume"] if (run / "checkpoint.pt").exists() else [])]

    def check():  # it is there after every epoch, whole, and the last one is the run's result
        if (run / "last.safetensors").exists():
            load(run / "last.safetensors")
            if (run / "held_out").exists():
                assert weights_of(run) == reference
                shutil.rmtree(run)

    for _ in range(KILLS // 4 or 1):  # which take longer
        kills += kill_at_random(go_on(), longest, chance, check)
    record_property("kills", kills)
    duration(*go_on())
    assert weights_of(run) == reference
