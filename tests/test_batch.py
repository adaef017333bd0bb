"""Batches: what is written, what is kept, what happens to bad files and killed processes."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner

from astroyolo_cli.batch import manifest_of, read_manifests, share_of
from astroyolo_cli.cli import cli
from astroyolo_cli.errors import InputError, WeightsError
from conftest import FakeEngine, star, tan_wcs


@pytest.fixture
def network(monkeypatch):
    from astroyolo_cli.model import engine

    monkeypatch.setattr(engine, "open_engine", lambda *_: FakeEngine([(20, 30, 36, 46), (475, 465, 491, 481)]))


def write_frame(path, seed=0, shape=(80, 90)):
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 1, shape) + star(shape, 28, 38, 4, 900) + star(shape, 60, 20, 4, 2000)
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.writeto(path, image.astype(np.float32), tan_wcs().to_header(), overwrite=True)


@pytest.fixture
def frames(tmp_path):
    """Three good frames, two of one name, and a broken one."""
    for i, name in enumerate(("a/one.fits", "b/one.fits", "two.fits")):
        write_frame(tmp_path / name, i)
    (tmp_path / "broken.fits").write_bytes(b"SIMPLE  = no")
    return [tmp_path / name for name in ("a/one.fits", "b/one.fits", "two.fits", "broken.fits")]


def run(*arguments):
    return CliRunner().invoke(cli, ["detect", *map(str, arguments)])


def manifest(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_a_catalog_an_input_and_a_line_in_the_manifest(tmp_path, network, frames):
    ended = run(*frames, "-o", tmp_path / "out", "--format", "csv")
    assert ended.exit_code == 1 and "broken" in ended.stderr and "3 done, 1 failed" in ended.stderr
    lines = manifest(tmp_path / "out")
    assert [line["status"] for line in lines] == ["done"] * 3 + ["failed"]
    outputs = {line["output"] for line in lines if line["status"] == "done"}
    assert len(outputs) == 3 and outputs | {"manifest.jsonl"} == {p.name for p in (tmp_path / "out").iterdir()}
    for line in lines[:3]:
        rows = list(csv.DictReader((tmp_path / "out" / line["output"]).read_text().splitlines()))
        assert len(rows) == line["rows"] == 1
        assert line["recipe"]["weights_sha256"] and line["inputs"][0]["bytes"] > 0 and line["seconds"] >= 0


def test_a_batch_of_one_equals_a_run_of_its_own(tmp_path, network, frames):
    run(frames[2], "-o", tmp_path / "alone.fits")
    (tmp_path / "out").mkdir()
    assert run(frames[2], "-o", tmp_path / "out").exit_code == 0
    assert (tmp_path / "alone.fits").read_bytes() == (tmp_path / "out" / "two.fits").read_bytes()


def test_lists_name_inputs_and_missing_files_fail_alone(tmp_path, network, frames):
    (tmp_path / "frames.txt").write_text(f"# frames of tonight\n{frames[2]}\n{tmp_path / 'lost.fits'}\n")
    ended = run(f"@{tmp_path / 'frames.txt'}", "-o", tmp_path / "out")
    assert ended.exit_code == 1 and "lost" in ended.stderr
    assert [path.name for path in (tmp_path / "out").glob("*.fits")] == ["two.fits"]


def test_nothing_is_replaced_unasked(tmp_path, network, frames):
    assert run(frames[2], frames[0], "-o", tmp_path / "out").exit_code == 0
    again = run(frames[2], frames[0], "-o", tmp_path / "out")
    assert "--resume" in str(again.exception)
    assert run(frames[2], frames[0], "-o", tmp_path / "out", "--overwrite").exit_code == 0


def statuses(ended, folder):
    assert ended.exit_code == 0, ended.stderr
    return ended.stderr.splitlines()[-1].split(":")[0]


def test_resume_keeps_what_is_valid_and_redoes_the_rest(tmp_path, network, frames):
    out, given = tmp_path / "out", frames[:3]
    run(*given, "-o", out)
    times = {path.name: path.stat().st_mtime_ns for path in out.glob("*.fits")}
    assert statuses(run(*given, "-o", out, "--resume"), out) == "0 done, 3 kept, 0 failed"
    assert times == {path.name: path.stat().st_mtime_ns for path in out.glob("*.fits")}
    next(out.glob("*two.fits")).write_bytes(b"cut short")
    assert statuses(run(*given, "-o", out, "--resume"), out) == "1 done, 2 kept, 0 failed"
    write_frame(given[0], seed=9)  # another input of the same name
    assert statuses(run(*given, "-o", out, "--resume"), out) == "1 done, 2 kept, 0 failed"
    assert statuses(run(*given, "-o", out, "--resume", "--min-score", "0.5"), out) == "3 done, 0 kept, 0 failed"
    assert statuses(run(*given, "-o", out, "--resume", "--min-score", "0.5", "--batch-size", "1"), out) == "0 done, 3 kept, 0 failed"


@pytest.mark.parametrize("how", ["--overwrite", "--resume"])
def test_an_input_is_never_replaced_by_its_catalog(tmp_path, network, frames, how):
    given = frames[0], frames[2]
    before = [path.read_bytes() for path in given]
    for output in (frames[0].parent, frames[0]):
        ended = run(*given, "-o", output, how)
        assert ended.exit_code != 0
        if how == "--overwrite" or output != frames[0]:
            assert "is an input" in str(ended.exception)
    (tmp_path / "link").symlink_to(frames[0].parent)
    assert "is an input" in str(run(*given, "-o", tmp_path / "link", how).exception)
    assert [path.read_bytes() for path in given] == before


def test_a_folder_may_have_a_dot_in_its_name(tmp_path, network, frames):
    assert run(*frames[:2], "-o", f"{tmp_path}/night.v1/").exit_code == 0
    assert len(list((tmp_path / "night.v1").glob("*.fits"))) == 2


def test_resume_does_again_what_was_masked_otherwise(tmp_path, network, frames):
    shape = fits.getdata(frames[0]).shape
    mask, given = tmp_path / "mask.fits", (*frames[:2], "-o", tmp_path / "out", "--mask", tmp_path / "mask.fits", "--resume")
    fits.writeto(mask, np.zeros(shape, np.uint8))
    assert statuses(run(*given), None) == "2 done, 0 kept, 0 failed"
    assert statuses(run(*given), None) == "0 done, 2 kept, 0 failed"
    changed = np.zeros(shape, np.uint8)
    changed[:9] = 1
    fits.writeto(mask, changed, overwrite=True)
    assert statuses(run(*given), None) == "2 done, 0 kept, 0 failed"


def test_a_torn_manifest_is_read_and_goes_on_in_a_new_line(tmp_path, network, frames):
    out = tmp_path / "out"
    run(*frames[:3], "-o", out)
    text = (out / "manifest.jsonl").read_text()
    (out / "manifest.jsonl").write_text(text[: len(text) - 40])
    assert statuses(run(*frames[:3], "-o", out, "--resume"), out) == "1 done, 2 kept, 0 failed"
    assert len(read_manifests(out)) == 3 and all(entry["status"] == "done" for entry in read_manifests(out).values())


def test_the_parts_of_an_array_job_are_all_fields_once(tmp_path, network, frames):
    assert sorted(sum((share_of(list(range(11)), k, 3) for k in (1, 2, 3)), [])) == list(range(11))
    for k in (1, 2):
        assert run(*frames[:3], "-o", tmp_path / "out", "--job", k, "--njobs", 2).exit_code == 0
    assert len(list((tmp_path / "out").glob("*.fits"))) == 3
    assert manifest_of(tmp_path / "out", 2, 2).is_file() and len(read_manifests(tmp_path / "out")) == 3
    assert statuses(run(*frames[:3], "-o", tmp_path / "out", "--resume"), None) == "0 done, 3 kept, 0 failed"


def test_one_file_of_several_inputs_has_a_field_column(tmp_path, network, frames):
    ended = run(*frames, "-o", tmp_path / "all.csv")
    assert ended.exit_code == 1 and "3 sources of 3 fields, 1 failed" in ended.stderr
    table = Table.read(tmp_path / "all.csv")
    assert table["id"].tolist() == [1, 2, 3] and table["field"].tolist() == ["a_one", "b_one", f"{tmp_path.name}_two"]


def header_of(path):
    """Of a catalog, and TTYPE -> number of its columns."""
    header = fits.getheader(path, 1)
    return header, {header[f"TTYPE{n}"]: n for n in range(1, header["TFIELDS"] + 1)}


def with_unit(path, unit):
    fits.setval(path, "BUNIT", value=unit)
    return path


@pytest.mark.parametrize(
    "units, said", [(("adu", "nmgy"), "adu (f0), nmgy (f1)"), ((None, "Jy"), "no unit (f0), Jy (f1)"), (("Jy", "Jy"), "")]
)
def test_fluxes_in_different_units_are_joined_without_a_unit_and_noted(tmp_path, network, units, said):
    for i, unit in enumerate(units):
        write_frame(tmp_path / f"f{i}.fits", i)
        if unit:
            with_unit(tmp_path / f"f{i}.fits", unit)
    ended = run(tmp_path / "f?.fits", "-o", tmp_path / "all.fits")
    assert ended.exit_code == 0, ended.exception
    notes = [line for line in ended.stderr.splitlines() if "note:" in line]
    assert len(notes) == bool(said) and all(said in line and "a folder for --output" in line for line in notes)
    header, numbers = header_of(tmp_path / "all.fits")
    assert [header.get(f"TUNIT{numbers[name]}") for name in ("flux", "flux_aper_err")] == [None if said else "Jy"] * 2
    assert header[f"TUNIT{numbers['x']}"] == "pix"
    quiet = run(tmp_path / "f?.fits", "-o", tmp_path / "some.fits", "--columns", "id,field,ra,dec")
    assert quiet.exit_code == 0 and "note:" not in quiet.stderr


def test_one_file_of_several_inputs_describes_its_columns_and_nothing_of_one_frame(tmp_path, network, frames):
    assert run(frames[0], "-o", tmp_path / "one.fits").exit_code == 0
    run(*frames[2:], "-o", tmp_path / "alone.fits")  # the other one fails
    assert run(*frames[:3], "-o", tmp_path / "all.fits").exit_code == 0
    of_one_frame = {"APERRAD", "FRMFWHM", "STARR50", "NSTARS", "NOISESC1"}
    for name, kept in (("one", of_one_frame), ("alone", of_one_frame), ("all", set())):
        header, numbers = header_of(tmp_path / f"{name}.fits")
        assert of_one_frame & set(header) == kept
        number = numbers["id"]
        assert header[f"TFORM{number}"] == "J" and header[f"TUCD{number}"] == "meta.id;meta.main" and "from 1" in header[f"TCOMM{number}"]
        assert header["WGTHASH"] and header["MINSCORE"] == 0.3 and header["FLAG1"] and header["ORIGIN0"] is True
    assert all(path.name in str(header["HISTORY"]) for path in frames[:3])
    assert Table.read(tmp_path / "all.fits")["id"].tolist() == [1, 2, 3]


def test_a_reference_band_that_differs_is_none_of_all():
    from astroyolo_cli.joining import common_meta

    metas = [{"reference_band": band, "stars": 3, "provenance": {"tile": 512, "bands": band, "inputs": {band: "0"}}} for band in "gr"]
    assert common_meta(metas) == {"provenance": {"tile": 512, "inputs": {"g": "0", "r": "0"}}}
    assert common_meta(metas[:1]) == metas[0]


@pytest.mark.parametrize(
    "arguments, word",
    [
        (["-o", "c.csv", "--resume"], "--resume"),
        (["-o", "c.csv", "--workers", "2"], "--workers"),
        (["-o", "out", "--plot", "p.png"], "--plot"),
        (["-o", "out", "--job", "3", "--njobs", "2"], "--njobs"),
    ],
)
def test_what_cannot_be_meant_is_said(tmp_path, frames, monkeypatch, arguments, word):
    monkeypatch.chdir(tmp_path)
    ended = run(*frames[:2], *arguments)
    assert ended.exit_code == 2 and word in ended.stderr and not (tmp_path / "out").exists()


PROGRAM = [sys.executable, "-c", "from astroyolo_cli.cli import main; main()", "detect"]


def program(*arguments):
    return subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=300)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.fits") if not path.name.startswith(".")}


@pytest.fixture
def reference(tmp_path):
    """Six frames, and their catalogs by one process."""
    for i in range(6):
        write_frame(tmp_path / "in" / f"f{i}.fits", i)
    ended = program(tmp_path / "in" / "*.fits", "-o", tmp_path / "whole")
    assert ended.returncode == 0, ended.stderr
    return contents(tmp_path / "whole")


def test_processes_share_the_work(tmp_path, reference):
    """Each with fewer threads, which moves the last digits of the network's sums."""
    ended = program(tmp_path / "in" / "*.fits", "-o", tmp_path / "shared", "--workers", 2)
    assert ended.returncode == 0, ended.stderr
    assert sorted(contents(tmp_path / "shared")) == sorted(reference)
    for name in reference:
        ours, alone = (Table.read(tmp_path / folder / name) for folder in ("shared", "whole"))
        assert list(ours["class"]) == list(alone["class"])
        np.testing.assert_allclose(ours["x"], alone["x"], atol=1e-3)
        np.testing.assert_allclose(ours["score"], alone["score"], atol=1e-4)


