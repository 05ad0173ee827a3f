#!/usr/bin/env python3
"""A client of Lever on grpcio, without any code of Lever's: what docs/wire.md says, and nothing else.

    client.py --target ADDR --url /hello/sayHello --arg-json '["Ann"]'
    client.py --target ADDR --url /hello/echoChan --arg-json '["hi"]' --stream \
        --message-json 1 --message-json '"two"'

Each message that comes back is one line of JSON on standard output. A method's own error is
{"error_value": ...} or {"error_raw": "<base64>"} on standard error, exit code 1. Any other trouble is
{"code", "name", "message", "executed"}, exit code 3.
"""

import argparse
import base64
import importlib
import json
import pathlib
import sys
import tempfile

import grpc
import msgpack
from grpc_tools import protoc

PROTOS = pathlib.Path(__file__).resolve().parents[4] / "liblever" / "proto"


def lever_proto():
    """The messages and the stubs of lever.proto, made by protoc."""
    with tempfile.TemporaryDirectory(prefix="lever-peer-") as directory:
        code = protoc.main(["protoc", f"-I{PROTOS}", f"--python_out={directory}",
                            f"--grpc_python_out={directory}", str(PROTOS / "lever/v1/lever.proto")])
        if code != 0:
            sys.exit("protoc failed")
        sys.path.insert(0, directory)
        return (importlib.import_module("lever.v1.lever_pb2"),
                importlib.import_module("lever.v1.lever_pb2_grpc"))


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", default="127.0.0.1:8080", help="host:port")
    parser.add_argument("--ca", help="TLS, trusting this file of roots")
    parser.add_argument("--url", required=True, help="/service/method, or with lever://environment")
    parser.add_argument("--arg-json", type=json.loads, default=[], help="the array of arguments")
    parser.add_argument("--resource", help="lever-resource, percent-encoded")
    parser.add_argument("--stream", action="store_true", help="Stream instead of Invoke")
    parser.add_argument("--message-json", type=json.loads, action="append", default=[],
                        help="a message of the stream (may be repeated)")
    parser.add_argument("--timeout", type=float, default=30, help="seconds")
    parser.add_argument("--metadata", action="append", default=[], help="name=value")
    return parser.parse_args()


def open_channel(options):
    if options.ca is None:
        return grpc.insecure_channel(options.target)
    roots = pathlib.Path(options.ca).read_bytes()
    return grpc.secure_channel(options.target, grpc.ssl_channel_credentials(roots))


class MethodError(Exception):
    """The method's own error, as it is printed."""


def plain(value):
    """What JSON has no word for."""
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    return str(value)


def show(message):
    body = message.WhichOneof("body")
    if body == "value":
        print(json.dumps(msgpack.unpackb(message.value, strict_map_key=False), default=plain),
              flush=True)
    elif body == "raw":
        print(json.dumps(plain(message.raw)), flush=True)
    elif body == "error_value":
        raise MethodError({"error_value": msgpack.unpackb(message.error_value,
                                                          strict_map_key=False)})
    elif body == "error_raw":
        raise MethodError({"error_raw": base64.b64encode(message.error_raw).decode()})


def call(options):
    messages, stubs = lever_proto()
    metadata = [("lever-url", options.url)]
    if options.resource:
        metadata.append(("lever-resource", options.resource))
    metadata += [tuple(pair.split("=", 1)) for pair in options.metadata]

    def requests():
        yield messages.Message(value=msgpack.packb(options.arg_json))
        for message in options.message_json:
            yield messages.Message(value=msgpack.packb(message))

    with open_channel(options) as channel:
        lever = stubs.LeverStub(channel)
        if not options.stream:
            show(lever.Invoke(next(requests()), timeout=options.timeout, metadata=metadata))
            return
        failed = None
        for reply in lever.Stream(requests(), timeout=options.timeout, metadata=metadata):
            try:
                show(reply)
            except MethodError as error:
                failed = error  # the last message; the status follows
        if failed:
            raise failed


def main():
    try:
        call(parse())
    except MethodError as error:
        print(json.dumps(error.args[0], default=plain), file=sys.stderr)
        sys.exit(1)
    except grpc.RpcError as error:
        trailers = dict(error.trailing_metadata() or ())
        print(json.dumps({"code": error.code().value[0], "name": error.code().name,
                          "message": error.details(),
                          "executed": trailers.get("lever-executed", "unknown")}), file=sys.stderr)
        sys.exit(3)


if __name__ == "__main__":
    main()
