#!/usr/bin/env bash
# Writes the API's pages, made by pdoc from the docstrings of the built package, to build/docs/python.
#
#   bindings/python/docs.sh [BUILD]     BUILD: build/release by default
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

[ $# -le 1 ] || { echo "usage: bindings/python/docs.sh [BUILD]" >&2; exit 2; }
package=${1:-build/release}/runtime/python
[ -f "$package/lever/__init__.py" ] || { echo "$package has no package: build lever-python-package" >&2; exit 1; }
tools=.deps/pdoc
if [ ! -x $tools/bin/pdoc ]; then
  python3 -m venv $tools
  $tools/bin/pip install -q --disable-pip-version-check pdoc
fi
PYTHONPATH=$package $tools/bin/pdoc --docformat markdown -o build/docs/python lever lever.testing
echo build/docs/python/index.html
