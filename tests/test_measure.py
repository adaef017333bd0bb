"""Positions, fluxes and shapes against analytic skies, sep and photutils."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from astroyolo_cli.columns import (
    BAD_PIXELS,
    BLENDED,
    CENTROID_FAILED,
    COLUMNS,
    EDGE,
    FLAGS,
    FWHM_OUTSIDE,
    MORPHOLOGY_UNSURE,
    PHOTOMETRY_FAILED,
    SATURATED,
    SEAM,
    SURVEY_MASK,
    columns_for,
    decode_flags,
)
from astroyolo_cli.detections import Detections
from astroyolo_cli.errors import AstroYOLOWarning
from astroyolo_cli.measure import flag_untrained_fwhm, measure
from astroyolo_cli.photometry import Moffat, coverage, sums
from astroyolo_cli.simulate.render import simulate_field
from astroyolo_cli.sky import sky_between
from astroyolo_cli.stamps import Light, Stamps
from astroyolo_cli.stretch import Background, backgrounds, estimate_background
from conftest import make_frame, star, tan_wcs


def detections(boxes, p_galaxy=0.1, p_disk=0.5) -> Detections:
    n = len(boxes)
    score, p_galaxy, p_disk = (np.full(n, value, np.float32) for value in (0.9, p_galaxy, p_disk))
    return Detections(np.array(boxes, np.float32).reshape(n, 4), score, p_galaxy, p_disk, np.zeros(n, bool))


def flat(frame, noise=1.0, sky=0.0):
    return {band: Background(np.full((1, 1), sky), np.full((1, 1), noise), frame.shape) for band in frame.bands}


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


def test_a_galaxy_is_placed_at_its_nucleus():
    """Disks with as much light again in an arm on one side: that draws the centre of the light, not the nucleus."""
    rng = np.random.default_rng(3)
    stars, places = star_field(n=30, flux=3000, size=420)
    rows, columns = np.mgrid[: stars.shape[0], : stars.shape[1]]
    image, angles = stars, rng.uniform(0, 2 * np.pi, 15)
    for (x, y), angle in zip(places[:15], angles):
        image = image + 2500 / (2 * np.pi * 5**2) * np.exp(-np.hypot(columns - x, rows - y) / 5)
        image = image + star(image.shape, x + 10 * np.cos(angle), y + 10 * np.sin(angle), 8.0, 5000)
    boxes, p_galaxy = around(places[:15], 13) + around(places[15:], 9), np.array([0.95] * 15 + [0.05] * 15)
    catalog = measure(make_frame({"r": image}), detections(boxes, p_galaxy=p_galaxy), flat(make_frame({"r": image})))
    offset = np.hypot(*(np.stack([catalog["x"], catalog["y"]], 1)[:15] - places[:15]).T)
    assert offset.max() < 0.5  # the whole light's centre is 5 pixels away


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
    catalog = measure(frame, detections(around([(80.3, 79.6)], 14), p_galaxy=1.0, p_disk=0.9), flat(frame))
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


def moffat(shape, x, y, fwhm, flux, beta=3.0, n=5) -> np.ndarray:
    """A Moffat star, oversampled five times."""
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    dx, dy = ((np.arange(length * n) - (n - 1) / 2) / n - middle for length, middle in zip(shape[::-1], (x, y)))
    light = (1 + (dx[None] ** 2 + dy[:, None] ** 2) / alpha**2) ** -beta
    light *= flux * (beta - 1) / (np.pi * alpha**2) / n**2
    return light.reshape(shape[0], n, shape[1], n).sum(axis=(1, 3))


def moffat_field(beta, flux=20000.0, fwhm=3.5, seed=0, size=400):
    """Twenty-five isolated stars on white noise of 1."""
    rng = np.random.default_rng(seed)
    places = np.array([(x, y) for y in range(40, size, 80) for x in range(40, size, 80)]) + rng.uniform(-0.5, 0.5, (25, 2))
    image = rng.normal(0, 1, (size, size))
    for x, y in places:
        j, i = int(y) - 40, int(x) - 40
        patch = np.s_[max(j, 0) : j + 80, max(i, 0) : i + 80]
        image[patch] += moffat(image[patch].shape, x - patch[1].start, y - patch[0].start, fwhm, flux, beta)
    return image, places


@pytest.mark.parametrize("beta", [2.5, 3.0, 4.5])
def test_stars_lose_nothing_to_the_wings_of_their_profile(beta):
    image, places = moffat_field(beta)
    frame = make_frame({"r": image})
    catalog = measure(frame, detections(boxes_off_centre(places, 7)), flat(frame))
    assert abs(2.5 * np.log10(np.median(catalog["flux"]) / 20000)) < 0.02
    assert catalog.meta["frame_fwhm"] == pytest.approx(3.6, abs=0.1)  # 3.5 and the pixel
    assert np.median(np.hypot(catalog["x"] - places[:, 0], catalog["y"] - places[:, 1])) < 0.02


@pytest.mark.parametrize("scale, q", [(3.0, 1.0), (4.0, 0.6), (6.0, 0.4)])
def test_total_magnitudes_of_disks(scale, q):
    image = exponential((200, 200), 100.2, 99.7, scale, q, 0.5, 40000.0) + np.random.default_rng(0).normal(0, 1, (200, 200))
    frame = make_frame({"r": image})
    row = measure(frame, detections(around([(100, 100)], 2.5 * scale), p_galaxy=1.0, p_disk=1.0), flat(frame))[0]
    assert abs(2.5 * np.log10(row["flux"] / 40000)) < 0.1


def test_a_galaxy_called_star_keeps_its_light():
    image, places = moffat_field(3.0)
    galaxy = exponential((120, 120), 60, 60, 6.0, 0.8, 0.3, 40000.0)
    image[140:260, 140:260] += galaxy - moffat((120, 120), *(places[12] - 140), 3.5, 20000.0)
    boxes = boxes_off_centre(places, 7)
    boxes[12] = [185, 185, 215, 215]
    frame = make_frame({"r": image})
    catalog = measure(frame, detections(boxes), flat(frame))
    assert catalog["flux"][12] == pytest.approx(40000, rel=0.15)


@pytest.mark.parametrize("a, b, theta", [(2.0, 2.0, 0.0), (6.3, 6.3, 0.0), (8.0, 3.0, 0.7), (12.0, 2.0, -1.2), (5.0, 1.6, 1.5)])
def test_coverage_is_that_of_photutils(a, b, theta):
    from photutils.geometry import elliptical_overlap_grid

    pixels, none = np.arange(-15.0, 16)[None], np.zeros((1, 31, 31), bool)
    stamps = Stamps(none.astype(np.float32), np.ones(1), pixels, pixels, none, np.zeros(0, int), np.zeros(0))
    ours = coverage(stamps, np.array([[0.3, -0.4]]), *(np.array([v]) for v in (a, b, theta)))[0]
    theirs = elliptical_overlap_grid(-15.8, 15.2, -15.1, 15.9, 31, 31, a, b, theta, 1, 1)
    assert ours.sum() == pytest.approx(theirs.sum(), rel=2e-3 if b > 2.5 or a == b else 1e-2)
    assert np.abs(ours - theirs).max() < 0.1


def test_aperture_errors_are_those_of_sep():
    sep = pytest.importorskip("sep")
    image, places = star_field(n=20, flux=3000)
    frame = make_frame({"r": image}, gain={"r": 2.0})
    catalog = measure(frame, detections(around(places, 9)), flat(frame))
    radius = catalog.meta["aperture_radius"]
    flux, error, _ = sep.sum_circle(image.astype(np.float32), catalog["x"], catalog["y"], radius, err=1.0, gain=2.0, subpix=0)
    np.testing.assert_allclose(catalog["flux_aper"], flux, rtol=2e-3)
    np.testing.assert_allclose(catalog["flux_aper_err"], error * catalog.meta["noise_scale"]["r"], rtol=0.12)


def test_errors_hold_on_resampled_noise():
    from scipy.ndimage import gaussian_filter

    pulls = {"flux": [], "x": []}
    for seed in range(3):
        image, places = star_field(flux=1500, noise=0.0, seed=seed)
        noise = gaussian_filter(np.random.default_rng(seed + 9).normal(0, 1, image.shape), 0.8)
        frame = make_frame({"r": image + noise / noise.std()})
        catalog = measure(frame, detections(boxes_off_centre(places, 9, seed)), flat(frame))
        pulls["flux"].append((catalog["flux"] - np.median(catalog["flux"])) / catalog["flux_err"])
        pulls["x"].append((catalog["x"] - places[:, 0]) / catalog["x_err"])
        assert catalog.meta["noise_scale"]["r"] > 1.8
    for values in pulls.values():
        assert 0.7 < np.std(np.concatenate(values)) < 1.4


def pulls_of_true_boxes(seed: int):
    """(n,) of a random simulated field: whether each source is a galaxy, S/N, and its flux's error over the one quoted."""
    field = simulate_field(np.random.default_rng([77, seed]), 384)
    truth = field.truth[~np.asarray(field.truth["ignore"])]
    boxes = np.stack([truth[edge] for edge in ("xmin", "ymin", "xmax", "ymax")], 1)
    gain = {band: field.headers[band]["GAIN"] for band in "gr"}
    frame = make_frame({band: field.counts[band] for band in "gr"}, zero_points=field.zero_points, gain=gain)
    galaxy = np.asarray(truth["class"] == "galaxy")
    catalog = measure(frame, detections(boxes, p_galaxy=galaxy * 0.98 + 0.01, p_disk=0.5), backgrounds(frame))
    good = catalog["flags"] & (EDGE | SATURATED | CENTROID_FAILED | PHOTOMETRY_FAILED) == 0
    true = 10 ** (-0.4 * (truth["mag_r"] - field.settings.zero_point))
    return tuple(np.asarray(v)[good] for v in (galaxy, truth["snr"], (catalog["flux_r"] - true) / catalog["flux_err_r"]))


