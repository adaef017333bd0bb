"""Pictures, which are stretched already: PNG, JPEG, TIFF."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from .errors import InputError
from .files import BROKEN_FILE, check_file, for_libraries
from .frame import DISPLAY_BANDS, Frame
from .region import Cut, Region

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
PICTURE_FORMATS = ("PNG", "JPEG", "TIFF")  # of the many that Pillow knows


def read_picture(path: Path, region: Region | None = None) -> Frame:
    """A PNG, JPEG or TIFF, already stretched: 0 to 1, rows as stored, alpha dropped."""
    from PIL import Image

    check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(for_libraries(path), formats=PICTURE_FORMATS) as image:
                check_covered(image)
                pixels = np.asarray(plain_mode(image))
    except (*BROKEN_FILE, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path}: not a readable picture ({reason}); fetch it again, or use FITS") from error
    values = scaled(pixels, path)
    planes = [values] * 3 if values.ndim == 2 else list(np.moveaxis(values, 2, 0))
    cut = None if region is None else Cut(region, None, planes[0].shape, path)
    window = (slice(None), slice(None)) if cut is None else (cut.rows, cut.columns)
    counts = dict(zip(DISPLAY_BANDS, (np.ascontiguousarray(p[window]) for p in planes)))
    bad = {band: ~np.isfinite(c) for band, c in counts.items()}
    return Frame(counts, bad, "G", sources=(path,), stretched=True, part=cut and cut.part)


def check_covered(image) -> None:
    """Raises ValueError where a TIFF names the data of fewer pixels than it claims: Pillow leaves the rest black."""
    named = sum((right - left) * (bottom - top) for _, (left, top, right, bottom), *_ in image.tile)
    if named < image.width * image.height:
        raise ValueError(f"data of {named} pixels, must be {image.width * image.height}")


def plain_mode(image):
    """Grey or RGB without palette and alpha; 16-bit and float grey stay as they are."""
    if image.mode in ("L", "RGB", "I;16", "I;16B", "I;16L", "I", "F"):
        return image
    return image.convert("L" if image.mode in ("1", "LA", "La") else "RGB")


def scaled(pixels: np.ndarray, path: Path) -> np.ndarray:
    """To 0..1 float32, by the range of the type; 16 bits may come in 32."""
    if pixels.size == 0 or pixels.ndim not in (2, 3):
        raise InputError(f"{path}: no pixels in a picture of shape {pixels.shape}")
    if pixels.dtype.kind == "f":
        low, high = np.nanmin(pixels), np.nanmax(pixels)
        if not (low >= 0 and high <= 1):
            raise InputError(f"{path}: a float picture from {low:g} to {high:g}, must lie in 0..1; save counts as FITS")
        return pixels.astype(np.float32)
    return (pixels / np.float32(255 if pixels.dtype == np.uint8 else 65535)).astype(np.float32)
