"""Who may not call, shows a token that is not good, or believes what is not so, is refused and nothing has run: through
the host, and straight to an instance."""

import base64
import contextlib
import json
import os
import socket
import ssl
import subprocess
import time

import grpc
import msgpack
import pytest
from host_watch import Watcher
from lever_testing import BUILD, Host, write_service
from raw_calls import Caller

PACKAGES = BUILD / "runtime" / "node" / "node_modules"

# Each run of a method is a line of its output.
BOX = """
const lever = require('lever');
exports.plain = () => { console.log('ran plain'); return 'plain'; };
exports.runs = () => 'none';
exports.Resource = class Box {
  add(n) { console.log('ran add'); return n; }
  async tellChan(stream) { console.log('ran tellChan'); await stream.write(1); }
};
"""
ATTACHED = BOX + """
const service = lever.serve(exports, { name: 'box', listen: '127.0.0.1:0', ...JSON.parse(process.env.OPTIONS) });
service.attached().then(() => console.log('listens at ' + service.details.listening));
process.stdin.resume().once('end', () => service.drain().then(() => service.close()));
"""


def refused(caller, url, *arguments, metadata=(), stream=False):
    """The error of a call with more metadata; it must be one."""
    call = caller.stub.Stream if stream else caller.stub.Invoke
    request = caller.messages.Message(value=msgpack.packb(list(arguments)))
    fields = caller._metadata(url, None) + tuple(metadata)
    try:
        if stream:
            answers = list(call(iter([request]), timeout=20, metadata=fields))
        else:
            answers = [call(request, timeout=20, metadata=fields)]
    except grpc.RpcError as error:
        trailers = dict(error.trailing_metadata())
        assert trailers.get("lever-executed") == "no", (error.details(), trailers)
        return error.code().name
    pytest.fail(f"{url} was answered: {answers}")


def test_who_has_no_permission_runs_nothing(host, tmp_path):
    host.cli("env", "create", "other.env").ok()
    host.deploy(write_service(tmp_path / "vault", {"s.js": BOX}, name="vault", jsEntry="s.js", private=True))
    asks = """
      const { context } = require('lever');
      exports.ask = (address) => context().client.invoke(address).catch((error) => [error.code, error.executed]);
    """
    for env in ("dev.lever", "other.env"):
        write_service(tmp_path / env, {"s.js": asks}, name="front", jsEntry="s.js")
        host.cli("--env", env, "deploy", tmp_path / env, timeout_s=120).ok()
    with Caller(host.address) as caller:
        # Whoever says that it is somebody else is not believed.
        for said in ((), (("lever-caller", "lever://dev.lever/front"),)):
            assert refused(caller, "/vault/plain", metadata=said) == "PERMISSION_DENIED"
            assert refused(caller, "/vault/a/add", 1, metadata=said) == "PERMISSION_DENIED"
            assert refused(caller, "/vault/a/tellChan", metadata=said, stream=True) == "PERMISSION_DENIED"
    # Nor is an instance of another environment served, however often it asks.
    for address in ("lever://dev.lever/vault/plain", "lever://dev.lever/vault/a/add"):
        for _ in range(3):
            assert host.invoke("lever://other.env/front/ask", address) == ["PERMISSION_DENIED", "no"]
    assert host.instances("vault") == [], "not even started for that"
    assert host.invoke("/front/ask", "/vault/plain") == "plain"
    assert host.invoke("/front/ask", "/vault/a/add") is None
    assert host.cli("logs", "vault").ok().out.count("ran ") == 2


def owner(host):
    """Shard and generation of the resource `a`."""
    (row,) = host.cli("--json", "resources", "box", "--of", "a").json()["owners"]
    return row["shard"], row["generation"]


@contextlib.contextmanager
def attached(host, tmp_path, **options):
    """A program that listens by itself: (process, its address)."""
    program = tmp_path / "attached.js"
    program.write_text(ATTACHED)
    with subprocess.Popen(["node", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "LEVER_HOST": host.address, "NODE_PATH": str(PACKAGES),
                               "OPTIONS": json.dumps(options)}) as process:
        try:
            words = process.stdout.readline().split()
            assert words[:2] == ["listens", "at"]
            yield process, words[2]
        finally:
            process.kill()


