#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# python-packages.sh DIR ARGUMENT…: has pip put packages, which tests interoperate with, into a folder of their own, unless they are there.
set -euo pipefail
directory=$1
shift
[ "$(cat "$directory/arguments" 2>/dev/null)" = "$*" ] && exit 0
echo "installing into $directory"
rm -rf "$directory"
python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-compile --target "$directory" "$@"
echo "$*" >"$directory/arguments"
