"""Sending by SAMP, to clients on a hub of the library's own: what arrives is the catalog; what can be missing is said in one line."""

import builtins
import time
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np
import pytest
from astropy.io.votable import parse_single_table
from astropy.table import Table
from click.testing import CliRunner

from astroyolo_cli import send as sending
from astroyolo_cli.cli import cli
from astroyolo_cli.errors import AstroYOLOError, InputError
from astroyolo_cli.tables import read_table
from astroyolo_cli.write import write


@pytest.fixture
def samp(tmp_path, monkeypatch):
    """pyvo.samp, without a look at the internet and with a home folder, for lock files, of the test's own."""
    module = pytest.importorskip("pyvo.samp")
    monkeypatch.delenv("SAMP_HUB", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    for name in ("home", "temporary"):
        (tmp_path / name).mkdir()
    with module.conf.set_temp("use_internet", False):
        yield module


@pytest.fixture
def hub(samp):
    server = samp.SAMPHubServer(web_profile=False, addr="127.0.0.1")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def program(samp, hub):
    """A function that starts a program on the hub, which answers each table as told; it returns the list of what it got."""
    started = []

    def start(name, answer="samp.ok", mtype="table.load.votable"):
        client, got = samp.SAMPIntegratedClient(name=name, addr="127.0.0.1"), []

        def receive(private_key, sender, message_id, mtype, params, extra):
            got.append(params)
            if answer is not None:
                client.ereply(message_id, answer, result={}, error={"samp.errortxt": "disk\n full"})

        client.connect(hub)
        started.append(client)
        client.bind_receive_call(mtype, receive)
        return got

    yield start
    for client in started:
        client.disconnect()


def catalog(n=5):
    """A small catalog with text, integers, empty cells, and columns with and without units."""
    rng = np.random.default_rng(1)
    table = Table({"id": np.arange(1, n + 1), "ra": 150 + rng.random(n), "dec": rng.random(n)})
    table["class"] = (["star", "galaxy"] * n)[:n]
    table["mag"] = np.ma.MaskedArray(rng.normal(20, 1, n), mask=np.arange(n) == 2)
    table["flux_err_r"], table["flags"] = rng.random(n), np.full(n, 8)
    return table


def file_of(params) -> Path:
    return Path(url2pathname(urlparse(params["url"]).path))


def run(*arguments):
    return CliRunner().invoke(cli, ["send", *map(str, arguments)])


def text(column) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in column]


