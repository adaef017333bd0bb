"""D_sg as COCO JSON: ``DIR/*.json`` with images, annotations and the categories star and galaxy."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..errors import InputError
from ..inputs import FieldInput
from .images import image_at, size_of
from .samples import Entry, Sources, cut_to_image, some_of, sources_of

LABELS = {"star": 0, "stars": 0, "galaxy": 1, "galaxies": 1}
PARTS = ("images", "annotations", "categories")


def coco_entries(root: Path, tell: Callable[[str], None]) -> list[Entry]:
    """Every image that the folder's JSON files list, in their order; none without such a file.

    Images that are missing are told and left out, unless all are.
    """
    entries, missing, home = [], [], {}
    for path in sorted(root.glob("*.json")):
        for name, image, read_sources in listed_images(path, root):
            if home.setdefault(name, path) != path:
                raise InputError(f"{path}: image {name!r} is listed in {home[name].name} as well; keep it in one file")
            if image is None:
                missing.append(name)
            else:
                entries.append(Entry(name, (*image.paths, path), partial(place, root, name), read_sources))
    if missing and not entries:
        raise InputError(f"{home[missing[0]]}: none of its {len(missing)} images is there, such as {missing[0]}; put them below {root}")
    if missing:
        tell(f"{root}: {len(missing)} of {len(home)} images are missing and left out: {some_of(missing)}")
    return entries


def listed_images(path: Path, root: Path) -> list[tuple[str, FieldInput | None, Callable]]:
    """Name, files (None if missing) and reader of the sources of each image of one JSON; none if it is another kind of JSON."""
    content = read_json(path)
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        return []
    try:
        of_category = {c["id"]: str(c["name"]) for c in content.get("categories", [])}
        of_image = {image["id"]: [] for image in content["images"]}
        for annotation in content["annotations"]:
            check_annotation(annotation, of_image, of_category, path)
            of_image[annotation["image_id"]].append(annotation)
        return [
            (
                image["file_name"],
                place(root, image["file_name"]),
                partial(sources_of_image, path, image, of_image[image["id"]], of_category),
            )
            for image in content["images"]
        ]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: an entry of {', '.join(PARTS)} lacks {error}, which COCO demands; write it again") from error


def read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable JSON ({error}); write it again, or remove it if it is no label file") from error


def check_annotation(annotation: dict, of_image: dict, of_category: dict, path: Path) -> None:
    """Its image is listed, its category is star or galaxy, its box has four numbers."""
    where = f"{path}: annotation {annotation['id'] if 'id' in annotation else '(without id)'}"
    if annotation["image_id"] not in of_image:
        raise InputError(f"{where}: image_id {annotation['image_id']!r} is not among the images; correct or remove it")
    name = of_category.get(annotation["category_id"], f"category_id {annotation['category_id']!r}")
    if name.strip().lower() not in LABELS:
        raise InputError(f"{where}: {name!r}, must be a category named star or galaxy; correct the categories")
    box = annotation["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(edge, int | float) for edge in box):
        raise InputError(f"{where}: bbox {box!r}, must be four numbers x, y, width, height in pixels")


def place(root: Path, name: str) -> FieldInput | None:
    """Where ``file_name`` leads: from the folder, its ``images/``, or as an absolute path."""
    return image_at(root / name) or image_at(root / "images" / name)


def sources_of_image(path: Path, image: dict, annotations: list[dict], of_category: dict, shape: tuple[int, int]) -> Sources:
    """Boxes x, y, w, h count from the corner of the first pixel; crowds are ignored."""
    stated = image.get("height", shape[0]), image.get("width", shape[1])
    if tuple(stated) != tuple(shape):
        raise InputError(
            f"{path}: {image['file_name']} is said to have {size_of(stated)}, but has {size_of(shape)}; correct the one or other"
        )
    boxes = []
    for annotation in annotations:
        x, y, width, height = annotation["bbox"]
        edges = x - 0.5, y - 0.5, x + width - 0.5, y + height - 0.5
        boxes.append(cut_to_image(edges, shape, f"{path}: annotation {annotation.get('id')} of {image['file_name']}"))
    labels = [LABELS[of_category[a["category_id"]].strip().lower()] for a in annotations]
    ignore = [bool(a.get("iscrowd", 0) or a.get("ignore", 0)) for a in annotations]
    return sources_of(boxes, labels, ignore)
