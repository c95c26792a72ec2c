#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# remote.sh BIN [RUNS]: what it takes to start nano, imported from Debian, without installing it: bytes and seconds of a remote view, cold and with
# its cache, beside installing its closure, beside curl that only brings the same images, and beside a view of a local store. From nginx on the
# loopback device, directly and as over a line of 50 Mbit/s and 20 ms. Needs root, nginx, curl, and fresh lists of apt the first time (the store stays below
# $DISTRI_BENCH, /var/tmp/distri-bench).
set -euo pipefail
here=$(dirname "$(realpath "$0")")
bin=$(realpath "$1") runs=${2:-7}
bench=${DISTRI_BENCH:-/var/tmp/distri-bench}
store=$bench/nano
mkdir -p "$bench"
work=$(mktemp -d "${TMPDIR:-/tmp}/distri-remote.XXXXXX")
chmod 755 "$work"
proxy=
cleanup() {
  umount -l "$work/root/ro" 2>/dev/null || true
  if [ -f "$work/nginx.pid" ]; then kill "$(cat "$work/nginx.pid")"; fi
  if [ -n "$proxy" ]; then kill "$proxy"; fi
  rm -rf "$work"
}
trap cleanup EXIT
export DISTRITRUST=$work/trust

if [ ! -f "$bench/nano.done" ]; then
  "$bin/distri-build" import --store "$store" --debs "$bench/debs" \
    --definition "$here/../../Examples/definitions/bootstrap.import.textproto" nano >/dev/null
  touch "$bench/nano.done"
fi
"$bin/distri-fetch" keys generate --out "$work/keys" >/dev/null
"$bin/distri-fetch" publish "$store" --out "$work/repo" --keys "$work/keys" >/dev/null
images=("$store"/*.squashfs)

cat >"$work/nginx.conf" <<CONF
user root; worker_processes 1; pid $work/nginx.pid; error_log $work/error.log; events { worker_connections 1024; }
http { sendfile on; log_format bytes '\$bytes_sent'; access_log $work/access.log bytes; keepalive_requests 100000;
  client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;
  server { listen 127.0.0.1:8976; root $work/repo; } }
CONF
nginx -c "$work/nginx.conf" -e "$work/error.log"
python3 "$here/delay-proxy.py" 8977 8976 10 50 &
proxy=$!
until curl -sfo /dev/null http://127.0.0.1:8977/tuf/root.json; do :; done
for port in 8976 8977; do
  "$bin/distri-fetch" trust init "$work/repo/tuf/root.json" --repo "http://127.0.0.1:$port" >/dev/null 2>&1
done

mkdir -p "$work/root/ro" "$work/root/tmp"
sent() { awk '{ sum += $1 } END { print sum + 0 }' "$work/access.log"; }
export TIMEFORMAT=%R
seconds() { { time "$@" >/dev/null 2>"$work/said"; } 2>&1 || { cat "$work/said" >&2; exit 1; }; }
start() { chroot "$work/root" /ro/bin/nano --version; }
note() { printf '%s\t%s\t%s\t%s\n' "$@" >>"$work/times"; } # NAME SECONDS-BEFORE SECONDS-OF-START BYTES
remote() { # NAME PORT
  local mount run
  : >"$work/access.log"
  mount=$(seconds "$bin/distri-fuse" mount --remote "http://127.0.0.1:$2" --cache "$work/cache" "$work/root/ro")
  run=$(seconds start)
  "$bin/distri-fuse" unmount "$work/root/ro"
  note "$1" "$mount" "$run" "$(sent)"
}
local_view() { # NAME
  local mount run
  mount=$(seconds "$bin/distri-fuse" mount "$store" "$work/root/ro")
  run=$(seconds start)
  "$bin/distri-fuse" unmount "$work/root/ro"
  note "$1" "$mount" "$run" 0
}
install() { # NAME PORT
  local install mount run
  rm -rf "$work/machine"
  : >"$work/access.log"
  mkdir "$work/machine"
  install=$(seconds "$bin/distri-fetch" install nano --root "$work/machine" --repo "http://127.0.0.1:$2")
  mount=$(seconds "$bin/distri-fuse" mount "$work/machine/roimg" "$work/root/ro")
  run=$(seconds start)
  "$bin/distri-fuse" unmount "$work/root/ro"
  note "$1" "$(awk "BEGIN { print $install + $mount }")" "$run" "$(sent)"
}
bring() { # NAME PORT
  local urls=() image
  for image in "${images[@]}"; do urls+=("http://127.0.0.1:$2/pkg/$(basename "$image")"); done
  rm -rf "$work/curl"
  mkdir "$work/curl"
  : >"$work/access.log"
  note "$1" "$(cd "$work/curl" && seconds curl -sfZ --remote-name-all "${urls[@]}")" 0 "$(sent)"
}

local_view warm-up
rm -f "$work/times"
for ((round = 0; round < runs; round++)); do
  for place in "8976 loopback" "8977 50 Mbit/s and 20 ms"; do
    port=${place%% *} where=${place#* }
    rm -rf "$work/cache"
    remote "remote, nothing here, $where" "$port"
    remote "remote, cache filled, $where" "$port"
    install "distri-fetch install, then a local view, $where" "$port"
    bring "curl -Z of the closure's images, $where" "$port"
  done
  local_view "local store"
done

total=$(cat "${images[@]}" | wc -c)
echo "${#images[@]} packages, $((total / 1000)) KB; median of $runs runs, $(nproc) cores, load before: $(cut -d' ' -f1 /proc/loadavg)"
echo '| | KB over the network | of the closure | s until the view is there | s of `nano --version` |'
echo '|---|---:|---:|---:|---:|'
median() { awk -F'\t' -v name="$1" -v field="$2" '$1 == name { print $field }' "$work/times" | sort -n | sed -n "$(((runs + 1) / 2))p"; }
cut -f1 "$work/times" | awk '!seen[$0]++' | while read -r name; do
  awk -v name="$name" -v before="$(median "$name" 2)" -v run="$(median "$name" 3)" -v bytes="$(median "$name" 4)" -v total="$total" \
    'BEGIN { printf "| %s | %.0f | %.1f %% | %.3f | %s |\n", name, bytes / 1000, 100 * bytes / total, before, (run > 0 ? run : "") }'
done
