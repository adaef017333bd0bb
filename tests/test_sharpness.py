"""How wide the stars of a frame are before anything is found, and the frame shown enlarged for it."""

import numpy as np
import pytest
import torch

from astroyolo_cli.enlarge import enlarged, step_of
from astroyolo_cli.pipeline import detect
from astroyolo_cli.settings import ZOOMS, DetectSettings
from astroyolo_cli.sharpness import BLOCK, BLOCKS, sections, shown_enlarged, star_fwhm
from astroyolo_cli.stretch import backgrounds
from conftest import FakeEngine, make_frame, star


def sky(fwhm, shape=(300, 360), number=40, seed=0, profile=star, **rest):
    rng = np.random.default_rng(seed)
    image = rng.normal(1000, 3, shape)
    for x, y, flux in zip(rng.uniform(20, shape[1] - 20, number), rng.uniform(20, shape[0] - 20, number), np.geomspace(3e3, 3e5, number)):
        image += profile(shape, x, y, fwhm, flux)
    return make_frame({"r": image}, **rest)


def moffat(shape, x, y, fwhm, flux, beta=3.0):
    """Sampled where the pixels' middles are."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    core = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    return flux * (beta - 1) / (np.pi * core**2) * (1 + ((columns - x) ** 2 + (rows - y) ** 2) / core**2) ** -beta


def fwhm_of(frame):
    return star_fwhm(frame, backgrounds(frame)["r"])


@pytest.mark.parametrize("fwhm", [1.9, 2.5, 3.5, 5.0, 8.0])
def test_gaussian_stars_are_as_wide_as_they_are(fwhm):
    """Integrated over pixels a Gaussian is wider by a twelfth of a pixel in the variance."""
    seen = np.hypot(fwhm, 2.3548 / np.sqrt(12))
    assert fwhm_of(sky(fwhm)) == pytest.approx(seen, rel=0.08)


@pytest.mark.parametrize("fwhm", [2.5, 4.0, 6.0])
def test_of_other_profiles_a_tenth_less(fwhm):
    """Around its peak a Moffat profile is narrower than the Gaussian of its FWHM."""
    assert 0.8 * fwhm < fwhm_of(sky(fwhm, profile=moffat)) < 1.05 * fwhm


def test_galaxies_and_cosmic_rays_do_not_count():
    frame = sky(4.0)
    rng, counts = np.random.default_rng(1), frame.counts["r"]
    for x, y in rng.integers(20, 280, (30, 2)):
        counts[y, x] += 5000
        counts[y + 40 - 20, x : x + 4] += 3000  # and trails
    for x, y in rng.uniform(20, 280, (25, 2)):
        counts += star(counts.shape, x, y, 11.0, 3e5).astype(np.float32)
    assert fwhm_of(frame) == pytest.approx(4.0, rel=0.15)


def test_saturated_stars_do_not_count():
    frame = sky(3.0, saturation={"r": 6000.0})
    np.minimum(frame.counts["r"], 6000, out=frame.counts["r"])
    assert fwhm_of(frame) == pytest.approx(np.hypot(3.0, 0.68), rel=0.1)


@pytest.mark.parametrize("frame", [sky(2.0, number=3), make_frame({"r": np.full((50, 50), np.nan)})], ids=["few stars", "nothing"])
def test_without_stars_nothing_is_known_and_nothing_enlarged(frame):
    background = backgrounds(sky(2.0))
    assert np.isnan(star_fwhm(frame, background["r"])) and shown_enlarged(frame, background) == 1


def test_sharp_frames_are_enlarged_and_pictures_not():
    zooms = {fwhm: shown_enlarged(sky(fwhm), backgrounds(sky(fwhm))) for fwhm in (2.0, 3.0, 4.5)}
    assert zooms == {2.0: 1.5, 3.0: 1.25, 4.5: 1.0}
    assert shown_enlarged(sky(1.5, stretched=True), {}) == 1.0


@pytest.mark.parametrize("shape", [(100, 2000), (5000, 60_000), (300, 9000)])
def test_of_large_frames_parts_are_looked_at(shape):
    parts = sections(shape)
    assert all(0 <= part.start < part.stop <= n for pair in parts for part, n in zip(pair, shape))
    assert sum((y.stop - y.start) * (x.stop - x.start) for y, x in parts) <= (BLOCK * BLOCKS) ** 2
    assert min(y.start for y, _ in parts) == min(x.start for _, x in parts) == 0
    assert max(y.stop for y, _ in parts) == shape[0] and max(x.stop for _, x in parts) == shape[1]


@pytest.mark.parametrize("zoom", ZOOMS)
def test_enlarging_keeps_places(zoom):
    """A smooth picture, larger: its values at the middles of the new pixels, which lie evenly over the old ones."""
    side = step_of(zoom)
    place = np.arange(side) + 0.5

    def at(y, x):
        return 0.5 + 0.4 * np.sin(y[:, None] / 9) * np.cos(x[None, :] / 7)

    images = np.stack([[at(place, place + shift) for shift in (0, 3, 6)]]).astype(np.float32)
    larger = enlarged(images, zoom)
    new = (np.arange(round(side * zoom)) + 0.5) / zoom
    expected = np.stack([[at(new, new + shift) for shift in (0, 3, 6)]])
    assert larger.shape == (1, 3, round(side * zoom), round(side * zoom)) and larger.shape[-1] % 32 == 0
    assert larger[..., 3:-3, 3:-3] == pytest.approx(expected[..., 3:-3, 3:-3], abs=0.002)
    np.testing.assert_allclose(enlarged(torch.from_numpy(images), zoom).numpy(), larger, atol=2e-5)


def test_boxes_are_in_the_pixels_of_the_frame():
    """The network names a box in the image it sees, 1.25 times as large."""
    frame = sky(3.0, (512, 512), number=60)
    frame.counts["r"][:] += star((512, 512), 201, 101, 3.0, 5e4).astype(np.float32)
    native = np.array([196, 96, 206, 106])
    engine = FakeEngine([tuple((native + 0.5) * 1.25 - 0.5)])
    result = detect(frame, engine, DetectSettings(views=1)).catalog
    assert engine.shapes == [(1, 3, 640, 640)] and result.meta["provenance"]["zoom"] == 1.25
    assert [result[name][0] for name in ("xmin", "ymin", "xmax", "ymax")] == pytest.approx(native, abs=0.51)
    assert result["x"][0] == pytest.approx(201, abs=0.05) and result["y"][0] == pytest.approx(101, abs=0.05)


def test_the_zoom_that_is_asked_for_is_taken():
    frame, engine = sky(2.6, (300, 300)), FakeEngine()
    assert detect(frame, engine, DetectSettings(zoom=1.0, views=1)).catalog.meta["provenance"]["zoom"] == 1
    assert detect(frame, engine, DetectSettings(zoom=2.0, views=1, tile=96, overlap=32)).catalog.meta["provenance"]["tile"] == 96
    assert detect(frame, engine, DetectSettings(zoom=1.5, views=1, tile=96, overlap=32)).catalog.meta["provenance"]["tile"] == 128
    assert {shape[-1] for shape in engine.shapes} == {512, 192}
