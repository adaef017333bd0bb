"""Positions, fluxes and shapes against analytic skies, sep and photutils."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from astroyolo_cli.columns import (
    BAD_PIXELS,
    BLENDED,
    CENTROID_FAILED,
    EDGE,
    FLAGS,
    PHOTOMETRY_FAILED,
    SATURATED,
    SEAM,
    decode_flags,
)
from astroyolo_cli.detections import Detections
from astroyolo_cli.measure import measure
from conftest import make_frame, star, tan_wcs


def detections(boxes, p_galaxy=0.1) -> Detections:
    n = len(boxes)
    fill = np.full(n, 0.5, np.float32)
    return Detections(np.array(boxes, np.float32).reshape(n, 4), fill + 0.4, fill * 0 + np.float32(p_galaxy), fill, np.zeros(n, bool))


def flat(frame, noise=1.0, sky=0.0):
    return {
        b: SimpleNamespace(sky=np.full(frame.shape, sky, np.float32), noise=np.full(frame.shape, noise, np.float32)) for b in frame.bands
    }


def around(places, half):
    return [[x - half, y - half, x + half, y + half] for x, y in places]


def star_field(n=60, flux=5000.0, noise=1.0, fwhm=4.0, seed=0, size=420):
    """Isolated stars on a jittered grid; returns image and true places."""
    rng = np.random.default_rng(seed)
    places = [(x + rng.uniform(-2, 2), y + rng.uniform(-2, 2)) for y in range(30, size - 20, 45) for x in range(30, size - 20, 45)][:n]
    image = sum(star((size, size), x, y, fwhm, flux) for x, y in places)
    return image + rng.normal(0, noise, (size, size)), np.array(places)


def boxes_off_centre(places, half, seed=1):
    """Boxes as a network gives them: half a pixel off here and there."""
    return around(places + np.random.default_rng(seed).normal(0, 0.5, places.shape), half)


def test_positions_of_bright_stars():
    image, places = star_field(flux=20000)
    frame = make_frame({"r": image})
    catalog = measure(frame, detections(boxes_off_centre(places, 9)), flat(frame))
    offset = np.stack([catalog["x"], catalog["y"]], 1) - places
    assert np.median(np.hypot(*offset.T)) < 0.02


def test_position_errors_are_those_seen():
    pulls = []
    for seed in range(4):
        image, places = star_field(flux=600, seed=seed)
        frame = make_frame({"r": image})
        catalog = measure(frame, detections(boxes_off_centre(places, 9, seed)), flat(frame))
        pulls.append((catalog["x"] - places[:, 0]) / catalog["x_err"])
    assert 0.7 < np.std(np.concatenate(pulls)) < 1.4


def test_fluxes_of_stars_and_their_errors():
    image, places = star_field(flux=3000)
    frame = make_frame({"r": image}, zero_points={"r": 25.0})
    catalog = measure(frame, detections(boxes_off_centre(places, 9)), flat(frame))
    offset = np.median(catalog["flux"]) / 3000 - 1
    assert abs(offset) < 0.03
    assert 0.5 < np.std((catalog["flux"] - np.median(catalog["flux"])) / catalog["flux_err"]) < 1.5
    assert np.median(np.asarray(catalog["mag"])) == pytest.approx(25 - 2.5 * np.log10(3000), abs=0.035)
    assert np.median(catalog["fwhm"]) == pytest.approx(4.0, abs=0.3)
    assert catalog.meta["aperture_radius"] == pytest.approx(6.0, abs=0.4)


def test_aperture_flux_is_photutils():
    from photutils.aperture import CircularAperture, aperture_photometry

    image, places = star_field(n=20)
    frame = make_frame({"r": image})
    catalog = measure(frame, detections(around(places, 12)), flat(frame))
    positions = np.stack([catalog["x"], catalog["y"]], 1)
    theirs = aperture_photometry(image.astype(np.float32), CircularAperture(positions, 1.5 * catalog.meta["frame_fwhm"]), method="exact")
    np.testing.assert_allclose(catalog["flux_aper"], theirs["aperture_sum"], rtol=1e-3)


def test_centroid_is_seps():
    sep = pytest.importorskip("sep")
    image, places = star_field(n=20, flux=800)
    frame = make_frame({"r": image})
    catalog = measure(frame, detections(boxes_off_centre(places, 9)), flat(frame))
    x, y, _ = sep.winpos(image.astype(np.float32).copy(order="C"), *places.T, np.full(len(places), 4 / 2.3548))
    assert np.median(np.hypot(catalog["x"] - x, catalog["y"] - y)) < 0.1


def exponential(shape, x, y, scale, q, angle, flux):
    """An inclined exponential disk, five times oversampled."""
    n = 5
    yy, xx = (np.mgrid[: shape[0] * n, : shape[1] * n] - (n - 1) / 2) / n
    dx, dy = xx - x, yy - y
    along, across = dx * np.cos(angle) + dy * np.sin(angle), -dx * np.sin(angle) + dy * np.cos(angle)
    light = np.exp(-np.hypot(along, across / q) / scale)
    light = light.reshape(shape[0], n, shape[1], n).sum(axis=(1, 3))
    return flux * light / (2 * np.pi * scale**2 * q * n * n)


@pytest.mark.parametrize("angle", [0.0, 0.6, 2.4])
def test_a_disk_has_its_flux_angle_and_half_light(angle):
    rng = np.random.default_rng(0)
    image = exponential((160, 160), 80.3, 79.6, 6.0, 0.5, angle, 50000.0) + rng.normal(0, 1, (160, 160))
    frame = make_frame({"r": image})
    # the box of D_sg's rule: 8 % of the peak lies 2.5 scale lengths out
    catalog = measure(frame, detections(around([(80.3, 79.6)], 14), p_galaxy=1.0), flat(frame))
    row = catalog[0]
    assert row["flux"] == pytest.approx(50000, rel=0.1)
    wrong = (row["theta"] - np.degrees(angle) + 90) % 180 - 90
    assert abs(wrong) < 4
    assert 0.4 < row["b"] / row["a"] < 0.65


def test_unit_and_zero_level_only_scale_fluxes():
    image, places = star_field(n=25)
    first, second = make_frame({"r": image}), make_frame({"r": 3.7 * image + 100})
    found = detections(boxes_off_centre(places, 9))
    a, b = measure(first, found, flat(first)), measure(second, found, flat(second, noise=3.7, sky=100.0))
    np.testing.assert_allclose(b["flux"], 3.7 * a["flux"], rtol=1e-3)
    np.testing.assert_allclose(b["x"], a["x"], atol=1e-3)
    np.testing.assert_array_equal(a["flags"], b["flags"])


def test_turned_by_180_degrees_everything_turns():
    image, places = star_field(n=25)
    n = image.shape[0]
    boxes = np.array(boxes_off_centre(places, 9))
    turned = n - 1 - boxes[:, [2, 3, 0, 1]]
    first, second = make_frame({"r": image}), make_frame({"r": image[::-1, ::-1].copy()})
    a, b = measure(first, detections(boxes), flat(first)), measure(second, detections(turned), flat(second))
    np.testing.assert_allclose(n - 1 - b["x"], a["x"], atol=1e-3)
    np.testing.assert_allclose(b["flux"], a["flux"], rtol=1e-3)


def test_a_neighbours_light_is_not_counted():
    alone, pair = star((100, 100), 45, 50, 4, 3000), star((100, 100), 59, 50, 4, 3000)
    frame = make_frame({"r": alone + pair})
    catalog = measure(frame, detections(around([(45, 50), (59, 50)], 8)), flat(frame, noise=0.5))
    np.testing.assert_allclose(catalog["flux"], 3000, rtol=0.06)
    assert (catalog["flags"] & BLENDED == 0).all()


def test_sky_positions_are_icrs():
    wcs = tan_wcs(50, 50, angle=20)
    wcs.wcs.radesys, wcs.wcs.equinox = "FK5", 2000.0
    frame = make_frame({"r": star((100, 100), 60.2, 41.7, 4, 9000)}, wcs=wcs)
    row = measure(frame, detections(around([(60, 42)], 9)), flat(frame))[0]
    sky = SkyCoord(*wcs.all_pix2world(row["x"], row["y"], 0), unit="deg", frame="fk5").icrs
    assert row["ra"] == pytest.approx(sky.ra.deg, abs=1e-9) and row["dec"] == pytest.approx(sky.dec.deg, abs=1e-9)


def test_bands_have_their_own_fluxes():
    image = star((80, 80), 40, 40, 4, 2000)
    frame = make_frame({"r": image, "g": image * 0.5}, zero_points={"r": 22.5})
    row = measure(frame, detections(around([(40, 40)], 9)), flat(frame, noise=0.1))[0]
    assert row["flux_g"] / row["flux_r"] == pytest.approx(0.5, rel=1e-3) and row["flux"] == row["flux_r"]
    assert np.ma.is_masked(row["mag_g"]) and not np.ma.is_masked(row["mag_r"])


def test_nothing_and_odd_places_do_not_stop_it():
    image = np.zeros((50, 60), np.float32)
    image[20:30] = np.nan
    frame = make_frame({"r": image})
    assert len(measure(frame, detections([]), flat(frame))) == 0
    boxes = [[-0.5, -0.5, 3, 3], [55, 45, 59.5, 49.5], [20, 21, 30, 28], [10, 10, 10.4, 10.4], [-0.5, -0.5, 59.5, 49.5]]
    catalog = measure(frame, detections(boxes), flat(frame))
    assert len(catalog) == 5 and (catalog["flags"] & CENTROID_FAILED > 0).all()
    assert (catalog["flags"] & PHOTOMETRY_FAILED > 0).all() and catalog["flux"].mask.all()


def test_flags_say_what_happened():
    image = star((100, 100), 50, 50, 4, 9000) + star((100, 100), 4, 70, 4, 9000)
    image[52, 55] = np.nan
    frame = make_frame({"r": image}, saturation={"r": image[70, 4] * 0.9})
    found = detections([[41, 41, 59, 59], [-0.5, 61, 13, 79], [46, 46, 54, 54]])
    found = Detections(found.xyxy, found.score, found.p_galaxy, found.p_disk, np.array([True, False, False]))
    flags = measure(frame, found, flat(frame))["flags"]
    assert flags[0] & SEAM and flags[0] & BAD_PIXELS and flags[0] & BLENDED and not flags[0] & EDGE
    assert flags[1] & EDGE and flags[1] & SATURATED and not flags[1] & BLENDED


def test_flags_are_single_bits_and_decode():
    assert all(bit & (bit - 1) == 0 for bit in FLAGS) and len(set(FLAGS.values())) == len(FLAGS)
    assert decode_flags(0) == [] and decode_flags(EDGE | BLENDED) == [FLAGS[EDGE], FLAGS[BLENDED]]


def test_a_single_pixel_frame():
    frame = make_frame({"r": np.ones((1, 1))})
    assert len(measure(frame, detections([[-0.5, -0.5, 0.5, 0.5]]), flat(frame))) == 1
