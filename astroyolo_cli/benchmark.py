"""How fast this machine is: a frame from disk to catalog by stages, and the network alone by engine and batch size."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import __version__
from .threads import spread

DENSITY = 7000 / 4096**2  # stars a pixel of the frame that is made
FWHM = 4.0
SCALE = 0.262 / 3600  # degrees a pixel
BATCHES = (1, 4, 8)
SIDE = 512  # of a tile
ROUNDS = 3  # each time is the least of so many


def run_benchmark(
    path: Path,
    side: int,
    bands: int,
    threads: int,
    tell: Callable[[str], None] = lambda line: None,
    engine: str = "auto",
    device: str = "auto",
) -> dict:
    """Everything measured, as plain numbers.

    Args:
        path: of the weights.
        side: of the frame, pixels.
        bands: of the frame, 1 to 3.
        tell: called with what is being timed.
        engine, device: as ``detect`` takes them; of the engines this one alone is timed.
    """
    from .model.engine import open_engine

    opened = open_engine(path, engine, device, threads)
    tell(f"a frame of {side} x {side} pixels, {bands} {'band' if bands == 1 else 'bands'}, {type(opened).__name__}")
    stages, rows = time_stages(opened, side, bands, threads)
    total = sum(stages.values())
    engines = time_engines(path, threads, tell, engine, device)
    return {
        "version": __version__,
        "machine": {"system": platform.platform(), "processors": os.cpu_count(), "threads": threads or None, "numpy": np.__version__},
        "weights": path.name,
        "frame": {"side": side, "bands": bands, "rows": rows, "seconds": round(total, 4), "stages": stages},
        "megapixels_a_second": round(side**2 * 1e-6 / total, 6),
        "engines": engines,
        "fastest": min(engines, key=lambda one: one["ms_a_tile"]),
    }


def time_stages(engine, side: int, bands: int, threads: int) -> tuple[dict[str, float], int]:
    """Seconds of each stage from files to a file, and the rows of the catalog."""
    from .inputs import resolve
    from .pipeline import DetectSettings, detect
    from .read import read_field
    from .write import write

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pattern, names = make_frame(folder, side, bands)
        best: dict[str, float] = {}
        for _ in range(ROUNDS):
            began = time.perf_counter()
            frame = read_field(resolve([pattern], names)[0])
            read = time.perf_counter()
            result = detect(frame, engine, DetectSettings(), threads)
            found = time.perf_counter()
            write(result.catalog, folder / "catalog.csv", overwrite=True)
            seconds = {"read": read - began, **result.seconds, "write": time.perf_counter() - found}
            best = {stage: round(min(value, best.get(stage, value)), 4) for stage, value in seconds.items()}
    return best, len(result.catalog)


def make_frame(folder: Path, side: int, bands: int) -> tuple[str, tuple[str, ...]]:
    """A sky of noise and stars with a WCS, one file a band: their pattern, and the bands' names."""
    from astropy.io import fits

    names = ("z", "r", "g")[:bands]
    rng = np.random.default_rng(0)
    light = stars(rng, side)
    middle = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.2, "CRPIX1": side / 2, "CRPIX2": side / 2}
    for band in names:
        header = fits.Header({"FILTER": band, "CDELT1": -SCALE, "CDELT2": SCALE, "RADESYS": "ICRS"} | middle)
        fits.writeto(folder / f"frame-{band}.fits", light + rng.standard_normal((side, side), np.float32), header)
    return str(folder / "frame-{band}.fits"), names


def stars(rng: np.random.Generator, side: int) -> np.ndarray:
    """(side, side) float32 of Gaussian stars, peaks of 3 to 300 times the noise."""
    image = np.zeros((side, side), np.float32)
    axis, sigma = np.arange(-12, 13), FWHM / 2.3548
    count = max(int(DENSITY * side**2), 1)
    for x, y, peak in zip(*rng.uniform(12, side - 13, (2, count)), 10 ** rng.uniform(0.5, 2.5, count)):
        column, row = int(x), int(y)
        in_x, in_y = (np.exp(-0.5 * ((axis - place % 1) / sigma) ** 2) for place in (x, y))
        image[row - 12 : row + 13, column - 12 : column + 13] += (peak * np.outer(in_y, in_x)).astype(np.float32)
    return image


def time_engines(path: Path, threads: int, tell: Callable[[str], None], engine: str = "auto", device: str = "auto") -> list[dict]:
    """Milliseconds a tile by engine and batch size, of every engine that is at hand and runs the file, or of the one that is named."""
    from .model.engine import ENGINES, RUNS, at_hand, open_engine

    rows, on_cpu = [], device in ("auto", "cpu")
    able = [name for name in ENGINES if name in RUNS.get(path.suffix.lower(), RUNS[".safetensors"]) and (on_cpu or name == "torch")]
    for name in able if engine == "auto" else [engine]:
        if not at_hand(name):
            tell(f"left out: {name}, not installed, or not for this processor")
            continue
        tell(name)
        opened = open_engine(path, name, device, threads)
        batches = sorted({*BATCHES, opened.batch})
        rows += [{"engine": name, "batch": batch, "ms_a_tile": time_batch(opened, batch)} for batch in batches]
    return rows


def time_batch(engine, batch: int) -> float:
    """Milliseconds a tile, all lanes of the engine at work; the least of some rounds."""
    look = look_of(engine, np.random.default_rng(0).random((batch, 3, SIDE, SIDE), np.float32))
    calls, best = 2 * engine.lanes, np.inf
    for _ in range(ROUNDS + 1):  # the first is slower: what it needs is made then
        began = time.perf_counter()
        spread(look, range(calls), engine.lanes, fewest=2)
        best = min(best, time.perf_counter() - began)
    return round(1000 * best / (batch * calls), 3)


def look_of(engine, images: np.ndarray) -> Callable[[int], object]:
    """A call of the network; on a GPU of images that are there, as those of ``detect`` are, until it has done them."""
    if getattr(engine, "device", None) is None:
        return lambda _: engine(images)
    import torch

    there = torch.from_numpy(images).to(engine.device)
    return lambda _: engine(there)["detection"][0, 0, 0].item()
