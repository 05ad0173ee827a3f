"""What the client and the server on grpcio share: the service's types, methods and flags.

The packages of grpcio (grpcio, grpcio-tools) contain no interop programs: gRPC's repository has
some in Python, but they are not published, and they leave out the compression cases. Hence these
programs, written from the published case descriptions.

grpcio shows no program whether a message came compressed. The channel argument that leaves
inflating to the program does: then a compressed message arrives as gzip's bytes, which begin with
1f 8b, and no message of the service begins with 1f (field 3 with a wire type that does not
exist).
"""
import argparse
import gzip
import pathlib
import sys

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "proto"))
empty = grpc.protos("empty.proto")
messages = grpc.protos("messages.proto")

TEST_SERVICE = "grpc.testing.TestService"
INITIAL_KEY = "x-grpc-test-echo-initial"
TRAILING_KEY = "x-grpc-test-echo-trailing-bin"
SEES_COMPRESSION = (("grpc.per_message_decompression", 0),)

# Method: request, response, whether requests and whether responses are streamed.
METHODS = {
    "EmptyCall": (empty.Empty, empty.Empty, False, False),
    "UnaryCall": (messages.SimpleRequest, messages.SimpleResponse, False, False),
    "StreamingInputCall": (messages.StreamingInputCallRequest, messages.StreamingInputCallResponse,
                           True, False),
    "StreamingOutputCall": (messages.StreamingOutputCallRequest,
                            messages.StreamingOutputCallResponse, False, True),
    "FullDuplexCall": (messages.StreamingOutputCallRequest, messages.StreamingOutputCallResponse,
                       True, True),
    "HalfDuplexCall": (messages.StreamingOutputCallRequest, messages.StreamingOutputCallResponse,
                       True, True),
}


def reading(message_type):
    """A deserializer to (message, whether it came compressed), where inflating is left to us."""
    def read(data):
        compressed = data[:2] == b"\x1f\x8b"
        return message_type.FromString(gzip.decompress(data) if compressed else data), compressed
    return read


def zeros(size):
    return messages.Payload(body=bytes(size))


def truth(text):
    """A boolean flag as Go spells it: the bare flag and `=true` are true."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def read_file(path):
    return pathlib.Path(path).read_bytes()
