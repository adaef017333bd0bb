"""The stars and galaxies of a field: counts, colours, sizes and shapes drawn from published laws."""

from dataclasses import replace

import numpy as np

from astroyolo_cli.simulate.sky import FieldSettings, R, Source, Structure, log_uniform

RED, BLUE = np.array([0.25, 0.0, -0.1]), np.array([-0.15, 0.0, 0.1])  # what old and young stars add to g, r, z
STAR_SPAN = (-8.0, 0.7)  # r magnitudes of stars from the limit on
CROWDED = 0.3  # of the fields, of stars as towards the plane of the Galaxy or in a nearby dwarf, or of galaxies as in a deep coadd


def draw_sources(rng: np.random.Generator, settings: FieldSettings) -> list[Source]:
    """The sources of one field, 20 to 700 of them detectable, more below the limit."""
    detectable, star_part, star_slope = draw_counts(rng)
    detectable *= (settings.size / 512) ** 2
    tint = rng.normal(0, 0.15, 3)  # filters and extinction differ between surveys
    slope, growth = rng.uniform(0.2, 0.38), float(np.exp(rng.normal(0.1, 0.2)))
    n_stars = rng.poisson(detectable * star_part * 10 ** (star_slope * STAR_SPAN[1]))
    n_galaxies = rng.poisson(detectable * (1 - star_part) / 0.48)
    sources = [draw_star(rng, settings, tint, star_slope) for _ in range(n_stars)]
    sources += [draw_galaxy(rng, settings, tint, slope, growth) for _ in range(n_galaxies)]
    sources += draw_companions(rng, settings, sources, tint)
    if rng.random() < 0.3:
        sources.append(draw_large_galaxy(rng, settings, tint))
    if rng.random() < 0.2:
        sources += draw_cluster(rng, settings, tint)
    if rng.random() < 0.4:
        sources += draw_star_cluster(rng, settings, tint)
    if rng.random() < 0.4:
        sources += [draw_bright_star(rng, settings, tint) for _ in range(rng.integers(1, 5))]
    return sources


def draw_counts(rng: np.random.Generator) -> tuple[float, float, float]:
    """Detectable sources on 512 x 512 pixels, the part of them that are stars, and how log10 of the stars' number grows with magnitude.

    From the pole to the plane, so that neither faintness nor crowding alone tells a star from a galaxy.
    """
    if rng.random() < CROWDED:
        return float(log_uniform(rng, 250, 700)), rng.uniform(0.1, 0.9), rng.uniform(0.25, 0.6)
    detectable = np.exp(rng.triangular(np.log(20), np.log(200), np.log(600)))
    return detectable, 0.05 + 0.85 * rng.beta(1.6, 1.8), rng.uniform(0.1, 0.5)


def _place(rng, settings) -> dict:
    """A place in the frame or just outside, whence light still spills in."""
    x, y = rng.uniform(-12, settings.size + 11, 2)
    return {"x": float(x), "y": float(y)}


def _magnitude(rng, slope: float, low: float, high: float) -> float:
    """A magnitude between the limits, N(m) growing as 10^(slope m)."""
    part = rng.uniform(10 ** (slope * (low - high)), 1)
    return float(high + np.log10(part) / slope)


def star_colours(rng: np.random.Generator, r: float) -> np.ndarray:
    """g, r, z of a star on the main-sequence locus: turn-off stars, M dwarfs, and between."""
    gr = rng.normal(0.45, 0.15) if rng.random() < 0.45 else rng.normal(1.35, 0.15)
    if rng.random() < 0.2:
        gr = rng.uniform(-0.3, 1.5)
    red = rng.gamma(2.0, 0.3) if gr > 1.15 else 0.0  # r-z keeps growing where g-r no longer does
    rz = 0.55 * gr - 0.03 + red
    return np.array([r + gr, r, r - rz]) + rng.normal(0, 0.04, 3)


def draw_star(rng, settings, tint, slope: float, span: tuple[float, float] = STAR_SPAN) -> Source:
    """A star whose r magnitude lies between the limit plus each end of ``span``."""
    r = _magnitude(rng, slope, settings.limit + span[0], settings.limit + span[1])
    return Source(**_place(rng, settings), mags=star_colours(rng, r) + tint, kind="star")


def draw_bright_star(rng, settings, tint) -> Source:
    """A star up to 6 magnitudes brighter than what saturates."""
    peak = settings.saturate[R] - settings.pedestal[R]
    full = settings.zero_point - 2.5 * np.log10(peak * 1.4 * np.pi * (settings.fwhm[R] / 2.0) ** 2)
    mags = star_colours(rng, full - 6 * rng.beta(1, 2))
    return Source(**_place(rng, settings), mags=mags + tint, kind="star")


