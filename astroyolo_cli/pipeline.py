"""The order of the steps: read, stretch, tile, network, merge, measure. The only module that knows it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from . import __version__
from .boxes import with_shared_size
from .checksums import checksum
from .detections import Detections, concatenate, with_prior
from .errors import WeightsError
from .frame import Frame
from .model.engine import USUAL_BATCH, Engine
from .pyramid import with_large_galaxies
from .remote import RemotePath
from .settings import DEFAULT, DetectSettings
from .sharpness import shown_enlarged
from .stretch import COARSE, Background, Stretch, backgrounds, empty_sky, section_rgb
from .threads import spread
from .tile import Tile, keep_core, merge_seams, tiles


@dataclass(frozen=True)
class Result:
    """A frame's catalog (astropy Table), the sky and noise found, and the seconds that each step took."""

    catalog: object
    background: dict[str, Background]
    seconds: dict[str, float] = field(default_factory=dict)


def detect(
    frame: Frame, engine: Engine, settings: DetectSettings = DEFAULT, threads: int = 0, background: dict[str, Background] | None = None
) -> Result:
    """Find, classify and measure every source of a frame.

    Args:
        threads: that stretch and measure; 0 for as many as there are processors.
        background: band -> sky and noise, where they are known already.

    Raises:
        InputError: for a frame without signal.
    """
    from .doubt import doubted
    from .measure import flag_untrained_fwhm, measure
    from .morphology import believe_shapes_alone

    began = time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        sums = pool.submit(checksums_of_inputs, frame)  # reads all files once more
        background = background or backgrounds(frame, threads)
        settings = settings if settings.zoom else replace(settings, zoom=shown_enlarged(frame, background))
        stretched = time.perf_counter()
        found = reweighted(find(frame, background, engine, settings), engine.card.priors, settings.prior_star)
        inferred = time.perf_counter()
        catalog = doubted(measure(frame, found, background, threads=threads), settings.min_score)
    believe_shapes_alone(catalog, engine.card.priors.get("disk", 0.5))
    flag_untrained_fwhm(catalog, *(width / settings.zoom for width in engine.card.fwhm_range))
    catalog.meta["provenance"] = provenance(frame, engine, settings, sums.result())
    done = time.perf_counter()
    return Result(catalog, background, {"stretch": stretched - began, "network": inferred - stretched, "measure": done - inferred})


def find(frame: Frame, background: dict[str, Background], engine: Engine, settings: DetectSettings) -> Detections:
    """All sources of a frame, highest score first; boxes in frame pixels. Only detections outlive their tile."""
    settings = settings.for_frame(frame.shape, getattr(engine, "batch", USUAL_BATCH))
    all_tiles = tiles(frame.shape, settings.tile, settings.overlap)
    groups = [all_tiles[first : first + settings.batch] for first in range(0, len(all_tiles), settings.batch)]
    look_at = find_on_device if getattr(engine, "device", None) else find_in_lanes
    parts = [part for group in look_at(frame, background, groups, engine, settings) for part in group]
    numbers = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    found = with_shared_size(merge_seams(concatenate(parts), numbers), frame.shape)

    if min(frame.shape) < COARSE:  # too narrow for any block of the binned frame
        return found

    def look_again(images: np.ndarray) -> Detections:
        return next(detections_above(engine, images, replace(settings, zoom=1.0)))

    return with_large_galaxies(found, frame, background, look_again, engine.card.stretch)


def reweighted(found: Detections, priors: dict[str, float], prior_star: float | None) -> Detections:
    """Star and galaxy under the user's prior.

    Raises:
        WeightsError: if the weight file does not say which prior its probabilities assume.
    """
    if prior_star is None:
        return found
    if not 0 < priors.get("star", 0) < 1:
        raise WeightsError("--prior-star: the weight file does not say which prior its probabilities assume; leave the option out")
    return replace(found, p_galaxy=with_prior(found.p_galaxy, 1 - priors["star"], 1 - prior_star).astype(np.float32))


