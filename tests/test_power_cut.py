"""The power goes at any moment of a write: under the final name is the old output, whole, or the new one, or none."""

import errno
import json
import os
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.table import Table
from click.testing import CliRunner

from astroyolo_cli.cli import cli
from astroyolo_cli.model.checkpoint import Card, save
from astroyolo_cli.model.network import AstroYOLO
from astroyolo_cli.partitions import write_partitions
from astroyolo_cli.train.state import Average, Progress, save_checkpoint
from astroyolo_cli.whole import folder_written_whole, sync_folder, write_text_whole
from astroyolo_cli.write import WRITERS, write
from conftest import FakeEngine
from power_cut import watched, whole
from test_batch import write_frame


def catalog(rows: int) -> Table:
    """A catalog whose content depends on its rows."""
    edges = {name: np.arange(rows) + 1.5 for name in ("xmin", "ymin", "xmax", "ymax")}
    return Table({"id": np.arange(rows), "ra": np.arange(rows) * 40.0, "dec": np.zeros(rows), "class": ["star"] * rows, **edges})


def check(folder: Path, name: str, write_it, between: bool = False, old: bool = True) -> None:
    """What ``write_it(version)`` leaves under the name.

    Args:
        between: whether none may be there for a moment, between the old one and the new one.
    """
    if old:
        write_it(1)
    before = whole(folder / name)
    with watched(folder, name) as disk:
        write_it(2)
    after = whole(folder / name)
    assert after is not None and before != after and bool(before) == old
    assert disk.left[name] <= {before, after} | ({None} if between else set())
    assert disk.now(name) == after, "it is on disk when the program goes on"


# The model sees what is wrong


def write_through_no_temporary_name(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"a new one")
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def rename_before_it_is_on_disk(path: Path) -> None:
    path.with_name(".partial").write_bytes(b"a new one")
    path.with_name(".partial").replace(path)
    sync_folder(path.parent)


def write_after_the_sync(path: Path) -> None:
    with path.with_name(".partial").open("wb", buffering=0) as file:
        file.write(b"a new")
        os.fsync(file.fileno())
        file.write(b" one")
    path.with_name(".partial").replace(path)
    sync_folder(path.parent)


def leave_the_name_to_chance(path: Path) -> None:
    with path.with_name(".partial").open("wb", buffering=0) as file:
        file.write(b"a new one")
        os.fsync(file.fileno())
    path.with_name(".partial").replace(path)


def take_the_old_one_away(path: Path) -> None:
    path.unlink()
    write_text_whole(path, "a new one")


@pytest.mark.parametrize(
    "writer, left, stays",
    [
        (write_through_no_temporary_name, {b"", b"a ne", bytes(9)}, True),
        (rename_before_it_is_on_disk, {b"", b"a ne", bytes(9)}, False),
        (write_after_the_sync, {b"a new", b"a new o", b"a new" + bytes(4)}, False),
        (leave_the_name_to_chance, set(), False),
        (take_the_old_one_away, {None}, True),
    ],
)
def test_careless_writers_are_found_out(tmp_path, writer, left, stays):
    (tmp_path / "c").write_bytes(b"the old")
    with watched(tmp_path, "c") as disk:
        writer(tmp_path / "c")
    assert disk.left["c"] - {b"the old", b"a new one"} >= left and (disk.now("c") == b"a new one") == stays
    assert left or disk.left["c"] == {b"the old", b"a new one"}


def test_a_folder_written_carelessly_is_found_out(tmp_path):
    (tmp_path / ".partial").mkdir()
    with watched(tmp_path, "set") as disk:
        (tmp_path / ".partial" / "a").write_bytes(b"an image")
        (tmp_path / ".partial").replace(tmp_path / "set")
        sync_folder(tmp_path)
    assert frozenset() in disk.left["set"] and frozenset({("a", b"an i")}) in disk.left["set"]


# What the program writes


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("old", [True, False])
def test_catalogs(tmp_path, ending, old):
    check(tmp_path, f"c{ending}", lambda rows: write(catalog(rows), tmp_path / f"c{ending}", overwrite=True), between=not old, old=old)


def test_texts(tmp_path):
    check(tmp_path, "s.json", lambda version: write_text_whole(tmp_path / "s.json", str(version)))


def test_folders_of_any_depth(tmp_path):
    def write_it(version):
        with folder_written_whole(tmp_path / "page") as partial:
            (partial / "tiles" / "0").mkdir(parents=True)
            for name in ("index.html", "tiles/0/0_0.jpg", "tiles/0/1_0.jpg"):
                (partial / name).write_text(f"{name} {version}")

    check(tmp_path, "page", write_it, between=True)
    assert not list(tmp_path.glob(".partial*"))


