#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# initramfs.sh BIN [RUNS]: an initramfs by distri-mkimage beside those by Debian's mkinitramfs and dracut, of the same kernel, in turns, all warm.
# All three are for any machine (MODULES=most, --no-hostonly) and compressed by zstd. The peers conflict with each other: both are unpacked, not
# installed, and lie over /usr and /etc of a mount namespace of this script. Needs root, Debian 12, apt-get with its lists, mksquashfs.
set -euo pipefail
bin=$(realpath "$1")
runs=${2:-5}
if [[ -z ${DISTRI_INITRAMFS_NAMESPACE:-} ]]; then
  DISTRI_INITRAMFS_NAMESPACE=1 exec unshare --mount --propagation private "$0" "$@"
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/distri-initramfs.XXXXXX")
trap 'cd /; umount -l "$work/upper" 2>/dev/null || true; rm -rf "$work" 2>/dev/null || true' EXIT
mkdir -p "$work"/{debs,upper,store,kernel/out,peers}

cd "$work/debs"
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p' | head -n 1)
apt-get download -qq "$kernel" initramfs-tools initramfs-tools-core klibc-utils libklibc linux-base dracut dracut-core udev busybox 2>/dev/null
version=${kernel#linux-image-}
for deb in *.deb; do
  case $deb in
    linux-image-*) dpkg -x "$deb" "$work/kernel/out" ;;
    *) dpkg -x "$deb" "$work/peers" ;;
  esac
done
mksquashfs "$work/kernel" "$work/store/linux-image-amd64-1-1.squashfs" -all-root -quiet -no-progress -noI -noD -noF -noX
echo 'version: "1-1"' >"$work/store/linux-image-amd64-1-1.meta.textproto"

# What Debian has in /lib and /bin is in /usr here.
for name in lib bin sbin; do
  if [[ -d $work/peers/$name ]]; then
    mkdir -p "$work/peers/usr/$name"
    cp -a "$work/peers/$name/." "$work/peers/usr/$name"
  fi
done
mkdir -p "$work/peers/usr/lib/modules" "$work/peers/etc"
cp -a "$work/kernel/out/lib/modules/$version" "$work/peers/usr/lib/modules/"
mount -t tmpfs tmpfs "$work/upper"
for name in usr etc; do
  mkdir -p "$work/upper/$name" "$work/upper/$name.work"
  mount -t overlay overlay -o "lowerdir=$work/peers/$name:/$name,upperdir=$work/upper/$name,workdir=$work/upper/$name.work" "/$name"
done
mount -t tmpfs tmpfs /boot
cp "$work/kernel/out/boot/"* /boot
depmod "$version"

TIMEFORMAT='%3R %3U %3S'
measure() { # NAME COMMAND…: adds a line to the file of the name: seconds, processor seconds
  local name=$1
  shift
  rm -f "$work/image.$name"
  { time "$@" >"$work/words.$name" 2>&1; } 2>>"$work/$name" || {
    cat "$work/words.$name" >&2
    exit 1
  }
}
for ((run = -1; run < runs; run++)); do
  # The first time fills the page cache.
  if ((run == 0)); then rm "$work"/{mkinitramfs,dracut,distri-mkimage}; fi
  measure mkinitramfs mkinitramfs -o "$work/image.mkinitramfs" "$version"
  measure dracut dracut --force --no-hostonly --zstd --kver "$version" "$work/image.dracut"
  measure distri-mkimage "$bin/distri-mkimage" initramfs --store "$work/store" -o "$work/image.distri-mkimage"
done

# median NAME AWK-EXPRESSION
median() { awk "{ print $2 }" "$work/$1" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
echo "$kernel, $(nproc) processors, $runs runs"
echo
echo '| program | seconds, median | processor seconds | MB | time |'
echo '|---|---|---|---|---|'
for name in mkinitramfs dracut distri-mkimage; do
  awk -v name="$name" -v median="$(median "$name" '$1')" -v busy="$(median "$name" '$2 + $3')" -v ours="$(median distri-mkimage '$1')" \
    -v bytes="$(stat -c %s "$work/image.$name")" \
    'BEGIN { printf "| %s | %.2f | %.2f | %.1f | %.1f× |\n", name, median, busy, bytes / 1e6, median / ours }'
done
