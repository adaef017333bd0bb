"""D_sg: fields with boxes, from any of its layouts, decoded once into a memory-mapped cache."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..whole import written_whole
from .formats_coco import coco_entries
from .formats_sets import set_entries
from .formats_yolo import yolo_entries
from .images import is_picture, signals_of
from .processes import each_done
from .samples import Entry, Field, Sources, is_fresh, name_hash, split

LARGEST = 6e4  # signal, which float16 can hold
LAYOUTS = (coco_entries, set_entries, yolo_entries)  # the first that fits a folder reads it


def field_entries(root: Path, tell: Callable[[str], None]) -> list[Entry]:
    """The fields of one folder, not read yet; what was left out is told."""
    for entries in LAYOUTS:
        if found := entries(root, tell):
            return found
    raise InputError(
        f"{root}: no fields; --sg needs DIR/set_N/img_g.fits, img_r.fits, img_z.fits with masks.fits (set_N folders), "
        "or images with a COCO JSON in DIR, or with YOLO txt labels beside them"
    )


def decode(entry: Entry) -> tuple[np.ndarray, Sources]:
    """(3, H, W) float16 signals of a field, and its sources."""
    image = entry.find_image()
    signals = np.clip(signals_of(image), -LARGEST, LARGEST).astype(np.float16)
    return signals, replace(entry.read_sources(signals.shape[1:]), is_picture=is_picture(image))


def field_of(signals: np.ndarray, sources: Sources, name: str) -> Field:
    return Field(signals, sources.boxes, sources.labels, sources.ignore, sources.snr, name, sources.is_picture)


class Fields:
    """All fields of one or several D_sg folders; ``fields[i]`` reads one from the cache.

    Args:
        roots: folders, each in a layout of its own.
        cache: folder for the decoded pixels and boxes; runs can share it.
        tell: called with a line for each kind of thing that was left out.
        workers: processes that decode; 0 for this one.
    """

    def __init__(self, roots: list[Path], cache: Path, tell: Callable[[str], None] = lambda line: None, workers: int = 0):
        self._names, self._stems, self._pixels, entries = [], [], {}, []
        for root in roots:
            folder = cache / f"fields-{name_hash(str(root.resolve()))}"
            folder.mkdir(parents=True, exist_ok=True)
            found = field_entries(root, tell)
            entries += found
            self._names += [entry.name for entry in found]
            self._stems += [folder / cache_name(entry.name) for entry in found]
        work = list(zip(entries, self._stems))
        for _ in each_done(lambda number: cache_field(*work[number]), len(work), workers):
            pass
        self._sources = [load_sources(with_ending(stem, ".npz")) for stem in self._stems]
        if empty := sum(s.empty_masks for s in self._sources):
            tell(f"{empty} masks without any light are left out")

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Field:
        if index not in self._pixels:
            self._pixels[index] = np.load(with_ending(self._stems[index], ".npy"), mmap_mode="r")
        return field_of(self._pixels[index], self._sources[index], self._names[index])

    def split(self) -> tuple[list[int], list[int]]:
        """Indices for training and for validation, by the fields' names."""
        return split(self._names)

    def star_fraction(self) -> float:
        labels = np.concatenate([s.labels[~s.ignore] for s in self._sources])
        return float(np.mean(labels == 0)) if len(labels) else 0.5


def cache_name(name: str) -> str:
    """The field's name where a file can have it, else a hash of it."""
    return name if re.fullmatch(r"\w[\w.-]{0,99}", name) else name_hash(name)


def with_ending(stem: Path, ending: str) -> Path:
    """``stem`` may hold dots of its own."""
    return stem.with_name(stem.name + ending)


def cache_field(entry: Entry, stem: Path) -> None:
    """Decode a field unless its cache is fresh; the boxes are written last, so that a cut-short cache is made again."""
    if is_fresh(with_ending(stem, ".npz"), entry.files) and with_ending(stem, ".npy").is_file():
        return
    signals, sources = decode(entry)
    with written_whole(with_ending(stem, ".npy")) as path:
        np.save(path, signals)
    with written_whole(with_ending(stem, ".npz")) as path:
        np.savez(path, **asdict(sources))


def load_sources(path: Path) -> Sources:
    with np.load(path) as saved:
        columns = dict(saved)
    numbers = {"empty_masks": int(columns.get("empty_masks", 0)), "is_picture": bool(columns.get("is_picture", False))}
    return Sources(**columns | numbers)
