"""The training loop: one network, two data sets, a scheme; one process or several."""

from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from .. import __version__
from ..errors import AstroYOLOError
from ..model.checkpoint import Card, load, locate, save
from ..model.engine import best_device
from ..model.grow import can_grow, grown
from ..model.network import AstroYOLO
from ..model.on_device import Learning
from ..model.sizes import SIZES
from ..stretch import Stretch
from ..whole import write_text_whole
from .augment import Chances
from .batches import Batch, Data, batches, groups_of_phase, with_pictures
from .calibrate import calibrate
from .cutouts import Cutouts
from .fields import Fields
from .heldout import can_judge, detection_scores, judged_on, report_on_held_out, scores_of_card
from .optimise import (
    PRECISIONS,
    WARM_UP,
    at_scale,
    keep_statistics,
    largest_batch,
    learning_rate,
    make_optimizer,
    make_scaler,
    on_device,
    set_frozen,
    train_step,
)
from .pictures import draw_curves, draw_first_batch
from .ranks import Ranks
from .samples import none_held_out
from .schemes import Phase, Scheme, scheme_named
from .state import Average, Progress, Settings, load_checkpoint, save_checkpoint, save_settings
from .teachers import Teachers
from .validate import validate
from .watch import Watch

PLAIN_END = 0.1  # the last part of a run adds the L1 loss and learns from true labels alone, normalised as detection is
CHECKPOINT_SECONDS = 120


@dataclass
class Run:
    """All that a run holds while it goes on.

    Attributes:
        planned: gradient steps of all epochs.
        opened: of ``time.monotonic()``; so many seconds in the past as the run has been going on.
        deadline: of ``time.monotonic()``, after which it stops and stays resumable.
        seen: whether figures and average precision can be had.
        spent: the part of the budget of time that is spent, the same in all processes; 0 without one.
        recorded: the network for full batches, once its kernels are recorded, on a GPU.
    """

    settings: Settings
    folder: Path
    scheme: Scheme
    ranks: Ranks
    data: Data
    held_out: Data
    model: AstroYOLO
    teachers: Teachers
    average: Average
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    progress: Progress
    card: Card
    watch: Watch
    planned: int
    opened: float
    deadline: float
    seen: bool
    spent: float = 0.0
    recorded: Learning | None = None

    def look_at_clock(self) -> None:
        if self.settings.budget:
            self.spent = self.ranks.leaders((time.monotonic() - self.opened) / (3600 * self.settings.budget))

    def time_is_up(self) -> bool:
        self.look_at_clock()
        return self.spent > 1 or self.ranks.any(time.monotonic() > self.deadline)

    @property
    def total(self) -> int:
        """Gradient steps of the whole run: as planned, or as many as the budget of time will see at the rate until now."""
        step, spent = self.progress.step, self.spent
        return self.planned if not spent or step < WARM_UP else max(min(self.planned, round(step / spent)), step)

    @property
    def is_plain(self) -> bool:
        """Whether the run is in its last part."""
        return self.progress.step > (1 - PLAIN_END) * self.total

    def checkpoint(self) -> None:
        if self.ranks.leads:
            self.progress.seconds = time.monotonic() - self.opened
            save_checkpoint(self.folder / "checkpoint.pt", self.model, self.average, self.optimizer, self.scaler, self.progress)


def train(
    settings: Settings, folder: Path, start: str | None = None, resume: bool = False, cache: Path | None = None, watch: Watch | None = None
) -> None:
    """Train as the settings say and leave weights, results.csv, figures and a report on what was held out in ``folder``.

    Args:
        start: weight file to start from; None starts at random.
        resume: go on from the folder's checkpoint.
        cache: folder for decoded images; default: ``folder``/cache. Several runs can share one.
        watch: what is told of it while it runs; None tells nothing.
    """
    settings = replace(settings, device=best_device(settings.device))
    folder.mkdir(parents=True, exist_ok=True)
    with watch or Watch() as watch:
        run = open_run(settings, folder, start, resume, cache or folder / "cache", watch)
        if run.ranks.leads:
            save_settings(run.settings, folder)
        while run.progress.epoch < settings.epochs and not run.time_is_up():
            if settings.patience and run.progress.since_best >= settings.patience:
                watch.line(f"no better for {run.progress.since_best} epochs: stopping early")
                break
            row = train_one_epoch(run)
            if row is None:
                break
            finish_epoch(run, row)
        if run.ranks.leads:
            finish(run)
        run.ranks.wait()


