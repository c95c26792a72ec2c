#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# run.sh [SWIFT [SECONDS]]: a short libFuzzer run of every parser. A crash, a hang or an excess of memory fails it and leaves its input in
# .build-fuzz/<target>-*, to be tried again with `.build-fuzz/debug/fuzz <target> FILE`.
set -euo pipefail
cd "$(dirname "$0")"
swift=${1:-swift} seconds=${2:-10}
# SwiftPM's plan knows nothing of files that are new in a package beside.
rm -f .build-fuzz/debug.yaml .build-fuzz/*/debug/description.json
$swift build -Xswiftc -sanitize=fuzzer,address --scratch-path .build-fuzz
export SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=detect_leaks=0
fuzz=.build-fuzz/debug/fuzz
export fuzz seconds
run() { # TARGET
  local corpus=.build-fuzz/corpus/$1 log
  log=$(mktemp)
  mkdir -p "$corpus"
  $fuzz --seed "$1" "$corpus"
  if ! $fuzz "$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=65536 \
    -artifact_prefix=".build-fuzz/$1-" "$corpus" >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    echo "fuzz: $1 failed" >&2
    rm -f "$log"
    # The others are not worth waiting for.
    exit 255
  fi
  echo "fuzz: $1: $(grep -oE 'Done [0-9]+ runs in [0-9]+ second' "$log")s"
  rm -f "$log"
}
export -f run
# One has one thread.
$fuzz --list | xargs -P "$(nproc)" -I TARGET bash -euo pipefail -c 'run TARGET'
