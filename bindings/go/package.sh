#!/usr/bin/env bash
# Writes the Go module as programs use it, with what cgo links, to DIR/lever-go:
#
#   bindings/go/package.sh DIR
#
# What is there already is replaced. LEVER_BUILD_DIR is a build of this checkout, build/release by default.
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: bindings/go/package.sh DIR" >&2; exit 2; }
mkdir -p "$1"
to=$(cd "$1" && pwd)/lever-go
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${LEVER_BUILD_DIR:-build/release}

[ -f "$build/build.ninja" ] || { echo "package.sh: there is no build in $build: cmake --preset release" >&2; exit 1; }
cmake --build "$build" --target lever-go-module >&2
rm -rf "$to"
mkdir "$to"
cp -R "$build/runtime/go/lever/." "$to"
find "$to" -name '*_test.go' -delete
echo "$to"
