"""The overlay: boxes where the sources are, the first row of a FITS frame at the bottom."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.coordinates import Angle
from astropy.table import Table
from PIL import Image

from astroyolo_cli.errors import OutputError
from astroyolo_cli.sky_axes import degrees, hours, sky_ticks
from astroyolo_cli.stretch import Stretch, backgrounds
from astroyolo_cli.view import COLOURS, GAP, MARGIN, save_overlay
from conftest import make_frame, star, tan_wcs


def catalog(kind="star", morphology=""):
    return Table({"class": [kind], "morphology": [morphology], "xmin": [9.5], "ymin": [4.5], "xmax": [19.5], "ymax": [14.5]})


def panels(tmp_path, kind, morphology):
    """The two panels of a frame of 50 x 60 pixels, which are drawn twice as large."""
    frame = make_frame({"r": np.random.default_rng(0).normal(0, 1, (50, 60)) + star((50, 60), 14.5, 9.5, 4, 2000)})
    save_overlay(tmp_path / "o.png", frame, backgrounds(frame), Stretch(), catalog(kind, morphology))
    with Image.open(tmp_path / "o.png") as image:
        pixels = np.asarray(image)
    assert pixels.shape == (100, 240 + GAP, 3)
    return {"left": pixels[:, :120], "right": pixels[:, 120 + GAP :]}


@pytest.mark.parametrize(
    "kind, morphology, expected",
    [
        ("star", "", {"left": "star"}),
        ("galaxy", "smooth", {"left": "galaxy", "right": "smooth"}),
        ("galaxy", "disk", {"left": "galaxy", "right": "disk"}),
    ],
)
def test_a_box_has_the_colour_of_its_class_and_lies_on_its_pixels(tmp_path, kind, morphology, expected):
    for side, pixels in panels(tmp_path, kind, morphology).items():
        drawn = {name for name, colour in COLOURS.items() if (pixels == colour).all(axis=2).any()}
        assert drawn == ({expected[side]} if side in expected else set())
        if drawn:
            rows, columns = np.nonzero((pixels == COLOURS[expected[side]]).all(axis=2))
            assert (columns.min(), columns.max()) == (20, 40)
            assert (99 - rows.max(), 99 - rows.min()) == (10, 30)  # counted from the bottom


def test_only_png_is_written(tmp_path):
    frame = make_frame({"r": np.random.default_rng(0).normal(0, 1, (50, 60))})
    with pytest.raises(OutputError, match="png"):
        save_overlay(tmp_path / "o.jpg", frame, backgrounds(frame), Stretch(), catalog())


def test_ticks_of_the_sky_are_where_astropy_says():
    frame = replace(make_frame({"r": np.zeros((300, 400))}), wcs=tan_wcs())
    ticks = sky_ticks(frame)
    assert len(ticks["x"]) >= 3 and len(ticks["y"]) >= 3
    for place, text in ticks["x"]:
        assert frame.wcs.pixel_to_world(place, -0.5).ra.deg == pytest.approx(Angle(text).deg, abs=2e-6)
    for place, text in ticks["y"]:
        assert frame.wcs.pixel_to_world(-0.5, place).dec.deg == pytest.approx(
            Angle(text.replace("°", "d").replace("'", "m").replace('"', "s")).deg, abs=2e-6
        )


@pytest.mark.parametrize(
    "degree, step, ra, dec",
    [
        (157.5, 0.25, "10h30m", "+157°30'"),
        (0.0, 1 / 240, "00h00m00s", "+00°00'00\""),
        (359.99999999, 15 / 3600, "00h00m00s", "+360°00'00\""),
        (-1.25, 0.25, "23h55m", "-01°15'"),
    ],
)
def test_ticks_are_written_with_the_parts_that_their_step_needs(degree, step, ra, dec):
    assert (hours(degree, step), degrees(degree, step)) == (ra, dec)


def test_a_picture_of_a_frame_with_a_sky_has_room_for_it(tmp_path):
    frame = replace(make_frame({"r": np.random.default_rng(0).normal(0, 1, (50, 60))}), wcs=tan_wcs())
    save_overlay(tmp_path / "o.png", frame, backgrounds(frame), Stretch(), catalog())
    with Image.open(tmp_path / "o.png") as image:
        pixels = np.asarray(image)
    assert pixels.shape == (100 + MARGIN[1], 240 + GAP + MARGIN[0], 3)
    assert (pixels[100:] < 100).any() and (pixels[:, : MARGIN[0] - 10] < 100).any()  # something is written