def open_run(settings: Settings, folder: Path, start: str | None, resume: bool, cache: Path, watch: Watch) -> Run:
    torch.manual_seed(settings.seed)
    torch.backends.cudnn.benchmark = not settings.multi_scale  # the fastest kernels for one shape are looked for once
    ranks = Ranks.from_environment(settings.device)
    scheme = scheme_named(settings.scheme)
    if settings.device == "cuda" and not settings.workers:
        watch.line("two threads make the batches; a GPU is fed better by processes, --workers N")
    data, held_out = ranks.in_turn(lambda: open_data(settings, scheme, cache, watch.line if ranks.leads else lambda line: None))
    teachers = Teachers.from_files(settings.teachers, settings.device)
    model = start_model(start, settings.size, settings.keep_statistics)
    model = model.to(settings.device, memory_format=torch.channels_last)
    if ranks.count > 1 and settings.device == "cuda":
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if settings.batch_size == 0:
        settings = replace(settings, batch_size=largest_batch(settings.device, lambda images: trial_step(model, data, settings, images)))
        watch.line(f"batches of {settings.batch_size} images")
    optimizer, scaler, average, progress = (
        make_optimizer(model, settings), make_scaler(settings.device, settings.precision), Average(model), Progress()
    )  # fmt: skip
    if resume:
        progress = load_checkpoint(folder / "checkpoint.pt", model, average, optimizer, scaler)
        if ranks.leads:
            keep_rows(folder / "results.csv", progress.epoch)
    deadline = time.monotonic() + 3600 * settings.hours if settings.hours else math.inf
    opened = time.monotonic() - progress.seconds
    planned = sum(steps_of(scheme.phases(epoch, settings.epochs), settings, ranks) for epoch in range(settings.epochs))
    return Run(
        settings, folder, scheme, ranks, data, held_out, model, teachers, average, optimizer, scaler, progress,
        card_of(settings, data, model.size), watch, planned, opened, deadline, can_judge(watch.line),
    )  # fmt: skip


def start_model(start: str | None, size: str, keep_statistics: bool = False) -> AstroYOLO:
    """A new network; or that of a weight file, whose size goes before ``size`` unless it can grow into that."""
    if start is None:
        return AstroYOLO(size)
    model = load(locate(start))[0]
    if model.size == size or not can_grow(SIZES[model.size], SIZES[size]):
        return model
    if keep_statistics:
        new = f"--keep-statistics: what {size} has beyond {model.size} has none"
        raise AstroYOLOError(f"{new}; train it without first, or name --size {model.size}")
    return grown(model, size)


def trial_step(model: AstroYOLO, data: Data, settings: Settings, images: int) -> None:
    """A gradient step of no size, for the memory it takes."""
    phase = Phase(sg=1.0) if data.fields else Phase(ds=1.0)
    (batch,) = batches(data, groups_of_phase(phase, images, images), (settings.seed, 0, 0))
    optimizer = make_optimizer(model, replace(settings, lr=0.0, weight_decay=0.0))
    train_step(model, on_device(batch, settings.device), optimizer, precision=settings.precision)


