#!/usr/bin/env bash
# Cross-match two FITS catalogs on the sky with STILTS, TOPCAT's command line (https://www.starlink.ac.uk/stilts/):
# the best pairs within RADIUS arcsec, with all columns of both and their Separation.
#
#   astroyolo detect examples/field -o field.fits
#   astroyolo detect examples/field/img_r.fits.fz -o r.fits
#   examples/with_stilts.sh field.fits r.fits pairs.fits
#
# Against Gaia, by the network, for a field of the real sky:
#   stilts cdsskymatch in=field.fits ra=ra dec=dec radius=1 find=best cdstable=I/355/gaiadr3 out=gaia.fits
set -euo pipefail
if [ $# -ne 3 ]; then
    echo "usage: with_stilts.sh CATALOG OTHER OUTPUT" >&2
    exit 2
fi
if ! command -v stilts >/dev/null; then
    echo "with_stilts.sh: no stilts in PATH; get it at https://www.starlink.ac.uk/stilts/, or apt install stilts" >&2
    exit 1
fi
radius=${RADIUS:-1}
stilts tmatch2 in1="$1" in2="$2" matcher=sky params="$radius" values1="ra dec" values2="ra dec" find=best join=1and2 out="$3"
stilts tpipe in="$3" omode=count
