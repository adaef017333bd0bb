"""Pixels to the sky and back, through the program, for every kind of WCS that frames come with."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from astroyolo_cli.inputs import FieldInput
from astroyolo_cli.measure import measure
from astroyolo_cli.read import read_field
from conftest import star
from test_measure import around, detections, flat

PROJECTIONS = (
    "TAN SIN ARC ZEA STG AZP SZP CEA CAR MER SFL PAR MOL AIT COP COE COD COO BON TSC QSC HPX XPH PCO ZPN".split()
)  # CSC has no exact inverse
NEEDED = {"AZP": {"PV2_1": 2.0}, "SZP": {"PV2_1": 2.0, "PV2_3": 60.0}, "BON": {"PV2_1": 45.0}, "ZPN": {"PV2_1": 1.0}}
NEEDED |= {kind: {"PV2_1": 45.0, "PV2_2": 5.0} for kind in ("COP", "COE", "COD", "COO")}
SYSTEMS = {
    "ICRS": ("RA--", "DEC-", {}),
    "FK5": ("RA--", "DEC-", {"RADESYS": "FK5", "EQUINOX": 2000.0}),
    "FK5 of 1975": ("RA--", "DEC-", {"RADESYS": "FK5", "EQUINOX": 1975.0}),
    "FK4": ("RA--", "DEC-", {"RADESYS": "FK4", "EQUINOX": 1950.0}),
    "galactic": ("GLON", "GLAT", {}),
    "ecliptic": ("ELON", "ELAT", {}),
}
SIP = {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 2e-5, "B_0_2": -3e-5, "A_1_1": 1e-5}
PLACES = [(12.25, 70.5), (60.0, 20.75), (80.5, 81.0)]


def header(kind="TAN", system="ICRS", ra=150.0, dec=2.0, **cards) -> fits.Header:
    lon, lat, extra = SYSTEMS[system]
    end = "-SIP" if "A_ORDER" in cards else ""
    made = {"CTYPE1": f"{lon}-{kind}{end}", "CTYPE2": f"{lat}-{kind}{end}", "CRVAL1": ra, "CRVAL2": dec, "CRPIX1": 45.0, "CRPIX2": 40.0}
    made |= {"CUNIT1": "deg", "CUNIT2": "deg", "CD1_1": -7e-5, "CD1_2": 2e-5, "CD2_1": 2e-5, "CD2_2": 7e-5}
    return fits.Header(made | NEEDED.get(kind, {}) | extra | cards)


def catalog_of(path, cards: fits.Header):
    image = sum(star((90, 100), x, y, 4, 5000) for x, y in PLACES) + np.random.default_rng(0).normal(0, 0.01, (90, 100))
    fits.writeto(path, image.astype(np.float32), cards)
    frame = read_field(FieldInput((path,), None, "f"))
    return measure(frame, detections(around(PLACES, 10)), flat(frame, noise=0.01))


def check(catalog, cards: fits.Header) -> None:
    """The stated sky position, by an independent way through astropy, falls on the stated pixel, and that on the true one."""
    assert sorted(zip(catalog["x"], catalog["y"])) == pytest.approx([pytest.approx(p, abs=0.01) for p in sorted(PLACES)])
    sky = SkyCoord(catalog["ra"], catalog["dec"], unit="deg", frame="icrs")
    x, y = WCS(cards).celestial.world_to_pixel(sky)
    np.testing.assert_allclose(x, catalog["x"], atol=1e-4)
    np.testing.assert_allclose(y, catalog["y"], atol=1e-4)
    assert np.isfinite(catalog["ra"]).all() and (catalog["ra"] >= 0).all() and (catalog["ra"] < 360).all()


@pytest.mark.parametrize("kind", PROJECTIONS)
def test_every_projection(tmp_path, kind):
    place = {"ra": 0.0, "dec": 90.0} if kind == "XPH" else {"ra": 20.0, "dec": 0.0} if kind in ("TSC", "QSC", "HPX") else {}
    cards = header(kind, **place)
    check(catalog_of(tmp_path / "f.fits", cards), cards)


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_becomes_icrs(tmp_path, system):
    cards = header(system=system)
    check(catalog_of(tmp_path / "f.fits", cards), cards)


@pytest.mark.parametrize("ra, dec", [(0.0, 0.0), (359.9999, -30.0), (0.0005, 60.0), (180.0, 89.9999), (10.0, -90.0), (77.0, 89.5)])
def test_around_the_poles_and_ra_zero(tmp_path, ra, dec):
    cards = header(ra=ra, dec=dec)
    check(catalog_of(tmp_path / "f.fits", cards), cards)


@pytest.mark.parametrize(
    "cards",
    [
        SIP,
        {"LONPOLE": 90.0},
        {"CD1_1": 7e-5, "CD1_2": 0.0, "CD2_1": 0.0},
        {"CD1_1": 0.0, "CD2_2": 0.0, "CD1_2": 7e-5, "CD2_1": 7e-5},
        {"CD1_1": -3e-3, "CD2_2": 3e-3},
        {"CRPIX1": -90_000.0, "CRPIX2": 40_000.0, "CD1_1": -7e-6, "CD2_2": 7e-6, "CD1_2": 0.0, "CD2_1": 0.0},
    ],
    ids=["SIP", "LONPOLE", "mirrored", "turned", "coarse", "far from the reference"],
)
def test_turned_distorted_and_far(tmp_path, cards):
    made = header(**cards)
    check(catalog_of(tmp_path / "f.fits", made), made)


def test_distortions_in_tables_of_their_own_are_left_out(tmp_path):
    """As HST's flc files have beside SIP; astropy wants the whole file for them."""
    tabled = header()
    tabled.update({"CPDIS1": "LOOKUP", "CPDIS2": "LOOKUP", "D2IMDIS1": "LOOKUP"})
    tabled.update({f"DP{axis}.{name}": value for axis in (1, 2) for name, value in (("EXTVER", float(axis)), ("NAXES", 2.0))})
    check(catalog_of(tmp_path / "a.fits", tabled), header())


def test_tpv(tmp_path):
    """The distortion of SCAMP and of the Dark Energy Camera."""
    cards = header("TPV", PV1_0=1e-5, PV1_1=1.001, PV1_4=2e-3, PV2_0=0.0, PV2_1=0.999, PV2_5=1e-3)
    check(catalog_of(tmp_path / "f.fits", cards), cards)
