#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# run.sh [SWIFT [DEMO]]: builds the examples and runs each on what the demo, or the system tests, left in DEMO.
set -euo pipefail
cd "$(dirname "$0")/.."
swift=${1:-swift} demo=$(realpath "${2:-demo}")
[ -d "$demo/store" ] || { echo "run.sh: $demo has no store; run Examples/demo.sh first" >&2; exit 66; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# SwiftPM's plan knows nothing of files that are new in a package beside.
rm -f Examples/.build/debug.yaml Examples/.build/*/debug/description.json
$swift build --package-path Examples
bin=$($swift build --package-path Examples --show-bin-path)
# What a person does once, with a root from a place that is trusted.
mkdir "$work/trust"
cp "$demo/repo/tuf/root.json" "$work/trust/"
for example in "readme $demo/store" "read-a-package $demo/store nano" "mount-in-process $demo/store $work/view nano" \
  "build-hello $demo/store $demo/definitions $demo/sources" "mirror-a-repository $demo/repo $work/trust $work/mirror nano"; do
  echo "\$ $example"
  # The words of an example have no spaces.
  # shellcheck disable=SC2086
  "$bin"/$example
done
for pipeline in Examples/pipelines/*.sh; do
  echo "\$ $pipeline"
  PATH=$PWD/.build/release:$PATH "$pipeline" "$demo/store"
done
