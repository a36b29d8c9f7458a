#!/usr/bin/env bash
# Fetches what train.py and evaluate.py draw with: Debian's fonts and word lists (as root, or already there)
# and the drawing sets from npm.     models/edgeclip-mini/fetch.sh WORK
set -euo pipefail
work=${1:?usage: fetch.sh WORK (the folder that train.py gets as --work)}

packages=(unicode-data unicode-cldr-core wamerican-small
    fonts-dejavu-core fonts-liberation fonts-lato fonts-roboto-unhinted fonts-open-sans fonts-comic-neue fonts-cantarell
    fonts-bebas-neue fonts-ebgaramond fonts-quicksand fonts-play fonts-humor-sans fonts-roboto-slab fonts-sil-andika fonts-junction)
if ! dpkg -s "${packages[@]}" >/dev/null 2>&1; then
    apt-get install -y --no-install-recommends "${packages[@]}"
fi

fetch() { # package version
    local folder="$work/drawings/${1##*/}"
    [ -f "$folder/package.json" ] && return
    mkdir -p "$work/drawings"
    local part
    part=$(mktemp -d "$work/drawings/part.XXXX")
    (cd "$part" && npm pack --silent "$1@$2" >/dev/null && tar -xzf ./*.tgz --strip-components 1)
    mv -T "$part" "$folder"
    chmod 755 "$folder"
}
fetch @iconify-json/noto 1.2.9
fetch @iconify-json/noto-v1 1.2.5
fetch @iconify-json/twemoji 1.2.5
fetch @iconify-json/fluent-emoji-flat 1.2.6
fetch @iconify-json/fluent-emoji 1.2.7
fetch @iconify-json/emojione 1.2.3
fetch @iconify-json/openmoji 1.2.29
fetch flag-icons 7.5.0
