"""A look at training data before training: counts, balance, tiny boxes, images on both sides, unreadable files. Writes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import InputError
from .cutouts import CLASSES, centre_of_picture, check_both_trained, labelled_images
from .fields import decode, field_entries
from .samples import Sources, none_held_out, some_of, split
from .schemes import scheme_named

TINY = 2.0  # pixels: a box with a shorter side is hardly a source
THREADS = 4  # that decode cutouts


@dataclass(frozen=True)
class Look:
    """What was seen of one image.

    Attributes:
        path: its folder and name, for messages.
        name: decides whether it is held out.
        digest: of its pixels as the network gets them: a copy in another file or compression has the same.
    """

    path: str
    name: str
    digest: bytes


@dataclass
class Report:
    """Lines for the user, and the problems that forbid training."""

    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def check_data(sg: list[Path], ds: Path | None, scheme: str, vote_threshold: float) -> Report:
    """Read all that the scheme would learn from, and say what it is."""
    needs, report = scheme_named(scheme), Report()
    for given, needed, option in ((sg, needs.needs_sg, "--sg"), (ds, needs.needs_ds, "--ds")):
        if needed and not given:
            report.problems.append(f"scheme {scheme!r} learns from {option}, which is not given; name its folder or another scheme")
    if sg and needs.needs_sg:
        check_fields(sg, report)
    if ds and needs.needs_ds:
        check_cutouts(ds, vote_threshold, report)
    return report


def check_fields(roots: list[Path], report: Report) -> None:
    looks, known = [], []
    for root in roots:
        for entry in entries_or_problem(root, report):
            try:
                signals, sources = decode(entry)
            except InputError as error:
                report.problems.append(str(error))
                continue
            looks.append(Look(str(root / entry.name), entry.name, digest(signals)))
            known.append(sources)
    report.lines.append(f"D_sg: {len(looks)} fields in {', '.join(map(str, roots))}")
    if looks:
        report.lines += lines_of_sources(known)
        report.lines += lines_of_split(looks, "fields")
        if not any((~s.ignore).any() for s in known):
            report.problems.append(f"{roots[0]}: no source in any field, so nothing can be learned; are the labels those of these images?")


def entries_or_problem(root: Path, report: Report) -> list:
    try:
        return field_entries(root, report.lines.append)
    except InputError as error:
        report.problems.append(str(error))
        return []


def lines_of_sources(known: list[Sources]) -> list[str]:
    """Counts and balance of all fields' sources, their boxes, and what is ignored or empty."""
    ignore = np.concatenate([s.ignore for s in known])
    labels = np.concatenate([s.labels for s in known])[~ignore]
    boxes = np.concatenate([s.boxes for s in known])[~ignore]
    sides = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)
    lines = [f"  sources: {balance(labels, ('stars', 'galaxies'))}; {ignore.sum()} more are ignored"]
    if len(sides):
        lines.append(f"  shorter sides of boxes: {sides.min():g} to {sides.max():g} pixels, median {np.median(sides):g}")
    lines.append(f"  boxes below {TINY:g} pixels: {(sides < TINY).sum()}")
    if empty := sum(s.empty_masks for s in known):
        lines.append(f"  masks without any light, left out: {empty}")
    return lines


def check_cutouts(root: Path, vote_threshold: float, report: Report) -> None:
    try:
        images = labelled_images(root, vote_threshold, report.lines.append)
    except InputError as error:
        report.problems.append(str(error))
        return
    try:
        check_both_trained(root, np.array([image.label == 1 for image in images]), [image.path.stem for image in images])
    except InputError as error:
        report.problems.append(str(error))
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(digest_or_problem, [image.path for image in images]))
    report.problems += [problem for problem in found if isinstance(problem, str)]
    readable = [(image, seen) for image, seen in zip(images, found) if isinstance(seen, bytes)]
    report.lines.append(f"D_ds: {len(readable)} cutouts in {root}")
    if readable:
        report.lines.append(f"  galaxies: {balance(np.array([image.label for image, _ in readable]), CLASSES)}")
        report.lines += lines_of_split([Look(str(image.path), image.path.stem, seen) for image, seen in readable], "cutouts")


def digest_or_problem(path: Path) -> bytes | str:
    try:
        return digest(centre_of_picture(path)[0])
    except InputError as error:
        return str(error)


def digest(pixels: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(pixels), digest_size=16).digest()


def balance(labels: np.ndarray, names: tuple[str, str]) -> str:
    """``12 stars (25 %), 36 galaxies (75 %)``."""
    total = max(len(labels), 1)
    counts = [int((labels == label).sum()) for label in (0, 1)]
    return ", ".join(f"{n} {name} ({100 * n / total:.0f} %)" for n, name in zip(counts, names))


def lines_of_split(looks: list[Look], what: str) -> list[str]:
    """How many images are held out, and which of them are trained on as well."""
    training, validation = split([look.name for look in looks])
    if none_held_out(training, validation):
        return [f"  held out: none, {len(looks)} {what} are too few; validation uses those that are trained on"]
    twins = duplicates([looks[i] for i in training], [looks[i] for i in validation])
    lines = [f"  held out: {len(validation)} {what}, {len(training)} for training"]
    return [*lines, f"  duplicates between training and held out: {len(twins)}" + (f": {some_of(twins)}" if twins else "")]


def duplicates(training: list[Look], validation: list[Look]) -> list[str]:
    """``a = b`` for each held-out image b whose pixels are those of a training image a."""
    trained = {look.digest: look.path for look in reversed(training)}
    return [f"{trained[look.digest]} = {look.path}" for look in validation if look.digest in trained]


def print_report(report: Report, tell: Callable[[str], None]) -> bool:
    """Tell the report; whether training can start."""
    for line in [*report.lines, *(f"problem: {' '.join(problem.split())}" for problem in report.problems)]:
        tell(line)
    tell(f"not ready: {len(report.problems)} problems" if report.problems else "ready to train")
    return not report.problems
