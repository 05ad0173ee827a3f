#!/usr/bin/env bash
# Installs what building and testing Lever needs, and says what it installs.
#
#   cmake/setup.sh build    what quickstart.sh needs: compiler, libraries, the Node package's own needs
#   cmake/setup.sh test     that, and what the tests need beside it
#   cmake/setup.sh long     that, and what `tests/run.sh --long` needs (sanitizers, fuzzers)
#   cmake/setup.sh bench    what the tests need, and what bench/run.sh needs beside it: the peers
#
# For Debian 12 with Node 20, Python 3.11 and (for the tests) Go 1.26 on PATH. Safe to run again: what
# is there stays as it is. Debian packages are installed by root, or by sudo; everything else goes below
# .deps/ and node_modules/ in the checkout.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

stage=${1:-build}
[ $# -le 1 ] || stage=several
case "$stage" in
  build | test | long | bench) ;;
  *) echo "usage: cmake/setup.sh build|test|long|bench" >&2; exit 2 ;;
esac

say() { printf '[setup] %s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null; }
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif has sudo; then
    sudo "$@"
  else
    fail "needs root for: $*"
  fi
}

has apt-get || fail "this is no Debian: install by hand what cmake/setup.sh lists"
for tool in node npm python3; do
  has "$tool" || fail "needs $tool on PATH (Node 20, Python 3.11)"
done
[ "$stage" = build ] || has go || fail "the tests need go on PATH (1.26)"

build_packages=(
  ca-certificates gcc g++ cmake ninja-build make pkg-config ccache
  libnghttp2-dev zlib1g-dev libssl-dev libboost1.81-dev libprotozero-dev libxxhash-dev
  libre2-dev libsodium-dev libseccomp-dev libsqlite3-dev libarchive-dev nlohmann-json3-dev libcli11-dev
  libprotobuf-dev protobuf-compiler
)
test_packages=(
  curl libgtest-dev libgmock-dev librapidcheck-dev procps iproute2 strace git
  debootstrap bubblewrap
  openssl libgrpc++-dev protobuf-compiler-grpc
)
long_packages=(clang-16 libclang-rt-16-dev valgrind)
# The bench finds nginx and haproxy on PATH or in /usr/sbin, and starts its own of each.
bench_packages=(haproxy nginx-light libbenchmark-dev)

wanted=("${build_packages[@]}")
# Debian's python3 comes without pip, and without the headers that the Python package is compiled with.
python3 -m pip --version >/dev/null 2>&1 || wanted+=(python3-pip)
python3 -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null \
  || wanted+=(python3-dev)
if [ "$stage" != build ]; then
  wanted+=("${test_packages[@]}")
  # Debian's python3 comes without what makes virtual environments.
  python3 -c 'import ensurepip, venv' 2>/dev/null || wanted+=(python3-venv)
  # Services have users of their own, who cannot reach a python3 below /root.
  [ -x /usr/bin/python3 ] || [ -x /usr/local/bin/python3 ] || wanted+=(python3)
fi
[ "$stage" != long ] || wanted+=("${long_packages[@]}")
[ "$stage" != bench ] || wanted+=("${bench_packages[@]}")

missing=()
for package in "${wanted[@]}"; do
  # A compiler or build tool that is on PATH without being a package serves as well.
  case "$package" in
    gcc | g++ | cmake | make | git | curl | ccache | strace) ! has "$package" || continue ;;
    ninja-build) ! has ninja || continue ;;
  esac
  state=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  [ "$state" = 'install ok installed' ] || missing+=("$package")
