"""The Go peer's generated code is that of lever.proto as it is."""

import subprocess

from google.protobuf import descriptor_pb2
from grpc_tools import protoc
from lever_testing import BUILD, ROOT


def test_the_go_peer_was_generated_from_this_lever_proto(tmp_path):
    protos = ROOT / "liblever" / "proto"
    assert protoc.main(["protoc", f"-I{protos}", f"--descriptor_set_out={tmp_path / 'set'}",
                        str(protos / "lever" / "v1" / "lever.proto")]) == 0
    files = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "set").read_bytes())
    compiled_in = descriptor_pb2.FileDescriptorProto.FromString(subprocess.run(
        [str(BUILD / "e2e" / "grpc-go-client"), "--print-descriptor"], check=True,
        capture_output=True).stdout)
    assert files.file[0] == compiled_in, "run tests/e2e/peers/go/generate.sh"
