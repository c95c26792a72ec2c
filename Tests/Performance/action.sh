#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# action.sh BIN STORE [RUNS]: what it costs to build a package as an action, in a sandbox as workers of a cluster make one, over a build on this
# machine: a package that writes one file, in turns; prints a Markdown table. BIN has the tools, STORE bash and coreutils. Needs root, and bwrap.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 BIN STORE [RUNS]" >&2; exit 64; }
bin=$(realpath "$1") source=$(realpath "$2") runs=${3:-15}
command -v bwrap >/dev/null || { echo "action.sh: bwrap is missing; Debian has it in the package bubblewrap" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/store" "$work/pkgs/tiny"
find "$source" -maxdepth 1 -type f \( -name '*.squashfs' -o -name '*.meta.textproto' \) -exec cp --reflink=auto -t "$work/store" {} +
cat >"$work/pkgs/tiny/build.textproto" <<'END'
source: "empty://"
version: "1-1"
dep: "bash"
dep: "coreutils"
build_step: { argv: "bash" argv: "-euc" argv: "d=${DISTRI_DESTDIR}${DISTRI_PREFIX}/share; mkdir -p $d; echo tiny > $d/tiny" }
END
options=(--definitions "$work/pkgs" --store "$work/store")

worker() { # COMMAND…: in a worker's sandbox of the input root
  bwrap --unshare-user --uid 1000 --gid 1000 --unshare-pid --unshare-net --unshare-uts --unshare-ipc --die-with-parent --bind "$work/root" / \
    --dev /dev --dev-bind /dev/fuse /dev/fuse --proc /proc --tmpfs /tmp --chdir / --clearenv -- "$@"
}
tool=(tool/lib/ld.so --library-path tool/lib tool/distri-build)
timed() { # NAME COMMAND…
  local name=$1 start
  shift
  start=$(date +%s%N)
  "$@" >/dev/null 2>"$work/errors" || { cat "$work/errors" >&2; exit 1; }
  echo "$name $((($(date +%s%N) - start) / 1000))" >>"$work/times"
}

"$bin/distri-build" action write "${options[@]}" tiny --out "$work/root" >/dev/null
for _ in $(seq "$runs"); do
  rm -rf "$work/root/out" "$work/root/work" "$work/store"/tiny* "$work/store/.index"/tiny*
  timed bubblewrap worker tool/lib/ld.so --version
  timed start worker "${tool[@]}" --help
  timed plan "$bin/distri-build" action write "${options[@]}" tiny
  timed action worker "${tool[@]}" action run
  timed build "$bin/distri-build" build "${options[@]}" tiny
  cmp "$work/root/out/tiny-amd64-1-1.squashfs" "$work/store/tiny-amd64-1-1.squashfs"
done

quantile() { awk -v name="$1" '$1 == name { print $2 }' "$work/times" | sort -n | awk -v p="$2" '{ v[NR] = $1 } END { print v[int((NR - 1) * p / 100 + 1.5)] / 1000 }'; }
echo "$runs runs, $(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg), Linux $(uname -r)"
echo
echo '| | ms, median (10th–90th percentile) |'
echo '|---|---|'
while IFS='|' read -r name title; do
  printf '| %s | %.0f (%.0f–%.0f) |\n' "$title" "$(quantile "$name" 50)" "$(quantile "$name" 10)" "$(quantile "$name" 90)"
done <<'NAMES'
bubblewrap|the worker's sandbox alone
start|the same, and our builder started and ended in it
plan|making the action of a store, digests known
action|the action in the worker's sandbox, all of it
build|the same build on this machine, without a worker
NAMES
