"""Catalogs, read back by other readers."""

import csv
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import parse
from astropy.table import MaskedColumn, Table

from astroyolo_cli import write as writing
from astroyolo_cli.columns import COLUMNS, FLAGS
from astroyolo_cli.detections import Detections
from astroyolo_cli.errors import OutputError
from astroyolo_cli.measure import measure
from astroyolo_cli.write import WRITERS, check_output, only_columns, write
from conftest import make_frame, star, tan_wcs
from test_measure import around, detections, flat


def csv_rows(path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def catalog():
    frame = make_frame({"r": star((80, 80), 30.25, 50.5, 4, 2000) + star((80, 80), 60, 20, 4, 900)}, wcs=tan_wcs(), unit="nmgy")
    table = measure(frame, detections(around([(30, 50), (60, 20), (70, 70)], 8), p_galaxy=0.2), flat(frame, noise=0.5))
    table["flux"].mask = [False, False, True] if hasattr(table["flux"], "mask") else None
    table.meta["provenance"] = {"version": "1", "inputs": {"a.fits": "00ff"}, "tile": 512, "weights": "nano"}
    return table


@pytest.mark.parametrize("ending", [".fits", ".csv", ".ecsv", ".vot"])
@pytest.mark.filterwarnings("ignore::astropy.units.UnitsWarning")
@pytest.mark.filterwarnings("ignore::astropy.io.votable.exceptions.VOWarning")
def test_every_format_reads_back_equal(tmp_path, catalog, ending):
    write(catalog, tmp_path / f"c{ending}")
    back = Table.read(tmp_path / f"c{ending}", **({"format": "ascii.csv"} if ending == ".csv" else {}))
    assert back.colnames == catalog.colnames and len(back) == 3
    for name in ("x", "y", "ra", "dec", "flux", "score", "xmin"):
        np.testing.assert_allclose(
            np.ma.filled(back[name].astype(float), -1),
            np.ma.filled(np.ma.masked_invalid(catalog[name].astype(float)), -1),
            rtol=2e-6,
            atol=6e-5 if ending == ".csv" else 1e-9,
        )
    assert list(back["class"]) == list(catalog["class"])


def test_csv_is_plain_with_empty_cells(tmp_path, catalog):
    write(catalog, tmp_path / "c.csv")
    rows = csv_rows(tmp_path / "c.csv")
    assert list(rows[0]) == [c.name for c in COLUMNS]
    assert rows[0]["morphology"] == "" and rows[0]["mag"] == "" and rows[2]["x_err"] == ""


@pytest.mark.parametrize("rows", [1, 2, 3, 9])
def test_csv_is_written_some_rows_at_a_time(tmp_path, catalog, monkeypatch, rows):
    monkeypatch.setattr(writing, "ROWS", rows)
    write(catalog, tmp_path / "c.csv")
    assert [float(row["x"]) for row in csv_rows(tmp_path / "c.csv")] == pytest.approx(list(catalog["x"]), abs=1e-4)
    assert [row["flux"] == "" for row in csv_rows(tmp_path / "c.csv")] == [False, False, True]


def test_csv_and_fits_hold_the_same_rows(tmp_path, catalog):
    write(catalog, tmp_path / "c.csv")
    write(catalog, tmp_path / "c.fits")
    table = fits.getdata(tmp_path / "c.fits", 1)
    for row, other in zip(csv_rows(tmp_path / "c.csv"), table):
        assert float(row["ra"]) == pytest.approx(other["ra"], abs=1e-8)
        assert row["class"] == other["class"] and int(row["flags"]) == other["flags"]


def test_fits_holds_text_that_is_not_ascii_with_question_marks(tmp_path):
    write(Table({"field": ["é", "M31"], "x": [1.0, 2.0]}), tmp_path / "c.fits")
    assert fits.getdata(tmp_path / "c.fits", 1)["field"].tolist() == ["?", "M31"]


def test_units_and_meanings_of_any_letters_go_into_a_fits_header(tmp_path):
    table = Table({"x": MaskedColumn([1.0], unit="pix", description="  first\n   líne ")})
    write(table, tmp_path / "c.fits")
    assert fits.getheader(tmp_path / "c.fits", 1)["TCOMM1"] == "first l?ne"


def test_fits_has_units_meanings_flags_and_provenance(tmp_path, catalog):
    write(catalog, tmp_path / "c.fits")
    with fits.open(tmp_path / "c.fits", checksum=True) as hdus:
        header = hdus[1].header
        units = {c.name: c.unit for c in hdus[1].columns}
    assert units["x"] == "pixel" or units["x"] == "pix"
    assert units["ra"] == "deg"
    number = catalog.colnames.index("ra") + 1
    assert header[f"TUCD{number}"] == "pos.eq.ra;meta.main" and "ICRS" in header[f"TCOMM{number}"]
    assert [header[f"FLAG{bit}"] for bit in FLAGS] == list(FLAGS.values())
    assert header["NSTARS"] == catalog.meta["stars"] and header["NOISESC1"] >= 1
    assert header["TILE"] == 512 and "00ff" in str(header["HISTORY"])


def test_a_votable_says_what_a_fits_header_says(tmp_path, catalog):
    write(catalog, tmp_path / "c.vot")
    document = parse(tmp_path / "c.vot")
    said = {info.name: info.value for info in document.resources[0].infos}
    assert said["ORIGIN0"].startswith("True") and [said[f"FLAG{bit}"] for bit in FLAGS] == list(FLAGS.values())
    assert "00ff" in said["HISTORY2"] and said["TILE"] == "512"
    fields = {field.name: field for field in document.get_first_table().fields}
    assert {fields[name].ref for name in ("ra", "dec")} == {"icrs"} and document.get_coosys_by_id("icrs").system == "ICRS"
    assert [fields[column.name].ucd for column in COLUMNS] == [column.ucd for column in COLUMNS]


@pytest.mark.skipif(shutil.which("stilts") is None, reason="no stilts in PATH")
def test_stilts_finds_nothing_wrong_with_a_votable_and_the_same_rows_everywhere(tmp_path, catalog):
    for ending in (".vot", ".fits", ".csv"):
        write(catalog, tmp_path / f"c{ending}")
    lint = subprocess.run(["stilts", "votlint", str(tmp_path / "c.vot")], capture_output=True, text=True, check=True)
    assert lint.stdout + lint.stderr == ""
    command = ["stilts", "tpipe", "ofmt=csv", "cmd=keepcols 'id x ra class morphology flags'"]
    quiet = {"capture_output": True, "text": True, "check": True}
    rows = {
        ending: subprocess.run([*command, f"ifmt={kind}", f"in={tmp_path / 'c'}{ending}"], **quiet).stdout
        for ending, kind in ((".vot", "votable"), (".fits", "fits"), (".csv", "csv"))
    }
    assert rows[".vot"] == rows[".fits"]
    for row, other in zip(*(csv.DictReader(rows[ending].splitlines()) for ending in (".csv", ".fits"))):
        assert float(row.pop("x")) == pytest.approx(float(other.pop("x")), abs=1e-4)
        assert float(row.pop("ra")) == pytest.approx(float(other.pop("ra")), abs=1e-8)
        assert row == other


def test_ds9_counts_from_one(tmp_path, catalog):
    write(catalog, tmp_path / "c.reg")
    first = (tmp_path / "c.reg").read_text().splitlines()[2]
    assert first.startswith("box(31.000,51.000,17.000,17.000,0)")  # our 30, 50, and 22 to 38


def test_an_empty_catalog_is_written(tmp_path):
    frame = make_frame({"r": np.ones((9, 9))})
    empty = measure(frame, Detections.empty(), flat(frame))
    for ending in WRITERS:
        write(empty, tmp_path / f"c{ending}")
    assert len(fits.getdata(tmp_path / "c.fits", 1)) == 0
    assert (tmp_path / "c.csv").read_text().count("\n") == 1


def test_what_cannot_be_written_is_said_before_the_work(tmp_path):
    with pytest.raises(OutputError, match="known endings"):
        check_output(tmp_path / "c.xyz", overwrite=False)
    with pytest.raises(OutputError, match="folder"):
        check_output(tmp_path / "no" / "c.csv", overwrite=False)
    (tmp_path / "c.csv").touch()
    with pytest.raises(OutputError, match="--overwrite"):
        check_output(tmp_path / "c.csv", overwrite=False)
    check_output(tmp_path / "c.csv", overwrite=True)


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, catalog, monkeypatch):
    def fail(table, path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    (tmp_path / "c.csv").write_text("old")
    monkeypatch.setitem(writing.WRITERS, ".csv", fail)
    with pytest.raises(OutputError, match="No space"):
        write(catalog, tmp_path / "c.csv", overwrite=True)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("c.csv", "old")]