def galaxy_r50(rng: np.random.Generator, r: float) -> float:
    """Half-light radius in arcsec: 2.0 at r = 18, 0.9 at 21, 0.4 at 24, with 0.25 dex of scatter."""
    return float(10 ** (np.log10(2.0) - 0.1165 * (r - 18) + rng.normal(0, 0.25)))


def r50_in_pixels(rng: np.random.Generator, settings: FieldSettings, r: float, growth: float = 1.0, most: float = 60) -> float:
    """The same in pixels of the field, times ``growth``, from 0.2 to ``most``."""
    return float(np.clip(growth * galaxy_r50(rng, r) / settings.pixel_scale, 0.2, most))


def draw_galaxy(rng, settings, tint, slope: float = 0.32, growth: float = 1.0, span: tuple[float, float] = (-8, 0.9)) -> Source:
    """A galaxy with such a magnitude as ``draw_star`` draws, ``growth`` times as large as that asks for."""
    r = _magnitude(rng, slope, settings.limit + span[0], settings.limit + span[1])
    r50 = r50_in_pixels(rng, settings, r, growth)
    return shape_galaxy(rng, settings, _place(rng, settings), r, r50, tint, rng.random() < 0.35)


def draw_large_galaxy(rng, settings, tint) -> Source:
    """A galaxy of 15 to 60 pixels half-light radius, its mean surface brightness 1 to 25 times the noise."""
    r50, smooth = float(log_uniform(rng, 15, 60)), rng.random() < 0.4
    r = magnitude_at_brightness(settings, r50, log_uniform(rng, 1, 25))
    return shape_galaxy(rng, settings, _place(rng, settings), r, r50, tint, smooth)


def draw_companions(rng: np.random.Generator, settings: FieldSettings, sources: list[Source], tint) -> list[Source]:
    """A star or galaxy each, 0.7 to 3 FWHM away, for up to a quarter of ``sources``: chance alone makes few close pairs."""
    part = 0.25 * rng.beta(1, 2)
    return [draw_companion(rng, settings, source, tint) for source in sources if rng.random() < part]


def draw_companion(rng, settings, source: Source, tint) -> Source:
    """A neighbour from half a magnitude brighter to four fainter, four times in five of the same kind."""
    distance, angle = float(log_uniform(rng, 0.7, 3.0)) * settings.fwhm[R], rng.uniform(0, 2 * np.pi)
    place = {"x": source.x + distance * np.cos(angle), "y": source.y + distance * np.sin(angle)}
    r = float(min(source.mags[R] + rng.uniform(-0.5, 4.0), settings.limit + 0.5))
    if (source.kind == "star") == (rng.random() < 0.8):
        return Source(**place, mags=star_colours(rng, r) + tint, kind="star")
    r50 = r50_in_pixels(rng, settings, r)
    return shape_galaxy(rng, settings, place, r, r50, tint, rng.random() < 0.35)


def magnitude_at_brightness(settings: FieldSettings, r50: float, brightness: float) -> float:
    """r magnitude that gives a mean of ``brightness`` x sky noise a pixel within ``r50`` pixels."""
    counts = 2 * np.pi * r50**2 * brightness * settings.sky_noise[R]
    return float(settings.zero_point - 2.5 * np.log10(counts))


def draw_cluster(rng, settings, tint) -> list[Source]:
    """Ellipticals of one colour around a brightest one, their light overlapping."""
    centre = rng.uniform(0.1, 0.9, 2) * settings.size
    core, n = rng.uniform(20, 70), int(rng.integers(12, 60))
    brightest = settings.limit - rng.uniform(4, 7)
    tint = tint + rng.uniform(-0.1, 0.5) * np.array([1, 0, -0.4])
    members = [_member(rng, settings, centre, core, brightest, tint) for _ in range(n)]
    r50 = float(np.clip(galaxy_r50(rng, brightest) * rng.uniform(1, 3) / settings.pixel_scale, 2, 30))
    place = {"x": float(centre[0]), "y": float(centre[1])}
    return [shape_galaxy(rng, settings, place, brightest, r50, tint, True), *members]


def _member(rng, settings, centre, core: float, brightest: float, tint) -> Source:
    place = _place_around(rng, centre, core)
    r = _magnitude(rng, 0.25, brightest + 0.5, settings.limit + 0.5)
    r50 = r50_in_pixels(rng, settings, r, most=20)
    return shape_galaxy(rng, settings, place, r, r50, tint, rng.random() < 0.85)


