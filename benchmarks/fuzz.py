"""Coverage-guided fuzz of all that reads strangers' files: python benchmarks/fuzz.py [--minutes 2 | --hours 1] (needs astroyolo[fuzz]).

Each reader gets an equal part of the time in a process of its own. An input must be read or refused by an AstroYOLOError, within 20
seconds and 3 GB; what is not is left in runs/fuzz and becomes a file of tests/hostile_files.py.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
MOST = 40_000  # bytes of an input
BEGIN_AND_END = 300  # seconds that a process may take beside its share
LIMITS = ("-rss_limit_mb=3000", "-timeout=20", f"-max_len={MOST}", "-print_final_stats=1")
TARGETS = {"fits": ".fits", "gzip": ".fits.gz", "tiles": ".fits.fz", "png": ".png", "tiff": ".tif", "votable": ".vot", "csv": ".csv"}
TARGETS |= {"table": "-table.fits", "weights": ".safetensors", "checkpoint": ".pt"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--hours", type=float)
    parser.add_argument("--target", choices=TARGETS, action="append", help="default: all")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "runs/fuzz")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given, rest = parser.parse_known_args()
    if given.one:
        fuzz(given.one, rest)
        return
    names = given.target or list(TARGETS)
    seconds = 3600 * given.hours if given.hours else 60 * given.minutes
    results = {name: run(name, seconds / len(names), given.output) for name in names}
    (given.output / "fuzz.json").write_text(json.dumps(results, indent=1) + "\n")
    sys.exit(any(result["found"] for result in results.values()))


def run(name: str, seconds: float, output: Path) -> dict:
    """One reader's share: seconds, inputs tried, and the files of what it failed at."""
    corpus, found = output / name / "corpus", output / name / "found"
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(seeds(name)):
        (corpus / f"seed{number}").write_bytes(content)
    options = [f"-max_total_time={max(round(seconds), 1)}", f"-artifact_prefix={found}/", *LIMITS]
    command = [sys.executable, __file__, "--one", name, str(corpus), *options]
    log = output / name / "log.txt"
    with log.open("w") as file:
        status = ended(subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | {"PYTHONPATH": path_of_tests()}), seconds)
    said = log.read_text(errors="replace")
    tried = re.findall(r"number_of_executed_units: (\d+)", said) or re.findall(r"^#(\d+)", said, re.M) or [0]
    result = {"seconds": round(seconds), "inputs": int(tried[-1]), "found": sorted(path.name for path in found.iterdir())}
    if status and not result["found"]:
        result["found"] = [f"{status}: {log}"]
    print(f"{name}: {result['inputs']} inputs in {result['seconds']} s, {len(result['found'])} failures", flush=True)
    return result


def ended(process: subprocess.Popen, seconds: float) -> str:
    """What was wrong with the end of a run; nothing if all was well."""
    try:
        status = process.wait(seconds + BEGIN_AND_END)
        return f"exit status {status}" if status else ""
    except subprocess.TimeoutExpired:
        process.kill()
        return "did not end"


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


def fuzz(name: str, arguments: list[str]) -> None:
    """Try inputs for ever; libFuzzer's options say how long."""
    import atheris

    with atheris.instrument_imports(include=["astroyolo_cli", "astropy.io.fits", "astropy.io.votable", "PIL", "safetensors"]):
        read = reader(name)
    from astroyolo_cli.errors import AstroYOLOError

    folder = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    path = Path(folder) / f"input{TARGETS[name]}"

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