def test_a_forged_generation_runs_nothing(host, tmp_path):
    with attached(host, tmp_path) as (process, address), Caller(address) as straight:
        with Caller(host.address) as caller:
            caller.invoke("/box/a/add", 1)
        shard, generation = owner(host)
        forged = {
            f"{shard}.{generation - 1}": "UNAVAILABLE",  # of an owner before
            f"{shard}.{generation + 5}": "UNAVAILABLE",  # of one to come
            f"{shard}.{2 ** 64 - 1}": "UNAVAILABLE",
            f"{(shard + 1) % 256}.{generation}": "INVALID_ARGUMENT",
            f"{shard}": "INVALID_ARGUMENT",
            "a.b": "INVALID_ARGUMENT",
        }
        for value, code in forged.items():
            for method, stream in (("add", False), ("tellChan", True)):
                got = refused(straight, f"/box/a/{method}", 1, metadata=(("lever-gen", value),), stream=stream)
                assert got == code, value
        # Whoever says nothing of it, or the truth, is served.
        assert straight.invoke("/box/a/add", 2) == 2
        assert straight.stub.Invoke(straight.messages.Message(value=msgpack.packb([3])), timeout=20, metadata=(
            ("lever-url", "/box/add"), ("lever-resource", "a"), ("lever-gen", f"{shard}.{generation}"))).value
        out, _ = process.communicate(timeout=30)
        assert out.count("ran add") == 3 and "tellChan" not in out


def test_a_forged_generation_through_the_host_runs_nothing_elsewhere(host, tmp_path):
    """The host knows better than who says an older one, and waits for no other."""
    host.deploy(write_service(tmp_path / "box", {"s.js": BOX}, name="box", jsEntry="s.js"))
    with Caller(host.address) as caller:
        caller.invoke("/box/a/add", 1)
        shard, generation = owner(host)
        for value in (f"{(shard + 1) % 256}.{generation}", "a.b"):
            assert refused(caller, "/box/a/add", 1, metadata=(("lever-gen", value),)) == "INVALID_ARGUMENT"
        assert refused(caller, "/box/a/add", 1,
                       metadata=(("lever-gen", f"{shard}.{generation + 5}"), ("lever-attempt", "1"))) == "UNAVAILABLE"
    assert host.cli("logs", "box").ok().out.count("ran ") == 1


# ---- Tokens ----

class OverTls(Caller):
    """A foreign gRPC client straight at a program's own address: a connection of its own."""

    def __init__(self, address):
        super().__init__("127.0.0.1:1")  # for its messages
        self.channel.close()
        target = address.removeprefix("tls:")
        where, port = target.rsplit(":", 1)
        credentials = grpc.ssl_channel_credentials(ssl.get_server_certificate((where, int(port))).encode())
        self.channel = grpc.secure_channel(target, credentials, [
            ("grpc.use_local_subchannel_pool", 1), ("grpc.ssl_target_name_override", "lever-instance")])
        self.stub = type(self.stub)(self.channel)


REQUESTS = (("/box/plain", False), ("/box/a/add", False), ("/box/a/tellChan", True))


def all_refused(address, code, token=None):
    """Each kind of request, over a connection of its own."""
    metadata = () if token is None else (("lever-token", token),)
    for url, stream in REQUESTS:
        with OverTls(address) as stranger:
            assert refused(stranger, url, 1, metadata=metadata, stream=stream) == code, url


def with_claims(token, **changes):
    """The token with other claims under its signature."""
    head, claims, signature = token.split(".")
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    text = json.dumps({**said, **changes}, separators=(",", ":")).encode()
    return ".".join((head, base64.urlsafe_b64encode(text).decode().rstrip("="), signature))


def without_algorithm(token):
    head, claims, _ = token.split(".")
    said = json.loads(base64.urlsafe_b64decode(head + "=="))
    text = json.dumps({**said, "alg": "none"}).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=") + "." + claims + "."


def test_a_token_that_is_not_good_runs_nothing(tmp_path):
    with Host("--token-lifetime", "2") as host, \
            attached(host, tmp_path, listen="tls:127.0.0.1:0") as (process, address), \
            Watcher(host.address, "box") as watcher:
        (row,) = watcher.instances()

        def token():
            way = watcher.introduce(row.id)
            assert way.status == 0 and way.address == address
            return way.token
        all_refused(address, "UNAUTHENTICATED")
        expired = token()
        for forged in ("", "nonsense", with_claims(expired, exp=2 ** 40), with_claims(expired, lever_host=True),
                       without_algorithm(expired), expired[:-8] + "AAAAAAAA"):
            all_refused(address, "UNAUTHENTICATED", forged)
        time.sleep(3)
        all_refused(address, "UNAUTHENTICATED", expired)
        # One that is good is taken, once for the connection, and its call runs.
        with OverTls(address) as stranger:
            good = token()
            assert stranger.stub.Invoke(stranger.messages.Message(value=msgpack.packb([])), timeout=20, metadata=(
                ("lever-url", "/box/plain"), ("lever-token", good))).value
            assert refused(stranger, "/box/plain", metadata=(("lever-token", expired),)) == "UNAUTHENTICATED"
            assert stranger.invoke("/box/plain") == "plain"
        # Through the host it is nothing: neither asked for nor believed.
        with Caller(host.address) as caller:
            assert caller.stub.Invoke(caller.messages.Message(value=msgpack.packb([])), timeout=20, metadata=(
                ("lever-url", "/box/plain"), ("lever-token", expired))).value
        out, _ = process.communicate(timeout=30)
        assert out.count("ran ") == 3 and out.count("ran plain") == 3


