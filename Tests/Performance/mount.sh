#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# mount.sh BIN [RUNS]: how fast files of a mounted package can be listed and read: `distri-fuse`, squashfuse_ll, and the kernel's squashfs on a
# loop device, all with the same image. Medians. Needs root, mksquashfs and squashfuse; about 700 MB below TMPDIR.
set -euo pipefail
bin=$(realpath "$1") runs=${2:-5}
work=$(mktemp -d "${TMPDIR:-/tmp}/distri-mount.XXXXXX")
cleanup() {
  umount -q "$work/ro" "$work/mnt" || true
  rm -rf "$work"
}
trap cleanup EXIT

mkdir -p "$work/tree/out/many" "$work/store" "$work/ro" "$work/mnt"
for folder in {1..200}; do
  mkdir "$work/tree/out/many/$folder"
  (cd "$work/tree/out/many/$folder" && for file in {1..100}; do printf '%1500s' "$folder $file" >"$file"; done)
done
head -c 256M /dev/urandom >"$work/tree/out/big"
package=bench-amd64-1-1
image=$work/store/$package.squashfs
mksquashfs "$work/tree" "$image" -noI -noD -noF -noX -no-fragments -no-progress -quiet -noappend
printf 'version: "1-1"\n' >"$work/store/$package.meta.textproto"

mount_view() { # NAME → sets $root
  case $1 in
  distri-fuse) "$bin/distri-fuse" mount "$work/store" "$work/ro" && root=$work/ro/$package ;;
  squashfuse_ll) squashfuse_ll "$image" "$work/mnt" && root=$work/mnt ;;
  kernel) mount -t squashfs -o loop,ro "$image" "$work/mnt" && root=$work/mnt ;;
  esac
}
unmount_view() { umount "$([ "$1" = distri-fuse ] && echo "$work/ro" || echo "$work/mnt")"; }
drop() { sync && echo 3 >/proc/sys/vm/drop_caches; }
measure() { # FILE COMMAND… → appends seconds
  local file=$1 start=$EPOCHREALTIME
  shift
  "$@" >/dev/null
  awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }' >>"$file"
}
walk() { find "$root/out/many" -printf '%s %m\n'; }
small() { find "$root/out/many" -type f -print0 | xargs -0 cat; }
big() { dd if="$root/out/big" of=/dev/null bs=1M status=none; }

for ((run = 0; run < runs; run++)); do
  for name in distri-fuse squashfuse_ll kernel; do
    drop
    measure "$work/$name.ready" mount_view "$name"
    measure "$work/$name.walk-cold" walk
    measure "$work/$name.walk-warm" walk
    unmount_view "$name" && drop && mount_view "$name"
    measure "$work/$name.small-cold" small
    measure "$work/$name.small-warm" small
    measure "$work/$name.big-cold" big
    measure "$work/$name.big-warm" big
    unmount_view "$name"
  done
done

median() { sort -g "$1" | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'; }
rate() { awk -v n="$1" -v s="$(median "$2")" 'BEGIN { printf "%14.0f", n / s }'; }
printf '%-34s%14s%14s%14s\n' "" distri-fuse squashfuse_ll kernel
row() { # TITLE AMOUNT MEASUREMENT
  printf '%-34s' "$1"
  for name in distri-fuse squashfuse_ll kernel; do rate "$2" "$work/$name.$3"; done
  echo
}
row 'ready, times a second' 1 ready
row 'walk and stat, cold, entries/s' 20201 walk-cold
row 'walk and stat, warm, entries/s' 20201 walk-warm
row 'small files, cold, files/s' 20000 small-cold
row 'small files, warm, files/s' 20000 small-warm
row '256 MiB, cold, MB/s' 268 big-cold
row '256 MiB, warm, MB/s' 268 big-warm
