#!/usr/bin/env bash
# Makes the npm package: lever-VERSION.tgz, with a prebuilt binary for the machine that this runs on.
#
#   bindings/node/package.sh [FOLDER]      where the package is put; build/release/packages by default
#
# Needs what `cmake/setup.sh build` installs. The package's path is the last line of standard output.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

[ $# -le 1 ] || { echo 'usage: bindings/node/package.sh [FOLDER]' >&2; exit 2; }
out=${1:-build/release/packages}
mkdir -p "$out"
out=$(realpath "$out")
build=build/release

[ -f $build/build.ninja ] || cmake --preset release >&2
cmake --build --preset release --target lever-node-package >&2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r $build/runtime/node/node_modules/lever "$work/lever"
# What gdb would read is most of their size.
find "$work/lever/native" -type f -exec strip --strip-unneeded {} +
name=$(cd "$work/lever" && npm pack --silent --pack-destination "$out")
printf '%s/%s\n' "$out" "$name"
