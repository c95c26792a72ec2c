#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# build.sh BIN STORE SOURCES [ROUNDS [PACKAGE…]]: what building in the sandbox costs: the steps of a build, from the view of a store, beside
# the same steps on this host, in turns: configure by bash, make and make install with the same compiler version and flags. Prints a Markdown table.
# STORE is what Examples/definitions/bootstrap.import.textproto imports, SOURCES what fetch-sources.sh there brings. Needs gcc of the same
# major version, make and m4 on the host.
set -euo pipefail
bin=$(realpath "$1") store=$(realpath "$2") sources=$(realpath "$3") rounds=${4:-5}
shift $(($# < 4 ? $# : 4))
[ $# -gt 0 ] || set -- hello gzip m4
definitions=$(realpath "$(dirname "$0")/../../Examples/definitions")
work=$(mktemp -d -p "${DISTRI_BENCH:-/var/tmp}")
trap 'rm -rf "$work"' EXIT
jobs=$(nproc)

now() { date +%s%N; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
field() { sed -n "s/^$2: \"\([^\"]*\)\".*/\1/p" "$definitions/$1/build.textproto" | head -n 1; } # PACKAGE FIELD

# Milliseconds of the steps, then of all that the builder does.
sandboxed() { # PACKAGE
  local start end
  rm -rf "$work/store" "$work/work" && mkdir "$work/store"
  # Without earlier builds of ours, so that every round sees the same.
  for file in "$store"/*-amd64-*.squashfs; do
    name=$(basename "$file" .squashfs)
    case $name in "$1"-amd64-*) continue ;; esac
    ln "$file" "$store/$name.meta.textproto" "$work/store/" 2>/dev/null || cp "$file" "$store/$name.meta.textproto" "$work/store/"
  done
  # Indexes are there, as on any machine that has built something.
  if [ -d "$work/index" ]; then cp -a "$work/index" "$work/store/.index"; fi
  start=$(now)
  "$bin/distri-build" build --definitions "$definitions" --store "$work/store" --sources "$sources" --work "$work/work" --jobs "$jobs" "$1" >"$work/out" 2>"$work/log" ||
    return 1
  end=$(now)
  rm -rf "$work/index" && cp -a "$work/store/.index" "$work/index"
  # «<step> done in 12.34s» or «2m05s».
  sed -nE 's/^(.*(configure|make).*) done in ((([0-9]+)m)?([0-9.]+)s)$/\5 \6/p' "$work/log" |
    awk -v all=$(((end - start) / 1000000)) '{ if (NF == 2) { s += $1 * 60 + $2 } else { s += $1 } } END { printf "%d %d\n", s * 1000, all }'
}

host() { # PACKAGE
  local archive start end hash flags
  hash=$(field "$1" hash)
  archive=$(cd "$sources" && find . -maxdepth 1 -type f -size +0 -exec sha256sum {} + | sed -n "s/^$hash  //p" | head -n 1)
  flags=$(sed -nE 's/^ *extra_configure_flag: "(--[^"]*)"/\1/p' "$definitions/$1/build.textproto")
  rm -rf "$work/host" && mkdir -p "$work/host/source" "$work/host/build"
  tar -xf "$sources/$archive" -C "$work/host/source" --strip-components=1
  cd "$work/host/build"
  start=$(now)
  # shellcheck disable=SC2086
  env -i PATH=/usr/bin:/bin HOME=/nonexistent LC_ALL=C CONFIG_SHELL=/bin/bash FORCE_UNSAFE_CONFIGURE=1 bash -euc '
    /bin/bash ../source/configure --build=x86_64-pc-linux-gnu --host=x86_64-pc-linux-gnu --prefix=/usr --sysconfdir=/etc --disable-dependency-tracking '"$(echo $flags)"'
    make -j'"$jobs"' V=1
    make install DESTDIR="'"$work/host/installed"'"' >"$work/host.log" 2>&1
  end=$(now)
  cd - >/dev/null
  echo $(((end - start) / 1000000))
}

echo "$rounds rounds, $jobs jobs, load $(cut -d' ' -f1 /proc/loadavg), Linux $(uname -r), $(gcc --version | head -n 1)"
echo
echo '| package | steps on the host, s, median | steps in the sandbox, s | ratio | whole build, s |'
echo '|---|---|---|---|---|'
for package; do
  : >"$work/a" && : >"$work/b"
  for round in $(seq 0 "$rounds"); do
    host=$(host "$package") || { tail "$work/host.log" >&2; exit 1; }
    ours=$(sandboxed "$package") || { tail "$work/log" >&2; exit 1; }
    # The first round fills caches.
    [ "$round" = 0 ] || { echo "$host" >>"$work/a" && echo "$ours" >>"$work/b"; }
  done
  awk -v package="$package" -v host="$(median <"$work/a")" -v steps="$(cut -d' ' -f1 "$work/b" | median)" -v all="$(cut -d' ' -f2 "$work/b" | median)" \
    'BEGIN { printf "| %s | %.1f | %.1f | %.2f | %.1f |\n", package, host / 1000, steps / 1000, steps / host, all / 1000 }'
done
