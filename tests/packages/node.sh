#!/usr/bin/env bash
# Installs the npm package in an empty folder, with npm alone, and runs the example of its README.
#
#   tests/packages/node.sh PACKAGE.tgz FOLDER
#
# LEVER_HOST is the address of a host. FOLDER must be empty or not there. Needs node and npm on PATH, and
# nothing of this checkout: the two arguments may be all that there is of it. Reaches no registry.
set -euo pipefail

[ $# = 2 ] || { echo 'usage: node.sh PACKAGE.tgz FOLDER' >&2; exit 2; }
package=$(realpath "$1")
mkdir -p "$2"
cd "$2"
[ -z "$(ls -A)" ] || { echo "node.sh: $2 is not empty" >&2; exit 2; }
: "${LEVER_HOST:?the address of a host}"
export LEVER_HOST

fail() { printf 'node.sh: %s\n' "$*" >&2; exit 1; }

echo '{"name": "user", "private": true}' >package.json
npm install --offline --no-audit --no-fund --no-update-notifier --cache "$PWD/.npm" "$package"
[ ! -e node_modules/lever/native/built ] || fail 'the prebuilt binary was not used'

# The README's example: what is between the line that names it and the end of its block, and what it says
# that comes out.
readme=node_modules/lever/README.md
sed -n '/^\/\/ quickstart\.js$/,/^```$/p' "$readme" | sed '$d' >quickstart.js
[ -s quickstart.js ] || fail 'the README has no quickstart.js'
sed -n '/^\$ node quickstart\.js$/,/^```$/p' "$readme" | sed '1d;$d' >wanted
node quickstart.js | tee got
diff wanted got || fail 'the example of the README gives something else'

# The same as an ES module.
sed "s/^const lever = require('lever');.*/import lever from 'lever';/" quickstart.js >quickstart.mjs
node quickstart.mjs | diff wanted - || fail 'the example as an ES module gives something else'
echo 'the npm package installs, and its example runs'
