"""The scripts in examples/, run as their first lines say, on the catalog of examples/field by the embedded network."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from astroyolo_cli.batch import read_manifests
from astroyolo_cli.model.checkpoint import locate
from astroyolo_cli.model.engine import open_engine
from astroyolo_cli.pipeline import detect
from astroyolo_cli.read import read_field, resolve
from astroyolo_cli.tables import read_table
from astroyolo_cli.write import write

EXAMPLES = Path(__file__).parents[1] / "examples"
FRAMES = [str(EXAMPLES / "field" / f"img_{band}.fits.fz") for band in "gr"]
PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """field.fits, field.csv of all bands and r.fits of one, and where pyarrow is, the same as Parquet."""
    made, engine = tmp_path_factory.mktemp("examples"), open_engine(locate("nano"))
    endings = ("fits", "csv", "parquet") if importlib.util.find_spec("pyarrow") else ("fits", "csv")
    for name, source in (("field", str(EXAMPLES / "field")), ("r", FRAMES[1])):
        catalog = detect(read_field(resolve([source])[0]), engine).catalog
        for ending in endings:
            write(catalog, made / f"{name}.{ending}")
    return made


def run(folder, script, *arguments, **variables):
    """A script in a process of its own, in the folder; warnings of Python scripts are errors."""
    start = [sys.executable, "-W", "error"] if script.endswith(".py") else ["bash"]
    known = os.environ | {"PATH": PATH, "OMP_NUM_THREADS": "1"} | variables
    command = [*start, str(EXAMPLES / script), *arguments]
    return subprocess.run(command, cwd=folder, env=known, capture_output=True, text=True)


def needs(*modules):
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


def needs_program(name):
    if shutil.which(name, path=PATH) is None:
        pytest.skip(f"no {name} in PATH")


@pytest.mark.parametrize("script", sorted(path.name for path in EXAMPLES.glob("*.sh")))
def test_shell_scripts_are_bash_and_say_their_usage(tmp_path, script):
    assert subprocess.run(["bash", "-n", str(EXAMPLES / script)]).returncode == 0 and os.access(EXAMPLES / script, os.X_OK)
    ended = run(tmp_path, script)
    assert ended.returncode == 2 and "usage: " in ended.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ["fits", "csv"])
def test_plot_colours(folder, ending):
    needs("matplotlib")
    from PIL import Image

    ended = run(folder, "plot_colours.py", f"field.{ending}", f"{ending}.png", MPLCONFIGDIR=str(folder))
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout.split()[0]) > 10
    with Image.open(folder / f"{ending}.png") as picture:
        assert picture.size == (900, 750)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_with_pandas_selects_what_numpy_does(folder, ending):
    needs("pandas", *(["pyarrow"] if ending == "parquet" else []))
    ended = run(folder, "with_pandas.py", f"field.{ending}", "disks.csv")
    assert ended.returncode == 0, ended.stderr
    table = Table.read(folder / "field.fits")
    clean = (table["flags"] & (1 | 4 | 16)) == 0
    disks = table[clean & (table["class"] == "galaxy") & (table["p_disk"] > 0.5) & (table["score"] > 0.5)]
    got = read_table(folder / "disks.csv")
    assert 0 < len(got) < len(table) and sorted(got["id"]) == sorted(disks["id"])
    assert np.all(np.diff(np.ma.compressed(np.ma.masked_array(got["mag"]))) >= 0)
    assert f"of {len(table)} sources" in ended.stdout


def test_the_pandas_example_puts_the_brightest_disks_first():
    """Without a magnitude last; the shipped field's few disks are no test of that."""
    needs("pandas")
    import runpy

    import pandas as pd

    mag = np.random.default_rng(0).permutation([*range(20), np.nan, np.nan]).astype(float)
    catalog = pd.DataFrame({"flags": 0, "class": "galaxy", "p_disk": 0.9, "score": 0.9, "mag": mag})
    ordered = runpy.run_path(str(EXAMPLES / "with_pandas.py"))["clean_disks"](catalog)["mag"].to_numpy()
    np.testing.assert_array_equal(ordered, [*range(20), np.nan, np.nan])


