"""What strangers' files do to the program: one line each, nothing half written, and the good files beside them are done."""

import csv
import json
import os
import resource
import socket

import pytest
from click.testing import CliRunner

from astroyolo_cli.cli import cli
from astroyolo_cli.errors import AstroYOLOError
from conftest import FakeEngine
from hostile_files import hostile, plain_fits, sound

LONGEST = 20  # seconds for any one file, on a machine that does nothing else
MOST_MEMORY = 1500  # MB that the whole corpus may add, whatever it claims
CUTS = ("cut-0.", "cut-0-", "cut-1.", "cut-1-", "cut-3.", "cut-3-", "cut-80.", "cut-80-")  # too little for an image of any format


@pytest.fixture(scope="module", autouse=True)
def network():
    """Detection by a network that reports two boxes."""
    from astroyolo_cli.model import engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "open_engine", lambda *_: FakeEngine([(20, 12, 36, 28), (5, 5, 20, 19)]))
        yield


def run(command, *arguments):
    small = ("--tile", "64", "--overlap", "32", "--views", "1") if command == "detect" else ()
    return CliRunner().invoke(cli, [command, *map(str, arguments), *small])


def refusal(ended) -> str:
    """The one line in which the program refuses."""
    if isinstance(ended.exception, AstroYOLOError):  # which main() prints, exit status 1
        line = str(ended.exception)
    else:
        assert ended.exit_code in (1, 2), (ended.exit_code, ended.exception)
        line = ended.stderr.strip().splitlines()[-1]
    assert "\n" not in line and "Traceback" not in line and line.isprintable()
    return line


