#!/usr/bin/env bash
# Writes leverpb/ anew from liblever/proto/lever/v1/lever.proto. Needs protoc, protoc-gen-go (v1.36.5) and
# protoc-gen-go-grpc (v1.5.1) on PATH.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
module=lever/tests/peers
protoc -I ../../../../liblever/proto \
  --go_out=. --go_opt=module=$module --go_opt=Mlever/v1/lever.proto=$module/leverpb \
  --go-grpc_out=. --go-grpc_opt=module=$module --go-grpc_opt=Mlever/v1/lever.proto=$module/leverpb \
  lever/v1/lever.proto
