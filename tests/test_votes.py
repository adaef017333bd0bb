"""Galaxy Zoo tables of votes, and folders of sorted pictures, as D_ds."""

import csv

import numpy as np
import pytest
from astropy.table import Table
from PIL import Image

from astroyolo_cli.errors import InputError
from astroyolo_cli.train.cutouts import Cutouts
from astroyolo_cli.train.formats_votes import parse_name, picture_stem, vote_fractions


def write_galaxy(path, level=200):
    path.parent.mkdir(parents=True, exist_ok=True)
    yy, xx = np.mgrid[:64, :64] - 31.5
    blob = level * np.exp(-(xx**2 + yy**2) / 50)
    Image.fromarray(np.stack([blob.astype(np.uint8)] * 3, -1)).save(path)


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def cutouts(root, tmp_path, **rest):
    told = []
    found = Cutouts(root, tmp_path / "cache", tell=told.append, **rest)
    return found, told


def p_disk(found):
    return [round(found[i].p_disk, 4) for i in range(len(found))]


def counts_row(name, smooth, disk, artifact, **rest):
    names = ("smooth-or-featured-dr5_smooth", "smooth-or-featured-dr5_featured-or-disk", "smooth-or-featured-dr5_artifact")
    return {"id_str": name, "subfolder": name[:4], "filename": f"{name}.jpg", **dict(zip(names, (smooth, disk, artifact)))} | rest


COUNTS = [
    counts_row("J094651.45-010228.5", 30, 6, 4),  # 0.75, 0.15, 0.1: smooth, p_disk 6 / 36
    counts_row("J094651.45-010228.6", 5, 20, 0),  # disk, 0.8; its stem differs in the last digit alone
    counts_row("J112953.88-000427.4", 3, 4, 33),  # artifact
    counts_row("J000000.00+000000.0", 10, 10, 0),  # a tie
    counts_row("J000000.00+000000.1", 9, 8, 3),  # 0.45: undecided at 0.5
    counts_row("J000000.00+000000.2", 0, 0, 0),  # nobody voted
    counts_row("J000000.00+000000.3", "", "", ""),  # nor here
]


def write_all(root, rows=COUNTS, ending=".png"):
    for row in rows:
        write_galaxy(root / "images" / row["subfolder"] / (row["id_str"] + ending))


@pytest.mark.parametrize("kind", ["csv", "fits", "parquet"])
def test_counts_of_galaxy_datasets(tmp_path, kind):
    """The table says .jpg, the files are .png; names hold dots."""
    root = tmp_path / "ds"
    write_all(root)
    if kind == "csv":
        write_csv(root / "catalog.csv", COUNTS)
    else:
        rows = COUNTS[:-1]
        table = Table({name: [row[name] for row in rows] for name in rows[0]})
        if kind == "parquet":
            pytest.importorskip("pyarrow")
        table.write(root / f"catalog.{kind}")
    found, told = cutouts(root, tmp_path)
    assert p_disk(found) == [round(6 / 36, 4), 0.8] and [found[i].label for i in range(2)] == [0, 1]
    unvoted = 2 if kind == "csv" else 1
    n = len(COUNTS) if kind == "csv" else len(COUNTS) - 1
    expected = f"of {n} galaxies are left out: 1 artifacts, {unvoted} without votes, 2 undecided at --vote-threshold 0.5"
    assert told == [f"{root / f'catalog.{kind}'}: {expected}"]


def test_the_vote_threshold_chooses(tmp_path):
    root = tmp_path / "ds"
    write_all(root)
    write_csv(root / "catalog.csv", COUNTS)
    assert len(cutouts(root, tmp_path, vote_threshold=0.4)[0]) == 3
    with pytest.raises(InputError, match="ds: no smooth galaxies at all among 1"):
        cutouts(root, tmp_path, vote_threshold=0.76)


