"""Programs that listen at an address of their own, and callers whom the host cannot hand a connection: they call
straight over TCP with TLS, and show a token of the host's once."""

import contextlib
import json
import os
import shutil
import subprocess
import time

import pytest
from host_watch import Watcher, claims
from lever_testing import BUILD, ROOT, Host, wait_until, write_service
from test_go import replace_module
from test_tls import Certificates

PACKAGES = BUILD / "runtime" / "node" / "node_modules"
PYTHON = BUILD / "runtime" / "python"
COUNTER = BUILD / "examples" / "counter-cpp" / "bundle" / "serve"

NODE = """
const lever = require('lever');
const service = lever.serve({
  echo: (value) => value,
  who: () => lever.context().caller,
}, JSON.parse(process.env.OPTIONS));
service.attached().then(() => console.log(service.details.listening));
process.stdin.resume().once('end', () => service.drain().then(() => service.close()));
"""
PYTHON_SERVICE = """
import asyncio, json, os, sys, lever
async def main():
    options = json.loads(os.environ["OPTIONS"])
    service = lever.Service(options.pop("name"), **options)
    @service.method
    async def echo(value):
        return value
    async with service:
        await service.attached()
        print(service.details.listening, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
asyncio.run(main())
"""
GO_SERVICE = """
package main

import (
	"context"
	"fmt"
	"log"
	"os/signal"
	"syscall"

	lever "github.com/leveros/lever/bindings/go"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	svc := lever.NewService(lever.ServiceOptions{Name: "callee", Listen: "tls:127.0.0.1:0"})
	svc.Handle("echo", func(value int) int { return value })
	if err := svc.Start(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(svc.Details().Listening)
	if err := svc.Wait(); err != nil {
		log.Fatal(err)
	}
}
"""
# Answers each line [address, count] with how many calls were answered and what failed.
CLIENT = """
const lever = require('lever');
const client = new lever.Client();
require('readline').createInterface({input: process.stdin}).on('line', async (line) => {
  const [address, count, ...given] = JSON.parse(line);
  let good = 0;
  const failed = [];
  for (let i = 0; i < count; ++i) {
    try { await client.invoke(address, ...given); ++good; } catch (e) { failed.push([e.code, e.message]); }
  }
  console.log(JSON.stringify({good, failed}));
});
"""


class Program:
    """A process that says a line when it is there, and ends with its input, or by SIGTERM."""

    def __init__(self, words, environment, by_signal=False):
        self.by_signal = by_signal
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **environment})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        if self.by_signal:
            self.process.terminate()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.stdout.close()

    def line(self):
        line = self.process.stdout.readline()
        assert line, f"the program ended with {self.process.wait(20)}"
        return line.strip()


def of_node(text, options=None, **environment):
    return Program(["node", "-e", text], {"NODE_PATH": str(PACKAGES), "OPTIONS": json.dumps(options or {}),
                                          **environment})


def serving(host, name="callee", **options):
    """A Node program that has attached itself."""
    program = of_node(NODE, {"name": name, **options}, LEVER_HOST=host.address)
    program.address = program.line()
    return program


