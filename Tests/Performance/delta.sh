#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# delta.sh BIN [PACKAGE…]: what an update of one package costs, from the version before the newest that Debian's archive has: bytes that a server sends for
# its image, and seconds from nginx on the loopback device; as a whole, compressed, and by blocks, beside zsync and casync on the same two images. Needs
# nginx, zsync, casync and apt lists; about 2 GB below TMPDIR. RUNS (5) is how often each is measured.
set -euo pipefail
bin=$(realpath "$1") runs=${RUNS:-5}
shift
packages=("${@:-}")
[ -n "${packages[0]}" ] || packages=(git libperl5.36 libgs10)
work=$(mktemp -d "${TMPDIR:-/tmp}/distri-delta.XXXXXX")
chmod 755 "$work"
cleanup() {
  [ -f "$work/nginx.pid" ] && kill "$(cat "$work/nginx.pid")"
  rm -rf "$work"
}
trap cleanup EXIT

# Both versions, each with its closure, in one store.
: >"$work/old.pref"
for package in "${packages[@]}"; do
  source=$(apt-cache show "$package" | sed -n 's/^Source: \([^ ]*\).*/\1/p' | head -n 1)
  old=$(apt-cache madison "$package" | awk '{ print $3 }' | awk '!seen[$0]++' | sed -n 2p)
  [ -n "$old" ] || { echo "delta.sh: the archive has one version of $package only" >&2 && exit 69; }
  printf 'Package: src:%s\nPin: version %s\nPin-Priority: 1001\n\n' "${source:-$package}" "$old" >>"$work/old.pref"
done
import() { "$bin/distri-build" import --store "$work/store" --debs "$work/debs" --lock "$work/lock" --update-lock "$@" "${packages[@]}" 2>/dev/null; }
import --apt-option "Dir::Etc::preferences=$work/old.pref" >"$work/old"
import >"$work/new"
"$bin/distri-fetch" publish "$work/store" --out "$work/repo" --compress >/dev/null

cat >"$work/nginx.conf" <<CONF
user root; worker_processes 1; pid $work/nginx.pid; error_log $work/error.log; events { worker_connections 1024; }
http { sendfile on; log_format sent '\$bytes_sent \$uri'; access_log $work/access.log sent; keepalive_requests 100000;
  client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;
  server { listen 127.0.0.1:8972; root $work; } }
CONF
nginx -c "$work/nginx.conf" -e "$work/error.log"
url=http://127.0.0.1:8972

install() { # OPTION… → onto a machine that has everything but the new version
  "$bin/distri-fetch" install "$new" --insecure-unsigned --root "$work/machine" --repo "$url/repo" "$@" >/dev/null 2>&1
}
run() {
  case $1 in
  'whole image') install --no-delta --compressed never ;;
  'compressed image') install --no-delta --compressed always ;;
  'blocks') install --compressed never ;;
  'what is least (the default, from another machine)') install --compressed always ;;
  'zsync') (cd "$work/peer" && zsync -q -i "$work/store/$old.squashfs" -o new "$url/peer.squashfs.zsync" >/dev/null 2>&1) ;;
  'casync') (cd "$work/peer" && casync extract --store="$url/peer.castr" --seed="$work/store/$old.squashfs" "$url/peer.caibx" new >/dev/null 2>&1) ;;
  esac
}
names=('whole image' 'compressed image' 'blocks' 'what is least (the default, from another machine)' 'zsync' 'casync')
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
export TIMEFORMAT=%R
for package in "${packages[@]}"; do
  old=$(grep "^$package-amd64-" "$work/old") new=$(grep "^$package-amd64-" "$work/new")
  size=$(stat -c %s "$work/store/$new.squashfs")
  cp -l "$work/store/$new.squashfs" "$work/peer.squashfs"
  (cd "$work" && zsyncmake -u peer.squashfs -o peer.squashfs.zsync peer.squashfs 2>/dev/null)
  casync make --store="$work/peer.castr" "$work/peer.caibx" "$work/peer.squashfs" >/dev/null
  echo
  echo "$old → ${new#"$package"-amd64-}, $((size / 1000)) kB:"
  echo
  echo '| | kB from the server | of the image | requests | seconds |'
  echo '|---|---|---|---|---|'
  for name in "${names[@]}"; do
    : >"$work/times"
    for ((round = 0; round < runs; round++)); do
      rm -rf "$work/machine" "$work/peer" && mkdir -p "$work/machine/roimg" "$work/peer"
      cp -l "$work"/store/*.squashfs "$work"/store/*.meta.textproto "$work/machine/roimg"
      rm "$work/machine/roimg/$new".*
      : >"$work/access.log"
      { time run "$name"; } 2>>"$work/times"
      result=$work/machine/roimg/$new.squashfs
      [ -e "$result" ] || result=$work/peer/new
      cmp "$result" "$work/store/$new.squashfs"
    done
    # Of the image only: the index is the same for all.
    awk -v name="$name" -v size="$size" -v seconds="$(median <"$work/times")" '
      /squashfs|peer/ { sent += $1; count++ }
      END { printf "| %s | %d | %.1f %% | %d | %s |\n", name, sent / 1000, 100 * sent / size, count, seconds }' "$work/access.log"
  done
  rm -rf "$work"/peer.*
done
echo
echo "Medians of $runs runs, $(nproc) cores, load before: $(cut -d' ' -f1 /proc/loadavg)"
