"""Whole training sets on disk, in the layouts of D_sg and D_ds, by several processes.

Every item has a random stream of its own, made from the seed and the item's number: the bytes do not
depend on how many workers there are, and a longer set begins with the shorter one.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from ..detections import MORPHOLOGIES
from ..orphans import end_with_parent

SG, DS, REAL = 0, 1, 2  # first element of an item's spawn key


def item_rng(seed: int, kind: int, index: int) -> np.random.Generator:
    """The random stream of one item of a set."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(kind, index)))


def write_sg(
    out: Path, n: int, seed: int, workers: int = 1, masks: bool = True,
    progress: Callable[[], None] | None = None, size: int = 512,
) -> int:  # fmt: skip
    """Write ``n`` fields as ``out/set_0`` to ``out/set_{n-1}``; return the number of listed sources.

    Each has img_g.fits, img_r.fits, img_z.fits, truth.fits and, with ``masks``, masks.fits.gz.
    ``progress`` is called once a field.
    """
    job = partial(write_field, Path(out), seed=seed, masks=masks, size=size)
    return sum(_each(job, n, workers, progress))


def write_ds(out: Path, n: int, seed: int, workers: int = 1, progress: Callable[[], None] | None = None) -> int:
    """Write ``n`` cutouts as ``out/smooth/NNNNN.png`` and ``out/disk/NNNNN.png`` in turn; return ``n``."""
    for folder in MORPHOLOGIES:
        (Path(out) / folder).mkdir(parents=True, exist_ok=True)
    return sum(_each(partial(write_cutout, Path(out), seed=seed), n, workers, progress))


def write_field(out: Path, index: int, seed: int, masks: bool, size: int) -> int:
    """Simulate field ``index`` and write its folder; return the number of listed sources."""
    from astroyolo_cli.simulate.render import simulate_field

    return write_set(out / f"set_{index}", simulate_field(item_rng(seed, SG, index), size), masks, size)


def write_injected(out: Path, frames: list, n: int, seed: int, workers: int = 1, progress=None, size: int = 512) -> int:
    """Write ``n`` windows of each frame (inputs.FieldInput), simulated sources added, as set_0 and on; the number of rows.

    Sets that training holds out, by their names, are of one place in the frame, which the others keep clear of.
    ``progress`` is called once a frame. There are no masks: nobody knows a real source alone.
    """
    return sum(_each(partial(write_windows, Path(out), frames=frames, n=n, seed=seed, size=size), len(frames), workers, progress))


def write_windows(out: Path, index: int, frames: list, n: int, seed: int, size: int) -> int:
    """The ``n`` sets of frame ``index``."""
    from astroyolo_cli.read import read_field
    from astroyolo_cli.simulate.realsky import inject, real_sky
    from astroyolo_cli.train.samples import held_out

    sky, sources = real_sky(read_field(frames[index])), 0
    for number in range(index * n, (index + 1) * n):
        name = f"set_{number}"
        sources += write_set(out / name, inject(sky, item_rng(seed, REAL, number), size, held_out(name)), False, size)
    return sources


def write_set(folder: Path, field, masks: bool, size: int) -> int:
    """One folder in the layout of D_sg, whole or not at all; return the number of listed sources."""
    from astropy.io import fits

    from astroyolo_cli.simulate.masks import write_masks
    from astroyolo_cli.whole import folder_written_whole

    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder_written_whole(folder) as partial:
        for band, image in field.counts.items():
            fits.writeto(partial / f"img_{band}.fits", image, field.headers[band])
        if masks:
            write_masks(partial / "masks.fits.gz", field.rows, size)
        field.truth.write(partial / "truth.fits")
    return len(field.rows)


def remove_beyond(out: Path, kind: str, n: int) -> None:
    """Remove what an earlier, longer set of that kind left in ``out`` beyond its first ``n`` items."""
    sets = (path for path in out.glob("set_*") if kind == "sg" and path.name[4:].isdigit() and (path / "truth.fits").is_file())
    pictures = (path for path in out.glob("*/*.png") if kind == "ds" and path.parent.name in MORPHOLOGIES and path.stem.isdigit())
    for path in [path for path in (*sets, *pictures) if int(path.stem.removeprefix("set_")) >= n]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_cutout(out: Path, index: int, seed: int) -> int:
    """Simulate cutout ``index`` (even: smooth, odd: disk) and write its picture."""
    from PIL import Image

    from astroyolo_cli.simulate.cutouts import simulate_cutout
    from astroyolo_cli.whole import written_whole

    cutout = simulate_cutout(item_rng(seed, DS, index), smooth=index % 2 == 0)
    with written_whole(Path(out) / MORPHOLOGIES[index % 2] / f"{index:05d}.png") as partial:
        Image.fromarray(cutout.rgb).save(partial, "PNG")
    return 1


def _each(job: Callable[[int], int], n: int, workers: int, progress) -> Iterator[int]:
    """The results of ``job(0)`` to ``job(n - 1)`` in order, by ``workers`` processes."""
    from astroyolo_cli.simulate.psf import import_galsim

    import_galsim()  # fail here, not in a worker
    with _mapper(min(workers, n)) as mapper:
        for result in mapper(job, range(n)):
            if progress:
                progress()
            yield result


@contextmanager
def _mapper(workers: int):
    """``map``, or that of a pool whose processes keep to one thread each."""
    if workers <= 1:
        yield map
        return
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        with ProcessPoolExecutor(workers, get_context("spawn"), end_with_parent) as pool:
            yield pool.map
    finally:
        os.environ.pop("OMP_NUM_THREADS") if before is None else os.environ.update(OMP_NUM_THREADS=before)