@pytest.mark.parametrize("ending", ["csv", "ecsv", "fits", "vot", "parquet"])
def test_what_arrives_is_the_catalog(tmp_path, program, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"a catalog of mine.{ending}"
    write(catalog(), path)
    got = program("topcat")
    ended = run(path)
    assert ended.exit_code == 0 and f"{path}: loaded by topcat" in ended.stderr
    assert got[0]["name"] == path.name and got[0]["url"].startswith("file:///") and "%" not in got[0]["url"]
    votable, sent = parse_single_table(file_of(got[0])), read_table(path)
    back = votable.to_table()
    assert back.colnames == sent.colnames and len(back) == 5
    for name in ("id", "ra", "dec", "mag", "flux_err_r", "flags"):
        np.testing.assert_array_equal(np.ma.filled(back[name].astype(float), np.nan), np.ma.filled(sent[name].astype(float), np.nan))
    assert np.isnan(np.ma.filled(back["mag"], np.nan)).tolist() == [False, False, True, False, False]
    assert text(back["class"]) == text(sent["class"]) == ["star", "galaxy", "star", "galaxy", "star"]
    assert votable.get_field_by_id_or_name("ra").ucd == "pos.eq.ra;meta.main" and str(back["dec"].unit) == "deg"


def test_a_catalog_of_another_program_is_not_described(tmp_path, program):
    (tmp_path / "other.csv").write_text("ra,a,period\n1,2,3\n")
    got = program("topcat")
    assert run(tmp_path / "other.csv", "--quiet").stderr == ""
    assert {field.ucd for field in parse_single_table(file_of(got[0])).fields} == {None}


@pytest.mark.parametrize("to, who", [(None, {"topcat", "SAOImage DS9"}), ("TOPCAT", {"topcat"}), ("ds9", {"SAOImage DS9"})])
def test_only_to_programs_that_take_tables_and_are_meant(tmp_path, program, to, who):
    write(catalog(), tmp_path / "c.csv")
    got = {name: program(name) for name in ("topcat", "SAOImage DS9")} | {"images": program("images", mtype="image.load.fits")}
    ended = run(tmp_path / "c.csv", *(["--to", to] if to else []))
    assert ended.exit_code == 0 and {name for name, messages in got.items() if messages} == who


def test_a_program_that_refuses_is_named_and_the_others_get_it(tmp_path, program):
    write(catalog(), tmp_path / "c.csv")
    program("Aladin", "samp.error")
    ended = run(tmp_path / "c.csv")
    assert ended.exit_code == 1 and "Aladin did not load it (disk full)" in ended.stderr and len(ended.stderr.splitlines()) == 1
    assert not list((tmp_path / "temporary").iterdir())
    got = program("topcat")
    ended = run(tmp_path / "c.csv")
    assert ended.exit_code == 1 and "loaded by topcat" in ended.stderr and file_of(got[0]).is_file()


def test_a_program_that_does_not_answer_is_not_waited_for_all_night(tmp_path, program, monkeypatch):
    monkeypatch.setattr(sending, "PATIENCE", 1)
    write(catalog(), tmp_path / "c.csv")
    program("asleep", None)
    began = time.monotonic()
    assert "no answer in 1 s" in run(tmp_path / "c.csv").stderr and time.monotonic() - began < 20


def test_what_is_missing_is_said_with_its_remedy(tmp_path, samp, request):
    write(catalog(), tmp_path / "c.csv")
    with pytest.raises(AstroYOLOError, match="no SAMP hub answers .*; start TOPCAT"):
        sending.send(tmp_path / "c.csv")
    (tmp_path / "home" / ".samp").write_text("samp.secret=1\nsamp.hub.xmlrpc.url=http://127.0.0.1:9/\nsamp.profile.version=1.3\n")
    with pytest.raises(AstroYOLOError, match="no SAMP hub answers"):  # of a hub that was killed
        sending.send(tmp_path / "c.csv")
    request.getfixturevalue("hub")
    with pytest.raises(AstroYOLOError, match="takes tables; start TOPCAT"):
        sending.send(tmp_path / "c.csv")
    request.getfixturevalue("program")("topcat")
    with pytest.raises(AstroYOLOError, match="no program 'gaia' on the SAMP hub takes tables; there are topcat"):
        sending.send(tmp_path / "c.csv", "gaia")
    assert not list((tmp_path / "temporary").iterdir())


def test_without_pyvo_and_without_a_catalog(tmp_path, monkeypatch):
    write(catalog(), tmp_path / "c.csv")
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("pyvo"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(AstroYOLOError, match=r"astroyolo\[samp\]"):
        sending.send(tmp_path / "c.csv")
    (tmp_path / "c.txt").write_text("nothing")
    with pytest.raises(InputError, match="not a known kind of catalog"):
        sending.send(tmp_path / "c.txt")
    assert run(tmp_path / "none.csv").exit_code == 2


@pytest.mark.parametrize(
    "name, unit", [("flux_r", "flux"), ("flux_err_r", "flux"), ("mag_err_g", "mag"), ("flux_err", "flux"), ("field", "")]
)
def test_names_of_columns_with_bands(name, unit):
    column = sending.column_called(name)
    assert (column.name, column.unit) == (name, unit)
    assert ("error" in column.meaning) == ("err" in name) and sending.column_called("flux_") is None
