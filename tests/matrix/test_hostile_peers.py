"""Peers that know nothing of Lever's libraries, and send values that no library would send.

A service of each language gets them from a plain gRPC client, straight and through the host; a client of
each language gets them from a plain gRPC server as answers, messages and errors. What is sent is refused as
INVALID_ARGUMENT, what is answered is the peer's fault, and INTERNAL; the program goes on.
"""
import concurrent.futures
import json
import os
import subprocess

import admin_api
import grpc
import msgpack
import pytest
from languages import LANGUAGES
from lever_testing import resident_bytes
from raw_calls import call_error

HOSTILE = {
    "array of 2^32 - 1 claimed": b"\xdd\xff\xff\xff\xff",
    "map of 2^32 - 1 claimed": b"\xdf\xff\xff\xff\xff",
    "bytes of 2^32 - 1 claimed": b"\xc6\xff\xff\xff\xff",
    "text of 2^32 - 1 claimed": b"\xdb\xff\xff\xff\xff",
    "extension of 2^32 - 1 claimed": b"\xc9\xff\xff\xff\xff\x01",
    "70,000 arrays nested": b"\x91" * 70_000 + b"\xc0",
    "70,000 maps nested": b"\x81\xa1d" * 70_000 + b"\xc0",
    "129 arrays nested": b"\x91" * 129 + b"\xc0",
    "no value at all": b"",
    "a byte that means nothing": b"\xc1",
    "a text that is no UTF-8": b"\xa2\xff\xfe",
    "a value and a byte behind it": b"\xc0\xc0",
    "a value cut short": b"\x93\x01\x02",
}
GROWTH_BYTES_MAX = 64 << 20


class Peer:
    """A plain gRPC client of lever.v1.Lever."""

    def __init__(self, address):
        self.messages, stubs = admin_api.modules("lever")
        self.channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        self.stub = stubs.LeverStub(self.channel)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def invoke(self, url, value):
        try:
            return self.stub.Invoke(self.messages.Message(value=value), timeout=20,
                                    metadata=(("lever-url", url),))
        except grpc.RpcError as error:
            raise call_error(error) from None

    def stream(self, url, arguments, value):
        def requests():
            yield self.messages.Message(value=arguments)
            yield self.messages.Message(value=value)
        try:
            return list(self.stub.Stream(requests(), timeout=20, metadata=(("lever-url", url),)))
        except grpc.RpcError as error:
            raise call_error(error) from None


@pytest.mark.parametrize("through", ["tcp", "host"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_service_refuses_hostile_values_and_goes_on(matrix, language, through):
    service = matrix.services[language]
    address = service.address if through == "tcp" else matrix.host.address
    before = resident_bytes(service.process.pid)
    with Peer(address) as peer:
        for name, value in HOSTILE.items():
            # As the arguments, and as one of them.
            for arguments in (value, b"\x91" + value):
                with pytest.raises(Exception) as refused:
                    peer.invoke(f"/{service.name}/echo", arguments)
                assert refused.value.code == "INVALID_ARGUMENT", name
                assert refused.value.executed == "no", name
            with pytest.raises(Exception) as refused:
                peer.stream(f"/{service.name}/echoChan", msgpack.packb(["hi"]), value)
            assert refused.value.code == "INVALID_ARGUMENT", name
        answer = peer.invoke(f"/{service.name}/echo", msgpack.packb(["still here"]))
    assert msgpack.unpackb(answer.value) == "still here"
    assert service.process.poll() is None
    assert resident_bytes(service.process.pid) - before < GROWTH_BYTES_MAX


class HostileService:
    """A plain gRPC server that answers each call with what the name of the method says."""

    def __init__(self):
        self.messages, stubs = admin_api.modules("lever")

        class Servicer(stubs.LeverServicer):
            def Invoke(_, request, context):
                return self.answer(context)

            def Stream(_, requests, context):
                yield self.answer(context)

        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        stubs.add_LeverServicer_to_server(Servicer(), self.server)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def answer(self, context):
        url = dict(context.invocation_metadata())["lever-url"]
        number, _, kind = url.rpartition("/")[2].removeprefix("m").partition("_")
        value = list(HOSTILE.values())[int(number)]
        return self.messages.Message(**{"error_value" if kind.startswith("error") else "value": value})


@pytest.fixture(scope="module")
def hostile_service():
    service = HostileService()
    yield service
    service.server.stop(None)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_client_refuses_hostile_answers_and_goes_on(hostile_service, language):
    command, variables = LANGUAGES[language]("hostile_client")
    methods = [f"m{number}_{kind}" for number in range(len(HOSTILE))
               for kind in ("value", "error", "valueChan", "errorChan")]
    done = subprocess.run([*command, *[f"/hostile/{method}" for method in methods]],
                          capture_output=True, text=True, timeout=60,
                          env={**os.environ, "LEVER_HOST": hostile_service.address, **variables})
    assert done.returncode == 0, done.stderr
    codes = dict(json.loads(line) for line in done.stdout.splitlines())
    wrong = {method: codes.get(f"/hostile/{method}") for method in methods
             if codes.get(f"/hostile/{method}") != "INTERNAL"}
    assert not wrong