def test_errors_of_total_fluxes_are_those_seen():
    galaxy, snr, pull = (np.concatenate(v) for v in zip(*(pulls_of_true_boxes(seed) for seed in range(8))))
    for rows in (galaxy & (snr > 30), galaxy & (snr < 30), ~galaxy & (snr > 30), ~galaxy & (snr < 30)):
        assert rows.sum() > 50
        assert 0.5 < 1.4826 * np.median(np.abs(pull[rows])) < 2, rows.sum()
        assert (np.abs(pull[rows]) > 5).mean() < 0.1


def test_the_wings_of_a_bright_star_do_not_swell_a_faint_one():
    """They are light all around it, which no neighbour's box holds."""
    image, places = moffat_field(3.0)
    angle = np.linspace(0, 2 * np.pi, 9)[:-1]
    faint = places[12] + 24 * np.stack([np.cos(angle), np.sin(angle)], 1)
    image += moffat(image.shape, *places[12], 3.5, 1e5, 2.5)
    image += sum(moffat(image.shape, *place, 3.5, 800.0) for place in faint)
    frame = make_frame({"r": image})
    catalog = measure(frame, detections(boxes_off_centre(np.concatenate([places, faint]), 7)), flat(frame))[25:]
    assert np.asarray(catalog["a"]).max() < 4
    off = np.asarray(catalog["flux"]) - 800
    assert np.abs(off).max() < 400 and (np.abs(off) < 4 * catalog["flux_err"]).all()


