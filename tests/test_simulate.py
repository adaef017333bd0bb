"""The simulator against analytic values, GalSim's own drawing, and slow obvious versions of its rules."""

from dataclasses import replace

import numpy as np
import pytest

galsim = pytest.importorskip("galsim")

from astropy.io import fits  # noqa: E402
from click.testing import CliRunner  # noqa: E402
from PIL import Image  # noqa: E402
from scipy.signal import fftconvolve  # noqa: E402

from astroyolo_cli.cli.simulate import simulate  # noqa: E402
from astroyolo_cli.simulate import simulate_field, write_ds, write_sg  # noqa: E402
from astroyolo_cli.simulate.cutouts import simulate_cutout  # noqa: E402
from astroyolo_cli.simulate.galaxies import plain_stamps, structured_stamp  # noqa: E402
from astroyolo_cli.simulate.masks import write_masks  # noqa: E402
from astroyolo_cli.simulate.populations import draw_counts, draw_sources, draw_star_cluster, draw_structure  # noqa: E402
from astroyolo_cli.simulate.psf import band_psf, field_psfs  # noqa: E402
from astroyolo_cli.simulate.render import render_field, source_stamps  # noqa: E402
from astroyolo_cli.simulate.sets import SG, item_rng  # noqa: E402
from astroyolo_cli.simulate.sky import Source, draw_settings  # noqa: E402
from astroyolo_cli.simulate.truth import signal_to_noise, source_mask  # noqa: E402


def plain_settings(size=128, **changes):
    """A field without anything that varies: white noise, no sky, nothing saturates."""
    three = np.ones(3)
    drawn = draw_settings(np.random.default_rng(0), size)
    values = dict(
        fwhm=4.0 * three, beta=3.5, shear=(0.0, 0.0), zero_point=22.5, sky_noise=0.01 * three, gain=1e9 * three,
        saturate=1e9 * three, pedestal=0 * three, noise_kernel=np.ones((1, 1)), correlation=three,
        gradient=0 * three, residual=0 * three,
    )  # fmt: skip
    return replace(drawn, **(values | changes))


def star(x=63.3, y=60.8, mag=17.0):
    return Source(x, y, np.array([mag, mag, mag]), "star")


def files_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_write_sg_same_bytes_with_one_and_two_workers(tmp_path):
    write_sg(tmp_path / "one", 2, seed=3, workers=1, size=96)
    write_sg(tmp_path / "two", 2, seed=3, workers=2, size=96)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_write_sg_layout(tmp_path):
    advanced = []
    write_sg(tmp_path, 2, seed=1, masks=False, progress=lambda: advanced.append(1), size=96)
    names = {"img_g.fits", "img_r.fits", "img_z.fits", "truth.fits"}
    assert [{p.name for p in (tmp_path / f"set_{i}").iterdir()} for i in range(2)] == [names, names]
    assert len(advanced) == 2
    image, header = fits.getdata(tmp_path / "set_0/img_g.fits", header=True)
    assert image.shape == (96, 96) and header["BITPIX"] == -32
    assert {"MAGZERO", "GAIN", "SATURATE", "FILTER", "PIXSCALE", "SEEING", "CTYPE1"} <= set(header)


def test_star_flux_is_that_of_its_magnitude():
    settings = plain_settings(256)
    stamps = source_stamps(star(127.3, 126.8, mag=15.0), settings, field_psfs(settings))
    np.testing.assert_allclose([s.data.sum() for s in stamps], 10 ** (-0.4 * (15.0 - 22.5)), rtol=3e-3)


@pytest.mark.parametrize("fwhm, beta", [(2.0, 2.5), (4.0, 0.0), (8.0, 4.5)])
def test_star_equals_galsim(fwhm, beta):
    psf = band_psf(fwhm, beta, (0.03, -0.02))
    stamp = psf.star(20.37, 19.81, 100.0, 15)
    exact = galsim.Convolve(psf.profile.withGSParams(folding_threshold=1e-3), galsim.Pixel(1.0))
    image = galsim.ImageF(galsim.BoundsI(5, 35, 5, 35), scale=1.0)
    exact.withFlux(100).drawImage(image, method="no_pixel", center=galsim.PositionD(20.37, 19.81))
    assert (stamp.x0, stamp.y0) == (5, 5)
    np.testing.assert_allclose(stamp.data, image.array, atol=4e-3 * image.array.max())


