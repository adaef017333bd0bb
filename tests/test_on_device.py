"""The way of a GPU, taken on PyTorch's CPU, beside the way of the processor."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from astroyolo_cli.consensus import consensus
from astroyolo_cli.detections import Detections, concatenate, distinct, fade_overlapping, join_concentric
from astroyolo_cli.model.checkpoint import locate
from astroyolo_cli.model.decoding import by_image, strongest
from astroyolo_cli.model.engine import TorchEngine
from astroyolo_cli.model.network import AstroYOLO
from astroyolo_cli.model.on_device import Learning, batches, recorded
from astroyolo_cli.pipeline import DetectSettings, detect, fill_tile
from astroyolo_cli.stretch import Stretch, backgrounds
from astroyolo_cli.tile import tiles
from conftest import make_frame, star, tan_wcs

CPU = torch.device("cpu")
PLACE, SCORE = 0.01, 1e-3  # pixels, and probabilities
LIGHT = 4e-6  # of an RGB of 0 to 1: the sky is interpolated in float32


def sky_of_stars(shape: tuple[int, int], bands: str, seed: int = 0):
    """Noise on a sky that slopes, with stars in all bands, and a bad column."""
    rng = np.random.default_rng(seed)
    light = sum(star(shape, rng.uniform(0, shape[1]), rng.uniform(0, shape[0]), 3.5, flux) for flux in np.geomspace(200, 20_000, 40))
    slope = 900 + np.linspace(0, 30, shape[1])
    counts = {band: slope + light + rng.normal(0, 2 + number, shape) for number, band in enumerate(bands)}
    counts[bands[0]][5:20, 30] = np.nan
    return make_frame(counts, wcs=tan_wcs())


FRAMES = {
    "plain": ((256, 448), "r"),
    "three bands": ((256, 256), "zrg"),
    "ragged": ((243, 397), "r"),
    "less than a tile": ((90, 301), "zr"),
}


@pytest.mark.parametrize("shape, bands", FRAMES.values(), ids=FRAMES)
def test_tiles_are_those_of_the_processor(shape, bands):
    frame, side = sky_of_stars(shape, bands), 192
    background, stretch = backgrounds(frame), Stretch()
    all_tiles = tiles(shape, side, 64)
    groups = [all_tiles[first : first + 3] for first in range(0, len(all_tiles), 3)]
    made = list(batches(frame, background, groups, side, stretch, CPU))
    assert {batch.shape for batch in made} == {(len(groups[0]), 3, side, side)}
    for tile, image in zip(all_tiles, torch.cat(made).numpy()):
        expected = np.empty((3, side, side), np.float32)
        fill_tile(expected, frame, background, tile, stretch)
        np.testing.assert_allclose(image, expected, atol=LIGHT)


def test_pictures_are_shown_as_they_are():
    rng = np.random.default_rng(1)
    picture = make_frame({band: rng.random((100, 250)) for band in "RGB"}, stretched=True)
    background, all_tiles, expected = backgrounds(picture), tiles((100, 250), 128, 32), np.empty((3, 128, 128), np.float32)
    (made,) = batches(picture, background, [all_tiles], 128, Stretch(), CPU)
    for tile, image in zip(all_tiles, made.numpy()):
        fill_tile(expected, picture, background, tile, Stretch())
        np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("shape, bands", FRAMES.values(), ids=FRAMES)
def test_the_catalog_is_that_of_the_processor(shape, bands):
    frame, settings = sky_of_stars(shape, bands), DetectSettings(tile=192, overlap=64, batch=1)
    engine = TorchEngine(locate("nano"), "cpu")
    expected = detect(frame, engine, settings).catalog
    engine.device, engine.batch = CPU, 3
    found = detect(frame, engine, replace(settings, batch=None)).catalog
    found, expected = (table[np.lexsort((table["y"], table["x"]))] for table in (found, expected))
    assert len(found) == len(expected) > 5 and list(found["class"]) == list(expected["class"])
    for name in ("x", "y"):
        np.testing.assert_allclose(found[name], expected[name], atol=PLACE)
    for name in ("xmin", "ymin", "xmax", "ymax"):  # in whole pixels
        np.testing.assert_allclose(found[name], expected[name], atol=1)
    for name in ("score", "p_star", "p_disk"):
        np.testing.assert_allclose(found[name], expected[name], atol=SCORE)


def crowd(seed: int, image: int, n: int = 150) -> Detections:
    """Boxes of which many overlap, some lie wholly in others, and some reach far out of the image."""
    rng = np.random.default_rng(seed)
    center, half = rng.uniform(0, 120, (n, 2)), rng.uniform(2, 12, (n, 2))
    center[: n // 3], half[: n // 3] = center[-(n // 3) :] + 0.3, half[-(n // 3) :] * 1.04
    half[0] = 900
    boxes = np.concatenate([center - half, center + half], 1).astype(np.float32)
    p = rng.random((3, n)).astype(np.float32)
    return Detections(boxes, *p, np.zeros(n, bool), np.full(n, image))


def in_torch(found: Detections) -> Detections:
    return Detections(*(torch.from_numpy(values) for values in vars(found).values()))


def rules(found: Detections) -> Detections:
    return fade_overlapping(join_concentric(distinct(found)))


def test_box_rules_of_a_batch_are_those_of_each_image():
    first = [crowd(number, number) for number in range(3)]
    second = [replace(view, xyxy=view.xyxy + np.float32(0.4), score=view.score[::-1].copy()) for view in first]
    together = consensus(*(rules(in_torch(concatenate(views))) for views in (first, second)))
    for a, b, found in zip(first, second, by_image(together, 3)):
        alone = consensus(*(rules(replace(view, image=None)) for view in (a, b)))
        assert 10 < len(alone) < 0.9 * len(a)
        for name in ("xyxy", "score", "p_galaxy", "p_disk"):
            np.testing.assert_allclose(getattr(found, name), getattr(alone, name), rtol=1e-5, atol=1e-6)


def test_the_best_of_each_image():
    rng = np.random.default_rng(4)
    score, image = rng.random(200).astype(np.float32), rng.integers(0, 4, 200)
    for rows in (strongest(score, image, 20), strongest(torch.from_numpy(score), torch.from_numpy(image), 20).numpy()):
        for number in range(4):
            best = np.sort(score[image == number])[::-1][:20]
            np.testing.assert_array_equal(np.sort(score[rows[image[rows] == number]])[::-1], best)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA")
def test_a_recorded_network_says_the_same():
    engine, images = TorchEngine(locate("nano"), "cuda"), torch.rand(2, 3, 128, 128, device="cuda")
    expected = engine._network(images)
    for batch in (images, images):
        for head, output in recorded(engine._network, images)(batch).items():
            torch.testing.assert_close(output, expected[head])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA")
def test_a_recorded_network_learns_the_same():
    torch.manual_seed(0)
    plain = AstroYOLO("nano-p2").cuda().to(memory_format=torch.channels_last).train()
    copy = deepcopy(plain)
    images = torch.rand(2, 3, 128, 128, device="cuda").contiguous(memory_format=torch.channels_last)
    learning = Learning(copy, images, None)
    copy.load_state_dict(plain.state_dict())  # recording has moved the normalisation's averages
    for batch in (images, torch.rand_like(images)):
        for model, forward in ((plain, plain), (copy, learning)):
            model.zero_grad(set_to_none=True)
            sum((output**2).mean() for output in forward(batch).values()).backward()
        for one, other in zip(plain.parameters(), copy.parameters()):
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-3, atol=1e-6)