def test_partitions_of_a_merged_catalog(tmp_path):
    pytest.importorskip("pyarrow")
    check(tmp_path, "survey", lambda version: write_partitions(catalog(3 * version), tmp_path / "survey", True), between=True)


def test_simulated_sets_and_cutouts(tmp_path):
    pytest.importorskip("galsim")
    from astroyolo_cli.simulate import write_ds, write_sg

    check(tmp_path, "set_0", lambda seed: write_sg(tmp_path, 1, seed, size=64), between=True)
    (tmp_path / "ds").mkdir()
    write_ds(tmp_path / "ds", 1, 1)
    check(tmp_path, "ds/smooth/00000.png", lambda seed: write_ds(tmp_path / "ds", 1, seed))


def test_weights(tmp_path):
    def write_it(seed):
        torch.manual_seed(seed)
        save(AstroYOLO("nano"), Card(size="nano"), tmp_path / "last.safetensors")

    check(tmp_path, "last.safetensors", write_it)


@pytest.mark.parametrize("links", [True, False])
def test_checkpoints(tmp_path, monkeypatch, links):
    """After the first one there is a whole one at any moment, under its name or, on a disk without links, that of the one before it."""
    if not links:

        def refuse(*_):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", refuse)

    def write_it(version):
        model = torch.nn.Linear(3, version)
        optimizer = torch.optim.SGD(model.parameters())
        save_checkpoint(tmp_path / "checkpoint.pt", model, Average(model), optimizer, torch.amp.GradScaler("cpu"), Progress(version))

    write_it(1)
    one = whole(tmp_path / "checkpoint.pt")
    write_it(2)
    two = whole(tmp_path / "checkpoint.pt")
    names = ("checkpoint.pt", "checkpoint-previous.pt")
    with watched(tmp_path, *names, ".") as disk:
        write_it(3)
    three = whole(tmp_path / "checkpoint.pt")
    assert disk.left[names[0]] <= {two, three} | (set() if links else {None}) and disk.left[names[1]] <= {one, two, None}
    assert disk.now(names[0]) == three
    assert all({two, three} & {content for _, content in left} for left in disk.left["."])


@pytest.mark.parametrize("ending", ["onnx", "xml"])
def test_exported_networks(tmp_path, ending):
    """Of OpenVINO's two files the first is there with its own second alone."""
    pytest.importorskip("openvino")
    from astroyolo_cli.model.export import export

    for seed in (1, 2):
        torch.manual_seed(seed)
        save(AstroYOLO("nano"), Card(size="nano", training={"seed": seed}), tmp_path / f"{seed}.safetensors")
    (tmp_path / "out").mkdir()
    export(tmp_path / "1.safetensors", tmp_path / "out" / f"n.{ending}")
    old = whole(tmp_path / "out")
    with watched(tmp_path / "out", ".") as disk:
        export(tmp_path / "2.safetensors", tmp_path / "out" / f"n.{ending}")
    new = whole(tmp_path / "out")
    assert old != new and disk.now(".") == new
    assert all(left in (old, new) or f"n.{ending}" not in dict(left) for left in disk.left["."])
    assert ending == "xml" or disk.left["."] == {old, new}


@pytest.mark.parametrize("resume", [True, False])
def test_a_batch_with_its_manifest_and_logs(tmp_path, monkeypatch, resume):
    """What the manifest calls done is there, as it says; catalogs and logs are whole."""
    from astroyolo_cli.model import engine

    monkeypatch.setattr(engine, "open_engine", lambda *_: FakeEngine([(20, 30, 36, 46)]))
    for i in range(3):
        write_frame(tmp_path / "in" / f"f{i}.fits", i)
    (tmp_path / "in" / "broken.fits").write_bytes(b"no")
    arguments = ["detect", str(tmp_path / "in" / "*.fits"), "--format", "csv", "-o", str(tmp_path / "all" / "out"), "--log"]
    (tmp_path / "all").mkdir()
    if resume:
        CliRunner().invoke(cli, arguments)
        for name in ("f0.csv", "f2.csv"):
            (tmp_path / "all" / "out" / name).unlink()
    with watched(tmp_path / "all", "out") as disk:
        CliRunner().invoke(cli, [*arguments, "--resume"])
    new = dict(whole(tmp_path / "all" / "out"))
    assert set(new) == {"manifest.jsonl", *(f"f{i}.{kind}" for i in range(3) for kind in ("csv", "log")), "broken.log"}
    assert dict(disk.now("out")) == new and len(disk.left["out"]) > 10
    for left in map(dict, disk.left["out"] - {None}):
        assert all(left[name] == new[name] for name in left if name.endswith(".csv"))
        for entry in map(json.loads, filter(is_json, left.get("manifest.jsonl", b"").split(b"\n"))):
            if entry["status"] == "done" and not resume:
                assert sha256(left[entry["output"]]).hexdigest() == entry["sha256"]


def is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
