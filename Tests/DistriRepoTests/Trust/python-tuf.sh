#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# python-tuf.sh DIR: puts python-tuf, which the tests interoperate with, into a folder of its own.
set -euo pipefail
packages="tuf==7.0.1 securesystemslib[crypto]==1.6.0 cryptography==50.0.2 urllib3==2.8.0"
[ "$(cat "$1/versions" 2>/dev/null)" = "$packages" ] && exit 0
echo "installing $packages"
rm -rf "$1"
# shellcheck disable=SC2086
python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target "$1" $packages
echo "$packages" >"$1/versions"