def fraction_row(name, smooth, disk, artifact, **rest):
    answers = {"smooth": smooth, "featured-or-disk": disk, "artifact": artifact}
    votes = {f"smooth-or-featured_{answer}_fraction": value for answer, value in answers.items()}
    return {"iauname": name, "png_loc": f"elsewhere/{name[:4]}/{name}.png", "smooth-or-featured_total-votes": 40} | votes | rest


def test_tables_with_petrosian_radii_give_the_native_scale(tmp_path):
    """The pictures here have 64 pixels, not Galaxy Zoo's 424, and are enlarged to 256."""
    root = tmp_path / "ds"
    write_all(root)
    write_csv(root / "catalog.csv", [row | {"petro_th50": 5.0, "petro_th90": 12.0} for row in COUNTS])
    found, _ = cutouts(root, tmp_path)
    found.check_native()
    assert found[0].native == pytest.approx(0.2 / 0.262 * 424 / 256)


def test_without_radii_the_native_scale_is_unknown(tmp_path):
    root = tmp_path / "ds"
    write_all(root)
    write_csv(root / "catalog.csv", COUNTS)
    with pytest.raises(InputError, match="2 of 2 cutouts is unknown.*petro_th50"):
        cutouts(root, tmp_path)[0].check_native()


def test_fractions_of_the_public_tables(tmp_path):
    root = tmp_path / "ds"
    rows = [fraction_row("J1000.5", 0.7, 0.2, 0.1), fraction_row("J1001.5", 0.05, 0.9, 0.05), fraction_row("J1002.5", 0.1, 0.1, 0.8)]
    write_csv(root_made(root) / "gz_decals_volunteers_5.csv", rows)
    for row in rows:
        write_galaxy(root / "images" / "png" / f"{row['iauname']}.png")
    found, _ = cutouts(root, tmp_path)
    np.testing.assert_allclose([found[i].p_disk for i in range(len(found))], [0.2 / 0.9, 0.9 / 0.95], rtol=1e-6)


def root_made(root):
    root.mkdir(parents=True, exist_ok=True)
    return root


def test_stated_fractions_go_before_counts_and_counts_fill_in():
    columns = {
        "smooth-or-featured_smooth_fraction": np.array([0.2, np.nan]),
        "smooth-or-featured_featured-or-disk_fraction": np.array([0.7, np.nan]),
        "smooth-or-featured_smooth": np.array([9.0, 3.0]),
        "smooth-or-featured_featured-or-disk": np.array([1.0, 1.0]),
        "smooth-or-featured-dr8_featured-or-disk": np.array([np.nan, 4.0]),
        "smooth-or-featured_artifact": np.array([0.0, 2.0]),
    }
    np.testing.assert_allclose(vote_fractions(columns), [[0.2, 0.7, 0.0], [0.3, 0.5, 0.2]])


@pytest.mark.parametrize(
    "name, parsed",
    [
        ("smooth-or-featured_smooth", ("", "smooth", False)),
        ("smooth-or-featured-dr5_featured-or-disk", ("-dr5", "disk", False)),
        ("smooth-or-featured-candels_features", ("-candels", "disk", False)),
        ("smooth-or-featured-dr12_artifact_fraction", ("-dr12", "artifact", True)),
        ("smooth-or-featured_total-votes", ("", "", False)),
        ("smooth-or-featured_smooth_debiased", ("", "", False)),
        ("smooth-or-featured-dr5_total-votes", ("", "", False)),
        ("disk-edge-on_yes", ("", "", False)),
    ],
)
def test_names_of_vote_columns(name, parsed):
    assert parse_name(name) == parsed