def pairs_by_astropy(folder) -> int:
    """How many sources of field.fits are the mutual nearest of one of r.fits, within an arcsecond."""
    from astropy.coordinates import SkyCoord

    one, two = (SkyCoord(table["ra"], table["dec"], unit="deg") for table in map(read_table, (folder / "field.fits", folder / "r.fits")))
    there, apart, _ = one.match_to_catalog_sky(two)
    back, _, _ = two.match_to_catalog_sky(one)
    return int(((back[there] == np.arange(len(one))) & (apart.arcsec < 1)).sum())


def test_with_stilts_pairs_what_astropy_does(folder):
    needs_program("stilts")
    ended = run(folder, "with_stilts.sh", "field.fits", "r.fits", "pairs.fits")
    assert ended.returncode == 0, ended.stderr
    pairs = Table.read(folder / "pairs.fits")
    assert len(pairs) == pairs_by_astropy(folder) > 20 and {"id_1", "id_2", "Separation"} <= set(pairs.colnames)


def test_without_stilts_it_says_where_it_is(folder, tmp_path):
    (tmp_path / "bash").symlink_to(shutil.which("bash"))
    ended = run(folder, "with_stilts.sh", "field.fits", "r.fits", "none.fits", PATH=str(tmp_path))
    assert ended.returncode == 1 and "no stilts in PATH; get it" in ended.stderr


def test_with_lsdb_pairs_what_astropy_does(folder):
    needs("lsdb", "pyarrow")
    command = [sys.executable, str(EXAMPLES / "with_lsdb.py"), "field.parquet", "r.parquet", "matched.parquet"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert f"{pairs_by_astropy(folder)} pairs" in ended.stdout


def test_batch_goes_on_where_it_stopped(tmp_path):
    needs_program("astroyolo")
    needs("pyarrow")
    first = run(tmp_path, "batch.sh", "catalogs", *FRAMES)
    assert first.returncode == 0, first.stderr
    assert len(read_table(tmp_path / "catalogs.parquet")) == sum(entry["rows"] for entry in read_manifests(tmp_path / "catalogs").values())
    one, other = sorted((tmp_path / "catalogs").glob("*.fits"))
    one.unlink()
    (tmp_path / "broken.fits").write_text("no frame")
    before = other.stat().st_mtime_ns
    again = run(tmp_path, "batch.sh", "catalogs", *FRAMES, "broken.fits")
    assert again.returncode == 1 and "1 done, 1 kept, 1 failed" in again.stderr
    assert one.is_file() and other.stat().st_mtime_ns == before


def test_slurm_array_by_hand_does_every_frame_once(tmp_path):
    needs_program("astroyolo")
    for task in ("1", "2"):
        ended = run(tmp_path, "slurm_array.sh", "catalogs", *FRAMES, SLURM_ARRAY_TASK_ID=task, SLURM_ARRAY_TASK_COUNT="2")
        assert ended.returncode == 0, ended.stderr
        assert len(list((tmp_path / "catalogs").glob("*.fits"))) == int(task)
    assert [entry["status"] for entry in read_manifests(tmp_path / "catalogs").values()] == ["done"] * 2


@pytest.mark.parametrize("parallel", [True, False], ids=["parallel", "bash"])
def test_parallel_does_every_frame_once(tmp_path, parallel):
    needs_program("astroyolo")
    path = PATH
    if parallel:
        needs_program("parallel")
    else:  # the same programs without it
        (tmp_path / "bin").mkdir()
        for name in ("astroyolo", "bash", "seq", "mkdir"):
            (tmp_path / "bin" / name).symlink_to(shutil.which(name, path=PATH))
        path = str(tmp_path / "bin")
    ended = run(tmp_path, "parallel.sh", "catalogs", *FRAMES, PATH=path)
    assert ended.returncode == 0, ended.stderr
    assert len(list((tmp_path / "catalogs").glob("*.fits"))) == 2
    assert [entry["status"] for entry in read_manifests(tmp_path / "catalogs").values()] == ["done"] * 2
    (tmp_path / "broken.fits").write_text("no frame")
    assert run(tmp_path, "parallel.sh", "catalogs", *FRAMES, "broken.fits", PATH=path).returncode == 1


@pytest.mark.slow
def test_with_dask_does_every_frame(tmp_path):
    needs_program("astroyolo")
    needs("distributed")
    ended = subprocess.run(
        [sys.executable, str(EXAMPLES / "with_dask.py"), "catalogs", *FRAMES],
        cwd=tmp_path,
        env=os.environ | {"PATH": PATH},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert len(list((tmp_path / "catalogs").glob("*.fits"))) == 2
