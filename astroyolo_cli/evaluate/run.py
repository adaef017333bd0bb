"""The order of an evaluation: truth, then each tool's catalogs, then the scores of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .. import __version__
from .average_precision import IOUS, MAX_DETS, coco_evaluator
from .catalogs import named_tools
from .fields import LOWEST, network_catalogs, score_fields
from .plots import new_figure
from .truth import true_fields

SCHEMA = 1  # of scores.json


def evaluate(
    *, sg: Path | None, ds: Path | None, catalogs: tuple[str, ...], weights: str, network: bool, min_score: float, radius: float,
    limit: int | None, seed: int, tile: int | None, overlap: int, max_det: int, views: int, device: str, engine: str,
    track: Callable[[str, int], Callable[[], None]], tell: Callable[[str], None] = lambda line: None,
) -> dict:  # fmt: skip
    """All scores, as scores.json holds them: ``fields`` and ``cutouts``, by tool; ``about`` says of what, ``tell`` what was left out."""
    new_figure(1)  # what is not installed is said before the work
    rng = np.random.default_rng(seed)
    asked = {"min_score": min_score, "radius": radius, "seed": seed, "views": views, "tile": tile, "lowest_score": LOWEST}
    scores = {"schema": SCHEMA, "version": __version__, "settings": asked | {"iou": list(IOUS), "max_dets": MAX_DETS}, "about": {}}
    opened = open_network(weights, engine, device) if network else None
    if sg:
        coco_evaluator()
        fields = true_fields(sg, tell)[:limit]
        truths = [field.read_truth() for field in fields]
        tools = named_tools(catalogs, [truth.name for truth in truths], taken=[Path(weights).stem] if opened else [])
        if opened:
            found = network_catalogs(fields, opened, network_settings(tile, overlap, max_det, views), track("fields", len(fields)))
            tools = {Path(weights).stem: found} | tools
        scores["about"] |= about_fields(sg, truths)
        scores["fields"] = {name: score_fields(truths, found, min_score, radius, rng) for name, found in tools.items()}
    if ds and opened:
        scores |= cutout_scores(ds, opened, weights, min_score, limit, rng, track, tell, scores["about"])
    scores["about"] |= about_network(weights, opened)
    return scores


def open_network(weights: str, engine: str, device: str):
    from ..model.checkpoint import locate
    from ..model.engine import open_engine

    return open_engine(locate(weights), engine, device)


def network_settings(tile: int | None, overlap: int, max_det: int, views: int):
    from ..pipeline import DetectSettings

    return DetectSettings(tile=tile, overlap=overlap, min_score=LOWEST, max_det=max_det, views=views)


def about_fields(sg: Path, truths: list) -> dict[str, str]:
    n, ignored = sum(len(t) for t in truths), sum(int(t.ignore.sum()) for t in truths)
    galaxies = sum(int((t.is_galaxy & ~t.ignore).sum()) for t in truths)
    counts = f"{n - ignored} sources ({galaxies} galaxies), {ignored} ignored"
    return {"fields": f"{len(truths)} of {sg.name}", "true sources": counts}


def cutout_scores(ds, opened, weights, min_score, limit, rng, track, tell, about) -> dict:
    from ..classify import SHOWN
    from ..train.cutouts import labelled_images
    from ..train.formats_votes import VOTE_THRESHOLD
    from .cutouts import BATCH, opinions, score_cutouts

    images = labelled_images(ds, VOTE_THRESHOLD, tell)
    images = [images[i] for i in np.sort(rng.permutation(len(images))[:limit])]
    files, is_disk = [image.path for image in images], np.array([image.label == 1 for image in images])
    said = opinions(files, opened, track("pictures", -(-len(files) // BATCH)))
    about |= {"pictures": f"{len(files)} of {ds.name}, {int(is_disk.sum())} disks, shown {SHOWN} pixels wide"}
    return {"cutouts": {Path(weights).stem: score_cutouts(said, is_disk, min_score, rng)}}


def about_network(weights: str, opened) -> dict[str, str]:
    made = {"AstroYOLO": __version__}
    if opened is None:
        return made
    from ..checksums import checksum
    from ..model.checkpoint import locate

    return {"network": f"{Path(weights).name} (size {opened.card.size}, sha256 {checksum(locate(weights))[:12]})"} | made
