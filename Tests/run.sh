#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# run.sh [SWIFT]: all tests but those of whole systems, which have been built. Two processes that take about as long as each other, because each runs
# one test after the other: many of them watch their process, or keep a disk busy. What the second one says comes when both have ended.
set -euo pipefail
cd "$(dirname "$0")/.."
tests=$("${1:-swift}" build --show-bin-path)/distriPackageTests.xctest
second='^(MountTests|ToolTests|DistriFSTests|DistriBuildTests)\.'
log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() { "$tests" --testing-library swift-testing --no-parallel "$@"; }
run --filter "$second" >"$log" 2>&1 &
other=$!
failed=0
run --skip "$second" --skip '^SystemTests\.' || failed=1
wait "$other" || failed=1
cat "$log"
exit "$failed"