def test_light_beside_an_aperture_and_of_neighbours_in_it():
    from photutils.aperture import CircularAperture

    owner = np.full((61, 61), -1, np.int32)
    owner[25:36, 34:] = 5  # a band of the aperture is another's
    data = np.where(owner == 5, 7, 2).astype(np.float32)
    size = np.full(1, 8.0)
    place = np.full((1, 2), 30.0)
    stamps = Light(data, np.ones_like(data), owner).stamps(np.zeros(1, int), place, 10)
    inside = sums(stamps, place, size, size, np.zeros(1), np.inf)
    part = CircularAperture((30, 30), 8).to_mask(method="exact").to_image((61, 61))
    assert inside.neighbours[0] == pytest.approx(7 * part[owner == 5].sum(), rel=0.01)
    assert inside.flux[0] == pytest.approx(2 * np.pi * 64, rel=0.002) and inside.area[0] == pytest.approx(np.pi * 64, rel=0.002)
    assert inside.beside[0] == pytest.approx(2, rel=0.001)


def test_moffat_radii_and_parts_are_inverse():
    profile = Moffat(4.0, 2.7)
    assert profile.part_within(profile.radius_of(0.37)) == pytest.approx(0.37)


def test_size_of_a_gaussian():
    image, places = star_field(n=25, flux=50000, fwhm=5.0)
    frame = make_frame({"r": image})
    catalog = measure(frame, detections(around(places, 10)), flat(frame))
    sigma = np.hypot(5 / 2.3548, np.sqrt(1 / 12))  # and the pixel
    assert np.median(catalog["r50"]) == pytest.approx(1.1774 * sigma, rel=0.02)
    assert np.median(catalog["a"]) == pytest.approx(sigma, rel=0.06)
    assert np.median(catalog["fwhm"]) == pytest.approx(2.3548 * sigma, rel=0.03)


