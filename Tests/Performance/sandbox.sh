#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# sandbox.sh [STORE [RUNS]]: what a sandbox costs over a plain fork: `true` by posix_spawn, in bubblewrap, in our sandbox, and in our
# sandbox with a view of a store as distri-build mounts it, mounting and unmounting included; and what the filter of system calls
# costs. In turns; prints a Markdown table.
# STORE holds about 60 packages with bash and coreutils; by default what view.sh imports. Needs root or user namespaces, and bwrap.
set -euo pipefail
cd "$(dirname "$0")"
store=$(realpath "${1:-${DISTRI_BENCH:-/var/tmp/distri-bench}/real}") runs=${2:-41}
command -v bwrap >/dev/null || { echo "sandbox.sh: bwrap is missing; Debian has it in the package bubblewrap" >&2; exit 1; }
swift build -c release --static-swift-stdlib --product spawn-sandbox >&2
times=$(mktemp)
trap 'rm -f "$times"' EXIT
.build/release/spawn-sandbox "$store" "$runs" >"$times"

# quantile NAME PERCENT
quantile() { awk -F'\t' -v name="$1" '$1 == name { print $2 }' "$times" | sort -n | awk -v p="$2" '{ v[NR] = $1 } END { print v[int((NR - 1) * p / 100 + 1.5)] }'; }
plain=$(quantile posix_spawn 50)
echo "$(ls "$store"/*.squashfs | wc -l) packages, $runs runs, $(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg), Linux $(uname -r)"
echo
echo '| | ms, median (10th–90th percentile) | over a plain fork, ms |'
echo '|---|---|---|'
while IFS='|' read -r name title; do
  awk -v title="$title" -v median="$(quantile "$name" 50)" -v low="$(quantile "$name" 10)" -v high="$(quantile "$name" 90)" -v plain="$plain" \
    'BEGIN { printf "| %s | %.1f (%.1f–%.1f) | %.1f |\n", title, median, low, high, median - plain }'
done <<'NAMES'
posix_spawn|posix_spawn of `true`
bubblewrap|bubblewrap, host programs
sandbox|our sandbox, host programs
view|our sandbox with a view of the store, mounted and unmounted
calls|400,000 system calls in our sandbox without the filter
filtered calls|400,000 system calls in our sandbox
NAMES
