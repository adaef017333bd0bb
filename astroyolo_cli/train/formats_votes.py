"""D_ds as Galaxy Zoo has it: tables of votes (csv, FITS, Parquet) and the images that they name.

Known are the catalogs of galaxy-datasets, with counts ``smooth-or-featured-dr5_smooth`` and columns ``subfolder`` and
``filename``, and the public GZ DECaLS tables, with fractions ``smooth-or-featured_smooth_fraction``, ``iauname`` and ``png_loc``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from ..errors import InputError
from .formats_table import NO_NUMBER, TABLES, column_names, numbers, read_columns
from .samples import some_of

PICTURES = (".png", ".jpg", ".jpeg")
DECAM = 0.262  # arcsec a pixel
VOTE_THRESHOLD = 0.5  # a majority: higher ones keep the easy galaxies alone, and p_disk would promise too much on the others
ANSWERS = ("smooth", "disk", "artifact")
SPELLINGS = {  # of the answers, in the campaigns of Galaxy Zoo
    "smooth": "smooth",
    "featured-or-disk": "disk",
    "features": "disk",
    "featured": "disk",
    "artifact": "artifact",
    "star-or-artifact": "artifact",
    "problem": "artifact",
}
VOTE_COLUMN = re.compile(r"smooth-or-featured(?P<campaign>(?:-[a-z0-9]+)*)_(?P<answer>[a-z-]+?)(?P<fraction>_fraction)?")
RADII = (
    ("petro_th50", "petro_th90"),
    ("petro_theta_50", "petro_theta_90"),
    ("petroR50_r", "petroR90_r"),
)  # arcsec, with 50 and 90 % of the light
PLACES = ("file_loc", "png_loc", "filename", "iauname", "id_str")  # columns that lead to the image, the surest first


@dataclass(frozen=True)
class Labelled:
    """An image file, the part of its votes, smooth or disk, that was for disk, and its pixels' width in pixels of the survey."""

    path: Path
    p_disk: float
    native: float = NO_NUMBER

    @property
    def label(self) -> int:
        """0 smooth, 1 disk."""
        return int(self.p_disk > 0.5)


def voted_images(root: Path, threshold: float, tell: Callable[[str], None]) -> list[Labelled]:
    """The galaxies of all tables in a folder on whose class the votes agree; the first table that has an image labels it.

    Left out, and told: artifacts, galaxies without votes, those where neither class has ``threshold`` of all votes or both have
    the same part, and those whose image is missing, unless all are.
    """
    tables = vote_tables(root)
    if not tables:
        raise InputError(f"{root}: neither smooth/ and disk/ nor a table (csv, FITS, Parquet) with smooth-or-featured votes; add one")
    pictures, images, missing = pictures_below(root), {}, []
    for path in tables:
        for place, image in images_of_table(path, pictures, threshold, tell):
            if image is None:
                missing.append(place)
            else:
                images.setdefault(image.path, image)
    if missing and not images:
        raise InputError(f"{tables[0]}: none of its images is below {root}, such as {missing[0]}; put them into {root / 'images'}")
    return list(images.values())


def vote_tables(root: Path) -> list[Path]:
    """Tables in the folder that have votes for smooth and for featured-or-disk."""
    return [p for p in sorted(root.iterdir()) if p.is_file() and p.name.lower().endswith(TABLES) and has_votes(column_names(p))]


def has_votes(names: list[str]) -> bool:
    return {"smooth", "disk"} <= {answer for _, answer, _ in map(parse_name, names) if answer}


def parse_name(name: str) -> tuple[str, str, bool]:
    """Campaign, answer and whether it is a fraction, of a vote column's name; no answer for another column.

    >>> parse_name("smooth-or-featured-dr5_featured-or-disk_fraction")
    ('-dr5', 'disk', True)
    """
    match = VOTE_COLUMN.fullmatch(name)
    answer = SPELLINGS.get(match["answer"], "") if match else ""
    return (match["campaign"], answer, bool(match["fraction"])) if answer else ("", "", False)


def images_of_table(path: Path, pictures: dict[str, list[Path]], threshold: float, tell) -> list[tuple[str, Labelled | None]]:
    """For each galaxy that can be learned from its image's place in the table, and the image, None where it is missing."""
    names = column_names(path)
    columns = [name for name in PLACES if name in names]
    if not columns:
        raise InputError(f"{path}: none of the columns {', '.join(PLACES)}, so its images are unknown; add one")
    votes = [name for name in names if parse_name(name)[1]]
    radii = next((pair for pair in RADII if set(pair) <= set(names)), ())
    table = read_columns(path, [*votes, *columns, *radii, *(["subfolder"] if "subfolder" in names else [])])
    native = native_scale(*(numbers(table[name]) for name in radii)) if radii else np.full(len(table[columns[0]]), NO_NUMBER)
    fractions = vote_fractions({name: numbers(table[name]) for name in votes})
    p_disk = fractions[:, 1] / np.maximum(fractions[:, 0] + fractions[:, 1], 1e-9)
    found = []
    for row in np.flatnonzero(decided(fractions, threshold, path, tell)):
        places = [place_of(table, column, row) for column in columns]
        image = find_picture(places, pictures)
        found.append((places[0], Labelled(image, float(p_disk[row]), float(native[row])) if image else None))
    if missing := [place for place, image in found if image is None]:
        tell(f"{path}: {len(missing)} of {len(found)} images are missing and left out: {some_of(missing)}")
    return found