def test_bad_pixels_are_mirrored():
    image, places = star_field(n=25, flux=20000)
    whole = make_frame({"r": image})
    x, y = np.rint(places[7]).astype(int)
    image = image.copy()
    image[y - 1, x + 2] = np.nan
    hurt = make_frame({"r": image})
    found = detections(around(places, 9))
    a, b = measure(whole, found, flat(whole)), measure(hurt, found, flat(hurt))
    assert b["flags"][7] & BAD_PIXELS and b["flux"][7] == pytest.approx(a["flux"][7], rel=0.02)


@pytest.mark.parametrize("short", [0.0, 1.0])
@pytest.mark.parametrize("x", [0.3, 1.5, 3.0])
def test_a_star_that_the_edge_cuts_is_where_it_is(x, short):
    """The middle of what can be seen of it is up to 4 pixels away; the network's box may end ``short`` pixels before the edge."""
    shape, half, places = (200, 120), 8.5, [(x, 40.0), (119 - x, 80.2), (60.4, x), (30.1, 199 - x)]
    image = sum(star(shape, *place, 4, 3000) for place in places) + np.random.default_rng(4).normal(0, 1, shape)
    seen = np.array(around(places, half)).clip(-0.5 + short, np.array([119.5, 199.5, 119.5, 199.5]) - short)
    frame = make_frame({"r": image})
    catalog = measure(frame, detections(seen), flat(frame))
    away = np.hypot(catalog["x"] - np.array(places)[:, 0], catalog["y"] - np.array(places)[:, 1])
    assert (away < 0.5).all(), away
    assert catalog["flux"] == pytest.approx(3000, rel=0.15)


def test_a_faint_source_does_not_go_over_to_its_bright_neighbour():
    """Faint stars of S/N 12 beside ones 30 times as bright, 1.4 FWHM away; their boxes have the places to a tenth of the FWHM."""
    rng, fwhm, shape = np.random.default_rng(8), 4.0, (300, 300)
    middles = [(x, y) for x in range(30, 300, 40) for y in range(30, 300, 40)]
    turns = rng.uniform(0, 2 * np.pi, len(middles))
    beside = [(x + 1.4 * fwhm * np.cos(t), y + 1.4 * fwhm * np.sin(t)) for (x, y), t in zip(middles, turns)]
    image = rng.normal(0, 1, shape) + sum(star(shape, *place, fwhm, 6000) for place in middles)
    image += sum(star(shape, *place, fwhm, 200) for place in beside)
    frame = make_frame({"r": image})
    shaken = np.array(beside) + rng.normal(0, 0.07 * fwhm, (len(beside), 2))
    catalog = measure(frame, detections(around(middles, 9) + around(shaken, 8)), flat(frame))
    places = np.array(middles + beside)
    away = np.hypot(catalog["x"] - places[:, 0], catalog["y"] - places[:, 1]) / fwhm
    assert (away < 0.5).all() and np.median(away[: len(middles)]) < 0.02


def test_weights_give_the_errors():
    image, places = star_field(n=25, flux=3000)
    plain = make_frame({"r": image})
    weighted = make_frame({"r": image}, weights={"r": np.full(image.shape, 0.25, np.float32)})
    found = detections(around(places, 9))
    a, b = measure(plain, found, flat(plain)), measure(weighted, found, flat(weighted))
    assert np.median(b["x_err"] / a["x_err"]) == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("usual", [100.0, 1e-4])
def test_relative_weights_share_out_the_noise_that_the_frame_has(usual):
    """Right of the middle a quarter of the exposure: errors are twice as large there, whatever the weights' unit."""
    image, places = star_field(n=25, flux=3000)
    weights = np.where(np.arange(image.shape[1]) < image.shape[1] * 0.6, 1, 0.25) * np.full(image.shape, usual)
    plain = make_frame({"r": image})
    weighted = make_frame({"r": image}, weights={"r": weights.astype(np.float32)}, weights_are_relative=True)
    found = detections(around(places, 9))
    a, b = measure(plain, found, flat(plain)), measure(weighted, found, flat(weighted))
    right = a["x"] > image.shape[1] * 0.6
    assert np.median((b["x_err"] / a["x_err"])[~right]) == pytest.approx(1, rel=0.05)
    assert np.median((b["x_err"] / a["x_err"])[right]) == pytest.approx(2, rel=0.1)


def test_boxes_that_make_no_sense_are_flagged_and_hurt_no_other():
    image, places = star_field(n=9)
    frame = make_frame({"r": image}, wcs=tan_wcs())
    good = around(places, 9)
    bad = [[np.nan] * 4, [50, 50, 40, 40], [900, 900, 950, 950], [-1e9, 3, 1e9, 9]]
    alone, catalog = (measure(frame, detections(b), flat(frame)) for b in (good, good + bad[:3]))
    np.testing.assert_allclose(catalog["flux"][:9], alone["flux"])
    assert (catalog["flags"][9:] & PHOTOMETRY_FAILED > 0).all() and catalog["flux"].mask[9:].all()
    assert len(measure(frame, detections(bad), flat(frame))) == 4