def open_data(settings: Settings, scheme: Scheme, cache: Path, tell) -> tuple[Data, Data]:
    """Training and held-out data of what the scheme needs."""
    for name, needed in (("sg", scheme.needs_sg), ("ds", scheme.needs_ds)):
        if needed and not getattr(settings, name):
            raise AstroYOLOError(f"scheme {settings.scheme!r} learns from --{name}, which is not given; name its folder")
    scheme.check_epochs(settings.epochs)
    tell("reading the data sets (the first time decodes them)")
    fields = Fields([Path(folder) for folder in settings.sg], cache, tell, settings.workers) if scheme.needs_sg else None
    cutouts = Cutouts(Path(settings.ds), cache, settings.vote_threshold, tell, settings.workers) if scheme.needs_ds else None
    sg, ds = (part.split() if part else ([], []) for part in (fields, cutouts))
    if cutouts:
        cutouts.check_classes()
    if cutouts and settings.native_scale:
        cutouts.check_native()
    tell(f"D_sg: {line_of_split('fields', *sg)}; D_ds: {line_of_split('cutouts', *ds)}")
    chances = Chances(**settings.augment)
    training = Data(fields, cutouts, sg[0], ds[0], Stretch(), settings.soft_votes, chances, settings.native_scale)
    also_trained = tuple(name for name, part in (("fields", sg), ("cutouts", ds)) if none_held_out(*part))
    return training, Data(fields, cutouts, sg[1], ds[1], Stretch(), also_trained=also_trained)


def line_of_split(what: str, training: list[int], validation: list[int]) -> str:
    """``95 fields for training, 5 held out``."""
    if none_held_out(training, validation):
        return f"{len(training)} {what}, too few to hold any out: judged on the training data itself"
    return f"{len(training)} {what} for training, {len(validation)} held out"


def steps_of(phases: tuple[Phase, ...], settings: Settings, ranks: Ranks) -> int:
    """Gradient steps of an epoch of these phases."""
    return sum(len(groups_of_phase(p, settings.samples, settings.batch_size, ranks)) for p in phases)


def train_one_epoch(run: Run) -> dict | None:
    """All phases of the epoch from where the run stands; mean losses by name, None if time ran out."""
    sums, steps, count, began, saved = {}, 0, 0, time.monotonic(), time.monotonic()
    phases = run.scheme.phases(run.progress.epoch, run.settings.epochs)
    for phase, batch in batches_of_epoch(run, phases):
        losses = learn(run, phase, batch)
        steps, count = steps + 1, count + len(batch.images) * run.ranks.count
        sums = {name: sums.get(name, 0.0) + value for name, value in losses.items()}
        run.watch.step(run.progress.epoch, run.progress.step, run.total, losses, count / (time.monotonic() - began))
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            saved = time.monotonic()
            run.checkpoint()
        if run.settings.hours and run.ranks.any(time.monotonic() > run.deadline):
            run.checkpoint()
            return None
        if run.spent > 1:
            break
    rate = count / (time.monotonic() - began)
    return {"epoch": run.progress.epoch, "images_per_s": rate} | {name: value / max(steps, 1) for name, value in sums.items()}


def batches_of_epoch(run: Run, phases: tuple[Phase, ...]) -> Iterator[tuple[Phase, Batch]]:
    """From where the run stands to the end of the epoch; moves ``progress`` on after each."""
    settings, progress = run.settings, run.progress
    while progress.phase < len(phases):
        phase, key = phases[progress.phase], (settings.seed, progress.epoch, progress.phase)
        set_frozen(run.model, phase.frozen)
        groups = groups_of_phase(phase, settings.samples, settings.batch_size, run.ranks)[progress.batch :]
        for batch in batches(run.data, groups, key, settings.workers):
            if progress.step == 0 and run.ranks.leads and run.seen:
                draw_first_batch(with_pictures(batch), run.folder / "first_batch.png")
            yield phase, batch
        progress.phase, progress.batch = progress.phase + 1, 0


