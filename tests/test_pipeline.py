"""Detection with networks that say what the test wants."""

import time
from threading import Event, Lock

import numpy as np
import pytest

from astroyolo_cli import pipeline
from astroyolo_cli.detections import Detections
from astroyolo_cli.errors import WeightsError
from astroyolo_cli.pipeline import DetectSettings, reweighted
from astroyolo_cli.stretch import backgrounds
from conftest import FakeEngine, make_frame, star, tan_wcs


def detect(frame, engine, **settings):
    """By one view: the fake network says the same box of a turned image, which two views would take for two sources."""
    return pipeline.detect(frame, engine, DetectSettings(views=1, **settings))


def rich_field(shape=(300, 400), seed=0, stars=()):
    """``stars``: places of some more."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 1, shape)
    for x, y in [*zip(rng.uniform(0, shape[1], 40), rng.uniform(0, shape[0], 40)), *stars]:
        image += star(shape, x, y, 4, 800)
    return make_frame({"r": image}, wcs=tan_wcs())


def test_the_catalog_holds_what_the_network_says_and_nothing_else():
    field = rich_field(stars=[(110, 65)])
    assert len(detect(field, FakeEngine()).catalog) == 0
    one = detect(field, FakeEngine([(99.5, 49.5, 120.5, 80.5)], score=0.8)).catalog
    assert len(one) == 1
    row = one[0]
    assert [row[c] for c in ("xmin", "ymin", "xmax", "ymax")] == pytest.approx([99.5, 49.5, 120.5, 80.5], abs=1e-3)
    assert row["score"] == pytest.approx(0.8, abs=1e-5)


def test_boxes_of_each_tile_land_on_the_frame():
    """The same box in every tile: once for each tile whose core it lies in."""
    field = rich_field((600, 896))
    catalog = detect(field, FakeEngine([(249.8, 249.8, 262.2, 262.2)]), tile=512).catalog
    corners = sorted(zip(catalog["xmin"].tolist(), catalog["ymin"].tolist()))
    assert corners == [(249.5, 249.5), (249.5, 337.5), (633.5, 249.5), (633.5, 337.5)]


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_memory_holds_one_batch_of_tiles_whatever_the_frame(batch):
    engine = FakeEngine([(250, 250, 262, 262)])
    frame = make_frame({"r": np.random.default_rng(0).normal(0, 1, (1400, 1400))})
    reference = detect(frame, FakeEngine([(250, 250, 262, 262)]), tile=512).catalog
    catalog = detect(frame, engine, batch=batch, tile=512).catalog
    assert max(shape[0] for shape in engine.shapes) <= batch
    np.testing.assert_array_equal(catalog["xmin"], reference["xmin"])


def test_what_lies_in_the_padding_is_dropped():
    small = make_frame({"r": np.random.default_rng(0).normal(0, 1, (60, 70))})
    catalog = detect(small, FakeEngine([(10, 10, 20, 20), (200, 200, 220, 220), (60, 50, 90, 80)])).catalog
    assert len(catalog) == 2
    assert catalog["xmax"].max() == pytest.approx(69.5) and catalog["ymax"].max() == pytest.approx(59.5)


def test_the_score_threshold():
    field = rich_field(stars=[(14, 14)])
    assert len(detect(field, FakeEngine([(9, 9, 19, 19)], 0.29)).catalog) == 0
    assert len(detect(field, FakeEngine([(9, 9, 19, 19)], 0.29), min_score=0.2).catalog) == 1


def test_rival_boxes_of_one_source_are_one_row():
    """A star's and a galaxy's box around the same centre overlap little, and are still one source."""
    catalog = detect(rich_field(), FakeEngine([(100, 100, 120, 120), (106, 106, 114, 114), (140, 100, 150, 110)])).catalog
    assert len(catalog) == 2


def test_pictures_go_through_as_they_are():
    grey = np.random.default_rng(0).uniform(0, 0.2, (80, 90)).astype(np.float32)
    picture = make_frame({"R": grey, "G": grey, "B": grey}, reference="G", stretched=True)
    assert len(detect(picture, FakeEngine([(9, 9, 19, 19)])).catalog) == 1


def test_two_views_of_a_symmetric_box_agree():
    field = rich_field((512, 512), stars=[(255.5, 255.5)])
    catalog = pipeline.detect(field, FakeEngine([(250, 240, 261, 271)], score=0.8)).catalog
    assert len(catalog) == 1 and catalog["score"][0] == pytest.approx(0.8, abs=1e-4)


def test_another_prior_changes_the_odds_as_bayes_says():
    found = Detections(np.tile(np.float32([0, 0, 9, 9]), (3, 1)), *np.float32([[0.9] * 3, [0.2, 0.5, 0.9], [0.3] * 3]), np.zeros(3, bool))
    p = reweighted(found, {"star": 0.25}, 0.6).p_galaxy
    likelihood = np.array([0.2, 0.5, 0.9]) / 0.75, np.array([0.8, 0.5, 0.1]) / 0.25  # of the data, given galaxy and star
    np.testing.assert_allclose(p, likelihood[0] * 0.4 / (likelihood[0] * 0.4 + likelihood[1] * 0.6), rtol=1e-5)
    assert reweighted(found, {"star": 0.25}, None) is found
    np.testing.assert_allclose(reweighted(found, {"star": 0.25}, 0.25).p_galaxy, found.p_galaxy, rtol=1e-5)
    with pytest.raises(WeightsError, match="prior"):
        reweighted(found, {}, 0.6)


@pytest.mark.parametrize("shape, views", [((1400, 1400), 1), ((1400, 1400), 2), ((300, 300), 2), ((900, 500), 2)])
def test_threads_in_the_lanes_of_the_network_change_nothing(shape, views):
    class Slow(FakeEngine):
        """Waits, the first time, until another thread calls it too; the first calls end last."""

        lanes, running, most = 1, 0, 0

        def __init__(self):
            super().__init__()
            self.lock, self.together = Lock(), Event()

        def __call__(self, images):
            with self.lock:
                self.running += 1
                self.most = max(self.most, self.running)
            if self.most > 1:
                self.together.set()
            if self.lanes > 1:
                assert self.together.wait(60)
                time.sleep(0.02 / self.running)
            with self.lock:
                self.running -= 1
            box = 100 * float(images[0, 0, 40:80, 40:80].mean())  # tells one tile from another
            return FakeEngine([(250 + box, 250, 262 + box, 262 + box), (20, 20, 30, 30)])(images)

    frame, catalogs = rich_field(shape), []
    for lanes in (1, 3):
        engine = Slow()
        engine.lanes = lanes
        catalogs.append(pipeline.find(frame, backgrounds(frame), engine, DetectSettings(tile=512, views=views)))
        assert 1 <= engine.most <= lanes
    assert len(catalogs[0]) > 0 and engine.most > 1
    for name in ("xyxy", "score", "on_seam"):
        np.testing.assert_array_equal(getattr(catalogs[0], name), getattr(catalogs[1], name))
