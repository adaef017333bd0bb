"""The embedded weights on real survey frames, against sep and the survey's own star list."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from scipy.spatial import cKDTree

from astroyolo_cli.inputs import resolve
from astroyolo_cli.model.checkpoint import locate
from astroyolo_cli.model.engine import TorchEngine
from astroyolo_cli.pipeline import DetectSettings, detect
from astroyolo_cli.read import read_field
from conftest import make_frame

sep = pytest.importorskip("sep")


@pytest.fixture(scope="module")
def engine():
    return TorchEngine(locate("nano"), "cpu")


@pytest.fixture
def decals(survey_data):
    return read_field(resolve([str(survey_data / "decals/set_0")])[0])


def places(catalog) -> np.ndarray:
    return np.stack([catalog["x"], catalog["y"]], 1)


def part_within(a: np.ndarray, b: np.ndarray, radius: float) -> float:
    """Part of the places a that have one of b within ``radius`` pixels."""
    return float((cKDTree(b).query(a)[0] <= radius).mean())


def sep_places(image: np.ndarray, sigma: float) -> np.ndarray:
    image = np.ascontiguousarray(image)
    sky = sep.Background(image)
    found = sep.extract(image - sky.back(), sigma, err=sky.globalrms)
    return np.stack([found["x"], found["y"]], 1)


def changed(frame, change):
    """The frame with every band's pixels changed, positions in pixels alone."""
    return make_frame({band: change(counts) for band, counts in frame.counts.items()}, reference=frame.reference)


def test_what_sep_sees_at_three_sigma_is_found(decals, engine):
    catalog = detect(decals, engine).catalog
    assert part_within(sep_places(decals.counts["r"] + decals.counts["z"], 3.0), places(catalog), 3) >= 0.9


def test_positions_agree_with_the_wcs(decals, engine):
    catalog = detect(decals, engine).catalog
    ra, dec = decals.wcs.all_pix2world(catalog["x"], catalog["y"], 0)
    np.testing.assert_allclose(catalog["ra"], ra, atol=1e-9)
    np.testing.assert_allclose(catalog["dec"], dec, atol=1e-9)


def test_unit_and_zero_level_change_fluxes_alone(decals, engine):
    first = detect(changed(decals, lambda c: c), engine).catalog
    second = detect(changed(decals, lambda c: 3.7 * c.astype(np.float64) + 100), engine).catalog
    assert len(second) == pytest.approx(len(first), rel=0.01)
    sure = first[first["score"] > 0.35]
    distance, nearest = cKDTree(places(second)).query(places(sure))
    assert np.mean(distance < 0.1) >= 0.99
    assert np.mean(sure["class"] == second["class"][nearest]) >= 0.99
    bright = np.asarray(sure["snr"] > 10)
    ratio = second["flux"][nearest][bright] / (3.7 * sure["flux"][bright])  # float32 rounds the raised frame to 4e-4 of its noise
    assert np.mean(np.abs(ratio - 1) < 0.01) >= 0.98 and np.abs(ratio - 1).max() < 0.05


def test_turned_by_180_degrees_the_same_sources_recur(decals, engine):
    first = detect(changed(decals, lambda c: c), engine).catalog
    turned = detect(changed(decals, lambda c: c[::-1, ::-1].copy()), engine).catalog
    height, width = decals.shape
    back = np.array([width - 1, height - 1]) - places(turned)
    assert part_within(places(first[first["score"] > 0.5]), back, 0.5) >= 0.98


def test_threads_and_batches_change_nothing(survey_data, engine):
    import torch

    frame = read_field(resolve([str(survey_data / "sdss/001043-5-0025/frame-r-001043-5-0025.fits.fz")])[0])
    frame = replace(
        frame, counts={b: c[:900, :1000] for b, c in frame.counts.items()}, bad={b: c[:900, :1000] for b, c in frame.bad.items()}
    )
    threads, catalogs = torch.get_num_threads(), []
    for number, batch in ((1, 1), (2, 4), (2, 9)):
        torch.set_num_threads(number)
        catalogs.append(detect(frame, engine, DetectSettings(batch=batch)).catalog)
        assert (np.diff(catalogs[-1]["score"]) <= 0).all()
        catalogs[-1].sort("x")  # scores that are equal to the last digits may change places
    torch.set_num_threads(threads)
    for other in catalogs[1:]:
        assert len(other) == len(catalogs[0])
        np.testing.assert_allclose(other["x"], catalogs[0]["x"], atol=1e-3)
        np.testing.assert_allclose(other["score"], catalogs[0]["score"], atol=1e-4)


def test_listed_stars_of_an_sdss_frame_are_found_and_called_stars(survey_data, engine):
    folder = survey_data / "sdss/004510-4-0030"
    frame = read_field(resolve([str(folder / "frame-{band}-*.fits.bz2")], ["i", "r", "g"])[0])
    catalog = detect(frame, engine).catalog
    listed = fits.getdata(folder / "calibObj-004510-4-star.fits.gz")
    x, y = frame.wcs.world_to_pixel(SkyCoord(listed["RA"], listed["DEC"], unit="deg"))
    inside = (x > 5) & (x < frame.shape[1] - 6) & (y > 5) & (y < frame.shape[0] - 6)
    x, y = x[inside], y[inside]
    light = np.nan_to_num(frame.counts["r"])
    noise = 1.4826 * np.median(np.abs(light - np.median(light)))
    flux, error, _ = sep.sum_circle(light, x, y, 3.0, err=noise)
    bright = flux / error > 30
    distance, nearest = cKDTree(places(catalog)).query(np.stack([x, y], 1)[bright])
    found = distance < 3
    assert bright.sum() > 40 and found.mean() >= 0.9
    assert (catalog["class"][nearest][found] == "star").mean() >= 0.9
