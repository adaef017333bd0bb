"""What must hold for every input, tried on many that Hypothesis thinks of; the same ones each time."""

import numpy as np
import pytest
from astropy.table import Table

from astroyolo_cli.columns import COLUMNS
from astroyolo_cli.detections import Detections, iou, suppress
from astroyolo_cli.errors import InputError
from astroyolo_cli.merge import merge
from astroyolo_cli.stretch import Stretch, backgrounds, section_rgb
from astroyolo_cli.tables import read_table
from astroyolo_cli.tile import keep_core, merge_seams, tiles
from astroyolo_cli.write import WRITERS, write
from conftest import make_frame

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import assume, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

EXAMPLES = settings(max_examples=40, derandomize=True, deadline=None, database=None)
seeds = st.integers(0, 2**32 - 1)


def detections(xyxy, score, on_seam=False) -> Detections:
    n = len(score)
    half = np.full(n, 0.5, np.float32)
    return Detections(np.asarray(xyxy, np.float32).reshape(-1, 4), np.asarray(score, np.float32), half, half, np.full(n, on_seam))


@st.composite
def crowds(draw):
    """Boxes of all sizes in a small place, with distinct scores."""
    rng = np.random.default_rng(draw(seeds))
    n = draw(st.integers(0, 40))
    middle, half = rng.uniform(0, 60, (n, 2)), np.exp(rng.normal(1.5, 0.7, (n, 2)))
    return detections(np.concatenate([middle - half, middle + half], 1), rng.permutation(n) / 50 + 0.1)


# Tiles


@EXAMPLES
@given(st.integers(1, 700), st.integers(1, 700), st.integers(2, 9), st.data())
def test_every_place_belongs_to_a_tile_and_off_the_borders_to_one(height, width, side, data):
    """A source anywhere in the frame lies in the core of one tile, wholly inside that tile but for the frame's edges."""
    tile, overlap = 32 * side, data.draw(st.integers(0, 32 * side - 32))
    x, y = data.draw(st.floats(-0.5, width - 0.5)), data.draw(st.floats(-0.5, height - 0.5))
    all_tiles = tiles((height, width), tile, overlap)
    owners = [t for t in all_tiles if t.core[0] <= x < t.core[2] and t.core[1] <= y < t.core[3]]
    assert len(owners) == 1
    assert owners[0].x - 0.5 <= x <= owners[0].x + tile - 0.5 and owners[0].y - 0.5 <= y <= owners[0].y + tile - 0.5
    found = [t for t in all_tiles if len(keep_core(detections([[x - 1, y - 1, x + 1, y + 1]], [0.9]), t))]
    assert owners[0] in found


@EXAMPLES
@given(crowds(), seeds)
def test_seams_merge_alike_in_any_order_and_only_once(found, seed):
    rng = np.random.default_rng(seed)
    found = Detections(found.xyxy, found.score, found.p_galaxy, found.p_disk, np.ones(len(found), bool))
    tile_of, order = rng.integers(0, 4, len(found)), rng.permutation(len(found))
    once = merge_seams(found, tile_of)
    np.testing.assert_array_equal(merge_seams(found.take(order), tile_of[order]).xyxy, once.xyxy)
    left = {tuple(box): t for box, t in zip(found.xyxy.tolist(), tile_of)}
    np.testing.assert_array_equal(merge_seams(once, np.array([left[tuple(box)] for box in once.xyxy.tolist()], int)).xyxy, once.xyxy)


@EXAMPLES
@given(crowds(), st.floats(0.05, 0.95))
def test_suppression_is_the_greedy_loop(found, threshold):
    kept: list[int] = []
    for i in np.argsort(-found.score, kind="stable").tolist():
        if all(iou(found.xyxy[[i]], found.xyxy[[j]])[0, 0] <= threshold for j in kept):
            kept.append(i)
    np.testing.assert_array_equal(suppress(found, threshold).xyxy, found.xyxy[kept].reshape(-1, 4))


# Merging catalogs


@st.composite
def catalogs(draw):
    """Two to four catalogs of one piece of sky, with names of their own."""
    rng = np.random.default_rng(draw(seeds))
    ra, dec = 150 + rng.uniform(0, 20, 12) / 3600, rng.uniform(0, 20, 12) / 3600
    made = {}
    for name in "dabc"[: draw(st.integers(2, 4))]:
        seen = rng.random(12) < 0.7
        n = int(seen.sum())
        columns = {"ra": ra[seen] + rng.normal(0, 0.4, n) / 3600, "dec": dec[seen] + rng.normal(0, 0.4, n) / 3600}
        made[name] = Table(columns | {"score": rng.integers(3, 9, n) / 10, "flags": rng.integers(0, 3, n)})
    return made


