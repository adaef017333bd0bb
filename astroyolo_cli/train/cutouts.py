"""D_ds: images of one galaxy each, from folders or Galaxy Zoo tables, decoded once into a memory-mapped cache."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..pictures import plain_mode, scaled
from ..whole import written_whole
from .formats_votes import PICTURES, RADII, VOTE_THRESHOLD, Labelled, voted_images
from .processes import each_done
from .samples import Cutout, is_fresh, name_hash, split

CACHE_VERSION = 3  # 3: 16-bit pictures are scaled, not cut at 255
CUTOUT = 256  # pixels around the centre that are kept of a cutout
GZ_SIDE = 424  # pixels of the pictures of Galaxy Zoo, for which the native scale is stated
CLASSES = ("smooth", "disk")


class Cutouts:
    """All cutouts of a D_ds folder; ``cutouts[i]`` reads one from the cache.

    Args:
        root: images below ``smooth/`` and ``disk/``, or tables with votes and the images that they name.
        cache: folder for the decoded pixels; runs can share it.
        vote_threshold: galaxies of a table are left out where neither smooth nor disk has this part of the votes.
        tell: called with a line for each kind of thing that was left out.
        workers: processes that decode; 0 for this one.
    """

    def __init__(
        self,
        root: Path,
        cache: Path,
        vote_threshold: float = VOTE_THRESHOLD,
        tell: Callable[[str], None] = lambda line: None,
        workers: int = 0,
    ):
        images = labelled_images(root, vote_threshold, tell)
        self._root = root
        self._names = [image.path.stem for image in images]
        self._p_disk = np.array([image.p_disk for image in images], np.float32)
        self._native = np.array([image.native for image in images], np.float32)
        paths = [image.path for image in images]
        stem = cache / f"cutouts-{name_hash(json.dumps([CACHE_VERSION, *(str(p.resolve()) for p in paths)]))}"
        stem.parent.mkdir(parents=True, exist_ok=True)
        if not is_fresh(stem.with_suffix(".npz"), tuple(paths)) or not stem.with_suffix(".npy").is_file():
            cache_cutouts(paths, stem, workers)
        self._rgb = np.load(stem.with_suffix(".npy"), mmap_mode="r")
        with np.load(stem.with_suffix(".npz")) as saved:
            self._boxes = saved["boxes"]
            self._native *= GZ_SIDE / np.maximum(saved["sides"], CUTOUT)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Cutout:
        p_disk = float(self._p_disk[index])
        return Cutout(self._rgb[index], self._boxes[index], int(p_disk > 0.5), p_disk, self._names[index], float(self._native[index]))

    def split(self) -> tuple[list[int], list[int]]:
        """Indices for training and for validation, by object."""
        return split(self._names)

    def check_classes(self) -> None:
        """Raises InputError where none of one of the classes is for training."""
        check_both_trained(self._root, self._p_disk > 0.5, self._names)

    def check_native(self) -> None:
        """Raises InputError where some galaxies' own scale is unknown."""
        if unknown := int((~np.isfinite(self._native)).sum()):
            raise InputError(
                f"--native-scale: the scale of {unknown} of {len(self)} cutouts is unknown; their table needs the Petrosian radii "
                f"{' and '.join(RADII[0])} in arcsec, or leave --native-scale out"
            )

    def disk_fraction(self) -> float:
        return float(np.mean(self._p_disk > 0.5))


def labelled_images(root: Path, vote_threshold: float, tell: Callable[[str], None]) -> list[Labelled]:
    """The images of a D_ds folder; folders ``smooth/`` and ``disk/`` go before tables.

    Raises:
        InputError: if there are none, or none of one of the classes.
    """
    if any((root / name).is_dir() for name in CLASSES):
        return sorted_images(root)
    images = voted_images(root, vote_threshold, tell)
    for wanted, name in enumerate(CLASSES):
        if not any(image.label == wanted for image in images):
            raise InputError(f"{root}: no {name} galaxies at all among {len(images)}; --ds needs both, or a lower --vote-threshold")
    return images


def sorted_images(root: Path) -> list[Labelled]:
    """Images below ``smooth/`` and ``disk/``."""
    images = []
    for label, name in enumerate(CLASSES):
        mine = sorted(p for p in (root / name).rglob("*") if p.suffix.lower() in PICTURES)
        if not mine:
            raise InputError(f"{root / name}: no {name} galaxies at all, no PNG or JPEG images; --ds needs both DIR/smooth/ and DIR/disk/")
        images += [Labelled(path, float(label)) for path in mine]
    return images


def check_both_trained(root: Path, is_disk: np.ndarray, names: list[str]) -> None:
    """Raises InputError where all galaxies of a class, (n,) bool, are held out by their names: training draws from both."""
    trained = np.asarray(is_disk, bool)[split(names)[0]]
    for wanted, name in enumerate(CLASSES):
        if not (trained == wanted).any():
            count = int((np.asarray(is_disk) == wanted).sum())
            raise InputError(
                f"{root}: {count} {name} galaxies, all held out by their names, and training needs both classes; add {name} galaxies, "
                "or rename the files of some"
            )


def cache_cutouts(paths: list[Path], stem: Path, workers: int = 0) -> None:
    """Decode the images; boxes are written last, so that a cut-short cache is made again.

    Pixels are appended, not mapped: on a full disk a write fails in words, where a mapped page kills the process.
    """
    boxes, sides = np.zeros((len(paths), 4), np.float32), np.zeros(len(paths), np.float32)
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(paths), 3, CUTOUT, CUTOUT)}
    with written_whole(stem.with_suffix(".npy")) as partial, partial.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for i, (rgb, side, box) in enumerate(each_done(lambda number: decoded(paths[number]), len(paths), workers)):
            file.write(rgb.tobytes())
            sides[i], boxes[i] = side, box
    with written_whole(stem.with_suffix(".npz")) as partial:
        np.savez(partial, boxes=boxes, sides=sides)


def decoded(path: Path) -> tuple[np.ndarray, int, np.ndarray]:
    """(3, 256, 256) uint8 around the middle of an image, its shorter side, and the box of the source at its centre."""
    rgb, side = centre_of_picture(path)
    return np.ascontiguousarray(rgb), side, central_box(rgb)


def centre_of_picture(path: Path) -> tuple[np.ndarray, int]:
    """(3, 256, 256) uint8 around the middle of an image, and the image's shorter side; smaller images are enlarged."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image, side = in_colour(image, path), min(image.size)
            if side < CUTOUT:
                scale = CUTOUT / side
                image = image.resize([max(CUTOUT, round(n * scale)) for n in image.size], Image.Resampling.BICUBIC)
            left, top = (image.width - CUTOUT) // 2, (image.height - CUTOUT) // 2
            return np.asarray(image.crop((left, top, left + CUTOUT, top + CUTOUT))).transpose(2, 0, 1), side
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow has several words for broken
        raise InputError(f"{path}: not a readable image ({error}); remove it or fetch it again") from error


def in_colour(image, path: Path):
    """RGB of 8 bits; grey of 16 bits is scaled as ``classify`` does, where Pillow's own way is white above 255."""
    from PIL import Image

    plain = plain_mode(image)
    if plain.mode not in ("L", "RGB"):
        plain = Image.fromarray((255 * scaled(np.asarray(plain), path).clip(0, 1)).round().astype(np.uint8))
    return plain.convert("RGB")


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
