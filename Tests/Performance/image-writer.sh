#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# image-writer.sh [DIRECTORY [RUNS]]: our image writer beside mksquashfs on the same tree, uncompressed and without fragments, in turns.
# The tree is in the page cache; nothing is synced within the time. Prints a Markdown table: medians, the spread, the ratio.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d "${TMPDIR:-/tmp}/distri-image-writer.XXXXXX")
trap 'rm -rf "$work"' EXIT
runs=${2:-7}

swift build -c release --static-swift-stdlib >&2
pack=$PWD/.build/release/pack-image

tree=${1:-}
if [[ -z $tree ]]; then
  # Headers, scripts, libraries: small and large files as packages have them.
  tree=$work/tree
  mkdir -p "$tree/lib"
  cp -a /usr/include /usr/lib/gcc /usr/share/perl "$tree"
  find /usr/lib/x86_64-linux-gnu -maxdepth 1 -type f -size -20M | sort | head -n 400 | xargs -I{} cp -a {} "$tree/lib"
fi
read -r entries bytes < <(find "$tree" -printf '%y %s\n' | awk '{ n++ } $1 == "f" { b += $2 } END { print n, b }')

# measure NAME COMMAND...: adds a line to the file of the name: seconds, processor seconds of the program, of the kernel for it.
TIMEFORMAT='%3R %3U %3S'
measure() {
  local name=$1
  shift
  rm -f "$work/image"
  sync
  { time "$@" >/dev/null 2>&1; } 2>>"$work/$name"
}
plain=(-noI -noD -noF -noX -no-fragments -no-progress -quiet)
find "$tree" -type f -exec cat {} + >/dev/null
for ((run = 0; run < runs; run++)); do
  measure mksquashfs mksquashfs "$tree" "$work/image" "${plain[@]}"
  measure ours "$pack" "$tree" "$work/image"
done

# median NAME AWK-EXPRESSION
median() { awk "{ print $2 }" "$work/$1" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
reference=$(median mksquashfs '$1')
echo "$entries entries, $((bytes / 1000000)) MB of content, $(nproc) processors, $runs runs"
echo
echo '| writer | seconds, median (least–most) | MB/s | processor seconds | speed |'
echo '|---|---|---|---|---|'
for name in mksquashfs ours; do
  awk -v name="$name" -v median="$(median "$name" '$1')" -v busy="$(median "$name" '$2 + $3')" \
    -v reference="$reference" -v bytes="$bytes" '
    { if (!n++ || $1 < least) least = $1; if ($1 > most) most = $1 }
    END {
      printf "| %s | %.2f (%.2f–%.2f) | %.0f | %.2f | %.2f |\n", name, median, least, most, bytes / 1e6 / median, busy,
        reference / median
    }
  ' "$work/$name"
done
