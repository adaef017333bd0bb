"""Coverage-guided fuzz of all that reads strangers' files: python benchmarks/fuzz.py [--minutes 2 | --hours 1] (needs astroyolo[fuzz]).

--seed tries the same inputs again, as far as the time goes.

Each reader gets an equal part of the time in processes of their own. An input must be read or refused by an AstroYOLOError, within 20
seconds and 3 GB; what is not is left in runs/fuzz and becomes a file of tests/hostile_files.py. A process that hangs, or does not end with
its share, is killed with all that it began, and an input that it hung at is kept.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
MOST = 40_000  # bytes of an input
BEGIN, GRACE = 600, 30  # seconds that a process may take to its first input, and to end after its share; a busy machine imports slowly
STUCK = 25  # seconds at one input, after which its process has not even ended by itself
LOOK = 0.5  # seconds between two looks at it
MOST_FOUND = 5  # failures of a reader, after which the rest of its share is let go
LIMITS = ("-rss_limit_mb=3000", "-timeout=20", "-report_slow_units=20", f"-max_len={MOST}", "-print_final_stats=1")
TARGETS = {"fits": ".fits", "gzip": ".fits.gz", "tiles": ".fits.fz", "png": ".png", "tiff": ".tif", "votable": ".vot", "csv": ".csv"}
TARGETS |= {"table": "-table.fits", "weights": ".safetensors", "checkpoint": ".pt"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--hours", type=float)
    parser.add_argument("--target", choices=TARGETS, action="append", help="default: all")
    parser.add_argument("--processes", type=int, default=1, help="readers that are fuzzed at once")
    parser.add_argument("--seed", type=int, default=0, help="of what is tried; 0 for another one each time")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "runs/fuzz")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given, rest = parser.parse_known_args()
    if given.one:
        fuzz(given.one, Path(rest[0]), rest[1:])
        return
    names = given.target or list(TARGETS)
    seconds = 3600 * given.hours if given.hours else 60 * given.minutes
    for name in names:
        plant(name, given.output)
    with ThreadPoolExecutor(given.processes) as pool:
        results = dict(zip(names, pool.map(lambda name: run(name, seconds / len(names), given.output, given.seed), names)))
    (given.output / "fuzz.json").write_text(json.dumps(results, indent=1) + "\n")
    sys.exit(any(result["found"] for result in results.values()))


def plant(name: str, output: Path) -> None:
    """The inputs that a reader's fuzz begins with."""
    corpus = output / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(seeds(name)):
        (corpus / f"seed{number}").write_bytes(content)


def run(name: str, seconds: float, output: Path, seed: int = 0) -> dict:
    """One reader's share: seconds, inputs tried, and the files of what it failed at."""
    found = output / name / "found"
    found.mkdir(parents=True, exist_ok=True)
    spent, tried, wrong, old = 0.0, 0, [], set(found.iterdir())
    with (output / name / "log.txt").open("w") as log:
        while spent < seconds - 1 and len(wrong) < MOST_FOUND:
            one = go_on(name, seconds - spent, output / name, log, seed)
            spent, tried = spent + max(one.seconds, 1), tried + one.inputs
            wrong += [f"{one.wrong}: {log.name}"] if one.wrong else []
    files = sorted(path.name for path in set(found.iterdir()) - old)
    result = {"seconds": round(spent), "inputs": tried, "found": files or wrong}
    print(f"{name}: {tried} inputs in {result['seconds']} s, {len(result['found'])} failures", flush=True)
    return result


@dataclass(frozen=True)
class Ended:
    """A fuzzing process that is no more: seconds from its first input on, inputs, and what was wrong, if anything was."""

    seconds: float
    inputs: int
    wrong: str


def go_on(name: str, seconds: float, folder: Path, log, seed: int) -> Ended:
    """A process that fuzzes until its time is over or something is found."""
    options = [f"-max_total_time={max(round(seconds), 1)}", f"-artifact_prefix={folder / 'found'}/", f"-seed={seed}", *LIMITS]
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as place:
        current = Path(place) / f"input{TARGETS[name]}"
        command = [sys.executable, __file__, "--one", name, str(current), str(folder / "corpus"), *options]
        start = Path(log.name).stat().st_size
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment(), start_new_session=True)
        took, wrong = watched(process, seconds, current)
        if wrong.startswith("hung"):
            shutil.copy(current, folder / "found" / f"hang-{hashlib.sha1(current.read_bytes()).hexdigest()}")
    said = Path(log.name).read_bytes()[start:].decode(errors="replace")
    tried = re.findall(r"number_of_executed_units: (\d+)", said) or re.findall(r"^#(\d+)", said, re.M) or [0]
    return Ended(took, int(tried[-1]), wrong)


