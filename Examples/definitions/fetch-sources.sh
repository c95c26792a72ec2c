#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# fetch-sources.sh DIR [PACKAGE…]: brings the archives of the definitions beside this script (or in $DEFINITIONS) into DIR, all or those of the packages named:
# from the source packages of this machine's Debian, whose signatures apt checks, and, for Python modules, by pip. Nothing of the
# machine's own configuration is changed. What is there stays. An archive is wanted by its SHA-256; whatever else comes is not kept.
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: $0 DIR [PACKAGE…]" >&2; exit 64; }
here=${DEFINITIONS:-$(dirname "$(realpath "$0")")}
mkdir -p "$1"
cache=$(realpath "$1")
shift

# Definitions whose source package has another name in Debian.
declare -A debian=(
  [go-github.com-russross-blackfriday-v2]=golang-blackfriday-v2 [go-md2man]=go-md2man-v2 [lzo]=lzo2 [make]=make-dfsg [mpc]=mpclib3
  [mpfr]=mpfr4 [ninja]=ninja-build [perl-Clone]=libclone-perl [perl-XML-Parser]=libxml-parser-perl
  [perl-YAML]=libyaml-perl [pkg-config]=pkgconf [python3]=python3.11 [sqlite]=sqlite3 [tcl]=tcl8.6 [xz]=xz-utils [zstd]=libzstd
)

field() { sed -n "s/^$2: \"\([^\"]*\)\".*/\1/p" "$here/$1/build.textproto" | head -n 1; } # PACKAGE FIELD

if [ $# = 0 ]; then
  for file in "$here"/*/build.textproto; do set -- "$@" "$(basename "$(dirname "$file")")"; done
fi
sums=$(cd "$cache" && find . -maxdepth 1 -type f ! -name '.*' -exec sha256sum {} +)
wanted=()
for package; do
  [ -e "$here/$package/build.textproto" ] || { echo "$0: there is no definition $package" >&2; exit 66; }
  case $(field "$package" source) in empty://* | distri* | '') continue ;; esac
  case $sums in *"$(field "$package" hash)"*) ;; *) wanted+=("$package") ;; esac
done
[ ${#wanted[@]} -gt 0 ] || { echo "all archives are in $cache" >&2; exit 0; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/parts" "$work/lists/partial" "$work/cache/archives/partial" "$work/new"
for file in /etc/apt/sources.list.d/*.sources; do
  [ -e "$file" ] && sed 's/^Types:.*/Types: deb-src/' "$file" >"$work/parts/$(basename "$file")"
done
if [ -e /etc/apt/sources.list ]; then
  sed -n 's/^deb\(-src\)\{0,1\}[[:space:]]/deb-src /p' /etc/apt/sources.list >"$work/parts/sources.list"
fi
options=(-q -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/parts" -o "Dir::State::lists=$work/lists"
  -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none)
has_lists=

keep() { # PACKAGE: takes what has come into the cache, if it is what the definition wants
  local hash file name
  hash=$(field "$1" hash)
  for file in "$work"/new/*; do
    [ -f "$file" ] && [ "$(sha256sum "$file" | cut -d' ' -f1)" = "$hash" ] || continue
    name=$(basename "$file")
    cp "$file" "$cache/.$name" && mv "$cache/.$name" "$cache/$name"
    return 0
  done
  return 1
}

from_debian() { # PACKAGE: of the newest version, else of older ones: a mirror may lack one, and security updates keep the archive
  local source=${debian[$1]:-$1} version
  if [ -z "$has_lists" ]; then
    apt-get "${options[@]}" update >&2
    has_lists=1
  fi
  for version in $(apt-cache "${options[@]}" showsrc "$source" | sed -n 's/^Version: //p' | sort -Vru); do
    rm -rf "$work/new" && mkdir "$work/new"
    # A part may be missing as long as the archive is there: what counts is its sum.
    (cd "$work/new" && apt-get "${options[@]}" source --download-only "$source=$version") >&2 || true
    if keep "$1"; then return 0; fi
  done
  return 1
}

from_pip() { # PACKAGE: the definition python3-NAME is NAME's
  local version
  version=$(field "$1" version)
  rm -rf "$work/new" && mkdir "$work/new"
  python3 -m pip download --quiet --no-binary :all: --no-deps --dest "$work/new" "${1#python3-}==${version%-*}" >&2 && keep "$1"
}

failed=()
for package in "${wanted[@]}"; do
  case $package in
  python3-*) from_pip "$package" || failed+=("$package") ;;
  *) from_debian "$package" || failed+=("$package") ;;
  esac
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "$0: nothing with the SHA-256 of the definition was found for: ${failed[*]}" >&2
  exit 69
fi
