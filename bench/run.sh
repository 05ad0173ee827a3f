#!/usr/bin/env bash
# The bench of the whole: Lever beside its peers, one table and one JSON file.
#
#   bench/run.sh [--quick] [--only PATTERN] [--json FILE] [--list]
#
#   --quick         one repetition, at most 3 s a row and peer
#   --only PATTERN  rows by name, with * and ?, several with commas between: 'unary.*,relay.cpu'
#   --json FILE     the rows as JSON too
#   --list          names the rows and their peers
#
# Installs what is missing (cmake/setup.sh bench says what), builds Lever's release and the peers, and runs
# bench/bench.py. bench/README.md tells what each row is.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Relative names in the arguments are those of the caller's folder.
run() { exec python3 "$root/bench/bench.py" "$@"; }
for argument in "$@"; do
  case "$argument" in --list | -h | --help) run "$@" ;; esac
done
(
  cd "$root"
  cmake/setup.sh bench
  echo "[bench] building Lever's release, the programs of the bench, and the peers"
  cmake --preset release >/dev/null
  cmake --build --preset release --target \
    leverd lever-cli lever-spawner lever-node-package lever-python-package lever-go-module \
    bench_programs e2e_owned e2e_callers >build/release/bench-build.log ||
    { tail -40 build/release/bench-build.log >&2; exit 1; }
  (cd bench/lever/go && go build -o "$root/build/release/bench/lever-go/" ./...)
  (cd bench/peers/grpc-go && go build -o "$root/build/release/bench/grpc-go" .)
) >&2
run "$@"
