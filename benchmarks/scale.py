"""How time and memory grow with the frame: python benchmarks/scale.py -o docs/sizes.json [--sides 2048,4096,8192,16384] [--compressed].

A frame of noise and stars, 4096 pixels wide, is repeated to fill each side; each frame is one process, whose seconds and peak memory
the system tells. --compressed: by tiles, as surveys ship them. Frames of 60,000 x 60,000 need 15 GB of disk, or 3 GB compressed.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from astropy.io import fits
from speed import machine

from astroyolo_cli.benchmark import stars

BLOCK = 4096  # pixels, of the sky that is repeated


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--sides", default="2048,4096,8192,16384", show_default=True)
@click.option("--compressed", is_flag=True)
@click.option("--engine", default="auto", show_default=True)
def main(output, sides, compressed, engine):
    figures = {"machine": machine(), "compressed": compressed, "engine": engine, "frames": []}
    for side in map(int, sides.split(",")):
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
            path = Path(folder) / ("frame.fits.fz" if compressed else "frame.fits")
            (write_compressed if compressed else write_plain)(path, side)
            command = [sys.executable, "-m", "astroyolo_cli", "detect", str(path), "-o", f"{folder}/c.csv", "--quiet", "--engine", engine]
            seconds, memory = measured(command)
            rows = sum(1 for _ in open(f"{folder}/c.csv")) - 1
            figures["frames"].append({"side": side, "seconds": round(seconds, 2), "peak_bytes": memory, "rows": rows})
        output.write_text(json.dumps(figures, indent=1) + "\n")
        click.echo(markdown(figures).splitlines()[-1])


def sky() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (stars(rng, BLOCK) + rng.standard_normal((BLOCK, BLOCK), np.float32)).astype(">f4")


def rows_of(block: np.ndarray, side: int):
    """The frame's rows, some at a time."""
    across = -(-side // BLOCK)
    for first in range(0, side, BLOCK):
        for start in range(0, min(BLOCK, side - first), 256):
            stop = min(start + 256, side - first, BLOCK)
            yield np.tile(block[start:stop], (1, across))[:, :side]


def write_plain(path: Path, side: int) -> None:
    header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": side, "NAXIS2": side, "FILTER": "r"})
    block = sky()
    with path.open("wb") as file:
        file.write(header.tostring().encode())
        for rows in rows_of(block, side):
            file.write(rows.tobytes())
        file.write(b"\0" * (-file.tell() % 2880))


def write_compressed(path: Path, side: int) -> None:
    """A tile a row, as fpack does; those of the first block are compressed once, and follow each other as often as the side needs."""
    made = path.with_suffix(".block")
    block = np.tile(sky()[:side], (1, -(-side // BLOCK)))[:, :side].astype(np.float32)
    fits.CompImageHDU(block, fits.Header({"FILTER": "r"}), compression_type="RICE_1", quantize_level=16).writeto(made)
    with fits.open(made, disable_image_compression=True) as hdus:
        header, rows = hdus[1].header, np.array(hdus[1].data)
        heap = made.read_bytes()[hdus[1].fileinfo()["datLoc"] + rows.nbytes :][: header["PCOUNT"]]
    made.unlink()
    copies = -(-side // len(block))
    rows = in_64_bits(rows, header, np.arange(copies) * len(heap)).ravel()[:side]
    header.update({"NAXIS1": rows.itemsize, "NAXIS2": side, "ZNAXIS2": side, "PCOUNT": len(heap) * copies})
    with path.open("wb") as file:
        file.write(fits.PrimaryHDU().header.tostring().encode() + header.tostring().encode() + rows.tobytes())
        for _ in range(copies):
            file.write(heap)
        file.write(b"\0" * (-file.tell() % 2880))


def in_64_bits(rows: np.ndarray, header: fits.Header, begin: np.ndarray) -> np.ndarray:
    """(copies, n) rows of a compressed image's table, their streams so many bytes further on; ``header`` follows."""
    streams = [name for name in rows.dtype.names if rows.dtype[name].shape]
    kinds = [(name, ">i8", 2) if name in streams else (name, rows.dtype[name]) for name in rows.dtype.names]
    many = np.empty((len(begin), len(rows)), kinds)
    for number, name in enumerate(rows.dtype.names, start=1):
        many[name] = rows[name]
        if name in streams:
            many[name][:, :, 1] += begin[:, None]
            header[f"TFORM{number}"] = header[f"TFORM{number}"].replace("P", "Q")
    return many


def measured(command: list[str]) -> tuple[float, int]:
    """Seconds and peak memory in bytes of a process."""
    began = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: ended with {status}")
    return time.perf_counter() - began, usage.ru_maxrss * 1024


def markdown(figures: dict) -> str:
    """The table of docs/scale.md."""
    rows = ["| pixels | sources | seconds | microseconds a pixel | peak memory, GB |", "| --- | --- | --- | --- | --- |"]
    for one in figures["frames"]:
        each = 1e6 * one["seconds"] / one["side"] ** 2
        rows.append(
            f"| {one['side']} x {one['side']} | {one['rows']:,} | {one['seconds']:.1f} | {each:.3f} | {one['peak_bytes'] / 1e9:.2f} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
