"""What a run consists of and how it is written to disk, so that it can go on where it stopped."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from ..errors import OutputError, WeightsError, reason_of
from ..model.network import AstroYOLO
from ..whole import sync_file, sync_folder, write_text_whole


@dataclass(frozen=True)
class Settings:
    """Everything that decides a run; saved as RUN/settings.json.

    Attributes:
        sg: folders of D_sg, joined; () where unused.
        ds: folder of D_ds, "" where unused.
        scheme: a name of ``schemes.SCHEMES``.
        size: of the network, nano to x.
        epochs: passes of ``samples`` images a set.
        batch_size: images a step, over all processes; 0 for what fits the GPU.
        samples: images drawn from each set in an epoch.
        lr: peak learning rate for ``batch_size`` images.
        optimizer: "adamw" or "sgd".
        weight_decay: on convolution weights alone.
        seed: of everything random.
        hours: stop (and stay resumable) after so long; None for no limit.
        patience: stop after so many epochs without a better validation; None for never.
        vote_threshold: galaxies of a table of votes are left out where neither class has this part of them.
        soft_votes: learn the parts of the votes, not the class that has more of them.
        native_scale: show the cutouts of a table with Petrosian radii at the survey's own pixel scale.
        augment: augmentation -> how often it is applied; what is not named is as usual.
        teachers: weight files that complete the labels of the other set.
        device: "auto", "cpu", "cuda" or "mps".
        precision: of the forward pass, "bf16", "fp16" or "fp32"; losses are in float32 in any case.
        multi_scale: another side of the images in every batch, 384 to 640 pixels.
        workers: processes that make batches; 0 for threads of this one.
        budget: hours within which the run ends, its learning rate falling with the time; None: steps alone decide.
        keep_statistics: normalise by the means and variances of the weights that the run starts from, throughout.
    """

    sg: tuple[str, ...]
    ds: str
    scheme: str = "iterative"
    size: str = "nano"
    epochs: int = 100
    samples: int = 1000
    batch_size: int = 8
    lr: float = 1e-3
    optimizer: str = "adamw"
    weight_decay: float = 0.05
    seed: int = 0
    hours: float | None = None
    patience: int | None = None
    vote_threshold: float = 0.5
    soft_votes: bool = False
    native_scale: bool = False
    augment: dict[str, float] = field(default_factory=dict)
    teachers: tuple[str, ...] = ()
    device: str = "auto"
    precision: str = "bf16"
    multi_scale: bool = False
    workers: int = 0
    budget: float | None = None
    keep_statistics: bool = False


class Average:
    """Exponential moving average of all floating-point state, slow at the end, quick at the start (YOLOX)."""

    def __init__(self, model: AstroYOLO, decay: float = 0.9995, settle: float = 1000.0):
        self.values = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self.steps, self.decay, self.settle = 0, decay, settle

    @torch.no_grad()
    def update(self, model: AstroYOLO) -> None:
        self.steps += 1
        keep = self.decay * (1 - math.exp(-self.steps / self.settle))
        state = model.state_dict()
        moving = [name for name, value in state.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.values[name] for name in moving], [state[name] for name in moving], 1 - keep)
        for name in state.keys() - set(moving):
            self.values[name].copy_(state[name])


@dataclass
class Progress:
    """Where a run stands: the next batch is ``batch`` of ``phase`` of ``epoch``; ``step`` counts all; epochs ``since_best``.

    ``seconds`` were spent before it was last opened.
    """

    epoch: int = 0
    phase: int = 0
    batch: int = 0
    step: int = 0
    best: float = math.inf
    since_best: int = 0
    seconds: float = 0.0


def previous(path: Path) -> Path:
    """Where the checkpoint before ``path`` is kept."""
    return path.with_name(f"{path.stem}-previous{path.suffix}")


def save_checkpoint(path: Path, model, average: Average, optimizer, scaler, progress: Progress) -> None:
    """Tensors and plain numbers only; the file appears whole or not at all, and the one before it is kept."""
    partial = path.with_name(path.name + ".partial")
    state = {
        "model": model.state_dict(),
        "average": average.values,
        "average_steps": average.steps,
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
        "progress": asdict(progress),
    }
    try:
        torch.save(state, partial)
        sync_file(partial)
        if path.exists():
            keep_previous(path)
        partial.replace(path)
        sync_folder(path.absolute().parent)
    except (OSError, RuntimeError) as error:  # PyTorch reports a full disk as a RuntimeError
        partial.unlink(missing_ok=True)
        kept = f"; the last good one stays: {path.name}" if path.exists() else ""
        raise OutputError(f"{path}: cannot be written ({reason_of(error)}){kept}; free space and go on with --resume") from error


def keep_previous(path: Path) -> None:
    """``path`` under a second name, so that there is never a moment without it; moved where the system knows no links."""
    previous(path).unlink(missing_ok=True)
    try:
        os.link(path, previous(path))
    except OSError:
        path.replace(previous(path))


def load_checkpoint(path: Path, model, average: Average, optimizer, scaler) -> Progress:
    """Raises WeightsError when the checkpoint is cut short or of another network."""
    saved = read_checkpoint(path)
    try:
        model.load_state_dict(saved["model"])
        average.values = {k: v.to(average.values[k].device) for k, v in saved["average"].items()}
        average.steps = saved["average_steps"]
        optimizer.load_state_dict(saved["optimizer"])
        scaler.load_state_dict(saved["scaler"])
        return Progress(**saved["progress"])
    except Exception as error:  # names, shapes and kinds that differ are said by many kinds
        remedy = f"repeat the run's own command, with its --size{saved_size(path.parent)} and --weights, and --resume"
        raise WeightsError(f"{path}: of another network than these settings make; {remedy}") from error


def read_checkpoint(path: Path) -> dict:
    """What ``save_checkpoint`` wrote; raises WeightsError when it is cut short or missing."""
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # PyTorch's unpickler raises whatever the bytes make it stumble over
        remedy = f"move {previous(path).name} to its place" if previous(path).exists() else "start anew without --resume"
        raise WeightsError(f"{path}: not a readable checkpoint ({reason_of(error)}); {remedy}") from error


def saved_size(run: Path) -> str:
    """The network's size as the run's settings say it, to be put into a sentence; "" where they do not."""
    try:
        return f" ({json.loads((run / 'settings.json').read_text(encoding='utf-8'))['size']} in {run / 'settings.json'})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def save_settings(settings: Settings, run: Path) -> None:
    write_text_whole(run / "settings.json", json.dumps(asdict(settings), indent=2) + "\n")
