"""gRPC services outside of Lever that are reached through a host (leverd --upstream)."""

import concurrent.futures
import contextlib
import subprocess
import threading

import grpc
import pytest
from lever_testing import LEVERD, Host, wait_until

SERVICE = "shop.v1.Cart"


class Cart(grpc.GenericRpcHandler):
    """Methods on bytes: what comes is what is answered."""

    def __init__(self):
        self.metadata = []
        self.cancelled = threading.Event()

    def add(self, request, context):
        self.metadata = [(key, value) for key, value in context.invocation_metadata()]
        context.send_initial_metadata((("x-initial", "1"),))
        context.set_trailing_metadata((("x-trailing-bin", b"\x00\xff"),))
        return request

    def fail(self, request, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the cart is full: \u00fc")

    def wait(self, request, context):
        context.add_callback(self.cancelled.set)
        self.cancelled.wait(60)
        return request

    def chat(self, requests, context):
        yield from requests

    def service(self, details):
        name = details.method.removeprefix(f"/{SERVICE}/")
        if name == "Chat":
            return grpc.stream_stream_rpc_method_handler(self.chat)
        method = {"Add": self.add, "Fail": self.fail, "Wait": self.wait}.get(name)
        return method and grpc.unary_unary_rpc_method_handler(method)


@contextlib.contextmanager
def serving(cart, address="127.0.0.1:0", credentials=None):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), handlers=(cart,),
                         options=[("grpc.so_reuseport", 0)])
    port = (server.add_insecure_port(address) if credentials is None else
            server.add_secure_port(address, credentials))
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


@pytest.fixture
def cart():
    return Cart()


@pytest.fixture
def channel(cart):
    with serving(cart) as address, Host("--upstream", f"{SERVICE}={address}") as host, \
            grpc.insecure_channel(host.address) as channel:
        yield channel


def call(channel, method, message=b"x", **options):
    return channel.unary_unary(f"/{SERVICE}/{method}")(message, timeout=30, **options)


def test_a_call_goes_through_as_it_is(channel, cart):
    reply, done = channel.unary_unary(f"/{SERVICE}/Add").with_call(
        b"\x00" * 1_000_000, timeout=30, compression=grpc.Compression.Gzip,
        metadata=(("x-key", "value"), ("x-key-bin", b"\x00\x01\xff")))
    assert reply == b"\x00" * 1_000_000
    assert ("x-initial", "1") in done.initial_metadata()
    assert ("x-trailing-bin", b"\x00\xff") in done.trailing_metadata()
    assert ("x-key", "value") in cart.metadata and ("x-key-bin", b"\x00\x01\xff") in cart.metadata
    assert not [key for key, _ in cart.metadata if key.startswith("lever-")]


def test_a_stream_and_an_error_go_through(channel):
    messages = [b"", b"a", b"b" * 100_000] * 20
    assert list(channel.stream_stream(f"/{SERVICE}/Chat")(iter(messages), timeout=30)) == messages
    with pytest.raises(grpc.RpcError) as failed:
        call(channel, "Fail")
    assert failed.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert failed.value.details() == "the cart is full: \u00fc"
    with pytest.raises(grpc.RpcError) as failed:
        call(channel, "NoSuch")
    assert failed.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_cancelling_goes_through(channel, cart):
    pending = channel.unary_unary(f"/{SERVICE}/Wait").future(b"x", timeout=30)
    assert not pending.done()
    with pytest.raises(grpc.RpcError) as late:
        channel.unary_unary(f"/{SERVICE}/Wait")(b"x", timeout=0.2)
    assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert cart.cancelled.wait(20), "the deadline or a cancelled call did not reach the server"
    pending.cancel()


def test_a_server_that_comes_back_is_found_again(cart):
    with serving(cart) as address:
        host = Host("--upstream", f"{SERVICE}={address}")
        running = host.__enter__()
        channel = grpc.insecure_channel(running.address)
        assert call(channel, "Add") == b"x"
    try:
        with pytest.raises(grpc.RpcError) as gone:
            call(channel, "Add")
        assert gone.value.code() == grpc.StatusCode.UNAVAILABLE
        assert f"{SERVICE} at {address}" in gone.value.details()
        assert ("lever-executed", "no") in gone.value.trailing_metadata()

        def answers():
            with contextlib.suppress(grpc.RpcError):
                return call(channel, "Add") == b"x"

        with serving(cart, address):
            wait_until(answers, what="the server was found again")
    finally:
        channel.close()
        host.__exit__(None, None, None)


def test_a_server_over_tls(cart, tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", certificate,
                    "-days", "2", "-subj", "/CN=cart", "-addext", "subjectAltName=IP:127.0.0.1"],
                   check=True, capture_output=True, timeout=60)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    with serving(cart, credentials=credentials) as address:
        with Host("--upstream", f"{SERVICE}=tls:{address}") as host, \
                grpc.insecure_channel(host.address) as channel:
            assert call(channel, "Add", b"x" * 500_000) == b"x" * 500_000
        with Host("--upstream", f"{SERVICE}={address}") as host, \
                grpc.insecure_channel(host.address) as channel:
            with pytest.raises(grpc.RpcError) as failed:
                call(channel, "Add")
            assert failed.value.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("flag, why", [
    ("lever.v1.Lever=127.0.0.1:1", "the host serves lever.v1.Lever itself"),
    ("shop.v1.Cart", "not SERVICE=ENDPOINT"),
    ("shop.v1.Cart=127.0.0.1:8099", "is an address of this host"),
])
def test_what_cannot_be_an_upstream_is_refused_at_the_start(tmp_path, flag, why):
    done = subprocess.run([LEVERD, "--data-dir", tmp_path, "--listen", "127.0.0.1:8099",
                           "--upstream", flag], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and why in done.stderr, done.stderr