def rows_of(table: Table) -> list[tuple]:
    return sorted((str(row["field"]), float(row["ra"]), float(row["dec"]), bool(row["is_primary"])) for row in table)


@EXAMPLES
@given(catalogs(), seeds)
def test_merging_is_independent_of_the_order_and_idempotent(tmp_path_factory, made, seed):
    folder = tmp_path_factory.mktemp("merge")
    for name, table in made.items():
        write(table, folder / f"{name}.fits")
    paths = [folder / f"{name}.fits" for name in made]
    first = merge(paths, 1.0)
    shuffled = [paths[i] for i in np.random.default_rng(seed).permutation(len(paths))]
    assert rows_of(merge(shuffled, 1.0)) == rows_of(first) and len(first) == sum(map(len, made.values()))
    write(first, folder / "all.fits")
    again = merge([folder / "all.fits"], 1.0)
    assert rows_of(again) == rows_of(first)


# Files

NUMBERS = {"f": st.floats(allow_nan=True, allow_infinity=False, width=32), "i": st.integers(-(2**31), 2**31 - 1)}
WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=12).map(str.strip).filter(bool)


@st.composite
def tables(draw):
    n = draw(st.integers(1, 6))

    def values(strategy):
        return draw(st.lists(strategy, min_size=n, max_size=n))

    names = draw(st.lists(st.sampled_from([c.name for c in COLUMNS if c.name not in ("class", "morphology")]), unique=True, max_size=5))
    columns = {name: np.array(values(NUMBERS["i" if name in ("id", "flags") else "f"])) for name in names}
    return Table(columns | {"class": values(st.sampled_from(["star", "galaxy"])), "other": values(WORDS)})


@pytest.mark.parametrize("ending", [".fits", ".csv", ".ecsv", ".vot", ".parquet"])
@EXAMPLES
@given(table=tables())
def test_what_is_written_is_read_back(tmp_path_factory, ending, table):
    path = tmp_path_factory.mktemp("formats") / f"c{ending}"
    write(table, path)
    back = read_table(path)
    assert back.colnames == table.colnames and len(back) == len(table)
    for name in table.colnames:
        given_, got = np.ma.masked_invalid(table[name]) if table[name].dtype.kind == "f" else table[name], np.ma.asarray(back[name])
        if table[name].dtype.kind == "f":
            got = np.ma.filled(got.astype(float), np.nan)
            close = {"atol": 6e-4, "rtol": 1e-6} if ending == ".csv" else {"rtol": 0, "atol": 0}
            np.testing.assert_allclose(got, np.ma.filled(given_, np.nan), **close)
        elif ending == ".csv" and name == "other":
            assert len(got) == len(table)  # numbers in words become numbers, formulas get an apostrophe
        else:
            assert [str(v) for v in got.tolist()] == [str(v) for v in given_.tolist()]


def test_all_formats_are_among_those_or_are_text_for_other_programs():
    assert set(WRITERS) == {".csv", ".jsonl", ".parquet", ".fits", ".fit", ".ecsv", ".vot", ".xml", ".reg"}


# The stretch


@EXAMPLES
@given(seeds, st.floats(1e-6, 1e6), st.floats(-1e3, 1e3), st.integers(1, 3))
def test_the_stretch_is_finite_and_within_its_range(seed, scale, level, bands):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(5, 60, 2))
    counts = {name: scale * (level + rng.normal(0, 1, shape) + np.exp(rng.normal(0, 3, shape))) for name in "zrg"[:bands]}
    for plane in counts.values():
        plane[rng.random(shape) < 0.05] = rng.choice([np.nan, np.inf, -np.inf])
    frame = make_frame({name: np.where(np.isfinite(plane), plane, np.nan) for name, plane in counts.items()})
    try:
        rgb = section_rgb(frame, backgrounds(frame), Stretch())
    except InputError:
        assume(False)
    assert rgb.shape == (3, *shape) and np.isfinite(rgb).all() and rgb.min() >= 0 and rgb.max() <= 1


@EXAMPLES
@given(seeds, st.lists(st.floats(-5, 1e5), min_size=2, max_size=8, unique=True))
def test_the_stretch_is_monotone(seed, levels):
    """In one band, more counts are never darker."""
    sky = np.random.default_rng(seed).normal(0, 1, (64, 64))
    sky[10, 10 : 10 + len(levels)] = sorted(levels)
    frame = make_frame({"r": sky})
    shown = section_rgb(frame, backgrounds(frame), Stretch())[0, 10, 10 : 10 + len(levels)]
    assert (np.diff(shown) >= -1e-6).all()
