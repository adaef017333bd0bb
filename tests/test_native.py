"""Bands on pixels of their own: apertures against photutils, colours against the sky that was drawn."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from photutils.aperture import CircularAperture, SkyCircularAperture, SkyEllipticalAperture, aperture_photometry
from scipy.ndimage import gaussian_filter

from astroyolo_cli import scene
from astroyolo_cli.align import PixelMap, pixel_places
from astroyolo_cli.columns import SATURATED
from astroyolo_cli.detections import Detections, concatenate
from astroyolo_cli.measure import measure
from astroyolo_cli.native import moved_boxes, native_light
from astroyolo_cli.photometry import Moffat, apertures, circles
from astroyolo_cli.profiles import blurred_part
from astroyolo_cli.read import Plane, assemble
from astroyolo_cli.sections import Rows
from astroyolo_cli.stamps import Light
from astroyolo_cli.stretch import Background, backgrounds, signal
from conftest import star, tan_wcs

REFERENCE, SCALE = tan_wcs(100, 100), 0.3  # arcsec a pixel
APART = np.array([30.0, 0.0])
OTHERS = {
    "finer, turned": (tan_wcs(240, 245, scale=0.2, angle=40), (490, 480)),
    "coarser": (tan_wcs(80, 75, scale=0.5, angle=-15), (150, 160)),
    "oblong": (tan_wcs(120, 170, angle=10), (340, 240)),
}
OTHERS["oblong"][0].wcs.cd = OTHERS["oblong"][0].wcs.cd @ np.diag([1.0, 0.7])


def places_on_grid(spacing=28.0, seed=0) -> np.ndarray:
    """Apart from each other, on the reference's 200 x 200 pixels."""
    along = np.arange(spacing / 2 + 4, 196, spacing)
    places = np.stack(np.meshgrid(along, along), -1).reshape(-1, 2)
    return places + np.random.default_rng(seed).uniform(-2, 2, places.shape)


def detections(places, half, p_galaxy=0.1) -> Detections:
    n = len(places)
    score, galaxy, disk = (np.full(n, value, np.float32) for value in (0.9, p_galaxy, 0.9))
    return Detections(np.concatenate([places - half, places + half], 1).astype(np.float32), score, galaxy, disk, np.zeros(n, bool))


def two_bands(r, g, other, **cards):
    """A frame of r, and of g on other pixels."""
    planes = {}
    for band, counts, wcs in (("r", r, REFERENCE), ("g", g, other)):
        planes[band] = Plane(np.asarray(counts, np.float32), wcs.to_header())
        planes[band].header.update(MAGZERO=25.0, **(cards if band == "g" else {}))
    return assemble(planes, "r", ("r.fits", "g.fits"))


def drawn_stars(shape, wcs, places, fluxes, fwhm):
    """Gaussian stars, ``fwhm`` in pixels, at places of the reference."""
    there = pixel_places(REFERENCE, wcs, *places.T).T
    return sum(star(shape, x, y, fwhm, flux) for (x, y), flux in zip(there, fluxes))


@pytest.mark.parametrize("name", OTHERS)
def test_places_and_their_derivatives_are_those_of_the_wcs(name):
    wcs, _ = OTHERS[name]
    grid, place = PixelMap(REFERENCE, wcs, (200, 200)), np.random.default_rng(0).uniform(-5, 204, (50, 2))
    there, derivatives = grid.at(place)
    np.testing.assert_allclose(there, pixel_places(REFERENCE, wcs, *place.T).T, atol=1e-3)
    for axis, step in enumerate(np.eye(2) * 0.5):
        ahead, behind = (pixel_places(REFERENCE, wcs, *(place + sign * step).T).T for sign in (1, -1))
        np.testing.assert_allclose(derivatives[:, :, axis], ahead - behind, atol=1e-4)


