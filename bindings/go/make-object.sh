#!/usr/bin/env bash
# Makes one relocatable object of all that liblever is linked from, whose only global symbols are lever_*:
#
#   make-object.sh OUT CAPI_ARCHIVE ARCHIVE...
#
# CXX, OBJCOPY and NM name the tools. The C++ library's archive is linked in, too, so that what links the
# object needs a C compiler only.
set -euo pipefail

out=$1
capi=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$CXX" -r -nostdlib -o "$work/all.o" -Wl,-d -Wl,-u,__cxa_pure_virtual \
  -Wl,--whole-archive "$capi" -Wl,--no-whole-archive \
  -Wl,--start-group "$@" "$("$CXX" -print-file-name=libstdc++.a)" -Wl,--end-group

# Symbols that are unique in a process cannot be made local: they get a name of ours.
"$NM" --defined-only "$work/all.o" | awk '$2 == "u" { print $3, "lever_unique_" $3 }' | sort -u >"$work/unique"
"$OBJCOPY" --strip-debug --redefine-syms="$work/unique" "$work/all.o" "$work/named.o"
"$OBJCOPY" --wildcard --keep-global-symbol='lever_*' "$work/named.o" "$work/lever.o"

others=$("$NM" --extern-only --defined-only "$work/lever.o" | awk '$3 !~ /^lever_/ { print $3 }')
if [ -n "$others" ]; then
  printf 'make-object.sh: other global symbols than lever_*:\n%s\n' "$others" >&2
  exit 1
fi
mv "$work/lever.o" "$out"