def test_a_killed_batch_ends_the_same(tmp_path, reference):
    """Killed whenever its first catalogs appear, by SIGKILL and by SIGTERM; nothing partial has a final name."""
    for number, sent in ((1, signal.SIGKILL), (3, signal.SIGTERM)):
        arguments = (tmp_path / "in" / "*.fits", "-o", tmp_path / "killed", "--resume", "--quiet")
        with subprocess.Popen([*PROGRAM, *map(str, arguments)], stderr=subprocess.DEVNULL) as process:
            until = time.monotonic() + 100
            while len(contents(tmp_path / "killed")) < number and process.poll() is None and time.monotonic() < until:
                time.sleep(0.005)
            process.send_signal(sent)
        assert all(reference[name] == found for name, found in contents(tmp_path / "killed").items())
    ended = program(tmp_path / "in" / "*.fits", "-o", tmp_path / "killed", "--resume")
    assert ended.returncode == 0, ended.stderr
    assert contents(tmp_path / "killed") == reference
    assert {path.name for path in (tmp_path / "killed").iterdir()} == {*reference, "manifest.jsonl"}


def test_a_process_that_dies_fails_its_field_alone(tmp_path, monkeypatch):
    """The field's file makes its process kill itself; the others are done."""
    from astroyolo_cli import workers
    from astroyolo_cli.batch import jobs_of
    from astroyolo_cli.inputs import resolve
    from astroyolo_cli.jobs import Recipe
    from astroyolo_cli.pipeline import DetectSettings

    for name in ("good", "deadly", "fine"):
        write_frame(tmp_path / f"{name}.fits")
    monkeypatch.setattr(workers, "begin", deadly_begin)
    jobs = jobs_of(resolve([str(tmp_path / "*.fits")]), tmp_path, "csv")
    entries = list(workers.run_in_processes(jobs, Recipe("nano", "", "auto", "auto", DetectSettings()), 2))
    assert {entry["field"]: entry["status"] for entry in entries} == {"good": "done", "fine": "done", "deadly": "failed"}
    assert "died" in next(entry["error"] for entry in entries if entry["field"] == "deadly")