@pytest.mark.parametrize("name", OTHERS)
def test_apertures_are_those_of_photutils_on_the_bands_own_pixels(name):
    """``to_pixel`` of photutils takes the mean scale of the pixels: oblong ones are left to the area."""
    wcs, shape = OTHERS[name]
    rng, places = np.random.default_rng(1), places_on_grid()
    image = gaussian_filter(rng.normal(0, 1, shape), 1.5) * 20 + 40
    nobody = Light(np.zeros((200, 200), np.float32), np.ones((200, 200), np.float32), np.full((200, 200), -1, np.int32))
    flat = Background(np.zeros((1, 1)), np.ones((1, 1)), shape)
    light = native_light(image.astype(np.float32), flat, PixelMap(REFERENCE, wcs, (200, 200)), nobody, slice(0, 200), slice(0, 200))
    rows, n = np.full(len(places), -1), len(places)
    a, b, theta = np.full(n, 7.0), np.full(n, 4.0), rng.uniform(-1.5, 1.5, n)
    round_ = circles(light, rows, places, 6.0)
    small, large, _ = apertures(light, rows, places, 6.0, a, b, theta)
    np.testing.assert_allclose(small.flux, round_.flux, rtol=1e-4)
    area = abs(np.linalg.det(wcs.wcs.cd)) / (SCALE / 3600) ** 2
    np.testing.assert_allclose(round_.area, np.pi * 36 / area, rtol=3e-3)
    np.testing.assert_allclose(large.area, np.pi * 28 / area, rtol=3e-3)
    if name == "oblong":
        return
    sky = SkyCoord(*REFERENCE.all_pix2world(*places.T, 0), unit="deg")
    theirs = aperture_photometry(image, SkyCircularAperture(sky, 6 * SCALE * u.arcsec), wcs=wcs, method="exact")["aperture_sum"]
    np.testing.assert_allclose(round_.flux, theirs, rtol=3e-3)
    for i in range(n):  # on the sky angles count from the north to the east, and x grows to the west
        ellipse = SkyEllipticalAperture(sky[i], 7 * SCALE * u.arcsec, 4 * SCALE * u.arcsec, theta=(theta[i] - np.pi / 2) * u.rad)
        sum_ = aperture_photometry(image, ellipse, wcs=wcs, method="exact")["aperture_sum"][0]
        assert large.flux[i] == pytest.approx(sum_, rel=3e-3)


def test_boxes_are_moved_with_what_they_frame():
    wcs, _ = OTHERS["finer, turned"]
    grid, angle = PixelMap(REFERENCE, wcs, (200, 200)), np.linspace(0, 2 * np.pi, 400)
    edge = np.stack([60 + 12 * np.cos(angle), 80 + 5 * np.sin(angle)], 1)
    x, y = pixel_places(REFERENCE, wcs, *edge.T)
    box = moved_boxes(grid, np.array([[48.0, 75, 72, 85]]))[0]
    np.testing.assert_allclose(box, [x.min(), y.min(), x.max(), y.max()], atol=0.01)


@pytest.mark.parametrize("name, seeing", [("finer, turned", 0.9), ("coarser", 1.9), ("oblong", 1.2)])
def test_colours_of_stars(name, seeing):
    """g is sharper or less sharp than r, of 1.2 arcsec, and half as bright."""
    wcs, shape = OTHERS[name]
    places, scale = places_on_grid(), np.sqrt(abs(np.linalg.det(wcs.wcs.cd))) * 3600
    flux = 10 ** np.random.default_rng(3).uniform(3.3, 4.3, len(places))
    off, pulls = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        r = drawn_stars((200, 200), REFERENCE, places, flux, 1.2 / SCALE) + rng.normal(7, 1, (200, 200))
        g = drawn_stars(shape, wcs, places, flux / 2, seeing / scale) + rng.normal(-3, 0.5, shape)
        frame = two_bands(r, g, wcs)
        catalog = measure(frame, detections(places, 8), backgrounds(frame))
        off.append(catalog["mag_g"] - catalog["mag_r"] - 2.5 * np.log10(2))
        pulls.append((catalog["flux_g"] - flux / 2) / catalog["flux_err_g"])
    assert abs(np.median(off)) < 0.01 and np.std(off) < 0.03
    assert 0.4 < np.std(pulls) < 1.6