def test_text_never_becomes_a_formula(tmp_path):
    table = Table({"field": ["=1+1", "@cmd", "plain", "-3"]})
    writing.write_csv(table, tmp_path / "c.csv")
    cells = [row["field"] for row in csv_rows(tmp_path / "c.csv")]
    assert cells == ["'=1+1", "'@cmd", "plain", "'-3"]


def test_parquet_has_units_and_ucds_and_nulls(tmp_path, catalog):
    parquet = pytest.importorskip("pyarrow.parquet")
    write(catalog, tmp_path / "c.parquet")
    table = parquet.read_table(tmp_path / "c.parquet")
    assert table.column_names == catalog.colnames
    details = table.schema.field("ra").metadata
    assert details[b"unit"] == b"deg" and details[b"ucd"] == b"pos.eq.ra;meta.main" and b"ICRS" in details[b"description"]
    assert json.loads(table.schema.metadata[b"astroyolo"])["provenance"]["tile"] == 512
    np.testing.assert_array_equal(table["x"].to_numpy(), catalog["x"])
    assert table["class"].to_pylist() == list(catalog["class"])
    assert table["morphology"].to_pylist() == [None] * 3 and table["mag"].null_count == 3


def test_json_lines_hold_an_object_a_row(tmp_path, catalog):
    write(catalog, tmp_path / "c.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text().splitlines()]
    for row, plain in zip(rows, csv_rows_of(tmp_path, catalog), strict=True):
        assert list(row) == list(plain)
        assert {name: "" if row[name] is None else row[name] for name in row} == {
            name: float(text) if text and isinstance(row[name], float) else int(text) if isinstance(row[name], int) else text
            for name, text in plain.items()
        }


def csv_rows_of(tmp_path, catalog):
    write(catalog, tmp_path / "same.csv")
    return csv_rows(tmp_path / "same.csv")


def test_chosen_columns_come_in_their_order(tmp_path, catalog):
    write(only_columns(catalog, ("dec", "class", "ra")), tmp_path / "c.csv")
    assert list(csv_rows(tmp_path / "c.csv")[0]) == ["dec", "class", "ra"]
    assert only_columns(catalog, None) is catalog
    with pytest.raises(OutputError, match="flux_z"):
        only_columns(catalog, ("ra", "flux_z"))


def test_a_dash_is_csv_on_standard_output(tmp_path, catalog, capsys):
    write(catalog, Path("-"))
    write(catalog, tmp_path / "c.csv")
    assert capsys.readouterr().out == (tmp_path / "c.csv").read_text()
    assert not Path("-").exists()


def test_numbers_of_text_formats_are_those_of_one_by_one():
    values = np.array([0.0, -0.0, 1e-12, -3.00004999, 12345678.9, 5e300, np.nan, np.inf, -np.inf, 7.5], np.float64)
    for name, form in (("x", "{:.4f}"), ("flux", "{:.7g}")):
        column = MaskedColumn(values, name=name, mask=np.arange(10) == 9)
        expected = [form.format(v) if np.isfinite(v) else "" for v in values[:9]] + [""]
        assert writing.text_cells(column) == expected
        assert writing.text_cells(column[:4].astype(np.float32)) == [form.format(float(np.float32(v))) for v in values[:4]]
        assert writing.text_cells(column[:0]) == []


BAND = "H\N{GREEK SMALL LETTER ALPHA}"


@pytest.fixture
def halpha():
    """A catalog of the bands Halpha, r, and two whose names differ only beyond ASCII; the reference is the first."""
    shape = (60, 60)
    frame = make_frame({band: star(shape, 30, 30, 4, 2000) for band in (BAND, "Halpha", "r")}, unit="nmgy")
    table = measure(frame, detections(around([(30, 30)], 8), p_galaxy=0.2), flat(frame, noise=0.5))
    table.meta["provenance"] = {"bands": f"{BAND},Halpha,r"}
    return table


def test_fits_has_names_of_ascii_alone_all_of_them_different(tmp_path, halpha):
    before = list(halpha.colnames)
    write(halpha, tmp_path / "c.fits")
    header, table = fits.getheader(tmp_path / "c.fits", 1), fits.getdata(tmp_path / "c.fits", 1)
    assert table.names == [name.replace(BAND, "Halpha_2") for name in before] and len(set(table.names)) == len(before)
    assert header["REFBAND"] == "Halpha_2" and str(header["HISTORY"]).startswith("bands Halpha,Halpha,r")
    assert table["flux_Halpha_2"][0] == halpha[f"flux_{BAND}"][0] == table["flux"][0]
    assert halpha.colnames == before and halpha.meta["reference_band"] == BAND  # the catalog itself stays as it is


@pytest.mark.parametrize("ending", [".csv", ".ecsv", ".vot", ".jsonl", ".parquet"])
def test_other_formats_keep_names_of_any_letters(tmp_path, halpha, ending):
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    write(halpha, tmp_path / f"c{ending}")
    assert f"flux_{BAND}".encode() in (tmp_path / f"c{ending}").read_bytes()


def test_names_that_fits_cannot_hold_are_spelled():
    assert [writing.spelled(name) for name in ("\u03a9\u03ac", "\u00c5", "\u5149", "r'")] == ["omegaalpha", "A", "_", "r'"]
    assert list(writing.ascii_names(["\u00e9", "E", "e_2", "\u00e8"]).values()) == ["e_3", "E", "e_2", "e_4"]


def test_numbers_that_no_header_can_hold_are_left_out(tmp_path, catalog):
    catalog.meta |= {"star_r50": float("nan"), "frame_fwhm": np.float32("inf"), "noise_scale": {"r": np.nan, "g": 1.5}, "stars": 0}
    catalog.meta["provenance"]["zoom"] = np.float64("nan")
    write(catalog, tmp_path / "c.fits")
    header = fits.getheader(tmp_path / "c.fits", 1)
    assert not {"STARR50", "FRMFWHM", "NOISESC1", "ZOOM"} & set(header)
    assert header["NOISESC2"] == 1.5 and header["NSTARS"] == 0 and header["APERRAD"] > 0 and header["TILE"] == 512
    write(catalog, tmp_path / "c.vot")
    assert "nan" not in {info.value.split()[0] for info in parse(tmp_path / "c.vot").resources[0].infos if info.value}
