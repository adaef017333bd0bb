"""How time and memory grow with the frame: python benchmarks/scale.py -o docs/sizes.json [--sides 2048,4096,8192,16384] [--compressed].

A frame of noise and stars, 4096 pixels wide, is repeated to fill each side; each frame is one process, whose seconds and peak memory
the system tells. --compressed: by tiles, as surveys ship them. --sparse: stars in every seventh such block along both axes alone, noise
everywhere, so that pixels and not rows of the catalog rule the figures. Frames of 60,000 x 60,000 need 15 GB of disk, or 3 GB compressed.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
from astropy.io import fits
from speed import machine

from astroyolo_cli.benchmark import stars

BLOCK = 4096  # pixels, of the sky that is repeated
SPARSE = 7  # blocks from one with stars to the next
SMALL = """
import json, os, sys, time
apart = [(os.POSIX_SPAWN_DUP2, 2, 1)]  # what it prints is no result
began, child = time.perf_counter(), os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=apart)
_, status, usage = os.wait4(child, 0)
print(json.dumps([time.perf_counter() - began, usage.ru_maxrss * 1024, status]))
"""


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--sides", default="2048,4096,8192,16384", show_default=True)
@click.option("--compressed", is_flag=True)
@click.option("--sparse", is_flag=True)
@click.option("--engine", default="auto", show_default=True)
def main(output, sides, compressed, sparse, engine):
    figures = {"machine": machine(), "compressed": compressed, "sparse": sparse, "engine": engine, "frames": []}
    for side in map(int, sides.split(",")):
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
            path = Path(folder) / ("frame.fits.fz" if compressed else "frame.fits")
            (write_compressed if compressed else write_plain)(path, side, SPARSE if sparse else 1)
            command = [sys.executable, "-m", "astroyolo_cli", "detect", str(path), "-o", f"{folder}/c.csv", "--quiet", "--engine", engine]
            seconds, memory = measured(command)
            rows = sum(1 for _ in open(f"{folder}/c.csv")) - 1
            figures["frames"].append({"side": side, "seconds": round(seconds, 2), "peak_bytes": memory, "rows": rows})
        output.write_text(json.dumps(figures, indent=1) + "\n")
        click.echo(markdown(figures).splitlines()[-1])


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((BLOCK, BLOCK), np.float32)


def sky() -> np.ndarray:
    rng = np.random.default_rng(0)
    return stars(rng, BLOCK) + rng.standard_normal((BLOCK, BLOCK), np.float32)


def rows_of_blocks(side: int, every: int) -> list[np.ndarray]:
    """(BLOCK, side) pixels of the first row of blocks, of which every so many have stars, and of the next one, which then has none."""
    across, full = -(-side // BLOCK), sky()
    if every == 1:
        return [np.tile(full, (1, across))[:, :side]]
    empty = noise(1)
    first = np.concatenate([empty if number % every else full for number in range(across)], axis=1)
    return [first[:, :side], np.tile(empty, (1, across))[:, :side]]


def kinds_of(side: int, kinds: int, every: int) -> list[int]:
    """Which of the rows of blocks follow each other down the frame."""
    return [min(number % every, kinds - 1) for number in range(-(-side // BLOCK))]


def write_plain(path: Path, side: int, every: int = 1) -> None:
    """
    Args:
        every: blocks from one with stars to the next.
    """
    header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": side, "NAXIS2": side, "FILTER": "r"})
    blocks = rows_of_blocks(side, every)
    with path.open("wb") as file:
        file.write(header.tostring().encode())
        for number, kind in enumerate(kinds_of(side, len(blocks), every)):
            for first in range(0, min(side - number * BLOCK, BLOCK), 256):
                file.write(blocks[kind][first : min(first + 256, side - number * BLOCK)].astype(">f4").tobytes())
        file.write(b"\0" * (-file.tell() % 2880))


def write_compressed(path: Path, side: int, every: int = 1) -> None:
    """A tile a row, as fpack does; each row of blocks is compressed once, and they follow each other as often as the side needs."""
    blocks = rows_of_blocks(side, every)
    compressed = [compressed_block(block[:side], path.with_suffix(".block")) for block in blocks]
    kinds = kinds_of(side, len(blocks), every)
    begin = np.cumsum([0] + [len(compressed[kind][2]) for kind in kinds])
    header = compressed[0][0].copy()
    rows = [in_64_bits(compressed[kind][1], header, at) for kind, at in zip(kinds, begin)]
    width = rows[0].itemsize
    header.update({"NAXIS1": width, "NAXIS2": side, "ZNAXIS2": side, "PCOUNT": int(begin[-1])})
    with path.open("wb") as file:
        file.write(fits.PrimaryHDU().header.tostring().encode() + header.tostring().encode())
        file.write(b"".join(part.tobytes() for part in rows)[: side * width])
        for kind in kinds:
            file.write(compressed[kind][2])
        file.write(b"\0" * (-file.tell() % 2880))


def compressed_block(block: np.ndarray, made: Path) -> tuple[fits.Header, np.ndarray, bytes]:
    """The header, the rows of the table and the heap of a compressed image."""
    fits.CompImageHDU(block, fits.Header({"FILTER": "r"}), compression_type="RICE_1", quantize_level=16).writeto(made)
    with fits.open(made, disable_image_compression=True) as hdus:
        header, rows = hdus[1].header, np.array(hdus[1].data)
        heap = made.read_bytes()[hdus[1].fileinfo()["datLoc"] + rows.nbytes :][: header["PCOUNT"]]
    made.unlink()
    return header, rows, heap


def in_64_bits(rows: np.ndarray, header: fits.Header, begin: int) -> np.ndarray:
    """The rows of a compressed image's table, their streams so many bytes further on; ``header`` follows."""
    streams = [name for name in rows.dtype.names if rows.dtype[name].shape]
    wide = np.empty(len(rows), [(name, ">i8", 2) if name in streams else (name, rows.dtype[name]) for name in rows.dtype.names])
    for number, name in enumerate(rows.dtype.names, start=1):
        wide[name] = rows[name]
        if name in streams:
            wide[name][:, 1] += begin
            header[f"TFORM{number}"] = header[f"TFORM{number}"].replace("P", "Q")
    return wide


def measured(command: list[str]) -> tuple[float, int]:
    """Seconds and peak memory in bytes of a process, which a small one starts: the system counts a peak from the parent's on."""
    seconds, peak, status = json.loads(subprocess.run([sys.executable, "-c", SMALL, *command], stdout=subprocess.PIPE, check=True).stdout)
    if status:
        raise SystemExit(f"{' '.join(command)}: ended with {status}")
    return seconds, peak


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