def draw_star_cluster(rng, settings, tint) -> list[Source]:
    """Main-sequence stars of one age, 30 to 400 of them, from a turn-off near the limit on: a cluster, or a nearby dwarf galaxy.

    With them faint sources can be stars where the bright ones are galaxies. Some lie in a core, others, as in the outskirts, evenly.
    """
    n = round(float(log_uniform(rng, 30, 400)) * (settings.size / 512) ** 2)
    turn_off, slope = rng.uniform(-4.0, -0.5), rng.uniform(0.15, 0.5)
    core = settings.size * rng.uniform(0.1, 0.4) if rng.random() < 0.5 else None
    centre, bluest = rng.uniform(0.1, 0.9, 2) * settings.size, rng.uniform(0.15, 0.5)
    members = []
    for _ in range(n):
        star = draw_star(rng, settings, tint, slope, (turn_off, STAR_SPAN[1]))
        place = {"x": star.x, "y": star.y} if core is None else _place_around(rng, centre, core)
        r = star.mags[R] - tint[R]
        colour = bluest + 0.22 * (r - settings.limit - turn_off)
        members.append(replace(star, mags=sequence_colours(rng, r, colour) + tint, **place))
    return members


def sequence_colours(rng: np.random.Generator, r: float, gr: float) -> np.ndarray:
    """g, r, z of a star of such a g - r on a cluster's main sequence; beyond that of M dwarfs r - z alone grows."""
    rz = 0.55 * gr - 0.03 if gr < 1.3 else 0.685 + 1.5 * (gr - 1.3)
    return np.array([r + min(gr, 1.4), r, r - rz]) + rng.normal(0, 0.03, 3)


def _place_around(rng, centre: np.ndarray, core: float) -> dict:
    """In the projection of a Plummer sphere."""
    radius, angle = core * np.sqrt(1 / rng.uniform(0.08, 1) - 1), rng.uniform(0, 2 * np.pi)
    x, y = centre + radius * np.array([np.cos(angle), np.sin(angle)])
    return {"x": float(x), "y": float(y)}


def shape_galaxy(rng, settings, place, r: float, r50: float, tint, smooth: bool, edge_on: float = 0.12) -> Source:
    """Fill in all but place, r magnitude and size (pixels) of a smooth galaxy or a disk (a part of them ``edge_on``)."""
    source = _smooth(rng, r, r50) if smooth else _disk(rng, r, r50, settings.fwhm[R], rng.random() < edge_on)
    return replace(source, mags=source.mags + tint, angle=float(rng.uniform(0, np.pi)), **place)


def _smooth(rng, r: float, r50: float) -> Source:
    gr, rz = rng.normal(0.9, 0.3), rng.normal(0.65, 0.2)
    q = float(np.clip(1 - np.abs(rng.normal(0, 0.28)), 0.45, 1))
    n = float(rng.choice([2.5, 3.0, 3.5, 4.0, 4.5, 5.0]))
    return Source(0, 0, np.array([r + gr, r, r - rz]), "galaxy", "smooth", r50, n, np.ones(3), r50, q, q)


def _disk(rng, r: float, r50: float, fwhm: float, edge_on: bool) -> Source:
    gr, rz = rng.normal(0.6, 0.3), rng.normal(0.4, 0.25)
    q = float(rng.uniform(0.08, 0.2) if edge_on else rng.uniform(0.2, 1.0))
    part = 0.5 * rng.beta(1, 2)
    bulge = np.clip(part * 10 ** (-0.4 * (RED - BLUE)), 0, 0.8)
    structure = draw_structure(rng, edge_on) if r50 > 1.6 * fwhm else None
    n = float(rng.choice([1.5, 2.0, 3.0, 4.0]))
    size = r50 * float(rng.uniform(0.12, 0.4))
    mags = np.array([r + gr, r, r - rz])
    return Source(0, 0, mags, "galaxy", "disk", r50, n, bulge, size, q, min(1.0, q + 0.5), 0.0, structure)


def draw_structure(rng: np.random.Generator, edge_on: bool) -> Structure:
    """Arms, bar, knots and dust of one large disk; without arms there is a bar, or the disk is on edge."""
    arms = 0 if edge_on or rng.random() < 0.12 else int(rng.choice([2, 2, 2, 3, 4]))
    barred = not edge_on and (arms == 0 or rng.random() < 0.35)
    return Structure(
        arms=arms,
        pitch=float(np.radians(rng.uniform(10, 35))),
        contrast=float(rng.uniform(0.15, 0.9)),
        patchiness=float(rng.uniform(0, 0.5)),
        winding=int(rng.choice([-1, 1])),
        phase=float(rng.uniform(0, 2 * np.pi)),
        bar=float(rng.uniform(0.6, 1.6)) if barred else 0.0,
        knots=int(rng.integers(0, 40)) if arms else 0,
        dust=float(rng.uniform(0.3, 0.9)) if edge_on and rng.random() < 0.6 else 0.0,
        seed=int(rng.integers(2**31)),
    )
