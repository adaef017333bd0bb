"""Cutouts in the manner of Galaxy Zoo: one galaxy in the centre, all of about the same apparent size."""

from dataclasses import dataclass, replace

import numpy as np

from astroyolo_cli.simulate.populations import draw_sources, magnitude_at_brightness, shape_galaxy
from astroyolo_cli.simulate.render import render_field
from astroyolo_cli.simulate.sky import BANDS, FieldSettings, R, Source, draw_settings, log_uniform

SIDE = 424  # pixels


@dataclass(frozen=True)
class Cutout:
    """A picture of one galaxy.

    Attributes:
        rgb: (424, 424, 3) uint8, top row first.
        morphology: "smooth" or "disk".
        r50: half-light radius before the PSF, pixels of the picture.
        fwhm: of the PSF (r band), pixels of the picture.
    """

    rgb: np.ndarray
    morphology: str
    r50: float
    fwhm: float


def simulate_cutout(rng: np.random.Generator, smooth: bool) -> Cutout:
    """A cutout drawn at the camera's pixels, then enlarged, so that its blur and noise are enlarged as well.

    Galaxy Zoo cuts 424 pixels of 0.02 Petrosian R90 (or 0.04 R50): r50 then spans about 15 to 40 of them.
    """
    native, shown = log_uniform(rng, 3.5, 30), log_uniform(rng, 15, 40)  # r50 in pixels of the camera, of the picture
    size = int(np.ceil(SIDE * native / shown))
    settings = quiet_sky(draw_settings(rng, size), native)
    place = dict(zip("xy", ((size - 1) / 2 + rng.normal(0, 0.4, 2)).tolist()))
    r = magnitude_at_brightness(settings, native, log_uniform(rng, 4, 80))
    galaxy = shape_galaxy(rng, settings, place, r, native, rng.normal(0, 0.1, 3), smooth, edge_on=0.3)
    field = render_field(rng, settings, [galaxy, *neighbours(rng, settings, galaxy)])
    scale = SIDE / size
    return Cutout(enlarge(picture(rng, field)), galaxy.morphology, native * scale, float(settings.fwhm[R]) * scale)


def neighbours(rng: np.random.Generator, settings: FieldSettings, galaxy: Source) -> list[Source]:
    """Up to 30 other sources, none so bright or so close that the picture would be of them."""
    others = draw_sources(rng, settings)
    rng.shuffle(others)
    apart = [s for s in others if np.hypot(s.x - galaxy.x, s.y - galaxy.y) > 1.5 * galaxy.r50]
    return [s for s in apart if s.mags[R] > galaxy.mags[R] - 0.5 and s.r50 < 0.7 * galaxy.r50][:30]


def quiet_sky(settings: FieldSettings, r50: float) -> FieldSettings:
    """Without pedestal, with little sky error, and a PSF of at most half of ``r50``: Galaxy Zoo shows what can be seen."""
    return replace(
        settings, pedestal=np.zeros(3), gradient=settings.gradient * 0.2, residual=settings.residual * 0.3,
        fwhm=settings.fwhm * min(1.0, 0.6 * r50 / settings.fwhm[R]),
    )  # fmt: skip


def picture(rng: np.random.Generator, field) -> np.ndarray:
    """(H, W, 3) uint8 Lupton picture of a field, row 0 at the top, the stretch varying as between surveys."""
    from astropy.visualization import make_lupton_rgb

    settings = field.settings
    own_noise = rng.random() < 0.5  # else one flux scale, with the weights of the Legacy Surveys' pictures
    scale = settings.sky_noise if own_noise else settings.sky_noise[R] * np.array([8, 14, 19]) / 14
    tone = rng.normal(1, 0.1, 3) / scale
    g, r, z = (np.nan_to_num(field.counts[b] * t) for b, t in zip(BANDS, tone))
    stretch, q = log_uniform(rng, 8, 60), rng.uniform(3, 12)
    return make_lupton_rgb(z, r, g, minimum=rng.uniform(-2, 1), stretch=stretch, Q=q)[::-1]


def enlarge(rgb: np.ndarray) -> np.ndarray:
    """Resampled to 424 x 424 by Lanczos, as the Galaxy Zoo pictures were."""
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).resize((SIDE, SIDE), Image.Resampling.LANCZOS))
