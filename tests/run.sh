#!/usr/bin/env bash
# Builds everything and runs every test in every language. Ends with `N passed, N failed`.
#
#   tests/run.sh           what every change is checked with
#   tests/run.sh --long    that under the address, undefined and thread sanitizers too, and fuzzing:
#                          LEVER_FUZZ_SECONDS (120) for each target of tests/fuzz; 2,000 histories of each
#                          simulation, 100 upgrades and 30 minutes of faults; and that tests fail without
#                          the checks that they are there for (tests/mutations)
#
# Installs what is missing first (cmake/setup.sh says what).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

long=
case "${1:-}" in
  "") ;;
  --long) long=1 ;;
  *) echo "usage: tests/run.sh [--long]" >&2; exit 2 ;;
esac

# What was compiled in one build folder is not compiled again in another.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1

if [ -n "$long" ]; then cmake/setup.sh long; else cmake/setup.sh test; fi

passed=0
failed=0
failures=()

# count NAME PASSED FAILED
count() {
  passed=$((passed + $2))
  failed=$((failed + $3))
  if [ "$3" -gt 0 ]; then failures+=("$1"); fi
}

# junit NAME REPORT: counts what a report in JUnit's format says. What was skipped or disabled has failed: a
# test that does not run shows nothing. Without a report nothing was run, and that is a failure.
junit() {
  local numbers
  numbers=$(python3 - "$2" <<'PY'
import sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
cases = list(root.iter('testcase'))
bad = sum(1 for case in cases if case.get('status') in ('disabled', 'notrun')
          or any(case.find(kind) is not None for kind in ('failure', 'error', 'skipped')))
print(len(cases) - bad, bad if cases else 1)
PY
) || numbers="0 1"
  # shellcheck disable=SC2086
  count "$1" $numbers
}

# Builds one preset and runs its tests in C, C++ and Node.
run_preset() {
  local preset=$1 report
  printf '\n== C, C++ and Node (%s)\n' "$preset"
  cmake --preset "$preset" >/dev/null
  cmake --build --preset "$preset"
  report=$PWD/build/$preset/ctest.xml
  rm -f "$report"
  ctest --preset "$preset" -j2 --output-junit "$report" || true
  junit "$preset" "$report"
}

# Real hosts, the real command, and peers that know nothing of Lever.
run_e2e() {
  local report=$PWD/build/release/e2e.xml
  printf '\n== end to end\n'
  rm -f "$report"
  (cd tests/e2e/peers/go && go build -o "$OLDPWD/build/release/e2e/grpc-go-client" . &&
    go build -o "$OLDPWD/build/release/e2e/plain-callers" ./callers)
  LEVER_BUILD_DIR=build/release .deps/venv/bin/python -m pytest -q -rA --junitxml="$report" tests/e2e || true
  junit e2e "$report"
}

# Each fuzz target for a while, from its corpus on.
run_fuzz() {
  local report=$PWD/build/fuzz/fuzz.xml
  printf '\n== fuzzing\n'
  cmake --preset fuzz >/dev/null
  cmake --build --preset fuzz
  rm -f "$report"
  python3 tests/fuzz/fuzz.py run --report "$report" || true
  junit fuzz "$report"
}

# gRPC's interoperability suite: Lever against other stacks' programs, in both roles.
run_interop() {
  local report=$PWD/build/release/interop.xml
  printf '\n== interoperability\n'
  rm -f "$report"
  (cd tests/interop/grpc-go && go build -o "$OLDPWD/build/release/interop/grpc-go-gzip" ./gzip)
  LEVER_BUILD_DIR=build/release .deps/venv/bin/python -m pytest -q --junitxml="$report" tests/interop || true
  junit interop "$report"
}

# Every language calls every language, with every value, in every way.
run_matrix() {
  local report=$PWD/build/release/matrix.xml
  printf '\n== the matrix of languages\n'
  rm -f "$report"
  LEVER_BUILD_DIR=build/release .deps/venv/bin/python -m pytest -q --junitxml="$report" tests/matrix || true
  junit matrix "$report"
}

# The packages, installed where nothing else of Lever is.
run_packages() {
  local report=$PWD/build/release/packages.xml
  printf '\n== packages\n'
  rm -f "$report"
  LEVER_BUILD_DIR=build/release .deps/venv/bin/python -m pytest -q --junitxml="$report" tests/packages || true
  junit packages "$report"
}

# Many more histories than every change is checked with: placement, the controller, and the whole of them.
run_simulations() {
  local program report
  printf '\n== simulations\n'
  for program in policy/policy_shard_simulation_test host/scale/host_scale_shard_random_test \
      host/scale/host_scale_ownership_simulation_test; do
    report=$PWD/build/release/simulation.xml
    rm -f "$report"
    LEVER_SIMULATION_SEEDS=2000 "build/release/tests/$program" --gtest_output="xml:$report" || true
    junit "$program" "$report"
  done
}

# The product with one check taken out at a time, which tests must not pass.
run_mutations() {
  local numbers
  printf '\n== mutations\n'
  numbers=$(tests/mutations/mutations.py | tee /dev/stderr |
    sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p') || true
  # shellcheck disable=SC2086
  count mutations ${numbers:-0 1}
}

started=$SECONDS
if [ -n "$long" ]; then
  export LEVER_UPGRADES=100 LEVER_FAULT_SECONDS=1800
fi
run_preset release
run_e2e
run_interop
run_matrix
run_packages
if [ -n "$long" ]; then
  run_simulations
  run_preset asan
  run_preset tsan
  run_fuzz
  run_mutations
fi

printf '\ntook %d s\n' $((SECONDS - started))
for name in "${failures[@]}"; do printf 'failed: %s\n' "$name"; done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
