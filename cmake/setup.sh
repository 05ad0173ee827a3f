#!/usr/bin/env bash
# Installs what building and testing Lever needs, and says what it installs.
#
#   cmake/setup.sh build    what quickstart.sh needs: compiler, libraries, the Node package's own needs
#   cmake/setup.sh test     that, and what the tests need beside it
#   cmake/setup.sh long     that, and what `tests/run.sh --long` needs (sanitizers, fuzzers)
#
# For Debian 12 with Node 20, Python 3.11 and (for the tests) Go 1.26 on PATH. Safe to run again: what
# is there stays as it is. Everything that is not a Debian package goes below .deps/ in the checkout.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

stage=${1:-build}
case "$stage" in build | test | long) ;; *) echo "usage: cmake/setup.sh build|test|long" >&2; exit 2 ;; esac

say() { printf '[setup] %s\n' "$*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

build_packages=(
  ca-certificates curl gcc g++ cmake ninja-build make pkg-config ccache
  libnghttp2-dev libssl-dev libboost1.81-dev libprotozero-dev libxxhash-dev
  libsodium-dev libsqlite3-dev libarchive-dev nlohmann-json3-dev libcli11-dev libspdlog-dev
  libprotobuf-dev protobuf-compiler
)
test_packages=(libgtest-dev libgmock-dev librapidcheck-dev procps iproute2 strace git)
long_packages=(clang-16 libclang-rt-16-dev valgrind)

wanted=("${build_packages[@]}")
[ "$stage" = build ] || wanted+=("${test_packages[@]}")
[ "$stage" != long ] || wanted+=("${long_packages[@]}")

installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q '^install ok installed$'; }
updated=
update_lists() {
  [ -n "$updated" ] || { as_root apt-get update -qq; updated=1; }
}

missing=()
for package in "${wanted[@]}"; do
  # A compiler or build tool that is on PATH without being a package serves as well.
  case "$package" in
    gcc | g++ | cmake | make | git | curl | ccache | strace) command -v "$package" >/dev/null && continue ;;
    ninja-build) command -v ninja >/dev/null && continue ;;
  esac
  installed "$package" || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  say "installing Debian packages: ${missing[*]}"
  update_lists
  DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" >/dev/null
fi

# Header-only, but its Debian package wants another Boost than 1.81: it is unpacked, not installed.
if [ ! -f .deps/msgpack-cxx/usr/include/msgpack.hpp ]; then
  say "unpacking Debian's libmsgpack-cxx-dev below .deps/"
  update_lists
  mkdir -p .deps/debs
  (cd .deps/debs && apt-get download -qq libmsgpack-cxx-dev)
  dpkg -x .deps/debs/libmsgpack-cxx-dev_*.deb .deps/msgpack-cxx
fi

for tool in node npm python3; do
  command -v "$tool" >/dev/null || { say "needs $tool on PATH (Node 20, Python 3.11)" >&2; exit 1; }
done

if [ "$stage" != build ]; then
  command -v go >/dev/null || { say "the tests need go on PATH (1.26)" >&2; exit 1; }
  # Peers that know nothing of Lever, for the interoperability tests.
  if [ ! -x .deps/venv/bin/python ] || ! .deps/venv/bin/python -c 'import grpc_tools' 2>/dev/null; then
    say "installing Python packages below .deps/venv: grpcio grpcio-tools"
    python3 -m venv .deps/venv
    .deps/venv/bin/pip install -q --disable-pip-version-check grpcio grpcio-tools
  fi
  if [ ! -x .deps/bin/grpcurl ]; then
    say "building the Go program grpcurl below .deps/bin"
    GOBIN=$PWD/.deps/bin go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3
  fi
fi
say "done ($stage)"
