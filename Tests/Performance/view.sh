#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# view.sh BIN [RUNS] [OPTION…]: the view of a store beside squashfuse_ll and the kernel's squashfs. `view.sh --help` says the rest.
set -euo pipefail
exec python3 -B "$(dirname "$0")/view/main.py" "$@"
