"""Search a Parquet catalog by cone and cross-match it on the sky with LSDB (pip install lsdb).

astroyolo detect examples/field -o field.parquet
astroyolo detect examples/field/img_r.fits.fz -o r.parquet
python examples/with_lsdb.py field.parquet r.parquet matched.parquet

The second may as well be a survey: lsdb.open_catalog(URL) of one of https://data.lsdb.io in place of opened().
"""

import sys

import lsdb
import pandas as pd

RADIUS = 1.0  # arcsec, of the match
CONE = 40.0  # arcsec, around the middle of the catalog


def opened(path: str, name: str) -> lsdb.Catalog:
    """A catalog with margins, so that pairs across the pixels of the sky are found."""
    table = pd.read_parquet(path).dropna(subset=["ra", "dec"])
    return lsdb.from_dataframe(table, ra_column="ra", dec_column="dec", catalog_name=name, margin_threshold=10)


def main(path: str, other: str, output: str) -> None:
    first, second = opened(path, "first"), opened(other, "second")
    middle = pd.read_parquet(path, columns=["ra", "dec"]).median()
    near = first.cone_search(ra=middle["ra"], dec=middle["dec"], radius_arcsec=CONE).query("score > 0.5").compute()
    matched = first.crossmatch(second, radius_arcsec=RADIUS, suffixes=("_1", "_2"), suffix_method="all_columns").compute()
    matched.to_parquet(output)
    print(f"{len(near)} sources of score > 0.5 within {CONE:g} arcsec of the middle")
    print(f"{len(matched)} pairs within {RADIUS:g} arcsec: {output}")


if __name__ == "__main__":
    main(*sys.argv[1:])