def peak_memory() -> float:
    """MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.fixture(scope="module")
def batch(tmp_path_factory, network):
    """One batch over all hostile files, and good ones: the manifest's entries by file name, the program's end, folder, and its costs:
    MB added, and seconds that passed for one of work."""
    folder = tmp_path_factory.mktemp("hostile")
    files = dict(hostile()) | {f"good{ending}": content for ending, content in sound().items()}
    (folder / "in").mkdir()
    for name, content in files.items():
        (folder / "in" / name).write_bytes(content)
    (folder / "list").write_text("\n".join(str(folder / "in" / name) for name in sorted(files)))
    before, times = peak_memory(), os.times()
    ended = run("detect", f"@{folder / 'list'}", "-o", folder / "out", "--format", "csv")
    *worked, passed = (after - before for before, after in zip(times, os.times()))
    entries = [json.loads(line) for line in (folder / "out" / "manifest.jsonl").read_text().splitlines()]
    assert len(entries) == len(files)
    costs = {"memory": peak_memory() - before, "wait": passed / sum(worked)}
    return {os.path.basename(entry["inputs"][0]["path"]): entry for entry in entries}, ended, folder, costs


def test_the_batch_goes_on_to_its_end(batch, record_property):
    entries, ended, _, _ = batch
    record_property("inputs", len(entries))
    assert len(entries) > 600 and ended.exit_code == 1 and isinstance(ended.exception, SystemExit)
    assert all(entry["status"] == "done" and entry["rows"] == 2 for name, entry in entries.items() if name.startswith("good"))


def test_every_refusal_is_one_line_that_names_the_file(batch):
    entries, ended, folder, _ = batch
    for name, entry in entries.items():
        if entry["status"] == "failed":
            assert entry["error"].startswith(str(folder / "in" / name)), entry["error"]
            assert entry["error"].isprintable() and len(entry["error"]) < 600
            assert f"astroyolo: {entry['field']}: {entry['error']}" in ended.stderr.splitlines()
    assert "Traceback" not in ended.stderr


def test_what_is_damaged_is_not_accepted(batch):
    entries = batch[0]
    assert all(entry["status"] == "failed" for name, entry in entries.items() if name.startswith((*CUTS, "bombs-", "tile_damaged-")))
    packed = [name for name in entries if name.startswith(("cut-", "flipped-")) and name.endswith(".fits.gz")]
    accepted = [name for name in packed if entries[name]["status"] == "done"]
    assert len(packed) > 20 and all(in_the_gzip_header(name) for name in accepted)
    assert entries["cut-0.9.fits"]["status"] == entries["cut-0.9.png"]["status"] == entries["cut-0.9.jpg"]["status"] == "failed"
    for name in ("gif.png", "eps.png", "fits.png", "svg.png", "zip.fits"):  # what nobody asked for is not opened
        assert entries[f"disguised-{name}"]["status"] == "failed"


def in_the_gzip_header(name: str) -> bool:
    """Whether the bit that differs lies in the ten bytes that state time and system, which no reader checks."""
    content, whole = dict(hostile())[name], sound()[".fits.gz"]
    return all(i < 10 for i, (a, b) in enumerate(zip(content, whole)) if a != b) and len(content) == len(whole)


def test_time_and_memory_are_bounded(batch):
    entries, _, _, costs = batch
    assert max(entry["seconds"] for entry in entries.values()) < LONGEST * max(costs["wait"], 1)
    assert costs["memory"] < MOST_MEMORY


def test_catalogs_are_whole_or_absent(batch):
    entries, _, folder, _ = batch
    whole = {entry["output"]: entry["rows"] for entry in entries.values() if entry["status"] == "done"}
    assert {path.name for path in (folder / "out").iterdir()} == {*whole, "manifest.jsonl"}
    for name, rows in whole.items():
        table = list(csv.DictReader((folder / "out" / name).read_text().splitlines()))
        assert len(table) == rows and all(0 <= float(row["score"]) <= 1 for row in table)
        assert not any(cell.startswith(("=", "+", "@")) for row in table for cell in row.values())


# Places that are no files


def fifo(path):
    os.mkfifo(path)


def broken_link(path):
    path.symlink_to("nowhere.fits")


def looping_link(path):
    path.symlink_to(path.name)


def device(path):
    path.symlink_to("/dev/zero")


def unix_socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


PLACES = [fifo, broken_link, looping_link, device, unix_socket, lambda path: path.mkdir()]


@pytest.mark.parametrize("make", PLACES)
@pytest.mark.parametrize("name", ["odd.fits", "odd.png", "odd.csv"])
def test_places_that_are_no_files_are_refused_as_input(tmp_path, monkeypatch, make, name):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / name)
    (tmp_path / "good.fits").write_bytes(plain_fits())
    assert "odd" in refusal(run("detect", name, "-o", "c.csv"))
    assert "odd" in refusal(run("merge", name, "-o", "c.csv"))
    assert "odd" in refusal(run("classify", name, "-o", "c.csv"))
    assert "odd" in refusal(run("detect", "good.fits", "--weights", name, "-o", "c.csv"))
    if make is not fifo:  # which a list may well be
        assert "odd" in refusal(run("detect", f"@{name}", "-o", "c.csv"))
    assert not (tmp_path / "c.csv").exists()
    ended = run("detect", name, "good.fits", "-o", "out")
    assert ended.exit_code == 1 and (tmp_path / "out" / "good.fits").exists()


@pytest.mark.parametrize("make", [fifo, device, unix_socket])
def test_only_files_are_replaced(tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.fits").write_bytes(plain_fits())
    make(tmp_path / "c.csv")
    kind = (tmp_path / "c.csv").lstat()
    for arguments in (["c.csv"], ["c.csv", "--overwrite"]):
        assert "c.csv" in refusal(run("detect", "good.fits", "-o", *arguments))
    assert (tmp_path / "c.csv").lstat() == kind and len(list(tmp_path.iterdir())) == 2


def test_links_are_replaced_and_not_followed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.fits").write_bytes(plain_fits())
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "c.csv").symlink_to("mine")
    (tmp_path / "d.csv").symlink_to("nowhere")
    assert "exists" in refusal(run("detect", "good.fits", "-o", "c.csv"))
    assert "exists" in refusal(run("detect", "good.fits", "-o", "d.csv"))
    for name in ("c.csv", "d.csv"):
        assert run("detect", "good.fits", "-o", name, "--overwrite").exit_code == 0
        assert not (tmp_path / name).is_symlink() and (tmp_path / name).read_text().startswith("id,")
    assert (tmp_path / "mine").read_text() == "mine" and not (tmp_path / "nowhere").exists()


def test_links_in_the_folder_of_a_batch_are_not_followed(tmp_path, monkeypatch):
    """Not under the name of a catalog, a log or the manifest, which --resume goes on with."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    for name in ("a", "b"):
        (tmp_path / f"{name}.fits").write_bytes(plain_fits())
    (tmp_path / "mine").write_text("mine")
    for name in ("a.csv", "a.log", "b.log", "manifest.jsonl"):
        (tmp_path / "out" / name).symlink_to("../mine")
    arguments = ("a.fits", "b.fits", "-o", "out", "--format", "csv", "--log")
    assert "manifest.jsonl: cannot be written" in refusal(run("detect", *arguments, "--resume"))
    assert run("detect", *arguments, "--overwrite").exit_code == 0
    assert (tmp_path / "mine").read_text() == "mine" and not any(path.is_symlink() for path in (tmp_path / "out").iterdir())
    assert len(list((tmp_path / "out").iterdir())) == 5


def test_folders_that_cannot_be_written_are_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.fits").write_bytes(plain_fits())
    for place in ("/proc/c.csv", "/dev/null/c.csv", "vanished/c.csv", "good.fits/c.csv", "/proc/out", "vanished/out", "good.fits/out"):
        assert place.split("/")[1] in refusal(run("detect", "good.fits", "-o", place))
    assert [path.name for path in tmp_path.iterdir()] == ["good.fits"]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_modes_are_those_of_the_umask(tmp_path, umask):
    (tmp_path / "good.fits").write_bytes(plain_fits())
    before = os.umask(umask)
    try:
        assert run("detect", tmp_path / "good.fits", "-o", tmp_path / "c.csv").exit_code == 0
    finally:
        os.umask(before)
    assert (tmp_path / "c.csv").stat().st_mode & 0o777 == 0o666 & ~umask


