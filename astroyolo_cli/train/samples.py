"""The two training sets: D_sg, fields with boxes, and D_ds, cutouts of one galaxy each.

Both are decoded once into memory-mapped caches, so that an epoch costs no parsing; the data stay as they are.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from ..errors import InputError
from ..stretch import estimate_background, signal

BANDS = ("z", "r", "g")  # reddest first, as the network sees them
SUFFIXES = ("", ".gz", ".fz", ".bz2")
CUTOUT = 256  # pixels around the centre that are kept of a cutout
PICTURES = (".png", ".jpg", ".jpeg")
HELD_OUT = 20  # one in so many is for validation


@dataclass(frozen=True)
class Field:
    """One field of D_sg, ready for training.

    Attributes:
        signals: (3, H, W) float16, z, r, g above the sky in units of the noise; memory-mapped.
        boxes: (n, 4) float32, x0, y0, x1, y1, pixels, the centre of the first pixel at 0.
        labels: (n,) int64, 0 star, 1 galaxy.
        ignore: (n,) bool, neither a source nor empty sky.
        snr: (n, 3) float32, matched-filter S/N in z, r, g; inf where the set doesn't state it.
    """

    signals: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ignore: np.ndarray
    snr: np.ndarray


@dataclass(frozen=True)
class Cutout:
    """One image of D_ds: (3, 256, 256) uint8 RGB around the galaxy, its box in it, 0 smooth or 1 disk."""

    rgb: np.ndarray
    box: np.ndarray
    label: int


def held_out(name: str) -> bool:
    """Whether a set or object belongs to the validation part; by its name, so the same in every run."""
    return zlib.crc32(name.encode()) % HELD_OUT == 0


def name_hash(name: str) -> str:
    """A short name for a cache of what ``name`` names."""
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def field_folders(root: Path) -> list[Path]:
    """The ``set_N`` folders, in the order of N."""
    found = [p for p in root.glob("set_*") if p.is_dir() and p.name[4:].isdigit()]
    if not found:
        raise InputError(f"{root}: no set_N folders; --sg needs DIR/set_N/img_g.fits, img_r.fits, img_z.fits, masks.fits")
    return sorted(found, key=lambda p: int(p.name[4:]))


def one_of(folder: Path, stem: str) -> Path | None:
    """``stem`` in whichever of the known compressions it is there."""
    return next((folder / (stem + s) for s in SUFFIXES if (folder / (stem + s)).is_file()), None)


class Fields:
    """All fields of one or several D_sg folders; ``fields[i]`` reads one from the cache."""

    def __init__(self, roots: list[Path], cache: Path, progress=None):
        self.caches = {root: cache / f"fields-{name_hash(str(root.resolve()))}" for root in roots}
        self.folders = [folder for root in roots for folder in field_folders(root)]
        for folder in self.caches.values():
            folder.mkdir(parents=True, exist_ok=True)
        folders = self.folders if progress is None else progress(self.folders)
        for folder in folders:
            if not self._path(folder, ".npz").is_file():
                cache_field(folder, self._path(folder, ".npy"), self._path(folder, ".npz"))
        self._truth = [dict(np.load(self._path(folder, ".npz"))) for folder in self.folders]

    def _path(self, folder: Path, ending: str) -> Path:
        return self.caches[folder.parent] / (folder.name + ending)

    def __len__(self) -> int:
        return len(self.folders)

    def __getitem__(self, index: int) -> Field:
        signals = np.load(self._path(self.folders[index], ".npy"), mmap_mode="r")
        return Field(signals, **self._truth[index])

    def split(self) -> tuple[list[int], list[int]]:
        """Indices for training and for validation."""
        return split([folder.name for folder in self.folders])

    def star_fraction(self) -> float:
        labels = np.concatenate([t["labels"][~t["ignore"]] for t in self._truth])
        return float(np.mean(labels == 0)) if len(labels) else 0.5


def split(names: list[str]) -> tuple[list[int], list[int]]:
    """Indices of the names for training and for validation; a tiny set validates on what it trains on."""
    validation = [i for i, name in enumerate(names) if held_out(name)]
    training = [i for i, name in enumerate(names) if not held_out(name)]
    everything = list(range(len(names)))
    return training or everything, validation or everything


def cache_field(folder: Path, pixels: Path, truth: Path) -> None:
    """Decode one set; the truth is written last, so that a cut-short cache is made again."""
    signals = np.stack([band_signal(folder, band) for band in BANDS])
    np.save(pixels, np.clip(signals, -6e4, 6e4).astype(np.float16))
    rows = truth_rows(folder)
    partial = truth.with_suffix(".partial.npz")
    np.savez(partial, **rows)
    partial.replace(truth)


def band_signal(folder: Path, band: str) -> np.ndarray:
    path = one_of(folder, f"img_{band}.fits")
    if path is None:
        raise InputError(f"{folder}: no img_{band}.fits (nor .gz, .fz, .bz2); a set has img_g, img_r and img_z")
    with fits.open(path, memmap=False) as hdus:
        counts = next(h.data for h in hdus if h.data is not None and h.data.ndim == 2).astype(np.float32)
    return signal(counts, estimate_background(counts))


def truth_rows(folder: Path) -> dict[str, np.ndarray]:
    """Boxes and labels from truth.fits where there is one, else from masks.fits."""
    if path := one_of(folder, "truth.fits"):
        return rows_from_table(path)
    if path := one_of(folder, "masks.fits"):
        return rows_from_masks(path)
    raise InputError(f"{folder}: neither truth.fits nor masks.fits; without one of them its sources are unknown")


def rows_from_table(path: Path) -> dict[str, np.ndarray]:
    table = fits.getdata(path, 1)
    classes = np.char.strip(np.asarray(table["class"], str))
    if unknown := set(classes) - {"star", "galaxy"}:
        raise InputError(f"{path}: class {min(unknown)!r}, must be star or galaxy")
    return {
        "boxes": np.stack([table[c] for c in ("xmin", "ymin", "xmax", "ymax")], 1).astype(np.float32).reshape(-1, 4),
        "labels": (classes == "galaxy").astype(np.int64),
        "ignore": np.asarray(table["ignore"], bool),
        "snr": band_snr(table),
    }


def band_snr(table) -> np.ndarray:
    """(n, 3) S/N in z, r, g; where only the total is stated, as if the bands were alike."""
    if f"snr_{BANDS[0]}" in table.columns.names:
        return np.stack([table[f"snr_{b}"] for b in BANDS], 1).astype(np.float32)
    return np.repeat(np.asarray(table["snr"], np.float32)[:, None] / np.sqrt(len(BANDS)), len(BANDS), axis=1)


def rows_from_masks(path: Path) -> dict[str, np.ndarray]:
    """Each image HDU is one source alone; CLASS_ID 1 star, 2 galaxy. Empty ones are left out."""
    boxes, labels = [], []
    with fits.open(path, memmap=False) as hdus:
        for hdu in hdus:
            if hdu.data is None:
                continue
            class_id = hdu.header.get("CLASS_ID")
            if class_id not in (1, 2):
                raise InputError(f"{path}: CLASS_ID {class_id!r}, must be 1 (star) or 2 (galaxy)")
            if (box := mask_box(np.asarray(hdu.data, np.float32), is_star=class_id == 1)) is not None:
                boxes.append(box)
                labels.append(class_id - 1)
    n = len(boxes)
    return {
        "boxes": np.array(boxes, np.float32).reshape(n, 4),
        "labels": np.array(labels, np.int64),
        "ignore": np.zeros(n, bool),
        "snr": np.full((n, len(BANDS)), np.inf, np.float32),
    }


def mask_box(alone: np.ndarray, is_star: bool) -> np.ndarray | None:
    """Box of a source from the noise-free image of it alone, by Astro R-CNN's rule; None if it is empty.

    Above 0.5 % (star) or 8 % (galaxy) of the peak, blurred 9 x 9 with sigma 2, kept where >= 0.5; if
    nothing is left, what was above.
    """
    from scipy import ndimage

    peak = alone.max(initial=0)
    if not peak > 0:
        return None
    above = alone / peak > (0.005 if is_star else 0.08)
    blurred = ndimage.gaussian_filter(above.astype(np.float64), 2, truncate=2, mode="constant")
    kept = blurred >= 0.5
    rows, columns = np.nonzero(kept if kept.any() else above)
    return np.array([columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5], np.float32)


class Cutouts:
    """All cutouts of a D_ds folder with images below ``smooth/`` and ``disk/``."""

    def __init__(self, root: Path, cache: Path, progress=None):
        self.files = cutout_files(root)
        stem = cache / f"cutouts-{name_hash(json.dumps([str(p.resolve()) for p, _ in self.files]))}"
        stem.parent.mkdir(parents=True, exist_ok=True)
        if not stem.with_suffix(".npz").is_file():
            cache_cutouts(self.files, stem, progress)
        self._rgb = np.load(stem.with_suffix(".npy"), mmap_mode="r")
        self._boxes = np.load(stem.with_suffix(".npz"))["boxes"]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Cutout:
        return Cutout(self._rgb[index], self._boxes[index], self.files[index][1])

    def split(self) -> tuple[list[int], list[int]]:
        """Indices for training and for validation, by object."""
        return split([path.stem for path, _ in self.files])

    def disk_fraction(self) -> float:
        return float(np.mean([label for _, label in self.files]))


def cutout_files(root: Path) -> list[tuple[Path, int]]:
    """Image files and their labels: 0 below ``smooth/``, 1 below ``disk/``."""
    files = []
    for label, name in enumerate(("smooth", "disk")):
        mine = sorted(p for p in (root / name).rglob("*") if p.suffix.lower() in PICTURES)
        if not mine:
            raise InputError(f"{root / name}: no PNG or JPEG images; --ds needs both DIR/smooth/ and DIR/disk/")
        files += [(path, label) for path in mine]
    return files


def cache_cutouts(files, stem: Path, progress=None) -> None:
    rgb = np.lib.format.open_memmap(stem.with_suffix(".npy"), "w+", np.uint8, (len(files), 3, CUTOUT, CUTOUT))
    boxes = np.zeros((len(files), 4), np.float32)
    for i, (path, _) in enumerate(files if progress is None else progress(files)):
        rgb[i] = centre_of_picture(path)
        boxes[i] = central_box(rgb[i])
    rgb.flush()
    partial = stem.with_suffix(".partial.npz")
    np.savez(partial, boxes=boxes)
    partial.replace(stem.with_suffix(".npz"))


def centre_of_picture(path: Path) -> np.ndarray:
    """(3, 256, 256) uint8 around the middle of an image; smaller images are enlarged."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image = image.convert("RGB")
            if min(image.size) < CUTOUT:
                scale = CUTOUT / min(image.size)
                image = image.resize([max(CUTOUT, round(n * scale)) for n in image.size], Image.Resampling.BICUBIC)
            left, top = (image.width - CUTOUT) // 2, (image.height - CUTOUT) // 2
            return np.asarray(image.crop((left, top, left + CUTOUT, top + CUTOUT))).transpose(2, 0, 1)
    except OSError as error:
        raise InputError(f"{path}: not a readable image ({error}); remove it or fetch it again") from error


