"""The training loop: one network, two data sets, a scheme."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from .. import __version__
from ..errors import AstroYOLOError
from ..model.checkpoint import Card, load, locate, save
from ..model.losses import heads_losses
from ..model.network import AstroYOLO
from ..stretch import Stretch
from .batches import Batch, Data, batches, kinds_of_phase
from .calibrate import calibrate
from .cutouts import Cutouts
from .fields import Fields
from .samples import some_of
from .schemes import Phase, Scheme, scheme_named
from .state import Average, Progress, Settings, load_checkpoint, save_checkpoint, save_settings
from .teachers import Teachers
from .validate import validate

WARM_UP = 300  # steps
FLOOR = 0.03  # of the learning rate, at the end
PLAIN_END = 0.1  # the last part of a run adds the L1 loss and learns from true labels alone
CHECKPOINT_SECONDS = 120
LARGEST_GRADIENT = 20.0
THREADS = 2  # that make batches ahead


def train(
    settings: Settings,
    run: Path,
    start: str | None = None,
    resume: bool = False,
    cache: Path | None = None,
    tell: Callable[[str], None] = print,
) -> None:
    """Train as the settings say and leave last.safetensors, best.safetensors and results.csv in ``run``.

    Args:
        start: weight file to start from; None starts at random.
        resume: go on from ``run``'s checkpoint.
        cache: folder for decoded images; default: ``run``/cache. Several runs can share one.
        tell: called with a line at every epoch and now and then in between.
    """
    torch.manual_seed(settings.seed)
    scheme = scheme_named(settings.scheme)
    run.mkdir(parents=True, exist_ok=True)
    data, held_out = open_data(settings, scheme, cache or run / "cache", tell)
    teachers = Teachers.from_files(settings.teachers)
    model = (load(locate(start))[0] if start else AstroYOLO(settings.size)).to(memory_format=torch.channels_last)
    optimizer, average, progress = make_optimizer(model, settings), Average(model), Progress()
    if resume:
        progress = load_checkpoint(run / "checkpoint.pt", model, average, optimizer)
    save_settings(settings, run)
    card = card_of(settings, data)
    deadline = time.monotonic() + 3600 * settings.hours if settings.hours else math.inf
    total = sum(steps_of(scheme.phases(epoch, settings.epochs), settings) for epoch in range(settings.epochs))
    while progress.epoch < settings.epochs and time.monotonic() < deadline:
        if settings.patience and progress.since_best >= settings.patience:
            tell(f"no better for {progress.since_best} epochs: stopping early")
            break
        phases = scheme.phases(progress.epoch, settings.epochs)
        row = train_one_epoch(model, teachers, average, optimizer, data, phases, settings, progress, total, run, deadline, tell)
        if row is None:
            break
        finish_epoch(row | validate(average_model(model, average), held_out), model, average, optimizer, progress, card, run, tell)
    final = average_model(model, average)
    tell("calibrating on what was held out")
    scores = {name: value for name, value in validate(final, held_out).items() if name.endswith("accuracy")}
    save(final, replace(card, calibration=calibrate(final, held_out), scores=scores), run / "last.safetensors")


def open_data(settings: Settings, scheme: Scheme, cache: Path, tell) -> tuple[Data, Data]:
    """Training and held-out data of what the scheme needs."""
    for name, needed in (("sg", scheme.needs_sg), ("ds", scheme.needs_ds)):
        if needed and not getattr(settings, name):
            raise AstroYOLOError(f"scheme {settings.scheme!r} learns from --{name}, which is not given; name its folder")
    tell("reading the data sets (the first time decodes them)")
    fields = Fields([Path(folder) for folder in settings.sg], cache, tell=tell) if scheme.needs_sg else None
    cutouts = Cutouts(Path(settings.ds), cache, vote_threshold=settings.vote_threshold, tell=tell) if scheme.needs_ds else None
    sg, ds = (part.split() if part else ([], []) for part in (fields, cutouts))
    tell(f"D_sg {len(sg[0])} fields for training, {len(sg[1])} held out; D_ds {len(ds[0])} cutouts and {len(ds[1])}")
    return Data(fields, cutouts, sg[0], ds[0], Stretch(), settings.soft_votes), Data(fields, cutouts, sg[1], ds[1], Stretch())


def make_optimizer(model: AstroYOLO, settings: Settings) -> torch.optim.Optimizer:
    """Weight decay on convolution weights only, not on biases and normalisation."""
    kernels = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=settings.lr)


def steps_of(phases: tuple[Phase, ...], settings: Settings) -> int:
    """Gradient steps of an epoch of these phases."""
    return sum(math.ceil(len(kinds_of_phase(p, settings.samples)) / settings.batch_size) for p in phases)


def set_frozen(model: AstroYOLO, frozen: bool) -> None:
    """Training mode; a frozen backbone and neck keep their weights and, in evaluation mode, their running statistics."""
    model.train()
    for part in (model.backbone, model.neck):
        part.train(not frozen).requires_grad_(not frozen)


def learning_rate(step: int, total: int, peak: float) -> float:
    """Quadratic warm-up, then half a cosine down to a floor, as YOLOX."""
    warm_up = min(WARM_UP, total // 10)
    if step < warm_up:
        return peak * ((step + 1) / warm_up) ** 2
    part = (step - warm_up) / max(total - warm_up, 1)
    return peak * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * min(part, 1.0))))


def train_one_epoch(
    model, teachers: Teachers, average, optimizer, data, phases, settings, progress: Progress, total, run, deadline, tell
) -> dict | None:
    """All phases of the epoch from where ``progress`` stands; mean losses by name, None if time ran out."""
    sums, count, began, saved = {}, 0, time.monotonic(), time.monotonic()
    while progress.phase < len(phases):
        phase, key = phases[progress.phase], (settings.seed, progress.epoch, progress.phase)
        set_frozen(model, phase.frozen)
        for batch in batches(data, phase, settings.samples, settings.batch_size, key, progress.batch, THREADS):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(progress.step, total, settings.lr) * phase.rate
            plain = progress.step > (1 - PLAIN_END) * total
            losses = train_step(model, batch if plain else teachers.complete(batch), optimizer, l1=plain)
            average.update(model)
            progress.batch, progress.step, count = progress.batch + 1, progress.step + 1, count + len(batch.images)
            sums = {name: sums.get(name, 0.0) + value for name, value in losses.items()}
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                saved = time.monotonic()
                save_checkpoint(run / "checkpoint.pt", model, average, optimizer, progress)
                tell(f"epoch {progress.epoch} step {progress.step} of {total}, {count / (saved - began):.1f} images/s")
            if time.monotonic() > deadline:
                save_checkpoint(run / "checkpoint.pt", model, average, optimizer, progress)
                return None
        progress.phase, progress.batch = progress.phase + 1, 0
    rate = count / (time.monotonic() - began)
    steps = steps_of(phases, settings)
    return {"epoch": progress.epoch, "images_per_s": rate} | {name: value / steps for name, value in sums.items()}


def train_step(model, batch: Batch, optimizer, l1: bool) -> dict[str, float]:
    """One gradient step; the losses by name."""
    images = batch.images.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(images)
    losses = heads_losses(outputs, batch.truth, images.shape[-2:], l1)
    total = sum(losses.values())
    if not torch.isfinite(total):
        terms = ", ".join(f"{name} {value.item():g}" for name, value in losses.items())
        seen = some_of(sorted({name for names in batch.names for name in names}))
        raise AstroYOLOError(f"loss is not finite ({terms}) on {seen}; lower --lr and resume from the last checkpoint")
    optimizer.zero_grad(set_to_none=True)
    total.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
    optimizer.step()
    return {name: value.item() for name, value in losses.items()}


def average_model(model: AstroYOLO, average: Average) -> AstroYOLO:
    """A copy of the network with the averaged weights, in evaluation mode."""
    copy = AstroYOLO(model.size)
    copy.load_state_dict(average.values)
    return copy.to(memory_format=torch.channels_last).eval()


def finish_epoch(row: dict, model, average, optimizer, progress: Progress, card: Card, run: Path, tell) -> None:
    """results.csv, weights and checkpoint after an epoch."""
    progress.epoch, progress.phase, progress.batch = progress.epoch + 1, 0, 0
    final = average_model(model, average)
    save(final, card, run / "last.safetensors")
    progress.since_best += 1
    if row["validation"] < progress.best:
        progress.best, progress.since_best = row["validation"], 0
        save(final, card, run / "best.safetensors")
    append_row(run / "results.csv", row)
    save_checkpoint(run / "checkpoint.pt", model, average, optimizer, progress)
    tell(" ".join(f"{name} {value:.4g}" for name, value in row.items()))


def append_row(path: Path, row: dict) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow(row)


def card_of(settings: Settings, data: Data) -> Card:
    priors = {"star": data.fields.star_fraction()} if data.fields else {}
    priors |= {"disk": 0.5} if data.cutouts else {}  # cutouts are drawn balanced
    training = {
        "version": __version__,
        "scheme": settings.scheme,
        "seed": settings.seed,
        "epochs": settings.epochs,
        "samples": settings.samples,
    }
    return Card(size=settings.size, priors=priors, training=training)