@pytest.mark.parametrize("name, seeing", [("finer, turned", 0.9), ("coarser", 1.9)])
def test_colours_of_galaxies(name, seeing):
    galsim = pytest.importorskip("galsim")
    wcs, shape = OTHERS[name]
    places, rng, bands = places_on_grid(60), np.random.default_rng(5), {}
    for band, grid, size, fwhm, flux, noise in (("r", REFERENCE, (200, 200), 1.2, 2e4, 1.0), ("g", wcs, shape, seeing, 1e4, 0.5)):
        image = galsim.ImageD(galsim.BoundsI(0, size[1] - 1, 0, size[0] - 1))
        there = pixel_places(REFERENCE, grid, *places.T).T
        local = galsim.JacobianWCS(*(grid.wcs.cd * [[-3600], [3600]]).ravel())
        for i, (x, y) in enumerate(there):
            light = galsim.Exponential(half_light_radius=0.5 + 0.1 * i).shear(q=0.4 + 0.06 * i, beta=i * galsim.radians)
            seen = galsim.Convolve(light, galsim.Moffat(3, fwhm=fwhm)).withFlux(flux)
            stamp = seen.drawImage(galsim.ImageD(galsim.BoundsI(int(x) - 80, int(x) + 80, int(y) - 80, int(y) + 80)), wcs=local,
                                   center=galsim.PositionD(x, y))  # fmt: skip
            shared = stamp.bounds & image.bounds
            image[shared] += stamp[shared]
        for x, y in pixel_places(REFERENCE, grid, *(places + APART).T).T:  # stars, which tell the seeing
            image += galsim.Moffat(3, fwhm=fwhm).withFlux(flux).drawImage(image.copy(), wcs=local, center=galsim.PositionD(x, y))
        bands[band] = image.array + rng.normal(0, noise, image.array.shape)
    frame = two_bands(bands["r"], bands["g"], wcs)
    both = [detections(places, 7, 0.9), detections(places + APART, 7)]
    found = concatenate(both)
    catalog = measure(frame, found, backgrounds(frame))
    off = np.asarray(catalog["mag_g"] - catalog["mag_r"]) - 2.5 * np.log10(2)
    assert abs(np.median(off[: len(places)])) < 0.012 and np.abs(off[: len(places)]).max() < 0.05


def test_a_neighbour_and_the_users_mask_hold_on_the_bands_own_pixels():
    wcs, shape = OTHERS["finer, turned"]
    places = np.array([[80.0, 90], [96, 90], [140, 140]])
    flux = np.full(3, 3000.0)
    r, g = drawn_stars((200, 200), REFERENCE, places, flux, 4), drawn_stars(shape, wcs, places, flux, 6)
    r, g = (image + np.random.default_rng(1).normal(0, 0.3, image.shape) for image in (r, g))
    frame, found = two_bands(r, g, wcs), detections(places, 7)
    plain = measure(frame, found, backgrounds(frame))
    np.testing.assert_allclose(plain["flux_g"], 3000, rtol=0.06)
    masked = np.zeros((200, 200), bool)
    masked[141:144, 141:144] = True
    x, y = np.rint(pixel_places(REFERENCE, wcs, 142, 142)).astype(int)
    g[y - 1 : y + 2, x - 1 : x + 2] = 500
    frame = two_bands(r, g, wcs)
    counts = {band: np.where(masked, np.nan, c).astype(np.float32) for band, c in frame.counts.items()}
    frame = replace(frame, counts=counts, survey_mask=masked)
    assert measure(frame, found, backgrounds(frame))["flux_g"][2] == pytest.approx(3000, rel=0.1)


def test_a_band_that_does_not_reach_a_source_says_nothing_of_it():
    wcs, shape = OTHERS["coarser"][0], (150, 70)
    places = places_on_grid()
    r, g = drawn_stars((200, 200), REFERENCE, places, np.full(len(places), 3000.0), 4), drawn_stars(shape, wcs, places, [3000.0] * 49, 3)
    frame = two_bands(r + np.random.default_rng(0).normal(0, 1, r.shape), g + np.random.default_rng(1).normal(0, 1, shape), wcs)
    catalog = measure(frame, detections(places, 8), backgrounds(frame))
    x = pixel_places(REFERENCE, wcs, *places.T)[0]
    far, near = x > 82, x < 60
    assert far.any() and catalog["flux_g"].mask[far].all() and catalog["flux_err_g"].mask[far].all() and catalog["mag_g"].mask[far].all()
    assert not catalog["flux_g"].mask[near].any() and np.isfinite(catalog["flux"]).all()


