#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# install.sh BIN [RUNS]: seconds that `distri-fetch install` of a closure of 40 packages takes, beside `curl -Z` and `cp` of the
# same files; from nginx on the loopback device, and our own `serve` beside it. Needs nginx, curl and mksquashfs; about 1.2 GB below TMPDIR.
set -euo pipefail
bin=$(realpath "$1") runs=${2:-5}
work=$(mktemp -d "${TMPDIR:-/tmp}/distri-install.XXXXXX")
chmod 755 "$work"
cleanup() {
  [ -f "$work/nginx.pid" ] && kill "$(cat "$work/nginx.pid")"
  [ -n "${server:-}" ] && kill "$server"
  rm -rf "$work"
}
trap cleanup EXIT

# Sizes as in a development environment: a few large packages, many small ones, 360 MB in all.
sizes=(120 60 40 30 20 15 10 8 6 5 4 4 3 3 3 2 2 2 2 2 2 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1)
mkdir -p "$work/store" "$work/tree/out/lib" "$work/tree/bin"
closure=
for number in "${!sizes[@]}"; do
  name=lib$number-amd64-1.$number-1
  head -c "${sizes[$number]}000000" /dev/urandom >"$work/tree/out/lib/lib$number.so"
  mksquashfs "$work/tree" "$work/store/$name.squashfs" -noI -noD -noF -noX -no-fragments -no-progress -quiet -noappend
  printf 'version: "1.%s-1"\n' "$number" >"$work/store/$name.meta.textproto"
  closure+="runtime_dep: \"$name\""$'\n'
  rm "$work/tree/out/lib/lib$number.so"
done
mksquashfs "$work/tree" "$work/store/set-amd64-1-1.squashfs" -no-progress -quiet -noappend
printf '%sversion: "1-1"\n' "$closure" >"$work/store/set-amd64-1-1.meta.textproto"
"$bin/distri-fetch" publish "$work/store" --out "$work/repo" >/dev/null

cat >"$work/nginx.conf" <<CONF
user root; worker_processes 1; pid $work/nginx.pid; error_log $work/error.log; events { worker_connections 1024; }
http { sendfile on; access_log off; keepalive_requests 100000; client_body_temp_path $work/b; proxy_temp_path $work/p;
  fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;
  server { listen 127.0.0.1:8970; root $work/repo; } }
CONF
nginx -c "$work/nginx.conf" -e "$work/error.log"
"$bin/distri-fetch" serve "$work/repo" --listen 127.0.0.1:8971 --quiet 2>/dev/null &
server=$!
until curl -sfo /dev/null http://127.0.0.1:8971/pkg/meta.binaryproto; do :; done

files=("$work"/store/*-1.squashfs "$work"/store/*-1.meta.textproto)
urls() { for file in "${files[@]}"; do printf '%s/pkg/%s ' "$1" "$(basename "$file")"; done; }
run() { # NAME → runs it into an empty $root
  case $1 in
  'distri-fetch install, nginx') "$bin/distri-fetch" install set --insecure-unsigned --root "$root" --repo http://127.0.0.1:8970 >/dev/null 2>&1 ;;
  'distri-fetch install, distri-fetch serve') "$bin/distri-fetch" install set --insecure-unsigned --root "$root" --repo http://127.0.0.1:8971 >/dev/null 2>&1 ;;
  'distri-fetch install, directory') "$bin/distri-fetch" install set --insecure-unsigned --root "$root" --repo "$work/repo" >/dev/null 2>&1 ;;
  # shellcheck disable=SC2046 # a word for each URL
  'curl -Z, nginx') (cd "$root" && curl -sZ --no-progress-meter --parallel-max 16 --remote-name-all $(urls http://127.0.0.1:8970)) ;;
  # shellcheck disable=SC2046
  'curl -Z, distri-fetch serve') (cd "$root" && curl -sZ --no-progress-meter --parallel-max 16 --remote-name-all $(urls http://127.0.0.1:8971)) ;;
  'cp') cp "${files[@]}" "$root" ;;
  esac
}
export TIMEFORMAT='%R %U %S'
names=('curl -Z, nginx' 'distri-fetch install, nginx' 'distri-fetch install, directory' 'cp' 'curl -Z, distri-fetch serve'
  'distri-fetch install, distri-fetch serve')
for ((round = 0; round < runs; round++)); do
  for name in "${names[@]}"; do
    root=$work/machine
    rm -rf "$root" && mkdir "$root"
    sync
    { time run "$name"; } 2>"$work/run"
    { time sync; } 2>"$work/sync"
    tail -n 1 "$work/run" | cat - <(tail -n 1 "$work/sync") |
      awk -v name="$name" 'NR == 1 { run = $1; cpu = $2 + $3 } NR == 2 { print name "\t" run "\t" run + $1 "\t" cpu }' >>"$work/times"
  done
done

total=$(cat "${files[@]}" | wc -c)
echo "40 packages, $((total / 1000000)) MB; median of $runs runs, $(nproc) cores, load before: $(cut -d' ' -f1 /proc/loadavg)"
echo '| | seconds | with sync | CPU seconds of the client | MB/s | ratio to curl -Z |'
echo '|---|---|---|---|---|---|'
median() { awk -F'\t' -v name="$1" -v field="$2" '$1 == name { print $field }' "$work/times" | sort -n | sed -n "$(((runs + 1) / 2))p"; }
base=$(median "${names[0]}" 2)
for name in "${names[@]}"; do
  awk -v name="$name" -v time="$(median "$name" 2)" -v durable="$(median "$name" 3)" -v cpu="$(median "$name" 4)" -v total="$total" \
    -v base="$base" \
    'BEGIN { printf "| %s | %.2f | %.2f | %.2f | %.0f | %.2f |\n", name, time, durable, cpu, total / time / 1e6, base / time }'
done
