#!/usr/bin/env bash
# Builds everything and runs every test in every language. Ends with `N passed, N failed`.
#
#   tests/run.sh           what every change is checked with
#   tests/run.sh --long    that under the address, undefined and thread sanitizers too
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

# Builds one preset and runs its C and C++ tests.
run_preset() {
  local preset=$1 report
  printf '\n== C and C++ (%s)\n' "$preset"
  cmake --preset "$preset" >/dev/null
  cmake --build --preset "$preset"
  report=$PWD/build/$preset/ctest.xml
  rm -f "$report"
  ctest --preset "$preset" -j2 --output-junit "$report" || true
  # The report is what counts: without one nothing was run, and that is a failure.
  local numbers
  numbers=$(python3 - "$report" <<'PY'
import sys, xml.etree.ElementTree as tree
suite = tree.parse(sys.argv[1]).getroot()
total, bad = int(suite.get('tests')), int(suite.get('failures')) + int(suite.get('disabled', 0)) + int(suite.get('skipped', 0))
print(total - bad, bad)
PY
) || numbers="0 1"
  # shellcheck disable=SC2086
  count "$preset" $numbers
}

# Runs one script as one test.
run_script() {
  local name=$1
  shift
  printf '\n== %s\n' "$name"
  if "$@"; then count "$name" 1 0; else count "$name" 0 1; fi
}

started=$SECONDS
run_preset release
for script in tests/e2e/*.sh; do
  [ -e "$script" ] || continue
  run_script "$script" "$script" build/release
done
if [ -n "$long" ]; then
  run_preset asan
  run_preset tsan
fi

printf '\ntook %d s\n' $((SECONDS - started))
for name in "${failures[@]}"; do printf 'failed: %s\n' "$name"; done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