def linear_light(rgb: np.ndarray, q: float = 8.0) -> np.ndarray:
    """Undo, roughly, the asinh stretch of a colour picture: (3, H, W) in [0, 1] to fluxes on an arbitrary scale.

    SDSS pictures follow Lupton et al. (2004) with Q = 8; other surveys' come close enough for augmentation.
    """
    mean = rgb.mean(axis=0)
    factor = np.divide(np.sinh(q * mean) / q, mean, out=np.ones_like(mean), where=mean > 1e-3)
    return rgb * factor


def central_box(rgb: np.ndarray) -> np.ndarray:
    """Box of the source at the centre of (3, H, W) uint8, by D_sg's rule: above 8 % of its peak.

    The middle half where nothing stands out at the centre.
    """
    from scipy import ndimage

    light = ndimage.gaussian_filter(linear_light(rgb / np.float32(255)).mean(axis=0), 1.5)
    size = light.shape[0]
    middle = slice(size // 2 - 8, size // 2 + 8)
    sky, peak = np.median(light), light[middle, middle].max()
    labels, _ = ndimage.label(light - sky > 0.08 * (peak - sky))
    mine = labels[middle, middle]
    central = np.bincount(mine[mine > 0]).argmax() if (mine > 0).any() else 0
    rows, columns = np.nonzero(labels == central) if central and peak > sky else (np.array([0, size]),) * 2
    box = np.array([columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5], np.float32)
    whole = max(box[2] - box[0], box[3] - box[1]) > 0.95 * size
    return np.array([size / 4 - 0.5, size / 4 - 0.5, size * 3 / 4 - 0.5, size * 3 / 4 - 0.5], np.float32) if whole else box
