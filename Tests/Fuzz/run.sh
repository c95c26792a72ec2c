#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# run.sh [SWIFT [SECONDS]]: a short libFuzzer run of every parser; a crash leaves its input in .build-fuzz and fails.
set -euo pipefail
cd "$(dirname "$0")"
swift=${1:-swift} seconds=${2:-10}
$swift build -Xswiftc -sanitize=fuzzer,address --scratch-path .build-fuzz
export SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=detect_leaks=0
fuzz=.build-fuzz/debug/fuzz
for target in $($fuzz --list); do
  corpus=.build-fuzz/corpus/$target
  mkdir -p "$corpus"
  $fuzz --seed "$target" "$corpus"
  $fuzz "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=65536 -artifact_prefix=.build-fuzz/ \
    -verbosity=0 -print_final_stats=1 "$corpus" 2>&1 | grep -E 'ERROR|SUMMARY|number_of_executed_units|Test unit' || true
  [ "${PIPESTATUS[0]}" = 0 ] || { echo "fuzz: $target failed" >&2; exit 1; }
done
