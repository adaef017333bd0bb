"""Everything that the program is meant to survive, in one run: python benchmarks/reliability.py [--kills 36] [--minutes 2 | --hours 1].

Runs the tests of hostile files, faults, kills and properties, the fuzz, and the soak; leaves the figures in docs/reliability.json, from
which docs/make_readme.py makes docs/reliability.md. Needs astroyolo[test,fuzz]. --only runs a part and keeps the figures of the others.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).parent.parent
FIGURES = ROOT / "docs/reliability.json"
TESTS = {
    "hostile": ("test_hostile.py", "test_compressed.py", "test_no_network.py"),
    "faults": ("test_faults.py", "test_cluster.py"),
    "power": ("test_power_cut.py",),
    "properties": ("test_properties.py", "test_coordinates.py", "test_same_catalog.py"),
    "weights": ("test_checkpoint.py",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=36, help="of each of detect, merge and simulate, a quarter of train")
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--hours", type=float, default=0.0)
    parser.add_argument("--processes", type=int, default=1, help="readers that are fuzzed at once")
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--only", choices=[*TESTS, "fuzz", "soak"], action="append")
    given = parser.parse_args()
    part = {"fuzz": lambda: fuzzed(given.hours * 60 or given.minutes, given.processes), "soak": lambda: soaked(given.frames)}
    for name in given.only or [*TESTS, "fuzz", "soak"]:
        figures = part[name]() if name in part else tested(name, given.kills)
        keep(name, figures)
        print(name, json.dumps(figures), flush=True)
    sys.exit(bool(lost(json.loads(FIGURES.read_text()))))


def keep(name: str, figures: dict) -> None:
    """Beside those of the other parts."""
    others = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    FIGURES.write_text(json.dumps(others | {name: figures}, indent=1, sort_keys=True) + "\n")


def tested(name: str, kills: int) -> dict:
    """Tests of a part: how many passed and failed, and what they counted themselves."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        files = [str(path) for file in TESTS[name] if (path := ROOT / "tests" / file).exists()]
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            "slow or not slow",
            f"--junitxml={report}",
            "-o",
            "junit_family=legacy",
            *files,
        ]
        subprocess.run(command, cwd=ROOT, env=os.environ | {"ASTROYOLO_KILLS": str(kills)}, check=False)
        cases = list(ElementTree.parse(report).iter("testcase"))
    ended = {kind: sum(case.find(kind) is not None for case in cases) for kind in ("failure", "error", "skipped")}
    counted: dict[str, int] = {}
    for entry in (entry for case in cases for entry in case.iter("property")):
        counted[entry.get("name")] = counted.get(entry.get("name"), 0) + int(entry.get("value"))
    failed = ended["failure"] + ended["error"]
    return {"tests": len(cases), "passed": len(cases) - failed - ended["skipped"], "failed": failed} | counted


def fuzzed(minutes: float, processes: int) -> dict:
    """The fuzz of all readers."""
    folder = ROOT / "runs/fuzz"
    (folder / "fuzz.json").unlink(missing_ok=True)  # so that no old figures stand for a run that failed
    options = ["--minutes", str(minutes), "--processes", str(processes), "-o", str(folder)]
    subprocess.run([sys.executable, str(ROOT / "benchmarks/fuzz.py"), *options], check=False)
    targets = json.loads((folder / "fuzz.json").read_text())
    return {
        "hours": round(sum(one["seconds"] for one in targets.values()) / 3600, 2),
        "inputs": sum(one["inputs"] for one in targets.values()),
        "readers": len(targets),
        "found": sum(len(one["found"]) for one in targets.values()),
    }


def soaked(frames: int) -> dict:
    command = [sys.executable, str(ROOT / "benchmarks/soak.py"), str(frames)]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def lost(figures: dict) -> int:
    """Tests that failed, inputs that the fuzz broke a reader with, frames that the soak did not do."""
    return sum(part.get(kind, 0) for part in figures.values() for kind in ("failed", "found", "undone"))


def markdown(figures: dict) -> str:
    """The table of the page; a part that was not run is said to be."""
    rows = ["| what | how much | lost |", "| --- | --- | --- |"]
    rows += [row_of(title, figures.get(part), text, wrong) for title, part, text, wrong in ROWS]
    return "\n".join(rows)


def row_of(title: str, part: dict | None, text: str, wrong: str) -> str:
    if part is None:
        return f"| {title} | not run | |"
    return f"| {title} | {text.format_map(Zeros(part))} | {wrong.format_map(Zeros(part))} |"


class Zeros(dict):
    """What nothing counted is 0."""

    def __missing__(self, key):
        return 0


HOSTILE = "{inputs} in one batch, and {tests} tests of places, names, catalogs, compressed tiles and the network"
SOAK = (
    "{frames} frames in one process: {MB_after_100} MB after 100 and {MB_at_the_end} MB at the end ({growth_percent} %), "
    "{handles_after_100} and {handles_at_the_end} file handles, {cpu_seconds_a_frame_after_100} and {cpu_seconds_a_frame_at_the_end} s of "
    "processor time a frame"
)
ROWS = (  # title, part of the figures, what was tried, what was lost
    ("hostile and broken files", "hostile", HOSTILE, "{failed} tests failed"),
    ("faults injected", "faults", "{faults}: failing calls, full disks, pipes, signals, too little memory", "{failed} tests failed"),
    ("power cuts at any moment", "power", "{tests} tests, of every output and of writers without care", "{failed} tests failed"),
    ("kills at random moments", "faults", "{kills}, of detect, merge, simulate and train", "{failed} tests failed"),
    (
        "properties, coordinates, threads",
        "properties",
        "{tests} tests, those of properties on what Hypothesis thinks of",
        "{failed} tests failed",
    ),
    ("weight files and checkpoints", "weights", "{tests} tests", "{failed} tests failed"),
    ("hours fuzzed", "fuzz", "{hours}, over {readers} readers: {inputs} inputs", "{found} failures"),
    ("soak", "soak", SOAK, "{undone} frames"),
)


if __name__ == "__main__":
    main()