class Client(Program):
    def __init__(self, host_address, prefix=(), **environment):
        super().__init__([*prefix, "node", "-e", CLIENT],
                         {"NODE_PATH": str(PACKAGES), "LEVER_HOST": host_address, **environment})

    def call(self, address, count, *given):
        self.process.stdin.write(json.dumps([address, count, *given]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def hand_nothing_over(host):
    """From now on, as to a client in another container: the introduction socket is not to be seen."""
    os.unlink(os.path.join(host.data_dir, "introduction.sock"))


def relayed_by(host, act):
    before = host.counters().calls_relayed
    result = act()
    return host.counters().calls_relayed - before, result


def goes_straight(host, client, address, *given):
    """The first calls go through the host; then none does."""
    def straight():
        relayed, result = relayed_by(host, lambda: client.call(address, 50, *given))
        assert result == {"good": 50, "failed": []}
        return relayed == 0
    wait_until(straight, what="a direct connection")


def test_who_cannot_be_handed_a_connection_calls_straight_over_tls(host):
    with serving(host, listen="tls:127.0.0.1:0") as callee:
        assert callee.address.startswith("tls:127.0.0.1:")
        (row,) = host.instances("callee")
        assert row["address"] == callee.address
        hand_nothing_over(host)
        with Client(host.address) as client:
            goes_straight(host, client, "/callee/echo", 1)


def built_in_go(directory):
    """GO_SERVICE with the module of this build."""
    for name in ("go.mod", "go.sum"):
        shutil.copy(ROOT / "examples" / "hello-go" / name, directory)
    replace_module(directory)
    (directory / "main.go").write_text(GO_SERVICE)
    subprocess.run(["go", "build", "-o", "serve", "."], cwd=directory, check=True, timeout=300)
    return str(directory / "serve")


@pytest.mark.parametrize("language", ["python", "go", "cpp"])
def test_a_program_of_each_language_listens_so(host, tmp_path, language):
    environment = {}
    call = ("/callee/echo", 1)
    if language == "python":
        words = ["python3", "-c", PYTHON_SERVICE]
        environment = {"PYTHONPATH": str(PYTHON), "OPTIONS": json.dumps({"name": "callee", "listen": "tls:127.0.0.1:0"})}
    elif language == "go":
        words = [built_in_go(tmp_path)]
    else:
        words = [str(COUNTER), "attach", "--listen", "tls:127.0.0.1:0"]
        call = ("/counter/add", 1)
    with Program(words, {"LEVER_HOST": host.address, **environment}, by_signal=language != "python") as callee:
        assert "tls:127.0.0.1:" in callee.line()
        wait_until(lambda: [row for row in host.instances() if row["phase"] == "ready"], what="the instance")
        hand_nothing_over(host)
        with Client(host.address) as client:
            goes_straight(host, client, *call)


def test_connections_are_replaced_when_their_tokens_expire_and_no_call_fails():
    with Host("--token-lifetime", "1") as host, serving(host, listen="tls:127.0.0.1:0") as callee:
        assert callee.address
        hand_nothing_over(host)
        with Client(host.address) as client:
            goes_straight(host, client, "/callee/echo", 1)
            tokens = host.counters().introductions
            end_s = time.monotonic() + 6
            calls, straight = 0, 0
            while time.monotonic() < end_s:
                relayed, result = relayed_by(host, lambda: client.call("/callee/echo", 200, 1))
                assert result["failed"] == []
                calls += result["good"]
                straight += result["good"] - relayed
            replaced = host.counters().introductions - tokens
    print(f"{calls} calls, {straight} of them straight, {replaced} connections one after the other")
    assert replaced >= 3
    assert straight > calls / 2


PRIVATE = "lever://dev.lever/callee is private: only services of its environment may call it"
FRONT = """
const { context } = require('lever');
exports.ask = (address, ...given) => context().client.invoke(address, ...given).catch((e) => [e.code, e.executed]);
"""


def deploy_front(host, tmp_path, environment):
    """A service that the host starts, which may open sockets."""
    write_service(tmp_path / environment, {"s.js": FRONT}, name="front", jsEntry="s.js", network=True)
    host.cli("--env", environment, "deploy", tmp_path / environment, timeout_s=120).ok()


def test_a_program_that_cannot_be_handed_a_connection_is_called_at_its_address(host, tmp_path):
    """By the host itself, which says for whom, and by a service that the host knows."""
    deploy_front(host, tmp_path, "dev.lever")
    hand_nothing_over(host)
    with serving(host, listen="tls:127.0.0.1:0"):
        assert host.invoke("/callee/who") == "", "somebody from outside, through the host"

        def straight():
            before = host.counters().calls_relayed
            assert host.invoke("/front/ask", "/callee/who") == "lever://dev.lever/front"
            # One: the command's own call.
            return host.counters().calls_relayed - before == 1
        wait_until(straight, what="a direct connection")


def test_a_private_program_takes_calls_of_its_environment_alone(host, tmp_path):
    host.cli("env", "create", "other.env").ok()
    for environment in ("dev.lever", "other.env"):
        deploy_front(host, tmp_path, environment)
    hand_nothing_over(host)
    with serving(host, listen="tls:127.0.0.1:0", private=True), Client(host.address) as outside:
        for _ in range(20):
            assert host.invoke("/front/ask", "/callee/echo", 5) == 5
            assert host.invoke("lever://other.env/front/ask", "lever://dev.lever/callee/echo", 5) == \
                ["PERMISSION_DENIED", "no"]
        assert outside.call("/callee/echo", 3, 1)["failed"] == \
            [["PERMISSION_DENIED", PRIVATE]] * 3


def test_what_cannot_be_is_refused_before_it_is_attached(host):
    def refused(**options):
        with of_node(NODE, {"name": "callee", **options}, LEVER_HOST=host.address) as program:
            assert program.process.stdout.readline() == ""
            return program.process.wait(20)
    assert refused(listen="127.0.0.1:0", private=True) != 0
    assert refused(listen="tls:0.0.0.0:0") != 0
    assert refused(listen="tls:unix:/tmp/x") != 0
    assert host.instances("callee") == []


@contextlib.contextmanager
def another_machine(name="lever-m2"):
    """A network namespace that is joined to this one by a cable: (words before a command there, address here)."""
    here, there = "10.213.77.1", "10.213.77.2"
    def ip(*words):
        subprocess.run(["ip", *words], check=True, timeout=20)
    ip("netns", "add", name)
    try:
        ip("link", "add", f"{name}-a", "type", "veth", "peer", "name", f"{name}-b", "netns", name)
        ip("addr", "add", f"{here}/24", "dev", f"{name}-a")
        ip("link", "set", f"{name}-a", "up")
        ip("-n", name, "addr", "add", f"{there}/24", "dev", f"{name}-b")
        ip("-n", name, "link", "set", f"{name}-b", "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield ["ip", "netns", "exec", name, "unshare", "--mount"], here
    finally:
        ip("netns", "del", name)


def test_a_client_on_another_machine(tmp_path):
    certificates = Certificates(tmp_path)
    with another_machine() as (there, here):
        certificates.issue("host", f"IP:{here}")
        with Host("--listen", f"tls:{here}:0", "--tls-cert", certificates.path("host.pem"),
                  "--tls-key", certificates.path("host.key")) as host:
            public = host.process.stdout.readline().split()[-1]
            with serving(host, listen=f"tls:{here}:0") as callee:
                hidden = [*there, "sh", "-c", f'mount -t tmpfs none "{host.data_dir}" && exec "$@"', "-"]
                with Client(public, hidden, LEVER_TLS_CA=certificates.path("ca.pem")) as client:
                    goes_straight(host, client, "/callee/echo", 1)
                assert callee.address.startswith(f"tls:{here}:")


def test_a_token_says_what_the_contract_says(host):
    with serving(host, listen="tls:127.0.0.1:0") as callee, Watcher(host.address, "callee") as watcher:
        (row,) = watcher.instances()
        assert row.listens
        way = watcher.introduce(row.id)
        assert (way.status, way.address, len(way.key_hash)) == (0, callee.address, 32)
        said = claims(way.token)
        assert said["aud"] == row.id and said["exp"] - said["iat"] == 300 and "sub" not in said
        assert abs(said["iat"] - time.time()) < 10
        other = watcher.introduce("nobody")
        assert other.status != 0 and other.token == ""