@pytest.mark.parametrize("morphology, fwhm", [("smooth", 2.5), ("disk", 2.5), ("smooth", 5.0), ("disk", 5.0)])
def test_galaxy_equals_galsim(morphology, fwhm):
    part = 1.0 if morphology == "smooth" else 0.3
    source = Source(40.3, 39.6, np.full(3, 18.0), "galaxy", morphology, 4.0, 2.5, np.full(3, part), 4.0 * part, 0.5, 0.7, 0.6)
    psf = band_psf(fwhm, 3.5, (0.02, 0.01))
    stamp = plain_stamps(source, np.full(3, 100.0), [psf] * 3, 40)[1]
    size = 4.0 * np.sqrt([0.7 * part**2, 0.5])  # GalSim's shear keeps the area; our r50 is that of the major axis
    bulge = galsim.Sersic(2.5, half_light_radius=size[0]).shear(q=0.7, beta=0.6 * galsim.radians)
    disk = galsim.Exponential(half_light_radius=size[1]).shear(q=0.5, beta=0.6 * galsim.radians)
    light = part * bulge + (1 - part) * disk if part < 1 else bulge
    image = galsim.ImageF(galsim.BoundsI(0, 80, 0, 80), scale=1.0)
    galsim.Convolve(light.withFlux(100), psf.profile).drawImage(image, center=galsim.PositionD(40.3, 39.6))
    np.testing.assert_allclose(stamp.data, image.array, atol=0.01 * image.array.max())


def test_structured_disk_keeps_flux_and_centre():
    rng = np.random.default_rng(4)
    shape = replace(draw_structure(rng, edge_on=False), arms=2, knots=0, patchiness=0.0)
    source = Source(80.0, 80.0, np.full(3, 18.0), "galaxy", "disk", 10.0, 2.0, np.full(3, 0.2), 2.0, 0.6, 0.9, 0.5, shape)
    stamp = structured_stamp(source, 1, 50.0, band_psf(3.0, 3.0, (0.0, 0.0)), 80)
    yy, xx = np.indices(stamp.data.shape)
    assert stamp.data.sum() == pytest.approx(50.0, rel=0.02)
    assert (stamp.data * xx).sum() / stamp.data.sum() + stamp.x0 == pytest.approx(80.0, abs=0.2)
    assert (stamp.data * yy).sum() / stamp.data.sum() + stamp.y0 == pytest.approx(80.0, abs=0.2)


def test_snr_of_a_gaussian_is_analytic():
    yy, xx = np.mgrid[-30:31, -30:31]
    sigma, flux, noise = 3.0, 50.0, 0.2
    gaussian = flux * np.exp(-0.5 * (xx**2 + yy**2) / sigma**2) / (2 * np.pi * sigma**2)
    stamps = [type("S", (), {"data": gaussian})()] * 3
    expected = flux / noise / np.sqrt(4 * np.pi * sigma**2)
    np.testing.assert_allclose(signal_to_noise(stamps, np.full(3, noise)), expected, rtol=1e-4)


def test_snr_of_a_star_is_the_scatter_of_its_fitted_flux():
    settings = plain_settings(64, sky_noise=np.full(3, 0.5))
    source = star(31.0, 32.0, mag=18.0)
    snr = render_field(np.random.default_rng(0), settings, [source]).truth["snr"][0]
    model = source_stamps(source, settings, field_psfs(settings))[1]
    shape = model.data / model.data.sum()
    rng = np.random.default_rng(1)
    fits_of_flux = [(render_field(rng, settings, [source]).counts["r"][model.window] * shape).sum() / (shape**2).sum() for _ in range(60)]
    assert np.mean(fits_of_flux) / np.std(fits_of_flux) * np.sqrt(3) == pytest.approx(snr, rel=0.3)


def slow_mask(image, class_id):
    """The rule of D_sg pixel by pixel."""
    over = image > {1: 0.005, 2: 0.08}[class_id] * image.max()
    kernel = np.exp(-0.5 * np.arange(-4, 5) ** 2 / 4.0)
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    padded = np.pad(over.astype(float), 4, mode="reflect")
    kept = np.zeros_like(over)
    for y, x in np.ndindex(over.shape):
        kept[y, x] = (padded[y : y + 9, x : x + 9] * kernel).sum() >= 0.5
    return kept if kept.any() else over