def deadly_begin(recipe):
    from astroyolo_cli import workers

    def do_job(job, recipe, engine):
        if job.field.name == "deadly":
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)
        return {"field": job.field.name, "status": "done"}

    workers.do_job = do_job


def test_the_neighbours_of_a_process_that_dies_first_are_done(tmp_path, monkeypatch):
    """It dies before any of those that begin together with it can end, however often they begin together."""
    from astroyolo_cli import workers
    from astroyolo_cli.batch import jobs_of
    from astroyolo_cli.inputs import resolve
    from astroyolo_cli.jobs import Recipe
    from astroyolo_cli.pipeline import DetectSettings

    for name in ("a_deadly", "b", "c", "d"):
        (tmp_path / f"{name}.fits").touch()
    monkeypatch.setattr(workers, "begin", deadly_first_begin)
    jobs = jobs_of(resolve([str(tmp_path / "*.fits")]), tmp_path, "csv")
    entries = list(workers.run_in_processes(jobs, Recipe("nano", "", "auto", "auto", DetectSettings()), 4))
    assert {entry["field"]: entry["status"] for entry in entries} == {"a_deadly": "failed", "b": "done", "c": "done", "d": "done"}
    assert len(entries) == 4 and "died 2 times" in next(entry["error"] for entry in entries if entry["field"] == "a_deadly")


