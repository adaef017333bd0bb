"""A GPU's figures: python benchmarks/gpu.py -o docs/gpu.json, on a machine that has one.

A frame of 4096 x 4096 pixels by stages, and the network alone by batch, for the embedded weights, as `astroyolo benchmark` times them;
beside it what the card could do at best: the network's operations at its matrix rate, and its bytes, each convolution's maps read and
written once in bfloat16, at its memory's rate.
"""

import json
from pathlib import Path

import click
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from astroyolo_cli.benchmark import run_benchmark
from astroyolo_cli.model.checkpoint import load, locate
from astroyolo_cli.model.engine import fold_batch_norm

WEIGHTS = ("nano", "s")
SIDE, TILE = 4096, 512
PAPER = "7 to 8 ms an image of 512 x 512, network alone (the paper, on its GPU)"
RATES = {"NVIDIA H100 80GB HBM3": (990e12, 3.35e12)}  # bf16 operations and bytes a second, by the vendor's datasheet


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def main(output):
    timed = {name: run_benchmark(locate(name), SIDE, 1, 0, click.echo, "torch", "cuda") for name in WEIGHTS}
    output.write_text(json.dumps({"card": torch.cuda.get_device_name(), "weights": timed}, indent=1) + "\n")
    click.echo(markdown(json.loads(output.read_text())))


def least_work(name: str) -> tuple[int, int]:
    """Floating-point operations, and bytes in bfloat16, of the network for one tile of 512 x 512."""
    model, moved = fold_batch_norm(load(locate(name))[0]), []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda m, given, found: moved.append(given[0].numel() + found.numel() + m.weight.numel()))
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        model(torch.rand(1, 3, TILE, TILE))
    return counter.get_total_flops(), 2 * sum(moved)


def markdown(figures: dict) -> str:
    """What docs/scale.md shows."""
    card, timed = figures["card"], figures["weights"]
    names = list(timed)
    stages = list(timed[names[0]]["frame"]["stages"])
    lines = [f"{card}, one band of {SIDE} x {SIDE} pixels, one process:", "", f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    lines += [row(f"{stage}, s", [f"{timed[n]['frame']['stages'][stage]:.2f}" for n in names]) for stage in stages]
    lines += [row("a frame, s", [f"**{timed[n]['frame']['seconds']:.2f}**" for n in names])]
    for one in timed[names[0]]["engines"]:
        batch = one["batch"]
        lines.append(row(f"network alone, batches of {batch}, tiles a second", [f"{1000 / rate_of(timed[n], batch):.0f}" for n in names]))
    if card in RATES:
        operations, bytes_ = RATES[card]
        work = {n: least_work(n) for n in names}
        lines.append(row("a tile's operations at the card's matrix rate, ms", [f"{1000 * work[n][0] / operations:.4f}" for n in names]))
        lines.append(row("a tile's bytes at its memory's rate, ms", [f"{1000 * work[n][1] / bytes_:.3f}" for n in names]))
        best = {n: min(one["ms_a_tile"] for one in timed[n]["engines"]) for n in names}
        lines.append(row("the network alone at best, ms a tile", [f"{best[n]:.2f}" for n in names]))
    share = 1000 / (SIDE / TILE) ** 2
    searched = [f"{share * timed[n]['frame']['stages']['network']:.1f}" for n in names]
    lines.append(row("search of the frame (two views, overlaps, boxes), ms for each 512 x 512", searched))
    whole = [f"{share * timed[n]['frame']['seconds']:.1f}" for n in names]
    lines.append(row("the frame from disk to catalog, ms for each 512 x 512", whole))
    return "\n".join([*lines, "", f"{PAPER}."])


def row(title: str, cells: list[str]) -> str:
    return f"| {title} | {' | '.join(cells)} |"


def rate_of(timed: dict, batch: int) -> float:
    """Milliseconds a tile at this batch."""
    return next(one["ms_a_tile"] for one in timed["engines"] if one["batch"] == batch)


if __name__ == "__main__":
    main()