def test_thousands_of_sources_in_a_crowd():
    rng = np.random.default_rng(0)
    frame = make_frame({"r": rng.normal(0, 1, (300, 300))})
    catalog = measure(frame, detections(around(rng.uniform(0, 299, (5000, 2)), 6)), flat(frame))
    assert len(catalog) == 5000 and (catalog["id"] == np.arange(1, 5001)).all()


def test_an_empty_catalog_has_every_column():
    frame = make_frame({"r": np.ones((20, 30)), "g": np.ones((20, 30))}, unit="adu")
    catalog = measure(frame, Detections.empty(), flat(frame))
    wanted = columns_for(("r", "g"))
    assert catalog.colnames == [c.name for c in wanted] and len(wanted) == len(COLUMNS) + 8
    assert all(catalog[c.name].dtype == np.dtype(c.dtype) for c in wanted)
    assert str(catalog["flux_g"].unit) == "adu"


def test_flags_of_the_mask_the_morphology_and_the_seeing():
    image, places = star_field(n=9)
    mask = np.zeros(image.shape, bool)
    mask[int(places[0, 1]), int(places[0, 0])] = True
    frame = make_frame({"r": image}, survey_mask=mask)
    catalog = measure(frame, detections(around(places, 9), p_galaxy=0.9), flat(frame))
    assert (catalog["flags"] & SURVEY_MASK > 0).tolist() == [True] + [False] * 8
    assert (catalog["flags"] & MORPHOLOGY_UNSURE > 0).all()
    flag_untrained_fwhm(catalog, 2.0, 8.0)
    assert not (catalog["flags"] & FWHM_OUTSIDE).any()
    catalog.meta["stars"] = 3
    with pytest.warns(AstroYOLOWarning, match="5 to 8"):
        flag_untrained_fwhm(catalog, 5.0, 8.0)
    assert (catalog["flags"] & FWHM_OUTSIDE > 0).all()


def test_columns_have_valid_ucds():
    from astropy.io.votable.ucd import check_ucd

    assert all(check_ucd(c.ucd, check_controlled_vocabulary=True) for c in columns_for(("r", "g")))


def test_the_sky_beside_sources_is_free_of_their_wings():
    rng = np.random.default_rng(3)
    places = rng.uniform(10, 590, (500, 2))
    image = rng.normal(7, 1, (600, 600))
    for x, y in places:  # Moffat wings, as telescopes have them
        image += 80 * moffat_profile((600, 600), x, y, 4.0)
    first, boxes = estimate_background(image), np.array(around(places, 7), float)
    sky = sky_between(first, image, boxes)
    assert np.median(first.sky_mesh) > 7.1
    assert np.median(sky.sky_mesh) == pytest.approx(7, abs=0.05)
    np.testing.assert_allclose(sky_between(estimate_background(3.7 * image + 100), 3.7 * image + 100, boxes).sky_mesh,
                               3.7 * sky.sky_mesh + 100, rtol=1e-9)  # fmt: skip


def test_a_frame_full_of_boxes_keeps_its_sky():
    image = np.random.default_rng(0).normal(5, 1, (64, 64))
    first = estimate_background(image)
    np.testing.assert_array_equal(sky_between(first, image, np.array([[-0.5, -0.5, 63.5, 63.5]])).sky_mesh, first.sky_mesh)


def moffat_profile(shape, x, y, fwhm, beta=2.5):
    """Peak 1."""
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (1 + ((columns - x) ** 2 + (rows - y) ** 2) / alpha**2) ** -beta


def test_threads_change_nothing():
    rng = np.random.default_rng(8)
    places = rng.uniform(20, 480, (300, 2))
    half = rng.uniform(3, 30, 300)  # stamps of many sizes: many pieces of work
    frame = make_frame({"r": rng.normal(0, 1, (500, 500)) + moffat_profile((500, 500), 250, 250, 5) * 900})
    boxes = np.concatenate([places - half[:, None], places + half[:, None]], 1)
    one, three = (measure(frame, detections(boxes, p_galaxy=0.7), flat(frame), threads=n) for n in (1, 3))
    for name in one.colnames:
        np.testing.assert_array_equal(np.ma.filled(one[name], 0), np.ma.filled(three[name], 0))
