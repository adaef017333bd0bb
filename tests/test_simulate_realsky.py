"""Real frames as background: here a simulated frame plays the real one, so that its truth is known."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("galsim")
pytest.importorskip("sep")

from click.testing import CliRunner  # noqa: E402
from scipy.spatial import cKDTree  # noqa: E402

from astroyolo_cli.cli.simulate import simulate  # noqa: E402
from astroyolo_cli.detections import iou  # noqa: E402
from astroyolo_cli.errors import InputError  # noqa: E402
from astroyolo_cli.frame import Frame  # noqa: E402
from astroyolo_cli.simulate.populations import shape_galaxy, star_colours  # noqa: E402
from astroyolo_cli.simulate.realsky import inject, lowest_mode, real_sky, window_place  # noqa: E402
from astroyolo_cli.simulate.render import render_field  # noqa: E402
from astroyolo_cli.simulate.sky import Source, draw_settings  # noqa: E402

FEW = 5  # a seed that adds few enough sources for a bright star to stand alone


@pytest.fixture(scope="module")
def field():
    """120 stars and 60 galaxies on a loose grid of a 700-pixel frame, all bright."""
    rng = np.random.default_rng(4)
    three = np.ones(3)
    settings = replace(
        draw_settings(rng, 700), fwhm=3.2 * three, beta=3.0, shear=(0.0, 0.0), zero_point=22.5, sky_noise=0.02 * three, gain=1e4 * three,
        saturate=1e9 * three, pedestal=0 * three, noise_kernel=np.ones((1, 1)), correlation=three, gradient=0 * three, residual=0 * three,
    )  # fmt: skip
    grid = [(x, y) for x in range(30, 690, 50) for y in range(30, 690, 50)]
    sources = []
    for i, (x, y) in enumerate(grid):
        place = {"x": x + float(rng.uniform(-8, 8)), "y": y + float(rng.uniform(-8, 8))}
        r = float(rng.uniform(18, 20.5))
        if i % 3:
            sources.append(Source(**place, mags=star_colours(rng, r), kind="star"))
        else:
            sources.append(shape_galaxy(rng, settings, place, r - 1, float(rng.uniform(4, 8)), np.zeros(3), i % 2 == 0))
    return render_field(rng, settings, sources)


@pytest.fixture(scope="module")
def sky(field):
    counts = {band: field.counts[band] for band in "zrg"}
    return real_sky(Frame(counts, {b: ~np.isfinite(c) for b, c in counts.items()}, "r", zero_points=field.zero_points))


def test_what_is_called_certain_is_true_and_framed_as_the_simulator_frames_it(field, sky):
    certain = [row for row in sky.rows if not row.ignore]
    truth = np.stack([field.truth["x"], field.truth["y"]], 1)
    distance, nearest = cKDTree(truth).query([(r.source.x, r.source.y) for r in certain])
    assert len(certain) > 90 and distance.max() < 1
    assert {r.source.kind for r in certain} == {"star", "galaxy"}
    assert np.mean([r.source.kind == str(field.truth["class"][i]) for r, i in zip(certain, nearest)]) > 0.98
    boxes = np.stack([field.truth[n] for n in ("xmin", "ymin", "xmax", "ymax")], 1)[nearest]
    overlap = [iou(np.array([r.box]), box[None])[0, 0] for r, box in zip(certain, boxes)]
    assert np.median(overlap) > 0.75


def test_the_frames_psf_is_measured(field, sky):
    assert np.allclose(sky.fwhm, field.settings.fwhm, rtol=0.08)
    assert sky.noise == pytest.approx(field.settings.sky_noise, rel=0.1)


def test_injected_light_is_added_to_the_frames_own(sky):
    added = inject(sky, np.random.default_rng(FEW), size=256)
    same = inject(sky, np.random.default_rng(FEW), size=256)
    assert all(np.array_equal(added.counts[b], same.counts[b]) for b in "grz")
    mine = [r for r in added.rows if r.source.mags[1] < 90 and r.source.kind == "star" and 20 < r.source.x < 235 and 20 < r.source.y < 235]
    light_near = [
        sum(10 ** (-0.4 * o.source.mags[1]) for o in added.rows if np.hypot(o.source.x - r.source.x, o.source.y - r.source.y) < 25)
        for r in mine
    ]
    alone = [r for r, light in zip(mine, light_near) if light < 1.05 * 10 ** (-0.4 * r.source.mags[1])]
    brightest = min(alone, key=lambda r: r.source.mags[1])
    x, y = round(brightest.source.x), round(brightest.source.y)
    rng = np.random.default_rng(FEW)
    top, left = window_place(rng, np.isfinite(sky.counts).all(axis=0), 256, False)  # the window is the first thing drawn
    own = sky.counts[1, top : top + 256, left : left + 256]
    light = (added.counts["r"] - own)[y - 12 : y + 13, x - 12 : x + 13].sum()
    assert light == pytest.approx(10 ** (-0.4 * (brightest.source.mags[1] - 22.5)), rel=0.25)  # neighbours, wings


def test_windows_for_training_keep_clear_of_those_that_are_held_out():
    rng, seen, mine, good = np.random.default_rng(0), *np.zeros((2, 1489, 2048), bool), np.ones((1489, 2048), bool)
    for held_out, mask in ((True, mine), (False, seen)):
        for _ in range(300):
            y, x = window_place(rng, good, 512, held_out)
            assert 0 <= y <= 1489 - 512 and 0 <= x <= 2048 - 512
            mask[y : y + 512, x : x + 512] = True
    assert not (seen & mine).any() and seen.mean() > 0.85
    small = {window_place(rng, np.ones((600, 700), bool), 512, False) for _ in range(50)}
    assert len(small) > 40  # nowhere to keep clear: anywhere


def test_windows_are_of_good_pixels():
    """A turned mosaic, whose corners are blank."""
    y, x = np.mgrid[:1500, :1500]
    rng, good = np.random.default_rng(0), np.abs(x - 750) + np.abs(y - 750) < 800
    for held_out in (True, False):
        for _ in range(20):
            top, left = window_place(rng, good, 512, held_out)
            assert good[top : top + 512, left : left + 512].mean() > (0.99 if held_out else 0.5)


def test_what_is_blank_does_not_saturate(sky):
    counts = sky.counts.copy()
    counts[:, 100:200, 100:200] = np.nan
    for seed in range(3):
        field = inject(replace(sky, counts=counts, saturate=np.full(3, 30.0)), np.random.default_rng(seed), size=600)
        assert np.isnan(field.counts["r"]).sum() >= 100 * 100


def test_added_stars_saturate_as_the_frame_does(sky):
    full = replace(sky, saturate=np.full(3, 30.0))
    brightest = 0
    for seed in range(4):
        field = inject(full, np.random.default_rng(seed), size=256)
        for band in "grz":
            assert np.nanmax(field.counts[band]) <= 30.0
        halos = [row for row in field.rows if row.halo]
        brightest += len(halos)
        assert all(field.rows[i - 1].box != row.box for i, row in enumerate(field.rows) if row.halo)
    assert brightest > 0


def test_a_frame_of_one_band_or_too_small_is_refused(sky, field):
    one = Frame({"r": field.counts["r"]}, {"r": np.zeros((700, 700), bool)}, "r")
    with pytest.raises(InputError, match="three"):
        real_sky(one)
    with pytest.raises(InputError, match="at least 900"):
        inject(sky, np.random.default_rng(0), size=900)


def test_lowest_mode_finds_the_crowd_and_not_the_tail():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(2.4, 0.05, 60), rng.uniform(2.6, 6, 60), [1.1, 1.3]])
    assert lowest_mode(values) == pytest.approx(2.4, abs=0.05)


def test_sky_option_refuses_pictures(tmp_path):
    result = CliRunner().invoke(simulate, [str(tmp_path / "out"), "--kind", "ds", "--sky", "frame.fits"])
    assert result.exit_code == 2 and "--sky" in result.output


def test_bands_without_frames_to_take_them_from_are_refused(tmp_path):
    result = CliRunner().invoke(simulate, [str(tmp_path / "out"), "-n", "1", "--bands", "z,r,g"])
    assert result.exit_code == 2 and "--bands" in result.output and not (tmp_path / "out").exists()
