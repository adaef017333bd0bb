"""Make a HATS catalog of a folder that astroyolo merge wrote, and open it with LSDB (pip install hats-import lsdb).

astroyolo merge 'catalogs/*.fits' -o survey
python examples/with_hats_import.py survey hats
"""

import sys

import lsdb
from hats_import.catalog.arguments import ImportArguments
from hats_import.pipeline import pipeline

ROWS = 1_000_000  # of a partition, at most


def main(folder: str, output: str, rows: str = str(ROWS)) -> None:
    arguments = ImportArguments(
        input_path=folder,
        file_reader="parquet",
        output_path=output,
        output_artifact_name="survey",
        pixel_threshold=int(rows),
        progress_bar=False,
    )
    pipeline(arguments)
    catalog = lsdb.open_catalog(f"{output}/survey")
    primary = catalog.query("is_primary").compute()
    print(f"{len(catalog)} rows, {len(primary)} primary, in {catalog.npartitions} partitions: {output}/survey")


if __name__ == "__main__":
    main(*sys.argv[1:])
