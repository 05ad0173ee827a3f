#!/usr/bin/env bash
# From a clean clone to the answer of a deployed service:
#
#   installs what building needs, builds, starts a host of its own, deploys examples/hello, calls it,
#   streams from it, and ends the host again.
#
# For Debian 12 with Node 20, Python 3.11 and Go on PATH. Root is needed, by sudo, for apt-get alone. What
# stays behind is the build (build/release) and what was installed; the host's data is removed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=build/release
work=
host_pid=

step() { printf '\n== %s\n' "$*"; }
run() {
  local word
  printf '$'
  for word in "$@"; do
    case $word in *[!A-Za-z0-9_./:=-]*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac
  done
  printf '\n'
  "$@"
}
fail() {
  printf 'quickstart: %s\n' "$*" >&2
  if [ -s "$work/log" ]; then
    echo 'quickstart: the host said:' >&2
    tail -n 30 "$work/log" >&2
  fi
  exit 1
}
clean_up() {
  if [ -n "$host_pid" ]; then
    kill "$host_pid" 2>/dev/null || true
    wait "$host_pid" 2>/dev/null || true
  fi
  if [ -n "$work" ]; then rm -rf "$work"; fi
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# Whether a user who owns nothing of it gets to folder $1. A host that root runs gives services users of
# their own, who have to.
open_to_all() {
  local folder
  folder=$(realpath "$1")
  while :; do
    case $(stat -c %a "$folder") in *[1357]) ;; *) return 1 ;; esac
    [ "$folder" != / ] || return 0
    folder=$(dirname "$folder")
  done
}

started=$SECONDS
step 'Installing what building needs (cmake/setup.sh build)'
cmake/setup.sh build

step 'Building the host, the command and the Node package'
# The tests need more than `build` installs; `cmake --preset release` alone turns them on again.
run cmake --preset release -DLEVER_BUILD_TESTS=OFF >/dev/null
run cmake --build --preset release --target leverd lever-spawner lever-cli lever-dev lever-node-package
export PATH="$PWD/$build/bin:$PATH"

step 'Starting a host, on a free port and with its data in a temporary folder'
work=$(mktemp -d)
chmod 755 "$work"
flags=(--listen 127.0.0.1:0 --data-dir "$work/data")
if [ "$(id -u)" = 0 ] && ! open_to_all "$build"; then
  cp -r "$build/runtime" "$work/runtime"
  chmod -R a+rX "$work/runtime"
  flags+=(--runtime-dir "$work/runtime")
fi
printf '$ leverd %s &\n' "${flags[*]}"
leverd "${flags[@]}" >"$work/ready" 2>"$work/log" &
host_pid=$!
for ((tries = 0; ; ++tries)); do
  address=$(sed -n 's/^ready on //p' "$work/ready")
  [ -z "$address" ] || break
  kill -0 "$host_pid" 2>/dev/null || fail 'leverd has ended'
  [ "$tries" -lt 300 ] || fail 'leverd is not ready after 30 s'
  sleep 0.1
done
echo "ready on $address"
run export LEVER_HOST="$address"

step 'Deploying examples/hello, a service in JavaScript'
run lever deploy examples/hello || fail 'the deploy failed'

step 'Calling a method: the host starts the service for it'
run lever invoke /hello/sayHello '"Ann"' | tee "$work/reply" || fail 'the call failed'
[ "$(tail -n 1 "$work/reply")" = '"Hello, Ann!"' ] || fail 'that is not the right reply'

step 'Calling a streaming method: a line of input is a message, a line of output too'
echo "\$ printf '1\\n{\"two\":2}\\n' | lever stream /hello/echoChan '\"hi\"'"
printf '1\n{"two":2}\n' | lever stream /hello/echoChan '"hi"' | tee "$work/reply" ||
  fail 'the stream failed'
[ "$(cat "$work/reply")" = $'"hi"\n1\n{"two":2}' ] || fail 'these are not the right messages'

step 'What runs, and what it printed'
run lever ps
run lever logs hello

step "Done in $((SECONDS - started)) s. The reply of the deployed service was:"
lever invoke /hello/sayHello '"Lever"'
