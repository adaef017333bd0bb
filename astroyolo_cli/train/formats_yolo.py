"""D_sg as YOLO txt: a text file beside each image, one line a source: class, centre and size relative to the image's."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..errors import InputError
from ..inputs import FieldInput
from .images import ENDINGS, image_at
from .samples import Entry, Sources, cut_to_image, some_of, sources_of

CLASSES = ("star", "galaxy")
LISTS = ("classes.txt", "data.yaml", "data.yml")  # files that may name the classes in another order
SLACK = 0.01  # of the image's side: rounding may put an edge outside


def yolo_entries(root: Path, tell: Callable[[str], None]) -> list[Entry]:
    """Every image with a label file beside it, or in ``labels/`` for ``images/``; none if there are none.

    An empty label file says that the image holds no source. Images without one are told and left out.
    """
    texts = sorted(p for p in root.rglob("*.txt") if p.name not in LISTS)
    found = [(text, image) for text in texts if (image := image_of_labels(text))]
    classes = class_order(root) if found else CLASSES
    if unlabelled := images_without_labels(root, found):
        tell(f"{root}: {len(unlabelled)} images have no label file and are left out: {some_of(unlabelled)}")
    return [
        Entry(str(text.relative_to(root)), (*image.paths, text), partial(image_of_labels, text), partial(sources_of_text, text, classes))
        for text, image in found
    ]


def image_of_labels(text: Path) -> FieldInput | None:
    """The image beside a label file, of the same name; in ``images/`` if the text is in ``labels/``."""
    bare = text.with_name(text.name.removesuffix(".txt"))
    if image := image_at(bare):
        return image
    if "labels" not in bare.parts:
        return None
    last = len(bare.parts) - 1 - bare.parts[::-1].index("labels")
    return image_at(Path(*bare.parts[:last], "images", *bare.parts[last + 1 :]))


def images_without_labels(root: Path, found: list[tuple[Path, FieldInput]]) -> list[str]:
    """Names of image files in the same folders as labelled ones that no label file belongs to."""
    used = {path for _, image in found for path in image.paths}
    folders = {path.parent for path in used}
    files = (p for folder in sorted(folders) for p in sorted(folder.iterdir()))
    return [str(p.relative_to(root)) for p in files if p.name.lower().endswith(ENDINGS) and p not in used]


def class_order(root: Path) -> tuple[str, ...]:
    """The names of classes 0 and 1: star and galaxy, unless a classes.txt or data.yaml has them the other way round."""
    for path in (root / name for name in LISTS):
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace").lower()
            listed = text[text.find("names") :] if path.suffix != ".txt" else text
            names = tuple(dict.fromkeys(re.findall(r"\b(star|galaxy)\b", listed)))
            if set(names) == set(CLASSES):
                return names
            raise InputError(f"{path}: its classes must be star and galaxy; correct it, or remove it for 0 star and 1 galaxy")
    return CLASSES


def sources_of_text(path: Path, classes: tuple[str, ...], shape: tuple[int, int]) -> Sources:
    """Lines ``class cx cy w h``, relative to width and height, counted from the corner of the first pixel."""
    boxes, labels = [], []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable text ({error}); write it again") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            label, box = parse_line(line, f"{path}: line {number}", classes)
            boxes.append(cut_to_image(in_pixels(box, shape), shape, f"{path}: line {number}"))
            labels.append(label)
    return sources_of(boxes, labels)


def parse_line(line: str, where: str, classes: tuple[str, ...]) -> tuple[int, list[float]]:
    """Label (0 star, 1 galaxy) and relative cx, cy, w, h."""
    try:
        number, *box = (float(word) for word in line.split())
    except ValueError as error:
        raise InputError(f"{where}: {line.strip()!r}, must be five numbers: class cx cy w h") from error
    if len(box) != 4:
        raise InputError(f"{where}: {len(box) + 1} numbers, must be five: class cx cy w h; convert outlines to boxes")
    if number not in (0, 1):
        raise InputError(f"{where}: class {number:g}, must be 0 ({classes[0]}) or 1 ({classes[1]})")
    if not all(-SLACK <= value <= 1 + SLACK for value in box):
        raise InputError(f"{where}: {' '.join(f'{v:g}' for v in box)}, must lie in 0..1, as parts of the image's width and height")
    return CLASSES.index(classes[int(number)]), box


def in_pixels(box: list[float], shape: tuple[int, int]) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 with the centre of the first pixel at 0."""
    height, width = shape
    x, y, w, h = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    return x - w / 2 - 0.5, y - h / 2 - 0.5, x + w / 2 - 0.5, y + h / 2 - 0.5