def test_a_token_for_another_instance_runs_nothing(host, tmp_path):
    with attached(host, tmp_path, listen="tls:127.0.0.1:0") as (process, address), \
            attached(host, tmp_path, listen="tls:127.0.0.1:0", name="other") as (_, elsewhere), \
            Watcher(host.address, "other") as watcher:
        (row,) = watcher.instances()
        way = watcher.introduce(row.id)
        assert way.address == elsewhere
        all_refused(address, "UNAUTHENTICATED", way.token)
        out, _ = process.communicate(timeout=30)
        assert "ran " not in out


def test_a_private_program_is_closed_to_other_environments_and_from_outside(host, tmp_path):
    """By the host, which gives no token; by the program, whoever has one; and through the host."""
    host.cli("env", "create", "other.env").ok()
    asks = "const { context } = require('lever');\n" \
           "exports.ask = (address) => context().client.invoke(address).catch((e) => [e.code, e.executed]);\n"
    for env in ("dev.lever", "other.env"):
        write_service(tmp_path / env, {"s.js": asks}, name="front", jsEntry="s.js")
        host.cli("--env", env, "deploy", tmp_path / env, timeout_s=120).ok()
    with attached(host, tmp_path, listen="tls:127.0.0.1:0", private=True) as (process, address):
        (row,) = host.instances("box")
        with Watcher(host.address, "box") as watcher:
            way = watcher.introduce(row["id"])
            assert (grpc.StatusCode.PERMISSION_DENIED.value[0], "", "") == (way.status, way.address, way.token)
        all_refused(address, "UNAUTHENTICATED")
        with Caller(host.address) as caller:
            for url, stream in REQUESTS:
                assert refused(caller, url, 1, stream=stream) == "PERMISSION_DENIED"
        for url in ("/box/plain", "/box/a/add"):
            for _ in range(3):
                assert host.invoke("lever://other.env/front/ask", f"lever://dev.lever{url}") == \
                    ["PERMISSION_DENIED", "no"]
        assert host.invoke("/front/ask", "/box/plain") == "plain"
        assert host.invoke("/front/ask", "/box/a/add") is None
        out, _ = process.communicate(timeout=30)
        assert out.count("ran ") == 2


def test_a_forged_generation_over_an_admitted_connection_runs_nothing(host, tmp_path):
    with attached(host, tmp_path, listen="tls:127.0.0.1:0") as (process, address), \
            Watcher(host.address, "box") as watcher, OverTls(address) as admitted:
        (row,) = watcher.instances()
        with Caller(host.address) as caller:
            caller.invoke("/box/a/add", 1)
        shard, generation = owner(host)
        metadata = (("lever-url", "/box/plain"), ("lever-token", watcher.introduce(row.id).token))
        admitted.stub.Invoke(admitted.messages.Message(value=msgpack.packb([])), timeout=20, metadata=metadata)
        for value in (generation - 1, generation + 5):
            for method, stream in (("add", False), ("tellChan", True)):
                assert refused(admitted, f"/box/a/{method}", 1, metadata=(("lever-gen", f"{shard}.{value}"),),
                               stream=stream) == "UNAVAILABLE"
        assert admitted.invoke("/box/a/add", 2) == 2
        out, _ = process.communicate(timeout=30)
        assert out.count("ran add") == 2 and "tellChan" not in out


def test_a_nonce_that_the_host_did_not_give_opens_nothing(host):
    path = os.path.join(host.data_dir, "introduction.sock")
    for nonce in (bytes(16), os.urandom(16), b"short", b""):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
            stranger.connect(path)
            if nonce:
                stranger.send(nonce)
            stranger.settimeout(15)
            assert stranger.recv(4096) == b"", "nobody is introduced"
