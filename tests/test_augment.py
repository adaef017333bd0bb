"""Augmentations of fields and cutouts against analytic Gaussians and hand-made scenes."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from astroyolo_cli.cli.train import AUGMENTATIONS
from astroyolo_cli.stretch import Stretch, lupton_rgb
from astroyolo_cli.train.augment import (
    Chances,
    Scene,
    blurred,
    field_sample,
    joint_light,
    mixed,
    pictured,
    rendered,
    slope,
    unit_noise,
    zoomed,
)
from astroyolo_cli.train.canvases import as_observed, at_native_scale, canvas_sample, mosaic_cells, stretched
from astroyolo_cli.train.exposure import Exposure, exposed
from astroyolo_cli.train.formats_votes import native_scale
from astroyolo_cli.train.optimise import fitting_batch
from astroyolo_cli.train.samples import Cutout, Field

SIDE = 512


def gaussian(x, y, sigma, peak):
    yy, xx = np.mgrid[:SIDE, :SIDE]
    return (peak * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * sigma**2))).astype(np.float32)


def half_width(sigma, is_star):
    return sigma * np.sqrt(2 * np.log(200 if is_star else 12.5))


def scene(x=250.0, y=260.0, sigma=2.0, label=0, noise=1.0, seed=0, peak=4000.0):
    """One Gaussian in each band, with the box that D_sg's rule gives it."""
    half = half_width(sigma, label == 0)
    light = gaussian(x, y, sigma, peak) + np.random.default_rng(seed).normal(0, noise, (3, SIDE, SIDE)).astype(np.float32)
    box = np.array([[x - half, y - half, x + half, y + half]], np.float32)
    return Scene(light, box, np.array([label]), np.array([False]), np.full((1, 3), 100, np.float32), np.array([False]))


def moments(image):
    """x, y and sigma of what is far above the noise."""
    light = np.where(image > 0.02 * image.max(), image, 0)
    yy, xx = np.mgrid[:SIDE, :SIDE]
    x, y = (light * xx).sum() / light.sum(), (light * yy).sum() / light.sum()
    return x, y, np.sqrt((light * ((xx - x) ** 2 + (yy - y) ** 2)).sum() / light.sum() / 2)