def learn(run: Run, phase: Phase, batch: Batch) -> dict[str, float]:
    """One gradient step on a batch, as the scheme and the settings say."""
    run.look_at_clock()
    batch = on_device(batch, run.settings.device)
    if run.is_plain or run.settings.keep_statistics:
        keep_statistics(run.model)
    if not run.is_plain:
        batch = run.teachers.complete(at_scale(batch, run.progress.step) if run.settings.multi_scale else batch)
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(run.progress.step, run.total, run.settings.lr) * phase.rate
    forward = forward_of(run, batch.images)
    losses = train_step(run.model, batch, run.optimizer, run.scaler, run.settings.precision, run.ranks, run.is_plain, forward)
    run.average.update(run.model)
    run.progress.batch, run.progress.step = run.progress.batch + 1, run.progress.step + 1
    return losses


def forward_of(run: Run, images: torch.Tensor) -> torch.nn.Module:
    """The network; on one GPU its kernels are recorded at the first full batch, for all but the run's last part, unless some are frozen."""
    settings = run.settings
    one_shape = settings.device == "cuda" and run.ranks.count == 1 and not settings.multi_scale
    if not one_shape or len(images) < settings.batch_size or run.scheme.freezes or run.is_plain:
        return run.model
    if run.recorded is None:
        precision = PRECISIONS[settings.precision] if settings.precision != "fp32" else None
        run.recorded = Learning(run.model, images.contiguous(memory_format=torch.channels_last), precision)
    return run.recorded


def average_model(model: AstroYOLO, average: Average) -> AstroYOLO:
    """A copy of the network with the averaged weights, in evaluation mode, where the network is."""
    copy = AstroYOLO(model.size)
    copy.load_state_dict(average.values)
    return copy.to(next(model.parameters()).device, memory_format=torch.channels_last).eval()


def finish_epoch(run: Run, row: dict) -> None:
    """results.csv, curves, weights and checkpoint after an epoch, by the leading process."""
    progress = run.progress
    progress.epoch, progress.phase, progress.batch = progress.epoch + 1, 0, 0
    if run.ranks.leads:
        final = average_model(run.model, run.average)
        row = row | validate(final, run.held_out) | (detection_scores(final, run.held_out) if run.seen else {})
        save(final, run.card, run.folder / "last.safetensors")
        progress.since_best += 1
        if row["validation"] < progress.best:
            progress.best, progress.since_best = row["validation"], 0
            save(final, run.card, run.folder / "best.safetensors")
        append_row(run.folder / "results.csv", row)
        if run.seen:
            draw_curves(run.folder / "results.csv", run.folder / "curves.png")
        run.checkpoint()
        run.watch.epoch(row)
    progress.since_best = run.ranks.leaders(progress.since_best)


def finish(run: Run) -> None:
    """The calibrated weights, and the report on what was held out."""
    run.watch.line(f"calibrating on {judged_on(run.held_out)}")
    final = average_model(run.model, run.average)
    scores = scores_of_card(validate(final, run.held_out), run.held_out)
    card = replace(run.card, calibration=calibrate(final, run.held_out), scores=scores)
    save(final, card, run.folder / "last.safetensors")
    if run.seen:
        report_on_held_out(final, card, run.held_out, run.folder / "held_out")


def append_row(path: Path, row: dict) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow(row)
        file.flush()
        os.fsync(file.fileno())  # before the checkpoint, which says that the epoch is done


def keep_rows(path: Path, epochs: int) -> None:
    """Without epochs that were finished after the last checkpoint and will be trained again."""
    if path.exists():
        lines = path.read_text().splitlines(keepends=True)
        kept = [line for line in lines[1:] if line[:1].isdigit() and int(line.split(",")[0]) < epochs]
        write_text_whole(path, "".join(lines[:1] + kept))


def card_of(settings: Settings, data: Data, size: str) -> Card:
    priors = {"star": data.fields.star_fraction()} if data.fields else {}
    priors |= {"disk": 0.5} if data.cutouts else {}  # cutouts are drawn balanced
    training = {
        "version": __version__,
        "scheme": settings.scheme,
        "seed": settings.seed,
        "epochs": settings.epochs,
        "samples": settings.samples,
    }
    return Card(size=size, priors=priors, training=training)
