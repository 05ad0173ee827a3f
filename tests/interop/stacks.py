"""The stacks of the interoperability matrix: how their programs are started, and what they lack.

A stack is one implementation of gRPC with a `client` and a `server` program. All of them have the
flags of the grpc-go programs:

    server --port=N [--use_tls=true --tls_cert_file=F --tls_key_file=F]
    client --server_host=127.0.0.1 --server_port=N --test_case=NAME
           [--use_tls=true --use_test_ca=true --ca_file=F --server_host_override=foo.test.google.fr]

A server listens on the loopback at least, prints what it likes, and ends by SIGTERM. A client
ends with 0 if the case passed, and else says on standard error in one line what failed.

A client that sets `takes_lists` takes several cases in one run (`--test_case=a,b,c`), all of
which it runs, and prints a line for each on standard output: `case NAME: ok`, or `case NAME:
FAILED why`. That saves the start of the program for each case. Such a client bounds each case in
time by itself (10 s).

What a stack's program cannot do is in `client_lacks` and `server_lacks`: the case and the reason.
Such a cell is not run, not counted as passed, and named in the table that `matrix.py` prints.
"""

import dataclasses
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("LEVER_BUILD_DIR", "build/release")
HERE = pathlib.Path(__file__).resolve().parent
PYTHON = str(ROOT / ".deps" / "venv" / "bin" / "python")
BIN = ROOT / ".deps" / "bin"

# As gRPC's doc/interop-test-descriptions.md describes them.
CASES = [
    "empty_unary", "large_unary", "client_compressed_unary", "server_compressed_unary",
    "client_streaming", "client_compressed_streaming", "server_streaming",
    "server_compressed_streaming", "ping_pong", "empty_stream", "custom_metadata",
    "status_code_and_message", "special_status_message", "unimplemented_method",
    "unimplemented_service", "cancel_after_begin", "cancel_after_first_response",
    "timeout_on_sleeping_server", "rpc_soak",
]
COMPRESSED = [case for case in CASES if "compressed" in case]


@dataclasses.dataclass(frozen=True)
class Stack:
    name: str
    client: list  # the command, to which the flags are appended; empty: it has none
    server: list
    takes_lists: bool = False
    client_lacks: dict = dataclasses.field(default_factory=dict)  # case: reason
    server_lacks: dict = dataclasses.field(default_factory=dict)
    environment: dict = dataclasses.field(default_factory=dict)  # added to that of both programs
    compressed: "Stack | None" = None  # its programs for the compressed cases, where they are others

    def running(self, case):
        """The stack with the programs that this case takes."""
        return self.compressed if self.compressed is not None and case in COMPRESSED else self


def each(cases, reason):
    return {case: reason for case in cases}


LEVER = Stack(
    name="lever",
    client=[str(BUILD / "interop" / "lever-interop-client")],
    server=[str(BUILD / "interop" / "lever-interop-server")],
    takes_lists=True,
)

# The programs of the Go module google.golang.org/grpc, as they are published. They have none of the
# compressed cases, so for these there is one of ours.
GRPC_GO = Stack(
    name="grpc-go",
    client=[str(BIN / "grpc-go-interop-client")],
    server=[str(BIN / "grpc-go-interop-server")],
    compressed=Stack(
        name="grpc-go-gzip",
        client=[str(BUILD / "interop" / "grpc-go-gzip"), "client"],
        server=[str(BUILD / "interop" / "grpc-go-gzip"), "server"],
    ),
)

# Debian's gRPC C++ 1.51. The programs are ours (grpc-cpp/service.h says why), and so are those of the
# two below.
GRPC_CPP = Stack(
    name="grpc-cpp",
    client=[str(BUILD / "interop" / "grpc-cpp-interop-client")],
    server=[str(BUILD / "interop" / "grpc-cpp-interop-server")],
    takes_lists=True,
)

GRPC_JS = Stack(
    name="grpc-js",
    client=["node", str(HERE / "grpc-js" / "client.js")],
    server=["node", str(HERE / "grpc-js" / "server.js")],
    takes_lists=True,
    server_lacks=each([case for case in COMPRESSED if case.startswith("server_")],
                      "a grpc-js server cannot compress what it sends"),
)

GRPCIO = Stack(
    name="grpcio",
    client=[PYTHON, str(HERE / "grpcio" / "client.py")],
    server=[PYTHON, str(HERE / "grpcio" / "server.py")],
    takes_lists=True,
)

# Those that are tried against Lever, each in both roles.
PEERS = [GRPC_GO, GRPC_CPP, GRPC_JS, GRPCIO]
STACKS = [LEVER, *PEERS]
