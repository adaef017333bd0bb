"""One gradient step, and what decides it: optimizer, learning rate, precision, what is frozen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch.nn import functional as F

from ..errors import AstroYOLOError
from ..model.assign import Targets
from ..model.losses import Truth, heads_losses
from ..model.network import AstroYOLO
from .batches import Batch, with_pictures
from .ranks import ALONE, Ranks
from .samples import some_of
from .state import Settings

WARM_UP = 300  # steps
FLOOR = 0.03  # of the learning rate, at the end
LARGEST_GRADIENT = 20.0
PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
USUAL_BATCH, FILLED = 8, 0.8  # images; part of the free memory that may be used
SIDES = tuple(range(384, 641, 32))  # pixels, of the images with several scales


def make_optimizer(model: AstroYOLO, settings: Settings) -> torch.optim.Optimizer:
    """Weight decay on convolution weights only, not on biases and normalisation."""
    kernels = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=settings.lr, fused=kernels[0].is_cuda)


def make_scaler(device: str, precision: str) -> torch.amp.GradScaler:
    """Scales losses in fp16, whose gradients would vanish; does nothing in the other precisions."""
    return torch.amp.GradScaler(torch.device(device).type, enabled=precision == "fp16")


def largest_batch(device: str, step: Callable[[int], None]) -> int:
    """The largest power of two of images, up to 64, whose step fits the free memory of a CUDA device; 8 on others.

    Args:
        step: does a training step on so many images.
    """
    if not device.startswith("cuda"):
        return USUAL_BATCH

    def memory(images: int) -> float:
        torch.cuda.reset_peak_memory_stats()
        step(images)
        return torch.cuda.max_memory_allocated()

    return fitting_batch(memory, FILLED * torch.cuda.mem_get_info()[0])


def fitting_batch(memory: Callable[[int], float], available: float) -> int:
    """The largest power of two up to 64 that fits if memory grows linearly, as it does from 2 to 4 images."""
    two, four = memory(2), memory(4)
    each = max((four - two) / 2, 1.0)
    most = (available - (two - 2 * each)) / each
    return max(n for n in (1, 2, 4, 8, 16, 32, 64) if n <= max(most, 1))


def set_frozen(model: AstroYOLO, frozen: bool) -> None:
    """Training mode; a frozen backbone and neck keep their weights and, in evaluation mode, their running statistics."""
    model.train()
    for part in (model.backbone, model.neck):
        part.train(not frozen).requires_grad_(not frozen)


def keep_statistics(model: AstroYOLO) -> None:
    """Normalise by the running means and variances, as detection does, and leave them as they are, until ``set_frozen`` is called again.

    In a small batch an image of unlike kind, as of stars three times as wide as in the others, is normalised by the others' statistics
    and its own; detection has the mean of all images for it, which the network has to learn with.
    """
    for part in model.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            part.eval()


def learning_rate(step: int, total: int, peak: float) -> float:
    """Quadratic warm-up, then half a cosine down to a floor, as YOLOX."""
    warm_up = min(WARM_UP, total // 10)
    if step < warm_up:
        return peak * ((step + 1) / warm_up) ** 2
    part = (step - warm_up) / max(total - warm_up, 1)
    return peak * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * min(part, 1.0))))


def train_step(
    model, batch: Batch, optimizer, scaler=None, precision: str = "bf16", ranks: Ranks = ALONE, l1: bool = False, forward=None
) -> dict:
    """One gradient step; the losses by name.

    Args:
        forward: what gives the model's outputs; the model itself unless it was recorded.

    Raises:
        AstroYOLOError: if the loss is not finite, in any of the processes; it names the images of this one.
    """
    images = batch.images.contiguous(memory_format=torch.channels_last)
    device = images.device.type
    scaler = scaler or make_scaler(device, precision)
    with torch.autocast(device, PRECISIONS[precision], enabled=precision != "fp32"):
        outputs = (forward or model)(images)
    losses = heads_losses(outputs, batch.truth, images.shape[-2:], l1, ranks.divisor)
    values = dict(zip(losses, torch.stack(list(losses.values())).tolist()))  # a GPU is waited for once
    if ranks.any(not math.isfinite(sum(values.values()))):
        terms = ", ".join(f"{name} {value:g}" for name, value in values.items())
        seen = some_of(sorted({name for names in batch.names for name in names}))
        raise AstroYOLOError(f"loss is not finite ({terms}) on {seen}; lower --lr and resume from the last checkpoint")
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(sum(losses.values())).backward()
    ranks.average_gradients(model)
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
    scaler.step(optimizer)
    scaler.update()
    return values


def on_device(batch: Batch, device: str) -> Batch:
    """The batch where the network learns, its exposures made there."""
    if device == "cpu":
        return with_pictures(batch)

    def moved(targets: Targets) -> Targets:
        return Targets(*(None if part is None else part.to(device) for part in vars(targets).values()))

    truth = batch.truth
    parts = (moved(truth.sources), moved(truth.ignored), moved(truth.central), truth.has_sources.to(device))
    return with_pictures(replace(batch, images=batch.images.to(device, non_blocking=True), truth=Truth(*parts)))


def at_scale(batch: Batch, step: int) -> Batch:
    """The batch at the side that its step draws from ``SIDES``: another seeing and pixel scale in every batch."""
    side = SIDES[int(torch.randint(len(SIDES), (1,), generator=torch.Generator().manual_seed(step)))]
    ratio = side / batch.images.shape[-1]

    def scaled(targets: Targets) -> Targets:
        return replace(targets, boxes=targets.boxes * ratio)

    truth = batch.truth
    truth = replace(truth, sources=scaled(truth.sources), ignored=scaled(truth.ignored), central=scaled(truth.central))
    return replace(batch, images=F.interpolate(batch.images, (side, side), mode="bilinear", antialias=True), truth=truth)
