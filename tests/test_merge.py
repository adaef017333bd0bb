"""Merging: which rows are one source, which of them is primary, and that no row is lost."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from click.testing import CliRunner

from astroyolo_cli.cli import cli
from astroyolo_cli.columns import EDGE
from astroyolo_cli.errors import InputError
from astroyolo_cli.merge import merge, primaries
from astroyolo_cli.tables import read_table


def write_catalog(path, ra, dec, score, flags=None):
    n = len(ra)
    columns = {"id": np.arange(1, n + 1), "ra": ra, "dec": dec, "class": ["star"] * n, "score": score}
    Table(columns | {"flags": np.zeros(n, int) if flags is None else flags, "flux_r": np.ones(n)}).write(path)
    return path


ARCSEC = 1 / 3600


def test_of_two_rows_of_one_source_the_whole_and_then_the_surer_is_primary(tmp_path):
    dec = [60.0, 60.01, 60.02]  # far from the equator, where an arcsecond of RA is half as wide
    a = write_catalog(tmp_path / "a.fits", [10.0, 10.0, 10.0], dec, [0.9, 0.8, 0.9], [0, 0, EDGE])
    b = write_catalog(tmp_path / "b.fits", [10 + 1.6 * ARCSEC, 10.0, 10.0], dec, [0.7, 0.95, 0.5])
    table = merge([a, b], radius=1.0)
    assert table["field"].tolist() == ["a"] * 3 + ["b"] * 3 and table["id"].tolist() == [1, 2, 3, 4, 5, 6]
    assert table["is_primary"].tolist() == [True, False, False, False, True, True]
    assert merge([a, b], radius=0.7)["is_primary"].tolist() == [True, False, False, True, True, True]  # 0.8 arcsec apart on the sky


def test_catalogs_of_one_name_in_two_folders_are_two_fields(tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
    paths = [write_catalog(tmp_path / f"{folder}/one.fits", [10.0], [60.0], [score]) for folder, score in (("a", 0.8), ("b", 0.9))]
    table = merge(paths, radius=1.0)
    assert table["field"].tolist() == ["a_one", "b_one"] and table["is_primary"].tolist() == [False, True]
    with pytest.raises(InputError, match="one.fits: named twice"):
        merge([paths[0], paths[0]], radius=1.0)


def test_neighbours_in_one_frame_are_two_sources():
    ra, dec = np.array([0.0, 0.6, 0.1, 0.62]) * ARCSEC, np.zeros(4)
    field = np.array(["a", "a", "b", "b"])
    assert primaries(ra, dec, field, np.arange(4), radius=1.0).tolist() == [True, True, False, False]


def test_across_ra_zero_and_without_a_place():
    ra = np.array([359.99999, 0.00001, np.nan, np.nan])
    got = primaries(ra, np.zeros(4), np.array(["a", "b", "a", "b"]), np.arange(4), radius=1.0)
    assert got.tolist() == [True, False, True, True]


@pytest.mark.parametrize("seed", range(3))
def test_against_astropy_on_a_sparse_sky(seed):
    """Sources far apart, seen in two frames with errors below the radius: each has one primary row, as a plain cross-match finds."""
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(150, 150.2, 200), rng.uniform(2, 2.2, 200)
    seen = rng.random((2, 200)) < 0.7
    moved = [rng.normal(0, 0.1 * ARCSEC, (2, 200)) for _ in range(2)]
    all_ra = np.concatenate([(ra + moved[k][0])[seen[k]] for k in range(2)])
    all_dec = np.concatenate([(dec + moved[k][1])[seen[k]] for k in range(2)])
    field = np.repeat(["a", "b"], seen.sum(axis=1))
    got = primaries(all_ra, all_dec, field, rng.permutation(len(all_ra)), radius=1.0)
    a, b = (SkyCoord(all_ra[field == f], all_dec[field == f], unit="deg") for f in "ab")
    _, apart, _ = a.match_to_catalog_sky(b)
    assert got.sum() == len(all_ra) - (apart.arcsec < 1).sum()


@pytest.mark.parametrize("ending", ["csv", "fits", "parquet"])
def test_the_command(tmp_path, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    for number, name in enumerate("ab"):
        write_catalog(tmp_path / f"{name}.fits", [1.0, 2.0 + number], [0.0, 0.0], [0.9 - 0.1 * number, 0.5])
    ended = CliRunner().invoke(cli, ["merge", str(tmp_path / "*.fits"), "-o", str(tmp_path / f"out.{ending}")])
    assert ended.exit_code == 0 and "4 rows, 3 primary" in ended.stderr
    back = read_table(tmp_path / f"out.{ending}")
    assert [str(value) for value in back["is_primary"]] == ["True", "True", "False", "True"] and set(back["field"]) == {"a", "b"}


def test_catalogs_that_lack_what_it_takes_are_named(tmp_path):
    (tmp_path / "bare.csv").write_text("x,y\n1,2\n")
    with pytest.raises(InputError, match="bare.csv: no column 'ra'"):
        merge([tmp_path / "bare.csv"], 1.0)
    ended = CliRunner().invoke(cli, ["merge", str(tmp_path / "*.fits"), "-o", str(tmp_path / "out.csv")])
    assert "fits no file" in str(ended.exception) and not (tmp_path / "out.csv").exists()