def native_scale(half_light: np.ndarray, most_light: np.ndarray) -> np.ndarray:
    """(n,) width of the pixels of GZ DECaLS pictures in DECam's, from the Petrosian radii of 50 and 90 % of the light in arcsec.

    The pictures were made at max(min(0.04 R50, 0.02 R90), 0.1) arcsec a pixel (zooniverse/decals); DECam has 0.262. NaN for radii
    that are none.
    """
    scale = np.maximum(np.minimum(0.04 * half_light, 0.02 * most_light), 0.1) / DECAM
    return np.where((half_light > 0) & (most_light > 0), scale, NO_NUMBER)


def vote_fractions(columns: dict[str, np.ndarray]) -> np.ndarray:
    """(n, 3) parts of the votes for smooth, disk and artifact; NaN for galaxies without votes.

    As the table states them, of the first campaign that does; else from counts, all campaigns together.
    """
    stated, counts = {}, {answer: 0.0 for answer in ANSWERS}
    for name, values in columns.items():
        campaign, answer, is_fraction = parse_name(name)
        if is_fraction:
            stated.setdefault(campaign, {})[answer] = values
        else:
            counts[answer] = counts[answer] + np.nan_to_num(values)
    n = len(next(iter(columns.values())))
    counted = np.stack([np.broadcast_to(counts[answer], n) for answer in ANSWERS], 1).astype(float)
    total = counted.sum(1, keepdims=True)
    fractions = np.full((n, len(ANSWERS)), NO_NUMBER)
    for campaign in stated.values():
        one = np.stack([campaign.get(answer, np.full(n, NO_NUMBER)) for answer in ANSWERS], 1)
        one[:, 2] = np.nan_to_num(one[:, 2])
        fractions = np.where(np.isfinite(fractions).all(1, keepdims=True), fractions, one)
    from_counts = np.divide(counted, total, out=np.full((n, len(ANSWERS)), NO_NUMBER), where=total > 0)
    return np.where(np.isfinite(fractions).all(1, keepdims=True), fractions, from_counts)


def decided(fractions: np.ndarray, threshold: float, path: Path, tell) -> np.ndarray:
    """(n,) bool, galaxies that can be learned from; how many are not, and why, is told."""
    voted = np.isfinite(fractions).all(1)
    if (fractions[voted] < 0).any() or (fractions[voted] > 1).any():
        raise InputError(f"{path}: vote fractions from {np.nanmin(fractions):g} to {np.nanmax(fractions):g}, must lie in 0..1")
    smooth, disk, artifact = np.where(voted[:, None], fractions, 0).T
    is_artifact = voted & (artifact >= np.maximum(smooth, disk))
    clear = (np.maximum(smooth, disk) >= threshold) & (smooth != disk)
    reasons = {
        "artifacts": is_artifact,
        "without votes": ~voted,
        f"undecided at --vote-threshold {threshold:g}": voted & ~is_artifact & ~clear,
    }
    if left_out := [f"{many.sum()} {why}" for why, many in reasons.items() if many.any()]:
        tell(f"{path}: of {len(voted)} galaxies are left out: {', '.join(left_out)}")
    return voted & ~is_artifact & clear


def pictures_below(root: Path) -> dict[str, list[Path]]:
    """Name without ending -> the images of that name anywhere below the folder, sorted."""
    found: dict[str, list[Path]] = {}
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(PICTURES):
                found.setdefault(picture_stem(name), []).append(Path(folder, name))
    return found


def picture_stem(name: str) -> str:
    """A file name without .png, .jpg, .jpeg; names such as J112953.88-000427.4 keep their dots."""
    ending = next((e for e in PICTURES if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)]


def place_of(table: dict[str, np.ndarray], column: str, row: int) -> str:
    """The image's path as the table has it; "" where it has none."""
    place = str(table[column][row]).strip()
    folder = str(table["subfolder"][row]).strip() if column == "filename" and "subfolder" in table else ""
    return f"{folder}/{place}" if folder and place else place


def find_picture(places: list[str], pictures: dict[str, list[Path]]) -> Path | None:
    """The image that a row means: of those with its name, whatever their ending, the one whose folders agree best."""
    for place in filter(None, places):
        wanted = PurePosixPath(place)
        named = pictures.get(picture_stem(wanted.name), [])
        if named:
            return max(named, key=lambda path: same_end(path.parent.parts, wanted.parent.parts))
    return None


def same_end(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many folders agree, counted from the last."""
    agree = [a == b for a, b in zip(reversed(one), reversed(other))]
    return agree.index(False) if False in agree else len(agree)
