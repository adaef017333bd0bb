"""Samples to batches, made ahead in threads or processes; each sample's randomness depends on seed, epoch and place alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..model.assign import Targets
from ..model.losses import Truth
from ..stretch import Stretch
from .augment import USUAL, Chances, field_sample, pictured
from .canvases import canvas_sample
from .cutouts import Cutouts
from .exposure import Exposure, exposed
from .fields import LARGEST, Fields
from .processes import each_done
from .ranks import ALONE, Ranks
from .samples import Sample
from .schemes import Phase

THREADS = 2  # that make batches ahead where no processes do


@dataclass(frozen=True)
class Data:
    """The two data sets (None where the scheme needs only the other), the rows that may be drawn, and how they are shown.

    Attributes:
        soft: votes are soft labels.
        chances: of augmentations of fields.
        native: cutouts are shown at the survey's own pixel scale.
        also_trained: of held-out data, which of "fields" and "cutouts" are trained on as well, too few to hold any out.
    """

    fields: Fields | None
    cutouts: Cutouts | None
    field_rows: list[int]
    cutout_rows: list[int]
    stretch: Stretch
    soft: bool = False
    chances: Chances = USUAL
    native: bool = False
    also_trained: tuple[str, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Images and what is known of them.

    Attributes:
        images: (B, 3, 512, 512) float32, in [0, 1] unless there are exposures; float16 from another process.
        truth: what is known of them.
        names: of the fields and cutouts in each image.
        exposures: one an image, None where it is a picture already; () where all are.
    """

    images: torch.Tensor
    truth: Truth
    names: tuple[tuple[str, ...], ...] = ()
    exposures: tuple[Exposure | None, ...] = ()

    def pin_memory(self) -> Batch:
        """With its pixels where a GPU fetches them without waiting; PyTorch's loader calls it."""
        return replace(self, images=self.images.pin_memory())


def with_pictures(batch: Batch) -> Batch:
    """Its exposures made, where its images are."""
    images = batch.images.float()
    if not batch.exposures:
        return replace(batch, images=images)
    shown = [image if exposure is None else exposed(image, exposure) for image, exposure in zip(images, batch.exposures)]
    return replace(batch, images=torch.stack(shown), exposures=())


def collate(samples: list[Sample]) -> Batch:
    """Ragged targets: no image has a limit. Boxes move to the network's pixels, counted from the corner."""

    def gather(boxes_of, labels_of) -> Targets:
        boxes = [boxes_of(s) for s in samples]
        image = np.repeat(np.arange(len(samples)), [len(b) for b in boxes])
        labels = np.concatenate([labels_of(s) for s in samples])
        return Targets(torch.from_numpy(image), torch.from_numpy(np.concatenate(boxes) + np.float32(0.5)), torch.from_numpy(labels))

    def with_votes(targets: Targets) -> Targets:
        votes = [s.labels.astype(np.float32) if s.p_second is None else s.p_second for s in samples if not s.is_field]
        return replace(targets, p_second=torch.from_numpy(np.concatenate(votes))) if votes else targets

    none = np.zeros((0, 4), np.float32)
    no_label = np.zeros(0, np.int64)
    truth = Truth(
        sources=gather(lambda s: s.boxes if s.is_field else none, lambda s: s.labels if s.is_field else no_label),
        ignored=gather(lambda s: s.ignored, lambda s: np.zeros(len(s.ignored), np.int64)),
        central=with_votes(gather(lambda s: none if s.is_field else s.boxes, lambda s: no_label if s.is_field else s.labels)),
        has_sources=torch.tensor([s.is_field for s in samples]),
    )
    exposures = tuple(s.exposure for s in samples)
    images = torch.from_numpy(np.stack([s.image for s in samples]))
    return Batch(images, truth, tuple(s.names for s in samples), exposures if any(exposures) else ())


def kinds_of_phase(phase: Phase, samples: int) -> list[bool]:
    """For each image of a phase whether it is a field; both kinds evenly spread, so that each batch holds both."""
    n_sg, n_ds = round(phase.sg * samples), round(phase.ds * samples)
    position = np.concatenate([(np.arange(n) + 0.5) / max(n, 1) for n in (n_sg, n_ds)])
    is_field = np.arange(n_sg + n_ds) < n_sg
    return is_field[np.argsort(position, kind="stable")].tolist()


def make_sample(data: Data, is_field: bool, key: tuple[int, ...]) -> Sample:
    """One augmented training image; ``key`` (seed, epoch, phase, place) alone decides which."""
    rng = np.random.default_rng(key)
    if is_field:

        def draw():
            return data.fields[data.field_rows[rng.integers(len(data.field_rows))]]

        return field_sample(draw(), data.stretch, rng, data.chances, draw() if data.chances.injection or data.chances.mixup else None)
    return canvas_sample(lambda r: balanced_cutout(data, r), data.stretch, rng, soft=data.soft, native=data.native)


def balanced_cutout(data: Data, rng: np.random.Generator):
    """Smooth and disk with equal chances, whatever the set's proportions; the rows must hold both (``Cutouts.check_classes``)."""
    wanted = rng.integers(2)
    while True:
        cutout = data.cutouts[data.cutout_rows[rng.integers(len(data.cutout_rows))]]
        if cutout.label == wanted:
            return cutout


def groups_of_phase(phase: Phase, samples: int, batch_size: int, ranks: Ranks = ALONE) -> list[list[tuple[int, bool]]]:
    """The batches of a phase, of each this process's part: the image's place and whether it is a field.

    Of several processes each has a part of every batch; a last batch with fewer images than processes is left out.
    """
    kinds = kinds_of_phase(phase, samples)
    whole = [range(i, min(i + batch_size, len(kinds))) for i in range(0, len(kinds), batch_size)]
    return [[(place, kinds[place]) for place in ranks.share(group)] for group in whole if len(group) >= ranks.count]


def batches(data: Data, groups: list[list[tuple[int, bool]]], key: tuple[int, ...], workers: int = 0) -> Iterator[Batch]:
    """The batches of ``groups``, made ahead in the background.

    Args:
        workers: processes that make them, in float16 and with exposures left to make; 0 for two threads of this one, with pictures.
    """

    def samples(number: int) -> list[Sample]:
        return [make_sample(data, is_field, (*key, place)) for place, is_field in groups[number]]

    def unexposed(number: int) -> Batch:
        batch = collate(samples(number))
        return replace(batch, images=batch.images.clamp_(-LARGEST, LARGEST).half())

    def shown(number: int) -> Batch:
        return collate([pictured(sample) for sample in samples(number)])

    if workers:
        return each_done(unexposed, len(groups), workers, pinned=torch.cuda.is_available())
    return made_by_threads(shown, len(groups))


def made_by_threads(make: Callable[[int], Batch], count: int) -> Iterator[Batch]:
    with ThreadPoolExecutor(THREADS) as pool:
        ahead = [pool.submit(make, number) for number in range(min(THREADS + 1, count))]
        for number in range(count):
            batch = ahead.pop(0).result()
            if number + THREADS + 1 < count:
                ahead.append(pool.submit(make, number + THREADS + 1))
            yield batch
