"""Draw the colours of a catalog: g - r over r, stars orange, smooth galaxies red, disks green (matplotlib needed).

astroyolo detect examples/field -o field.fits
python examples/plot_colours.py field.fits colours.png
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np

from astroyolo_cli.columns import BLENDED, EDGE, SATURATED
from astroyolo_cli.tables import floats, read_table

matplotlib.use("Agg")
COLOURS = {"star": "orange", "smooth": "red", "disk": "green"}
UNSURE = EDGE | SATURATED | BLENDED  # fluxes not to be trusted
MOST_ERROR = 0.3  # mag, of the colour


def kinds(table) -> np.ndarray:
    """(n,) of star, smooth or disk."""
    label, morphology = (np.ma.filled(table[name].astype("U6"), "") for name in ("class", "morphology"))
    return np.where(label == "star", label, morphology)


def main(catalog: str, picture: str) -> None:
    from matplotlib import pyplot as plt

    table = read_table(Path(catalog))
    g, r, error_g, error_r = (floats(table, name) for name in ("mag_g", "mag_r", "mag_err_g", "mag_err_r"))
    colour, error = g - r, np.hypot(error_g, error_r)
    good = (error < MOST_ERROR) & ((np.asarray(table["flags"]) & UNSURE) == 0)  # an unknown error is not less
    figure, axes = plt.subplots(figsize=(6, 5), layout="constrained")
    for kind, shade in COLOURS.items():
        these = good & (kinds(table) == kind)
        axes.errorbar(r[these], colour[these], error[these], fmt="o", ms=4, lw=0.7, color=shade, label=f"{kind} ({these.sum()})")
    axes.set(xlabel="r (AB mag)", ylabel="g - r (mag)")
    axes.legend()
    figure.savefig(picture, dpi=150)
    print(f"{good.sum()} of {len(table)} sources: {picture}")


if __name__ == "__main__":
    main(*sys.argv[1:])
