"""Merging: which rows are one source, which of them is primary, and that no row is lost."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from click.testing import CliRunner

from astroyolo_cli.cli import cli
from astroyolo_cli.columns import EDGE, FLAGS, column_called, columns_for
from astroyolo_cli.errors import AstroYOLOWarning, InputError, OutputError
from astroyolo_cli.merge import merge, primaries
from astroyolo_cli.tables import described, read_table
from astroyolo_cli.write import write


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


def write_fields(path, fields, ra, score=0.9):
    """A joined catalog, as detect writes it of several frames into one file."""
    path.parent.mkdir(exist_ok=True)
    write_catalog(path, ra, [60.0] * len(ra), [score] * len(ra))
    table = Table.read(path)
    table["field"] = fields
    table.write(path, overwrite=True)
    return path


def test_frames_of_one_name_in_two_joined_catalogs_are_two_frames(tmp_path):
    nights = [
        write_fields(tmp_path / night / "all.fits", ["a", "a", "b"], [10.0, 20.0, 30.0], score)
        for night, score in (("n1", 0.8), ("n2", 0.9))
    ]
    table = merge(nights, radius=1.0)
    assert table["field"].tolist() == ["n1_all_a", "n1_all_a", "n1_all_b", "n2_all_a", "n2_all_a", "n2_all_b"]
    assert table["is_primary"].tolist() == [False] * 3 + [True] * 3


def test_fields_of_one_file_alone_keep_their_names_and_no_two_become_one(tmp_path):
    paths = [
        write_fields(tmp_path / "one.fits", ["a", "one_a", "z"], [10.0, 10.0001, 30.0]),
        write_fields(tmp_path / "two.fits", ["a", "", "y"], [10.0, 50.0, 60.0]),
        write_fields(tmp_path / "y.fits", ["", "x", "x"], [10.0, 50.0, 60.0]),
    ]
    table = merge(paths, radius=1.0)
    assert table["field"].tolist() == ["one_one_a", "one_a", "z", "two_a", "two", "y", "y_y", "x", "x"]
    assert table["is_primary"].sum() == 4  # at 10, 30, 50 and 60


def test_frames_that_are_numbered_are_told_apart_too(tmp_path):
    paths = [
        write_fields(tmp_path / f"{name}.fits", fields, [10.0, 20.0]) for name, fields in (("a", [1, 2]), ("b", [2, 3]), ("c", [4, 5]))
    ]
    table = merge(paths, radius=1.0)
    assert table["field"].astype(str).tolist() == ["1", "a_2", "b_2", "3", "4", "5"] and table["is_primary"].sum() == 2


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


ENDINGS = ["csv", "parquet", "fits", "ecsv", "vot"]
STAR, SMOOTH = ("star", ""), ("galaxy", "smooth")


def write_sources(path, sources, unit="nmgy", **more):
    """A catalog as detect writes it: all columns in their declared types, morphology unknown for stars; a source is (class, morphology)."""
    n = len(sources)
    given = {"class": [kind for kind, _ in sources], "morphology": [form for _, form in sources]}
    given |= {"id": np.arange(1, n + 1), "ra": np.arange(n) + 10.0, "dec": np.full(n, -5.0), "flags": np.zeros(n)}
    table = Table()
    for column in columns_for(("g", "r")):
        values = np.asarray(given.get(column.name, np.full(n, 0.75)), column.dtype)
        unknown = values == "" if column.name == "morphology" else np.full(n, column.name.startswith("mag"))  # no zero point
        table[column.name] = MaskedColumn(values, mask=unknown, unit=unit if column.unit == "flux" else None)
    for name, values in more.items():
        table[name] = values
    write(described(table), path)
    return path


@pytest.mark.parametrize("out", ["fits", "csv"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_fields_without_galaxies_and_without_sources_are_merged(tmp_path, ending, out):
    for name, sources in (("a", []), ("b", [STAR, STAR]), ("c", [SMOOTH, STAR])):
        write_sources(tmp_path / f"{name}.{ending}", sources)
    ended = CliRunner().invoke(cli, ["merge", str(tmp_path / f"?.{ending}"), "-o", str(tmp_path / f"out.{out}")])
    assert ended.exit_code == 0, ended.exception
    back = read_table(tmp_path / f"out.{out}")
    assert np.asarray(back["class"], str).tolist() == ["star", "star", "galaxy", "star"]
    assert np.ma.filled(back["morphology"].astype(str), "").tolist() == ["", "", "smooth", ""]
    assert np.asarray(back["field"], str).tolist() == ["b", "b", "c", "c"] and back["id"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("ending", ENDINGS)
def test_merged_columns_are_of_the_types_and_units_that_detect_gives_them(tmp_path, ending):
    table = merge([write_sources(tmp_path / f"{name}.{ending}", sources) for name, sources in (("a", [STAR]), ("b", [SMOOTH]))], 1.0)
    for column in columns_for(("g", "r")):
        assert table[column.name].dtype.kind == np.dtype(column.dtype).kind, column.name
        assert column.dtype == "U6" or table[column.name].dtype.newbyteorder("=") == column.dtype, column.name
    assert np.ma.getmaskarray(np.ma.asarray(table["mag_g"])).all() or np.isnan(table["mag_g"]).all()
    if ending in ("ecsv", "vot"):  # the others' units are lost in reading
        assert str(table["flux"].unit) == "nmgy"


def test_catalogs_without_rows_alone_make_one_without_rows(tmp_path):
    paths = [write_sources(tmp_path / name, []) for name in ("a.csv", "b.fits", "c.vot")]
    table = merge(paths, 1.0)
    assert len(table) == 0 and {"ra", "class", "morphology", "flux_g", "field", "is_primary"} <= set(table.colnames)


def test_a_field_of_digits_keeps_its_zeros(tmp_path):
    digits = write_sources(tmp_path / "a.csv", [STAR, SMOOTH], field=["00123", "0007"])
    words = write_sources(tmp_path / "b.csv", [STAR], field=["abell"])
    assert merge([digits], 1.0)["field"].tolist() == ["00123", "0007"]
    assert merge([digits, words], 1.0)["field"].tolist() == ["00123", "0007", "abell"]
    assert merge([digits], 1.0)["morphology"].tolist() == [None, "smooth"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_merged_catalogs_are_merged_again(tmp_path, ending):
    one = write_sources(tmp_path / f"a.{ending}", [STAR], field=["a"], is_primary=[False])
    table = merge([one, write_sources(tmp_path / f"b.{ending}", [STAR])], 1.0)
    assert table["is_primary"].tolist() == [True, False] and table["field"].astype(str).tolist() == ["a", "b"]


def test_a_catalog_without_rows_says_nothing_of_the_types_of_other_columns(tmp_path):
    paths = [write_sources(tmp_path / f"{name}.csv", s, note=["seen"] * len(s)) for name, s in (("a", []), ("b", [STAR]))]
    assert merge(paths, 1.0)["note"].tolist() == ["seen"]


def test_large_numbers_of_ones_own_in_columns_named_like_ours_stay_whole(tmp_path):
    source = 2**60 + 1  # no 64-bit float holds it
    path = write_sources(tmp_path / "a.fits", [STAR], flux_id=[source], mag_system=["AB"])
    table = merge([path], 1.0)
    assert table["flux_id"].tolist() == [source] and table["mag_system"].astype(str).tolist() == ["AB"]


def test_descriptions_of_a_votable_fit_into_a_fits_header(tmp_path):
    write_sources(tmp_path / "a.vot", [STAR])
    table = read_table(tmp_path / "a.vot")
    assert "\n" in table["flux_err"].description  # as astropy breaks the lines of long ones
    ended = CliRunner().invoke(cli, ["merge", str(tmp_path / "a.vot"), "-o", str(tmp_path / "out.fits")])
    assert ended.exit_code == 0, ended.exception
    header = fits.getheader(tmp_path / "out.fits", 1)
    number = next(n for n in range(1, 99) if header[f"TTYPE{n}"] == "flux_err")
    assert header[f"TCOMM{number}"] == column_called("flux_err").meaning


def test_words_and_numbers_in_one_column_are_refused_in_one_line(tmp_path):
    paths = [write_sources(tmp_path / f"{name}.csv", [STAR], seen_by=[value]) for name, value in (("a", "me"), ("b", 5))]
    with pytest.raises(
        InputError, match="'seen_by' columns have incompatible types.*; give that column one type in all of them"
    ) as refused:
        merge(paths, 1.0)
    assert "\n" not in str(refused.value)


def test_regions_of_catalogs_without_boxes_are_refused_in_one_line(tmp_path):
    write_catalog(tmp_path / "a.csv", [1.0], [2.0], [0.5])
    write_sources(tmp_path / "b.csv", [STAR])
    for pattern in ("a.csv", "?.csv"):  # no box at all, and one for one of the two
        ended = CliRunner().invoke(cli, ["merge", str(tmp_path / pattern), "-o", str(tmp_path / "out.reg")])
        assert isinstance(ended.exception, OutputError) and "'xmin' is lacking" in str(ended.exception)
        assert not (tmp_path / "out.reg").exists()


def test_words_of_any_length_in_a_votable_go_into_fits(tmp_path):
    """As TOPCAT writes them: arraysize="*", which astropy reads as objects."""
    names = {"ra": "double", "dec": "double", "score": "float", "flags": "int", "class": 'char" arraysize="*', "note": 'char" arraysize="*'}
    fields = "".join(f'<FIELD name="{name}" datatype="{kind}"/>' for name, kind in names.items())
    cells = "".join(f"<TD>{value}</TD>" for value in (1, 2, 0.5, 0, "galaxy", "seen"))
    (tmp_path / "a.vot").write_text(
        '<?xml version="1.0"?><VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>'
        f"{fields}<DATA><TABLEDATA><TR>{cells}</TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
    )
    write(merge([tmp_path / "a.vot"], 1.0), tmp_path / "out.fits")
    row = fits.getdata(tmp_path / "out.fits", 1)[0]
    assert (row["class"], row["note"], row["field"]) == ("galaxy", "seen", "a")


def merged(tmp_path, out, *more):
    return CliRunner().invoke(cli, ["merge", str(tmp_path / "[ab].*"), "-o", str(tmp_path / out), *more])


@pytest.mark.parametrize("ending", ["parquet", "fits", "ecsv", "vot"])
def test_fluxes_in_different_units_are_refused_in_one_line(tmp_path, ending):
    for name, unit in (("a", "adu"), ("b", "nmgy")):
        write_sources(tmp_path / f"{name}.{ending}", [STAR], unit=unit)
    ended = merged(tmp_path, "out.fits")
    said = str(ended.exception)
    assert isinstance(ended.exception, InputError) and "\n" not in said and not (tmp_path / "out.fits").exists()
    assert all(
        word in said for word in (f"a.{ending}", f"b.{ending}", "nmgy", "adu", "merge catalogs of one unit", "--columns without flux, ")
    )
    assert merged(tmp_path, "out.fits", "--columns", "id,ra,dec,flux").exit_code == 1
    without = merged(tmp_path, "out.fits", "--columns", "id,ra,dec,snr")
    assert without.exit_code == 0 and "note" not in without.stderr
    assert merged(tmp_path, "one.fits", "--columns", "id,ra,dec,snr").exit_code == 0


def test_a_catalog_without_rows_has_no_unit_to_disagree_in(tmp_path):
    write_sources(tmp_path / "a.fits", [STAR], unit="adu")
    write_sources(tmp_path / "b.fits", [], unit="nmgy")
    assert merged(tmp_path, "out.ecsv").exit_code == 0
    assert str(Table.read(tmp_path / "out.ecsv")["flux_g"].unit) == "adu"


def test_fluxes_of_which_some_say_no_unit_have_none(tmp_path):
    paths = [write_sources(tmp_path / "a.csv", [STAR]), write_sources(tmp_path / "b.fits", [STAR])]
    with pytest.warns(AstroYOLOWarning, match="no unit .*a.csv.*nmgy .*b.fits.*left empty"):
        table = merge(paths, 1.0)
    assert table["flux"].unit is None and table["flux_err_r"].unit is None and str(table["x"].unit) == "pix"


def test_a_merged_catalog_says_what_its_flags_mean(tmp_path):
    for name in "ab":
        write_sources(tmp_path / f"{name}.fits", [STAR])
    assert merged(tmp_path, "out.fits").exit_code == merged(tmp_path, "out.ecsv").exit_code == 0
    header = fits.getheader(tmp_path / "out.fits", 1)
    assert {bit: header[f"FLAG{bit}"] for bit in FLAGS} == FLAGS
    meta = Table.read(tmp_path / "out.ecsv").meta
    assert meta["flag_bits"] == {str(bit): meaning for bit, meaning in FLAGS.items()} and "count from 0" in meta["pixel_origin"]


def test_an_output_among_the_catalogs_is_refused_before_the_work(tmp_path):
    for name in "ab":
        write_sources(tmp_path / f"{name}.fits", [STAR])
    arguments = ["merge", str(tmp_path / "*.fits"), "-o", str(tmp_path / "survey.fits"), "--overwrite"]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    before = (tmp_path / "survey.fits").read_bytes()
    again = CliRunner().invoke(cli, arguments)
    assert isinstance(again.exception, OutputError) and "survey.fits: is or holds one of the CATALOGs" in str(again.exception)
    assert (tmp_path / "survey.fits").read_bytes() == before


@pytest.mark.parametrize("name", ["surv.v1/", "surv.v1"])
def test_folders_with_a_dot_in_their_name_are_folders(tmp_path, name):
    pytest.importorskip("pyarrow")
    for number in "ab":
        write_sources(tmp_path / f"{number}.fits", [STAR])
    if not name.endswith("/"):
        (tmp_path / name).mkdir()
    ended = CliRunner().invoke(cli, ["merge", str(tmp_path / "?.fits"), "-o", f"{tmp_path}/{name}", "--overwrite"])
    assert ended.exit_code == 0, ended.exception
    (part,) = (tmp_path / "surv.v1").iterdir()
    again = CliRunner().invoke(cli, ["merge", str(part), "-o", f"{tmp_path}/surv.v1/", "--overwrite"])
    assert "surv.v1: is or holds one of the CATALOGs" in str(again.exception) and part.exists()


def test_columns_of_ones_own_in_a_single_fits_catalog_go_into_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    values = {"mine": np.arange(2, dtype=">f4"), "number": np.array([2**60 + 1, 7], ">i8"), "said": ["yes", "no"]}
    write_sources(tmp_path / "a.fits", [STAR, STAR], **values)
    ended = CliRunner().invoke(cli, ["merge", str(tmp_path / "a.fits"), "-o", str(tmp_path / "out.parquet")])
    assert ended.exit_code == 0, ended.exception
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table["mine"].to_pylist() == [0, 1] and table["number"].to_pylist() == [2**60 + 1, 7]


@pytest.mark.parametrize("given", ["@empty.txt", "-"])
def test_no_catalog_at_all_is_said_in_one_line(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").touch()
    error = CliRunner().invoke(cli, ["merge", given, "-o", "out.csv"]).exception
    assert isinstance(error, InputError) and str(error).startswith("no input: name at least one file")


def test_lists_and_csv_catalogs_with_the_mark_of_utf_8_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        write_sources(tmp_path / f"{name}.csv", [STAR])
        text = (tmp_path / f"{name}.csv").read_text().replace("id,", "ra,", 1).replace(",ra,", ",id,", 1)  # ra comes first
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8-sig")
    (tmp_path / "list.txt").write_text("a.csv\nb.csv\n", encoding="utf-8-sig")
    ended = CliRunner().invoke(cli, ["merge", "@list.txt", "-o", "out.csv"])
    assert ended.exit_code == 0, ended.exception
    assert read_table(tmp_path / "out.csv")["field"].tolist() == ["a", "b"]


def test_a_single_field_of_digits_keeps_them_after_the_mark_of_utf_8(tmp_path):
    (tmp_path / "a.csv").write_text("field,ra,dec,score,flags\n0012,1,2,0.5,0\n", encoding="utf-8-sig")
    assert merge([tmp_path / "a.csv"], 1.0)["field"].tolist() == ["0012"]
