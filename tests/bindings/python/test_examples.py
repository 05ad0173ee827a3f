"""The examples in Python, against a real host that is killed and started again under one of them."""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from conftest import PACKAGE, ROOT
from lever_testing import Host, kill_and_wait, reachable_python, wait_until

import lever

EXAMPLES = ROOT / "examples"


def environment(host):
    return {**os.environ, "PYTHONPATH": str(PACKAGE), "LEVER_HOST": host.address}


@pytest.fixture
def host():
    with Host("--python", reachable_python()) as host:
        yield host


def test_hello_is_deployed_and_called(host):
    host.deploy(EXAMPLES / "hello-python")
    out = subprocess.run([sys.executable, EXAMPLES / "hello-python" / "client.py", "Ann"],
                         capture_output=True, text=True, timeout=60, env=environment(host))
    assert (out.stdout, out.stderr) == (
        "Hello, Ann!\necho: hi, Ann\necho: one\necho: {'two': 2}\ndivide: division by zero\n", "")
    assert host.cli("invoke", "/hello-python/greet_all", '["a"]').json() == ["Hello, a!"]


def test_hello_is_tested_without_a_host():
    out = subprocess.run([sys.executable, "test_service.py"], capture_output=True, text=True, timeout=60,
                         cwd=EXAMPLES / "hello-python", env={**os.environ, "PYTHONPATH": str(PACKAGE)})
    assert (out.stdout, out.stderr, out.returncode) == ("ok\n", "", 0)


def test_quick_start_of_the_readme(host, tmp_path):
    text = (ROOT / "bindings" / "python" / "README.md").read_text().partition("## Quick start")[2]
    program, wanted = (re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL)[1] for kind in ("python", "text"))
    (tmp_path / "service.py").write_text(program)
    out = subprocess.run([sys.executable, tmp_path / "service.py"], capture_output=True, text=True,
                         timeout=60, env=environment(host))
    assert (out.stdout, out.stderr) == (wanted, "")


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)
    except urllib.error.URLError:
        return None  # it is not there yet


def test_web_server_outlives_its_host(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        web_port, host_port = one.getsockname()[1], two.getsockname()[1]
    with Host("--python", reachable_python(), "--listen", f"127.0.0.1:{host_port}") as host:
        host.deploy(EXAMPLES / "hello-python")
        app = subprocess.Popen([sys.executable, EXAMPLES / "web-python" / "app.py", str(web_port)],
                               env={**environment(host), "LEVER_HOST": f"127.0.0.1:{host_port}"},
                               stdout=subprocess.DEVNULL)
        try:
            work_with(host, web_port, app)
        finally:
            app.terminate()
            assert app.wait(30) == 0


def work_with(host, web_port, app):
    def attached():
        return (get(web_port, "/visits") or {}).get("service") == "attached"

    wait_until(attached)
    assert get(web_port, "/hello/Ann") == {"greeting": "Hello, Ann!"}
    assert host.cli("invoke", "/visits/count", '"Ann"').json() == 1
    (row,) = host.instances("visits")
    assert row["pid"] == app.pid and "attached" in json.dumps(row)
    with lever.SyncClient(host.address) as client, client.stream("/visits/watch_chan") as stream:
        assert next(stream) == {"Ann": 1}
        assert client.invoke("/visits/count", "Ben") == 1
        assert next(stream) == {"Ann": 1, "Ben": 1}

    kill_and_wait(host.pid)
    wait_until(lambda: not attached())
    answer = get(web_port, "/hello/Ann")
    assert answer["error"] in ("UNAVAILABLE", "DEADLINE_EXCEEDED"), answer
    assert get(web_port, "/visits")["visits"] == {"Ann": 1, "Ben": 1}

    host.start()
    wait_until(attached, timeout_s=60)
    wait_until(lambda: get(web_port, "/hello/Ann") == {"greeting": "Hello, Ann!"}, timeout_s=60)
    assert host.cli("invoke", "/visits/count", '"Ann"').json() == 2
    assert pathlib.Path(f"/proc/{app.pid}").exists()