def deadly_first_begin(recipe):
    from astroyolo_cli import workers

    def do_job(job, recipe, engine):
        if job.field.name == "a_deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.5)  # in which the others of the pool are ended
        return {"field": job.field.name, "status": "done"}

    workers.do_job = do_job


@pytest.mark.parametrize("error", [MemoryError("no room for it"), FileNotFoundError(2, "No such file"), InputError("unread\nable")])
def test_one_file_of_several_inputs_loses_one_field_by_whatever_goes_wrong_with_it(tmp_path, network, frames, monkeypatch, error):
    from astroyolo_cli import pipeline

    detect = pipeline.detect

    def failing_at_two(frame, *rest):
        if frame.sources[0].name == "two.fits":
            raise error
        return detect(frame, *rest)

    monkeypatch.setattr(pipeline, "detect", failing_at_two)
    ended = run(*frames[:3], "-o", tmp_path / "all.csv")
    assert ended.exit_code == 1 and "2 sources of 2 fields, 1 failed" in ended.stderr
    assert Table.read(tmp_path / "all.csv")["field"].tolist() == ["a_one", "b_one"]
    (line,) = (line for line in ended.stderr.splitlines() if "_two: " in line)
    assert " ".join(str(error).split()) in line
    alone = run(frames[2], tmp_path / "broken.fits", "-o", tmp_path / "none.csv")
    assert isinstance(alone.exception, InputError) and "two: " in str(alone.exception) and not (tmp_path / "none.csv").exists()


def test_one_file_of_several_inputs_ends_at_once_where_the_network_cannot_run(tmp_path, network, frames, monkeypatch):
    from astroyolo_cli import pipeline

    seen = []

    def refuse(frame, *_):
        seen.append(frame)
        raise WeightsError("--prior-star: no prior")

    monkeypatch.setattr(pipeline, "detect", refuse)
    assert isinstance(run(*frames[:3], "-o", tmp_path / "all.csv").exception, WeightsError) and len(seen) == 1


@pytest.mark.parametrize("bands, noted", [("z,r,g", True), ("z,r", False), (None, False)])
def test_as_many_files_as_bands_are_noted_to_be_fields_of_their_own(tmp_path, network, frames, bands, noted):
    ended = run(*frames[:3], "-o", tmp_path / "all.csv", *(["--bands", bands] if bands else []))
    assert ended.exit_code == 0
    assert ("3 files, each a field of its own" in ended.stderr) == noted
