"""merge -o FOLDER: every row with a place in one file, the one of its place, as HATS's tools read them."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from astroyolo_cli import partitions
from astroyolo_cli.cli import cli
from astroyolo_cli.errors import AstroYOLOWarning, OutputError
from astroyolo_cli.tables import read_table
from test_merge import write_catalog

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def catalogs(tmp_path):
    rng = np.random.default_rng(0)
    for name, n in (("a", 300), ("b", 500)):
        dec = np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
        write_catalog(tmp_path / f"{name}.fits", rng.uniform(0, 360, n), dec, rng.random(n))
    return tmp_path


def merged(folder, *more):
    return CliRunner().invoke(cli, ["merge", str(folder / "*.fits"), "-o", str(folder / "survey"), *more])


def test_the_parts_of_a_folder_merged_again_keep_their_fields(catalogs):
    assert merged(catalogs).exit_code == 0
    first = [read_table(path) for path in (catalogs / "survey").iterdir()]
    again = CliRunner().invoke(cli, ["merge", str(catalogs / "survey/*.parquet"), "-o", str(catalogs / "again.parquet")])
    assert again.exit_code == 0, again.exception
    table = read_table(catalogs / "again.parquet")
    assert set(table["field"]) == {"a", "b"}
    assert sum(table["is_primary"]) == sum(sum(part["is_primary"]) for part in first)


def test_every_row_is_in_the_file_of_its_place(catalogs):
    done = merged(catalogs)
    assert done.exit_code == 0, done.output
    ids = []
    for path in sorted((catalogs / "survey").iterdir()):
        table = read_table(path)
        south, west = float(path.name[3:6]), float(path.name[9:12])
        assert ((table["dec"] >= south) & (table["dec"] < south + 10)).all() and (table["ra"] >= west - 1).all()
        assert np.ptp(table["ra"]) * np.cos(np.radians(abs(south + 5))) < 11 or abs(south + 5) > 84
        ids += table["id"].tolist()
    assert sorted(ids) == list(range(1, 801))
    assert not list(catalogs.glob(".partial*"))


def test_poles_and_ra_zero_have_a_cell():
    ra, dec = np.array([0.0, 359.9999, 360.0, 10.0, 10.0]), np.array([0.0, 0.0, 0.0, 90.0, -90.0])
    names = {name: rows.tolist() for name, rows in partitions.partitions(ra, dec)}
    assert names["dec+80_ra000_000.parquet"] == [3] and names["dec-90_ra000_000.parquet"] == [4]
    assert names["dec+00_ra000_000.parquet"] == [0, 2] and names["dec+00_ra350_000.parquet"] == [1]


def test_many_rows_of_one_place_are_several_files(monkeypatch):
    monkeypatch.setattr(partitions, "MOST_ROWS", 4)
    parts = list(partitions.partitions(np.full(10, 5.0), np.full(10, 5.0)))
    assert [len(rows) for _, rows in parts] == [4, 3, 3] and [name[-11:-8] for name, _ in parts] == ["000", "001", "002"]


def test_rows_without_a_place_are_counted():
    with pytest.warns(AstroYOLOWarning, match="^2 rows without a place"):
        assert len(list(partitions.partitions(np.array([1, np.nan, 2]), np.array([1, 1, np.nan])))) == 1


def test_only_what_merge_made_is_replaced(catalogs):
    assert merged(catalogs).exit_code == 0
    with pytest.raises(OutputError, match="add --overwrite"):
        partitions.check_folder(catalogs / "survey", False)
    assert merged(catalogs, "--overwrite").exit_code == 0
    (catalogs / "survey" / "thesis.tex").touch()
    with pytest.raises(OutputError, match="thesis.tex"):
        partitions.check_folder(catalogs / "survey", True)
    assert merged(catalogs, "--columns", "id,score").exit_code == 2


EXAMPLE = Path(__file__).parents[1] / "examples" / "with_hats_import.py"


@pytest.mark.slow
def test_hats_import_and_lsdb_read_the_folder(catalogs):
    for library in ("hats_import", "lsdb"):
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    assert merged(catalogs).exit_code == 0
    (catalogs / "out").mkdir()
    command = [sys.executable, str(EXAMPLE), "survey", "out", "200"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=catalogs)
    assert ended.returncode == 0, ended.stderr[-2000:]
    primary = sum(read_table(path)["is_primary"].sum() for path in (catalogs / "survey").iterdir())
    assert f"800 rows, {primary} primary" in ended.stdout and int(ended.stdout.split(" in ")[1].split()[0]) > 4
