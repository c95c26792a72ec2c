#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# trust.sh BIN [PACKAGES]: what signed metadata costs in a repository of 10,000 packages: publishing, refreshing, finding the entry of one package;
# beside python-tuf's client, which follows the same repository. BIN also holds tuf-client. Needs mksquashfs and python-tuf (`make test-deps`).
set -euo pipefail
bin=$(realpath "$1") count=${2:-10000}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/distri-trust.XXXXXX")
cleanup() {
  [ -n "${server:-}" ] && kill "$server"
  rm -rf "$work"
}
trap cleanup EXIT

mkdir -p "$work/tree/bin" "$work/tree/out/lib/pkgconfig" "$work/store"
touch "$work/tree/bin/program" "$work/tree/out/lib/libprogram.so.1" "$work/tree/out/lib/pkgconfig/program.pc"
mksquashfs "$work/tree" "$work/image" -no-progress -quiet -noappend
printf 'version: "1.2.3-1"\n' >"$work/metadata"
python3 - "$work" "$count" <<'PYTHON'
import os, sys
work, count = sys.argv[1], int(sys.argv[2])
for number in range(count):
    name = f"{work}/store/package-{number:05}-amd64-1.2.3-1"
    os.link(f"{work}/image", f"{name}.squashfs")
    os.link(f"{work}/metadata", f"{name}.meta.textproto")
PYTHON

cat >"$work/measure.py" <<'PYTHON'
import resource, subprocess, sys, time
start = time.monotonic()
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
seconds = time.monotonic() - start
if status:
    raise SystemExit(f"{sys.argv[1:]} ended with {status}")
print(f"{seconds:.3f} {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024}")
PYTHON
row() { # WORDS COMMAND…: the best of three, each after the files in `fresh` are gone and `prepare` has run
  local words=$1
  shift
  for _ in 1 2 3; do
    rm -rf "${fresh[@]}"
    prepare
    python3 "$work/measure.py" "$@" 2>"$work/errors" || cat "$work/errors" >&2
  done | sort -n | head -n 1 | sed -E "s/^(.*) (.*)$/| $words | \1 | \2 |/"
}
fresh=()
prepare() { :; }

echo "| $count packages | s | resident MB |"
echo '|---|---:|---:|'
"$bin/distri-fetch" keys generate --out "$work/keys" >/dev/null
"$bin/distri-fetch" publish "$work/store" --out "$work/unsigned" >/dev/null 2>&1
row 'publish again, unsigned' "$bin/distri-fetch" publish "$work/store" --out "$work/unsigned"
"$bin/distri-fetch" publish "$work/store" --out "$work/repo" --keys "$work/keys" >/dev/null
row 'publish again, signed' "$bin/distri-fetch" publish "$work/store" --out "$work/repo" --keys "$work/keys"
"$bin/distri-fetch" serve "$work/repo" --listen 127.0.0.1:0 --port-file "$work/port" --quiet 2>/dev/null &
server=$!
for _ in $(seq 100); do [ -s "$work/port" ] && break; sleep 0.1; done
url=http://127.0.0.1:$(cat "$work/port")
fresh=("$work/trust")
prepare() { "$bin/distri-fetch" trust init "$work/repo/tuf/root.json" --repo "$url" --trust "$work/trust" >/dev/null 2>&1; }
row 'first refresh' "$bin/distri-fetch" trust refresh --repo "$url" --trust "$work/trust"
row 'first refresh, and the index' "$bin/distri-fetch" search package-00042 --repo "$url" --trust "$work/trust"
fresh=()
prepare() { :; }
row 'refresh without news' "$bin/distri-fetch" trust refresh --repo "$url" --trust "$work/trust"
target=pkg/package-00042-amd64-1.2.3-1.squashfs
fresh=("$work/client" "$work/targets")
prepare() {
  mkdir -p "$work/targets"
  [ ! -e "$bin/tuf-client" ] || "$bin/tuf-client" --metadata-dir "$work/client" init "$work/repo/tuf/root.json"
}
[ ! -e "$bin/tuf-client" ] || row 'first refresh, and the entry of one package' "$bin/tuf-client" --metadata-dir "$work/client" \
  --metadata-url "$url/tuf" --target-name "$target" --target-base-url "$url" --target-dir "$work/targets" download
prepare() { mkdir -p "$work/client" && cp "$work/repo/tuf/root.json" "$work/client/"; }
modules=$here/../../.build/python-tuf
[ ! -d "$modules" ] || row 'the same by python-tuf' env PYTHONPATH="$modules" python3 "$here/../DistriRepoTests/Trust/interop.py" \
  read "$work/client" "$url" "$target"
echo
du -b "$work"/repo/tuf/1.*.json "$work"/repo/tuf/timestamp.json "$work/repo/pkg/meta.binaryproto" |
  while read -r size file; do echo "- \`$(basename "$file")\`: $size bytes"; done
