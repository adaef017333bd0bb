"""The tables of docs/scale.md, from figures that are easy to check by hand."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in ("speed", "surveys", "scale", "peer_tools"):
        sys.modules.pop(name, None)


SECONDS = {
    "source-extractor": [1.0, 1.0], "sep": [1.5, 1.5], "photutils": [15.0, 16.0], "one band": [2.0, 3.0], "one band, torch": [6.0, 6.0],
    "three bands": [3.0, 4.5], "512 x 512": [1.5, 1.5], "one worker": [8.0, 8.0], "two workers": [4.0, 4.0], "small frames": [50.0, 40.0],
}  # fmt: skip
FIGURES = {"seconds": SECONDS, "machine": "2 cores, a processor", "rounds": 2, "side": 4096, "small": [200, 256], "shared": [8, 1024]}
FIGURES |= {"stages": 38.0, "load": [1.0, 2.0], "processor": SECONDS, "engines": [{"engine": "torch", "batch": 4, "ms_a_tile": 20.04}]}


def test_ratios_are_taken_within_a_round():
    from speed import markdown

    text = markdown(FIGURES)
    assert "| AstroYOLO, one band | 2.50 | 2.5 | 2.50 |" in text and "| photutils | 15.50 | 15.5 | 15.50 |" in text
    assert "Three bands take 1.50 times" in text and "2.00 times as fast" in text and "of which 95 %" in text
    assert "| `torch` | 4 | 20.0 |" in text


def test_dr10_is_what_pixels_and_cores_make_it():
    from surveys import markdown

    row = next(line for line in markdown(FIGURES).splitlines() if "DR10" in line)
    seconds = 366_898 * 3600**2 / 4096**2 * 3.0
    tiles = 366_898 * 10**2  # of 512 pixels, 128 of them shared, along 3600
    assert f"{seconds / 86400:.1f} days" in row and f"{tiles / 1e6:.1f} million" in row
    assert f"{seconds * 2 / 640 / 3600:.1f} hours" in row and f"{tiles * 2 * 0.0075 / 86400:.1f} days" in row


def test_sizes_tell_time_a_pixel():
    from scale import markdown

    frames = [{"side": 1000, "seconds": 2.0, "peak_bytes": 5e8, "rows": 1234}]
    assert "| 1000 x 1000 | 1,234 | 2.0 | 2.000 | 0.50 |" in markdown({"frames": frames})


@pytest.mark.parametrize("every", [1, 3])
def test_frames_of_any_side_are_blocks_repeated(tmp_path, monkeypatch, every):
    """All with stars, or every third along both axes."""
    import numpy as np
    import scale
    from astropy.io import fits

    monkeypatch.setattr(scale, "BLOCK", 64)
    scale.write_plain(tmp_path / "f.fits", 4 * 64 + 20, every)
    frame, full = fits.getdata(tmp_path / "f.fits"), scale.sky()
    assert frame.shape == (276, 276)
    for y in range(5):
        for x in range(5):
            block = frame[64 * y : 64 * y + 64, 64 * x : 64 * x + 64]
            assert np.array_equal(block, full[: len(block), : block.shape[1]]) == (y % every == x % every == 0)
            assert block.std() > 0.8


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("side", [50, 64, 150])
def test_a_compressed_frame_is_the_plain_one_to_a_sixteenth_of_the_noise(tmp_path, monkeypatch, side, every):
    import numpy as np
    import scale
    from astropy.io import fits

    monkeypatch.setattr(scale, "BLOCK", 64)
    scale.write_plain(tmp_path / "f.fits", side, every)
    scale.write_compressed(tmp_path / "f.fits.fz", side, every)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["f.fits", "f.fits.fz"]
    np.testing.assert_allclose(fits.getdata(tmp_path / "f.fits.fz"), fits.getdata(tmp_path / "f.fits"), atol=1 / 16)