def watched(process: subprocess.Popen, seconds: float, current: Path) -> tuple[float, str]:
    """Seconds since its first input, and what was wrong; it is killed with all that it began, where it does not end by itself.

    Who is late, but at another input all the time, has only more seeds than time.
    """
    since, most, wrong = time.monotonic(), BEGIN, ""
    while process.poll() is None:
        if most == BEGIN and current.exists():
            since, most = time.monotonic(), seconds + GRACE
        if age(current) > STUCK:
            wrong = f"hung, {age(current):.0f} s at one input"
        if wrong or time.monotonic() - since > most:
            break
        time.sleep(LOOK)
    killed = process.poll() is None
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    status = process.wait()
    if most == BEGIN and killed:
        wrong = "did not begin"
    return time.monotonic() - since, wrong or (f"exit status {status}" if status and not killed else "")


def age(path: Path) -> float:
    """Seconds since a file was written; 0 before that."""
    with suppress(FileNotFoundError):
        return max(time.time() - path.stat().st_mtime, 0)
    return 0


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": path_of_tests()}


def path_of_tests() -> str:
    return os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])


def seeds(name: str) -> list[bytes]:
    """Sound files to begin with, of the target's kind, and damaged ones of the same."""
    made = files() | written(name)
    return [content for key, content in made.items() if key.endswith(TARGETS[name])]


@cache
def files() -> dict[str, bytes]:
    """The small ones of the tests' hostile files."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from hostile_files import hostile, sound
    from test_hostile import CATALOGS

    made = {f"sound{ending}": content for ending, content in sound().items()} | dict(hostile())
    made |= {key: text.encode() for key, text in CATALOGS.items()}
    return {key: content for key, content in made.items() if len(content) < MOST}


def written(name: str) -> dict[str, bytes]:
    """What the program's own writers make for a target."""
    from astropy.table import Table

    from astroyolo_cli.write import write

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{TARGETS[name]}"
        if name in ("votable", "csv", "table"):
            write(Table({"ra": [1.0, 2.0], "dec": [0.0, 1.0], "score": [0.5, 0.9], "flags": [0, 1], "class": ["star", "galaxy"]}), path)
        elif name == "weights":
            path.write_bytes(small_weights())
        elif name == "checkpoint":
            import torch

            torch.save({"model": {"a": torch.zeros(2)}, "progress": {"epoch": 1}}, path)
        return {path.name: path.read_bytes()} if path.exists() else {}


def small_weights() -> bytes:
    """A weight file whose metadata is sound and whose tensors are few."""
    import torch
    from safetensors.torch import save

    from astroyolo_cli.model.checkpoint import Card

    return save({"a": torch.zeros(2)}, metadata=Card(size="nano").to_metadata())


def fuzz(name: str, path: Path, arguments: list[str]) -> None:
    """Try inputs, each written to ``path``, for ever; libFuzzer's options say how long."""
    import atheris

    with atheris.instrument_imports(include=["astroyolo_cli", "astropy.io.fits", "astropy.io.votable", "PIL", "safetensors"]):
        read = reader(name)
    from astroyolo_cli.errors import AstroYOLOError

    def try_one(content: bytes) -> None:
        path.write_bytes(content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(path)
        except AstroYOLOError as error:
            assert str(error).isprintable() and len(str(error)) < 1000, str(error)

    atheris.Setup([sys.argv[0], *arguments], try_one)
    atheris.Fuzz()


def reader(name: str):
    """What reads the target's files."""
    if name == "weights":
        from astroyolo_cli.model.checkpoint import load

        return load
    if name == "checkpoint":
        from astroyolo_cli.model.convert import read_official

        return read_official
    if name in ("votable", "csv", "table"):
        from astroyolo_cli.merge import merge

        return lambda path: merge([path], 1.0)
    from astroyolo_cli.inputs import resolve
    from astroyolo_cli.read import read_field

    return lambda path: read_field(resolve([str(path)])[0])


if __name__ == "__main__":
    main()
