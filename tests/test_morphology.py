"""What is said of galaxies that the frame does not resolve."""

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from astroyolo_cli.columns import MORPHOLOGY_UNSURE
from astroyolo_cli.morphology import believe_shapes_alone, resolved

FWHM, STAR_R50 = 4.0, 2.2


def catalog_of(own_r50, p_disk, p_galaxy=0.9, stars=20):
    """Galaxies of these half-light radii before the PSF, in FWHM, which adds its own in quadrature."""
    r50 = np.hypot(np.asarray(own_r50) * FWHM, STAR_R50)
    n = len(r50)
    table = Table({"p_disk": np.full(n, p_disk, np.float32), "p_galaxy": np.full(n, p_galaxy, np.float32), "flags": np.zeros(n, np.int32)})
    table["r50"], table["p_smooth"] = MaskedColumn(np.nan_to_num(r50), mask=np.isnan(r50)), 1 - table["p_disk"]
    word = "" if p_galaxy < 0.5 else "disk" if p_disk > 0.5 else "smooth"
    table["morphology"] = MaskedColumn(np.array([word] * n, "U6"), mask=np.full(n, word == ""))
    for name in ("p_disk", "p_smooth", "morphology"):
        table[name].meta["ucd"] = table[name].description = f"of {name}"
    table.meta |= {"stars": stars, "star_r50": STAR_R50, "frame_fwhm": FWHM}
    return table


def test_what_is_not_resolved_has_about_the_prior():
    """A tenth of the log odds of 0.99, which are 4.6."""
    catalog = catalog_of([0.1, 0.2], 0.99)
    believe_shapes_alone(catalog, 0.5)
    assert catalog["p_disk"] == pytest.approx([0.613, 0.613], abs=1e-3) and (catalog["morphology"] == "disk").all()
    catalog = catalog_of([0.1, 0.2], 0.9)
    believe_shapes_alone(catalog, 0.5)
    assert catalog["p_disk"] == pytest.approx([0.555, 0.555], abs=1e-3)
    assert (catalog["flags"] & MORPHOLOGY_UNSURE > 0).all()


def test_columns_keep_what_is_said_of_them():
    catalog = catalog_of([0.1, 3.0], 0.9)
    believe_shapes_alone(catalog, 0.5)
    for name in ("p_disk", "p_smooth", "morphology"):
        assert catalog[name].meta["ucd"] == catalog[name].description == f"of {name}"


def test_what_is_resolved_stays():
    catalog = catalog_of([1.5, 5.0, np.nan], 0.9)
    believe_shapes_alone(catalog, 0.5)
    assert catalog["p_disk"] == pytest.approx(0.9) and not catalog["flags"].any() and (catalog["morphology"] == "disk").all()


def test_between_belief_grows_with_size():
    catalog = catalog_of(np.linspace(0, 2, 30), 0.1)
    believe_shapes_alone(catalog, 0.5)
    p = np.asarray(catalog["p_disk"])
    assert (np.diff(p) <= 1e-6).all() and p[0] == pytest.approx(0.445, abs=1e-3) and p[-1] == pytest.approx(0.1)
    assert p + catalog["p_smooth"] == pytest.approx(1)


def test_the_class_follows_the_prior_where_nothing_else_speaks():
    catalog = catalog_of([0.1, 3.0], 0.4)
    believe_shapes_alone(catalog, 0.8)
    assert catalog["morphology"].tolist() == ["disk", "smooth"] and catalog["p_disk"] == pytest.approx([0.77, 0.4], abs=0.01)


def test_stars_have_no_morphology_and_no_bit():
    catalog = catalog_of([0.0], 0.9, p_galaxy=0.1)
    believe_shapes_alone(catalog, 0.5)
    assert catalog["morphology"].mask.all() and not catalog["flags"].any()


def test_the_bit_goes_where_the_prior_is_sure():
    catalog = catalog_of([0.1], 0.55)
    catalog["flags"] |= MORPHOLOGY_UNSURE | 1
    believe_shapes_alone(catalog, 0.8)
    assert catalog["p_disk"][0] > 0.75 and catalog["flags"].tolist() == [1]


def test_a_psf_that_nobody_knows_takes_nothing_away():
    catalog = catalog_of([0.1], 0.99, stars=0)
    believe_shapes_alone(catalog, 0.5)
    assert catalog["p_disk"] == pytest.approx(0.99)


def test_resolved_of_a_gaussian_source():
    """Two Gaussians convolved: half-light radii add in quadrature."""
    own = 0.75 * FWHM
    assert resolved(np.array([np.hypot(own, STAR_R50)]), STAR_R50, FWHM) == pytest.approx(0.5)