@pytest.mark.parametrize("name", ["finer, turned", "coarser"])
def test_saturation_on_other_pixels_is_seen(name):
    wcs, shape = OTHERS[name]
    places = places_on_grid()
    g = drawn_stars(shape, wcs, places, np.where(np.arange(49) == 24, 3e5, 3000), 5)
    r = drawn_stars((200, 200), REFERENCE, places, np.full(49, 3000.0), 4)
    rng = np.random.default_rng(0)
    frame = two_bands(r + rng.normal(0, 1, r.shape), np.minimum(g, 2000) + rng.normal(0, 0.1, shape), wcs, SATURATE=2000.0 - 0.5)
    flags = measure(frame, detections(places, 8), backgrounds(frame))["flags"]
    assert np.flatnonzero(flags & SATURATED).tolist() == [24]


@pytest.mark.parametrize("name", OTHERS)
def test_the_network_sees_every_band_over_its_own_noise(name):
    """White noise of 1 on the band's own pixels: over its noise it has a deviation of 1, but for what interpolation averages."""
    wcs, shape = OTHERS[name]
    rng = np.random.default_rng(3)
    frame = two_bands(rng.normal(0, 1, (200, 200)), rng.normal(0, 1, shape), wcs)
    sky = backgrounds(frame)
    assert 0.6 < np.std(signal(frame.counts["g"], sky["g"])) < 1.1
    assert np.std(signal(frame.counts["r"], sky["r"])) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("name, in_parts", [("finer, turned", False), ("finer, turned", True), ("coarser", True)])
def test_blocks_and_the_whole_frame_measure_alike(name, in_parts, monkeypatch):
    wcs, shape = OTHERS[name]
    monkeypatch.setattr(scene, "MARGIN", 40)
    places, rng = places_on_grid(22), np.random.default_rng(2)
    flux = 10 ** rng.uniform(3, 4.5, len(places))
    r = drawn_stars((200, 200), REFERENCE, places, flux, 4) + rng.normal(0, 1, (200, 200))
    g = drawn_stars(shape, wcs, places, flux, 5) + rng.normal(0, 1, shape)
    frame = two_bands(r, g, wcs)
    found = detections(places, 8, 0.3)
    whole = measure(frame, found, backgrounds(frame))
    monkeypatch.setattr(scene, "MOST_WHOLE", 90_000)
    assert len(scene.blocks_of((200, 200), 2.36, 90_000)) > 3
    if in_parts:
        monkeypatch.setattr(scene, "MOST", 90_000)
        planes = {"r": frame.counts["r"], "g": frame.counts["g"], "native": frame.native["g"]}
        rows = {name: Rows(plane.shape, lambda part, plane=plane: plane[part]) for name, plane in planes.items()}
        frame = replace(frame, counts={band: rows[band] for band in "rg"}, native={"g": rows["native"]})
    parts = measure(frame, found, backgrounds(frame))
    assert whole.meta["noise_scale"] == parts.meta["noise_scale"]
    for column in ("flux", "flux_g", "flux_err_g", "x", "r50", "flags"):
        np.testing.assert_allclose(np.asarray(parts[column]), np.asarray(whole[column]), rtol=1e-4, err_msg=column)


@pytest.mark.parametrize("index", [1.0, 2.0])
def test_a_blurred_galaxy_is_its_profile_convolved(index):
    galsim = pytest.importorskip("galsim")
    radius, scale = np.array([1.0, 2, 4, 8]), 0.1
    for half_light, beta in ((1.5, 3.0), (4.0, 4.5)):
        seen = galsim.Convolve(galsim.Sersic(index, half_light_radius=half_light), galsim.Moffat(beta, fwhm=2.0))
        image = seen.drawImage(nx=801, ny=801, scale=scale, method="no_pixel").array
        truth = [CircularAperture((400, 400), r / scale).do_photometry(image)[0][0] for r in radius]
        np.testing.assert_allclose(blurred_part(radius, np.full(4, half_light), index, 2.0, beta), truth, atol=4e-3)


def test_a_point_that_is_blurred_is_a_star():
    radius = np.geomspace(1, 20, 9)
    for beta in (1.6, 2.0, 3.5, 10.0, 30.0):
        np.testing.assert_allclose(blurred_part(radius, np.full(9, 1e-3), 1.0, 4.0, beta), Moffat(4.0, beta).part_within(radius), atol=3e-3)
