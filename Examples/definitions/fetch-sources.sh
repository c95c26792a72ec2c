#!/bin/sh
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# fetch-sources.sh DIR [PACKAGE…]: brings the upstream archives of the definitions beside this script into DIR, from the source packages of
# this machine's Debian, whose signatures apt checks. Nothing of the machine's own apt configuration is changed. What is there stays.
set -eu
[ $# -ge 1 ] || { echo "usage: $0 DIR [PACKAGE…]" >&2; exit 64; }
mkdir -p "$1"
cache=$(realpath "$1")
shift
[ $# -gt 0 ] || set -- hello zlib ncurses file nano

missing=
for package; do
  ls "$cache/${package}"_*.orig.tar.* >/dev/null 2>&1 || missing="$missing $package"
done
[ -n "$missing" ] || { echo "all archives are in $cache" >&2; exit 0; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/parts" "$work/lists/partial" "$work/cache/archives/partial" "$work/debs"
for file in /etc/apt/sources.list.d/*.sources; do
  [ -e "$file" ] && sed 's/^Types:.*/Types: deb-src/' "$file" >"$work/parts/$(basename "$file")"
done
if [ -e /etc/apt/sources.list ]; then
  sed -n 's/^deb\(-src\)\{0,1\}[[:space:]]/deb-src /p' /etc/apt/sources.list >"$work/parts/sources.list"
fi
apt="apt-get -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$work/parts -o Dir::State::lists=$work/lists
  -o Dir::Cache=$work/cache -o APT::Sandbox::User=root -o Acquire::Languages=none"
$apt update >&2
cd "$work/debs"
# shellcheck disable=SC2086 # both are lists of words
$apt source --download-only $missing >&2
for archive in *.orig.tar.*; do
  case $archive in *.asc) ;; *) mv "$archive" "$cache/" ;; esac
done