done
updated=
update_lists() {
  [ -n "$updated" ] || as_root apt-get update -qq
  updated=1
}
if [ ${#missing[@]} -gt 0 ]; then
  say "installing Debian packages: ${missing[*]}"
  update_lists
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "${missing[@]}" >/dev/null
fi

# Header-only, but its Debian package wants another Boost than 1.81: it is unpacked, not installed.
download() {
  # apt would drop root for the download, and could not write to the checkout then.
  (cd .deps/debs && apt-get download -qq -o APT::Sandbox::User="$(id -un)" "$1")
}
if [ ! -f .deps/msgpack-cxx/usr/include/msgpack.hpp ]; then
  say "unpacking Debian's libmsgpack-cxx-dev below .deps/"
  mkdir -p .deps/debs
  download libmsgpack-cxx-dev 2>/dev/null || {
    update_lists
    download libmsgpack-cxx-dev
  }
  dpkg -x .deps/debs/libmsgpack-cxx-dev_*.deb .deps/msgpack-cxx
fi

# What follows is independent of each other, and mostly waits for the network.
# npm_install FOLDER [FLAG...]
npm_install() {
  [ ! "$1/node_modules/.package-lock.json" -nt "$1/package-lock.json" ] || return 0
  say "installing npm packages below $1/node_modules"
  (cd "$1" && shift && npm ci --no-audit --no-fund --no-update-notifier --loglevel=error "$@")
}
# The package's own install script is for who installs it: here its binary is still to be built.
node_packages() { npm_install bindings/node --ignore-scripts; }

# Headers that the Python package is compiled with.
pybind11() {
  [ ! -f .deps/pybind11/pybind11/include/pybind11/pybind11.h ] || return 0
  say "installing the Python package pybind11 below .deps/pybind11"
  python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore \
    --target .deps/pybind11 pybind11
}

# Peers that know nothing of Lever, for the interoperability tests, and what runs those tests.
python_packages() {
  local wanted=(grpcio grpcio-tools h2 msgpack pytest uvloop numpy mypy aiohttp cryptography)
  local modules='grpc, grpc_tools, h2, msgpack, pytest, uvloop, numpy, mypy, aiohttp, cryptography'
  ! .deps/venv/bin/python -c "import $modules" 2>/dev/null || return 0
  say "installing Python packages below .deps/venv: ${wanted[*]}"
  python3 -m venv .deps/venv
  .deps/venv/bin/pip install -q --disable-pip-version-check "${wanted[@]}"
}
grpc_js() { npm_install tests/interop/grpc-js; }
node_neighbours() { npm_install tests/bindings/node/beside; }
bench_peers() { npm_install bench/peers/node; }
go_programs() {
  if [ ! -x .deps/bin/grpcurl ]; then
    say "building the Go program grpcurl below .deps/bin"
    mkdir -p .deps/bin
    GOBIN=$PWD/.deps/bin go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3 2>.deps/go.log || {
      cat .deps/go.log >&2
      return 1
    }
  fi
  grpc_go
  go_modules
}
# What the Go module and its test need, from Go's module proxy.
go_modules() { (cd bindings/go && go mod download) 2>.deps/go.log || { cat .deps/go.log >&2; return 1; }; }
# grpc-go's own interop programs, at the version that go.mod there pins.
grpc_go() {
  local role
  for role in client server; do
    local program=$PWD/.deps/bin/grpc-go-interop-$role
    [ ! -x "$program" ] || [ tests/interop/grpc-go/go.mod -nt "$program" ] || continue
    say "building grpc-go's interop $role below .deps/bin"
    (cd tests/interop/grpc-go && go build -o "$program" "google.golang.org/grpc/interop/$role") \
      2>.deps/go.log || {
      cat .deps/go.log >&2
      return 1
    }
  done
}

steps=(node_packages pybind11)
[ "$stage" = build ] || steps+=(python_packages grpc_js node_neighbours go_programs)
[ "$stage" != bench ] || steps+=(bench_peers)
pids=()
for step in "${steps[@]}"; do
  "$step" &
  pids+=($!)
done
for i in "${!pids[@]}"; do
  wait "${pids[i]}" || fail "failed: ${steps[i]}"
done
say "done ($stage)"