def test_boxes_follow_the_rule_of_the_masks(tmp_path):
    rng = np.random.default_rng(14)
    settings = draw_settings(rng, 160)
    sources = draw_sources(rng, settings)
    field = render_field(rng, replace(settings, saturate=np.full(3, 1e30)), sources)  # the rule is for unsaturated sources
    truth, off = field.truth, []
    write_masks(tmp_path / "masks.fits.gz", field.rows, 160)
    with fits.open(tmp_path / "masks.fits.gz") as hdus:
        assert len(hdus) == (~truth["ignore"]).sum() > 4
        for hdu in hdus:
            row = truth[truth["id"] == hdu.header["ID"]][0]
            assert hdu.data.shape == (160, 160)
            assert row["class"] == {1: "star", 2: "galaxy"}[hdu.header["CLASS_ID"]]
            rows, columns = np.nonzero(slow_mask(hdu.data, hdu.header["CLASS_ID"]))
            box = (columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5)
            off.append(np.abs(np.subtract(box, [row[k] for k in ("xmin", "ymin", "xmax", "ymax")])).max())
    assert max(off) <= 1 and np.mean(np.array(off) == 0) > 0.9  # 16 bits may move a pixel over the threshold


def test_mask_that_blurring_would_empty_stays():
    image = np.zeros((20, 20))
    image[10, 10] = 1.0
    assert source_mask(image, "galaxy").sum() == 1


def test_saturated_star_has_a_box_round_its_core_and_an_ignored_halo():
    settings = plain_settings(256, saturate=np.full(3, 100.0), sky_noise=np.full(3, 0.1))
    field = render_field(np.random.default_rng(2), settings, [star(128.0, 120.0, mag=8.0)])
    own, halo = field.truth
    core = np.nonzero(source_stamps(field.rows[0].source, settings, field_psfs(settings))[1].data > 100.0)
    assert not own["ignore"] and not own["blend"] and halo["ignore"] and own["class"] == halo["class"] == "star"
    assert own["xmax"] - own["xmin"] > np.ptp(core[1]) + 1
    assert halo["xmax"] - halo["xmin"] > own["xmax"] - own["xmin"]
    assert np.nanmax(field.counts["r"]) <= 100.0


@pytest.mark.parametrize("seed", range(6))
def test_snr_of_correlated_noise_is_that_of_a_psf_filter(seed):
    drawn = draw_settings(np.random.default_rng(seed))
    settings = replace(plain_settings(256), fwhm=drawn.fwhm, noise_kernel=drawn.noise_kernel, correlation=drawn.correlation)
    noise = render_field(np.random.default_rng(seed), settings, []).counts["r"]
    psf = np.exp(-0.5 * np.arange(-20, 21) ** 2 / ((drawn.fwhm[1] / 2.355) ** 2 + 1 / 12))
    psf = np.outer(psf, psf)
    filtered = fftconvolve(noise, psf, mode="valid").std() / np.sqrt((psf**2).sum())
    assert filtered == pytest.approx(settings.filter_noise[1], rel=0.12)


@pytest.mark.parametrize("seed", range(6))
def test_noise_is_as_stated_whatever_its_correlation(seed):
    drawn = draw_settings(np.random.default_rng(seed))
    settings = plain_settings(256, sky_noise=drawn.sky_noise, noise_kernel=drawn.noise_kernel)
    field = render_field(np.random.default_rng(seed), settings, [])
    for band, noise in zip("grz", settings.sky_noise):
        assert field.counts[band].std() == pytest.approx(noise, rel=0.03)
    assert len(field.truth) == 0


def test_settings_vary_over_the_stated_ranges():
    drawn = [draw_settings(np.random.default_rng(seed)) for seed in range(300)]
    fwhm = np.array([s.fwhm[1] for s in drawn])
    seeing = fwhm * [s.pixel_scale for s in drawn]
    assert 2.0 <= fwhm.min() < 2.5 and 6.5 < fwhm.max() <= 8.0
    assert 0.6 <= seeing.min() and seeing.max() <= 2.0
    assert 0.4 < np.mean([s.noise_kernel.size == 1 for s in drawn]) < 0.6


def test_simulate_field_truth_lists_what_can_be_seen():
    field = simulate_field(item_rng(5, SG, 0), size=256)
    truth = field.truth
    assert (truth["snr"] >= 2).all() and truth["ignore"][truth["snr"] < 5].all()
    assert (truth["xmin"] >= -0.5).all() and (truth["ymax"] <= 255.5).all()
    assert (truth["xmax"] > truth["xmin"]).all() and (truth["id"] == np.arange(1, len(truth) + 1)).all()
    assert set(truth["morphology"][truth["class"] == "star"]) <= {""}
    assert set(truth["morphology"][truth["class"] == "galaxy"]) <= {"smooth", "disk"}


