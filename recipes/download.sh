#!/usr/bin/env bash
# Downloads an archive and unpacks it:
#
#     download.sh [--sha256 SUM] [--unpack DIR] FILE URL...
#
# The URLs are tried in turn; links move. What was downloaded so far is kept as FILE.part and gone on with. FILE appears
# when its checksum is right; DIR appears when all is unpacked. What is there already is not touched.
set -euo pipefail

sha256="" unpack=""
while [ $# -gt 0 ]; do
    case $1 in
        --sha256) sha256=$2 ;;
        --unpack) unpack=$2 ;;
        *) break ;;
    esac
    shift 2
done
if [ $# -lt 2 ]; then
    echo "usage: ${0##*/} [--sha256 SUM] [--unpack DIR] FILE URL..." >&2
    exit 2
fi
file=$1
shift
if [ -n "$unpack" ] && [ -d "$unpack" ]; then
    echo "$unpack is there already"
    exit 0
fi

if [ -f "$file" ]; then
    echo "$file is there already"
else
    mkdir -p "$(dirname "$file")"
    for url in "$@"; do
        echo "downloading $url"
        if curl --fail --location --continue-at - --retry 3 --no-progress-meter --output "$file.part" "$url"; then break; fi
        echo "${0##*/}: $url can't be had" >&2
        url=""
    done
    if [ -z "$url" ]; then
        echo "${0##*/}: error: none of the links works; get the corpus by hand and name its folder with --db-root" >&2
        exit 1
    fi
    if [ -n "$sha256" ] && ! echo "$sha256  $file.part" | sha256sum --check --status; then
        mv "$file.part" "$file.wrong"
        echo "${0##*/}: error: the SHA-256 sum of $file.wrong is not $sha256; remove it and try again" >&2
        exit 1
    fi
    mv "$file.part" "$file"
fi
if [ -n "$unpack" ]; then
    echo "unpacking $file"
    rm -rf "$unpack.part" # of an interrupted run
    python -c 'import shutil, sys; shutil.unpack_archive(sys.argv[1], sys.argv[2])' "$file" "$unpack.part"
    mv "$unpack.part" "$unpack"
fi
