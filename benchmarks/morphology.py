"""How well smooth galaxies and disks are told apart: python benchmarks/morphology.py [WEIGHTS].

Needs ASTROYOLO_DATA. Galaxy Zoo cutouts that training held out (by object id): as `astroyolo classify` sees them, in colour and in grey.
Then the same galaxies made linear, shrunk, blurred to the seeing and put into the SDSS frame 004510, which no training has seen, at several
sizes and S/N; as `astroyolo detect` sees them.
"""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from astroyolo_cli.central import turned_sources
from astroyolo_cli.evaluate.classes import class_scores, expected_calibration_error
from astroyolo_cli.evaluate.cutouts import shown
from astroyolo_cli.frame import Frame
from astroyolo_cli.inputs import resolve
from astroyolo_cli.model.checkpoint import locate
from astroyolo_cli.model.decoding import log_odds, probability
from astroyolo_cli.model.engine import Engine, open_engine
from astroyolo_cli.pipeline import detect
from astroyolo_cli.read import read_field
from astroyolo_cli.stretch import backgrounds
from astroyolo_cli.train.calibrate import Opinions, fit_line, without_colour
from astroyolo_cli.train.cutouts import centre_of_picture, linear_light
from astroyolo_cli.train.samples import held_out

SIZES = (0.5, 0.75, 1.0, 2.0, 3.0, 5.0)  # half-light radii in FWHM
SNRS = (30.0, 100.0, 300.0, 1000.0)
SURE = (2.0, 50.0)  # half-light radius in FWHM and S/N from which classes should be told, and so are judged all together
BLURRED = 1.0  # half-light radius in FWHM below which shape tells little, so that probabilities should be near the prior
SPACING = 128  # pixels between the places where galaxies are put: fewer than the frame has sources of its own
DRAWS = 3  # of galaxies and places at each size and S/N: one is right by a point or two more, or less, than the next
ALONE = 8.0  # pixels around a place without a detection of the frame's own
PRIOR = 0.5  # of a disk, in training
FOLDS = 5


@dataclass(frozen=True)
class Galaxy:
    """(3, 256, 256) linear light in i, r, g, its half-light radius in pixels, and its class."""

    light: np.ndarray
    r50: float
    is_disk: bool


def held_out_files(data: Path) -> tuple[list[Path], np.ndarray]:
    files = [path for kind in ("smooth", "disk") for path in sorted((data / "galaxyzoo" / kind).glob("*.jpeg")) if held_out(path.stem)]
    return files, np.array([path.parent.name == "disk" for path in files])


def galaxy_of(path: Path) -> Galaxy:
    light = linear_light(centre_of_picture(path)[0] / np.float32(255))
    rim = np.concatenate([light[:, :12].reshape(3, -1), light[:, -12:].reshape(3, -1)], axis=1)
    light = light - np.median(rim, axis=1)[:, None, None]
    side = light.shape[1]
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    radius = np.hypot(rows, columns).ravel()
    order = radius.argsort()
    growth = np.cumsum(light.mean(0).ravel()[order])[radius[order] < 0.4 * side]
    r50 = radius[order][np.argmax(growth > growth[-1] / 2)]
    return Galaxy(light * (radius.reshape(side, side) < 0.45 * side), float(max(r50, 3.0)), path.parent.name == "disk")


def shrunk(galaxy: Galaxy, r50: float, snr: float, noise: np.ndarray, fwhm: float) -> np.ndarray:
    """(3, n, n) counts of the galaxy with that half-light radius in pixels and S/N over all bands, through the frame's PSF."""
    side = max(round(galaxy.light.shape[1] * r50 / galaxy.r50), 5)
    planes = [np.asarray(Image.fromarray(plane).resize((side, side), Image.Resampling.BOX)) for plane in galaxy.light]
    wide = np.pad(np.stack(planes), ((0, 0), (8, 8), (8, 8)))
    seen = gaussian_filter(wide, (0, fwhm / 2.355, fwhm / 2.355))
    return seen * (snr / np.sqrt((seen**2 / noise[:, None, None] ** 2).sum()))


