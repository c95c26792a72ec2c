#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# table.sh [--check] [--table-only] BIN STORE SOURCES DIR [PACKAGE…]: builds the definitions beside this script, all or those named, in the order
# of the file `order`, runs what the file `checks` has for each, and refreshes STATUS.md. BIN holds the tools, STORE has the bootstrap
# set, SOURCES is what fetch-sources.sh filled. DIR keeps a state file a package: what is there is not built again while its definition is as it
# was, so that a run that was stopped goes on. Rows of packages that were not built here stay as they are.
#
# With --check, each package is built a second time, in another place and with another number of jobs, of exactly the packages that the first
# build saw, and the images are compared. DIR/work may be that of a `distri-build batch`, which has built them already. JOBS sets the jobs of a step (default: one a core).
set -euo pipefail
check= build=1
while :; do
  case ${1:-} in --check) check=1 ;; --table-only) build= ;; *) break ;; esac
  shift
done
[ $# -ge 4 ] || { echo "usage: $0 [--check] [--table-only] BIN STORE SOURCES DIR [PACKAGE…]" >&2; exit 64; }
here=$(dirname "$(realpath "$0")")
bin=$(realpath "$1") store=$(realpath "$2") sources=$(realpath "$3")
mkdir -p "$4/state" "$4/log"
dir=$(realpath "$4")
shift 4
jobs=${JOBS:-$(nproc)}
export LC_ALL=C.UTF-8
cd "$dir"

field() { sed -n "s/^$2: \"\([^\"]*\)\".*/\1/p" "$here/$1/build.textproto" | head -n 1; } # PACKAGE FIELD
builder() { # PACKAGE
  local name
  name=$(sed -n 's/^\([a-z]*\)builder: .*/\1/p' "$here/$1/build.textproto" | head -n 1)
  if grep -q '^build_step' "$here/$1/build.textproto"; then echo "${name:-none}, own steps"; else echo "$name"; fi
}
digest() { (cd "$here/$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1); } # PACKAGE
image() { echo "$store/$1-amd64-$(field "$1" version).squashfs"; } # PACKAGE
get() { sed -n "s/^$2	//p" "state/$1" 2>/dev/null || true; } # PACKAGE KEY
put() { # PACKAGE KEY VALUE
  { grep -v "^$2	" "state/$1" 2>/dev/null || true; printf '%s\t%s\n' "$2" "$3"; } >"state/.$1"
  mv "state/.$1" "state/$1"
}

build() { # PACKAGE
  local start=$SECONDS
  if [ "$(get "$1" digest)" = "$(digest "$1")" ] && [ -e "$(image "$1")" ]; then return 0; fi
  if [ -e "$(image "$1")" ] && [ -e "state/$1" ]; then
    echo "$1: the definition is not what $(image "$1") was built of; raise its revision, or remove the image" >&2
    return 1
  fi
  rm -f "state/$1"
  if [ ! -e "$(image "$1")" ]; then
    if ! "$bin/distri-build" build --definitions "$here" --store "$store" --sources "$sources" --work "$dir/work" --jobs "$jobs" "$1" \
      >"log/$1.packages" 2>"log/$1"; then
      echo "$1: failed; see $dir/log/$1" >&2
      put "$1" built no
      put "$1" version "$(field "$1" version)"
      return 1
    fi
    put "$1" seconds $((SECONDS - start))
  elif [ -e work/batch-times ]; then
    # As distri-build batch has noted it.
    put "$1" seconds "$(awk -v name="$1" '$1 == name { printf "%d", $2 / 1000 + 0.5 }' work/batch-times)"
  fi
  put "$1" digest "$(digest "$1")"
  put "$1" version "$(field "$1" version)"
  put "$1" built yes
  put "$1" bytes "$(stat -c %s "$(image "$1")")"
}

run_checks() { # PACKAGE
  local line names packages failed=0 count=0 programs=
  [ -z "$(get "$1" checks)" ] || return 0
  while IFS= read -r line; do
    packages=$1,bash,coreutils
    case ${line%%: *} in *+*) packages+=,$(sed 's/^[^+]*+//' <<<"${line%%: *}") ;; esac
    count=$((count + 1))
    programs+=" $(grep -oE "[a-z0-9][a-z0-9.+-]+" <<<"${line#*: }" | sort -u | tr '\n' ' ')"
    if ! LC_ALL=C timeout 60 "$bin/distri-fuse" run --store "$store" --packages "$packages" -- bash -euo pipefail -c "${line#*: }" \
      </dev/null >>"log/$1.checks" 2>&1; then
      failed=$((failed + 1))
      echo "$1: this failed, see $dir/log/$1.checks: ${line#*: }" >&2
    fi
  done < <(grep -E "^$1(\+[^:]*)?: " "$here/checks")
  if [ "$count" = 0 ]; then put "$1" checks none; return 0; fi
  if [ "$failed" -gt 0 ]; then put "$1" failed "$failed of $count"; return 1; fi
  # Of the words of the checks, those that are programs of the package.
  names=$("$bin/distri-fuse" run --store "$store" --packages "$1,coreutils" -- ls "/ro/$1-amd64-$(field "$1" version)/bin" 2>/dev/null | sort)
  put "$1" checks "$(comm -12 <(tr ' ' '\n' <<<"$programs" | sort -u) - <<<"$names" | paste -sd ' ')"
  [ -n "$(get "$1" checks)" ] || put "$1" checks "library"
}

# Again, of the same packages, elsewhere.
compare() { # PACKAGE
  local package log name same=yes second
  [ -z "$(get "$1" reproducible)" ] || return 0
  log=$dir/work/$1/build-amd64-$(field "$1" version).log
  [ -e "$log" ] || return 0
  rm -rf again-store again && mkdir again-store
  if [ -e work/batch-times ]; then
    # As the batch has built it, which decides by the whole set which of two versions a tool is.
    find "$store" -maxdepth 1 -type f \( -name '*.squashfs' -o -name '*.meta.textproto' \) ! -name "$1-amd64-$(field "$1" version).*" \
      -exec ln -t again-store {} +
    second=("$bin/distri-build" batch "$here" --bootstrap-toolchain --workers 1)
  else
    sed -n '/^with /!{/^build /!q}; s/^with //p' "$log" | while read -r package; do
      ln "$store/$package.squashfs" "$store/$package.meta.textproto" again-store/
    done
    second=("$bin/distri-build" build --definitions "$here")
  fi
  if ! "${second[@]}" --store again-store --sources "$sources" --work again --jobs $((jobs + 1)) "$1" \
    >"log/$1.again.packages" 2>"log/$1.again"; then
    echo "$1: the second build failed; see $dir/log/$1.again" >&2
    return 1
  fi
  while read -r name; do
    for file in "$name.squashfs" "$name.meta.textproto"; do
      cmp "again-store/$file" "$store/$file" >&2 || same=no
    done
  done <"log/$1.again.packages"
  put "$1" reproducible "$same"
  if [ "$same" = no ]; then
    mkdir -p different && cp -f again-store/"$1"-amd64-*.squashfs different/
    echo "$1: two builds differ; the second one's image is in $dir/different" >&2
    return 1
  fi
}

row() { # PACKAGE
  local bytes seconds checks same
  bytes=$(get "$1" bytes) seconds=$(get "$1" seconds) checks=$(get "$1" checks) same=$(get "$1" reproducible)
  [ -z "$bytes" ] || bytes=$(numfmt --to=iec --suffix=B --format=%.1f "$bytes")
  printf '| %s | %s | %s | %s | %s | %s | %s | %s |\n' "$1" "$(field "$1" version)" "$(builder "$1")" "$(get "$1" built)" "${seconds:-–}" \
    "${bytes:-–}" "${checks:-–}" "${same:-–}"
}

refresh() { # STATUS.md: rows of DIR's state, else those that are there for the same version
  local table=$here/STATUS.md old= name
  [ ! -e "$table" ] || old=$(grep '^| [a-z]' "$table" || true)
  {
    cat <<'TXT'
# State of the definitions

`table.sh` writes this: what built here and how long it took, what of it ran afterwards, and whether a second build, made elsewhere and with
another number of jobs, gave the same image. The seconds are those of one busy machine; compare them with each other only.

| name | version | builder | builds | seconds | image | programs that ran | reproducible |
|---|---|---|---|---|---|---|---|
TXT
    for name in $(cd "$here" && ls -d */ | tr -d / | sort); do
      [ -e "$here/$name/build.textproto" ] || continue
      if [ -e "$dir/state/$name" ] && [ "$(get "$name" version)" = "$(field "$name" version)" ]; then
        row "$name"
      else
        grep -F "| $name | $(field "$name" version) |" <<<"$old" || printf '| %s | %s | %s | – | – | – | – | – |\n' "$name" "$(field "$name" version)" "$(builder "$name")"
      fi
    done
  } >"$table.new"
  mv "$table.new" "$table"
}

names() { grep -v '^#' "$here/order"; }
missing=$(comm -23 <(cd "$here" && ls -d */ | tr -d / | sort) <(names | sort))
[ -z "$missing" ] || { echo "$0: not in $here/order: $missing" >&2; exit 65; }

failed=()
for package in $(if [ $# -gt 0 ]; then names | grep -xF "$(printf '%s\n' "$@")"; else names; fi); do
  [ -n "$build" ] || break
  echo "$package" >&2
  if build "$package" && run_checks "$package" && { [ -z "$check" ] || compare "$package"; }; then :; else failed+=("$package"); fi
  refresh
done
refresh
[ ${#failed[@]} = 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
