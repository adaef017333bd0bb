"""Scores of detections in whose middle no light of their own was found."""

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from astroyolo_cli.columns import BLENDED, CENTROID_FAILED
from astroyolo_cli.doubt import UNPLACED, doubted
from astroyolo_cli.pipeline import detect
from astroyolo_cli.settings import DetectSettings
from conftest import FakeEngine, make_frame, star


def catalog_of(score, flags):
    table = Table(
        {"id": np.arange(1, len(score) + 1, dtype=np.int32), "score": np.array(score, np.float32), "flags": np.array(flags, np.int32)}
    )
    table["x"] = MaskedColumn(10 * np.arange(len(score), dtype=float), mask=np.zeros(len(score), bool), unit="pix", meta={"ucd": "pos"})
    table.meta["stars"] = 7
    return table


def test_the_odds_fall_and_the_order_follows():
    before = catalog_of([0.9, 0.8, 0.7, 0.5], [0, CENTROID_FAILED | BLENDED, 0, CENTROID_FAILED])
    after = doubted(before, 0.1)
    odds = UNPLACED * np.array([0.8 / 0.2, 0.5 / 0.5])
    assert after["score"] == pytest.approx([0.9, 0.7, *odds / (1 + odds)], abs=1e-6)
    assert after["id"].tolist() == [1, 2, 3, 4] and after["x"].tolist() == [0, 20, 10, 30]
    assert after["id"].dtype == np.int32 and after["score"].dtype == np.float32
    assert after["x"].unit == "pix" and after["x"].meta == {"ucd": "pos"} and after.meta == {"stars": 7}


def test_what_falls_below_the_least_score_goes():
    after = doubted(catalog_of([0.9, 0.5, 0.3], [0, CENTROID_FAILED, 0]), 0.3)
    assert after["x"].tolist() == [0, 20] and after["id"].tolist() == [1, 2]


def test_a_score_at_the_limit_stays():
    catalog = catalog_of([0.9, 0.3], [CENTROID_FAILED, 0])
    assert len(doubted(catalog, 0.3)) == 2


@pytest.mark.parametrize("flags", [[], [0, BLENDED]])
def test_without_doubt_nothing_changes(flags):
    catalog = catalog_of(np.linspace(0.9, 0.4, len(flags)), flags)
    assert doubted(catalog, 0.3) is catalog


def test_a_box_beside_a_star_says_less_than_the_one_around_it():
    """Both boxes have the same score; noise alone is in the middle of the second."""
    rng = np.random.default_rng(0)
    frame = make_frame({"r": rng.normal(0, 1, (128, 128)) + star((128, 128), 40, 40, 4, 3000)})
    engine = FakeEngine([(34, 34, 46, 46), (84, 84, 96, 96)], score=0.6)
    catalog = detect(frame, engine, DetectSettings(views=1, min_score=0.3)).catalog
    assert catalog["score"] == pytest.approx([0.6, 0.375], abs=1e-4) and catalog["xmin"].tolist() == pytest.approx([34, 84], abs=1)
    assert len(detect(frame, engine, DetectSettings(views=1, min_score=0.4)).catalog) == 1
