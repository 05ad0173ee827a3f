"""gRPC's negative cases of HTTP/2 (doc/http2-interop-test-descriptions.md), in both roles: Lever's client
against a server that misbehaves, and a client that misbehaves against Lever's server; each with a host
between them, too."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bad_server import BadServer  # noqa: E402
from interop_testing import Server, run_client  # noqa: E402
from lever_testing import Host  # noqa: E402
from raw_client import RawClient, request  # noqa: E402
from stacks import LEVER  # noqa: E402

CASES = ["goaway", "rst_after_header", "rst_during_data", "rst_after_data", "ping", "max_streams",
         "data_frame_padding", "no_df_padding_sanity_test"]
SERVICE = "grpc.testing.TestService"
# Of h2: CANCEL.
CANCEL = 8


class Way:
    """Straight to a port, or through a host."""

    def __init__(self, how, port):
        self.host = Host("--upstream", f"{SERVICE}=127.0.0.1:{port}") if how == "relayed" else None
        self.direct = port

    def __enter__(self):
        if self.host is None:
            return self.direct
        return int(self.host.__enter__().address.rpartition(":")[2])

    def __exit__(self, *error):
        if self.host is not None:
            self.host.__exit__(*error)


@pytest.mark.parametrize("how", ["plain", "relayed"])
@pytest.mark.parametrize("case", CASES)
def test_client(case, how):
    with BadServer(case) as server:
        with Way(how, server.port) as port:
            (wrong,) = run_client(LEVER, port, [case]).values()
        assert not wrong, wrong
        seen = server.conversations
        assert not [conversation.wrong for conversation in seen if conversation.wrong]
        requests = sum(conversation.requests for conversation in seen)
        if case == "goaway":
            assert [conversation.requests for conversation in seen] == [1, 1]
        elif case == "rst_after_header":
            assert requests <= 1
        elif case == "max_streams":
            assert requests == 11
            assert any(conversation.limited for conversation in seen)
            assert max(conversation.open_most for conversation in seen) == 1
        else:
            assert requests == 1
        if case == "ping":
            assert seen[0].pings_answered == seen[0].pings_sent >= 4


@pytest.fixture(scope="module", params=["plain", "relayed"])
def port(request):
    server = Server(LEVER)
    try:
        with Way(request.param, server.port) as port:
            yield port
    finally:
        server.stop()


@pytest.fixture
def client(port):
    with RawClient(port) as client:
        yield client


@pytest.mark.parametrize("pad_bytes", [None, 0, 255])
def test_server_counts_padding_of_data(client, pad_bytes):
    stream = client.start()
    client.send(stream, request(271_828, 314_159), frame_bytes=64, pad_bytes=pad_bytes)
    client.finish(stream, 314_159)


def test_server_answers_pings_at_each_point(client):
    def ping():
        client.h2.ping(len(client.pings).to_bytes(8, "big"))
        count = len(client.pings) + 1
        client.until(lambda: len(client.pings) == count)
    ping()
    stream = client.start()
    ping()
    client.send(stream, request(100_000, 314_159)[:50_000], end=False)
    ping()
    client.send(stream, request(100_000, 314_159)[50_000:])
    client.until(lambda: stream in client.bytes)
    ping()
    client.finish(stream, 314_159)
    ping()
    assert client.pings == [number.to_bytes(8, "big") for number in range(5)]


@pytest.mark.parametrize("point", ["after_header", "during_data", "after_data", "during_reply"])
def test_server_goes_on_after_a_reset(client, point):
    for _ in range(20):
        stream = client.start()
        message = request(30_000, 400_000)
        if point == "during_data":
            client.send(stream, message[:10_000], end=False)
        elif point != "after_header":
            client.send(stream, message)
        if point == "during_reply":
            client.until(lambda: client.bytes.get(stream, 0) > 0)
        client.h2.reset_stream(stream, CANCEL)
        client.flush()
    client.call(271_828, 314_159)
    assert not client.goaway and not client.resets


def test_server_finishes_what_runs_after_the_clients_goaway(client):
    stream = client.start()
    client.send(stream, request(1000, 314_159)[:500], end=False)
    client.send_goaway()
    client.send(stream, request(1000, 314_159)[500:])
    client.finish(stream, 314_159)
    while not client.ended:
        client.read()