def test_cutout_is_one_centred_galaxy(tmp_path):
    cutout = simulate_cutout(np.random.default_rng(3), smooth=True)
    assert cutout.rgb.shape == (424, 424, 3) and cutout.rgb.dtype == np.uint8 and cutout.morphology == "smooth"
    write_ds(tmp_path, 4, seed=2)
    assert sorted(p.parent.name for p in tmp_path.rglob("*.png")) == ["disk", "disk", "smooth", "smooth"]
    with Image.open(tmp_path / "smooth/00000.png") as picture:
        assert picture.size == (424, 424)


def test_simulate_command(tmp_path):
    arguments = [str(tmp_path / "out"), "--kind", "sg", "-n", "1", "--size", "64", "--no-masks"]
    first = CliRunner().invoke(simulate, arguments)
    assert first.exit_code == 0 and (tmp_path / "out/set_0/truth.fits").exists()
    assert CliRunner().invoke(simulate, arguments).exit_code != 0
    assert CliRunner().invoke(simulate, [*arguments, "--overwrite", "--quiet"]).exit_code == 0


def test_a_shorter_set_over_a_longer_one_leaves_nothing_of_it(tmp_path):
    def run(kind, n, seed):
        arguments = [str(tmp_path / kind), "--kind", kind, "-n", str(n), "--seed", str(seed), "--size", "64", "--no-masks", "--overwrite"]
        assert CliRunner().invoke(simulate, arguments).exit_code == 0

    run("sg", 3, 1), (tmp_path / "sg/set_7").mkdir(), (tmp_path / "sg/notes.txt").write_text("mine")
    run("sg", 1, 2)
    assert sorted(path.name for path in (tmp_path / "sg").iterdir()) == ["notes.txt", "set_0", "set_7"]  # set_7 is no simulated set
    run("ds", 4, 1), run("ds", 2, 2)
    assert sorted(path.name for path in (tmp_path / "ds").glob("*/*")) == ["00000.png", "00001.png"]


def test_simulate_help_ends_in_examples():
    assert "Examples:\n    astroyolo simulate" in CliRunner().invoke(simulate, ["--help"]).output


def test_a_star_clusters_faint_stars_begin_at_a_turn_off_and_redden():
    settings, none = plain_settings(size=512), np.zeros(3)
    for seed in range(12):
        mags = np.array([star.mags for star in draw_star_cluster(np.random.default_rng(seed), settings, none)])
        r, colour = mags[:, 1] - settings.limit, mags[:, 0] - mags[:, 1]
        assert 30 <= len(mags) <= 400 and r.min() > -4.2 and r.max() < 0.9
        fainter, brighter = r > np.quantile(r, 0.7), r < np.quantile(r, 0.3)
        assert np.median(colour[fainter]) > np.median(colour[brighter]) and colour.std() < 0.5
    counts = [len(draw_star_cluster(np.random.default_rng(seed), plain_settings(size=256), none)) for seed in range(12)]
    assert max(counts) <= 100


def test_counts_reach_from_the_pole_to_crowds_of_stars_or_of_galaxies():
    counts, part, slope = np.array([draw_counts(np.random.default_rng(seed)) for seed in range(400)]).T
    assert 20 <= counts.min() < 40 and 600 < counts.max() <= 700
    crowded = counts > 400
    assert 0.1 < crowded.mean() < 0.35 and part[crowded].min() < 0.2 and part[crowded].max() > 0.8 and 0.4 < part[crowded].mean() < 0.6
    assert slope[crowded].mean() > slope[~crowded].mean() and slope.max() < 0.6 and 0.05 <= part.min() < part.max() <= 0.9


def test_star_clusters_make_fields_whose_faint_sources_are_stars_where_the_bright_ones_are_galaxies():
    settings = plain_settings(size=512)

    def parts_of_stars(seed):
        """Of the bright sources, and of the faint ones."""
        sources = draw_sources(np.random.default_rng(seed), settings)
        r, is_star = np.array([s.mags[1] for s in sources]) - settings.limit, np.array([s.kind == "star" for s in sources])
        return is_star[r < -3].mean(), is_star[r > -1].mean()

    bright, faint = np.array([parts_of_stars(seed) for seed in range(200)]).T
    assert ((bright < 0.5) & (faint > 0.6)).sum() >= 20 and ((bright > 0.6) & (faint < 0.4)).sum() >= 6
