#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# run.sh BIN: every benchmark, each beside its peers; Markdown tables on standard output.
set -euo pipefail
bin=$(realpath "$1")
cd "$(dirname "$0")"
echo '## Writing an image' && ./image-writer.sh
echo '## The view of a store' && ./view.sh "$bin"
echo '## A sandbox' && ./sandbox.sh
echo '## Installing' && python3 install.py "$bin"
echo '## Updating' && ./delta.sh "$bin"
echo '## Trust' && ./trust.sh "$bin"
echo '## An initramfs' && ./initramfs.sh "$bin"
echo '## A disk image'
if [ -d ../../.build/images/server/store ]; then
  python3 image.py "$bin" ../../.build/images/server/store
  if command -v mmdebstrap >/dev/null; then python3 boot.py "$bin" ../../.build/images/server/store ../../.build/images/boot; fi
else
  echo 'The packages of the server are not here; `make test-images` leaves them.'
fi
