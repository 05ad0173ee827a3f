"""Services and programs in Go with a real host: the examples, run as their pages say."""

import json
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request

import pytest
from lever_testing import BUILD, ROOT, Host, open_directory, wait_until

MODULE = BUILD / "runtime" / "go" / "lever"


@pytest.fixture
def hello():
    """examples/hello-go in a directory of its own, with the module of this build."""
    directory = open_directory()
    bundle = os.path.join(directory, "hello-go")
    shutil.copytree(ROOT / "examples" / "hello-go", bundle, ignore=shutil.ignore_patterns("serve"))
    replace_module(bundle)
    yield bundle
    shutil.rmtree(directory)


def test_a_deployed_service_in_go(host, hello):
    host.deploy(hello, timeout_s=300)
    assert host.invoke("/hello-go/SayHello", "Ann") == "Hello, Ann!"
    failed = host.cli("invoke", "/hello-go/Divide", "1", "0")
    assert failed.code == 1 and '"division by zero"' in failed.err + failed.out
    streamed = host.cli("stream", "/hello-go/EchoChan", '"hi"', stdin='1\n"two"\n')
    assert streamed.lines() == ["hi", 1, "two"]
    refused = host.cli("invoke", "/hello-go/SayHello", "5")
    assert refused.code == 2 and "does not go into a string" in refused.err
    wait_until(lambda: "greeting Ann" in host.cli("logs", "hello-go").out)


def test_a_client_program_in_go(host, hello):
    host.deploy(hello, timeout_s=300)
    done = subprocess.run(["go", "run", "./client", "Bob"], cwd=hello, env=host.environment() | go_environment(),
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Hello, Bob!", "echo: hi, Bob", "echo: one", "echo: map[two:2]", "divide: division by zero, dividend 1"]


def test_an_upgrade_drains_the_instance_in_go(host, hello):
    host.deploy(hello, timeout_s=300)
    with subprocess.Popen(host.command("stream", "/hello-go/EchoChan", '"hi"'), env=host.environment(), text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stream:
        assert stream.stdout.readline() == '"hi"\n'
        before = host.instances("hello-go")
        change_greeting(hello, "Good day")
        host.deploy(hello, timeout_s=300)
        wait_until(lambda: host.invoke("/hello-go/SayHello", "Ann") == "Good day, Ann!")
        stream.stdin.write('"still"\n')
        stream.stdin.close()
        assert stream.stdout.readline() == '"still"\n'
        assert stream.wait(30) == 0
    old = {instance["id"] for instance in before}
    wait_until(lambda: not old & {i["id"] for i in host.instances("hello-go")}, what="the old instance is gone")
    assert "exited with code 1" not in host.log_text()


class WebProgram:
    """examples/web-go, attached to a host at an address that stays."""

    def __init__(self, folder, address):
        source = os.path.join(folder, "web-go")
        shutil.copytree(ROOT / "examples" / "web-go", source)
        replace_module(source)
        subprocess.run(["go", "build", "-o", "web-go", "."], cwd=source, check=True, timeout=300)
        self.process = subprocess.Popen(
            [os.path.join(source, "web-go"), "-listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL, env={**os.environ, "LEVER_HOST": address})
        self.address = self.process.stdout.readline().split()[-1]

    def get(self, path):
        """(status, text) of the program's own HTTP endpoint."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def state(self):
        return json.loads(self.get("/state")[1])["lever"]


def test_a_web_program_in_go_outlives_its_host(hello):
    folder = os.path.dirname(hello)
    address = f"unix:{folder}/lever.sock"
    with Host("--listen", address) as host:
        web = WebProgram(folder, address)
        try:
            wait_until(lambda: web.state() == "attached", what="the program is attached")
            assert web.get("/greet?name=Ann") == (200, "Hello, Ann! You are number 1.\n")
            assert host.invoke("/web-go/Greet", "Bob") == "Hello, Bob! You are number 2."
            (instance,) = host.instances("web-go")
            assert instance["attached"]
            for _ in range(2):
                host.kill()
                wait_until(lambda: web.state() == "detached", what="the program notices")
                # Its client may still have a connection of its own to the service, which is in the same process.
                status, text = web.get("/greet?name=Cid")
                assert status in (200, 503, 504), text
                assert web.get("/state")[0] == 200
                host.start()
                wait_until(lambda: web.state() == "attached", what="the program attaches again")
                wait_until(lambda: web.get("/greet?name=Dan")[0] == 200, what="calls go again")
                assert len(host.instances("web-go")) == 1
            web.process.send_signal(signal.SIGTERM)
            assert web.process.wait(20) == 0
            wait_until(lambda: not host.instances("web-go"), what="the program is listed no more")
        finally:
            web.process.kill()
            web.process.wait()
            web.process.stdout.close()


def replace_module(folder):
    subprocess.run(["go", "mod", "edit", f"-replace=github.com/leveros/lever/bindings/go={MODULE}"],
                   cwd=folder, check=True)


def change_greeting(bundle, greeting):
    path = os.path.join(bundle, "lever.json")
    with open(path) as file:
        manifest = json.load(file)
    manifest["config"]["greeting"] = greeting
    with open(path, "w") as file:
        json.dump(manifest, file)


def go_environment():
    return {name: os.environ[name] for name in ("PATH", "HOME", "GOPATH", "GOCACHE", "GOFLAGS", "GOPROXY")
            if name in os.environ}
