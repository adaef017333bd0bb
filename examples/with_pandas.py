"""Select sources of a catalog by class, probability and flags, from CSV or Parquet (pandas needed; pyarrow for Parquet).

astroyolo detect examples/field -o field.parquet
python examples/with_pandas.py field.parquet disks.csv
"""

import sys

import pandas as pd

EDGE, SATURATED, BLENDED = 1, 4, 16  # astroyolo info flags


def read(path: str) -> pd.DataFrame:
    """Both have the same columns; Parquet keeps types and all digits."""
    return pd.read_parquet(path) if path.endswith(".parquet") else pd.read_csv(path)


def clean_disks(catalog: pd.DataFrame) -> pd.DataFrame:
    """Disk galaxies that are probably real, whole and alone, brightest first."""
    clean = (catalog["flags"] & (EDGE | SATURATED | BLENDED)) == 0
    disks = (catalog["class"] == "galaxy") & (catalog["p_disk"] > 0.5)
    return catalog[clean & disks & (catalog["score"] > 0.5)].sort_values("mag")


def main(path: str, output: str) -> None:
    catalog = read(path)
    print(catalog.groupby(["class", catalog["morphology"].fillna("").rename("morphology")]).size().to_string())
    disks = clean_disks(catalog)
    disks[["id", "ra", "dec", "mag", "mag_err", "p_disk", "flags"]].to_csv(output, index=False)
    print(f"{len(disks)} clean disks of {len(catalog)} sources: {output}")


if __name__ == "__main__":
    main(*sys.argv[1:])
