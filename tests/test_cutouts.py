"""A PNG a source: what it shows, how it is called, and that nothing else is ever replaced."""

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from PIL import Image

from astroyolo_cli.cutouts import write_cutouts
from astroyolo_cli.errors import OutputError
from astroyolo_cli.stretch import Stretch, backgrounds
from conftest import make_frame, star


@pytest.fixture
def field():
    image = np.random.default_rng(0).normal(0, 1, (200, 240)) + star((200, 240), 60, 40, 4, 5000) + star((200, 240), 63, 55, 4, 1500)
    frame = make_frame({"r": image})
    morphology = MaskedColumn(["", "disk", "smooth"], mask=[True, False, False])
    edges = np.array([[50, 30, 70, 50], [-0.5, 90, 20, 120], [100, 0, 220, 199]], float).T
    catalog = Table([[1, 2, 12], ["star", "galaxy", "galaxy"], morphology, *edges],
                    names=["id", "class", "morphology", "xmin", "ymin", "xmax", "ymax"])  # fmt: skip
    return frame, backgrounds(frame), Stretch(), catalog


def test_every_source_has_its_picture(tmp_path, field):
    write_cutouts(tmp_path / "c", *field)
    names = sorted(path.name for path in (tmp_path / "c").iterdir())
    assert names == ["000001-star.png", "000002-galaxy-disk.png", "000012-galaxy-smooth.png"]
    with Image.open(tmp_path / "c" / names[0]) as image:
        shown = np.asarray(image).astype(float).sum(axis=2)
    assert shown.shape == (48, 48)
    row, column = np.unravel_index(shown.argmax(), shown.shape)
    assert abs(column - 24) <= 1 and abs(row - 23) <= 1  # the bright star, in the middle
    assert shown[23 - 15, 27] > np.median(shown) + 50  # its neighbour, 15 rows up in the frame and in the picture
    with Image.open(tmp_path / "c" / names[2]) as image:
        assert image.size == (398, 398)


def test_a_folder_of_other_things_is_never_replaced(tmp_path, field):
    folder = tmp_path / "c"
    write_cutouts(folder, *field)
    with pytest.raises(OutputError, match="--overwrite"):
        write_cutouts(folder, *field)
    write_cutouts(folder, *field, overwrite=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="other things"):
        write_cutouts(folder, *field, overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path, field):
    with pytest.raises(OutputError, match="does not exist"):
        write_cutouts(tmp_path / "no" / "c", *field)