NAMES = [
    "with space", "with\nnewline", "100%s%n", "--overwrite", "-", ".", "=1+1", "\N{SNOWMAN}", "a;rm -rf b", "$(touch ran)",
    "<script>", "a\\b", "'quoted\"", "\x1b[31mred", "[abc]", "what?", "a*b", "{band}", "@list", "~", "\udcff\udcfe", ".hidden",
    "two..dots", "CON", "http:x", "a" * 240,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_a_name(tmp_path, monkeypatch, name):
    """The frame in the folder of that name is done, or refused in one line; nothing appears outside the output folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / f"{name}.fits").write_bytes(plain_fits())
    (tmp_path / "in" / "good.fits").write_bytes(plain_fits())
    (tmp_path / "broken.fits").write_bytes(plain_fits()[:4000])
    ended = run("detect", f"in/{name}.fits", "in/good.fits", "broken.fits", "-o", "out")
    if ended.exit_code == 1 and isinstance(ended.exception, SystemExit):
        assert (tmp_path / "out" / "good.fits").exists() and (tmp_path / "out" / "manifest.jsonl").exists()
        assert ended.stderr.count("astroyolo: ") == ended.stderr.count("\nastroyolo: ") + ended.stderr.startswith("astroyolo: ")
    else:
        refusal(ended)
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out", "broken.fits"}
    assert not any("\x1b" in line or "\x00" in line for line in ended.stderr.splitlines())


# Catalogs

LAUGHS = "".join(f'<!ENTITY l{i} "{10 * f"&l{i - 1};"}">' if i else '<!ENTITY l0 "ha">' for i in range(12))
VOTABLE = (
    '<?xml version="1.0"?>{doctype}<VOTABLE version="1.4"><RESOURCE><TABLE><FIELD name="ra" datatype="double"/>'
    "<DATA><TABLEDATA><TR><TD>{cell}</TD></TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
)
CATALOGS = {
    "laughs.vot": VOTABLE.format(doctype=f"<!DOCTYPE x [{LAUGHS}]>", cell="&l11;"),
    "secret.vot": VOTABLE.format(doctype='<!DOCTYPE x [<!ENTITY e SYSTEM "secret.txt">]>', cell="&e;"),
    "cut.vot": VOTABLE.format(doctype="", cell="1")[:150],
    "html.xml": "<html><body>404</body></html>",
    "deep.xml": "<a>" * 100_000,
    "formula.csv": "ra,dec,score,flags\n=1+1,@x,-cmd,+1\n",
    "short.csv": "ra,dec,score,flags\n1,2\n",
    "words.csv": "ra,dec,score,flags\na,b,c,d\n",
    "huge.csv": "ra,dec,score,flags\n1e999,-1e999,1e400,99999999999999999999\n",
    "binary.csv": "\x00\x01\x02" * 900,
    "quotes.csv": 'ra,dec,score,flags\n"1,2,3,4\n' * 99,
    "nothing.csv": "",
    "head.csv": "ra,dec,score,flags",
    "same.csv": "ra,ra,score,flags\n1,2,3,4\n",
    "broken.ecsv": "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: ra, datatype: !!python/object/apply:os.system ['touch ran']}\nra\n1\n",
    "cut.ecsv": "# %ECSV 1.0\n# ---\n# datatype: [",
    "text.fits": "not a table",
    "text.parquet": "PAR1 not a table PAR1",
    "other.txt": "ra dec\n",
}


@pytest.mark.parametrize("name", CATALOGS)
def test_broken_catalogs_are_refused_in_one_line_or_merged_harmlessly(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.txt").write_text("42424242")
    (tmp_path / name).write_text(CATALOGS[name])
    before = peak_memory()
    ended = run("merge", name, "-o", "all.csv")
    if ended.exit_code == 0:
        assert "42424242" not in (tmp_path / "all.csv").read_text()
        cells = [cell for row in csv.reader((tmp_path / "all.csv").read_text().splitlines()) for cell in row]
        assert not any(cell.startswith(("=", "@", "+")) for cell in cells)
    else:
        assert name in refusal(ended) and not (tmp_path / "all.csv").exists()
    assert not (tmp_path / "ran").exists() and peak_memory() - before < 500


@pytest.mark.parametrize("ending", ["fits", "csv", "ecsv", "vot", "parquet"])
def test_cut_catalogs_are_refused_in_one_line(tmp_path, monkeypatch, ending):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.fits").write_bytes(plain_fits())
    assert run("detect", "good.fits", "-o", f"whole.{ending}").exit_code == 0
    whole = (tmp_path / f"whole.{ending}").read_bytes()
    for part in range(0, 10):
        (tmp_path / f"cut.{ending}").write_bytes(whole[: len(whole) * part // 10])
        ended = run("merge", f"cut.{ending}", "-o", "all.csv", "--overwrite")
        if ended.exit_code or ending not in ("csv", "ecsv"):  # whose rows may end anywhere
            assert f"cut.{ending}" in refusal(ended)
