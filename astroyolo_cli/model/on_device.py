"""A frame's tiles made where the network runs: raw counts go to the GPU once, what the network found in them comes back alone.

A row of tiles is uploaded, stretched and cut there while the next one is read; every batch has the same shape, so that on CUDA the
network's kernels are recorded once and replayed. The same code runs on the CPU, for tests. The only module that knows a device.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from ..errors import AstroYOLOWarning, reason_of
from ..frame import Frame
from ..stretch import Background, Stretch, cell_of, empty_sky, lupton_rgb, mesh_weights, three_channels
from ..tile import Tile

WARM_UP = 3  # calls before the recording, in which cuDNN chooses its kernels

Counts = list[torch.Tensor]


def batches(frame: Frame, background: dict, groups: list[list[Tile]], side: int, stretch: Stretch, device) -> Iterator[torch.Tensor]:
    """(B, 3, side, side) float32 RGB of each group of tiles, on the device; the last one is filled up, so that all have one shape."""
    images = tile_images(frame, background, [tile for group in groups for tile in group], side, stretch, device)
    for group in groups:
        batch = [next(images) for _ in group]
        yield torch.stack(batch + batch[-1:] * (len(groups[0]) - len(group)))


def tile_images(frame: Frame, background: dict, tiles: list[Tile], side: int, stretch: Stretch, device) -> Iterator[torch.Tensor]:
    """(3, side, side) of every tile, in their order, row by row; what lies beyond the frame is empty sky."""
    rows = [range(y, min(y + side, frame.shape[0])) for y in sorted({tile.y for tile in tiles})]
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(raw_counts, frame, rows[0], device)
        for number, part in enumerate(rows):
            counts = coming.result()
            if number + 1 < len(rows):
                coming = pool.submit(raw_counts, frame, rows[number + 1], device)
            strip = strip_rgb(frame, background, stretch, counts, part, device)
            for tile in (tile for tile in tiles if tile.y == part.start):
                yield padded(frame, strip[:, :, tile.x : tile.x + side], side, stretch)


def raw_counts(frame: Frame, rows: range, device) -> Counts:
    """(h, W) float32 of these rows of each band, on their way to the device."""
    planes = [torch.tensor(frame.counts[band][rows.start : rows.stop, :]) for band in frame.bands]
    if device.type == "cuda":
        return [plane.pin_memory().to(device, non_blocking=True) for plane in planes]
    return [plane.to(device) for plane in planes]


def strip_rgb(frame: Frame, background: dict, stretch: Stretch, counts: Counts, rows: range, device) -> torch.Tensor:
    """(3, h, W) of whole rows of the frame; stretch.strip_rgb for a device."""
    if frame.stretched:
        return torch.nan_to_num(torch.stack(counts), nan=0.0)
    signals = [signal(plane, background[band], rows, device) for band, plane in zip(frame.bands, counts)]
    return lupton_rgb(signals[0][None] if len(signals) == 1 else three_channels(signals), stretch).expand(3, -1, -1)


def signal(counts: torch.Tensor, background: Background, rows: range, device) -> torch.Tensor:
    """Counts of whole rows above the sky, in units of the noise; bad pixels become 0, empty sky."""
    sky, noise = (from_mesh(mesh, background.shape, rows, device) for mesh in (background.sky_mesh, background.noise_mesh))
    return torch.nan_to_num((counts - sky) / noise, nan=0.0, posinf=0.0, neginf=0.0)


def from_mesh(mesh: np.ndarray, shape: tuple[int, int], rows: range, device) -> torch.Tensor:
    """(h, W) of a mesh over the frame (H, W), as Background.section has them; along x on the device, where the pixels are many."""
    near, weights = mesh_weights(mesh.shape[0], shape[0], rows)
    cells = torch.from_numpy((weights @ mesh[near]).astype(np.float32)).to(device)
    place = cell_of(mesh.shape[1], shape[1], np.arange(shape[1]))
    left = np.minimum(place.astype(int), max(mesh.shape[1] - 2, 0))
    part = torch.from_numpy((place - left).astype(np.float32)).to(device)
    left = torch.from_numpy(left).to(device)
    before, after = cells[:, left], cells[:, (left + 1).clamp(max=mesh.shape[1] - 1)]
    return before + (after - before) * part


def padded(frame: Frame, rgb: torch.Tensor, side: int, stretch: Stretch) -> torch.Tensor:
    """(3, side, side) of as much of it as the frame has, empty sky beyond, as pipeline.fill_tile makes it."""
    height, width = rgb.shape[1:]
    if height == width == side:
        return rgb
    sky = empty_sky(frame, rgb.cpu().numpy(), stretch)
    whole = torch.from_numpy(sky).to(rgb.device)[:, None, None].repeat(1, side, side)
    whole[:, :height, :width] = rgb
    return whole


def note_unrecorded(error: RuntimeError, else_: str) -> None:
    warnings.warn(f"CUDA graph not recorded ({reason_of(error)}): slower, {else_}", AstroYOLOWarning, stacklevel=3)


def recorded(network: Callable, images: torch.Tensor) -> Callable:
    """The network for batches of the shape of ``images``, its kernels recorded as a CUDA graph; as it is where that fails.

    What it returns stands in the same memory every time, until the next call.
    """
    here = images.clone()
    try:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                network(here)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # another thread uploads the next rows meanwhile
            found = network(here)
    except RuntimeError as error:
        note_unrecorded(error, "the catalog is the same")
        return network

    def replay(batch: torch.Tensor):
        here.copy_(batch)
        graph.replay()
        return found

    return replay


class Learning(torch.nn.Module):
    """A network's forward and backward kernels for training on batches of one shape, recorded as CUDA graphs; as it is where that fails.

    Args:
        images: (B, 3, H, W) on the card, the shape of all that is to come.
        precision: of autocast; None for float32.
    """

    def __init__(self, network: torch.nn.Module, images: torch.Tensor, precision: torch.dtype | None):
        super().__init__()
        self.network = network
        if hasattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch"):
            torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)  # recording has a stream of its own
        try:
            with torch.autocast("cuda", precision, enabled=precision is not None, cache_enabled=False):
                torch.cuda.make_graphed_callables(self, (images.clone(),))  # replaces forward
        except RuntimeError as error:
            note_unrecorded(error, "the same otherwise")

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return self.network(images)
