#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# sanitize.sh [SWIFT [JOBS [SANITIZER…]]]: the mount's tests, libraries and tools alike, with ThreadSanitizer and AddressSanitizer.
#
# Each has a build of its own in .build-tsan and .build-asan, which takes about eight minutes on two cores the first time. That is why
# `make test` does without. Tests of the supervisor are left out: it forks, which it only does while it has one thread, and ThreadSanitizer has
# one of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
swift=${1:-swift} jobs=${2:-$(nproc)}
shift $(($# < 2 ? $# : 2))
[ $# -gt 0 ] || set -- thread address
# Reports of a daemon are in its standard error, which the tests pass on, and its exit status is not 0. The backtracer can hang.
export SWIFT_BACKTRACE=enable=no
# Swift's runtime keeps what it needs to the end, which is no leak.
export TSAN_OPTIONS=suppressions=$PWD/Tests/tsan.supp:halt_on_error=0:exitcode=66:second_deadlock_stack=1
export ASAN_OPTIONS=detect_leaks=0:exitcode=66
failed=()
for sanitizer; do
  echo "== $sanitizer"
  log=$(mktemp)
  start=$SECONDS
  # With kinds of load that two threads or a lifetime can go wrong under; the laws of system calls and copies of trees add none.
  $swift test --sanitize="$sanitizer" --scratch-path ".build-${sanitizer:0:1}san" -j "$jobs" --no-parallel \
    --filter '^MountTests\..*(LoadTests|LiveTests|LifetimeTests|ComparisonTests|KernelMemoryTests|DamagedImageTests|StoreConditionTests|SelectionTests)' \
    --filter '^DistriFSTests\.' --filter '^DistriStoreTests\.ImageConcurrencyTests' 2>&1 | tee "$log" | grep -vE ' started\.$' || failed+=("$sanitizer")
  if grep -qE '^(WARNING|ERROR|==[0-9]+==ERROR): (Thread|Address)Sanitizer' "$log"; then failed+=("$sanitizer"); fi
  echo "== $sanitizer: $((SECONDS - start)) s"
  rm -f "$log"
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "sanitize.sh: ${failed[*]}: look for «Sanitizer» above; the first frames of ours name the place" >&2
  exit 1
fi
