#!/usr/bin/env bash
# Catalog many frames, a catalog each, then join them. Stopped or killed, run it again: what is whole is kept.
#
#   examples/batch.sh catalogs examples/field/img_*.fits.fz
#
# A frame that cannot be read is named in catalogs/manifest.jsonl, and the others go on.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: batch.sh FOLDER FRAME..." >&2
    exit 2
fi
folder=$1
shift
failed=0
astroyolo detect "$@" -o "$folder" --workers "${WORKERS:-1}" --resume || failed=$?
if [ "$failed" -gt 1 ]; then # 1: some frames have no catalog
    exit "$failed"
fi
astroyolo merge "$folder/*.fits" -o "$folder.parquet" --overwrite
exit "$failed"