def find_in_lanes(frame, background, groups: list[list[Tile]], engine: Engine, settings: DetectSettings) -> list[list[Detections]]:
    """The detections that belong to each tile, in frame pixels; as many groups at once as the engine has lanes.

    Of fewer groups, two views of one take two of its lanes.
    """
    lanes = getattr(engine, "lanes", 1)
    views_lanes = lanes if len(groups) < lanes else 1

    def look(group: list[Tile]) -> list[Detections]:
        images = np.empty((len(group), 3, settings.tile, settings.tile), np.float32)
        for tile, image in zip(group, images):
            fill_tile(image, frame, background, tile, engine.card.stretch)
        return found_in(frame, group, images, engine, settings, views_lanes)

    return spread(look, groups, lanes if views_lanes == 1 else 1, fewest=2)


def find_on_device(frame, background, groups: list[list[Tile]], engine: Engine, settings: DetectSettings) -> list[list[Detections]]:
    """The same with tiles that are made and looked at where the network runs."""
    from .model.on_device import batches

    made = batches(frame, background, groups, settings.tile, engine.card.stretch, engine.device)
    return [found_in(frame, group, images, engine, settings) for group, images in zip(groups, made)]


def found_in(frame: Frame, group: list[Tile], images, engine: Engine, settings: DetectSettings, lanes: int = 1) -> list[Detections]:
    """The detections of each image that belong to its tile, in frame pixels."""
    return [
        keep_core(inside_frame(sure.shifted(tile.x, tile.y), frame.shape), tile)
        for tile, sure in zip(group, detections_above(engine, images, settings, lanes))
    ]


def detections_above(engine: Engine, images, settings: DetectSettings, lanes: int = 1) -> Iterator[Detections]:
    """The calibrated detections of each image, of the least score that counts and more."""
    from .model.decoding import calibrated, detections_of_images, least_raw_score

    calibration = engine.card.calibration
    least = least_raw_score(calibration, settings.min_score, settings.views)
    for found in detections_of_images(engine, images, least, settings.max_det, settings.views, lanes, settings.zoom):
        yield calibrated(found, calibration, settings.min_score)


def inside_frame(found: Detections, shape: tuple[int, int]) -> Detections:
    """Boxes cut at the frame's edges; those wholly outside, in the padding of a small frame, are dropped."""
    height, width = shape
    xyxy = np.clip(found.xyxy, -0.5, np.array([width, height, width, height], np.float32) - 0.5)
    kept = (xyxy[:, 2] - xyxy[:, 0] > 0.5) & (xyxy[:, 3] - xyxy[:, 1] > 0.5)
    return Detections(xyxy, found.score, found.p_galaxy, found.p_disk, found.on_seam).take(kept)


def fill_tile(image: np.ndarray, frame: Frame, background, tile: Tile, stretch: Stretch) -> None:
    """``image`` (3, side, side) becomes the RGB of a tile; what lies beyond the frame is empty sky."""
    side = image.shape[-1]
    height, width = min(frame.shape[0] - tile.y, side), min(frame.shape[1] - tile.x, side)
    rgb = section_rgb(frame, background, stretch, *tile.section(side), into=image[:, :height, :width])
    if height < side or width < side:
        sky = empty_sky(frame, rgb, stretch)[:, None, None]
        image[:, height:], image[:, :, width:] = sky, sky


def checksums_of_inputs(frame: Frame) -> dict[str, str]:
    """File name -> checksum of all that the frame was read from."""
    return {path.name: checksum_of_input(path, frame) for path in frame.sources}


def provenance(frame: Frame, engine: Engine, settings: DetectSettings, inputs: dict[str, str]) -> dict[str, object]:
    """What made the catalog, for its header.

    Args:
        inputs: name -> checksum of the files.
    """
    stretch = engine.card.stretch
    stated = {} if settings.prior_star is None else {"prior_star": settings.prior_star}
    stated |= {} if frame.part is None else {"region": frame.part.region}
    return {
        "version": __version__,
        "inputs": inputs,
        "bands": ",".join(frame.bands),
        "reference_band": frame.reference,
        "stretch": "picture" if frame.stretched else f"Lupton minimum={stretch.minimum:g} stretch={stretch.stretch:g} Q={stretch.Q:g}",
        "engine": getattr(engine, "name", "other"),
        "tile": settings.for_frame(frame.shape).tile,
        "overlap": settings.overlap,
        "min_score": settings.min_score,
        "max_det": settings.max_det,
        "views": settings.views,
        "zoom": settings.zoom,
    } | stated


def checksum_of_input(path, frame: Frame) -> str:
    """ "" where the whole file is not at hand: a region of it was read, or it is far away."""
    return "" if frame.part or isinstance(path, RemotePath) else checksum(path)