def middle(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def brightest(image, box):
    """x, y of the brightest pixel in a box."""
    x0, y0, x1, y1 = box.astype(int)
    y, x = np.unravel_index(image[y0 : y1 + 1, x0 : x1 + 1].argmax(), (y1 + 1 - y0, x1 + 1 - x0))
    return np.array([x0 + x, y0 + y])


@pytest.mark.parametrize("factor", [1.0, 1.25, 1.6])
def test_a_zoomed_star_stays_in_the_middle_of_its_box_and_grows_with_it(factor):
    before = scene()
    after = zoomed(before, factor, np.random.default_rng(1))
    x, y, sigma = moments(after.signals[1])
    _, _, sigma_before = moments(before.signals[1])
    assert (x, y) == pytest.approx(middle(after.boxes[0]), abs=0.05)
    assert sigma == pytest.approx(factor * sigma_before, rel=0.06)  # linear interpolation blurs a little
    assert after.boxes[0, 2] - after.boxes[0, 0] == pytest.approx(factor * (before.boxes[0, 2] - before.boxes[0, 0]), rel=0.005)


@pytest.mark.parametrize("label", [0, 1])
def test_a_blurred_source_has_the_box_of_the_wider_gaussian(label):
    after = blurred(scene(label=label), 1.5)
    wider = half_width(np.hypot(2.0, 1.5), label == 0)
    np.testing.assert_allclose(after.boxes[0], [250 - wider, 260 - wider, 250 + wider, 260 + wider], atol=0.01)
    assert moments(after.signals[0])[2] == pytest.approx(moments(gaussian(250, 260, np.hypot(2.0, 1.5), 1))[2], rel=0.03)


def test_noise_is_brought_back_to_one():
    for changed in (blurred(scene(), 1.0), zoomed(scene(), 1.5, np.random.default_rng(0))):
        corner = changed.signals[:, :100, :100]
        assert corner.std() == pytest.approx(1, rel=0.05)
    assert (unit_noise(np.full((1, 4, 4), 7.0)) == 7).all()  # no noise, nothing to bring back


def test_joint_light_adds_fluxes_and_the_variances_of_the_noise():
    one, other = scene(seed=1), scene(x=100.0, y=90.0, label=1, seed=2)
    both = joint_light(one, other)
    np.testing.assert_allclose(both.signals, (one.signals + other.signals) / np.sqrt(2), rtol=1e-5)
    assert both.signals[:, 300:, 300:].std() == pytest.approx(1, rel=0.02)
    assert both.labels.tolist() == [0, 1] and both.snr == pytest.approx(100 / np.sqrt(2))


def test_a_slope_is_a_plane():
    rng = np.random.default_rng(3)
    flat = scene(noise=0.0, peak=0.0)
    plane = slope(flat, rng, Chances(gradient=1.0)).signals
    assert 0.5 < np.ptp(plane) < 12
    for band in plane:  # the second differences of a plane vanish
        assert np.abs(np.diff(band, 2, axis=0)).max() < 1e-4 and np.abs(np.diff(band, 2, axis=1)).max() < 1e-4
    assert slope(flat, rng, Chances()) is flat


def field(scene, name):
    return Field(scene.signals.astype(np.float16), scene.boxes, scene.labels, scene.ignore, scene.snr, name)


def test_injected_and_mixed_samples_hold_the_sources_of_both():
    one, other = field(scene(), "one"), field(scene(x=100.0, y=90.0, label=1), "other")
    for chances in (Chances(injection=1.0), Chances(mixup=1.0)):
        sample = field_sample(one, Stretch(), np.random.default_rng(0), chances, other)
        assert sorted(sample.labels.tolist()) == [0, 1] and sample.names == ("one", "other")
    assert len(field_sample(one, Stretch(), np.random.default_rng(0), Chances(), other).boxes) == 1


def test_mixup_halves_the_pictures():
    one, other = (field_sample(field(scene(seed=s), str(s)), Stretch(), None) for s in (1, 2))
    np.testing.assert_allclose(mixed(one, other).image, 0.5 * one.image + 0.5 * other.image, rtol=1e-6)


def test_the_command_names_every_augmentation():
    assert AUGMENTATIONS == tuple(f.name for f in fields(Chances))


def cutout(native):
    rgb = np.full((3, 256, 256), 10, np.uint8)
    rgb[:, 78:178, 103:153] = 200  # 100 high, 50 wide
    return Cutout(rgb, np.array([102.5, 77.5, 152.5, 177.5], np.float32), 1, 1.0, "a galaxy", native)


@pytest.mark.parametrize("native", [0.38, 0.76, 1.3])
def test_at_its_native_scale_a_galaxy_has_the_surveys_pixels(native):
    rgb, box = at_native_scale(cutout(native), 256, np.random.default_rng(0), augment=False)
    assert (box[2] - box[0], box[3] - box[1]) == pytest.approx((50 * native, 100 * native), abs=0.5)
    rows, columns = np.nonzero(rgb[0] > 0.4)
    assert [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5] == pytest.approx(box.tolist(), abs=1.01)
    assert rgb[0, 0, 0] == pytest.approx(10 / 255, abs=0.01)  # sky around, not grey


def test_a_canvas_at_native_scale_holds_four_galaxies():
    sample = canvas_sample(lambda rng: cutout(0.5), Stretch(), np.random.default_rng(0), native=True)
    assert len(sample.boxes) == 4


def test_native_scale_of_galaxy_zoo_pictures():
    scale = native_scale(np.array([5.0, 1.0, np.nan, 8.0]), np.array([12.0, 2.0, 3.0, 10.0]))
    np.testing.assert_allclose(scale, [0.2 / 0.262, 0.1 / 0.262, np.nan, 0.2 / 0.262])


def test_the_batch_that_fits():
    assert fitting_batch(lambda n: 1000 + 300 * n, 1000 + 300 * 37) == 32
    assert fitting_batch(lambda n: 1000 + 300 * n, 1000 + 300 * 3) == 2
    assert fitting_batch(lambda n: 1000 + 300 * n, 10) == 1
    assert fitting_batch(lambda n: 1000 + 300 * n, 1e9) == 64


def test_mosaics_hold_galaxies_of_a_few_pixels_apart_from_each_other():
    rng = np.random.default_rng(0)
    sides = set()
    for _ in range(30):
        cells = mosaic_cells(rng)
        taken = np.zeros((512, 512), int)
        for y, x, side in cells:
            taken[y : y + side, x : x + side] += 1
        assert taken.max() == 1
        for top, left in ((0, 0), (0, 256), (256, 0), (256, 256)):
            assert 1 <= sum(top <= y < top + 256 and left <= x < left + 256 for y, x, _ in cells) <= 16
        sides |= {side for _, _, side in cells}
    assert sides == {16, 32, 64, 128, 256}


def test_a_galaxy_seen_by_a_survey_lies_on_its_noise_and_in_its_box():
    image = np.zeros((3, 64, 64), np.float32)
    image[:, 28:36, 28:36] = 0.7
    stretch, box = Stretch(), np.array([27.5, 27.5, 35.5, 35.5], np.float32)
    signals, wider = as_observed(image, box, np.random.default_rng(1))
    rgb = stretched(signals, stretch, np.random.default_rng(1))
    assert (wider[:2] < box[:2]).all() and (wider[2:] > box[2:]).all()
    sky = lupton_rgb(np.random.default_rng(2).normal(0, 0.95, (3, 64, 64)).astype(np.float32), stretch)
    assert rgb[:, :12].std() == pytest.approx(sky[:, :12].std(), rel=0.1)
    inside = rgb[:, 30:34, 30:34].mean()
    assert inside > sky.mean() + 5 * sky.std() / 4


def test_observed_galaxies_are_from_hardly_seen_to_bright():
    """S/N over all bands 40 and more, the brightest pixels 600 times the noise and less, and everything between, whatever their size."""
    yy, xx = np.mgrid[:128, :128] - 63.5
    image = np.repeat(np.exp(-np.hypot(xx, yy) / 9)[None], 3, 0).astype(np.float32) * 0.9
    box = np.array([40, 40, 87, 87], np.float32)
    seen = [as_observed(image, box, np.random.default_rng(seed))[0] for seed in range(300)]
    total, peak = np.array([np.sqrt((s**2).sum()) for s in seen]), np.array([s.max() for s in seen])
    assert total.min() > 39.9 and peak.max() < 700
    assert (total < 100).mean() > 0.05 and (peak > 200).mean() > 0.05


def test_the_noise_of_a_canvas_is_now_and_then_that_of_an_enlarged_frame():
    """White, or interpolated: then neighbours are alike and the whole is quieter."""
    linear, empty = Stretch(minimum=-100.0, stretch=1e4, Q=1e-3), np.zeros((3, 128, 128), np.float32)
    alike = []
    for seed in range(60):
        noise = stretched(empty, linear, np.random.default_rng(seed))[1]
        noise = noise - noise.mean()
        alike.append((noise[:, 1:] * noise[:, :-1]).mean() / noise.var())
    white = np.abs(alike) < 0.03
    assert 0.4 < white.mean() < 0.8 and np.array(alike)[~white].min() > 0.2


@pytest.mark.parametrize("bands", [(1,), (0, 2), (0, 1, 2)])
def test_an_exposure_is_the_same_with_either_library(bands):
    signals = scene().signals[:, 200:300, 200:300]
    exposure = Exposure(Stretch(), bands=bands, gain=1.1, offset=0.2)
    kept = np.stack([signals[b] for b in bands])
    expected = {1: kept.repeat(3, 0), 2: np.stack([kept[0], kept.mean(0), kept[-1]]), 3: kept}[len(bands)]
    expected = lupton_rgb(expected * 1.1 + 0.2, Stretch())
    np.testing.assert_allclose(exposed(signals, exposure), expected, atol=1e-5)
    np.testing.assert_allclose(exposed(torch.from_numpy(signals.copy()), exposure).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("fwhm, zoom", [(2.4, 1.5), (3.1, 1.25), (4.5, 1.0)])
@pytest.mark.parametrize("seed", [None, 1])
def test_fields_of_sharp_stars_are_learned_as_detection_shows_them(fwhm, zoom, seed):
    """The part that then fills the image, or now and then the field as it is; boxes lie on their stars and have their size."""
    number, random = 60, np.random.default_rng(5)
    stars = [scene(x, y, fwhm / 2.3548, noise=0, peak=60.0) for x, y in random.integers(20, SIDE - 20, (number, 2))]
    light = sum(star.signals for star in stars) + random.normal(0, 1, (3, SIDE, SIDE))
    boxes = np.concatenate([star.boxes for star in stars])
    snr = np.full((number, 3), 99.0, np.float32)
    field = Field(light.astype(np.float16), boxes, np.zeros(number, int), np.zeros(number, bool), snr)
    rng, plain = seed and np.random.default_rng(seed), Chances(depth=0, one_band=0, two_bands=0, stretch=0)
    samples = [pictured(field_sample(field, Stretch(), rng, plain)) for _ in range(8 if seed else 1)]
    zooms = {round(float(np.median(np.ptp(sample.boxes[:, ::2], axis=1) / np.ptp(boxes[0, ::2]))), 2) for sample in samples}
    assert zoom in zooms and zooms <= {1.0, zoom}
    for sample in samples:
        whole = [box for box in sample.boxes if box.min() > 0 and box.max() < SIDE - 1]
        away = [np.hypot(*(brightest(sample.image[1], box) - middle(box))) for box in whole]
        assert len(away) > 15 and np.median(away) < 1


@pytest.mark.parametrize("zoom", [1.25, 1.5])
def test_an_exposure_enlarges_the_corner_of_its_window(zoom):
    """A star at (100, 60) lies, counted from the corner of the first pixel, ``zoom`` times as far from it, and is as much wider."""
    linear = Stretch(minimum=-100.0, stretch=1e4, Q=1e-3)
    signals = np.stack([gaussian(100, 60, 3.0, 1000.0)] * 3)
    _, _, before = moments(signals[1])
    for sky in (signals, torch.from_numpy(signals)):
        picture = np.asarray(exposed(sky, Exposure(linear, zoom=zoom)))
        x, y, sigma = moments(picture[1] - picture[1].min())
        assert picture.shape == signals.shape and sigma == pytest.approx(before * zoom, rel=0.03)
        assert (x + 0.5, y + 0.5) == pytest.approx((zoom * 100.5, zoom * 60.5), rel=2e-3)


def test_a_shallow_exposure_has_the_noise_that_it_says():
    """Noise of sigma 2 on noise of sigma 1, made the unit again: light is 1 / sqrt(5) of what it was; the seed decides."""
    linear = Stretch(minimum=-100.0, stretch=1e4, Q=1e-3)  # a picture that is nearly proportional to the signal
    flat = np.zeros((3, SIDE, SIDE), np.float32)
    for sky in (flat, torch.from_numpy(flat)):
        noisy, other = (np.asarray(exposed(sky, Exposure(linear, noise=2.0, seed=seed))) for seed in (1, 2))
        dark, bright = (float(np.asarray(exposed(sky + level, Exposure(linear)))[0, 0, 0]) for level in (0, 1))
        assert noisy.std() / (bright - dark) == pytest.approx(2 / np.sqrt(5), rel=0.02)
        np.testing.assert_array_equal(noisy, np.asarray(exposed(sky, Exposure(linear, noise=2.0, seed=1))))
        assert not np.array_equal(noisy, other)


def test_a_shallow_exposure_drowns_what_is_faint():
    """A source of S/N 20 in each of three bands: 20 sqrt(3) / sqrt(1 + noise^2), and of one band 20 / sqrt(1 + noise^2)."""
    one = scene()
    one = Scene(one.signals, one.boxes, one.labels, one.ignore, np.full((1, 3), 20, np.float32), one.scattered)
    for noise, bands, counts in ((5.0, (0, 1, 2), True), (6.0, (0, 1, 2), False), (3.0, (1,), True), (4.0, (1,), False)):
        assert len(rendered(one, Exposure(Stretch(), noise, bands=bands), ()).boxes) == counts
