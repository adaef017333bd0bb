"""Sky, noise and stretch against astropy, sep and what was put in."""

import numpy as np
import pytest
from astropy.visualization import make_lupton_rgb

from astroyolo_cli import stretch
from astroyolo_cli.errors import InputError
from astroyolo_cli.stretch import (
    Background,
    Stretch,
    backgrounds,
    block_means,
    estimate_background,
    lupton_rgb,
    sky_and_noise,
    three_channels,
)
from conftest import make_frame


def crowded(shape=(600, 700), sky=40.0, noise=3.0, n=300, seed=0):
    """White noise on a flat sky with Gaussian stars."""
    rng = np.random.default_rng(seed)
    image = rng.normal(sky, noise, shape)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for cx, cy, flux in zip(rng.uniform(0, shape[1], n), rng.uniform(0, shape[0], n), 10 ** rng.uniform(1, 4, n)):
        near = np.s_[max(int(cy) - 20, 0) : int(cy) + 20, max(int(cx) - 20, 0) : int(cx) + 20]
        image[near] += flux / (2 * np.pi * 4) * np.exp(-((x[near] - cx) ** 2 + (y[near] - cy) ** 2) / 8)
    return image.astype(np.float32)


def test_the_rgb_is_astropys():
    signals = np.random.default_rng(0).normal(0, 40, (3, 50, 60)).astype(np.float32)
    stretch = Stretch(-2, 25, 6)
    theirs = make_lupton_rgb(*signals, minimum=-2, stretch=25, Q=6, output_dtype=np.float64)
    np.testing.assert_allclose(lupton_rgb(signals, stretch).transpose(1, 2, 0), theirs, atol=2e-4)


def test_sky_and_noise_of_a_crowded_field():
    background = estimate_background(crowded())
    assert np.abs(background.sky - 40).max() < 0.6  # a fifth of the noise
    assert np.abs(background.noise / 3 - 1).max() < 0.12


def test_sky_agrees_with_sep():
    sep = pytest.importorskip("sep")
    image = crowded(seed=3)
    theirs = sep.Background(image, bw=256, bh=256)
    background = estimate_background(image)
    assert np.median(background.sky) == pytest.approx(theirs.globalback, abs=0.3)
    assert np.median(background.noise) == pytest.approx(theirs.globalrms, rel=0.1)


def test_a_big_galaxy_does_not_raise_the_sky():
    image = np.random.default_rng(0).normal(0, 1, (768, 768))
    y, x = np.mgrid[:768, :768]
    image += 60 * np.exp(-np.hypot(x - 400, y - 380) / 40)
    background = estimate_background(image.astype(np.float32))
    # 95 pixels out the galaxy still has 5.6; a cell's naive median sees it, the mesh must not follow
    assert background.sky[380, 400] < 1.0


def test_a_gradient_is_followed():
    y, x = np.mgrid[:1024, :1024]
    image = np.random.default_rng(0).normal(0, 1, (1024, 1024)) + x / 100
    background = estimate_background(image.astype(np.float32))
    residual = background.sky - x / 100
    assert np.abs(residual[:, 150:-150]).max() < 0.5


@pytest.mark.parametrize("a, b", [(3.7, 100.0), (1e-3, 0.0), (250.0, -7.0)])
def test_the_rgb_does_not_change_with_unit_and_zero_level(a, b):
    image = crowded(n=60)
    first, second = image, (a * image.astype(np.float64) + b).astype(np.float32)
    signals = [(i - bg.sky) / bg.noise for i in (first, second) for bg in [estimate_background(i)]]
    rgb = [lupton_rgb(three_channels([s]), Stretch()) for s in signals]
    np.testing.assert_allclose(rgb[0], rgb[1], atol=2e-3)


def test_noise_of_quantised_counts():
    image = np.round(np.random.default_rng(0).normal(10, 0.6, (300, 300))).astype(np.float32)
    assert estimate_background(image).noise.mean() == pytest.approx(image.std(), rel=0.2)


