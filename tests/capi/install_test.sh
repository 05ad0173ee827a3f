#!/usr/bin/env bash
# What `cmake --install` lays down is enough to build with: by pkg-config, and by find_package(lever),
# also after the installation was moved.
#
#   install_test.sh BUILD_DIRECTORY SOURCE_DIRECTORY MSGPACK_INCLUDE
set -euo pipefail
build=$1
source=$2
msgpack=$3

directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cmake --install "$build" --prefix "$directory/first" >/dev/null
mv "$directory/first" "$directory/moved"
prefix=$directory/moved
pc=$(find "$prefix" -name lever.pc)
lib=$(dirname "$(dirname "$pc")")

export PKG_CONFIG_PATH=$(dirname "$pc")
[ "$(pkg-config --modversion lever)" = "$(sed -n 's/^project(lever VERSION \([0-9.]*\).*/\1/p' "$source/CMakeLists.txt")" ]
# shellcheck disable=SC2046
cc -o "$directory/c_test" "$source/tests/capi/c_test.c" $(pkg-config --cflags --libs lever)
LD_LIBRARY_PATH=$lib "$directory/c_test"

cmake -S "$source/examples/counter-cpp" -B "$directory/counter" -DCMAKE_PREFIX_PATH="$prefix" \
  -DLEVER_MSGPACK_INCLUDE="$msgpack" >/dev/null
cmake --build "$directory/counter" >/dev/null
# The bundle has the library beside the program.
needed=$(env -u LD_LIBRARY_PATH ldd "$directory/counter/bundle/serve")
[[ $needed == *"$directory/counter/bundle/liblever.so.0"* ]]
if "$directory/counter/bundle/serve" nonsense 2>/dev/null; then exit 1; else [ $? = 2 ]; fi
echo "pkg-config and find_package build and run"
