"""The host's admin API as any gRPC program sees it: grpcio, with classes made from the .proto files."""

import atexit
import functools
import importlib
import pathlib
import shutil
import sys
import tempfile

import grpc
import grpc_tools
from grpc_tools import protoc

PROTOS = pathlib.Path(__file__).resolve().parents[2] / "liblever" / "proto"


@functools.cache
def generated():
    """The directory of the generated modules, on sys.path from now on."""
    directory = tempfile.mkdtemp(prefix="lever-proto-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    sources = [str(path) for path in sorted(PROTOS.glob("lever/v1/*.proto"))]
    code = protoc.main(["protoc", f"-I{PROTOS}", f"-I{well_known}", f"--python_out={directory}",
                        f"--grpc_python_out={directory}", *sources])
    assert code == 0, "protoc failed"
    sys.path.insert(0, directory)
    return directory


def modules(name):
    """lever/v1/<name>.proto: its messages, and its stubs."""
    generated()
    return (importlib.import_module(f"lever.v1.{name}_pb2"),
            importlib.import_module(f"lever.v1.{name}_pb2_grpc"))


def details(address):
    messages, stubs = modules("admin")
    with grpc.insecure_channel(address) as channel:
        return stubs.AdminStub(channel).GetHost(messages.GetHostRequest(), timeout=10)
