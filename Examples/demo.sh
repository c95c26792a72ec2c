#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# demo.sh BIN DIR: a package's whole life on real input. BIN holds the tools; everything happens below DIR, and a second run starts afresh
# but keeps what was downloaded (DIR/debs, DIR/sources).
set -euo pipefail
bin=$(realpath "$1")
mkdir -p "$2"
demo=$(realpath "$2")
here=$(dirname "$(realpath "$0")")
definitions=$here/definitions
export PATH=$bin:$PATH
# `distri-fuse run` shows the current directory to what it runs.
cd "$(dirname "$demo")"
# The demo must not depend on the reader's configuration.
export LC_ALL=C.UTF-8

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
timings=() started=$SECONDS step_name='' step_started=$SECONDS server=''

finish_step() { [ -z "$step_name" ] || timings+=("$(printf '%-10s %4d s' "$step_name" $((SECONDS - step_started)))"); }
step() { # NAME WORDS
  finish_step
  step_name=$1 step_started=$SECONDS
  printf '\n%s== %s: %s%s\n' "$bold" "$1" "$2" "$plain"
}
exec 3>&1
show() { # COMMAND…: shown as the reader would type it, then run
  local word words=()
  for word; do
    word=${word//$demo/$(basename "$demo")} word=${word//$here/Examples}
    case $word in *[!A-Za-z0-9_./:=+,@%-]*) words+=("'$word'") ;; *) words+=("$word") ;; esac
  done
  printf '%s$ %s%s\n' "$dim" "${words[*]}" "$plain" >&3
  "$@"
}
clean_up() {
  local status=$?
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  if [ "$status" != 0 ]; then
    distri-fuse unmount "$demo/ro" 2>/dev/null || true
    echo "demo: the step «$step_name» failed; its output is above, its files are below $demo" >&2
  fi
}
trap clean_up EXIT

mountpoint -q "$demo/ro" && distri-fuse unmount "$demo/ro"
for part in store machine repo keys trust image definitions scaffold _build; do rm -rf "${demo:?}/$part"; done
mkdir -p "$demo"/{store,ro,debs,sources,machine,repo,image}
cp -r "$definitions" "$demo/definitions"

step import "Debian's packages become distri packages"
show distri-build import --store "$demo/store" --debs "$demo/debs" \
  --definition "$demo/definitions/bootstrap.import.textproto" --lock "$demo/definitions/bootstrap.import.lock" --update-lock >/dev/null

step mount "the store becomes a file system"
show distri-fuse mount "$demo/store" "$demo/ro"
show ls "$demo/ro/bin" | head -n 8
show distri-fuse run --store "$demo/store" -- nano --version
echo 'int main(void) { return 42; }' >"$demo/answer.c"
show distri-fuse run --store "$demo/store" -- gcc -o "$demo/answer" "$demo/answer.c"
show distri-fuse run --store "$demo/store" -- "$demo/answer" || echo "gcc from the view: exit status $?"

step build "upstream's sources become packages, in a sandbox"
show "$definitions/fetch-sources.sh" "$demo/sources" hello zlib ncurses file nano
show distri-build scaffold --definitions "$demo/scaffold" --store "$demo/store" --sources "$demo/sources" \
  https://www.nano-editor.org/dist/v7/nano-7.2.tar.xz
show cat "$demo/scaffold/nano/build.textproto"
echo "What it is to be linked against is for a person to add, as in Examples/definitions/nano:"
show grep '^dep:' "$demo/definitions/nano/build.textproto"
for package in hello zlib ncurses file nano; do
  show distri-build build --definitions "$demo/definitions" --store "$demo/store" --sources "$demo/sources" "$package"
done

step appear "the mount that has been running all along shows them"
show readlink "$demo/ro/bin/nano"
show ls -d "$demo"/ro/nano-*
show distri-fuse run --store "$demo/store" -- hello

step publish "the store becomes a signed repository, and a machine that trusts it installs from it"
show distri-fetch keys generate --out "$demo/keys"
show distri-fetch publish "$demo/store" --out "$demo/repo" --keys "$demo/keys"
rm -f "$demo/port"
printf '%s$ distri-fetch serve %s &%s\n' "$dim" "$(basename "$demo")/repo" "$plain"
distri-fetch serve "$demo/repo" --listen 127.0.0.1:0 --port-file "$demo/port" 2>"$demo/serve.log" &
server=$!
for _ in $(seq 100); do [ -s "$demo/port" ] && break; sleep 0.1; done
url=http://127.0.0.1:$(cat "$demo/port")
show distri-fetch trust init "$demo/repo/tuf/root.json" --repo "$url" --trust "$demo/trust"
show distri-fetch install nano --root "$demo/machine" --repo "$url" --trust "$demo/trust"
kill "$server" && wait "$server" 2>/dev/null || true
server=''
show distri-fuse run --store "$demo/machine/roimg" -- nano --version

step image "a disk image boots in a virtual machine"
show distri-mkimage build --store "$demo/store" --package bash --package coreutils --package nano --kernel linux-image \
  --run 'cat /etc/os-release' --run 'nano --version' -o "$demo/image"
show distri-mkimage boot "$demo/image" --timeout 120
finish_step

cat <<TXT

${bold}Done in $((SECONDS - started)) s.${plain}
$(printf '  %s\n' "${timings[@]}")

$(find "$demo/store" -maxdepth 1 -name '*.squashfs' | wc -l) packages, $(du -sh --apparent-size "$demo/store" | cut -f1), are in $(basename "$demo")/store and shown at $(basename "$demo")/ro. To look around:
  ls $(basename "$demo")/ro/bin                                             every program, as links into the packages
  .build/release/distri-fuse run --store $(basename "$demo")/store -- bash  a shell that sees only these packages
  .build/release/distri-fuse conflicts $(basename "$demo")/store            names that two packages claim
  .build/release/distri-mkimage boot $(basename "$demo")/image              the machine again
  .build/release/distri-fuse unmount $(basename "$demo")/ro                 when you are done
TXT
