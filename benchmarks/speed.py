"""Whole processes in turns, AstroYOLO beside source-extractor, sep and photutils: python benchmarks/speed.py -o docs/speed.json.

One frame of 4096 x 4096 with 7,000 stars, from FITS to a table on disk, imports included. In each round every command runs once, and
ratios are taken within a round; the table shows medians. source-extractor writes the columns that AstroYOLO's catalog has (``COLUMNS``),
and once more eleven alone, without windowed positions and what else takes it time. Besides: three bands, a frame of 512 x 512, two
workers beside one, and a batch of 200 small frames. Needs the extras fast, test and peers, source-extractor, and a machine that does
nothing else.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from astroyolo_cli.benchmark import make_frame, time_engines
from astroyolo_cli.model.checkpoint import locate

SIDE = 4096
SMALL, SMALL_SIDE = 200, 256
SHARED, SHARED_SIDE = 96, 1024  # frames that one and two workers share: so many that starting the second one counts little
PEER = "import sys; from astropy.io import fits; import numpy as np; sys.path.insert(0, sys.argv[2]); import peer_tools as t; "
PEER += "x = t.Image(np.asarray(fits.getdata(sys.argv[1]), float), 4.0, 1.0, 25.0, 1.0, 1e9); np.savetxt('peer.csv', np.c_[{call}])"
CALLS = {"sep": "t.sep_kron(x)", "photutils": "t.photutils_kron(x)"}
COLUMNS = (
    "NUMBER XWIN_IMAGE YWIN_IMAGE ERRX2WIN_IMAGE ERRY2WIN_IMAGE ALPHAWIN_J2000 DELTAWIN_J2000 XMIN_IMAGE YMIN_IMAGE XMAX_IMAGE YMAX_IMAGE "
    "CLASS_STAR FLUX_AUTO FLUXERR_AUTO FLUX_APER FLUXERR_APER MAG_AUTO MAGERR_AUTO A_IMAGE B_IMAGE THETA_IMAGE FLUX_RADIUS FWHM_IMAGE FLAGS"
).split()  # what AstroYOLO writes: x, y and errors are windowed, ra and dec theirs, boxes, class, total and aperture fluxes, shape, r50
FEW = "source-extractor, few columns"
PEERS = ("source-extractor", FEW, "sep", "photutils")
ALONE = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--rounds", default=5, show_default=True)
def main(output, rounds):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        commands = commands_of(folder)
        seconds, processor = ({what: [] for what in commands} for _ in range(2))
        figures = {"seconds": seconds, "processor": processor, "machine": machine(), "load": [], "side": SIDE}
        figures |= {"small": [SMALL, SMALL_SIDE], "shared": [SHARED, SHARED_SIDE], "engines": time_engines(locate("nano"), 0, print)}
        for number in range(rounds):
            order = list(commands)
            for what in order[number % len(order) :] + order[: number % len(order)]:
                elapsed, used = run(*commands[what], folder)
                seconds[what].append(elapsed)
                processor[what].append(used)
            figures |= {"rounds": number + 1, "stages": part_in_stages(folder), "load": [*figures["load"], os.getloadavg()[0]]}
            output.write_text(json.dumps(figures, indent=1) + "\n")
    click.echo(markdown(figures))


def commands_of(folder: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """What is timed -> its command and environment; the frames are made."""
    import peer_tools

    for sub, side, bands in (("large", SIDE, 3), ("512", 512, 1), ("small", SMALL_SIDE, 1), ("shared", SHARED_SIDE, 1)):
        (folder / sub).mkdir()
        make_frame(folder / sub, side, bands)
    for sub, copies in (("small", SMALL), ("shared", SHARED)):
        for i in range(copies):
            shutil.copy(folder / sub / "frame-z.fits", folder / sub / f"copy-{i:03d}.fits")
    detect = [sys.executable, "-m", "astroyolo_cli", "detect", "--quiet", "--overwrite"]
    large, many = str(folder / "large" / "frame-z.fits"), str(folder / "shared" / "copy-*.fits")
    commands = {
        "one band": ([*detect, large, "-o", "one.csv"], {}),
        "one band, torch": ([*detect, large, "-o", "torch.csv", "--engine", "torch"], {}),
        "three bands": ([*detect, "--bands", "z,r,g", str(folder / "large" / "frame-{band}.fits"), "-o", "three.csv"], {}),
        "512 x 512": ([*detect, str(folder / "512" / "frame-z.fits"), "-o", "512.csv"], {}),
        "one worker": ([*detect, many, "-o", "workers1"], ALONE),
        "two workers": ([*detect, many, "-o", "workers2", "--workers", "2"], ALONE),
        "small frames": ([*detect, str(folder / "small" / "copy-*.fits"), "-o", "batch", "--log"], {}),
        "source-extractor": (sextractor(large, COLUMNS), {}),
        FEW: (sextractor(large, peer_tools.COLUMNS), {}),
    }
    here = str(Path(__file__).parent)
    return commands | {tool: ([sys.executable, "-c", PEER.format(call=call), large, here], {}) for tool, call in CALLS.items()}


def sextractor(frame: str, wanted: list[str]) -> list[str]:
    """The command for these columns; all settings are Debian's defaults, but the aperture has AstroYOLO's three FWHM."""
    from peer_tools import SHARE

    columns = Path(frame).with_name(f"{len(wanted)}.param")
    columns.write_text("\n".join(wanted) + "\n")
    names = {"PARAMETERS_NAME": columns, "FILTER_NAME": SHARE / "default.conv", "STARNNW_NAME": SHARE / "default.nnw"}
    names |= {"CATALOG_NAME": "peer.cat", "VERBOSE_TYPE": "QUIET", "SEEING_FWHM": "4.0", "PIXEL_SCALE": "1.0", "PHOT_APERTURES": "12"}
    return ["source-extractor", frame, "-c", str(SHARE / "default.sex"), *(str(w) for k, v in names.items() for w in (f"-{k}", v))]


def run(command: list[str], more: dict[str, str], folder: Path) -> tuple[float, float]:
    """Seconds of a process, on the clock and of all processors."""
    began = time.perf_counter()
    with (folder / "messages").open("w") as messages:
        process = subprocess.Popen(command, cwd=folder, env=os.environ | more, stdout=messages, stderr=messages)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise SystemExit(f"{' '.join(command)}: {(folder / 'messages').read_text()}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime


def part_in_stages(folder: Path) -> float:
    """Of the last batch of small frames the seconds from the first frame's start to its last one's end that fields took."""
    entries = [json.loads(line) for line in (folder / "batch" / "manifest.jsonl").read_text().splitlines()]
    return sum(entry["seconds"] for entry in entries)


def machine() -> str:
    model = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{os.cpu_count()} cores, {model[0] if model else platform.processor()}, Python {platform.python_version()}"


def markdown(figures: dict) -> str:
    """The tables of docs/scale.md."""
    seconds = figures["seconds"]
    peer = np.array(seconds["source-extractor"])
    rows = ["| whole process | seconds | times source-extractor | seconds of all processors |", "| --- | --- | --- | --- |"]
    for what in [what for what in (*PEERS, "one band", "one band, torch", "three bands", "512 x 512") if what in seconds]:
        ours = "AstroYOLO, " * (what not in PEERS)
        ratio = f"{np.median(np.array(seconds[what]) / peer):.1f}" if what != "512 x 512" else ""
        rows.append(f"| {ours}{what} | {np.median(seconds[what]):.2f} | {ratio} | {np.median(figures['processor'][what]):.2f} |")
    bands = np.median(np.array(seconds["three bands"]) / seconds["one band"])
    workers = np.median(np.array(seconds["one worker"]) / seconds["two workers"])
    (small, side), batch = figures["small"], seconds["small frames"][-1]
    load = f"a load of {np.mean(figures['load']):.1f}, of which this program's is 1 to 2"
    rows += ["", f"Medians of {figures['rounds']} rounds; {figures['machine']}, under {load}.", ""]
    rows += [
        f"- Three bands take {bands:.2f} times as long as one.",
        f"- Two workers of one thread do {figures['shared'][0]} frames {workers:.2f} times as fast as one.",
        f"- {small} frames of {side} x {side} in one batch: {batch:.1f} s, of which {100 * figures['stages'] / batch:.0f} % from the "
        "start of reading a frame to its catalog on disk.",
        "",
        "| engine | tiles a batch | ms a tile of 512 x 512 |",
        "| --- | --- | --- |",
    ]
    rows += [f"| `{one['engine']}` | {one['batch']} | {one['ms_a_tile']:.1f} |" for one in figures["engines"]]
    return "\n".join(rows)


if __name__ == "__main__":
    main()
