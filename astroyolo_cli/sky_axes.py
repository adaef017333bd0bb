"""Ticks of RA and Dec along the edges of a frame, for pictures of it."""

from __future__ import annotations

import numpy as np

from .frame import Frame
from .measure import to_sky

FEWEST = 3  # ticks an edge, if the steps below allow
STEPS = {  # degrees between ticks, largest first
    "ra": [15 * s / 3600 for s in (3600, 1800, 600, 300, 120, 60, 30, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)],
    "dec": [s / 3600 for s in (36000, 18000, 7200, 3600, 1800, 600, 300, 120, 60, 30, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1)],
}

Tick = tuple[float, str]  # pixels along the edge, from the middle of the first, and what is written there


def sky_ticks(frame: Frame) -> dict[str, list[Tick]]:
    """Of the edges ``x`` (at the first row) and ``y`` (at the first column); none without a WCS or where it does not reach.

    An edge has ticks of the coordinate that changes more along it, on the sky.
    """
    height, width = frame.shape
    if frame.wcs is None:
        return {"x": [], "y": []}
    along_x, along_y = np.linspace(-0.5, width - 0.5, 201), np.linspace(-0.5, height - 0.5, 201)
    edges = {"x": (along_x, along_x, np.full(201, -0.5)), "y": (along_y, np.full(201, -0.5), along_y)}
    return {name: ticks_along(places, *to_sky(frame, x, y)) for name, (places, x, y) in edges.items()}


def ticks_along(places: np.ndarray, ra: np.ndarray, dec: np.ndarray) -> list[Tick]:
    if not np.isfinite(ra + dec).all():
        return []
    ra = np.unwrap(ra, period=360)
    which, values = ("ra", ra) if np.ptp(ra) * np.cos(np.radians(dec.mean())) > np.ptp(dec) else ("dec", dec)
    if values[0] > values[-1]:
        values, places = values[::-1], places[::-1]
    if not (np.diff(values) > 0).all():  # around a pole
        return []
    step = next((s for s in STEPS[which] if np.ptp(values) / s >= FEWEST), STEPS[which][-1])
    marks = step * np.arange(np.ceil(values[0] / step), np.floor(values[-1] / step) + 1)
    write = hours if which == "ra" else degrees
    return [(float(place), write(mark, step)) for place, mark in zip(np.interp(marks, values, places), marks)]


def hours(degree: float, step: float) -> str:
    """10h31m05s; as many parts as the step needs."""
    return sexagesimal((degree + step / 1e3) % 360 / 15, step / 15, "hms")


def degrees(degree: float, step: float) -> str:
    """-01°12'30"; as many parts as the step needs."""
    return ("-" if degree < -step / 1e3 else "+") + sexagesimal(abs(degree), step, "°'\"")


def sexagesimal(value: float, step: float, units: str) -> str:
    seconds = step * 3600
    decimals = 0 if seconds >= 0.99 else 1 if seconds >= 0.099 else 2 if seconds >= 0.0099 else 3
    whole = round(value * 3600, decimals)
    first, rest = divmod(whole, 3600)
    minutes, last = divmod(rest, 60)
    text = f"{int(first):02d}{units[0]}{int(minutes):02d}{units[1]}"
    if seconds >= 59.9:
        return text
    return text + f"{last:0{3 + decimals if decimals else 2}.{decimals}f}{units[2]}"