def test_images_are_found_by_path_name_or_id(tmp_path):
    """An absolute file_loc of another machine, a long id, and two images of one name told apart by their folder."""
    root = tmp_path / "ds"
    votes = ("smooth-or-featured_smooth_fraction", "smooth-or-featured_featured-or-disk_fraction")
    rows = [
        {"id_str": "587722952767439450", "file_loc": "/far/away/a/same.jpg", votes[0]: 1.0, votes[1]: 0.0},
        {"id_str": "587722952767439451", "file_loc": "/far/away/b/same.jpg", votes[0]: 0.0, votes[1]: 1.0},
        {"id_str": "587722952767439452", "file_loc": "", votes[0]: 0.1, votes[1]: 0.9},
    ]
    write_csv(root_made(root) / "t.csv", rows)
    for place, level in (("b/same.jpeg", 60), ("a/same.png", 120), ("587722952767439452.PNG", 240)):
        write_galaxy(root / "images" / place, level)
    found, _ = cutouts(root, tmp_path)
    brightness = [int(found[i].rgb.max()) for i in range(3)]
    np.testing.assert_allclose(brightness, [120, 60, 240], atol=8)


def test_missing_images_are_told_unless_all_are(tmp_path):
    root = tmp_path / "ds"
    rows = [counts_row(f"J{i:04d}.5", 10 * (i % 2), 10 * ((i + 1) % 2), 0) for i in range(8)]
    write_csv(root_made(root) / "t.csv", rows)
    with pytest.raises(InputError, match=r"t.csv: none of its images.*J000/J0000.5.jpg|t.csv: none of its images.*J0000.5"):
        cutouts(root, tmp_path)
    for row in rows[:3]:
        write_galaxy(root / "images" / row["filename"])
    found, told = cutouts(root, tmp_path)
    assert len(found) == 3 and len(told) == 1 and "5 of 8 images are missing" in told[0] and "J0003.5" in told[0] and "2 more" in told[0]


def test_tables_that_cannot_be_used_are_named(tmp_path):
    root = root_made(tmp_path / "ds")
    with pytest.raises(InputError, match="neither smooth/ and disk/ nor a table"):
        cutouts(root, tmp_path)
    write_csv(root / "other.csv", [{"objid": 1, "label": "disk"}])
    with pytest.raises(InputError, match="neither smooth/ and disk/ nor a table"):
        cutouts(root, tmp_path)
    row = counts_row("J1.5", 1, 0, 0)
    write_csv(root / "t.csv", [{name: row[name] for name in row if name.startswith("smooth")}])
    with pytest.raises(InputError, match="t.csv: none of the columns file_loc"):
        cutouts(root, tmp_path)
    (root / "t.csv").write_text((",".join(row)) + "\nJ1,x\n")
    with pytest.raises(InputError, match="t.csv: not a readable table .line 2 has 2 cells"):
        cutouts(root, tmp_path)
    write_csv(root / "t.csv", [fraction_row("J1.5", 75, 20, 5)])
    with pytest.raises(InputError, match="t.csv: vote fractions .*0..1"):
        cutouts(root, tmp_path)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (root_made(tmp_path / "ds") / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="t.parquet: Parquet needs pyarrow.*pip install pyarrow"):
        cutouts(tmp_path / "ds", tmp_path)


@pytest.mark.parametrize("missing", ["smooth", "disk"])
def test_a_class_without_any_galaxy_is_named(tmp_path, missing):
    for name in {"smooth", "disk"} - {missing}:
        write_galaxy(tmp_path / "ds" / name / "a.png")
    with pytest.raises(InputError, match=f"ds/{missing}: no {missing} galaxies at all"):
        cutouts(tmp_path / "ds", tmp_path)


def test_folders_give_hard_targets_and_broken_images_are_named(tmp_path):
    root = tmp_path / "ds"
    for name in ("smooth", "disk"):
        write_galaxy(root / name / f"{name}.png")
    found, _ = cutouts(root, tmp_path)
    assert [(found[i].label, found[i].p_disk) for i in range(2)] == [(0, 0.0), (1, 1.0)]
    assert found.disk_fraction() == 0.5 and isinstance(found[0].rgb, np.memmap)
    path = root / "disk" / "disk.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="disk.png: not a readable image"):
        cutouts(root, tmp_path)


def test_only_image_endings_are_cut_from_names():
    assert picture_stem("J112953.88-000427.4") == "J112953.88-000427.4"
    assert picture_stem("J112953.88-000427.4.PNG") == "J112953.88-000427.4"
