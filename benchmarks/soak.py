"""Many frames through one process: python benchmarks/soak.py [FRAMES] prints, as JSON, how memory, file handles and speed change.

Small frames with the embedded network: 128 x 128 pixels, a tile each.
"""

import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits

from astroyolo_cli.batch import jobs_of, manifest_of, run_batch
from astroyolo_cli.checksums import checksum
from astroyolo_cli.errors import AstroYOLOWarning
from astroyolo_cli.inputs import FieldInput
from astroyolo_cli.jobs import Recipe
from astroyolo_cli.model.checkpoint import locate
from astroyolo_cli.pipeline import DetectSettings

SIDE, DIFFERENT, SETTLED = 128, 50, 100  # pixels; frames; frames after which memory must not grow


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    warnings.simplefilter("ignore", AstroYOLOWarning)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(soak(Path(folder), count)))


def soak(folder: Path, count: int) -> dict:
    """Detect ``count`` frames and compare the end with what it was after the first."""
    write_frames(folder)
    seen: list[tuple[float, int, float]] = []
    jobs = jobs_of([FieldInput((folder / f"{i % DIFFERENT}.fits",), None, f"f{i}") for i in range(count)], folder / "out", "fits")
    recipe = Recipe("nano", checksum(locate("nano")), "torch", "cpu", DetectSettings(tile=SIDE, overlap=32), threads=1)
    began = time.process_time()

    def note(entry: dict) -> None:
        nonlocal began
        now = time.process_time()  # and not the time of day: other programs run too
        seen.append((memory(), handles(), now - began))
        began = now

    counts = run_batch(jobs, folder / "out", manifest_of(folder / "out"), recipe, 1, False, note)
    first, part = min(SETTLED, count // 4), max(count // 10, 1)
    settled, last = (float(np.median([m for m, _, _ in rows])) for rows in (seen[first : first + part], seen[-part:]))
    begin, end = (float(np.median([s for _, _, s in rows])) for rows in (seen[first : first + part], seen[-part:]))
    return {
        "frames": count,
        "undone": count - counts["done"],
        "MB_after_100": round(settled, 1),
        "MB_at_the_end": round(last, 1),
        "growth_percent": round(100 * (last / settled - 1), 2),
        "handles_after_100": seen[first][1],
        "handles_at_the_end": seen[-1][1],
        "cpu_seconds_a_frame_after_100": round(begin, 4),
        "cpu_seconds_a_frame_at_the_end": round(end, 4),
    }


def write_frames(folder: Path) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    for number in range(DIFFERENT):
        image = rng.normal(100, 3, (SIDE, SIDE))
        for _ in range(12):
            cx, cy, size = rng.uniform(8, SIDE - 8), rng.uniform(8, SIDE - 8), rng.uniform(1.4, 3)
            image += rng.uniform(30, 900) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * size**2))
        fits.writeto(folder / f"{number}.fits", image.astype(np.float32))


def memory() -> float:
    """MB that are resident."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def handles() -> int:
    return len(os.listdir("/proc/self/fd"))


if __name__ == "__main__":
    main()
