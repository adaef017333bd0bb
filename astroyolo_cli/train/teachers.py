"""Trained networks that complete the labels of the other data set: each image of a batch then teaches every head.

Soft targets with confidences for weights, and a band of doubt that teaches nothing, after MuST (Ghiasi et al. 2021,
arXiv:2108.11353) and Xu et al. (2021, arXiv:2110.07757).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from ..detections import Detections
from ..errors import WeightsError
from ..model.assign import Targets
from ..model.checkpoint import load, locate
from ..model.decoding import by_image, decoded
from ..model.losses import Truth
from .batches import Batch

SURE = 0.6  # score from which a teacher's detection is a source
DOUBTFUL = 0.1  # score below which it is sky; between the two nothing is taught
MOST_BOXES = 1000


@dataclass(frozen=True)
class Teachers:
    """Networks in evaluation mode, None for what no teacher knows.

    Attributes:
        fields: knows detection and star/galaxy; completes images of D_ds.
        cutouts: knows smooth/disk; completes images of D_sg.
    """

    fields: torch.nn.Module | None = None
    cutouts: torch.nn.Module | None = None

    @classmethod
    def from_files(cls, names: tuple[str, ...], device: str = "cpu") -> Teachers:
        """Weight files; each teaches what it was trained on, of two that know the same the later one.

        Raises:
            WeightsError: for a file that does not say what it was trained on.
        """
        known = {}
        for name in names:
            model, card = load(locate(name))
            model = model.to(device, memory_format=torch.channels_last)
            subjects = {subject: model for subject, label in (("fields", "star"), ("cutouts", "disk")) if label in card.priors}
            if not subjects:
                raise WeightsError(f"{name}: as a teacher it must state what it was trained on; use a file that train has made")
            known |= subjects
        return cls(**known)

    @torch.no_grad()
    def complete(self, batch: Batch) -> Batch:
        """The batch with the missing labels of its images filled in."""
        truth = batch.truth
        images = batch.images.contiguous(memory_format=torch.channels_last)
        without = (~truth.has_sources).nonzero().flatten()
        if self.fields is not None and len(without):
            truth = with_sources(truth, without, self.outputs(self.fields, images[without]), batch.images.shape[-2:])
        if self.cutouts is not None and batch.truth.has_sources.any():
            p_disk = self.outputs(self.cutouts, images)["smooth_disk"].softmax(-1)[..., 1]
            truth = replace(truth, taught_disk=p_disk * batch.truth.has_sources[:, None] + 0.5 * ~batch.truth.has_sources[:, None])
        return replace(batch, truth=truth)

    @staticmethod
    def outputs(model, images: torch.Tensor) -> dict[str, torch.Tensor]:
        with torch.autocast(images.device.type, torch.bfloat16):
            outputs = model(images)
        return {head: output.float() for head, output in outputs.items()}


def with_sources(truth: Truth, images: torch.Tensor, outputs: dict[str, torch.Tensor], size: tuple[int, int]) -> Truth:
    """What a teacher finds in images without labelled sources becomes sources (if it is sure) or ignored (if in doubt).

    Args:
        images: (k,) int64, numbers of the images in the batch.
        outputs: the teacher's, raw, of these images.
    """
    arrays = {head: output.cpu().numpy() for head, output in outputs.items()}
    found = by_image(decoded(arrays, tuple(size), DOUBTFUL, MOST_BOXES, {}), len(images))
    sure = targets_of(images, [one.take(one.score >= SURE) for one in found])
    doubtful = targets_of(images, [one.take(one.score < SURE) for one in found])
    has_sources = truth.has_sources.clone()
    has_sources[images] = True
    return replace(truth, sources=joined(truth.sources, sure), ignored=joined(truth.ignored, doubtful), has_sources=has_sources)


def targets_of(images: torch.Tensor, found: list[Detections]) -> Targets:
    """Detections as targets that weigh their score; their class is p_galaxy."""
    device = images.device

    def tensor(values: list[np.ndarray], shape: tuple[int, ...]) -> torch.Tensor:
        return torch.from_numpy(np.concatenate(values).reshape(shape).astype(np.float32)).to(device)

    p_galaxy = tensor([one.p_galaxy for one in found], (-1,))
    return Targets(
        images.repeat_interleave(torch.tensor([len(one.score) for one in found], device=device)),
        tensor([one.xyxy for one in found], (-1, 4)) + 0.5,
        (p_galaxy > 0.5).long(),
        p_galaxy,
        tensor([one.score for one in found], (-1,)),
    )


def joined(first: Targets, second: Targets) -> Targets:
    """Both, with the weights and probabilities of both."""
    pairs = (
        (first.image, second.image),
        (first.boxes, second.boxes),
        (first.labels, second.labels),
        (first.class_probabilities()[:, 1], second.class_probabilities()[:, 1]),
        (first.weights(), second.weights()),
    )
    return Targets(*(torch.cat(pair) for pair in pairs))
