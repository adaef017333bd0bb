"""Make examples/field again: one simulated field in g, r, z, compressed (GalSim needed).

python examples/make_field.py
"""

from pathlib import Path

import numpy as np
from astropy.io import fits

from astroyolo_cli.simulate import simulate_field

SEED = 12  # not among the seeds of the training fields


def main() -> None:
    field = simulate_field(np.random.default_rng(SEED))
    folder = Path(__file__).parent / "field"
    folder.mkdir(exist_ok=True)
    for band, image in field.counts.items():
        hdu = fits.CompImageHDU(image, field.headers[band], compression_type="RICE_1", quantize_level=8)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(folder / f"img_{band}.fits.fz", overwrite=True)
    field.truth.write(folder / "truth.fits", overwrite=True)


if __name__ == "__main__":
    main()
