#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# largest-packages.sh STORE: the ten packages that take most room, from the index of the store published into a folder.
set -euo pipefail
repository=$(mktemp -d)
trap 'rm -rf "$repository"' EXIT
distri-fetch publish "$1" --out "$repository" >/dev/null 2>&1
find "$repository/pkg" -name '*.squashfs' -printf '%s\t%f\n' | sort -rn | sed 's/\.squashfs$//' >"$repository/sizes"
head -n 10 "$repository/sizes"
