#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# second-generation.sh BIN STORE SOURCES DIR [PACKAGE…]: builds packages once more, of packages that were built by the definitions beside
# this script. Their builds see nothing that was imported but the compiler with the libraries that it is linked to, the C libraries and the kernel's
# headers (second-generation.import.textproto); shell, tools, assembler, linker and all other libraries are our own.
#
# BIN holds the tools, STORE has the first generation (see table.sh), SOURCES its archives; everything happens below DIR. Prints for each
# build what it saw, own and imported packages apart, and fails if it saw any other imported package. DEBS keeps debs for the next time.
set -euo pipefail
[ $# -ge 4 ] || { echo "usage: $0 BIN STORE SOURCES DIR [PACKAGE…]" >&2; exit 64; }
here=$(dirname "$(realpath "$0")")
bin=$(realpath "$1") store=$(realpath "$2") sources=$(realpath "$3")
mkdir -p "$4"
dir=$(realpath "$4")
shift 4
[ $# -gt 0 ] || set -- zlib ncurses readline bash m4 coreutils sed grep gawk diffutils findutils file hello nano
jobs=${JOBS:-$(nproc)} debs=${DEBS:-$dir/debs}
export LC_ALL=C.UTF-8
cd "$dir"

field() { sed -n "s/^$2: \"\([^\"]*\)\".*/\1/p" "$3/$1/build.textproto" | head -n 1; } # PACKAGE FIELD DEFINITIONS
closure() { sed -n 's/^runtime_dep: "\([^"]*\)"$/\1/p' "$1"; } # META

# What may be imported.
allowed='gcc gcc-libs glibc gmp isl linux mpc mpfr libzstd1 musl zlib'
if [ ! -e imported/.done ]; then
  rm -rf imported && mkdir imported
  "$bin/distri-build" import --store imported --debs "$debs" --definition "$here/second-generation.import.textproto" \
    --lock "$here/second-generation.import.lock" >/dev/null
  touch imported/.done
fi
imported=$(cd imported && for file in *-[0-9]*.squashfs; do echo "${file%.squashfs}"; done)
for package in $imported; do
  case " $allowed " in *" ${package%%-amd64-*} "*) ;; *) echo "$0: $package was imported, but may not be" >&2; exit 65 ;; esac
done

# The first generation: what was built by our definitions and needs nothing else when it runs.
first=
candidates=$(for file in "$here"/*/build.textproto; do
  name=$(basename "$(dirname "$file")")
  package=$name-amd64-$(field "$name" version "$here")
  if [ -e "$store/$package.squashfs" ]; then echo "$package"; fi
done)
for package in $candidates; do
  foreign=$(closure "$store/$package.meta.textproto" | grep -vxF "$candidates
$imported" || true)
  if [ -n "$foreign" ]; then
    echo "not used: $package needs $(paste -sd ' ' <<<"$foreign")"
  else
    first+="$package
"
  fi
done

rm -rf store definitions && mkdir -p store definitions second
for package in $imported; do cp -al "imported/$package.squashfs" "imported/$package.meta.textproto" store/; done
# Hard links where the file system lets them, else copies.
for package in $first; do cp -al "$store/$package.squashfs" "$store/$package.meta.textproto" store/ 2>/dev/null || cp "$store/$package.squashfs" "$store/$package.meta.textproto" store/; done

failed=()
for name; do
  rm -rf "definitions/$name" && cp -r "$here/$name" "definitions/$name"
  version=$(field "$name" version "$here")
  next=${version%-*}-$((${version##*-} + 1))
  sed -i "s/^version: \"$version\"/version: \"$next\"/" "definitions/$name/build.textproto"
  package=$name-amd64-$next start=$SECONDS
  echo "== $package"
  # Kept when the run is repeated.
  if [ ! -e "second/$package.squashfs" ]; then
    if ! "$bin/distri-build" build --definitions definitions --store store --sources "$sources" --work work --jobs "$jobs" "$name" \
      >"$name.packages" 2>"$name.log"; then
      echo "failed, see $dir/$name.log"
      failed+=("$name")
      continue
    fi
    # Out of the store again: each build sees the first generation only.
    mv "store/$package.squashfs" "store/$package.meta.textproto" second/
    rm -f "store/$name-amd64.meta.textproto"
    echo "built in $((SECONDS - start)) s"
  fi
  seen=$(sed -n '/^with /!{/^build /!q}; s/^with //p' "work/$name/build-amd64-$next.log")
  own=$(grep -xF "$first" <<<"$seen" | sort || true)
  other=$(grep -vxF "$first" <<<"$seen" | sort || true)
  foreign=$(grep -vxF "$imported" <<<"$other" || true)
  echo "saw of ours:  $(paste -sd ' ' <<<"$own")"
  echo "saw imported: $(paste -sd ' ' <<<"$other")"
  echo "needs:        $(closure "second/$package.meta.textproto" | paste -sd ' ')"
  if [ -n "$foreign" ]; then
    echo "this may not be in sight: $foreign"
    failed+=("$name")
  fi
done

# What was built runs, on a store that has the imported ones, the first and the second generation.
cp -al second/. store/
for name; do
  version=$(field "$name" version "definitions")
  [ -e "second/$name-amd64-$version.squashfs" ] || continue
  while IFS= read -r line; do
    packages=$name,bash,coreutils
    case ${line%%: *} in *+*) packages+=,$(sed 's/^[^+]*+//' <<<"${line%%: *}") ;; esac
    # Imported with gcc elsewhere; here the assembler is ours.
    case ,$packages, in *,gcc,*) packages+=,binutils ;; esac
    if ! LC_ALL=C timeout 60 "$bin/distri-fuse" run --store store --packages "$packages" -- bash -euo pipefail -c "${line#*: }" </dev/null >"$name.checks" 2>&1; then
      echo "$name: this failed: ${line#*: }"
      sed 's/^/  /' "$name.checks"
      failed+=("$name")
    fi
  done < <(grep -E "^$name(\+[^:]*)?: " "$here/checks")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
echo "all $# built of our own packages"