@pytest.mark.parametrize("noise", [1.5, 2.0, 5.0, 20.0])
def test_rounded_counts_have_the_sky_of_those_that_are_not(noise):
    rng = np.random.default_rng(1)
    for sky in (100.0, 100.2, 100.4, 100.5, 100.6, 100.9):
        pixels = np.concatenate([rng.normal(sky, noise, 60_000), sky + rng.exponential(10 * noise, 3000)])
        exact, rounded = (sky_and_noise(p) for p in (pixels, np.round(pixels)))
        assert rounded[0] == pytest.approx(exact[0], abs=0.03 * noise + 0.02)
        assert rounded[1] == pytest.approx(exact[1], rel=0.07)


def test_noise_that_32_bits_cannot_square_is_refused():
    image = np.random.default_rng(0).normal(0, 1e-25, (100, 100)).astype(np.float32)
    with pytest.raises(InputError, match="multiply the image by a power of ten"):
        backgrounds(make_frame({"r": image}))


def test_sky_of_pure_noise_is_unbiased():
    sky, noise = sky_and_noise(np.random.default_rng(0).normal(5, 2, 200_000))
    assert sky == pytest.approx(5, abs=0.03) and noise == pytest.approx(2, rel=0.03)


def test_bad_pixels_do_not_count():
    image = crowded(n=0)
    image[:, :200] = np.nan
    background = estimate_background(image)
    assert np.isfinite(background.sky).all() and background.noise.mean() == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("image, word", [(np.full((50, 50), np.nan), "no good pixel"), (np.full((50, 50), 7.0), "constant")])
def test_what_has_no_sky_is_refused(image, word):
    with pytest.raises(InputError, match=word):
        estimate_background(image.astype(np.float32))


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (7, 3), (40, 41)])
def test_small_images(shape):
    image = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    if image.size > 1:
        assert (estimate_background(image).noise > 0).all()


@pytest.mark.parametrize("most", [7, 1000, 10**6])
def test_a_sample_is_thinned_evenly(monkeypatch, most):
    """As if all good pixels stood in one row."""
    rng = np.random.default_rng(6)
    sample = rng.normal(0, 1, (1300, 11)).astype(np.float32)
    good = rng.random(sample.shape) < 0.7
    monkeypatch.setattr(stretch, "ENOUGH", most)
    np.testing.assert_array_equal(stretch.thinned(sample, good), sample[good][:: -(-good.sum() // most)])


def test_two_bands_have_their_mean_in_green():
    red, blue = np.ones((2, 2)), np.full((2, 2), 3.0)
    np.testing.assert_array_equal(three_channels([red, blue])[:, 0, 0], [1, 2, 3])


@pytest.mark.parametrize("bad", [0.0, 0.3, 1.0])
def test_block_means_are_those_of_every_fourth_good_pixel(bad):
    rng = np.random.default_rng(1)
    counts = rng.normal(5, 1, (83, 546)).astype(np.float32)  # more rows of blocks than are read at once, and some beyond the last
    counts[rng.uniform(0, 1, counts.shape) < bad] = np.nan
    found = np.concatenate(list(block_means(np.repeat(counts, 8, axis=0))))
    assert found.shape == (83, 68)
    for i, j in ((0, 0), (40, 7), (82, 67)):
        pixels = np.repeat(counts[i : i + 1, 8 * j : 8 * j + 8 : 2], 4, axis=0)
        with np.errstate(invalid="ignore"):
            expected = pixels[np.isfinite(pixels)].mean() if np.isfinite(pixels).any() else np.nan
        np.testing.assert_allclose(found[i, j], expected, rtol=1e-6)


@pytest.mark.parametrize(("cells", "shape"), [((1, 1), (5, 9)), ((3, 5), (300, 410)), ((1, 2), (40, 600))])
def test_single_pixels_of_a_mesh_are_those_of_the_section(cells, shape):
    rng = np.random.default_rng(5)
    mesh = rng.normal(10, 3, cells)
    background = Background(mesh, mesh, shape)
    rows, columns = rng.integers(0, shape[0], 500), rng.integers(0, shape[1], 500)
    whole = background.section(mesh, slice(0, shape[0]), slice(0, shape[1]))
    np.testing.assert_allclose(background.at(mesh, rows, columns), whole[rows, columns], rtol=1e-6)
