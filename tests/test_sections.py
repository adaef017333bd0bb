"""Planes that are read in parts give what the same pixels give at once."""

import weakref

import numpy as np
import pytest
from astropy.io import fits

from astroyolo_cli import hdus, read, sections
from astroyolo_cli.align import align
from astroyolo_cli.inputs import resolve
from astroyolo_cli.sections import ROWS, Rows, of, strips
from astroyolo_cli.stretch import COARSE, coarse_blocks
from conftest import star, tan_wcs

pytestmark = pytest.mark.filterwarnings("ignore::astroyolo_cli.errors.AstroYOLOWarning")
SHAPE = (900, 700)


def pixels(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).normal(100, 3, shape).astype(np.float32)


@pytest.mark.parametrize(
    "rows, columns",
    [
        (slice(None), slice(None)),
        (slice(5, 9), slice(3, 4)),
        (slice(ROWS - 1, ROWS + 1), slice(None, 30)),
        (slice(100, 800, 3), slice(1, None, 7)),
        (slice(None, None, 200), slice(None)),
        (slice(899, 2000), slice(650, 9000)),
        (slice(300, 300), slice(2, 5)),
        (slice(0, None, ROWS + 1), slice(0, None, 2)),
    ],
)
def test_slices_are_those_of_an_array(rows, columns):
    whole = pixels()
    plane = Rows(SHAPE, lambda part: whole[part])
    np.testing.assert_array_equal(plane[rows, columns], whole[rows, columns])


def test_blocks_are_read_once_while_they_are_remembered_and_few_are():
    whole, asked = pixels(), []
    plane = Rows(SHAPE, lambda part: asked.append(part.start) or whole[part])
    for first in range(0, 200, 20):
        plane[first : first + 20, :]
    assert asked == [0, ROWS]
    for first in range(0, SHAPE[0], 100):
        plane[first : first + 100, :]
    assert len(plane._blocks) <= sections.KEPT


def test_a_pass_over_a_plane_reads_each_block_once_and_remembers_none():
    whole, asked = pixels(), []
    plane = Rows(SHAPE, lambda part: asked.append(part.start) or whole[part])
    twice = of(np.add, plane, of(np.negative, plane))
    for through, rows in ((strips(plane), SHAPE[0]), (strips(twice), SHAPE[0]), (coarse_blocks(plane), SHAPE[0] // COARSE * COARSE)):
        assert sum(1 for _ in through) > 1
        assert asked == list(range(0, rows, ROWS)) and not plane._blocks
        asked.clear()


def test_what_is_asked_of_the_whole_plane_is_not_remembered():
    plane = Rows(((sections.KEPT + 1) * ROWS, 4), lambda part: np.zeros((part.stop - part.start, 4), np.float32))
    plane[::3, ::3]
    assert not plane._blocks
    plane[: sections.KEPT * ROWS, :]
    assert len(plane._blocks) == sections.KEPT


def test_what_is_forgotten_is_read_again():
    whole, asked = pixels(), []
    plane = Rows(SHAPE, lambda part: asked.append(part.start) or whole[part])
    twice = of(np.add, plane, plane)
    for expected in ([0], [0, 0]):
        np.testing.assert_array_equal(twice[:20, :], 2 * whole[:20])
        assert asked == expected
        sections.forget(twice)
    sections.forget(whole)


def test_what_is_computed_from_planes_follows_them():
    whole = pixels()
    plane = Rows(SHAPE, lambda part: whole[part])
    twice = of(np.add, plane, of(np.negative, plane))
    assert twice.shape == SHAPE and (twice[10:20, 3:9] == 0).all()
    assert isinstance(of(np.negative, whole), np.ndarray)


def test_strips_cover_every_row_once():
    whole = pixels()
    np.testing.assert_array_equal(np.concatenate(list(strips(whole))), whole)


def written(folder, kind):
    """Two bands on grids half a pixel apart and turned, a weight map and a mask, with a fill value at an edge."""
    for band, (seed, wcs) in {"r": (1, tan_wcs()), "g": (2, tan_wcs(x=103.5, angle=2.0))}.items():
        image = pixels(seed)
        for i, (x, y) in enumerate([(150, 200), (400, 500), (620, 830), (350, 128)]):
            image += star(SHAPE, x, y, flux=3000 * (i + 1), fwhm=4)
        image[:, :20] = 0
        hdu = (fits.CompImageHDU if kind == "packed" else fits.PrimaryHDU)(image, wcs.to_header())
        fits.HDUList([fits.PrimaryHDU(), hdu] if kind == "packed" else [hdu]).writeto(folder / f"{band}.fits")
    weight, mask = np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.uint8)
    weight[400:420], mask[:, 300:310] = 0, 4
    for name, values in (("weight", weight), ("mask", mask)):
        fits.writeto(folder / f"{name}.fits", values)


@pytest.mark.parametrize("kind", ["plain", "packed"])
def test_a_frame_in_parts_is_the_frame(tmp_path, monkeypatch, kind):
    written(tmp_path, kind)
    field = resolve([str(tmp_path / "{band}.fits")], ("r", "g"))[0]
    maps = {"weight_map": tmp_path / "weight.fits", "mask": tmp_path / "mask.fits"}
    whole = read.read_field(field, **maps)
    monkeypatch.setattr(hdus, "LARGE", 1000)
    parts = read.read_field(field, **maps, in_parts=True)
    assert not isinstance(parts.counts["g"], np.ndarray) and isinstance(whole.counts["g"], np.ndarray)
    everything = slice(None), slice(None)
    for band in whole.bands:
        mine, theirs = parts.counts[band][everything], whole.counts[band]
        np.testing.assert_allclose(mine, theirs, atol=0.02 if band == "g" else 0)  # a spline feels what is far, a little
        np.testing.assert_array_equal(parts.bad[band][everything], whole.bad[band])
    np.testing.assert_array_equal(parts.weights["r"][everything], whole.weights["r"])
    np.testing.assert_array_equal(parts.survey_mask[everything], whole.survey_mask)


def test_a_band_is_aligned_in_parts_as_at_once():
    image = pixels(3) + star(SHAPE, 333, 444, flux=50_000, fwhm=3)
    reference, other = tan_wcs(), tan_wcs(x=110, angle=30.0)
    whole = align(image, other, reference, SHAPE)
    parts = align(Rows(SHAPE, lambda rows: image[rows]), other, reference, SHAPE)[:, :]
    np.testing.assert_array_equal(np.isnan(parts), np.isnan(whole))
    np.testing.assert_allclose(parts, whole, atol=1e-3)


def test_a_sample_of_a_plane_does_not_hold_the_plane():
    read_so_far, alive = [], []

    def read_rows(rows):
        block = np.zeros((rows.stop - rows.start, 8), np.float32)
        read_so_far.append(weakref.ref(block))
        alive.append(sum(reference() is not None for reference in read_so_far))
        return block

    assert Rows((20 * ROWS, 8), read_rows)[::4, ::4].shape == (5 * ROWS, 2)
    assert max(alive) <= sections.KEPT + 1