def free_places(frame: Frame, own: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n, 2) places on a jittered grid, away from the frame's own sources."""
    height, width = frame.shape
    grid = np.stack(np.meshgrid(np.arange(SPACING, width - SPACING, SPACING), np.arange(SPACING, height - SPACING, SPACING)), -1)
    places = grid.reshape(-1, 2) + rng.integers(-15, 16, (grid.size // 2, 2))
    return places[cKDTree(own).query(places)[0] > ALONE]


def with_galaxies(frame: Frame, stamps: list[np.ndarray], places: np.ndarray) -> Frame:
    counts = {band: plane.copy() for band, plane in frame.counts.items()}
    for stamp, (x, y) in zip(stamps, places):
        for band, plane in zip(frame.bands, stamp):
            half = plane.shape[0] // 2
            top, left = max(y - half, 0), max(x - half, 0)
            part = plane[top - (y - half) :, left - (x - half) :]
            window = counts[band][top : top + part.shape[0], left : left + part.shape[1]]
            window += part[: window.shape[0], : window.shape[1]]
    return replace(frame, counts=counts)


def p_disk_at(frame: Frame, places: np.ndarray, near: float, engine: Engine) -> np.ndarray:
    """(n,) of the catalog's row within ``near`` pixels of each place; NaN without."""
    catalog = detect(frame, engine).catalog
    distance, nearest = cKDTree(np.stack([catalog["x"], catalog["y"]], axis=1)).query(places)
    return np.where(distance < near, catalog["p_disk"][nearest], np.nan)


@dataclass(frozen=True)
class Host:
    """The frame that galaxies are put into, its noise in each band (3,), its own sources' places (n, 2), and its FWHM in pixels."""

    frame: Frame
    noise: np.ndarray
    own: np.ndarray
    fwhm: float


def host_of(data: Path, engine: Engine) -> Host:
    pattern = str(data / "sdss/004510-4-0030/frame-{band}-*.fits.bz2")
    frame = read_field(resolve([pattern], ["i", "r", "g"])[0], reference_band="r")
    sky = backgrounds(frame)
    noise = np.array([np.median(sky[band].noise_mesh) for band in frame.bands])
    catalog = detect(frame, engine).catalog
    return Host(frame, noise, np.stack([catalog["x"], catalog["y"]], axis=1), catalog.meta["frame_fwhm"])


def in_a_frame(data: Path, files: list[Path], engine: Engine) -> None:
    host, rng, galaxies = host_of(data, engine), np.random.default_rng(5), [galaxy_of(path) for path in files]
    sure, blurred = [], []
    for size in SIZES:
        for snr in SNRS:
            draws = [put_and_found(host, galaxies, size, snr, rng, engine) for _ in range(DRAWS)]
            p, is_disk = (np.concatenate(part) for part in zip(*draws))
            seen = np.isfinite(p)
            found = p[seen], is_disk[seen]
            print(f"  r50 {size:g} FWHM, S/N {snr:g}: {len(p)} galaxies, found {percent(seen.mean())}, {told(*found)}")
            if size >= SURE[0] and snr >= SURE[1]:
                sure.append(found)
            if size < BLURRED:
                blurred.append(found)
    for which, parts in ((f"r50 of {SURE[0]:g} FWHM and S/N of {SURE[1]:g} at least", sure), (f"r50 below {BLURRED:g} FWHM", blurred)):
        together = [np.concatenate(part) for part in zip(*parts)]
        print(f"  all with {which}: {len(together[0])} found, {told(*together)}")


def put_and_found(host: Host, galaxies: list[Galaxy], size: float, snr: float, rng, engine: Engine) -> tuple[np.ndarray, np.ndarray]:
    """p_disk of galaxies with that half-light radius in FWHM put into the frame, NaN where none was found, and which are disks."""
    places = free_places(host.frame, host.own, rng)
    chosen = rng.permutation(np.resize(np.arange(len(galaxies)), max(len(places), len(galaxies))))[: len(places)]
    stamps = [shrunk(galaxies[i], size * host.fwhm, snr, host.noise, host.fwhm) for i in chosen]
    p = p_disk_at(with_galaxies(host.frame, stamps, places), places, max(host.fwhm, size * host.fwhm / 2), engine)
    return p, np.array([galaxies[i].is_disk for i in chosen])


def told(p: np.ndarray, is_disk: np.ndarray) -> str:
    accuracy = class_scores(p, is_disk, np.random.default_rng(0))["balanced_accuracy"]
    return f"balanced accuracy {percent(accuracy)}, mean |p - prior| {np.abs(p - PRIOR).mean():.3f}"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def in_cutouts(files: list[Path], is_disk: np.ndarray, engine: Engine) -> None:
    rng = np.random.default_rng(0)
    for label, grey in (("colour", False), ("grey", True)):
        pictures = [without_colour(shown(path)) if grey else shown(path) for path in files]
        p = np.concatenate([turned_sources(engine, np.stack(pictures[i : i + 16])).p_disk for i in range(0, len(pictures), 16)])
        scores = class_scores(p, is_disk, rng)
        low, high = scores["ece_95"]
        folds = expected_calibration_error(calibrated_by_folds(p, is_disk, rng), is_disk)
        perfect = np.mean([expected_calibration_error(p, rng.random(len(p)) < p) for _ in range(200)])
        print(f"  in {label}: balanced accuracy {percent(scores['balanced_accuracy'])}, AUC {scores['auc']:.3f}, "
              f"ECE {scores['ece']:.3f} ({low:.3f} to {high:.3f}), calibrated anew by {FOLDS} folds {folds:.3f}; "
              f"of as many perfect probabilities {perfect:.3f}")  # fmt: skip


def calibrated_by_folds(p: np.ndarray, is_disk: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n,) each fold's by a calibration fitted to the others."""
    fold, logits, result = rng.permutation(len(p)) % FOLDS, log_odds(p), np.empty(len(p))
    for number in range(FOLDS):
        mine = fold == number
        result[mine] = probability(logits[mine], fit_line(Opinions(logits[~mine], is_disk[~mine])))
    return result


def main() -> None:
    if "ASTROYOLO_DATA" not in os.environ:
        sys.exit("ASTROYOLO_DATA names no folder of survey data; set it to the folder that holds galaxyzoo/ and sdss/")
    data = Path(os.environ["ASTROYOLO_DATA"])
    engine = open_engine(locate(sys.argv[1] if len(sys.argv) > 1 else "nano"))
    files, is_disk = held_out_files(data)
    print(f"Galaxy Zoo, held out: {len(files)} cutouts, {is_disk.sum()} disks")
    in_cutouts(files, is_disk, engine)
    print("The same galaxies in SDSS 004510, i, r, g")
    in_a_frame(data, files, engine)


if __name__ == "__main__":
    main()
